"""What a run reads: one version of a table, until the run writes it."""

from __future__ import annotations

import os
from pathlib import Path
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


@pytest.fixture
def processes(lake: Any, tmp_path: Path) -> tuple[Snapshots, Snapshots]:
    """Two processes of one run."""
    pins = tmp_path / "run.shared"
    pins.mkdir()
    first, second = (Snapshots(lake.store.root, lake.store.storage_options, pins=pins) for _ in range(2))
    return first, second


def test_the_processes_of_a_run_read_the_version_that_the_first_of_them_has_read(
    lake: Any, rows: Any, processes: Any
) -> None:
    first, second = processes
    lake.write(rows(("01", 1)))
    assert amounts(first.open(lake.path)) == [1]
    lake.write(rows(("01", 2)))
    assert amounts(second.open(lake.path)) == [1]


def test_a_table_that_one_process_of_a_run_wrote_is_read_anew_by_the_others(
    lake: Any, rows: Any, processes: Any
) -> None:
    first, second = processes
    lake.write(rows(("01", 1)))
    first.open(lake.path)
    first.forget(lake.path)
    lake.write(rows(("01", 2)))
    assert amounts(second.open(lake.path)) == [2]


def test_a_table_that_no_process_has_found_is_looked_for_again(lake: Any, rows: Any, processes: Any) -> None:
    first, second = processes
    assert first.find(lake.path) is None
    lake.write(rows(("01", 1)))
    assert amounts(second.find(lake.path)) == [1]


def test_of_processes_that_look_at_the_same_time_all_read_one_version(
    lake: Any, rows: Any, processes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = processes
    lake.write(rows(("01", 1)))
    link = os.link

    def overtaken(source: str, target: Path) -> None:
        monkeypatch.setattr(os, "link", link)
        lake.write(rows(("01", 2)))
        assert amounts(second.open(lake.path)) == [2]
        link(source, target)

    monkeypatch.setattr(os, "link", overtaken)
    assert amounts(first.open(lake.path)) == [2]
