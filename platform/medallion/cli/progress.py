"""What became of each table of a run, gathered from the run's events."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import dagster as dg

    from medallion.tables import Table

_INTERRUPTED = "DagsterExecutionInterruptedError"
_TOLD = {
    "rows_in": "rows_in",
    "rows_out": "rows_written",
    "quarantined": "rows_quarantined",
    "deduplicated": "rows_deduplicated",
    "failed_checks": "checks_failed",
}
"""Numbers of a partition, by the names that the table's have, and where its materialization has them."""
State = Literal["waiting", "running", "done", "blocked", "failed", "skipped"]


@dataclass(frozen=True)
class CheckOutcome:
    """One asset check of a run.

    Attributes:
        name: the check.
        passed: whether the rows keep it.
        blocks: whether failing it keeps the table from being published.
        quarantines: whether it is a row rule that sends the rows that break it to quarantine.
        metadata: counts and samples.
    """

    name: str
    passed: bool
    blocks: bool
    quarantines: bool
    metadata: Mapping[str, Any]

    @property
    def summary(self) -> str:
        """The numbers behind the result on one line."""
        plain = {key: value for key, value in self.metadata.items() if isinstance(value, int | float | str)}
        plain.pop("candidate", None)
        return ", ".join(f"{key} {_short(value)}" for key, value in plain.items())

    @property
    def samples(self) -> str:
        """Up to five keys that break it."""
        samples = self.metadata.get("samples") or []
        return "; ".join(", ".join(f"{key}={value}" for key, value in sample.items()) for sample in samples)


@dataclass
class TableOutcome:
    """What became of one table in one run; row counts are None until they are known.

    `partitions` has the numbers of each partition that was published, by its key.
    """

    table: Table
    state: State = "waiting"
    rows_in: int | None = None
    rows_out: int | None = None
    quarantined: int | None = None
    deduplicated: int | None = None
    version: int | None = None
    partitions: dict[str, dict[str, Any]] = field(default_factory=dict)
    checks: list[CheckOutcome] = field(default_factory=list)
    seconds: float | None = None
    cause: Cause | None = None
    _began: float = 0.0

    @property
    def error(self) -> str | None:
        """Why it was not made."""
        return self.cause.message if self.cause else None

    @property
    def failed_checks(self) -> list[CheckOutcome]:
        """Checks that the rows do not keep."""
        return [check for check in self.checks if not check.passed]

    @property
    def elapsed(self) -> float:
        """Seconds since the step began, or that it took."""
        return self.seconds if self.seconds is not None else time.perf_counter() - self._began

    def document(self) -> dict[str, Any]:
        """For machines."""
        return {
            "table": self.table.label,
            "state": self.state,
            "rows_in": self.rows_in,
            "rows_out": self.rows_out,
            "quarantined": self.quarantined,
            "deduplicated": self.deduplicated,
            "version": self.version,
            "partitions": self.partitions,
            "seconds": self.seconds,
            "checks": [
                {"name": c.name, "passed": c.passed, "blocks": c.blocks, "metadata": dict(c.metadata)}
                for c in self.checks
            ],
            "error": self.error,
        }


class RunOutcome:
    """One run: its tables in the order of the graph, brought up to date event by event."""

    def __init__(self, label: str, tables: Sequence[Table]) -> None:
        self.label = label
        self.tables = {table.label: TableOutcome(table) for table in tables}
        self.run_id: str | None = None
        self.job: str | None = None
        self.success = False
        self.interrupted = False
        self.cause: Cause | None = None
        self.seconds = 0.0
        self._began = time.perf_counter()
        self._by_step = {label.replace("/", "__"): outcome for label, outcome in self.tables.items()}

    def see(self, event: dg.DagsterEvent) -> TableOutcome | None:
        """Take in an event.

        Returns:
            The table that is now finished, if the event says so.
        """
        from dagster import DagsterEventType as Kind

        outcome = self._by_step.get(event.step_key or "")
        kind = event.event_type
        if kind in (Kind.RUN_SUCCESS, Kind.RUN_FAILURE, Kind.RUN_CANCELED):
            self._end(event, kind == Kind.RUN_SUCCESS)
        elif kind == Kind.RUN_START:
            self.job = event.job_name
        elif outcome is not None:
            if kind == Kind.STEP_START:
                outcome.state, outcome._began = "running", time.perf_counter()
            elif kind == Kind.ASSET_CHECK_EVALUATION:
                # The result on the whole write names the partitions that fail, each of which has one of its own.
                if event.asset_check_evaluation_data.partition is None:
                    outcome.checks.append(_check(outcome.table, event.asset_check_evaluation_data))
            elif kind == Kind.ASSET_MATERIALIZATION:
                _materialized(outcome, event)
            elif kind in (Kind.STEP_SUCCESS, Kind.STEP_FAILURE, Kind.STEP_SKIPPED):
                _finish(outcome, event)
                self.interrupted |= (outcome.error or "").endswith(_INTERRUPTED)
                return outcome
        return None

    def end(self) -> None:
        """Nothing more comes: what has not begun by now never will."""
        self.seconds = time.perf_counter() - self._began
        for outcome in self.tables.values():
            if outcome.state == "waiting":
                outcome.state = "skipped"
            elif outcome.state == "running":
                outcome.state, outcome.seconds = "failed", outcome.elapsed

    def document(self) -> dict[str, Any]:
        """For machines."""
        return {
            "run_id": self.run_id,
            "job": self.job,
            "partitions": self.label,
            "success": self.success,
            "seconds": round(self.seconds, 3),
            "error": self.cause.message if self.cause else None,
            "assets": [outcome.document() for outcome in self.tables.values()],
        }

    def _end(self, event: dg.DagsterEvent, success: bool) -> None:
        self.success = success
        data = event.event_specific_data
        error = getattr(data, "error", None)
        if not success and not any(outcome.cause for outcome in self.tables.values()):
            self.cause = cause_of(error) if error else Cause(event.message or "the run failed")


