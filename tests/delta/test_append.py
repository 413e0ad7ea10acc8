"""An append happens once per run and partition, whatever crashes in between."""

from __future__ import annotations

from typing import Any

import pytest

from medallion.partitions import SliceError

LAYOUTS = pytest.mark.parametrize("partition_by", [("day",), ()], ids=["swapped", "rewritten"])


@LAYOUTS
def test_rows_are_added_to_those_that_are_there(lake: Any, days: Any, rows: Any, partition_by: Any) -> None:
    lake.write(rows(("01", 1)), days("01"), partition_by, "append", transactions=("run-1:01",))
    lake.write(rows(("01", 2)), days("01"), partition_by, "append", transactions=("run-2:01",))
    assert lake.pairs() == [("01", 1), ("01", 2)]


@LAYOUTS
def test_a_retry_after_the_commit_adds_nothing(lake: Any, days: Any, rows: Any, partition_by: Any) -> None:
    first = lake.write(rows(("01", 1)), days("01"), partition_by, "append", transactions=("run-1:01",))
    retry = lake.write(rows(("01", 1)), days("01"), partition_by, "append", transactions=("run-1:01",))
    assert (first.operation, retry.operation) == ("append", "skipped")
    assert (retry.version, retry.metrics["rows_written"]) == (first.version, 0)
    assert lake.pairs() == [("01", 1)]
    assert len(lake.objects(".parquet")) == 1


@LAYOUTS
def test_a_range_that_was_half_appended_is_refused(lake: Any, days: Any, rows: Any, partition_by: Any) -> None:
    lake.write(rows(("01", 1)), days("01"), partition_by, "append", transactions=("run-1:01",))
    with pytest.raises(RuntimeError, match=r"appended 1 of the 2 partitions.*start a new run"):
        lake.write(
            rows(("01", 1), ("02", 2)), days("01", "02"), partition_by, "append", transactions=("run-1:01", "run-1:02")
        )
    assert lake.pairs() == [("01", 1)]


@LAYOUTS
@pytest.mark.parametrize("stray", ["02", None])
def test_a_row_outside_of_the_slice_is_refused(
    lake: Any, days: Any, rows: Any, partition_by: Any, stray: str | None
) -> None:
    lake.write(rows(("01", 1)), days("01"), partition_by, "append")
    with pytest.raises(SliceError, match="outside of slice 01"):
        lake.write(rows(("01", 1), (stray, 2)), days("01"), partition_by, "append")
    assert lake.pairs() == [("01", 1)]


def test_a_table_without_partitions_is_appended_to(lake: Any, rows: Any) -> None:
    lake.write(rows(("01", 1)), mode="append", transactions=("run-1",))
    lake.write(rows(("01", 1)), mode="append", transactions=("run-2",))
    assert lake.pairs() == [("01", 1), ("01", 1)]
