"""Maintenance changes no row of any version within retention, and deletes every file that none of them needs."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError
from deltalake.table import TableOptimizer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medallion.delta import archive as archiving
from medallion.delta.archive import ArchivedError, ArchiveError, archive, require_not_archived, unarchive
from medallion.delta.compaction import compact
from medallion.delta.maintenance import Maintenance, maintain
from medallion.delta.protocol import UnsupportedTableError
from medallion.delta.staging import write_stage
from medallion.delta.store import DeltaStore
from medallion.delta.vacuum import tidy_log, vacuum
from medallion.partitions import WHOLE
from tests.delta.conftest import Lake

CARE = Maintenance(small_files=2, keep_versions_days=7)
WEEK = dt.timedelta(days=7)
NOW = dt.datetime.now(dt.UTC)
MONTH_LATER = NOW + dt.timedelta(days=31)


@pytest.fixture
def local(tmp_path: Path) -> Lake:
    """A lake on local disk only, where a test can change the age of a file."""
    return Lake(DeltaStore(str(tmp_path / "lake")))


def append(lake: Any, frame: Any, name: str, partition_by: tuple[str, ...] = ("day",)) -> None:
    lake.write(frame, WHOLE, partition_by, "append", transactions=(name,))


def many_files(lake: Any, rows: Any, count: int = 5) -> list[tuple[Any, ...]]:
    for number in range(count):
        append(lake, rows(("01", number), ("02", number), (None, number)), f"r{number}")
    pairs: list[tuple[Any, ...]] = lake.pairs()
    return pairs


def folder(lake: Any) -> Path:
    return Path(lake.store.uri(lake.path))


def data(lake: Any) -> set[str]:
    root = folder(lake)
    return {str(path.relative_to(root)) for path in root.rglob("*.parquet") if "_delta_log" not in path.parts}


def aged(lake: Any, days: float, chosen: Callable[[str], bool] = lambda _: True) -> None:
    """Make files of a table on local disk look older than they are."""
    then = NOW.timestamp() - days * 86400
    for path in folder(lake).rglob("*"):
        if path.is_file() and chosen(str(path.relative_to(folder(lake)))):
            os.utime(path, (then, then))


def is_commit_before(version: int) -> Callable[[str], bool]:
    return lambda name: name.startswith("_delta_log/0") and int(name[11:31]) < version


def read(lake: Any, version: int) -> list[tuple[Any, ...]]:
    table = DeltaTable(lake.store.uri(lake.path), version=version, storage_options=dict(lake.store.storage_options))
    return sorted((tuple(row.values()) for row in pa.table(table.scan()).to_pylist()), key=repr)


# compaction


def test_small_files_of_a_slice_become_one_and_the_rows_stay(lake: Any, rows: Any) -> None:
    before = many_files(lake, rows)

    done = maintain(lake.store, lake.path, CARE, NOW)

    assert (done.files_before, done.files_after, done.compacted) == (15, 3, 3)
    assert lake.pairs() == before


def test_only_slices_with_many_small_files_are_rewritten(local: Any, days: Any, rows: Any) -> None:
    many_files(local, rows, 4)
    local.write(rows(("02", 1)), days("02"), ("day",))
    few = local.files(days("02"))

    done = compact(local.store, local.path, target_bytes=1 << 20, small_files=4)

    assert (done.slices, done.lost) == (2, 0)
    assert local.files(days("02")) == few
    assert len(local.files(days("01"))) == 1


def test_files_that_are_large_enough_are_left_alone(local: Any, rows: Any) -> None:
    many_files(local, rows)
    version = local.version

    assert compact(local.store, local.path, target_bytes=100, small_files=2).slices == 0
    assert local.version == version


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.date32(), [dt.date(2024, 1, 1), None]),
        (pa.int64(), [-22, 1, None]),
        (pa.string(), ["a b/ü'%,\"", "x=y", None]),
        (pa.timestamp("us", "UTC"), [dt.datetime(2024, 1, 1, 1, tzinfo=dt.UTC), None]),
    ],
    ids=str,
)
def test_slices_of_every_kind_of_value_are_compacted(local: Any, kind: Any, values: list[Any]) -> None:
    for number in range(3):
        frame = pa.table({"day": pa.array(values, kind), "amount": pa.array([number] * len(values), pa.int64())})
        append(local, frame, f"r{number}")
    before = local.pairs()

    compact(local.store, local.path, target_bytes=1 << 20, small_files=3)

    assert len(local.files()) == len(values)
    assert local.pairs() == before


def test_a_slice_of_the_empty_text_is_left_as_it_is(local: Any, rows: Any) -> None:
    for number in range(3):
        append(local, rows(("", number), (None, number), ("01", number)), f"r{number}")
    before = local.pairs()

    assert compact(local.store, local.path, target_bytes=1 << 20, small_files=3).slices == 2
    assert local.pairs() == before


def test_a_table_of_two_partition_columns_and_one_of_none_are_compacted(local: Any) -> None:
    for name, columns, files in (("two", ("k", "l"), 3), ("none", (), 1)):
        local.path = ("silver", "shop", name)
        for number in range(3):
            frame = pa.table({"k": ["a", "b", "a"], "l": ["1", "1", None], "x": [number] * 3})
            append(local, frame, f"r{number}", columns)
        before = local.pairs()

        compact(local.store, local.path, target_bytes=1 << 20, small_files=3)

        assert len(local.files()) == files
        assert local.pairs() == before


def test_a_compaction_says_that_no_row_changed(local: Any, rows: Any) -> None:
    many_files(local, rows)
    compact(local.store, local.path, target_bytes=1 << 20, small_files=2)

    assert local.commit["operation"] == "OPTIMIZE"
    assert local.commit["medallion/maintenance"] == "compact"


def rival(monkeypatch: pytest.MonkeyPatch, method: str, other: Callable[[], Any]) -> None:
    """Let another writer commit between a rewrite's reading and its commit."""
    rewrite = getattr(TableOptimizer, method)

    def late(self: TableOptimizer, *arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(TableOptimizer, method, rewrite)
        other()
        return rewrite(self, *arguments, **options)

    monkeypatch.setattr(TableOptimizer, method, late)


@pytest.mark.parametrize("z_order", [(), ("amount",)], ids=["compact", "z_order"])
def test_a_compaction_that_a_replacement_overtakes_is_dropped(
    local: Any, days: Any, rows: Any, monkeypatch: pytest.MonkeyPatch, z_order: tuple[str, ...]
) -> None:
    many_files(local, rows)
    method = "z_order" if z_order else "compact"
    rival(monkeypatch, method, lambda: local.write(rows(("01", 99)), days("01"), ("day",)))

    done = maintain(local.store, local.path, Maintenance(small_files=2, z_order=z_order), NOW)

    assert "another writer changed the table meanwhile" in done.notes[0]
    assert [row for row in local.pairs() if row[0] == "01"] == [("01", 99)]
    assert len(local.pairs()) == 11
    again = maintain(local.store, local.path, Maintenance(small_files=2, z_order=z_order), NOW)
    assert again.notes == ()
    assert len(local.pairs()) == 11


def test_a_lost_race_costs_only_the_slices_of_one_commit(
    local: Any, days: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    many_files(local, rows)
    monkeypatch.setattr("medallion.delta.compaction._SLICES_AT_ONCE", 1)
    rival(monkeypatch, "compact", lambda: local.write(rows(("01", 99)), days("01"), ("day",)))

    done = compact(local.store, local.path, target_bytes=1 << 20, small_files=2)

    assert (done.slices, done.lost) == (2, 1)
    assert compact(local.store, local.path, target_bytes=1 << 20, small_files=2).lost == 0
    assert len(local.files()) == 3


def test_rows_that_are_appended_while_a_slice_is_compacted_are_there(
    lake: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = many_files(lake, rows)
    rival(monkeypatch, "compact", lambda: append(lake, rows(("01", 99)), "late"))

    done = compact(lake.store, lake.path, target_bytes=1 << 20, small_files=2)

    assert done.lost == 0
    assert lake.pairs() == sorted([*before, ("01", 99)], key=repr)


def test_a_replacement_that_a_compaction_overtakes_replaces_what_was_compacted(
    local: Any, days: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from medallion.delta import publish as publishing

    many_files(local, rows)
    listed = publishing.data_files
    overtaken: list[int] = []

    def late(table: Any, selection: Any) -> Any:
        files = listed(table, selection)
        if not overtaken:
            overtaken.append(compact(local.store, local.path, target_bytes=1 << 20, small_files=2).slices)
        return files

    monkeypatch.setattr(publishing, "data_files", late)
    local.write(rows(("01", 99)), days("01"), ("day",))

    assert overtaken == [3]
    assert [row for row in local.pairs() if row[0] == "01"] == [("01", 99)]
    assert len(local.pairs()) == 11


def test_z_order_rewrites_a_slice_once_after_it_was_written(local: Any, days: Any, rows: Any) -> None:
    care = Maintenance(z_order=("amount",))
    before = many_files(local, rows)
    assert maintain(local.store, local.path, care, NOW).ordered == 3
    version = local.version
    assert maintain(local.store, local.path, care, NOW).ordered == 0
    assert local.version == version
    assert local.pairs() == before
    local.write(rows(("01", 5), ("01", 4)), days("01"), ("day",))
    assert maintain(local.store, local.path, care, NOW).ordered == 1
    assert maintain(local.store, local.path, Maintenance(z_order=("day", "amount")[1:]), NOW).ordered == 0


# vacuum


def test_files_that_no_retained_version_needs_are_deleted_and_only_those(lake: Any, days: Any, rows: Any) -> None:
    for number in range(3):
        lake.write(rows(("01", number), ("02", number)), days("01", "02"), ("day",))

    done = vacuum(lake.store, lake.path, WEEK, MONTH_LATER)

    assert (done.files, done.oldest, done.newest) == (4, 3, 3)
    assert lake.pairs() == [("01", 2), ("02", 2)]
    assert vacuum(lake.store, lake.path, WEEK, MONTH_LATER).files == 0


def test_the_version_that_was_current_when_retention_began_stays_readable(local: Any, days: Any, rows: Any) -> None:
    for number in range(6):
        local.write(rows(("01", number)), days("01"), ("day",))
    aged(local, 60, lambda name: name.endswith(".parquet"))
    aged(local, 60, is_commit_before(4))

    done = vacuum(local.store, local.path, WEEK, NOW)

    assert (done.oldest, done.newest, done.files) == (3, 6, 2)
    assert [read(local, version) for version in (3, 4, 5, 6)] == [[("01", n)] for n in (2, 3, 4, 5)]


def test_a_version_within_retention_survives_a_checkpoint_that_forgot_its_tombstones(days: Any, rows: Any) -> None:
    with tempfile.TemporaryDirectory() as root:
        lake = Lake(DeltaStore(root, table_config={"delta.deletedFileRetentionDuration": "interval 0 seconds"}))
        for number in range(3):
            lake.write(rows(("01", number)), days("01"), ("day",))
        lake.table.create_checkpoint()
        aged(lake, 60, lambda name: name.endswith(".parquet") and "_delta_log" not in name)
        stock = lake.table.vacuum(24 * 7, full=True, dry_run=True)

        assert len(stock) == 2, "delta-rs keeps them now, so its own vacuum may do"
        assert vacuum(lake.store, lake.path, WEEK, NOW).files == 0
        assert [read(lake, version) for version in (1, 2, 3)] == [[("01", 0)], [("01", 1)], [("01", 2)]]


def test_what_a_checkpoint_forgot_is_deleted_when_no_version_needs_it(local: Any, days: Any, rows: Any) -> None:
    for number in range(3):
        local.write(rows(("01", number)), days("01"), ("day",))
    aged(local, 60)
    local.table.create_checkpoint()
    local.table.cleanup_metadata()

    assert vacuum(local.store, local.path, WEEK, NOW).files == 2
    assert local.pairs() == [("01", 2)]


def test_a_young_file_that_nobody_committed_yet_stays(local: Any, rows: Any) -> None:
    local.write(rows(("01", 1)), WHOLE, ("day",))
    (folder(local) / "day=01" / "part-young.parquet").parent.mkdir(exist_ok=True)
    (folder(local) / "day=01" / "part-young.parquet").write_bytes(b"in flight")
    (folder(local) / "day=01" / "part-old.parquet").write_bytes(b"orphan")
    aged(local, 2, lambda name: name.endswith("part-old.parquet"))

    assert vacuum(local.store, local.path, WEEK, NOW).files == 1
    assert "day=01/part-young.parquet" in data(local)


def test_an_old_unpublished_stage_is_none_of_the_vacuum_and_can_be_published(local: Any, days: Any, rows: Any) -> None:
    from medallion.delta.frames import stage_writer
    from medallion.delta.publish import Write, publish

    local.write(rows(("01", 1)), days("01"), ("day",))
    stage = write_stage(local.store, local.path, ("day",), stage_writer(rows(("02", 2)), local.store))
    aged(local, 60)

    assert vacuum(local.store, local.path, WEEK, NOW).files == 0
    publish(Write(stage, days("02"), stage.store.open(local.path).schema(), ("day",)))
    assert local.pairs() == [("01", 1), ("02", 2)]


def test_a_stage_whose_log_was_deleted_after_publishing_is_vacuumed_like_any_file(
    lake: Any, days: Any, rows: Any
) -> None:
    lake.write(rows(("a b/ü'%20", 1), ("02", 1)), days("a b/ü'%20", "02"), ("day",))
    lake.write(rows(("02", 2)), days("02"), ("day",))

    assert vacuum(lake.store, lake.path, WEEK, MONTH_LATER).files == 1
    assert set(lake.pairs()) == {("02", 2), ("a b/ü'%20", 1)}


def test_hidden_folders_of_other_tools_are_left_alone(local: Any, rows: Any) -> None:
    local.write(rows(("01", 1)), WHOLE, ("day",))
    for name in ("_spark_metadata/0", ".sidecar/x", "_outcome=passed/day=01/part-orphan.parquet"):
        path = folder(local) / name
        path.parent.mkdir(parents=True)
        path.write_text("x")
    aged(local, 60)

    assert vacuum(local.store, local.path, WEEK, NOW).files == 1
    assert (folder(local) / "_spark_metadata" / "0").exists()
    assert (folder(local) / ".sidecar" / "x").exists()


def test_the_change_feed_of_a_retained_version_stays(local: Any, days: Any, rows: Any) -> None:
    root = local.store.uri(local.path)
    write_deltalake(root, rows(("01", 1), ("01", 2)), configuration={"delta.enableChangeDataFeed": "true"})
    DeltaTable(root).delete("amount = 1")
    aged(local, 60, lambda name: not name.startswith("_delta_log"))

    vacuum(local.store, local.path, WEEK, NOW)
    changes = pa.table(DeltaTable(root).load_cdf(starting_version=1)).to_pylist()
    assert [(row["_change_type"], row["amount"]) for row in changes] == [("delete", 1)]


def test_a_file_outside_of_the_table_is_refused_by_name(local: Any, rows: Any) -> None:
    local.write(rows(("01", 1)), WHOLE, ())
    log = folder(local) / "_delta_log" / f"{local.version:020}.json"
    log.write_text(log.read_text().replace('"path":"stage-', '"path":"s3://other/stage-'))

    with pytest.raises(UnsupportedTableError, match=r"silver/shop/orders refers to s3://other.*nothing was deleted"):
        vacuum(local.store, local.path, WEEK, MONTH_LATER)


# log


def test_the_log_is_checkpointed_and_its_expired_commits_deleted(local: Any, days: Any, rows: Any) -> None:
    for number in range(12):
        local.write(rows(("01", number)), days("01"), ("day",))
    tidy_log(local.store, local.path, 7)
    checkpoint = local.version
    for number in range(3):
        local.write(rows(("01", number)), days("01"), ("day",))
    aged(local, 60, lambda name: is_commit_before(checkpoint + 1)(name) if name[11:12] == "0" else False)

    tidy_log(local.store, local.path, 7)

    kept = sorted(path.name for path in (folder(local) / "_delta_log").glob("0*.json"))
    assert int(kept[0][:20]) == checkpoint
    assert read(local, checkpoint) == [("01", 11)]
    assert local.pairs() == [("01", 2)]


def test_retention_is_stored_in_the_table_for_other_writers(local: Any, rows: Any) -> None:
    local.write(rows(("01", 1)))
    tidy_log(local.store, local.path, 7)
    assert local.version == 1, "these are Delta's defaults"
    tidy_log(local.store, local.path, 45)
    tidy_log(local.store, local.path, 45)
    assert local.version == 2
    held = local.table.metadata().configuration
    assert held == {
        "delta.deletedFileRetentionDuration": "interval 45 days",
        "delta.logRetentionDuration": "interval 45 days",
    }


# all of it


def test_a_dry_run_changes_nothing_and_says_what_would_be_done(local: Any, days: Any, rows: Any) -> None:
    many_files(local, rows)
    local.write(rows(("01", 9)), days("01"), ("day",))
    version = local.version

    plan = maintain(local.store, local.path, CARE, MONTH_LATER, dry_run=True)

    assert (plan.compacted, plan.files_deleted, plan.files_after) == (2, 5, plan.files_before)
    assert local.version == version
    assert vacuum(local.store, local.path, WEEK, MONTH_LATER, dry_run=True).files == 5


def test_abandoned_stages_are_swept_by_their_age(local: Any, rows: Any) -> None:
    local.write(rows(("01", 1)), WHOLE, ("day",))
    old = local.stage(rows(("01", 2)), ("day",))
    aged(local, 8, lambda name: name.startswith(old.name))
    young = local.stage(rows(("01", 3)), ("day",))

    done = maintain(local.store, local.path, CARE, NOW)

    assert (done.stages, done.bytes_freed > 0) == (1, True)
    assert not (folder(local) / old.name / "_delta_log").exists()
    assert young.delta.count() == 1


def test_a_table_that_was_never_written_is_skipped(local: Any) -> None:
    assert maintain(local.store, ("silver", "shop", "nothing"), CARE, NOW) is None


def test_a_declaration_that_keeps_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="keep_versions_days=0"):
        Maintenance(keep_versions_days=0)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sampled_from(["append", "replace", "maintain", "age"]), st.sampled_from(["01", "02", "é %"])),
        min_size=4,
        max_size=10,
    )
)
def test_after_any_writes_and_maintenance_every_version_within_retention_reads_as_before(
    days: Any, rows: Any, steps: list[tuple[str, str]]
) -> None:
    with tempfile.TemporaryDirectory() as root:
        lake = Lake(DeltaStore(root))
        lake.write(rows(("01", -1), ("02", -1)), WHOLE, ("day",))
        expected = {lake.version: lake.pairs()}
        oldest = 0
        for number, (verb, day) in enumerate(steps):
            if verb == "append":
                append(lake, rows((day, number)), f"r{number}")
            elif verb == "replace":
                lake.write(rows((day, number)), days(day), ("day",))
            elif verb == "maintain":
                maintain(lake.store, lake.path, CARE, NOW)
            else:
                # Everything so far is out of retention, but for what is current.
                aged(lake, 30)
                oldest = lake.version
            expected[lake.version] = lake.pairs()
        aged(lake, 30, lambda name: not name.startswith("_delta_log"))
        maintain(lake.store, lake.path, CARE, NOW)
        assert lake.pairs() == expected[max(expected)]
        retained = {version: rows for version, rows in expected.items() if version >= oldest and version > 0}
        assert {version: read(lake, version) for version in retained} == retained