@dataclass(frozen=True)
class Cause:
    """Why a step or a run failed.

    Attributes:
        message: of the error that code raised, below what Dagster wraps around it.
        trace: the whole stack trace; None where there is no error.
        explained: whether the message says the next step, as the platform's and the domains' own errors do.
    """

    message: str
    trace: str | None = None
    explained: bool = False


def cause_of(error: Any, package: str = "medallion") -> Cause:
    """What a failure comes from.

    Args:
        error: Dagster's `SerializableErrorInfo`.
        package: whose own errors, like the platform's, need no class name before their message.
    """
    innermost = error
    while innermost.cause is not None and (innermost.cls_name or "").startswith("Dagster"):
        innermost = innermost.cause
    message = innermost.message.strip()
    name = innermost.cls_name or ""
    prefix, separator, rest = message.partition(": ")
    ours = False
    if separator and prefix.rsplit(".", 1)[-1] == name:
        ours = prefix.startswith(("medallion.", f"{package}."))
        message = rest.strip() if ours else f"{name}: {rest.strip()}"
    return Cause(message, error.to_string(), ours)


def _check(table: Table, evaluation: Any) -> CheckOutcome:
    kept = {rule.name for rule in table.contract.rules if rule.severity == "WARN"} | {c.name for c in table.checks}
    return CheckOutcome(
        name=evaluation.check_name,
        passed=evaluation.passed,
        blocks=bool(evaluation.blocking) and evaluation.severity.value == "ERROR",
        quarantines=evaluation.check_name not in kept,
        metadata={key: value.value for key, value in evaluation.metadata.items()},
    )


def _materialized(outcome: TableOutcome, event: dg.DagsterEvent) -> None:
    """A range run tells one materialization per partition, each with the numbers of its own."""
    told = event.step_materialization_data.materialization.metadata
    metadata: dict[str, Any] = {key: value.value for key, value in told.items()}
    outcome.rows_out = _sum(outcome.rows_out, metadata.get("rows_written"))
    outcome.quarantined = _sum(outcome.quarantined, metadata.get("rows_quarantined"))
    outcome.deduplicated = _sum(outcome.deduplicated, metadata.get("rows_deduplicated"))
    outcome.version = metadata.get("delta/version")
    outcome.rows_in = _sum(outcome.rows_in, metadata.get("rows_in"))
    if event.partition is not None:
        outcome.partitions[event.partition] = {name: metadata[key] for name, key in _TOLD.items() if key in metadata}
    if outcome.table.reads_arrivals and outcome.rows_out is not None:
        outcome.rows_in = outcome.rows_out + (outcome.quarantined or 0) + (outcome.deduplicated or 0)


def _sum(before: int | None, more: int | None) -> int | None:
    return before if more is None else (before or 0) + more


def _finish(outcome: TableOutcome, event: dg.DagsterEvent) -> None:
    from dagster import DagsterEventType as Kind

    outcome.seconds = round(time.perf_counter() - outcome._began, 3)
    if event.event_type == Kind.STEP_SKIPPED:
        outcome.state, outcome.seconds = "skipped", None
    elif outcome.rows_out is None and any(check.blocks for check in outcome.failed_checks):
        broken = [check for check in outcome.failed_checks if check.blocks]
        outcome.state = "blocked"
        outcome.cause = Cause("nothing was published, " + "; ".join(_complaint(check) for check in broken))
    elif event.event_type == Kind.STEP_FAILURE:
        outcome.state = "failed"
        error = event.step_failure_data.error
        package = outcome.table.transform.__module__.split(".")[0]
        outcome.cause = cause_of(error, package) if error else Cause(event.message or "the step failed")
    else:
        outcome.state = "done"


def _complaint(check: CheckOutcome) -> str:
    return f"{check.name} failed: {check.summary}" + (f" ({check.samples})" if check.samples else "")


def _short(value: float | str) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
