"""The composition root: every domain's tables, the resources of this environment, and what starts runs."""

import dagster as dg

from medallion.domains import declared_tables
from medallion.executor import run_executor
from medallion.graph import build_assets
from medallion.logs import configure_dagster_logs
from medallion.settings import Settings
from resources import build_resources
from sensors import build_automation


def build(settings: Settings) -> dg.Definitions:
    """Put the platform together.

    Args:
        settings: of this environment.
    """
    configure_dagster_logs(settings.log)
    tables = declared_tables(settings.domains)
    automation = build_automation(tables, settings)
    return dg.Definitions(
        assets=build_assets(tables),
        jobs=automation.jobs,
        sensors=automation.sensors,
        schedules=automation.schedules,
        resources=build_resources(settings),
        executor=run_executor(settings),
    )


defs = build(Settings())
