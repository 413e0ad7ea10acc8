"""Stages: rows beside the table, unseen until published, gone afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from medallion.delta.staging import OUTCOME, PASSED, REJECTED, STAGE_PREFIX, open_stage
from medallion.engine.frames import from_arrow


def test_a_stage_is_invisible_to_readers_of_the_table(lake: Any, rows: Any) -> None:
    lake.write(rows(("01", 1)))
    lake.stage(rows(("01", 2)))
    assert lake.pairs() == [("01", 1)]
    assert lake.store.tables() == [lake.path]


@pytest.mark.parametrize("engine", ["arrow", "spark"])
def test_files_are_listed_with_rows_and_partition_values(lake: Any, rows: Any, spark: Any, engine: str) -> None:
    table = rows(("a b", 1), ("a b", 2), ("02", 3))
    stage = lake.stage(table if engine == "arrow" else from_arrow(spark, table), ("day",))
    assert sorted((file.partition["day"], file.rows) for file in stage.files) == [("02", 1), ("a b", 2)]
    assert {file.partition[OUTCOME] for file in stage.files} == {PASSED}
    assert stage.rows(PASSED) == 3
    assert stage.rows(REJECTED) == 0


def test_a_stage_opened_again_is_the_same(lake: Any, rows: Any) -> None:
    stage = lake.stage(rows(("01", 1)), ("day",))
    assert open_stage(lake.store, lake.path, stage.name) == stage


def test_a_stage_can_be_read_as_a_table_until_it_is_discarded(lake: Any, rows: Any, tmp_path: Any) -> None:
    stage = lake.stage(rows(("01", 1)))
    assert stage.delta.count() == 1
    stage.discard()
    assert not [path for path in tmp_path.rglob(f"{STAGE_PREFIX}*/**/*") if path.is_file()]


def test_discarding_keeps_the_files_that_a_table_took_over(lake: Any, rows: Any, tmp_path: Any) -> None:
    stage = lake.stage(rows(("100% a/b", 1), ("02", 2)), ("day",))
    kept = next(file for file in stage.files if file.partition["day"] == "100% a/b")
    stage.discard(keep=[kept])
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.stat().st_size for path in left] == [kept.size]


def test_two_stages_do_not_meet(lake: Any, rows: Any) -> None:
    first, second = lake.stage(rows(("01", 1))), lake.stage(rows(("01", 2)))
    first.discard()
    assert second.delta.count() == 1
