"""The nightly maintenance: one op per table, in the table's pool, and one for everything in quarantine."""

import dataclasses
import datetime as dt
from collections.abc import Sequence

import dagster as dg

from medallion.settings import Settings
from medallion.tables import Table
from medallion.upkeep import Upkeep, upkeep_of

DAILY_AT_0330_UTC = "30 3 * * *"
"""After the daily run of 02:00."""
JOB = "maintenance"


def maintenance_schedules(tables: Sequence[Table], settings: Settings) -> list[dg.ScheduleDefinition]:
    """The schedule of the job that maintains all tables and their quarantines, if there are any.

    Args:
        tables: all declared tables.
        settings: where the archive is.
    """
    if not tables:
        return []
    schedule = dg.ScheduleDefinition(
        name=f"daily_{JOB}",
        job=_job(tables, settings.archive_uri),
        cron_schedule=DAILY_AT_0330_UTC,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Compaction, z-order, vacuum and archive of every table, as it declares.",
    )
    return [schedule]


def _job(tables: Sequence[Table], archive_root: str | None) -> dg.JobDefinition:
    targets = upkeep_of(tables, tables)
    ops = [_op("_".join(target.path), [target], archive_root) for target in targets if target.table is not None]
    ops.append(_op("quarantine", [target for target in targets if target.table is None], archive_root))
    graph = dg.GraphDefinition(name=JOB, node_defs=ops)
    return graph.to_job(description="Every table made smaller and faster, without a change of rows.")


def _op(name: str, targets: Sequence[Upkeep], archive_root: str | None) -> dg.OpDefinition:
    """An op that maintains tables one after the other; its name is the pool that the writes of a table wait in, too."""
    whole = targets[0].name if len(targets) == 1 else "every quarantine"

    @dg.op(
        name=name,
        description=f"Maintains {whole}.",
        out=dg.Out(dg.Nothing),
        required_resource_keys={"io_manager"},
        pool=name,
    )
    def maintain(context: dg.OpExecutionContext) -> None:
        store = context.resources.io_manager.store
        sums: dict[str, int] = {}
        for target in targets:
            done = target.run(store, dt.datetime.now(dt.UTC), archive_root)
            if done is None:
                continue
            context.log.info(
                f"{done.table}: {done.files_before} files before, {done.files_after} after, "
                f"{done.bytes_freed} bytes freed, {done.versions} versions kept"
            )
            for note in done.notes:
                context.log.warning(f"{done.table}: {note}")
            for fact, value in dataclasses.asdict(done).items():
                if isinstance(value, int):
                    sums[fact] = sums.get(fact, 0) + value
        context.add_output_metadata(sums)

    return maintain
