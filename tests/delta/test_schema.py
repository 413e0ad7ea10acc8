"""What may change about a table's columns, and how the table of a contract is made."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from deltalake import Field, Schema

from medallion.delta.schema import (
    SchemaError,
    check_contract,
    check_declared,
    check_evolution,
    extra_column,
    is_wider,
    type_name,
)


def schema(**kinds: pa.DataType) -> Schema:
    return Schema.from_arrow(pa.schema(list(kinds.items())))


def required(name: str, of: Schema) -> Schema:
    """The schema with one column NOT NULL."""
    return Schema([Field(f.name, f.type, nullable=f.nullable and f.name != name) for f in of.fields])


BASE = schema(id=pa.string(), amount=pa.int64())
WIDE = schema(id=pa.string(), amount=pa.int64(), note=pa.string())
OTHER = schema(id=pa.string(), amount=pa.float64())


def test_equal_columns_pass_in_any_order() -> None:
    turned = schema(amount=pa.int64(), id=pa.string())
    for evolution in ("strict", "additive", "replace"):
        assert check_evolution("t", BASE, turned, evolution, whole=False) == ()


def test_additive_returns_what_the_table_has_to_change() -> None:
    changes = check_evolution("t", BASE, WIDE, "additive", whole=False)
    assert [str(change) for change in changes] == ["new column note: string"]


def test_additive_allows_nullable_columns_that_did_not_come() -> None:
    assert check_evolution("t", WIDE, BASE, "additive", whole=False) == ()


def test_additive_refuses_to_leave_a_not_null_column_without_values() -> None:
    with pytest.raises(SchemaError, match="missing column note: string"):
        check_evolution("t", required("note", WIDE), BASE, "additive", whole=False)


def test_replace_of_the_whole_table_allows_anything() -> None:
    assert {change.kind for change in check_evolution("t", WIDE, OTHER, "replace", whole=True)} == {
        "removed",
        "retyped",
    }


@pytest.mark.parametrize(
    ("current", "incoming", "evolution", "message"),
    [
        (BASE, WIDE, "strict", r"t: new column note: string; .*schema_evolution='additive'.*medallion migrate"),
        (WIDE, BASE, "strict", r"t: missing column note: string; "),
        (BASE, OTHER, "strict", r"t: changed type of amount: long -> double; "),
        (BASE, OTHER, "additive", r"changed type of amount: long -> double; .*new columns and wider types"),
        (WIDE, BASE, "replace", r"missing column note: string; only a write of the whole table"),
        (BASE, WIDE, "replace", r"new column note: string; only a write of the whole table"),
    ],
)
def test_a_refused_difference_is_named(current: Schema, incoming: Schema, evolution: Any, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        check_evolution("t", current, incoming, evolution, whole=False)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        *[("byte", "short"), ("byte", "integer"), ("byte", "long"), ("short", "integer"), ("short", "long")],
        *[
            ("integer", "long"),
            ("float", "double"),
            ("decimal(10,2)", "decimal(12,2)"),
            ("decimal(10,2)", "decimal(12,4)"),
        ],
    ],
)
def test_a_type_that_holds_every_value_is_wider(old: str, new: str) -> None:
    assert is_wider(old, new)
    assert not is_wider(new, old)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        *[
            ("long", "double"),
            ("integer", "double"),
            ("integer", "decimal(12,2)"),
            ("long", "string"),
            ("string", "long"),
        ],
        *[("decimal(10,2)", "decimal(10,2)"), ("decimal(10,2)", "decimal(11,4)"), ("decimal(10,2)", "decimal(12,1)")],
        *[("date", "timestamp"), ("timestamp", "timestamp_ntz"), ("boolean", "integer"), ("double", "decimal(38,18)")],
    ],
)
def test_a_type_of_another_kind_or_with_fewer_digits_is_not_wider(old: str, new: str) -> None:
    assert not is_wider(old, new)


def test_a_type_inside_of_a_struct_is_not_widened() -> None:
    narrow, wide = (schema(s=pa.struct([("x", kind)])) for kind in (pa.int32(), pa.int64()))
    with pytest.raises(SchemaError, match=r"changed type of s: .*integer.* -> .*long"):
        check_evolution("t", narrow, wide, "additive", whole=False)


def test_two_columns_may_not_differ_in_case_only() -> None:
    with pytest.raises(SchemaError, match="new column ID: string differs from the column id in case only"):
        check_evolution("t", BASE, schema(ID=pa.string(), amount=pa.int64()), "additive", whole=False)


def test_a_partition_column_keeps_its_type() -> None:
    narrow, wide = schema(n=pa.int32(), x=pa.string()), schema(n=pa.int64(), x=pa.string())
    with pytest.raises(SchemaError, match=r"wider type of n: integer -> long; .*no partition"):
        check_evolution("t", narrow, wide, "additive", whole=False, partition_by=("n",))


@pytest.mark.parametrize(
    ("current", "incoming", "says"), [(0, 1, "id becomes nullable"), (1, 0, "id becomes NOT NULL")]
)
def test_nullability_is_a_difference_that_only_additive_evolution_takes(current: int, incoming: int, says: str) -> None:
    both = [required("id", BASE), BASE]
    with pytest.raises(SchemaError, match=says):
        check_evolution("t", both[current], both[incoming], "strict", whole=False)
    changes = check_evolution("t", both[current], both[incoming], "additive", whole=False)
    assert [str(change) for change in changes] == [says]


class TestContract:
    def test_a_column_that_left_the_contract_is_refused_with_the_two_steps_it_may_mean(self) -> None:
        with pytest.raises(SchemaError, match=r"missing column note: string; .*--rename note:NEW or --drop note"):
            check_contract("t", WIDE, BASE, "additive", whole=False)

    def test_a_column_that_came_with_data_may_be_in_no_contract(self) -> None:
        extra = Schema([*BASE.fields, extra_column(WIDE.fields[2])])
        check_contract("t", extra, BASE, "additive", whole=False)
        with pytest.raises(SchemaError, match="the contract differs from the table: missing column note"):
            check_contract("t", extra, BASE, "strict", whole=False)

    def test_the_whole_table_may_be_replaced_by_another_contract(self) -> None:
        check_contract("t", WIDE, OTHER, "replace", whole=True)


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
