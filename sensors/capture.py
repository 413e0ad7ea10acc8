"""Capture sensors: changes in a database's log become a run of the tables that they touch."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from medallion.planning import TRIGGER, below
from medallion.postgres.captured import captured_tables
from medallion.postgres.pending import pending_changes
from medallion.postgres.resource import source_url
from medallion.settings import Settings
from medallion.tables import Table

SENSOR_SECONDS = 10
CAPTURE = "capture"
_GOING_ON = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def capture_sensors(tables: Sequence[Table], jobs: Mapping[str, Any], settings: Settings) -> list[dg.SensorDefinition]:
    """The capture sensor of every domain whose database is captured.

    Args:
        tables: all declared tables.
        jobs: the job of every domain.
        settings: which databases are captured, and where the lake is.
    """
    domains = sorted({table.domain for table in tables if table.reads_source})
    return [_sensor(domain, tables, jobs[domain], settings) for domain in domains if settings.captures(domain)]


def _sensor(domain: str, tables: Sequence[Table], job: Any, settings: Settings) -> dg.SensorDefinition:
    mirrors = captured_tables(tables, domain)
    own = [table for table in tables if table.domain == domain]

    @dg.sensor(
        name=f"capture_{domain}",
        job=job,
        minimum_interval_seconds=SENSOR_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Runs the tables of {domain} that changes in its database's log are for, down to what has no "
        "partitions; the updates sensor carries them on.",
    )
    def capture(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        running = dg.RunsFilter(job_name=domain, tags={TRIGGER: CAPTURE}, statuses=_GOING_ON)
        if context.instance.get_runs_count(running):
            return dg.SkipReason(f"a run captures {domain} already; what comes meanwhile is looked at after it")
        found = pending_changes(domain, source_url(settings.home, domain), settings.lake_uri, mirrors)
        if not found.tables:
            return dg.SkipReason(found.busy or f"the log has nothing for {domain}")
        # Of one position one run: if it fails, more changes or a person start the next.
        return dg.RunRequest(
            run_key=f"{found.slot}:{found.position}",
            asset_selection=[table.key for table in touched(found.tables, own)],
            tags={TRIGGER: CAPTURE},
        )

    return capture


def touched(changed: Sequence[Table], tables: Sequence[Table]) -> list[Table]:
    """Changed tables and those made of them, but for tables with partitions and what is made of these.

    Which partitions are touched is known when bronze is written; the updates sensor asks for them then.
    """
    made = below(changed, tables)
    partitioned = below([table for table in made if table.partitions is not None], tables)
    return [table for table in made if table not in partitioned]
