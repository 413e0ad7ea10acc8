"""Rows that differ between two versions, against a comparison in plain Python."""

from __future__ import annotations

import datetime as dt
import math
import tempfile
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from medallion.delta.diff import MASKED, Diff, diff
from medallion.delta.store import DeltaStore

PATH = ("silver", "shop", "orders")
SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("p", pa.string()),
        ("ratio", pa.float64()),
        ("amount", pa.decimal128(10, 2)),
        ("at", pa.timestamp("us", "UTC")),
        ("tags", pa.list_(pa.string())),
        ("place", pa.struct([("city", pa.string()), ("lat", pa.float64())])),
        ("notes", pa.map_(pa.string(), pa.int64())),
    ]
)


def compare(lake: Any, before: int, after: int | None = None, **options: Any) -> Diff:
    return diff(lake.store, PATH, lake.store.open(PATH, before), lake.store.open(PATH, after), **options)


def values(found: Diff, column: str) -> list[tuple[Any, Any]]:
    """A column's values before and after, of the changed rows."""
    return [(d.before[column], d.after[column]) for d in found.sample if d.before and d.after]


def counts(found: Diff) -> tuple[int, int, int]:
    return found.added, found.removed, found.changed


def test_a_key_tells_changed_rows_from_added_and_removed_ones(lake: Any, rows: Any) -> None:
    lake.write(rows(("a", 1), ("b", 2), ("c", 3)))
    lake.write(rows(("a", 1), ("b", 20), ("d", 4)))

    found = compare(lake, 1, key=["day"])

    assert counts(found) == (1, 1, 1)
    assert [(d.kind, d.before, d.after, d.columns) for d in found.sample] == [
        ("changed", {"day": "b", "amount": 2}, {"day": "b", "amount": 20}, ("amount",)),
        ("removed", {"day": "c", "amount": 3}, None, ()),
        ("added", None, {"day": "d", "amount": 4}, ()),
    ]


def test_without_a_key_rows_are_added_and_removed_copy_by_copy(lake: Any, rows: Any) -> None:
    lake.write(rows(("a", 1), ("a", 1), ("b", 2)))
    lake.write(rows(("a", 1), ("b", 2), ("b", 2), ("b", 2)))

    found = compare(lake, 1)

    assert counts(found) == (2, 1, 0)
    assert [d.after for d in found.sample if d.kind == "added"] == [{"day": "b", "amount": 2}] * 2


def test_a_row_that_moved_to_another_file_did_not_change(lake: Any, rows: Any) -> None:
    lake.write(rows(("a", 1)), mode="append")
    lake.write(rows(("b", 2)), mode="append")
    lake.table.optimize.compact()

    found = compare(lake, 2, key=["day"])

    assert counts(found) == (0, 0, 0)
    assert (found.files_shared, found.files_read) == (0, 3)


def test_files_of_both_versions_are_not_read(lake: Any, rows: Any, days: Any) -> None:
    lake.write(rows(("a", 1), ("b", 2), ("c", 3)), partition_by=["day"])
    lake.write(rows(("b", 5)), days("b"), ["day"])
    before, after = lake.store.open(PATH, 1), lake.store.open(PATH)
    untouched = [file for file in after.file_uris() if file in before.file_uris()]
    if not untouched[0].startswith("s3"):
        for uri in untouched:
            Path(uri.removeprefix("file://")).write_bytes(b"no Parquet")

    found = compare(lake, 1, key=["day"])

    assert counts(found) == (0, 0, 1)
    assert (found.files_shared, found.files_read) == (2, 2)


def test_a_key_that_repeats_is_not_paired(lake: Any, rows: Any) -> None:
    lake.write(rows(("a", 1), ("a", 2), ("b", 1)))
    lake.write(rows(("a", 3), ("b", 2)))

    assert counts(compare(lake, 1, key=["day"])) == (1, 2, 1)


def test_masked_columns_show_that_they_changed_and_not_to_what(lake: Any, rows: Any) -> None:
    lake.write(rows(("a", 1), ("b", None)))
    lake.write(rows(("a", 2), ("b", 3)))

    found = compare(lake, 1, key=["day"], masked=["amount"])

    assert values(found, "amount") == [(MASKED, MASKED), (None, MASKED)]
    assert all(d.columns == ("amount",) for d in found.sample)


def test_an_ignored_column_makes_no_difference(lake: Any, rows: Any) -> None:
    lake.write(rows(("a", 1), ("b", 2)))
    lake.write(rows(("a", 5), ("b", 6)))

    assert counts(compare(lake, 1, ignore=["amount"], key=["day"])) == (0, 0, 0)


def test_the_sample_is_bounded_and_the_counts_are_not(lake: Any, rows: Any) -> None:
    lake.write(rows())
    lake.write(rows(*[("a", n) for n in range(50)]))

    found = compare(lake, 1, rows=3)

    assert counts(found) == (50, 0, 0)
    assert len(found.sample) == 3
    assert compare(lake, 1, rows=0).sample == ()


