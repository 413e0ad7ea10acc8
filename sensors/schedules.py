"""The daily schedule: every night each domain is made anew from everything that has landed."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from medallion.arrived import landed
from medallion.planning import TRIGGER, arrived_keys, plan_runs
from medallion.tables import Table
from medallion.upkeep import archivable_keys

DAILY_AT_2_UTC = "0 2 * * *"


def daily_schedules(
    tables: Sequence[Table], jobs: Mapping[str, Any], *, archiving: bool
) -> list[dg.ScheduleDefinition]:
    """The daily schedule of every domain.

    It brings to old months what the updates sensor leaves alone: new rows of the dimensions that their facts read.

    Args:
        tables: all declared tables.
        jobs: the job of every domain.
        archiving: whether old bronze leaves the lake; what did is then left alone.
    """
    return [_daily(domain, tables, jobs[domain], archiving) for domain in sorted({table.domain for table in tables})]


def _daily(domain: str, tables: Sequence[Table], job: Any, archiving: bool) -> dg.ScheduleDefinition:
    everything = {table.label: table for table in tables}
    own = [table for table in tables if table.domain == domain]

    @dg.schedule(
        name=f"daily_{domain}",
        job=job,
        cron_schedule=DAILY_AT_2_UTC,
        execution_timezone="UTC",
        required_resource_keys={"landing"},
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"All tables of {domain} for everything that has landed, one run per contiguous range.",
    )
    def daily(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        arrived = set(arrived_keys(own, everything, landed(context.resources.landing.slices)))
        kept = set(arrived)
        for table in own if archiving else ():
            kept -= archivable_keys(table, arrived, context.scheduled_execution_time)
        runs = plan_runs(own, kept)
        if not runs:
            return dg.SkipReason(f"nothing has landed for {domain}" + (" that is not archived" if arrived else ""))
        day = f"{context.scheduled_execution_time:%Y-%m-%d}"
        return [
            # The selection is spelled out so that the updates sensor sees that the run makes everything below, too.
            dg.RunRequest(
                run_key=f"{day}:{run.label}",
                asset_selection=list(run.assets),
                tags={**run.tags, TRIGGER: "schedule"},
            )
            for run in runs
        ]

    return daily
