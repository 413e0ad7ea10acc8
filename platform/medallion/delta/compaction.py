"""Rewrites many small files of a slice as few large ones, in an order that lets readers skip most of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medallion.delta.protocol import require_writable
from medallion.delta.store import DataFile, DeltaStore, data_files
from medallion.partitions import WHOLE

if TYPE_CHECKING:
    from deltalake import CommitProperties, DeltaTable

Z_ORDER = "medallion.zOrder"
"""Table property: by which columns and until when its files were put in order."""
_SLICES_AT_ONCE = 32  # one commit each; delta-rs drops a rewrite also if another slice was replaced meanwhile
_Values = tuple[str | None, ...]


@dataclass(frozen=True)
class Compacted:
    """What was rewritten, or would be.

    Attributes:
        slices: slices whose files were rewritten.
        lost: slices that another writer changed meanwhile; they are as that writer left them.
    """

    slices: int
    lost: int = 0


def compact(
    store: DeltaStore,
    path: Sequence[str],
    *,
    target_bytes: int,
    small_files: int,
    z_order: Sequence[str] = (),
    dry_run: bool = False,
) -> Compacted:
    """Rewrite the slices that have many small files, or, with z-order, those that were written since they had it.

    The rows stay the same and the commits say so (`dataChange` is false): no reader is disturbed, and a writer that
    replaces the slice meanwhile wins. A rewrite that loses such a race is dropped; its files are left to the vacuum.

    Args:
        store: where the table is.
        path: of the table.
        target_bytes: size that files are merged up to.
        small_files: least number of files below half of that size that make a slice worth it.
        z_order: columns by which rows are put in order; empty keeps their order.
        dry_run: whether to rewrite nothing.

    Raises:
        TableMissingError: it was never written.
        UnsupportedTableError: another writer gave it a feature that can't be kept up here.
    """
    from deltalake.exceptions import CommitFailedError

    table = store.open(path)
    require_writable("/".join(path), table, "append")
    due = _unordered(table, z_order) if z_order else _crowded(table, target_bytes, small_files)
    due = [values for values in due if "" not in values]  # delta-rs has no filter that finds the empty text
    if dry_run or not due:
        return Compacted(len(due))
    version, lost = table.version(), 0
    for filters, count in _calls(table.metadata().partition_columns, due):
        table = store.open(path)
        how: dict[str, Any] = {
            "partition_filters": filters,
            "target_size": target_bytes,
            "commit_properties": _properties("z-order" if z_order else "compact"),
        }
        try:
            if z_order:
                table.optimize.z_order(list(z_order), **how)
            else:
                table.optimize.compact(**how)
            version += 1
        except CommitFailedError:
            lost += count
    if z_order:
        _record(store.open(path), z_order, version)
    return Compacted(len(due) - lost, lost)


def _crowded(table: DeltaTable, target_bytes: int, small_files: int) -> list[_Values]:
    small: dict[_Values, int] = {}
    for file in data_files(table, WHOLE):
        if file.size < target_bytes // 2:
            small[_values(file)] = small.get(_values(file), 0) + 1
    return [values for values, count in small.items() if count >= max(small_files, 2)]


def _unordered(table: DeltaTable, columns: Sequence[str]) -> list[_Values]:
    """Slices with a file that was written since all were put in order by these columns."""
    record = json.loads(table.metadata().configuration.get(Z_ORDER, "{}"))
    until = record["until"] if record.get("columns") == list(columns) else 0
    return list(dict.fromkeys(_values(file) for file in data_files(table, WHOLE) if file.modified > until))


def _record(table: DeltaTable, columns: Sequence[str], version: int) -> None:
    """Remember that all files are in order, unless another writer's commit came between."""
    from deltalake.exceptions import CommitFailedError

    if table.version() == version:
        until = max(file.modified for file in data_files(table, WHOLE))
        record = json.dumps({"columns": list(columns), "until": until})
        with suppress(CommitFailedError):
            table.alter.set_table_properties({Z_ORDER: record}, raise_if_not_exists=False)


def _values(file: DataFile) -> _Values:
    return tuple(file.partition.values())


def _calls(columns: Sequence[str], due: Sequence[_Values]) -> Iterator[tuple[list[Any] | None, int]]:
    """Partition filters of delta-rs and how many slices each selects: one for many slices if they have one column.

    delta-rs writes NULL as the empty text, and finds it by `=` but not by `in`.
    """
    if not columns:
        yield None, 1
        return
    rest = list(due)
    if len(columns) == 1:
        known = [values[0] for values in due if values[0] is not None]
        for start in range(0, len(known), _SLICES_AT_ONCE):
            part = known[start : start + _SLICES_AT_ONCE]
            yield [(columns[0], "in", part)], len(part)
        rest = [values for values in due if values[0] is None]
    for values in rest:
        yield [(column, "=", value or "") for column, value in zip(columns, values, strict=True)], 1


def _properties(what: str) -> CommitProperties:
    from deltalake import CommitProperties

    return CommitProperties(custom_metadata={"medallion/maintenance": what})
