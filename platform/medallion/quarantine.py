"""Rejected rows: where they are kept with the reason, and how a slice's rows replace those of its last run."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medallion.delta.staging import OUTCOME, REJECTED, Stage
from medallion.delta.store import DeltaStore
from medallion.partitions import Slice

if TYPE_CHECKING:
    import pyarrow as pa

UNPARTITIONED = "table"
"""The slice name of a table without partitions."""
_PATH = "quarantine"
_PARTITION_BY = ["layer", "slice"]


@dataclass(frozen=True)
class Rejected:
    """The rejected rows of one write.

    Attributes:
        table: path of the table they were meant for.
        slices: every slice that was written; those without rejected rows end up empty.
        rows: number of rejected rows.
        batches: gives the rows: slice, rules, raw, source_file, source_row.
        run_id: the run that rejected them.
    """

    table: tuple[str, str, str]
    slices: tuple[str, ...]
    rows: int
    batches: Callable[[], Iterator[pa.RecordBatch]]
    run_id: str


def quarantine_path(table: Sequence[str]) -> tuple[str, str, str]:
    """Where a table's rejected rows are: `quarantine/<domain>/<table>`, all layers in one."""
    return (_PATH, table[1], table[2])


def row_schema() -> pa.Schema:
    """Columns that a source of rejected rows gives."""
    import pyarrow as pa

    return pa.schema(
        [
            ("slice", pa.string()),
            ("rules", pa.list_(pa.string())),
            ("raw", pa.string()),
            ("source_file", pa.string()),
            ("source_row", pa.int64()),
        ]
    )


def replace_slices(store: DeltaStore, rejected: Rejected) -> int:
    """Put rejected rows into quarantine in place of those that the same slices had; one commit, or none if no change.

    Returns:
        Rows in quarantine for these slices now.
    """
    from deltalake import CommitProperties, DeltaTable, Schema, write_deltalake

    path = quarantine_path(rejected.table)
    table = store.find(path)
    if table is None and not rejected.rows:
        return 0
    schema = _table_schema()
    if table is None:
        DeltaTable.create(
            store.uri(path),
            Schema.from_arrow(schema),
            mode="ignore",
            partition_by=_PARTITION_BY,
            storage_options=dict(store.storage_options),
        )
        table = store.open(path)
    layer = rejected.table[0]
    held = {part["slice"] for part in table.partitions() if part["layer"] == layer}
    if not rejected.rows and not held & set(rejected.slices):
        return 0
    names = ", ".join(_literal(name) for name in rejected.slices)
    write_deltalake(
        table,
        _stamped(rejected, schema),
        mode="overwrite",
        predicate=f"layer = {_literal(layer)} AND slice IN ({names})",
        storage_options=dict(store.storage_options),
        commit_properties=CommitProperties(
            custom_metadata={"dagster/run_id": rejected.run_id, "dagster/asset_key": "/".join(rejected.table)},
            max_commit_retries=50,
        ),
    )
    return rejected.rows


def staged_rejects(
    stage: Stage, table: tuple[str, str, str], selection: Slice, placed: Mapping[str, str], run_id: str
) -> Rejected:
    """The rejected rows of a stage.

    Args:
        stage: where they are.
        table: the table they were meant for.
        selection: the slice that is written.
        placed: partition key by the label of raw partition values, see `partition_label`.
        run_id: the run.
    """
    slices = selection.keys or (UNPARTITIONED,)
    return Rejected(table, slices, stage.rows(REJECTED), lambda: _staged_batches(stage, slices, placed), run_id)


def partition_label(columns: Sequence[str], values: Mapping[str, Any]) -> str:
    """Partition values of a file or a row as one text."""
    return "/".join(f"{column}={values[column]}" for column in columns)


def _staged_batches(stage: Stage, slices: Sequence[str], placed: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
    import json

    import pyarrow as pa

    names = {item.name for item in stage.schema.fields}
    partition_columns = [name for name in stage.delta.metadata().partition_columns if name != OUTCOME]
    columns = ["_raw", "_errors", *partition_columns, *(["_batch"] if "_batch" in names else [])]
    scan = stage.delta.scan(columns=list(dict.fromkeys(columns)), predicate=f"{OUTCOME} = '{REJECTED}'")
    known = set(slices)
    for batch in pa.RecordBatchReader.from_stream(scan):
        rows = []
        for row in batch.to_pylist():
            raw = json.loads(row["_raw"])
            # The batch a row arrived in tells its slice even where the partition column itself is what is wrong.
            place = row.get("_batch")
            if place not in known:
                place = placed.get(partition_label(partition_columns, row), slices[0])
            rows.append(
                {
                    "slice": place,
                    "rules": row["_errors"],
                    "raw": row["_raw"],
                    "source_file": raw.get("_source_file"),
                    "source_row": raw.get("_source_row"),
                }
            )
        yield pa.RecordBatch.from_pylist(rows, schema=row_schema())


def _table_schema() -> pa.Schema:
    import pyarrow as pa

    extra = [("layer", pa.string()), ("run_id", pa.string()), ("quarantined_at", pa.timestamp("us", tz="UTC"))]
    return pa.schema([*row_schema(), *[pa.field(name, kind) for name, kind in extra]])


def _stamped(rejected: Rejected, schema: pa.Schema) -> pa.RecordBatchReader:
    import pyarrow as pa

    now = dt.datetime.now(dt.UTC)

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in rejected.batches():
            n = batch.num_rows
            stamp = [
                pa.array([rejected.table[0]] * n, pa.string()),
                pa.array([rejected.run_id] * n, pa.string()),
                pa.array([now] * n, pa.timestamp("us", tz="UTC")),
            ]
            yield pa.RecordBatch.from_arrays([*batch.columns, *stamp], schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
