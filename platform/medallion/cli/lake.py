"""What the lake and the landing zone hold, from Delta logs and listings alone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medallion.delta.log import LOG
from medallion.delta.store import DeltaStore, data_files
from medallion.partitions import WHOLE
from medallion.quarantine import quarantine_path

if TYPE_CHECKING:
    from medallion.landing import Landing
    from medallion.settings import Settings
    from medallion.tables import Table


@dataclass(frozen=True)
class TableState:
    """A table as its Delta log tells it.

    Attributes:
        rows: live rows.
        size: bytes of live files.
        version: newest version.
        written: time of the newest commit, UTC.
        made: partitions that have rows.
    """

    rows: int
    size: int
    version: int
    written: dt.datetime
    made: int


def lake_of(settings: Settings) -> DeltaStore:
    """The lake of this environment."""
    return DeltaStore(settings.lake_uri, settings.storage_options)


def tables_of(settings: Settings) -> dict[str, Table]:
    """All declared tables by label, in the order of the layers."""
    from medallion.domains import declared_tables

    order = ("bronze", "silver", "gold")
    tables = sorted(declared_tables(settings.domains), key=lambda table: (table.domain, order.index(table.layer)))
    return {table.label: table for table in tables}


def table_state(store: DeltaStore, table: Table) -> TableState | None:
    """The state of a table; None if it was never written."""
    delta = store.find(table.path)
    if delta is None:
        return None
    files = data_files(delta, WHOLE)
    columns = list(table.partition_columns.values())
    values = {tuple(file.partition.get(column) for column in columns) for file in files if file.rows}
    return TableState(
        rows=sum(file.rows for file in files),
        size=sum(file.size for file in files),
        version=delta.version(),
        written=dt.datetime.fromtimestamp(delta.history(1)[0]["timestamp"] / 1000, dt.UTC),
        made=len(values) if columns else 0,
    )


def quarantined(store: DeltaStore, table: Table) -> dict[str, int]:
    """Rows of a table in quarantine, by slice."""
    delta = store.find(quarantine_path(table.path))
    rows: dict[str, int] = {}
    for file in data_files(delta, WHOLE) if delta is not None else []:
        if file.partition["layer"] == table.layer and file.rows:
            name = str(file.partition["slice"])
            rows[name] = rows.get(name, 0) + file.rows
    return rows


def landed_by_table(landing: Landing, tables: Mapping[str, Table]) -> dict[tuple[str, str], set[str]]:
    """Landed slices by (domain, table), with one listing per domain."""
    found: dict[tuple[str, str], set[str]] = {}
    for domain in sorted({table.domain for table in tables.values()}):
        for name, slice_key in landing.scan(domain):
            found.setdefault((domain, name), set()).add(slice_key)
    return found


def landed_for(table: Table, tables: Mapping[str, Table], slices: Mapping[tuple[str, str], set[str]]) -> set[str]:
    """Partition keys that have landed for the bronze tables that a table stands on."""
    from medallion.arrived import landed
    from medallion.planning import arrived_keys

    return set(arrived_keys([table], tables, landed(lambda domain, name: slices.get((domain, name), ()))))


def candidates(store: DeltaStore, path: tuple[str, ...]) -> list[str]:
    """Stages below a table that can still be read: those that were not published, oldest first."""
    import obstore

    from medallion.delta.staging import STAGE_PREFIX

    listing = obstore.list_with_delimiter(store.objects, "/".join(path))
    found = []
    for folder in (str(prefix) for prefix in listing["common_prefixes"]):
        name = folder.rstrip("/").rsplit("/", 1)[-1]
        if name.startswith(STAGE_PREFIX):
            logs = obstore.list_with_delimiter(store.objects, f"{folder.rstrip('/')}/{LOG}")["objects"]
            if logs:
                found.append((max(log["last_modified"] for log in logs), name))
    return [name for _, name in sorted(found)]
