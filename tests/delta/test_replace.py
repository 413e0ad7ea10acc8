"""A write that replaces touches the rows of its slice and no others."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa
import pytest

from medallion.delta.frames import read_spark
from medallion.delta.publish import row_count
from medallion.delta.schema import SchemaError
from medallion.engine.frames import from_arrow
from medallion.partitions import SliceError

# Whether the slice column is a physical partition decides between swapping files and rewriting them.
LAYOUTS = pytest.mark.parametrize("partition_by", [("day",), ()], ids=["swapped", "rewritten"])
SPECIAL = [
    *["a b", "a/b", "a\\b", "100%", "a%20b", "%2F", "a'b", 'a"b', "a,b", "a=b", "a?b", "a#b", "a*b", "a:b", "a|b"],
    *["ü", "e\u0301", "日本", "a\nb", " x ", "~", ".", "..", "null", "__HIVE_DEFAULT_PARTITION__", "a+b", "a&b"],
]


@LAYOUTS
def test_the_other_slices_keep_their_rows(lake: Any, days: Any, rows: Any, partition_by: tuple[str, ...]) -> None:
    for day in ("01", "02", "03"):
        lake.write(rows((day, 1)), days(day), partition_by)
    lake.write(rows(("02", 7), ("02", 8)), days("02"), partition_by)
    assert lake.pairs() == [("01", 1), ("02", 7), ("02", 8), ("03", 1)]


def test_the_other_slices_keep_their_files(lake: Any, days: Any, rows: Any) -> None:
    lake.write(rows(("01", 1), ("02", 1)), days("01", "02"), ("day",))
    others, own = lake.files(days("01")), lake.files(days("02"))
    lake.write(rows(("02", 2)), days("02"), ("day",))
    assert lake.files(days("01")) == others
    assert not lake.files(days("02")) & own


@LAYOUTS
def test_replacing_twice_is_replacing_once(lake: Any, days: Any, rows: Any, partition_by: tuple[str, ...]) -> None:
    for _ in range(2):
        lake.write(rows(("01", 1), ("02", 2)), days("01", "02"), partition_by)
    assert lake.pairs() == [("01", 1), ("02", 2)]


@LAYOUTS
def test_a_slice_without_rows_ends_up_empty(lake: Any, days: Any, rows: Any, partition_by: tuple[str, ...]) -> None:
    lake.write(rows(("01", 1), ("02", 2)), days("01", "02"), partition_by)
    lake.write(rows(), days("02"), partition_by)
    assert lake.pairs() == [("01", 1)]


@LAYOUTS
def test_a_first_write_without_rows_makes_an_empty_table(lake: Any, rows: Any, partition_by: tuple[str, ...]) -> None:
    lake.write(rows(), partition_by=partition_by)
    assert lake.rows() == []
    assert [item.name for item in lake.table.schema().fields] == ["day", "amount"]


@LAYOUTS
@pytest.mark.parametrize("stray", ["02", None])
def test_a_row_outside_of_the_slice_is_refused(
    lake: Any, days: Any, rows: Any, partition_by: tuple[str, ...], stray: str | None
) -> None:
    lake.write(rows(("01", 1), ("02", 2)), days("01", "02"), partition_by)
    with pytest.raises(SliceError, match=r"outside of slice 01.*nothing was written"):
        lake.write(rows(("01", 5), (stray, 6)), days("01"), partition_by)
    assert lake.version == 1
    assert lake.pairs() == [("01", 1), ("02", 2)]


def test_a_refused_row_is_named_with_its_partition(lake: Any, days: Any, rows: Any) -> None:
    with pytest.raises(SliceError, match=r"silver/shop/orders.*day=02 \(2 rows\)"):
        lake.write(rows(("01", 5), ("02", 6), ("02", 7)), days("01"), ("day",))


def test_the_first_write_is_checked_like_the_next(lake: Any, days: Any, rows: Any) -> None:
    with pytest.raises(SliceError, match="outside of slice 01"):
        lake.write(rows(("02", 6)), days("01"))
    assert lake.rows() == []


@LAYOUTS
def test_the_whole_table_is_replaced_when_the_slice_is_the_table(
    lake: Any, rows: Any, partition_by: tuple[str, ...]
) -> None:
    lake.write(rows(("01", 1), ("02", 2)), partition_by=partition_by)
    lake.write(rows(("03", 3)), partition_by=partition_by)
    assert lake.pairs() == [("03", 3)]


@LAYOUTS
def test_one_write_is_one_commit(lake: Any, days: Any, rows: Any, partition_by: tuple[str, ...]) -> None:
    lake.write(rows(("01", 1)), days("01"), partition_by)
    before = lake.version
    published = lake.write(rows(("01", 2), ("02", 2)), days("01", "02"), partition_by)
    assert lake.version == published.version == before + 1


@LAYOUTS
def test_the_commit_says_which_run_made_it(lake: Any, days: Any, rows: Any, partition_by: tuple[str, ...]) -> None:
    lake.write(rows(("01", 1)), days("01"), partition_by, commit={"dagster/run_id": "r1", "medallion/audit": "{}"})
    assert lake.commit["dagster/run_id"] == "r1"
    assert lake.commit["medallion/audit"] == "{}"


def test_a_published_stage_leaves_only_the_files_of_the_table(lake: Any, days: Any, rows: Any) -> None:
    lake.write(rows(("a b/c%", 1)), days("a b/c%"), ("day",))
    assert set(lake.objects(".parquet")) == lake.files()
    assert all(path.startswith("_delta_log/") for path in lake.objects(".json"))


@pytest.mark.parametrize("engine", ["arrow", "spark"])
def test_partition_values_with_special_characters_are_replaced_and_read(
    lake: Any, days: Any, spark: Any, engine: str
) -> None:
    def write(version: int) -> None:
        table = pa.table({"day": SPECIAL, "amount": [version] * len(SPECIAL)})
        lake.write(table if engine == "arrow" else from_arrow(spark, table), days(*SPECIAL), ("day",))

    write(1)
    write(2)
    expected = Counter((value, 2) for value in SPECIAL)
    assert Counter(lake.pairs()) == expected
    assert Counter(tuple(row) for row in read_spark(spark, lake.store, lake.path).collect()) == expected
    assert lake.table.count() == len(SPECIAL)


@pytest.mark.parametrize("value", SPECIAL)
def test_a_special_partition_value_selects_its_own_rows(lake: Any, days: Any, rows: Any, value: str) -> None:
    lake.write(rows((value, 1), ("other", 2)), days(value, "other"), ("day",))
    lake.write(rows((value, 3)), days(value), ("day",))
    assert sorted(lake.pairs()) == sorted([("other", 2), (value, 3)])
    assert row_count(lake.store, lake.path, days(value)) == 1


def test_an_empty_partition_value_is_refused_because_delta_reads_it_as_null(lake: Any, days: Any, rows: Any) -> None:
    with pytest.raises(SliceError, match="outside of slice"):
        lake.write(rows(("", 1)), days(""), ("day",))


@LAYOUTS
def test_replacing_the_schema_needs_the_whole_table(
    lake: Any, days: Any, rows: Any, partition_by: tuple[str, ...]
) -> None:
    lake.write(rows(("01", 1)), partition_by=partition_by)
    other = pa.table({"day": ["01"], "price": ["x"]})
    with pytest.raises(SchemaError, match="only a write of the whole table may drop or retype"):
        lake.write(other, days("01"), partition_by, evolution="replace")
    lake.write(other, partition_by=partition_by, evolution="replace")
    assert lake.rows() == [{"day": "01", "price": "x"}]
    assert [item.name for item in lake.table.schema().fields] == ["day", "price"]


@LAYOUTS
def test_a_missing_column_is_null_under_additive_evolution(
    lake: Any, days: Any, rows: Any, partition_by: tuple[str, ...]
) -> None:
    lake.write(rows(("01", 1)), days("01"), partition_by)
    wide = rows(("02", 2)).append_column("note", pa.array(["n"]))
    lake.write(wide, days("02"), partition_by, evolution="additive")
    lake.write(rows(("03", 3)), days("03"), partition_by, evolution="additive")
    lake.write(rows(("04", 4)), days("04"), partition_by, evolution="additive", schema=lake.table.schema())
    assert lake.pairs() == [("01", 1, None), ("02", 2, "n"), ("03", 3, None), ("04", 4, None)]


@LAYOUTS
def test_strict_evolution_refuses_by_name(lake: Any, days: Any, rows: Any, partition_by: tuple[str, ...]) -> None:
    lake.write(rows(("01", 1)), days("01"), partition_by)
    refused = {
        "changed type of amount: long -> double": pa.table({"day": ["01"], "amount": [1.5]}),
        "missing column amount: long": pa.table({"day": ["01"], "note": ["n"]}),
        "new column note: string": rows(("01", 1)).append_column("note", pa.array(["n"])),
    }
    for message, frame in refused.items():
        with pytest.raises(SchemaError, match=message):
            lake.write(frame, days("01"), partition_by)
    assert lake.pairs() == [("01", 1)]
    assert lake.version == 1
