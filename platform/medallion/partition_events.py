"""Check results of single partitions in a run of many, which Dagster by itself records for the run as a whole only."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from medallion.verdict import Verdict, named

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagster._core.events.log import EventLogEntry
    from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

    from medallion.tables import Table


class BadPartitionError(dg.Failure):
    """Some partitions of a write were not published; the message names them, what they break and the next step."""


def bad_partitions(table: Table, bad: Mapping[str, Sequence[str]], good: int) -> BadPartitionError:
    """What fails the run that has published the good partitions of a write.

    Args:
        table: what was written.
        bad: the partitions that were left out, with the checks they do not keep, by partition key.
        good: how many were published.
    """
    which = "; ".join(f"{key} ({', '.join(checks)})" for key, checks in list(bad.items())[:10])
    more = f" and {len(bad) - 10} more" if len(bad) > 10 else ""
    return BadPartitionError(
        f"{table.label}: {len(bad)} of {len(bad) + good} partitions were not published, as they fail blocking checks: "
        f"{which}{more}. Their rows are as before, the other {good} are published. Mend the source or the rules, then "
        f"run: medallion run -s {table.label}+ -p {','.join(bad)}",
        metadata={"bad_partitions": named(list(bad)), "published_partitions": good},
        allow_retries=False,
    )


def evaluations(step: Any, verdict: Verdict) -> Iterator[dg.DagsterEvent]:
    """Record what every check says of every partition; those that fail as events, in one batch.

    The others are recorded without an event, in one statement for each check: an event for each would cost a range run
    of 26 months more than all of its tables. Of a check that fails and can't tell by which partitions, none is known.

    Args:
        step: Dagster's step execution context, which has recorded the results of the whole write.
        verdict: what the checks found.
    """
    from dagster._core.events import DagsterEvent, DagsterEventBatchMetadata, DagsterEventType, generate_event_batch_id
    from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

    failed = [(name, key) for key in verdict.keys for name in verdict.failed(key)]
    kept = {ruling.name: [key for key in verdict.keys if verdict.keeps(ruling.name, key)] for ruling in verdict.rulings}
    storage = step.instance.event_log_storage
    if isinstance(storage, SqlEventLogStorage):
        _record_kept(storage, step, verdict, kept)
        kept = {}
    # Dagster shows the last one as the state of the check: it must not pass while another fails.
    told = [verdict.evaluation(*pair) for pair in (*((name, key) for name in kept for key in kept[name]), *failed)]
    batch: str = generate_event_batch_id()  # type: ignore[no-untyped-call]
    for n, evaluation in enumerate(told, start=1):
        yield DagsterEvent.from_step(
            DagsterEventType.ASSET_CHECK_EVALUATION,
            step,
            evaluation,
            f"Asset check '{evaluation.check_name}' on partition '{evaluation.partition}' of "
            f"'{evaluation.asset_key.to_user_string()}' {'passed' if evaluation.passed else 'did not pass'}.",
            DagsterEventBatchMetadata(batch, is_end=n == len(told)),
        )


def _record_kept(storage: SqlEventLogStorage, step: Any, verdict: Verdict, kept: Mapping[str, Sequence[str]]) -> None:
    """Let Dagster know which partitions keep a check, by its name, as if it had been told by an event for each.

    Of time windows it has rows that wait for a result; they would end as skipped, or as failed with the run.
    """
    import sqlalchemy as db
    from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus as Status
    from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable as Recorded
    from dagster._serdes import serialize_value

    write = {"asset_key": verdict.table.key.to_string(), "run_id": step.run_id}
    ours = [Recorded.c[column] == value for column, value in write.items()]
    event = (Recorded.c.check_name, Recorded.c.evaluation_event_storage_id, Recorded.c.evaluation_event_timestamp)
    with storage.index_connection() as connection:
        for name, event_id, at in connection.execute(
            db.select(*event).where(*ours, Recorded.c.partition.is_(None))
        ).all():
            if not (keys := kept.get(name)):
                continue
            check = Recorded.c.check_name == name
            result = {
                "execution_status": Status.SUCCEEDED.value,
                "evaluation_event": serialize_value(_kept_event(step, verdict, name)),
                "evaluation_event_timestamp": at,
                "evaluation_event_storage_id": event_id,
            }
            planned = db.update(Recorded).where(*ours, check, Recorded.c.partition.in_(keys)).values(result)
            if connection.execute(planned).rowcount < len(keys):
                there = set(connection.scalars(db.select(Recorded.c.partition).where(*ours, check)))
                rows = [{**write, **result, "check_name": name, "partition": key} for key in keys if key not in there]
                connection.execute(db.insert(Recorded), rows)


def _kept_event(step: Any, verdict: Verdict, name: str) -> EventLogEntry:
    """What stands for the event of each partition that keeps a check."""
    from dagster._core.events import DagsterEvent, DagsterEventType
    from dagster._core.events.log import EventLogEntry

    of_any = verdict.evaluation(name, None)
    event = DagsterEvent(
        event_type_value=DagsterEventType.ASSET_CHECK_EVALUATION.value,
        job_name=step.job_name,
        step_handle=step.step.handle,
        event_specific_data=of_any,
        message=of_any.description,
    )
    return EventLogEntry(  # type: ignore[no-untyped-call]
        error_info=None,
        level=logging.DEBUG,
        user_message=of_any.description or "",
        run_id=step.run_id,
        timestamp=time.time(),
        step_key=step.step.key,
        job_name=step.job_name,
        dagster_event=event,
    )
