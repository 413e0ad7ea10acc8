"""Log lines: JSON on request, and nothing in them twice."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from medallion.logs import JsonLines, configure_dagster_logs, configure_logs


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def record(message: str = "made %s", *args: object, **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "shop", "levelname": "INFO", "msg": message, "args": args})
    vars(made).update(extra)
    return made


def test_a_record_is_one_json_object_on_one_line() -> None:
    text = JsonLines().format(record("made %s\nand more", "orders", rows=3))

    line = json.loads(text)
    assert "\n" not in text
    assert (line["message"], line["level"], line["logger"], line["rows"]) == (
        "made orders\nand more",
        "info",
        "shop",
        3,
    )
    assert line["time"].endswith("+00:00")


def test_a_value_that_json_lacks_is_text() -> None:
    assert json.loads(JsonLines().format(record("x", path=pytest)))["path"].startswith("<module")


def test_a_dagster_record_tells_its_run_and_not_its_event() -> None:
    meta = {"run_id": "r1", "step_key": "s1", "job_name": None, "dagster_event": {"huge": 1}}

    line = json.loads(JsonLines().format(record("x", dagster_meta=meta)))

    assert (line["run_id"], line["step_key"]) == ("r1", "s1")
    assert "job_name" not in line
    assert "huge" not in json.dumps(line)


def test_an_exception_brings_its_trace() -> None:
    try:
        raise ValueError("shut")
    except ValueError as error:
        line = json.loads(JsonLines().format(record("x", exc_info=(ValueError, error, error.__traceback__))))

    assert line["trace"].endswith("ValueError: shut")


def test_human_lines_are_text(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logs("human")
    logging.getLogger("shop").info("made %s", "orders")

    assert capfd.readouterr().err == "INFO shop: made orders\n"


def test_lines_stay_on_stderr_while_a_run_captures_it(capfd: pytest.CaptureFixture[str]) -> None:
    import os

    configure_logs("json")
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        logging.getLogger("shop").warning("made")
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)

    assert json.loads(capfd.readouterr().err)["message"] == "made"


def test_chatty_clients_are_quiet_unless_something_is_wrong(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logs("human")
    logging.getLogger("botocore").info("request")
    logging.getLogger("botocore").warning("refused")

    assert capfd.readouterr().err == "WARNING botocore: refused\n"


def test_dagsters_console_is_left_as_it_is_for_people() -> None:
    import dagster._loggers

    before = dagster._loggers.create_console_logger
    configure_dagster_logs("human")

    assert dagster._loggers.create_console_logger is before


def test_the_console_of_a_run_writes_json_on_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import dagster._loggers

    monkeypatch.setattr(dagster._loggers, "create_console_logger", None)
    configure_dagster_logs("json")
    dagster._loggers.create_console_logger("dagster", "INFO").info("made", extra={"dagster_meta": {"run_id": "r1"}})

    line = json.loads(capsys.readouterr().err)
    assert (line["message"], line["logger"], line["run_id"]) == ("made", "dagster", "r1")