def test_columns_that_came_went_or_changed_their_type_are_named(lake: Any) -> None:
    lake.write(pa.table({"id": [1, 2], "n": pa.array([1, 2], pa.int32()), "gone": ["x", None]}))
    after = pa.table({"id": [1, 2], "n": pa.array([1, 3], pa.int64()), "new": pa.array([None, None], pa.string())})
    lake.write(after, evolution="replace")

    found = compare(lake, 1, key=["id"])

    assert (found.columns_added, found.columns_removed) == (("new",), ("gone",))
    assert found.columns_retyped == ("n: integer -> long",)
    assert [d.columns for d in found.sample] == [("gone",), ("n",)]


def test_a_column_that_became_text_is_compared_as_text(lake: Any) -> None:
    lake.write(pa.table({"id": [1, 2], "v": [10, 11]}))
    lake.write(pa.table({"id": [1, 2], "v": ["10", "x"]}), evolution="replace")

    assert counts(compare(lake, 1, key=["id"])) == (0, 0, 1)


@pytest.mark.parametrize(
    "values",
    [
        pa.array([dt.date(2024, 2, 29), None]),
        pa.array([True, None]),
        pa.array([Decimal("1.50"), None]),
        pa.array([dt.datetime(2024, 1, 1, 5, tzinfo=dt.UTC), None], pa.timestamp("us", "UTC")),
        pa.array([dt.datetime(2024, 1, 1, 5), None], pa.timestamp("us")),
        pa.array(["ü %/=", None]),
        pa.array([7, None], pa.int32()),
    ],
    ids=lambda values: str(values.type),
)
def test_partition_values_of_every_type_are_read(tmp_path: Path, values: pa.Array) -> None:
    store = DeltaStore(str(tmp_path))
    uri = store.uri(PATH)
    write_deltalake(uri, pa.table({"p": values.slice(1), "v": [1]}), partition_by=["p"])
    write_deltalake(uri, pa.table({"p": values.slice(0, 1), "v": [2]}), mode="append")

    found = diff(store, PATH, DeltaTable(uri, version=0), DeltaTable(uri))

    assert found.sample[0].after == {"p": values[0].as_py(), "v": 2}
    assert counts(found) == (1, 0, 0)


def test_a_key_with_braces_and_quotes_is_a_name_like_any_other(tmp_path: Path) -> None:
    store = DeltaStore(str(tmp_path))
    for value in (1, 2):
        write_deltalake(store.uri(PATH), pa.table({"k{0}\"'": [1], "v": [value]}), mode="overwrite")

    found = diff(store, PATH, store.open(PATH, 0), store.open(PATH), key=["k{0}\"'"])

    assert counts(found) == (0, 0, 1)


NUMBERS = st.one_of(st.none(), st.just(math.nan), st.sampled_from([0.0, 1.5, math.inf, -2.0]))
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.integers(0, 5),
            "p": st.sampled_from(["x", "y", None]),
            "ratio": NUMBERS,
            "amount": st.sampled_from([None, Decimal("1.10"), Decimal("2.00")]),
            "at": st.sampled_from([None, dt.datetime(2024, 1, 1, tzinfo=dt.UTC)]),
            "tags": st.sampled_from([None, [], ["a", None], ["a"]]),
            "place": st.one_of(
                st.none(), st.fixed_dictionaries({"city": st.sampled_from(["b", None]), "lat": NUMBERS})
            ),
            "notes": st.sampled_from([None, [], [("k", 1)], [("k", None)]]),
        }
    ),
    max_size=6,
)


def plain(value: Any) -> Any:
    """A value of which equal ones are equal and hashable in Python: NaN by name, lists and dicts as tuples."""
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if isinstance(value, dict):
        return tuple((name, plain(item)) for name, item in value.items())
    return tuple(map(plain, value)) if isinstance(value, list | tuple) else value


def model(before: list[dict[str, Any]], after: list[dict[str, Any]], keyed: bool) -> tuple[int, int, int]:
    old, new = (Counter(plain(row) for row in side) for side in (before, after))
    removed, added = old - new, new - old
    changed = 0
    if keyed:
        keys = [Counter(dict(row)["id"] for row in side.elements()) for side in (removed, added)]
        changed = sum(count == 1 and keys[1][key] == 1 for key, count in keys[0].items())
    return added.total() - changed, removed.total() - changed, changed


@settings(max_examples=30, deadline=None)
@given(before=ROWS, after=ROWS, kept=ROWS, keyed=st.booleans(), partitioned=st.booleans())
def test_counts_equal_those_of_a_comparison_in_plain_python(
    before: list[dict[str, Any]],
    after: list[dict[str, Any]],
    kept: list[dict[str, Any]],
    keyed: bool,
    partitioned: bool,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = DeltaStore(folder)
        by = ["p"] if partitioned else None
        write_deltalake(store.uri(PATH), pa.Table.from_pylist([*kept, *before], SCHEMA), partition_by=by)
        # What is kept is written with the other rows at first and alone later, so it moves between files.
        write_deltalake(store.uri(PATH), pa.Table.from_pylist(kept, SCHEMA), mode="overwrite")
        write_deltalake(store.uri(PATH), pa.Table.from_pylist(after, SCHEMA), mode="append")

        found = diff(store, PATH, store.open(PATH, 0), store.open(PATH), key=["id"] if keyed else [])

    assert counts(found) == model([*kept, *before], [*kept, *after], keyed)
