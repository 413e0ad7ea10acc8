"""Which partitions there is something to make of: slices that landed, and times that a database has rows of."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

import dagster as dg

from medallion.planning import keys_between

if TYPE_CHECKING:
    from medallion.tables import Table

ArrivedKeys = Callable[["Table", "dg.PartitionsDefinition[Any]"], Iterable[str]]
"""Gives the keys of a definition for which something arrived in a bronze table."""
Slices = Callable[[str, str], Iterable[str]]
"""Gives the landed slices of a domain's table."""


class Dated(Protocol):
    """A database that tells on which days a table has rows."""

    def event_days(self, table: str, column: str) -> Iterable[dt.date]:
        """Distinct UTC days of a column."""


def landed(slices: Slices) -> ArrivedKeys:
    """What landed: its slices are the partitions of its table."""
    return lambda table, definition: (
        slices(table.domain, table.name) if table.reads_arrivals and table.partitions == definition else ()
    )


def landed_or_dated(slices: Slices, database: Callable[[str], Dated]) -> ArrivedKeys:
    """What landed, and what the databases have rows of: from the first to the last, as these arrive together.

    Args:
        slices: asks the landing zone.
        database: gives that of a domain; asked only for tables that declare an `event_time`.
    """
    files = landed(slices)

    def keys(table: Table, definition: dg.PartitionsDefinition[Any]) -> Iterable[str]:
        if table.event_time is None or not isinstance(definition, dg.TimeWindowPartitionsDefinition):
            return files(table, definition)
        days = database(table.domain).event_days(table.name, table.event_time)
        midnights = (dt.datetime.combine(day, dt.time(), dt.UTC).timestamp() for day in days)
        known = set(definition.get_partition_keys())
        keys = sorted({definition.get_partition_key_for_timestamp(midnight) for midnight in midnights} & known)
        return keys_between(definition, keys[0], keys[-1]) if keys else ()

    return keys
