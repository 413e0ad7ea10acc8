"""What a run reads: one version of a table, until the run writes it."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from medallion.delta.snapshots import Snapshots


@pytest.fixture
def snapshots(lake: Any) -> Snapshots:
    return Snapshots(lake.store.root, lake.store.storage_options)


def amounts(table: Any) -> list[int]:
    return sorted(pa.table(table.scan(columns=["amount"]))["amount"].to_pylist())


def test_a_table_that_somebody_else_writes_stays_as_it_was_first_read(lake: Any, rows: Any, snapshots: Any) -> None:
    lake.write(rows(("01", 1)))
    assert amounts(snapshots.open(lake.path)) == [1]
    lake.write(rows(("01", 2)))
    assert amounts(snapshots.open(lake.path)) == [1]


def test_a_table_that_the_run_wrote_is_read_anew(lake: Any, rows: Any, snapshots: Any) -> None:
    lake.write(rows(("01", 1)))
    snapshots.open(lake.path)
    lake.write(rows(("01", 2)))
    snapshots.forget(lake.path)
    assert amounts(snapshots.open(lake.path)) == [2]


def test_a_table_that_was_missing_is_looked_for_again(lake: Any, rows: Any, snapshots: Any) -> None:
    assert snapshots.find(lake.path) is None
    lake.write(rows(("01", 1)))
    assert amounts(snapshots.find(lake.path)) == [1]


def test_a_named_version_is_that_version(lake: Any, rows: Any, snapshots: Any) -> None:
    lake.write(rows(("01", 1)))
    first = lake.version
    lake.write(rows(("01", 2)))
    assert amounts(snapshots.open(lake.path)) == [2]
    assert amounts(snapshots.open(lake.path, first)) == [1]
