"""Competing writers: a commit between listing and publishing is noticed, and the write starts over."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError

from medallion.delta import publish as publishing
from medallion.delta.publish import WriteConflictError, row_count
from medallion.delta.staging import abandoned_stages
from medallion.delta.store import DeltaStore
from medallion.partitions import WHOLE
from tests.fixtures.s3_process import s3_process
from tests.fixtures.s3_server import S3

LAYOUTS = pytest.mark.parametrize("partition_by", [("day",), ()], ids=["swapped", "rewritten"])
Compete = Callable[[Callable[[], Any], int], list[int]]


@pytest.fixture
def compete(monkeypatch: pytest.MonkeyPatch) -> Compete:
    """Let a rival commit right before our commit, the first `times` times; returns the attempts seen."""

    def start(rival: Callable[[], Any], times: int) -> list[int]:
        attempts: list[int] = []
        commit = publishing._commit

        def rivalled(write: Any, retries: int) -> Any:
            attempts.append(retries)
            if len(attempts) <= times:
                rival()
            return commit(write, retries)

        monkeypatch.setattr(publishing, "_commit", rivalled)
        monkeypatch.setattr(publishing, "_LONGEST_WAIT_SECONDS", 0.0)
        return attempts

    return start


@LAYOUTS
def test_rows_that_a_rival_appended_to_the_slice_are_replaced_too(
    lake: Any, days: Any, rows: Any, compete: Compete, partition_by: Any
) -> None:
    lake.write(rows(("01", 1), ("02", 2)), days("01", "02"), partition_by)
    attempts = compete(lambda: write_deltalake(lake.table, rows(("01", 99)), mode="append"), 1)
    lake.write(rows(("01", 3)), days("01"), partition_by)
    assert len(attempts) == 2
    assert lake.pairs() == [("01", 3), ("02", 2)]


def test_rows_that_a_rival_appended_to_an_empty_slice_are_replaced_too(
    lake: Any, days: Any, rows: Any, compete: Compete
) -> None:
    lake.write(rows(("02", 2)), days("02"), ("day",))
    compete(lambda: write_deltalake(lake.table, rows(("01", 99)), mode="append"), 1)
    lake.write(rows(("01", 3)), days("01"), ("day",))
    assert lake.pairs() == [("01", 3), ("02", 2)]


@LAYOUTS
def test_an_append_is_kept_beside_a_rival_append(
    lake: Any, days: Any, rows: Any, compete: Compete, partition_by: Any
) -> None:
    lake.write(rows(("01", 1)), days("01"), partition_by)
    compete(lambda: write_deltalake(lake.table, rows(("01", 99)), mode="append"), 1)
    lake.write(rows(("01", 2)), days("01"), partition_by, "append", transactions=("r",))
    assert lake.pairs() == [("01", 1), ("01", 2), ("01", 99)]


def test_a_twin_that_commits_the_same_append_first_makes_ours_a_skip(
    lake: Any, days: Any, rows: Any, compete: Compete
) -> None:
    lake.write(rows(("01", 1)), days("01"), ("day",))

    def twin() -> None:
        lake.write(rows(("01", 2)), days("01"), ("day",), "append", transactions=("r",))

    compete(twin, 1)
    published = lake.write(rows(("01", 2)), days("01"), ("day",), "append", transactions=("r",))
    assert published.operation == "skipped"
    assert lake.pairs() == [("01", 1), ("01", 2)]


def test_a_merge_sees_the_row_that_a_rival_inserted(lake: Any, rows: Any, compete: Compete) -> None:
    lake.write(rows(("a", 1)), mode="merge", keys=("day",))
    compete(lambda: write_deltalake(lake.table, rows(("b", 99)), mode="append"), 1)
    lake.write(rows(("b", 2)), mode="merge", keys=("day",))
    assert lake.pairs() == [("a", 1), ("b", 2)]


@LAYOUTS
@pytest.mark.parametrize("mode", ["replace", "append"])
def test_a_compaction_in_between_costs_no_write_and_no_row(
    lake: Any, days: Any, rows: Any, compete: Compete, partition_by: Any, mode: Any
) -> None:
    for amount in (1, 2):
        lake.write(rows(("01", amount)), days("01"), partition_by, "append")
    attempts = compete(lambda: lake.table.optimize.compact(), 1)
    lake.write(rows(("01", 3)), days("01"), partition_by, mode)
    assert len(attempts) == 2
    assert lake.pairs() == ([("01", 1), ("01", 2)] if mode == "append" else []) + [("01", 3)]


@LAYOUTS
def test_a_compaction_that_began_before_a_replace_is_refused(
    lake: Any, days: Any, rows: Any, partition_by: Any
) -> None:
    for amount in (1, 2):
        lake.write(rows(("01", amount)), days("01"), partition_by, "append")
    begun = lake.table
    lake.write(rows(("01", 3)), days("01"), partition_by)
    with pytest.raises(CommitFailedError):
        begun.optimize.compact()
    assert lake.pairs() == [("01", 3)]


@LAYOUTS
def test_a_write_that_always_loses_says_so_and_writes_nothing(
    lake: Any, days: Any, rows: Any, compete: Compete, partition_by: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "_PATIENCE_SECONDS", 0.2)
    lake.write(rows(("01", 1)), days("01"), partition_by)
    compete(lambda: write_deltalake(lake.table, rows(("02", 9)), mode="append"), 10**6)
    with pytest.raises(WriteConflictError, match=r"silver/shop/orders slice 01.*nothing was written, run it again"):
        lake.write(rows(("01", 2)), days("01"), partition_by)
    assert ("01", 1) in lake.pairs()
    assert ("01", 2) not in lake.pairs()


def test_the_wait_after_a_lost_race_doubles_with_jitter_up_to_a_limit(
    lake: Any, days: Any, rows: Any, compete: Compete, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    lake.write(rows(("01", 1)), days("01"), ("day",))
    compete(lambda: write_deltalake(lake.table, rows(("02", 9)), mode="append"), 4)
    monkeypatch.setattr(publishing, "_LONGEST_WAIT_SECONDS", 0.08)
    monkeypatch.setattr(publishing.time, "sleep", waits.append)
    monkeypatch.setattr(publishing.random, "uniform", lambda low, high: high)
    lake.write(rows(("01", 2)), days("01"), ("day",))
    assert waits == [0.02, 0.04, 0.08, 0.08]


def test_an_error_that_is_no_conflict_is_not_retried(
    lake: Any, days: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: Any, **__: Any) -> Any:
        raise OSError("503 slow down")

    lake.write(rows(("01", 1), ("02", 2)), days("01", "02"), ("day",))
    monkeypatch.setattr(publishing, "data_files", unreachable)
    with pytest.raises(OSError, match="503"):
        lake.write(rows(("01", 3)), days("01"), ("day",))
    assert lake.pairs() == [("01", 1), ("02", 2)]


@pytest.fixture(scope="module")
def forgetful() -> Iterator[S3]:
    """A server that makes every commit and answers with an error, so that its repetition is refused."""
    with s3_process(f"forgetful-{uuid.uuid4().hex[:8]}", "forgetful") as server:
        yield server


@pytest.mark.parametrize(
    ("mode", "partition_by", "expected"),
    [
        ("replace", ("day",), [("01", 3), ("02", 2)]),
        ("replace", (), [("01", 3), ("02", 2)]),
        ("append", ("day",), [("01", 1), ("01", 3), ("02", 2)]),
        ("append", (), [("01", 1), ("01", 3), ("02", 2)]),
        ("merge", (), [("01", 3), ("02", 2)]),
    ],
)
def test_a_commit_whose_answer_got_lost_is_found_and_not_repeated(
    forgetful: S3, lake_at: Any, tmp_path: Path, days: Any, rows: Any, mode: Any, partition_by: Any, expected: Any
) -> None:
    lake = lake_at(DeltaStore(f"s3://{forgetful.bucket}/{tmp_path.name}", forgetful.storage_options))
    lake.write(rows(("01", 1), ("02", 2)), days("01", "02"), partition_by)
    version = lake.version

    options = {"keys": ("day",)} if mode == "merge" else {"transactions": ("r",)} if mode == "append" else {}
    published = lake.write(rows(("01", 3)), days("01"), partition_by, mode, **options)

    assert lake.pairs() == expected
    assert (published.operation, published.version, lake.version) == (mode, version + 1, version + 1)
    assert abandoned_stages(lake.store, lake.path, dt.timedelta(0)) == []


def test_a_storage_error_after_the_commit_is_no_failure_of_the_write(
    lake: Any, days: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: Any) -> Any:
        raise OSError("503 slow down")

    lake.write(rows(("01", 1)), days("01"), ("day",))
    monkeypatch.setattr(DeltaTable, "update_incremental", unreachable)
    published = lake.write(rows(("01", 2)), days("01"), ("day",), "append", transactions=("r",))
    assert (published.operation, published.version) == ("append", 2)
    assert lake.pairs() == [("01", 1), ("01", 2)]


def test_row_count_reads_the_log_alone(lake: Any, days: Any, rows: Any) -> None:
    assert row_count(lake.store, lake.path) == 0
    lake.write(rows(("01", 1), ("01", 2), ("02", 2)), partition_by=("day",))
    assert row_count(lake.store, lake.path, days("01")) == 2
    assert row_count(lake.store, lake.path, WHOLE) == 3
