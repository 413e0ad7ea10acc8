"""Old versions of a Delta table, read from their files."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError, TableNotFoundError

from medallion.engine.frames import read_version
from medallion.engine.snapshot import read_snapshot

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def rows(frame: DataFrame) -> list[tuple[Any, ...]]:
    return sorted((tuple(row) for row in frame.collect()), key=repr)


def arrow_rows(table: DeltaTable) -> list[tuple[Any, ...]]:
    return sorted((tuple(row.values()) for row in pa.table(table.scan()).to_pylist()), key=repr)


def partitioned(uri: str, name: str, values: pa.Array) -> None:
    batch = pa.table({"v": pa.array(range(len(values))), name: values, "tail": ["x"] * len(values)})
    write_deltalake(uri, batch, partition_by=[name])


@pytest.mark.parametrize("newest", [9, 10, 11, 23])
def test_every_version_around_checkpoints_has_its_rows(spark: SparkSession, tmp_path: Path, newest: int) -> None:
    uri = str(tmp_path / "table")
    for value in range(newest + 1):
        write_deltalake(uri, pa.table({"v": [value]}), mode="append")
        if value in (10, 20):
            DeltaTable(uri).create_checkpoint()
    assert [read_version(spark, uri, version).count() for version in range(newest + 1)] == list(range(1, newest + 2))


def test_a_version_keeps_its_rows_after_the_table_was_replaced(spark: SparkSession, tmp_path: Path) -> None:
    uri = str(tmp_path / "table")
    write_deltalake(uri, pa.table({"v": [1, 2]}))
    pinned = read_snapshot(spark, uri, 0)
    write_deltalake(uri, pa.table({"v": [3]}), mode="overwrite")
    assert rows(pinned) == [(1,), (2,)]


def test_a_column_that_came_later_is_null_in_older_files(spark: SparkSession, tmp_path: Path) -> None:
    uri = str(tmp_path / "table")
    write_deltalake(uri, pa.table({"a": [1]}))
    write_deltalake(uri, pa.table({"a": [2], "b": ["x"]}), mode="append", schema_mode="merge")
    assert rows(read_snapshot(spark, uri, 0)) == [(1,)]
    assert rows(read_snapshot(spark, uri, 1)) == [(1, None), (2, "x")]


@pytest.mark.parametrize(
    "values",
    [
        pa.array(["a b", "ü/%", None, "x=1", "[a]*{b}"]),
        pa.array([date(2024, 1, 1), None]),
        pa.array([1, -2, None]),
        pa.array([True, False, None]),
        pa.array([Decimal("1.50"), None]),
        pa.array([datetime(2024, 1, 1, 5, 6, 7, 8, UTC), None], pa.timestamp("us", "UTC")),
    ],
    ids=lambda values: str(values.type),
)
def test_partition_values_keep_their_type(spark: SparkSession, tmp_path: Path, values: pa.Array) -> None:
    uri = str(tmp_path / "table")
    partitioned(uri, "p", values)
    frame = read_snapshot(spark, uri, 0)
    assert frame.dtypes == spark.read.format("delta").load(uri).dtypes
    assert rows(frame) == rows(spark.read.format("delta").load(uri))
    assert frame.where("p is null").count() == values.null_count


def test_naive_time_stamps_do_not_shift_with_the_time_zone_of_the_machine(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    uri = str(tmp_path / "table")
    partitioned(uri, "p", pa.array([datetime(2024, 1, 1, 5)], pa.timestamp("us")))
    monkeypatch.setenv("TZ", "America/Sao_Paulo")
    time.tzset()
    try:
        assert rows(read_snapshot(spark, uri, 0).selectExpr("cast(p as string)")) == [("2024-01-01 05:00:00",)]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_an_empty_version_has_the_columns_of_the_table(spark: SparkSession, tmp_path: Path) -> None:
    uri = str(tmp_path / "table")
    write_deltalake(uri, pa.table({"v": pa.array([], pa.int64()), "s": pa.array([], pa.string())}))
    frame = read_snapshot(spark, uri, 0)
    assert frame.dtypes == [("v", "bigint"), ("s", "string")]
    assert frame.count() == 0


def test_a_vacuumed_file_is_an_error_and_not_fewer_rows(spark: SparkSession, tmp_path: Path) -> None:
    uri = str(tmp_path / "table")
    write_deltalake(uri, pa.table({"v": [1]}))
    write_deltalake(uri, pa.table({"v": [2]}), mode="append")
    next(Path(uri).glob("*.parquet")).unlink()
    with pytest.raises(ValueError, match="2 rows in its log and 1 in its files"):
        read_snapshot(spark, uri, 1)


def test_a_table_with_deletion_vectors_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    uri = str(tmp_path / "table")
    frame = spark.range(10)
    frame.write.format("delta").option("delta.enableDeletionVectors", "true").save(uri)
    with pytest.raises(ValueError, match="deletionVectors"):
        read_snapshot(spark, uri, 0)


def test_a_table_or_version_that_is_not_there_is_told_apart(spark: SparkSession, tmp_path: Path) -> None:
    uri = str(tmp_path / "table")
    with pytest.raises(TableNotFoundError):
        read_version(spark, uri, 0)
    write_deltalake(uri, pa.table({"v": [1]}))
    with pytest.raises(DeltaError, match="7"):
        read_version(spark, uri, 7)
