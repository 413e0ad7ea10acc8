"""An upsert by key: changed rows are rewritten, unchanged ones are not, ambiguous ones are refused."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from pyspark.errors import AnalysisException

from medallion.delta.preconditions import DuplicateKeyError
from medallion.delta.store import DeltaStore
from medallion.engine.frames import from_arrow
from medallion.engine.storage import hadoop_options
from medallion.partitions import SliceError

_ON_SPARK = pytest.param("engine", marks=[pytest.mark.spark, pytest.mark.slow])


@pytest.fixture(params=["process", _ON_SPARK])
def lake(request: pytest.FixtureRequest, store: DeltaStore, lake_at: Any) -> Any:
    """Merged by delta-rs in this process, and by Delta MERGE in Apache Spark: the same promises."""
    if request.param == "process":
        return lake_at(store)
    session = request.getfixturevalue("apache_spark")
    for name, value in hadoop_options(store.storage_options).items():
        session.conf.set(name, value)
    return lake_at(store, lambda: session)


MERGE: dict[str, Any] = {"mode": "merge", "keys": ("day",)}


def test_known_keys_are_updated_and_new_ones_inserted(lake: Any, rows: Any) -> None:
    lake.write(rows(("a", 1), ("b", 2)), **MERGE)
    published = lake.write(rows(("b", 3), ("c", 4)), **MERGE)
    assert lake.pairs() == [("a", 1), ("b", 3), ("c", 4)]
    assert (published.metrics["rows_inserted"], published.metrics["rows_updated"]) == (1, 1)


@pytest.mark.parametrize("engine", ["arrow", "spark"])
def test_a_merge_of_the_same_rows_makes_no_version_and_no_file(lake: Any, spark: Any, engine: str) -> None:
    rows = pa.table({"day": ["a", "b"], "amount": [1, None], "tags": [["x"], None], "place": [{"zip": "1"}, None]})
    frame = rows if engine == "arrow" else from_arrow(spark, rows)
    lake.write(frame, **MERGE)
    version, files = lake.version, lake.files()
    published = lake.write(frame, **MERGE)
    assert (lake.version, lake.files()) == (version, files)
    assert set(published.metrics.values()) == {0}


def test_null_and_value_count_as_different(lake: Any, rows: Any) -> None:
    lake.write(rows(("a", 1), ("b", None)), **MERGE)
    lake.write(rows(("a", None), ("b", 2)), **MERGE)
    assert lake.pairs() == [("a", None), ("b", 2)]


def test_an_updated_row_leaves_the_files_of_other_rows_alone(lake: Any, days: Any, rows: Any) -> None:
    lake.write(rows(("a", 1), ("b", 2)), partition_by=("day",), **MERGE)
    untouched = lake.files(days("b"))
    lake.write(rows(("a", 9)), partition_by=("day",), **MERGE)
    assert lake.files(days("b")) == untouched
    assert lake.pairs() == [("a", 9), ("b", 2)]


@pytest.mark.parametrize("engine", ["arrow", "spark"])
@pytest.mark.parametrize("before", [[("a", 1)], []], ids=["known key", "new key"])
def test_two_rows_of_one_key_are_refused(
    lake: Any, rows: Any, spark: Any, engine: str, before: list[tuple[str, int]]
) -> None:
    # delta-rs itself refuses only keys that match a row of the table, and inserts two new ones.
    lake.write(rows(*before, ("z", 0)), **MERGE)
    twice = rows(("a", 2), ("a", 3))
    with pytest.raises(DuplicateKeyError, match=r"1 keys \['day'\] stand for more than one row.*latest_by"):
        lake.write(twice if engine == "arrow" else from_arrow(spark, twice), **MERGE)
    assert lake.pairs() == [*before, ("z", 0)]


def test_two_rows_of_one_key_are_refused_on_the_first_write(lake: Any, rows: Any) -> None:
    with pytest.raises(DuplicateKeyError):
        lake.write(rows(("a", 2), ("a", 3)), **MERGE)
    assert lake.store.find(lake.path) is None


def test_a_row_without_key_is_refused(lake: Any, rows: Any) -> None:
    lake.write(rows(("a", 1)), **MERGE)
    with pytest.raises(DuplicateKeyError, match="1 rows to merge have no day"):
        lake.write(rows((None, 2), ("b", 3)), **MERGE)
    assert lake.pairs() == [("a", 1)]


def test_a_merge_without_key_columns_is_refused(lake: Any, rows: Any) -> None:
    with pytest.raises(ValueError, match=r"silver/shop/orders: merging needs key columns"):
        lake.write(rows(("a", 1)), mode="merge")


def test_a_row_outside_of_the_slice_is_refused(lake: Any, days: Any, rows: Any) -> None:
    lake.write(rows(("a", 1), ("b", 2)), days("a", "b"), ("day",), **MERGE)
    with pytest.raises(SliceError, match="1 rows are outside of slice a"):
        lake.write(rows(("b", 9)), days("a"), ("day",), **MERGE)
    assert lake.pairs() == [("a", 1), ("b", 2)]


def test_keys_of_several_columns_with_awkward_names(lake: Any) -> None:
    def frame(amount: int) -> pa.Table:
        return pa.table({'the "day"': ["a", "a"], "order by": [1, 2], "amount": [amount, 2]})

    keys = ('the "day"', "order by")
    if lake.spark is not None:
        # Delta Lake in Spark takes such names with column mapping only, which the tables here don't have.
        with pytest.raises(AnalysisException, match="DELTA_INVALID_CHARACTERS_IN_COLUMN_NAMES"):
            lake.write(frame(1), mode="merge", keys=keys)
        assert lake.pairs() == []
        return
    lake.write(frame(1), mode="merge", keys=keys)
    published = lake.write(frame(5), mode="merge", keys=keys)
    assert published.metrics["rows_updated"] == 1
    assert lake.pairs() == [("a", 1, 5), ("a", 2, 2)]


def test_a_table_that_is_all_key_only_grows(lake: Any) -> None:
    lake.write(pa.table({"day": ["a"]}), **MERGE)
    lake.write(pa.table({"day": ["a", "b"]}), **MERGE)
    assert lake.pairs() == [("a",), ("b",)]


def test_a_column_that_did_not_come_keeps_its_value_under_additive_evolution(lake: Any, rows: Any) -> None:
    wide = rows(("a", 1)).append_column("note", pa.array(["n"]))
    lake.write(wide, **MERGE)
    lake.write(rows(("a", 2), ("b", 3)), evolution="additive", schema=lake.table.schema(), **MERGE)
    assert lake.pairs() == [("a", 2, "n"), ("b", 3, None)]


def test_a_new_column_is_not_dropped_under_additive_evolution(lake: Any, rows: Any) -> None:
    lake.write(rows(("a", 1)), **MERGE)
    lake.write(rows(("a", 2), ("b", 3)).append_column("note", pa.array(["n", "m"])), evolution="additive", **MERGE)
    assert lake.pairs() == [("a", 2, "n"), ("b", 3, "m")]


def test_the_commit_says_which_run_made_it(lake: Any, rows: Any) -> None:
    lake.write(rows(("a", 1)), commit={"dagster/run_id": "r1"}, **MERGE)
    assert lake.commit["medallion/mode"] == "merge"
    assert lake.commit["dagster/run_id"] == "r1"