# archive


def test_archived_rows_are_there_and_not_here(local: Any, days: Any, rows: Any) -> None:
    before = many_files(local, rows)
    there = DeltaStore(f"{local.store.root}-archive", local.store.storage_options)

    moved = archive(local.store, local.path, there.root, days("01"))

    assert (moved.slices, moved.rows, moved.lost) == (("day=01",), 5, False)
    copied = sorted((tuple(row.values()) for row in pa.table(there.open(local.path).scan()).to_pylist()), key=repr)
    assert copied == [row for row in before if row[0] == "01"]
    assert local.pairs() == [row for row in before if row[0] != "01"]
    assert archive(local.store, local.path, there.root, days("01")).rows == 0


def test_an_archived_slice_can_not_be_read_as_if_it_were_empty(lake: Any, days: Any, rows: Any) -> None:
    before = many_files(lake, rows)
    root = f"{lake.store.root}-archive"
    archive(lake.store, lake.path, root, days("01"))

    for selection in (days("01"), days("01", "02"), WHOLE):
        with pytest.raises(ArchivedError, match=r"day=01 was archived to .*medallion unarchive silver/shop/orders"):
            require_not_archived(lake.store, lake.path, selection)
    require_not_archived(lake.store, lake.path, days("02"))
    assert unarchive(lake.store, lake.path, days("01")).rows == 5
    require_not_archived(lake.store, lake.path, WHOLE)
    assert lake.pairs() == before


