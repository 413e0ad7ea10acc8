"""What must hold of staged rows before they are published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medallion.delta.staging import OUTCOME, PASSED, StagedFile
from medallion.delta.store import scan
from medallion.duckdb_session import duckdb_session
from medallion.partitions import BoundSlice, SliceError, parse_file_value
from medallion.sql import quoted

if TYPE_CHECKING:
    import pyarrow as pa

    from medallion.delta.publish import Write


class DuplicateKeyError(ValueError):
    """Rows to merge that share a key; nothing was written."""


def require_inside(write: Write, bound: BoundSlice, types: Mapping[str, str], files: Sequence[StagedFile]) -> None:
    """Refuse files of other partitions than those of the write.

    Raises:
        SliceError: names the partitions and their rows.
    """
    strays: dict[str, int] = {}
    for file in files:
        raw = {column: file.partition[column] for column in write.selection.columns}
        if not bound.holds({column: parse_file_value(value, types[column]) for column, value in raw.items()}):
            value = ", ".join(f"{column}={text}" for column, text in sorted(raw.items()))
            strays[value] = strays.get(value, 0) + file.rows
    if strays:
        listing = ", ".join(f"{value} ({rows} rows)" for value, rows in sorted(strays.items())[:5])
        raise SliceError(
            f"{write.name}: the transform returned rows outside of slice {write.selection.label}: {listing}; "
            "nothing was written"
        )


def require_no_row_outside(write: Write, predicate: str) -> None:
    """Refuse rows that do not fulfil the predicate of the write's slice, NULL included.

    Raises:
        SliceError: tells how many.
    """
    columns = sorted(write.selection.columns)
    outside = scan(write.stage.delta, columns, f"{OUTCOME} = '{PASSED}' AND (({predicate}) IS NOT TRUE)")
    rows = sum(batch.num_rows for batch in outside)
    if rows:
        raise SliceError(
            f"{write.name}: {rows} rows are outside of slice {write.selection.label} ({predicate}); nothing was written"
        )


def require_unique_keys(write: Write) -> None:
    """Refuse rows to merge without a key, or with one that another has: which of them counts would be chance.

    Raises:
        DuplicateKeyError: tells how many.
        ValueError: no key is declared.
    """
    if not write.keys:
        raise ValueError(f"{write.name}: merging needs key columns; declare Config.unique in its contract")
    counts = count_keys(scan(write.stage.delta, write.keys, f"{OUTCOME} = '{PASSED}'"), write.keys)
    for key, nulls in counts.nulls.items():
        if nulls:
            raise DuplicateKeyError(f"{write.name}: {nulls} rows to merge have no {key}, which is part of the key")
    if counts.repeated:
        raise DuplicateKeyError(
            f"{write.name} slice {write.selection.label}: {counts.repeated} keys {list(write.keys)} stand for more "
            "than one row to merge; nothing was written. Deduplicate in the transform or declare latest_by"
        )


@dataclass(frozen=True)
class KeyCounts:
    """What is wrong with the keys of some rows.

    Attributes:
        repeated: how many keys more than one row has.
        nulls: how many rows lack a column of the key, by column.
    """

    repeated: int
    nulls: Mapping[str, int]


def count_keys(rows: pa.Table | pa.RecordBatchReader, keys: Sequence[str]) -> KeyCounts:
    """Count in bounded memory, as there may be more keys than it holds."""
    nulls = [f"coalesce(sum(n) FILTER (k{number} IS NULL), 0)" for number in range(len(keys))]
    named = [f"{quoted(key)} AS k{number}" for number, key in enumerate(keys)]
    with duckdb_session() as db:
        db.register("rows", rows)
        repeated, *missing = db.execute(
            f"SELECT count(*) FILTER (n > 1), {', '.join(nulls)} "
            f"FROM (SELECT {', '.join(named)}, count(*) AS n FROM rows GROUP BY ALL)"
        ).fetchall()[0]
    return KeyCounts(int(repeated), dict(zip(keys, map(int, missing), strict=True)))
