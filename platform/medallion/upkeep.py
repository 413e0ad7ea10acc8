"""Which tables are maintained and how: declared ones, their quarantines, and what belongs in the archive."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import dagster as dg

from medallion.delta.maintenance import DERIVED, Maintained, Maintenance, maintain
from medallion.delta.store import DeltaStore
from medallion.partitions import Slice, slice_of
from medallion.quarantine import quarantine_path
from medallion.tables import Table, input_key


@dataclass(frozen=True)
class Upkeep:
    """One Delta table that is to be maintained.

    Attributes:
        path: where it is.
        care: how it is kept.
        table: its declaration; None for a quarantine.
        whole_readers: declared tables that read all of it in one run, which archived rows would be missing from.
    """

    path: tuple[str, ...]
    care: Maintenance
    table: Table | None = None
    whole_readers: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The table as people write it."""
        return "/".join(self.path)

    def run(
        self, store: DeltaStore, now: dt.datetime, archive_root: str | None, *, dry_run: bool = False
    ) -> Maintained | None:
        """Maintain it.

        Args:
            store: the lake.
            now: the current time, UTC.
            archive_root: root of the archive; None archives nothing.
            dry_run: whether to change nothing.

        Returns:
            What was done; None if the table was never written.
        """
        expired = expired_slice(self.table, now) if self.table is not None and archive_root is not None else None
        notes: tuple[str, ...] = ()
        if expired is not None and self.whole_readers:
            notes = (f"not archived, as {', '.join(self.whole_readers)} reads all of it in every run",)
            expired = None
        done = maintain(store, self.path, self.care, now, expired=expired, archive_root=archive_root, dry_run=dry_run)
        return done and dataclasses.replace(done, notes=(*notes, *done.notes))


def upkeep_of(tables: Iterable[Table], everything: Iterable[Table]) -> list[Upkeep]:
    """The Delta tables of some declared tables: each itself, and after them their quarantines, each once.

    Args:
        tables: those to maintain.
        everything: all declared tables, of which some read others whole.
    """
    everything = list(everything)
    chosen = []
    for table in tables:
        archived = table.partitions is not None and table.maintenance.archive_after_days is not None
        readers = tuple(_whole_readers(table, everything)) if archived else ()
        chosen.append(Upkeep(table.path, table.maintenance, table, readers))
    held = dict.fromkeys(quarantine_path(target.path) for target in chosen)
    return [*chosen, *[Upkeep(path, DERIVED) for path in held]]


def expired_slice(table: Table, now: dt.datetime) -> Slice | None:
    """The partitions of a table whose time window ended too long ago; None if it has no such window or no limit.

    Of several dimensions, the one of time decides.
    """
    time = _time_dimension(table)
    if time is None:
        return None
    _, definition, column = time
    ended = _ended(table, definition, now)
    return slice_of(definition, ended, column) if ended else None


def archivable_keys(table: Table, keys: Iterable[str], now: dt.datetime) -> set[str]:
    """Those of a table's partition keys that belong in the archive."""
    time = _time_dimension(table)
    if time is None:
        return set()
    name, definition, _ = time
    ended = set(_ended(table, definition, now))
    if not isinstance(table.partitions, dg.MultiPartitionsDefinition):
        return ended & set(keys)
    known = table.partitions
    return {key for key in keys if known.get_partition_key_from_str(key).keys_by_dimension[name] in ended}


def _ended(table: Table, definition: dg.TimeWindowPartitionsDefinition, now: dt.datetime) -> list[str]:
    days = table.maintenance.archive_after_days
    if days is None:
        return []
    cutoff = now - dt.timedelta(days=days)
    keys = definition.get_partition_keys(current_time=cutoff)
    return [key for key in keys if definition.time_window_for_partition_key(key).end <= cutoff]


def _time_dimension(table: Table) -> tuple[str, dg.TimeWindowPartitionsDefinition, str] | None:
    """Name, partitions and column of the first dimension of time."""
    dimensions: dict[str, Any] = {"": table.partitions}
    if isinstance(table.partitions, dg.MultiPartitionsDefinition):
        dimensions = {dimension.name: dimension.partitions_def for dimension in table.partitions.partitions_defs}
    for name, definition in dimensions.items():
        if isinstance(definition, dg.TimeWindowPartitionsDefinition):
            return name, definition, table.partition_columns[name]
    return None


def _whole_readers(table: Table, everything: Iterable[Table]) -> list[str]:
    readers = []
    for reader in everything:
        inputs = [asset_in for asset_in in reader.inputs.values() if input_key(asset_in) == table.key]
        mapped = any(isinstance(asset_in.partition_mapping, dg.AllPartitionMapping) for asset_in in inputs)
        if (inputs and (mapped or reader.partitions is None)) or table.label in reader.reads:
            readers.append(reader.label)
    return readers
