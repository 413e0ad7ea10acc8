"""Frames of every library in and out of one table."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from deltalake.exceptions import DeltaError
from pyspark.sql import functions as F

from medallion.delta.frames import UnsupportedFrameError, arrow_reader, empty, load, read_spark, stage_writer
from medallion.engine.frames import from_arrow
from medallion.partitions import WHOLE


def as_polars(table: pa.Table) -> pl.DataFrame:
    return pl.DataFrame(table)


def as_lazy(table: pa.Table) -> pl.LazyFrame:
    return pl.DataFrame(table).lazy()


WRITERS = {
    "table": lambda table, spark: table,
    "reader": lambda table, spark: table.to_reader(),
    "polars": lambda table, spark: as_polars(table),
    "lazy": lambda table, spark: as_lazy(table),
    "spark": lambda table, spark: from_arrow(spark, table).withColumn("wall", F.col("wall").cast("timestamp_ntz")),
}
ROW = {
    "text": "ü'\n",
    "number": 2**40,
    "small": 7,
    "ratio": 0.5,
    "flag": True,
    "day": dt.date(2024, 2, 29),
    "at": dt.datetime(2024, 2, 29, 1, 2, 3, 456789, dt.UTC),
    "wall": dt.datetime(2024, 2, 29, 1, 2, 3),
    "tags": ["a", None],
}
SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("number", pa.int64()),
        ("small", pa.int32()),
        ("ratio", pa.float64()),
        ("flag", pa.bool_()),
        ("day", pa.date32()),
        ("at", pa.timestamp("us", "UTC")),
        ("wall", pa.timestamp("us")),
        ("tags", pa.list_(pa.string())),
    ]
)
TABLE = pa.Table.from_pylist([ROW, dict.fromkeys(ROW)], schema=SCHEMA)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_frame_of_any_library_is_stored_with_its_types_and_nulls(lake: Any, spark: Any, kind: str) -> None:
    lake.write(WRITERS[kind](TABLE, spark))
    assert pa.table(lake.table.scan()).to_pylist() == [ROW, dict.fromkeys(ROW)]
    types = {item.name: str(getattr(item.type, "type", "array")) for item in lake.table.schema().fields}
    assert types == {
        **{"text": "string", "number": "long", "small": "integer", "ratio": "double", "flag": "boolean"},
        **{"day": "date", "at": "timestamp", "wall": "timestamp_ntz", "tags": "array"},
    }


@pytest.mark.parametrize("kind", [pa.Table, pa.RecordBatchReader, pl.DataFrame, pl.LazyFrame])
def test_a_table_is_loaded_as_the_annotated_type(lake: Any, kind: Any) -> None:
    lake.write(TABLE)
    loaded = load(kind, lake.table, WHOLE, None)
    assert isinstance(loaded, kind)
    eager = loaded.collect() if isinstance(loaded, pl.LazyFrame) else loaded
    table = eager.to_arrow() if isinstance(eager, pl.DataFrame) else pa.table(eager)
    assert table.column_names == SCHEMA.names
    assert table.to_pylist() == [ROW, dict.fromkeys(ROW)]


@pytest.mark.parametrize("kind", [pa.Table, pa.RecordBatchReader, pl.DataFrame, pl.LazyFrame])
def test_a_slice_is_loaded_without_its_slice_column(lake: Any, days: Any, rows: Any, kind: Any) -> None:
    lake.write(rows(("01", 1), ("02", 2)), partition_by=("day",))
    loaded = load(kind, lake.table, days("02"), ["amount"])
    eager = loaded.collect() if isinstance(loaded, pl.LazyFrame) else loaded
    assert (eager.to_dicts() if isinstance(eager, pl.DataFrame) else pa.table(eager).to_pylist()) == [{"amount": 2}]


def test_a_slice_is_read_by_spark_without_its_slice_column(lake: Any, days: Any, rows: Any, spark: Any) -> None:
    lake.write(rows(("01", 1), ("02", 2)), partition_by=("day",))
    frame = read_spark(spark, lake.store, lake.path, days("02"), ["amount"])
    assert frame.columns == ["amount"]
    assert [tuple(row) for row in frame.collect()] == [(2,)]


def test_a_spark_frame_sees_the_version_it_was_made_from(lake: Any, rows: Any, spark: Any) -> None:
    lake.write(rows(("01", 1)))
    frame = read_spark(spark, lake.store, lake.path)
    lake.write(rows(("01", 1), ("01", 2)))
    assert frame.count() == 1


@pytest.mark.parametrize("kind", [pa.Table, pa.RecordBatchReader, pl.DataFrame, pl.LazyFrame])
def test_an_empty_frame_has_the_declared_columns(lake: Any, rows: Any, spark: Any, kind: Any) -> None:
    lake.write(TABLE)
    frame = empty(kind, lake.table.schema(), lambda: spark)
    assert isinstance(frame, kind)
    eager = frame.collect() if isinstance(frame, pl.LazyFrame) else frame
    names = eager.columns if isinstance(eager, pl.DataFrame) else eager.schema.names
    assert names == SCHEMA.names


def test_an_empty_spark_frame_has_the_declared_columns_and_types(lake: Any, spark: Any) -> None:
    from pyspark.sql import DataFrame

    lake.write(TABLE)
    stored = read_spark(spark, lake.store, lake.path)
    for kind in (DataFrame, Any):
        frame = empty(kind, lake.table.schema(), lambda: spark)
        assert frame.dtypes == stored.dtypes
        assert frame.count() == 0


@pytest.mark.parametrize("thing", [[1, 2], {"a": 1}, None, "text"])
def test_what_is_no_frame_is_refused_with_the_choices(thing: Any) -> None:
    with pytest.raises(UnsupportedFrameError, match="return a Spark DataFrame, a pyarrow Table"):
        arrow_reader(thing)


def test_an_unknown_input_type_is_refused_with_the_choices(lake: Any, rows: Any) -> None:
    lake.write(rows(("01", 1)))
    with pytest.raises(UnsupportedFrameError, match="annotate it as a Spark DataFrame"):
        load(dict, lake.table, WHOLE, None)


def test_an_unsigned_number_beyond_the_signed_range_is_an_error_and_not_another_number(lake: Any) -> None:
    with pytest.raises(DeltaError, match="cast"):
        lake.write(pa.table({"n": pa.array([2**64 - 1], pa.uint64())}))


def test_a_stage_is_written_without_reading_the_whole_stream_first(lake: Any) -> None:
    taken = []

    def batches() -> Any:
        for n in range(3):
            taken.append(n)
            yield pa.record_batch({"n": [n]})

    reader = pa.RecordBatchReader.from_batches(pa.schema([("n", pa.int64())]), batches())
    writer = stage_writer(reader, lake.store)
    assert taken == []
    writer(lake.store.uri((*lake.path, "stage-x")), ["_outcome"])
    assert taken == [0, 1, 2]
