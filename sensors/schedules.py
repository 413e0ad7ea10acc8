"""The schedule of a domain: it is made anew from all that arrived, nightly, or twice an hour from a database."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from medallion.arrived import landed, landed_or_dated
from medallion.planning import TRIGGER, arrived_keys, plan_runs, with_upstream
from medallion.tables import Table
from medallion.upkeep import archivable_keys

DAILY_AT_2_UTC = "0 2 * * *"
EVERY_HALF_HOUR = "*/30 * * * *"
"""Nothing tells that a database has changed. Its tables are to be at most an hour old, also while a run makes them."""


def domain_schedules(
    tables: Sequence[Table], jobs: Mapping[str, Any], *, archiving: bool
) -> list[dg.ScheduleDefinition]:
    """The schedule of every domain.

    It brings to old months what the updates sensor leaves alone: new rows of the dimensions that their facts read.

    Args:
        tables: all declared tables.
        jobs: the job of every domain.
        archiving: whether old bronze leaves the lake; what did is then left alone.
    """
    return [_schedule(domain, tables, jobs[domain], archiving) for domain in sorted({table.domain for table in tables})]


def _schedule(domain: str, tables: Sequence[Table], job: Any, archiving: bool) -> dg.ScheduleDefinition:
    everything = {table.label: table for table in tables}
    own = [table for table in tables if table.domain == domain]
    sources = sorted({table.domain for table in with_upstream(own, everything) if table.reads_source})

    @dg.schedule(
        name=f"{'refresh' if sources else 'daily'}_{domain}",
        job=job,
        cron_schedule=EVERY_HALF_HOUR if sources else DAILY_AT_2_UTC,
        execution_timezone="UTC",
        required_resource_keys={"landing", "databases"} if sources else {"landing"},
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"All tables of {domain} for everything that has arrived, one run per contiguous range.",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        resources = context.resources
        for source in sources:
            if not resources.databases.has(source):
                return dg.SkipReason(
                    f"{source} has no database: set {source.upper()}_URL, or make one with: medallion generate {source}"
                )
        slices = resources.landing.slices
        known = landed_or_dated(slices, resources.databases.database) if sources else landed(slices)
        arrived = set(arrived_keys(own, everything, known))
        kept = set(arrived)
        for table in own if archiving else ():
            kept -= archivable_keys(table, arrived, context.scheduled_execution_time)
        runs = plan_runs(own, kept)
        if not runs:
            return dg.SkipReason(
                f"nothing has {'arrived' if sources else 'landed'} for {domain}"
                + (" that is not archived" if arrived else "")
            )
        moment = f"{context.scheduled_execution_time:{'%Y-%m-%dT%H:%M' if sources else '%Y-%m-%d'}}"
        return [
            # The selection is spelled out so that the updates sensor sees that the run makes everything below, too.
            dg.RunRequest(
                run_key=f"{moment}:{run.label}",
                asset_selection=list(run.assets),
                tags={**run.tags, TRIGGER: "schedule"},
            )
            for run in runs
        ]

    return schedule
