"""Delta reads and writes and Arrow transfer."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given
from hypothesis import strategies as st

from medallion.engine import frames
from medallion.engine.frames import arrow_batches, from_arrow, plain_types, read_delta, write_delta

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_a_new_table_has_the_rows_and_the_partitions(spark: SparkSession, tmp_path: Path) -> None:
    uri = str(tmp_path / "table")
    write_delta(spark.sql("select * from values (1, 'a', 'x'), (2, 'b', 'y') t(v, p, q)"), uri, ["p", "q"])
    assert DeltaTable(uri).metadata().partition_columns == ["p", "q"]
    assert DeltaTable(uri).version() == 0
    assert read_delta(spark, uri).count() == 2
    assert (tmp_path / "table" / "p=a" / "q=x").is_dir()


def test_a_table_that_exists_is_not_written_again(spark: SparkSession, tmp_path: Path) -> None:
    from pyspark.errors import PySparkException

    uri = str(tmp_path / "table")
    write_delta(spark.range(1), uri)
    with pytest.raises(PySparkException, match="already exists"):
        write_delta(spark.range(5), uri)
    assert read_delta(spark, uri).count() == 1


def test_a_pinned_frame_does_not_see_what_is_written_later(spark: SparkSession, tmp_path: Path) -> None:
    uri = str(tmp_path / "table")
    write_delta(spark.range(2), uri)
    pinned = read_delta(spark, uri, 0)
    write_deltalake(uri, pa.table({"id": [7]}), mode="append")
    assert pinned.count() == 2
    assert read_delta(spark, uri).count() == 3


def test_a_negative_version_is_refused(spark: SparkSession) -> None:
    with pytest.raises(ValueError, match="version -1 of the Delta table /t"):
        read_delta(spark, "/t", -1)


def test_batches_hold_all_rows_in_the_order_of_the_frame(spark: SparkSession) -> None:
    reader = arrow_batches(spark.sql("select id, concat('k', id) k from range(100000) order by id desc"))
    batches = list(reader)
    assert len(batches) > 1
    ids = pa.Table.from_batches(batches)["id"].to_pylist()
    assert ids == list(range(99_999, -1, -1))


def test_an_empty_frame_gives_batches_with_its_schema(spark: SparkSession) -> None:
    table = arrow_batches(spark.sql("select 1L a, 'x' b where false")).read_all()
    assert table.num_rows == 0
    assert table.schema == pa.schema({"a": pa.int64(), "b": pa.string()})


def test_batches_can_be_written_by_delta_rs(spark: SparkSession, tmp_path: Path) -> None:
    uri = str(tmp_path / "table")
    frame = spark.sql("select id, cast(id as decimal(18, 2)) d, timestamp_seconds(id) t from range(1000)")
    write_deltalake(uri, arrow_batches(frame))
    assert read_delta(spark, uri, 0).dtypes == frame.dtypes
    assert all(field.nullable for field in DeltaTable(uri).schema().fields)


def test_rows_are_taken_as_they_are_needed(spark: SparkSession) -> None:
    reader = arrow_batches(spark.sql("select sha2(cast(id as string), 256) h from range(20000000)"))
    assert reader.read_next_batch().num_rows > 0
    reader.close()


def test_an_error_in_the_frame_reaches_the_caller(spark: SparkSession) -> None:
    from pyspark.errors import PySparkException

    with pytest.raises(PySparkException, match="Cannot cast string 'x'"):
        arrow_batches(spark.sql("select cast(s as int) from values ('x') t(s)")).read_all()


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        ("Failed to allocate additional 1 KB for HashJoinInput[1]", "spilling_joins=True"),
        ("Failed to allocate additional 1 KB for ExternalSorter[0]", "raise MEDALLION_ENGINE_MEMORY"),
    ],
)
def test_a_query_out_of_memory_says_what_to_set(message: str, advice: str) -> None:
    from pyspark.errors import PySparkException

    with pytest.raises(PySparkException) as failed, frames._memory_advice():
        raise PySparkException(message)
    assert advice in failed.value.__notes__[0]


def test_an_arrow_table_becomes_a_frame(spark: SparkSession) -> None:
    table = pa.table(
        {
            "view": pa.array(["a", None], pa.string_view()),
            "large": pa.array(["b", "c"], pa.large_string()),
            "code": pa.array(["x", "x"]).dictionary_encode(),
            "money": pa.array([Decimal("1.50"), None], pa.decimal128(18, 2)),
            "parts": pa.array([["p"], None], pa.large_list(pa.string_view())),
        }
    )
    frame = from_arrow(spark, table)
    assert dict(frame.dtypes)["money"] == "decimal(18,2)"
    assert [tuple(row) for row in frame.collect()] == [
        ("a", "b", "x", Decimal("1.50"), ["p"]),
        (None, "c", "x", None, None),
    ]


def test_an_arrow_table_too_large_for_a_message_is_refused(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "_LOCAL_RELATION_BYTES", 100)
    with pytest.raises(ValueError, match="write it to a Delta table"):
        from_arrow(spark, pa.table({"v": range(100)}))


PLAIN = st.sampled_from([pa.int32(), pa.string(), pa.date32(), pa.decimal128(18, 2), pa.timestamp("us", "UTC")])
ODD = st.sampled_from([pa.string_view(), pa.large_string(), pa.binary_view(), pa.large_binary()])
TYPES = st.recursive(
    st.one_of(PLAIN, ODD),
    lambda inner: st.one_of(
        inner.map(pa.list_),
        inner.map(pa.large_list),
        inner.map(lambda kind: pa.struct([pa.field("f", kind, nullable=False)])),
        inner.map(lambda kind: pa.map_(pa.string_view(), kind)),
    ),
    max_leaves=4,
)


@given(TYPES)
def test_no_type_keeps_a_view_and_plain_types_are_a_fixed_point(kind: pa.DataType) -> None:
    empty = pa.schema([pa.field("c", kind, nullable=False)]).empty_table()
    plain = plain_types(empty)
    assert "view" not in str(plain.schema)
    assert "large" not in str(plain.schema)
    assert plain.schema.field("c").nullable
    assert plain_types(plain) is plain
