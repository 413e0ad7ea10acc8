"""Rejected rows: where they are kept with the reason, and how a slice's rows replace those of its last run."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medallion.audit import BATCH, ERRORS, RAW, broken_rules
from medallion.delta.commits import ASSET_KEY, RUN_ID
from medallion.delta.frames import stage_writer
from medallion.delta.publish import Write, publish
from medallion.delta.staging import OUTCOME, REJECTED, Stage, write_stage
from medallion.delta.store import DeltaStore
from medallion.partitions import Dimension, Slice
from medallion.placement import partition_label

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

UNPARTITIONED = "table"
"""The slice name of a table without partitions."""
_PATH = "quarantine"
_PARTITION_BY = ("layer", "slice")
NO_CSV = "lines_are_csv"
"""The rule that a line breaks which is no record of its file."""


@dataclass(frozen=True)
class Rejected:
    """The rejected rows of one write.

    Attributes:
        table: path of the table they were meant for.
        slices: every slice that was written; those without rejected rows end up empty.
        rows: number of rejected rows.
        frame: gives the rows, as `schema()` says.
        run_id: the run that rejected them.
    """

    table: tuple[str, str, str]
    slices: tuple[str, ...]
    rows: int
    frame: Callable[[], Any]
    run_id: str


def quarantine_path(table: Sequence[str]) -> tuple[str, str, str]:
    """Where a table's rejected rows are: `quarantine/<domain>/<table>`, all layers in one."""
    return (_PATH, table[1], table[2])


def schema() -> pa.Schema:
    """Columns of a quarantine table."""
    import pyarrow as pa

    return pa.schema(
        [
            ("layer", pa.string()),
            ("slice", pa.string()),
            ("rules", pa.list_(pa.string())),
            ("raw", pa.string()),
            ("source_file", pa.string()),
            ("source_row", pa.int64()),
            ("run_id", pa.string()),
            ("quarantined_at", pa.timestamp("us", tz="UTC")),
        ]
    )


def replace_slices(store: DeltaStore, rejected: Rejected) -> int:
    """Put rejected rows into quarantine in place of those that the same slices had; one commit, or none if no change.

    Returns:
        Rows in quarantine for these slices now.
    """
    from deltalake import Schema

    layer = rejected.table[0]
    path = quarantine_path(rejected.table)
    if not rejected.rows:
        table = store.find(path)
        held = {part["slice"] for part in table.partitions() if part["layer"] == layer} if table else set()
        if not held & set(rejected.slices):
            return 0
    frame = rejected.frame() if rejected.rows else schema().empty_table()
    stage = write_stage(store, path, _PARTITION_BY, stage_writer(frame, store))
    selection = Slice(((Dimension("layer", (layer,)), Dimension("slice", rejected.slices)),), keys=rejected.slices)
    published = publish(
        Write(
            stage=stage,
            selection=selection,
            schema=Schema.from_arrow(schema()),
            partition_by=_PARTITION_BY,
            commit={RUN_ID: rejected.run_id, ASSET_KEY: "/".join(rejected.table)},
        )
    )
    stage.discard(keep=published.kept)
    return rejected.rows


def staged_rejects(
    stage: Stage,
    table: tuple[str, str, str],
    slices: tuple[str, ...],
    placed: Mapping[str, str],
    run_id: str,
    spark: SparkSession,
) -> Rejected:
    """The rejected rows of a stage.

    Args:
        stage: where they are.
        table: the table they were meant for.
        slices: the slices that are written.
        placed: slice by `partition_label` of the staged rows.
        run_id: the run.
        spark: reads the stage.
    """
    frame = lambda: _staged_frame(stage, table[0], slices, placed, run_id, spark)  # noqa: E731
    return Rejected(table, slices, stage.rows(REJECTED), frame, run_id)


def line_rejects(
    lines: pa.Table, table: tuple[str, str, str], slices: tuple[str, ...], slice_of: Callable[[str], str], run_id: str
) -> Rejected:
    """Lines of landed files that are no records.

    Args:
        lines: columns source_file, line, text, reason.
        table: the bronze table they were meant for.
        slices: the slices that are written.
        slice_of: the slice that a source file belongs to.
        run_id: the run.
    """
    now = dt.datetime.now(dt.UTC)
    rows = [
        {
            "layer": table[0],
            "slice": slice_of(line["source_file"]),
            "rules": [NO_CSV],
            "raw": line["text"],
            "source_file": line["source_file"],
            "source_row": line["line"],
            "run_id": run_id,
            "quarantined_at": now,
        }
        for line in lines.to_pylist()
    ]

    def frame() -> pa.Table:
        import pyarrow as pa

        return pa.Table.from_pylist(rows, schema=schema())

    return Rejected(table, slices, len(rows), frame, run_id)


def _staged_frame(
    stage: Stage, layer: str, slices: tuple[str, ...], placed: Mapping[str, str], run_id: str, spark: SparkSession
) -> DataFrame:
    from pyspark.sql import functions as F

    from medallion.engine.frames import from_arrow, read_delta

    rows = read_delta(spark, stage.uri).where(F.col(OUTCOME) == REJECTED)
    columns = [name for name in stage.partition_columns if name != OUTCOME]
    place = F.lit(slices[0])
    if columns:
        places = _places(stage, columns, placed)
        if places.num_rows:
            kinds = dict(rows.dtypes)
            keys = [F.col(f"_key{n}").cast(kinds[name]) == F.col(f"`{name}`") for n, name in enumerate(columns)]
            rows = rows.join(from_arrow(spark, places), keys, "left")
            place = F.coalesce(F.col("_place"), place)
        if BATCH in rows.columns:
            # The batch a row arrived in tells its slice even where the partition column itself is what is wrong.
            place = F.when(F.col(BATCH).isin(*slices), F.col(BATCH)).otherwise(place)
    return rows.select(
        F.lit(layer).alias("layer"),
        place.alias("slice"),
        broken_rules(F.col(ERRORS)).alias("rules"),
        F.col(RAW).alias("raw"),
        F.get_json_object(RAW, "$._source_file").alias("source_file"),
        F.get_json_object(RAW, "$._source_row").cast("long").alias("source_row"),
        F.lit(run_id).alias("run_id"),
        F.lit(dt.datetime.now(dt.UTC)).alias("quarantined_at"),
    )


def _places(stage: Stage, columns: Sequence[str], placed: Mapping[str, str]) -> pa.Table:
    """The slice of each combination of partition values that rejected rows have; values as text."""
    import pyarrow as pa

    found = {partition_label(columns, file.partition): file.partition for file in stage.select(REJECTED)}
    rows = [
        {**{f"_key{n}": raw[name] for n, name in enumerate(columns)}, "_place": placed[label]}
        for label, raw in found.items()
        if label in placed
    ]
    names = [*[f"_key{n}" for n in range(len(columns))], "_place"]
    return pa.Table.from_pylist(rows, schema=pa.schema([(name, pa.string()) for name in names]))
