"""Materialization metadata: the numbers of the table and of the write."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from deltalake import Field, Schema
from deltalake.schema import PrimitiveType

from medallion.delta.publish import Write, publish
from medallion.delta.report import column_schema, output_metadata

CONTRACT = Schema(
    [
        Field("day", PrimitiveType("string"), nullable=False, metadata={"comment": "The day."}),
        Field("amount", PrimitiveType("long"), nullable=True),
    ]
)


def reported(lake: Any, frame: Any, selection: Any, seconds: float = 2.0, **options: Any) -> dict[str, Any]:
    write = Write(lake.stage(frame, ("day",)), selection, CONTRACT, ("day",), **options)
    return output_metadata(write, publish(write), seconds)


def test_the_numbers_are_those_of_the_table_and_of_the_write(lake: Any, days: Any, rows: Any) -> None:
    lake.write(rows(("01", 1), ("01", 2)), days("01"), ("day",), schema=CONTRACT)
    found = reported(lake, rows(("02", 1), ("02", 2), ("02", 3)), days("02"))
    sizes = pa.table(lake.table.get_add_actions())["size_bytes"].to_pylist()
    assert found["dagster/row_count"] == 5
    assert found["dagster/size_bytes"] == sum(sizes)
    assert found["dagster/table_name"] == "silver.shop.orders"
    assert found["dagster/uri"] == lake.store.uri(lake.path)
    assert (found["delta/version"], found["delta/operation"], found["delta/files"]) == (2, "replace", 2)
    assert (found["rows_written"], found["seconds"], found["rows_per_second"]) == (3, 2.0, 2)
    assert (found["delta/files_added"], found["delta/files_removed"]) == (1, 0)
    assert found["slice"] == "02"


def test_a_skipped_append_wrote_no_rows(lake: Any, days: Any, rows: Any) -> None:
    reported(lake, rows(("01", 1)), days("01"), mode="append", transactions=("r",))
    found = reported(lake, rows(("01", 1)), days("01"), mode="append", transactions=("r",))
    assert (found["delta/operation"], found["rows_written"], found["dagster/row_count"]) == ("skipped", 0, 1)


def test_an_empty_table_counts_nothing(lake: Any, rows: Any) -> None:
    from medallion.partitions import WHOLE

    found = reported(lake, rows(), WHOLE, seconds=0.0)
    assert (found["dagster/row_count"], found["dagster/size_bytes"], found["rows_per_second"]) == (0, 0, 0)


def test_columns_are_shown_with_type_description_nullability_and_key() -> None:
    day, amount = column_schema(CONTRACT, ("day",)).columns
    assert (day.name, day.type, day.description) == ("day", "string", "The day.")
    assert day.constraints == dg.TableColumnConstraints(nullable=False, unique=True)
    assert (amount.description, amount.constraints.nullable, amount.constraints.unique) == (None, True, False)


@pytest.mark.parametrize("keys", [(), ("day", "amount")])
def test_a_column_is_unique_only_if_it_alone_is_the_key(keys: tuple[str, ...]) -> None:
    assert not any(column.constraints.unique for column in column_schema(CONTRACT, keys).columns)


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        (pa.int64(), "bigint"),
        (pa.int32(), "int"),
        (pa.int16(), "smallint"),
        (pa.int8(), "tinyint"),
        (pa.string(), "string"),
        (pa.bool_(), "boolean"),
        (pa.float64(), "double"),
        (pa.date32(), "date"),
        (pa.timestamp("us", "UTC"), "timestamp"),
        (pa.timestamp("us"), "timestamp_ntz"),
        (pa.decimal128(12, 2), "decimal(12,2)"),
        (pa.list_(pa.int64()), "array<bigint>"),
        (pa.map_(pa.string(), pa.int8()), "map<string,tinyint>"),
        (pa.struct([("id", pa.int32()), ("tags", pa.list_(pa.int16()))]), "struct<id:int,tags:array<smallint>>"),
    ],
    ids=str,
)
def test_types_have_the_names_of_spark_sql(kind: pa.DataType, shown: str) -> None:
    (column,) = column_schema(Schema.from_arrow(pa.schema([("it", kind)]))).columns
    assert column.type == shown