def test_a_slice_that_landed_again_wins_over_its_archived_rows(local: Any, days: Any, rows: Any) -> None:
    root = f"{local.store.root}-archive"
    local.write(rows(("01", 1), ("02", 2)), WHOLE, ("day",))
    archive(local.store, local.path, root, days("01", "02"))
    local.write(rows(("01", 7)), days("01"), ("day",))

    require_not_archived(local.store, local.path, days("01"))
    archive(local.store, local.path, root, days("01", "02"))
    assert local.rows() == []
    assert unarchive(local.store, local.path, WHOLE).rows == 2
    assert local.pairs() == [("01", 7), ("02", 2)]


def test_archiving_again_keeps_what_was_archived_before(local: Any, days: Any, rows: Any) -> None:
    root = f"{local.store.root}-archive"
    for day in ("01", "02"):
        local.write(rows((day, 1)), days(day), ("day",))
        archive(local.store, local.path, root, days("01", "02"))
    assert unarchive(local.store, local.path, WHOLE).slices == ("day=01", "day=02")
    assert local.pairs() == [("01", 1), ("02", 1)]


class Killed(BaseException):
    """A process that ends there."""


@pytest.mark.parametrize("step", ["_copy", "_count", "RemoveAction"])
@pytest.mark.parametrize("back", [False, True], ids=["away", "back"])
def test_killed_between_its_commits_no_row_is_lost_or_doubled(
    local: Any, days: Any, rows: Any, monkeypatch: pytest.MonkeyPatch, step: str, back: bool
) -> None:
    before = many_files(local, rows, 2)
    root = f"{local.store.root}-archive"
    if back:
        archive(local.store, local.path, root, days("01"))

    def move() -> Any:
        if back:
            return unarchive(local.store, local.path, days("01"))
        return archive(local.store, local.path, root, days("01"))

    def kill(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        if step == "RemoveAction":
            patch.setattr("deltalake.transaction.RemoveAction", kill)
        else:
            patch.setattr(archiving, step, kill)
        with pytest.raises(Killed):
            move()
    move()
    if not back:
        assert local.pairs() == [row for row in before if row[0] != "01"]
        unarchive(local.store, local.path, WHOLE)
    assert local.pairs() == before


_ARCHIVES = """
import sys
from medallion.delta.archive import archive
from medallion.delta.store import DeltaStore
from medallion.partitions import Dimension, Slice
selection = Slice(((Dimension("day", ("01",)),),), keys=("01",))
archive(DeltaStore(sys.argv[1]), ("silver", "shop", "orders"), sys.argv[1] + "-archive", selection)
"""


@pytest.mark.parametrize("step", ["after_commit", "half_discarded"])
def test_a_killed_process_that_archived_leaves_every_row_once(local: Any, days: Any, rows: Any, step: str) -> None:
    before = many_files(local, rows, 2)
    environment = {**os.environ, "MEDALLION_FAULT": f"{step}@silver/shop/orders"}
    command = [sys.executable, "-c", _ARCHIVES, local.store.root]

    assert subprocess.run(command, env=environment, capture_output=True).returncode == -signal.SIGKILL

    assert local.pairs() == before
    require_not_archived(local.store, local.path, WHOLE)
    assert archive(local.store, local.path, f"{local.store.root}-archive", days("01")).rows == 2
    assert local.pairs() == [row for row in before if row[0] != "01"]
    assert unarchive(local.store, local.path, WHOLE).rows == 2
    assert local.pairs() == before


def test_rows_that_change_while_they_are_copied_stay(
    lake: Any, days: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.write(rows(("01", 1), ("02", 2)), WHOLE, ("day",))
    copy = archiving._copy

    def late(*arguments: Any) -> None:
        copy(*arguments)
        lake.write(rows(("01", 7)), days("01"), ("day",))

    monkeypatch.setattr(archiving, "_copy", late)
    assert archive(lake.store, lake.path, f"{lake.store.root}-archive", days("01")).lost
    assert lake.pairs() == [("01", 7), ("02", 2)]


def test_rows_that_are_appended_while_a_slice_is_copied_do_not_hide_the_copied_ones(
    local: Any, days: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    local.write(rows(("01", 1)), days("01"), ("day",))
    copy = archiving._copy

    def late(*arguments: Any) -> None:
        copy(*arguments)
        append(local, rows(("01", 7)), "late")

    monkeypatch.setattr(archiving, "_copy", late)
    assert archive(local.store, local.path, f"{local.store.root}-archive", days("01")).lost
    assert local.pairs() == [("01", 1), ("01", 7)]


def test_a_copy_that_lacks_rows_removes_nothing(
    local: Any, days: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    local.write(rows(("01", 1), ("02", 2)), WHOLE, ("day",))
    monkeypatch.setattr(archiving, "_count", lambda *_: 0)
    with pytest.raises(ArchiveError, match=r"has 0 rows of 01, but 1 were copied; nothing was removed"):
        archive(local.store, local.path, f"{local.store.root}-archive", days("01"))
    assert local.pairs() == [("01", 1), ("02", 2)]


def test_the_lake_is_no_archive_of_itself(local: Any, days: Any, rows: Any) -> None:
    local.write(rows(("01", 1)), days("01"), ("day",))
    with pytest.raises(ArchiveError, match="is the table itself"):
        archive(local.store, local.path, f"{local.store.root}/.", days("01"))
    assert local.pairs() == [("01", 1)]


def test_an_archive_is_not_split_over_two_places(local: Any, days: Any, rows: Any) -> None:
    local.write(rows(("01", 1), ("02", 2)), WHOLE, ("day",))
    archive(local.store, local.path, f"{local.store.root}-a", days("01"))
    with pytest.raises(ArchiveError, match=r"has archived rows below .*-a.*set MEDALLION_ARCHIVE"):
        archive(local.store, local.path, f"{local.store.root}-b", days("02"))


def test_a_lost_race_of_delta_rs_is_the_error_that_compaction_expects(local: Any, days: Any, rows: Any) -> None:
    many_files(local, rows)
    stale = local.table
    local.write(rows(("01", 99)), days("01"), ("day",))
    with pytest.raises(CommitFailedError):
        stale.optimize.compact(commit_properties=CommitProperties(max_commit_retries=5))
