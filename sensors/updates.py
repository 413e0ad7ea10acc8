"""The updates sensor: carries what changed in bronze down to silver and gold."""

from collections.abc import Sequence

import dagster as dg

from medallion.planning import TRIGGER
from medallion.tables import Table
from medallion.updates import UpdatesSensor


def updates_sensors(tables: Sequence[Table]) -> list[dg.SensorDefinition]:
    """One sensor for all tables, as a table may read those of another domain; it runs from the start."""
    return [UpdatesSensor(tables, name="updates", run_tags={TRIGGER: "update"})] if tables else []
