"""What starts runs: landing sensors, schedules, updates that travel down the graph, and alerts on failure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from medallion.settings import Settings
from medallion.tables import Table
from sensors.alerts import failure_alerts
from sensors.capture import capture_sensors
from sensors.landing import landing_sensors
from sensors.maintenance import maintenance_schedules
from sensors.schedules import domain_schedules
from sensors.updates import updates_sensors


@dataclass(frozen=True)
class Automation:
    """Everything that starts or follows runs."""

    jobs: list[Any] = field(default_factory=list)
    sensors: list[Any] = field(default_factory=list)
    schedules: list[Any] = field(default_factory=list)


def build_automation(tables: Sequence[Table], settings: Settings) -> Automation:
    """One job per domain, named after it, and what starts and watches runs.

    Args:
        tables: all declared tables.
        settings: where alerts and archived rows go.
    """
    jobs = {
        domain: dg.define_asset_job(
            domain,
            selection=dg.AssetSelection.assets(*[table.key for table in tables if table.domain == domain]),
            description=f"All tables of {domain}, bronze to gold.",
        )
        for domain in sorted({table.domain for table in tables})
    }
    return Automation(
        jobs=list(jobs.values()),
        sensors=[
            *landing_sensors(tables, jobs),
            *capture_sensors(tables, jobs, settings),
            *updates_sensors(tables),
            *failure_alerts(settings),
        ],
        schedules=[
            *domain_schedules(tables, jobs, archiving=settings.archive_uri is not None),
            *maintenance_schedules(tables, settings),
        ],
    )
