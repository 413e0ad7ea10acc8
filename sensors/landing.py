"""Landing sensors: one per domain that has bronze tables made from landed files."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from medallion.landing_sensor import landing_sensor
from medallion.tables import Table


def landing_sensors(tables: Sequence[Table], jobs: Mapping[str, Any]) -> list[dg.SensorDefinition]:
    """The landing sensor of every domain.

    They run from the start: who starts the daemon expects files to be picked up, and nothing runs twice for it, as a
    slice that is made from the files as they are is left alone.

    Args:
        tables: all declared tables.
        jobs: the job of every domain.
    """
    domains = sorted({table.domain for table in tables if table.reads_arrivals})
    return [landing_sensor(domain, tables, jobs[domain]) for domain in domains]
