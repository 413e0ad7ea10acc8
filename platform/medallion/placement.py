"""Which partition key the files of a table belong to, told from their partition values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from medallion.delta.staging import PASSED, Stage, StagedFile
from medallion.delta.store import DeltaStore, column_types, data_files
from medallion.partitions import parse_file_value
from medallion.tables import Table

if TYPE_CHECKING:
    from pyspark.sql import Column


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


@dataclass(frozen=True)
class Placement:
    """Tells to which of the partitions that are written a row or a staged file belongs.

    Attributes:
        table: whose partitions they are.
        keys: the partition keys that are written.
        types: Delta type names by column.
    """

    table: Table
    keys: tuple[str, ...]
    types: Mapping[str, str]
    _labels: dict[str, dict[str, str]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def columns(self) -> list[str]:
        """The partition columns."""
        return list(self.table.partition_columns.values())

    def labels(self, stage: Stage) -> dict[str, str]:
        """Partition key by the label of the values that a stage's files have."""
        if stage.name not in self._labels:  # every key is compared with every value, and four ask for it
            raws = (file.partition for file in stage.files)
            self._labels[stage.name] = place(self.table, self.keys, raws, self.types)
        return self._labels[stage.name]

    def files(self, stage: Stage, outcome: str) -> dict[str, list[StagedFile]]:
        """Staged files of one outcome by partition key."""
        placed = self.labels(stage)
        found: dict[str, list[StagedFile]] = {key: [] for key in self.keys}
        for file in stage.select(outcome):
            key = placed.get(partition_label(self.columns, file.partition))
            if key is not None:
                found[key].append(file)
        return found

    def rows(self, stage: Stage, outcome: str) -> dict[str, int]:
        """Rows of one outcome by partition key, from the stage's log."""
        return {key: sum(file.rows for file in files) for key, files in self.files(stage, outcome).items()}

    def has_strays(self, stage: Stage) -> bool:
        """Whether rows to be published belong to none of the partitions."""
        return sum(self.rows(stage, PASSED).values()) != stage.rows(PASSED)

    def values(self) -> Column:
        """A row's partition values as one text, for `keys_of`."""
        from pyspark.sql import functions as F

        return F.to_json(F.struct(*[F.col(f"`{name}`").cast("string").alias(name) for name in self.columns]))

    def keys_of(self, texts: Iterable[str]) -> dict[str, str | None]:
        """Partition key by what `values` gave; None for values of no partition that is written."""
        raws = {text: {name: json.loads(text).get(name) for name in self.columns} for text in texts}
        placed = place(self.table, self.keys, raws.values(), self.types)
        return {text: placed.get(partition_label(self.columns, raw)) for text, raw in raws.items()}

    def slice_of(self, key: str | None, batch: str | None) -> str:
        """Where quarantine puts a rejected row, whose partition values themselves may be what is wrong with it.

        Args:
            key: what `keys_of` says.
            batch: the batch it arrived in.
        """
        return batch if batch in self.keys else key or self.keys[0]


def rows_by_key(store: DeltaStore, table: Table, keys: Sequence[str]) -> dict[str, int]:
    """Rows of some partitions of a table, from its log alone; 0 for those that it has no file for."""
    delta = store.find(table.path)
    rows = dict.fromkeys(keys, 0)
    if delta is None:
        return rows
    files = data_files(delta, table.select(keys))
    placed = place(table, keys, (file.partition for file in files), column_types(delta.schema()))
    columns = list(table.partition_columns.values())
    for file in files:
        rows[placed[partition_label(columns, file.partition)]] += file.rows
    return rows


def keys_without_rows(store: DeltaStore, table: Table, keys: Sequence[str]) -> list[str]:
    """The keys among some that the table has no file for, from its log alone."""
    delta = store.find(table.path)
    if delta is None:
        return list(keys)
    files = data_files(delta, table.select(keys))
    present = set(place(table, keys, (file.partition for file in files), column_types(delta.schema())).values())
    return [key for key in keys if key not in present]
