"""Every type of PostgreSQL: how the driver's value and the log's text become the contract's."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medallion.postgres.catalog import describe
from medallion.postgres.connection import Connection, connect
from medallion.postgres.types import CastError, Reading, SourceColumn, elements_of, read_as
from tests.fixtures.postgres import Server

UTC = dt.UTC
INSTANT, WALL = pa.timestamp("us", "UTC"), pa.timestamp("us")
# Type in SQL, its Arrow type in the contract, and values: as SQL writes them, and as they are to arrive.
CASES: list[tuple[str, pa.DataType, list[tuple[str, Any]]]] = [
    ("boolean", pa.bool_(), [("true", True), ("false", False)]),
    ("smallint", pa.int16(), [("-32768", -32768)]),
    ("integer", pa.int32(), [("2147483647", 2147483647)]),
    ("bigint", pa.int64(), [("-9223372036854775808", -(2**63))]),
    ("bigint", pa.int32(), [("7", 7)]),
    ("smallint", pa.int64(), [("7", 7)]),
    ("oid", pa.int64(), [("4294967295", 4294967295)]),
    ("real", pa.float32(), [("1.5", 1.5), ("'Infinity'", float("inf"))]),
    ("real", pa.float64(), [("1.5", 1.5)]),
    ("double precision", pa.float64(), [("0.1", 0.1), ("'-Infinity'", float("-inf")), ("1e-300", 1e-300)]),
    ("numeric(5,2)", pa.decimal128(5, 2), [("-999.99", Decimal("-999.99")), ("0", Decimal("0.00"))]),
    ("numeric", pa.decimal128(38, 10), [("12345678901234567890.0123", Decimal("12345678901234567890.0123"))]),
    ("numeric", pa.decimal128(5, 2), [("1.500000", Decimal("1.50"))]),
    ("numeric(4,0)", pa.decimal128(6, 2), [("12", Decimal("12.00"))]),
    ("integer", pa.decimal128(12, 2), [("12", Decimal("12.00"))]),
    ("text", pa.string(), [("'a b '", "a b "), ("''", ""), ("E'tab\\tline\\n'", "tab\tline\n"), ("'ünï✓'", "ünï✓")]),
    ("varchar(5)", pa.string(), [("'abc '", "abc ")]),
    ("char(5)", pa.string(), [("'ab'", "ab"), ("''", "")]),
    ("name", pa.string(), [("'ab'", "ab")]),
    ("date", pa.date32(), [("'0001-01-01'", dt.date(1, 1, 1)), ("'9999-12-31'", dt.date(9999, 12, 31))]),
    (
        "timestamp with time zone",
        INSTANT,
        [
            ("'2022-01-31 10:00:00.123456+05:30'", dt.datetime(2022, 1, 31, 4, 30, 0, 123456, UTC)),
            ("'0001-01-01 00:00+00'", dt.datetime(1, 1, 1, tzinfo=UTC)),
            ("'9999-12-31 23:59:59.999999+00'", dt.datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)),
        ],
    ),
    ("timestamp", WALL, [("'2022-03-27 02:30'", dt.datetime(2022, 3, 27, 2, 30))]),
    ("timestamp(0)", INSTANT, [("'2022-03-27 02:30'", dt.datetime(2022, 3, 27, 2, 30, tzinfo=UTC))]),
    ("bytea", pa.binary(), [("'\\x00ff41'", b"\x00\xffA"), ("''", b"")]),
    ("mood", pa.string(), [("'so-so'", "so-so")]),
    ("uuid", pa.string(), [("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")]),
    ("json", pa.string(), [("'{\"a\" :  1}'", '{"a" :  1}')]),
    ("jsonb", pa.string(), [("'{\"a\" :  1}'", '{"a": 1}')]),
    ("tsvector", pa.string(), [("'fat cat'", "'cat' 'fat'")]),
    ("inet", pa.string(), [("'10.1.2.3'", "10.1.2.3"), ("'10.0.0.0/8'", "10.0.0.0/8")]),
    ("time", pa.string(), [("'24:00'", "24:00:00")]),
    ("timetz", pa.string(), [("'10:00+02'", "10:00:00+02")]),
    ("interval", pa.string(), [("'1 mon 2 days'", "1 mon 2 days")]),
    ("int4range", pa.string(), [("'[1,5)'", "[1,5)")]),
    ("point", pa.string(), [("'(1,2)'", "(1,2)")]),
    ("pair", pa.string(), [("row(1, 'x y')", '(1,"x y")'), ("row(null, null)", "(,)")]),
    ("boolean", pa.string(), [("true", "t")]),
    ("integer", pa.string(), [("7", "7")]),
    ("timestamp with time zone", pa.string(), [("'infinity'", "infinity")]),
    ("numeric", pa.string(), [("'NaN'", "NaN")]),
    ("cents", pa.decimal128(7, 2), [("1.25", Decimal("1.25"))]),
    ("small_cents", pa.decimal128(7, 2), [("1.25", Decimal("1.25"))]),
    (
        "text[]",
        pa.list_(pa.string()),
        [('\'{a,NULL,"NULL","b \\" c","{}",""}\'', ["a", None, "NULL", 'b " c', "{}", ""])],
    ),
    ("text[]", pa.list_(pa.string()), [("'{}'", []), ("'[0:1]={a,b}'", ["a", "b"])]),
    ("text[]", pa.string(), [("'{a,\"b c\"}'", '{a,"b c"}')]),
    ("integer[]", pa.list_(pa.int32()), [("'{1,NULL,-3}'", [1, None, -3])]),
    ("boolean[]", pa.list_(pa.bool_()), [("'{t,f,NULL}'", [True, False, None])]),
    ("numeric(5,2)[]", pa.list_(pa.decimal128(5, 2)), [("'{1.5,NULL}'", [Decimal("1.50"), None]), ("'{}'", [])]),
    ("date[]", pa.list_(pa.date32()), [("'{2022-01-31}'", [dt.date(2022, 1, 31)])]),
    ("timestamptz[]", pa.list_(INSTANT), [("'{2022-01-31 10:00+01}'", [dt.datetime(2022, 1, 31, 9, tzinfo=UTC)])]),
    ("timestamp[]", pa.list_(INSTANT), [("'{2022-01-31 10:00}'", [dt.datetime(2022, 1, 31, 10, tzinfo=UTC)])]),
    ("bytea[]", pa.list_(pa.binary()), [("array['\\x00ff'::bytea]", [b"\x00\xff"])]),
    ("mood[]", pa.list_(pa.string()), [("'{so-so,NULL,ok}'", ["so-so", None, "ok"]), ("'{}'", [])]),
    ("inet[]", pa.list_(pa.string()), [("'{10.1.2.3}'", ["10.1.2.3"])]),
    ("char(3)[]", pa.list_(pa.string()), [("'{a,NULL}'", ["a", None])]),
    ("cents[]", pa.list_(pa.decimal128(7, 2)), [("'{1.25}'", [Decimal("1.25")])]),
]
SETUP = (
    "create type mood as enum ('ok', 'so-so')",
    "create type pair as (a int, b text)",
    "create domain cents as numeric(7,2) check (value >= 0)",
    "create domain small_cents as cents check (value < 10)",
)
REFUSED: list[tuple[str, pa.DataType]] = [
    ("text", pa.int32()),
    ("numeric(10,0)", pa.int64()),
    ("numeric", pa.float64()),
    ("double precision", pa.float32()),
    ("double precision", pa.decimal128(10, 2)),
    ("oid", pa.int32()),
    ("timestamp with time zone", WALL),
    ("timestamp with time zone", pa.date32()),
    ("date", INSTANT),
    ("text[]", pa.list_(pa.int32())),
    ("integer", pa.list_(pa.int32())),
    ("integer[]", pa.int32()),
    ("text", pa.binary()),
    ("uuid", pa.binary()),
]
MISFITS: list[tuple[str, pa.DataType, str]] = [
    ("bigint", pa.int32(), "2147483648"),
    ("integer", pa.int16(), "-32769"),
    ("numeric", pa.decimal128(5, 2), "1000"),
    ("numeric", pa.decimal128(5, 2), "1.005"),
    ("numeric", pa.decimal128(5, 2), "'NaN'"),
    ("numeric", pa.decimal128(5, 2), "'-Infinity'"),
    ("numeric(5,2)", pa.decimal128(5, 2), "'NaN'"),
    ("bigint", pa.decimal128(5, 2), "1000"),
    ("date", pa.date32(), "'infinity'"),
    ("date", pa.date32(), "'0044-03-15 BC'"),
    ("date", pa.date32(), "'10000-01-01'"),
    ("timestamp with time zone", INSTANT, "'-infinity'"),
    ("timestamp with time zone", INSTANT, "'infinity'"),
    ("timestamp", INSTANT, "'10000-01-01'"),
    ("text[]", pa.list_(pa.string()), "'{{a,b},{c,d}}'"),
    ("numeric[]", pa.list_(pa.decimal128(5, 2)), "'{1,1.005}'"),
    ("date[]", pa.list_(pa.date32()), "'{infinity}'"),
]


@pytest.fixture(scope="module")
def postgres(postgres_server: Server) -> Iterator[Connection]:
    """One database for all types, as a fresh one for each takes longer than the test."""
    with postgres_server.database() as url, connect("test", url) as connection:
        for statement in SETUP:
            connection.execute(statement)
        yield connection


def reading_of(postgres: Connection, kind: str, target: pa.DataType) -> Reading | None:
    postgres.execute("drop table if exists typed")
    postgres.execute(f'create table typed (id int, "Odd ""name" {kind})')
    return read_as(describe(postgres, "typed").columns['Odd "name'], target)


@pytest.mark.parametrize(("kind", "target", "values"), CASES, ids=[f"{case[0]}-{case[1]}" for case in CASES])
def test_a_value_arrives_as_it_is_by_query_and_by_log(
    postgres: Connection, kind: str, target: pa.DataType, values: list[tuple[str, Any]]
) -> None:
    reading = reading_of(postgres, kind, target)
    assert reading is not None
    rows = ", ".join(f"({number}, {text})" for number, (text, _) in enumerate(values))
    postgres.execute(f"insert into typed values {rows}, ({len(values)}, null)")
    # What the log has of a value is what the type's output function writes, as format() does.
    shown = "case when {0} is distinct from null then format('%s', {0}) end".format('"Odd ""name"')
    found = postgres.query(f"select {reading.select} as value, {shown} as text from typed order by id")
    expected = [value for _, value in values] + [None]
    assert reading.cast(found.column("value")).to_pylist() == expected
    assert reading.from_text(found.column("text").combine_chunks()).to_pylist() == expected
    assert reading.cast(found.column("value")).type == target
    if reading.unfit is not None:
        assert not any(postgres.query(f"select {reading.unfit} as unfit from typed").column("unfit").to_pylist())


@pytest.mark.parametrize(("kind", "target"), REFUSED, ids=[f"{case[0]}-{case[1]}" for case in REFUSED])
def test_a_type_that_could_lose_something_is_refused(postgres: Connection, kind: str, target: pa.DataType) -> None:
    assert reading_of(postgres, kind, target) is None


@pytest.mark.parametrize(("kind", "target", "value"), MISFITS, ids=[f"{case[0]}-{case[2]}" for case in MISFITS])
def test_a_value_that_the_contract_cannot_hold_is_found_by_the_source_and_in_the_log(
    postgres: Connection, kind: str, target: pa.DataType, value: str
) -> None:
    reading = reading_of(postgres, kind, target)
    assert reading is not None
    postgres.execute(f"insert into typed values (1, {value}), (2, null)")
    assert postgres.query(f"select bool_or({reading.unfit}) as unfit from typed").column("unfit").to_pylist() == [True]
    shown = postgres.query('select format(\'%s\', "Odd ""name") as text from typed where id = 1').column("text")
    with pytest.raises(CastError):
        reading.from_text(shown.combine_chunks())


_TEXTS = st.lists(
    st.one_of(st.none(), st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))), max_size=4
)


@settings(max_examples=40, deadline=None)
@given(items=_TEXTS)
def test_any_list_of_texts_is_read_back_from_the_servers_text(postgres: Connection, items: list[str | None]) -> None:
    # Without a text the driver can't tell what the list is of.
    found = postgres.query("select ($1::text[])[2:]::text as shown", (["", *items],))
    assert elements_of(found.column("shown")[0].as_py()) == items


def test_a_sliced_array_of_decimals_keeps_its_place() -> None:
    opaque = pa.opaque(pa.string(), "numeric", "PostgreSQL")
    values = pa.ExtensionArray.from_storage(opaque, pa.array(["1.5", "2.5", "3.5"]))
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), values).slice(1)
    reading = read_as(SourceColumn("c", "numeric[]", "numeric", 1), pa.list_(pa.decimal128(5, 2)))
    assert reading is not None
    assert reading.cast(lists).to_pylist() == [[Decimal("2.50")], [Decimal("3.50")]]
