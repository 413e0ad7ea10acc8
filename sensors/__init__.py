"""What starts runs: landing sensors, the daily schedule, updates that travel down the graph, and alerts on failure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from medallion.settings import Settings
from medallion.tables import Table


@dataclass(frozen=True)
class Automation:
    """Everything that starts or follows runs."""

    jobs: list[Any] = field(default_factory=list)
    sensors: list[Any] = field(default_factory=list)
    schedules: list[Any] = field(default_factory=list)


def build_automation(tables: Sequence[Table], settings: Settings) -> Automation:
    """One job per domain, named after it."""
    jobs = [
        dg.define_asset_job(
            domain,
            selection=dg.AssetSelection.assets(*[table.key for table in tables if table.domain == domain]),
            description=f"All tables of {domain}, bronze to gold.",
        )
        for domain in sorted({table.domain for table in tables})
    ]
    return Automation(jobs=jobs)
