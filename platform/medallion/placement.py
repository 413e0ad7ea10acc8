"""Which partition key the files of a table belong to, told from their partition values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from medallion.delta.store import DeltaStore, column_types, data_files
from medallion.partitions import parse_file_value
from medallion.tables import Table


def partition_label(columns: Sequence[str], values: Mapping[str, Any]) -> str:
    """Partition values of a file or a row as one text."""
    return "/".join(f"{column}={values[column]}" for column in columns)


def place(
    table: Table, keys: Sequence[str], partitions: Iterable[Mapping[str, str | None]], types: Mapping[str, str]
) -> dict[str, str]:
    """Partition key by the label of raw partition values; values of no key are left out.

    Args:
        table: whose partitions they are.
        keys: partition keys to choose from.
        partitions: raw partition values of files, by column.
        types: Delta type names by column.
    """
    columns = list(table.partition_columns.values())
    if not columns:
        return {}
    pending = {partition_label(columns, raw): raw for raw in partitions}
    placed: dict[str, str] = {}
    for key in keys:
        bound = table.select([key]).bind(types)
        for label, raw in list(pending.items()):
            if bound.holds({column: parse_file_value(raw[column], types[column]) for column in columns}):
                placed[label] = key
                del pending[label]
    return placed


def keys_without_rows(store: DeltaStore, table: Table, keys: Sequence[str]) -> list[str]:
    """The keys among some that the table has no file for, from its log alone."""
    delta = store.find(table.path)
    if delta is None:
        return list(keys)
    files = data_files(delta, table.select(keys))
    present = set(place(table, keys, (file.partition for file in files), column_types(delta.schema())).values())
    return [key for key in keys if key not in present]
