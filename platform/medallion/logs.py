"""Log lines on stderr: text for people, or one JSON object per line with MEDALLION_LOG=json."""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import sys
from typing import Literal, TextIO

_RECORD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_DAGSTER_PREFIX = "dagster_"
_DAGSTER = ("run_id", "job_name", "step_key")


def configure_logs(form: Literal["human", "json"], level: int = logging.INFO) -> None:
    """Send this process's log to stderr, in place of what was configured before.

    Args:
        form: `human` or `json`.
        level: least severity that is written.
    """
    handler = logging.StreamHandler(_stderr())
    handler.setFormatter(JsonLines() if form == "json" else logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # Clients of object stores and of Spark Connect tell each request, which is no news.
    for noisy in ("botocore", "urllib3", "pyspark", "py4j", "alembic", "sqlalchemy", "pandera"):
        logging.getLogger(noisy).setLevel(max(level, logging.WARNING))


def configure_dagster_logs(form: Literal["human", "json"]) -> None:
    """Let the runs of this process and the code server that holds it write JSON lines; with `human` nothing changes.

    To be called where definitions are built, which every process that executes a run does first. Dagster has no setting
    for it: a run without loggers of its own in its config gets a coloured console, beside any handler of dagster.yaml.
    """
    if form == "human":
        return
    import dagster._loggers

    dagster._loggers.create_console_logger = _json_console  # type: ignore[attr-defined]  # imported there, not exported
    root = logging.getLogger()
    if not root.handlers:
        configure_logs(form)
        # A server's own handlers would write each line a second time.
        logging.getLogger("dagster").handlers.clear()


def _json_console(name: str, level: str | int) -> logging.Logger:
    """A run's console, on the stderr that Dagster captures for the run's page."""
    console = logging.getLoggerClass()(name, level=level)
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    console.addHandler(handler)
    return console


def _stderr() -> TextIO:
    """Stderr by a descriptor of its own, which stays when a run's output is captured."""
    try:
        return os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8", buffering=1)
    except OSError:  # a stream without a descriptor, as in tests
        return sys.stderr


class JsonLines(logging.Formatter):
    """One JSON object per record: time (UTC), level, logger, message, the record's extra fields, and a trace if any.

    A record of a Dagster run also tells run_id, job_name and step_key.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Write a record as one line."""
        line: dict[str, object] = {
            "time": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, value in vars(record).items():
            if name.startswith(_DAGSTER_PREFIX):
                # The event itself is in Dagster's event log; here it would repeat the message at great length.
                if isinstance(value, dict):
                    line |= {key: value[key] for key in _DAGSTER if value.get(key) is not None}
            elif name not in _RECORD:
                line[name] = value
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)
