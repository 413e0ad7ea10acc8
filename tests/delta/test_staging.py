"""Stages: rows beside the table, unseen until published, gone afterwards."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import Any

import obstore
import pyarrow as pa
import pytest
from deltalake import Schema

from medallion.delta.publish import Write, publish
from medallion.delta.staging import (
    OUTCOME,
    PASSED,
    REJECTED,
    STAGE_PREFIX,
    abandoned_stages,
    open_stage,
    sweep_stages,
)
from medallion.delta.store import DeltaStore
from medallion.engine.frames import from_arrow

NOW = dt.timedelta(0)


def swept(lake: Any, older_than: dt.timedelta) -> int:
    """Sweep a table's folder; how many stages were abandoned there."""
    stages = abandoned_stages(lake.store, lake.path, older_than)
    sweep_stages(lake.store, lake.path, stages)
    return len(stages)


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


def test_a_stage_can_be_read_as_a_table_until_it_is_discarded(lake: Any, rows: Any) -> None:
    stage = lake.stage(rows(("01", 1)))
    assert stage.delta.count() == 1
    stage.discard()
    assert not [path for path in lake.objects() if path.startswith(STAGE_PREFIX)]


def test_discarding_keeps_the_files_that_a_table_took_over(lake: Any, rows: Any) -> None:
    stage = lake.stage(rows(("100% a/b", 1), ("02", 2)), ("day",))
    kept = next(file for file in stage.files if file.partition["day"] == "100% a/b")
    stage.discard(keep=[kept])
    assert lake.objects() == {f"{stage.name}/{kept.path}": kept.size}


def test_two_stages_do_not_meet(lake: Any, rows: Any) -> None:
    first, second = lake.stage(rows(("01", 1))), lake.stage(rows(("01", 2)))
    first.discard()
    assert second.delta.count() == 1


def test_a_stage_that_was_never_published_is_swept_whole(lake: Any, rows: Any) -> None:
    lake.write(rows(("01", 1)), partition_by=("day",))
    stage = lake.stage(rows(("01", 2)), ("day",))
    (abandoned,) = abandoned_stages(lake.store, lake.path, NOW)
    assert abandoned.name == stage.name
    assert abandoned.size >= sum(file.size for file in stage.files)
    assert swept(lake, NOW) == 1
    assert stages(lake) == {lake_file.split("/")[0] for lake_file in lake.files()}
    assert lake.pairs() == [("01", 1)]


def test_a_stage_before_the_first_write_of_its_table_is_swept(lake: Any, rows: Any) -> None:
    lake.stage(rows(("01", 1)))
    assert swept(lake, NOW) == 1
    assert stages(lake) == set()
    assert abandoned_stages(lake.store, lake.path, NOW) == []


@pytest.mark.parametrize("checkpoint", [False, True], ids=["json", "checkpoint"])
def test_a_sweep_keeps_every_file_that_some_version_needs(lake: Any, days: Any, rows: Any, checkpoint: bool) -> None:
    def undiscarded(frame: Any, selection: Any) -> None:
        # As after a crash between the commit and the clean-up.
        stage = lake.stage(frame, ("day",))
        names = [item for item in stage.schema.fields if item.name != OUTCOME]
        publish(Write(stage, selection, Schema(names), ("day",)))

    undiscarded(rows(("01", 1), ("100% a/b", 2)), days("01", "100% a/b"))
    undiscarded(rows(("01", 3)), days("01"))
    versions = {version: at_version(lake, version) for version in range(lake.version + 1)}
    if checkpoint:
        lake.table.create_checkpoint()
        for version in (0, 1):
            obstore.delete(lake.store.objects, f"{'/'.join(lake.path)}/_delta_log/{version:020}.json")
        del versions[0], versions[1]  # their commits are gone; the checkpoint remembers the files they removed
    assert swept(lake, NOW) == 2
    assert {version: at_version(lake, version) for version in versions} == versions
    assert len([path for path in objects(lake) if path.endswith(".parquet") and "stage-" in path]) == 3
    assert abandoned_stages(lake.store, lake.path, NOW) == []


def test_a_stage_that_is_still_written_is_safe_by_its_age(lake: Any, rows: Any) -> None:
    stage = lake.stage(rows(("01", 1)))
    assert abandoned_stages(lake.store, lake.path, dt.timedelta(hours=1)) == []
    assert swept(lake, dt.timedelta(hours=1)) == 0
    assert stage.delta.count() == 1


def test_the_newest_object_says_how_old_a_stage_is(lake_at: Any, rows: Any, tmp_path: Path) -> None:
    lake = lake_at(DeltaStore(str(tmp_path / "lake")))
    old, growing = lake.stage(rows(("01", 1))), lake.stage(rows(("01", 2)))
    for stage in (old, growing):
        for file in (path for path in (tmp_path / "lake").rglob("*") if path.is_file() and stage.name in str(path)):
            if stage is old or file.suffix == ".json":
                os.utime(file, (0, 0))
    assert [stage.name for stage in abandoned_stages(lake.store, lake.path, dt.timedelta(days=1))] == [old.name]


def test_a_half_written_or_half_deleted_stage_is_swept_too(lake: Any, rows: Any) -> None:
    lake.write(rows(("01", 1)), partition_by=("day",))
    stage = lake.stage(rows(("01", 2)), ("day",))
    log = [path for path in objects(lake) if stage.name in path and "_delta_log" in path]
    obstore.delete(lake.store.objects, log)
    assert swept(lake, NOW) == 1
    assert not [path for path in objects(lake) if stage.name in path]
    assert lake.pairs() == [("01", 1)]


def test_an_age_below_zero_is_refused(lake: Any) -> None:
    with pytest.raises(ValueError, match="silver/shop/orders: stages can't be older than"):
        abandoned_stages(lake.store, lake.path, dt.timedelta(hours=-1))


def objects(lake: Any) -> list[str]:
    return [entry["path"] for batch in obstore.list(lake.store.objects, "/".join(lake.path)) for entry in batch]


def stages(lake: Any) -> set[str]:
    return {path.split("/")[3] for path in objects(lake) if STAGE_PREFIX in path}


def at_version(lake: Any, version: int) -> list[Any]:
    return sorted(map(repr, pa.table(lake.store.open(lake.path, version).scan()).to_pylist()))
