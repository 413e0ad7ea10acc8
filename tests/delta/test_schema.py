"""What may change about a table's columns, and how the table of a contract is made."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from deltalake import Schema

from medallion.delta.schema import SchemaError, check_declared, check_evolution, type_name


def schema(**kinds: pa.DataType) -> Schema:
    return Schema.from_arrow(pa.schema(list(kinds.items())))


BASE = schema(id=pa.string(), amount=pa.int64())
WIDE = schema(id=pa.string(), amount=pa.int64(), note=pa.string())
OTHER = schema(id=pa.string(), amount=pa.float64())


@pytest.mark.parametrize("evolution", ["strict", "additive", "replace"])
def test_equal_columns_pass_in_any_order(evolution: Any) -> None:
    turned = schema(amount=pa.int64(), id=pa.string())
    assert check_evolution("t", BASE, turned, evolution, whole=False) == []


def test_additive_returns_the_columns_to_add() -> None:
    assert [item.name for item in check_evolution("t", BASE, WIDE, "additive", whole=False)] == ["note"]


def test_additive_allows_columns_that_did_not_come() -> None:
    assert check_evolution("t", WIDE, BASE, "additive", whole=False) == []


def test_replace_of_the_whole_table_allows_anything() -> None:
    assert check_evolution("t", WIDE, OTHER, "replace", whole=True) == []


@pytest.mark.parametrize(
    ("current", "incoming", "evolution", "message"),
    [
        (BASE, WIDE, "strict", r"t: new columns \['note'\]; declare schema_evolution='additive'"),
        (WIDE, BASE, "strict", r"t: missing columns \['note'\]"),
        (BASE, OTHER, "strict", r"t: changed types \['amount: long -> double'\]"),
        (BASE, OTHER, "additive", r"changed types.*types may not change"),
        (WIDE, BASE, "replace", r"missing columns \['note'\]; only a write of the whole table"),
    ],
)
def test_a_refused_difference_is_named(current: Schema, incoming: Schema, evolution: Any, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        check_evolution("t", current, incoming, evolution, whole=False)


def test_a_transform_must_return_the_types_of_its_contract() -> None:
    with pytest.raises(SchemaError, match="amount is double, the contract says long"):
        check_declared("t", BASE, OTHER)
    with pytest.raises(SchemaError, match=r"missing columns \['note'\]"):
        check_declared("t", WIDE, BASE)
    check_declared("t", BASE, WIDE)


def test_nullability_of_nested_parts_is_no_difference() -> None:
    def nested(nullable: bool) -> Any:
        item = pa.field("item", pa.struct([pa.field("x", pa.int32(), nullable=nullable)]), nullable=nullable)
        return Schema.from_arrow(pa.schema([("l", pa.list_(item))])).fields[0]

    assert type_name(nested(True)) == type_name(nested(False))


def test_a_decimal_of_another_scale_is_a_difference() -> None:
    with pytest.raises(SchemaError, match=r"decimal\(12,2\) -> decimal\(12,3\)"):
        check_evolution("t", schema(a=pa.decimal128(12, 2)), schema(a=pa.decimal128(12, 3)), "strict", whole=True)


def test_a_new_table_has_the_nullability_and_comments_of_its_schema(lake: Any, rows: Any) -> None:
    from deltalake import Field
    from deltalake.schema import PrimitiveType

    contract = Schema(
        [
            Field("day", PrimitiveType("string"), nullable=False, metadata={"comment": "The day."}),
            Field("amount", PrimitiveType("long"), nullable=True),
        ]
    )
    lake.write(rows(("01", 1)), schema=contract, partition_by=("day",))
    day, amount = lake.table.schema().fields
    assert (day.nullable, amount.nullable) == (False, True)
    assert day.metadata == {"comment": "The day."}
    lake.write(rows(("01", 2)), schema=contract, partition_by=("day",))
    assert lake.table.schema().fields[0].metadata == {"comment": "The day."}


def test_a_column_that_is_added_later_is_nullable(lake: Any, rows: Any) -> None:
    lake.write(rows(("01", 1)))
    wide = rows(("01", 1)).append_column(pa.field("note", pa.string(), nullable=False), pa.array(["n"]))
    lake.write(wide, evolution="additive")
    assert lake.table.schema().fields[2].nullable
