"""What a person is told about a failed run, as a Slack message, and how it gets there."""

from __future__ import annotations

import http.client
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg

from medallion.planning import partitions_label

if TYPE_CHECKING:
    from dagster_shared.error import SerializableErrorInfo

TIMEOUT_SECONDS = 5.0
PAUSES_SECONDS = (1.0, 3.0)
"""Waits before the second and the third try."""

_MODULE = re.compile(r"^(?:\w+\.)+(?=\w+: )")
_ASSET_JOB = "__ASSET_JOB"
_LONGEST = 500
_MOST_LISTED = 10


@dataclass(frozen=True)
class Failure:
    """A failed run.

    Attributes:
        job: name of the job, or `asset run` for a run of some assets only.
        run_id: the run.
        tables: those whose step failed, as `layer/domain/table`; the step's name where it makes none.
        cause: first line of the error that the first failed step ended with.
        partitions: what the run covered: `2017-01...2017-03`, or `whole tables`.
        checks: failed checks of severity ERROR, as `layer/domain/table: check`.
    """

    job: str
    run_id: str
    tables: Sequence[str]
    cause: str
    partitions: str
    checks: Sequence[str]

    @property
    def summary(self) -> str:
        """One line for logs and notifications."""
        return f"{self._what} failed in run {self.run_id[:8]} of {self.job} ({self.partitions}): {self.cause}"

    @property
    def _what(self) -> str:
        return ", ".join(self.tables[:_MOST_LISTED]) or self.job

    def message(self) -> dict[str, Any]:
        """As Slack's incoming webhooks take it."""
        facts = [
            ("Job", self.job),
            ("Run", self.run_id),
            ("Partitions", self.partitions),
            ("Failed", "\n".join(self.tables[:_MOST_LISTED]) or "before the first table"),
        ]
        blocks: list[dict[str, Any]] = [
            {"type": "section", "text": _markdown(f":red_circle: *{_escaped(self._what)}* failed")},
            {"type": "section", "fields": [_markdown(f"*{name}*\n{_escaped(value)}") for name, value in facts]},
            {"type": "section", "text": _markdown(f"*Cause*\n```{_escaped(self.cause)}```")},
        ]
        if self.checks:
            listed = "\n".join(f"• {_escaped(check)}" for check in self.checks[:_MOST_LISTED])
            blocks.append({"type": "section", "text": _markdown(f"*Failed checks*\n{listed}")})
        return {"text": _escaped(self.summary), "blocks": blocks}


def describe_failure(run: dg.DagsterRun, failure: dg.DagsterEvent, instance: dg.DagsterInstance) -> Failure:
    """Gather what a person needs to know about a failed run.

    Args:
        run: the run.
        failure: its failure event.
        instance: has the run's events.
    """
    steps = [
        event
        for record in instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE).records
        if (event := record.event_log_entry.dagster_event) is not None
    ]
    evaluations = [
        event.asset_check_evaluation_data
        for record in instance.get_records_for_run(
            run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
        ).records
        if (event := record.event_log_entry.dagster_event) is not None
    ]
    failed = sorted(
        {
            f"{check.asset_key.to_user_string()}: {check.check_name}"
            for check in evaluations
            if not check.passed and check.severity == dg.AssetCheckSeverity.ERROR
        }
    )
    return Failure(
        job="asset run" if run.job_name.startswith(_ASSET_JOB) else run.job_name,
        run_id=run.run_id,
        # Of a table's step the name is its asset key with `__` between the parts.
        tables=tuple(str(event.step_key).replace("__", "/") for event in steps),
        cause=_cause(steps, failure),
        partitions=partitions_label(run.tags) or "whole tables",
        checks=tuple(failed),
    )


def post(url: str, message: dict[str, Any], wait: Callable[[float], None] = time.sleep) -> str | None:
    """Send a message to a webhook, three times at most; what is wrong is returned, as an alert must not fail the alarm.

    Args:
        url: of the webhook. It is a secret: no error text repeats it.
        message: the JSON body.
        wait: called with the seconds between two tries.

    Returns:
        Why it was not delivered; None if it was.
    """
    if not url.startswith(("https://", "http://")):
        return "MEDALLION_ALERT_WEBHOOK is no http(s) address"
    body = json.dumps(message).encode()
    problem: str | None = None
    for pause in (*PAUSES_SECONDS, None):
        try:
            request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):
                return None
        except urllib.error.HTTPError as error:
            problem = f"the webhook answered {error.code}"
            if error.code != 429 and error.code < 500:
                return problem
        except urllib.error.URLError as error:
            reason = error.reason
            problem = f"the webhook can't be reached ({getattr(reason, 'strerror', None) or type(reason).__name__})"
        except (OSError, http.client.HTTPException) as error:
            problem = f"the webhook can't be reached ({type(error).__name__})"
        if pause is not None:
            wait(pause)
    return f"{problem}, {len(PAUSES_SECONDS) + 1} times"


def _cause(steps: Sequence[dg.DagsterEvent], failure: dg.DagsterEvent) -> str:
    """First line of the error that our code raised, which Dagster wraps."""
    error: SerializableErrorInfo | None = steps[0].step_failure_data.error if steps else None
    if error is None:
        data = failure.job_failure_data if failure.is_job_failure else None
        error = data.error if data is not None else None
    if error is None:
        return _shortened(failure.message or "no cause recorded")
    while error.cause is not None and (error.cls_name or "").startswith("DagsterExecution"):
        error = error.cause
    return _shortened(_MODULE.sub("", error.message.strip()))


def _shortened(text: str) -> str:
    line = text.splitlines()[0] if text else "no cause recorded"
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def _escaped(text: str) -> str:
    """Slack's three control characters."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _markdown(text: str) -> dict[str, str]:
    return {"type": "mrkdwn", "text": text}
