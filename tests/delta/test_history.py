"""What the log tells about each version, and the way back to one."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from pathlib import Path
from typing import Any

import obstore
import pyarrow as pa
import pytest
from deltalake import DeltaTable, Field, Schema, write_deltalake
from deltalake.schema import PrimitiveType

from medallion.delta.change_feed import PROPERTIES, ChangeFeedError, read_changes
from medallion.delta.history import changed_at, commits, version_at
from medallion.delta.protocol import UnsupportedTableError
from medallion.delta.restore import RestoreError, plan_restore, restore
from medallion.delta.store import TableMissingError, VersionMissingError

PATH = ("silver", "shop", "orders")
RUN = {"dagster/run_id": "run-1", "dagster/partitions": '["a", "b,c"]', "dagster/asset_key": "silver/shop/orders"}


@pytest.fixture
def written(lake: Any, rows: Any, days: Any) -> Any:
    """Five versions: made, two days, one of them replaced, a third appended, merged into."""
    lake.write(rows(("a", 1), ("b", 2)), partition_by=["day"], commit=RUN)
    lake.write(rows(("b", 3), ("b", 4)), days("b"), ["day"])
    lake.write(rows(("ü %/c", 5)), partition_by=["day"], mode="append")
    lake.write(rows(("b", 4), ("d", 9)), partition_by=["day"], mode="merge", keys=("day", "amount"))
    return lake


def removed_log(lake: Any, *versions: int) -> None:
    """Clean commit files up."""
    obstore.delete(lake.store.objects, ["/".join([*PATH, "_delta_log", f"{version:020}.json"]) for version in versions])


def test_history_tells_what_each_version_did_newest_first(written: Any) -> None:
    told = commits(written.store, PATH, 20)

    assert [(c.version, c.operation, c.rows, c.rows_added, c.rows_removed) for c in told] == [
        (4, "merge", 5, 1, 0),
        (3, "append", 4, 1, 0),
        (2, "replace", 3, 2, 1),
        (1, "replace", 2, 2, 0),
        (0, "create", 0, 0, 0),
    ]
    assert (told[3].run_id, told[3].partitions) == ("run-1", ("a", "b,c"))
    assert (told[2].files_added, told[2].files_removed) == (1, 1)
    assert all(later.time >= earlier.time for later, earlier in itertools.pairwise(told))


def test_a_limit_does_not_change_what_a_version_is_said_to_have_removed(written: Any) -> None:
    assert commits(written.store, PATH, 3) == commits(written.store, PATH, 20)[:3]


def test_history_ends_where_the_log_was_cleaned_up_and_says_what_it_can_not_know(written: Any) -> None:
    written.table.create_checkpoint()
    removed_log(written, 0, 1)

    told = commits(written.store, PATH, 20)

    assert [(c.version, c.rows_added, c.rows) for c in told] == [(4, 1, None), (3, 1, None), (2, 2, None)]
    assert told[2].rows_removed is None


def test_a_compaction_keeps_the_rows(written: Any) -> None:
    written.write(pa.table({"day": ["b"], "amount": [7]}), partition_by=["day"], mode="append")
    written.table.optimize.compact()

    told = commits(written.store, PATH, 1)[0]

    assert (told.operation, told.rows_added, told.rows_removed, told.rows) == ("compact", 3, 3, 6)


def test_the_rows_of_a_version_changed_when_a_write_changed_them_not_when_they_were_compacted(written: Any) -> None:
    written.write(pa.table({"day": ["b"], "amount": [7]}), partition_by=["day"], mode="append")
    written.table.optimize.compact()
    compacted, appended, merged = commits(written.store, PATH, 3)

    assert changed_at(written.store, PATH, compacted.version) == changed_at(written.store, PATH, appended.version)
    assert changed_at(written.store, PATH, appended.version) == appended.time > merged.time
    assert changed_at(written.store, PATH, merged.version) == merged.time


def test_the_rows_of_a_version_changed_as_late_as_what_is_left_of_the_log_can_tell(written: Any) -> None:
    written.write(pa.table({"day": ["b"], "amount": [7]}), partition_by=["day"], mode="append")
    written.table.optimize.compact()
    (compacted,) = commits(written.store, PATH, 1)
    removed_log(written, compacted.version - 1)

    assert changed_at(written.store, PATH, compacted.version) == compacted.time
    with pytest.raises(VersionMissingError, match="silver/shop/orders has no log of version 5"):
        changed_at(written.store, PATH, compacted.version - 1)


def test_the_history_of_a_table_that_was_never_written_is_an_error(lake: Any) -> None:
    with pytest.raises(TableMissingError, match="silver/shop/orders has no data"):
        commits(lake.store, PATH, 5)


def test_a_time_is_the_version_that_was_the_newest_then(written: Any) -> None:
    told = {commit.version: commit.time for commit in commits(written.store, PATH, 20)}

    assert version_at(written.store, PATH, told[2]) == max(v for v, time in told.items() if time <= told[2])
    assert version_at(written.store, PATH, dt.datetime.now(dt.UTC)) == 4
    with pytest.raises(VersionMissingError, match=r"has no version at .* its oldest known version 0 is of"):
        version_at(written.store, PATH, told[0] - dt.timedelta(seconds=1))


def test_a_version_before_what_is_left_of_the_log_is_no_missing_table(written: Any) -> None:
    written.table.create_checkpoint()
    removed_log(written, 0, 1, 2, 3)

    with pytest.raises(VersionMissingError, match="no version 1; its log begins at 4"):
        written.store.find(PATH, 1)
    with pytest.raises(VersionMissingError, match="no version 9; its newest is 4"):
        written.store.find(PATH, 9)


def test_restore_brings_a_version_back_in_one_commit(written: Any) -> None:
    before = written.store.open(PATH, 1)
    plan = plan_restore(written.store, PATH, 1)

    table = restore(written.store, plan)

    assert (plan.rows_before, plan.rows_after) == (5, 2)
    assert sorted(raw["day"] for raw in plan.partitions) == ["b", "d", "ü %/c"]
    assert table.version() == 5
    assert written.pairs() == [("a", 1), ("b", 2)]
    assert sorted(table.file_uris()) == sorted(before.file_uris())
    told = commits(written.store, PATH, 1)[0]
    assert (told.operation, told.rows, told.details["medallion/restored_version"]) == ("restore", 2, "1")
    assert told.details["medallion/user"]


def test_a_restore_can_be_restored(written: Any) -> None:
    rows = written.rows()
    restore(written.store, plan_restore(written.store, PATH, 2))
    restore(written.store, plan_restore(written.store, PATH, 4))

    assert written.rows() == rows
    assert plan_restore(written.store, PATH, 4).changes_nothing


def test_a_restored_table_is_written_to_as_before(written: Any, rows: Any, days: Any) -> None:
    restore(written.store, plan_restore(written.store, PATH, 1))
    written.write(rows(("b", 8)), days("b"), ["day"])

    assert written.pairs() == [("a", 1), ("b", 8)]


def test_an_append_that_was_restored_away_is_not_repeated_by_a_retry_of_its_run(lake: Any, rows: Any) -> None:
    lake.write(rows(("a", 1)), mode="append", transactions=("run-1",))
    restore(lake.store, plan_restore(lake.store, PATH, 0))

    again = lake.write(rows(("a", 1)), mode="append", transactions=("run-1",))
    lake.write(rows(("a", 2)), mode="append", transactions=("run-2",))

    assert again.operation == "skipped"
    assert lake.pairs() == [("a", 2)]


def test_restore_brings_columns_back(lake: Any, rows: Any) -> None:
    lake.write(rows(("a", 1)))
    wide = rows(("a", 1)).append_column("note", pa.array(["x"]))
    lake.write(wide, evolution="additive")
    plan = plan_restore(lake.store, PATH, 1)
    restore(lake.store, plan)

    assert plan.columns_out == ("note string",)
    assert lake.rows() == [{"day": "a", "amount": 1}]


def test_a_vacuumed_version_is_refused_before_anything_is_changed(written: Any) -> None:
    gone = set(written.store.open(PATH, 1).file_uris()) - set(written.table.file_uris())
    root = written.store.uri(PATH)
    obstore.delete(
        written.store.objects, ["/".join([*PATH, uri.split(root.split("://")[-1] + "/")[-1]]) for uri in gone]
    )

    with pytest.raises(RestoreError, match=r"can't go back to version 1: 1 of its 2 data files were vacuumed.*nothing"):
        plan_restore(written.store, PATH, 1)
    assert written.version == 4


def test_a_file_that_both_versions_share_and_nobody_has_is_noticed_too(written: Any) -> None:
    shared = next(file for file in written.files() if "day=a" in file)
    obstore.delete(written.store.objects, ["/".join([*PATH, shared])])

    with pytest.raises(RestoreError, match="day=a"):
        plan_restore(written.store, PATH, 1)


def test_a_table_that_changed_since_the_plan_is_not_restored(written: Any, rows: Any) -> None:
    plan = plan_restore(written.store, PATH, 1)
    written.write(rows(("e", 1)), partition_by=["day"], mode="append")
    pairs = written.pairs()

    with pytest.raises(RestoreError, match="changed by another writer after version 4"):
        restore(written.store, plan)
    assert (written.version, written.pairs()) == (5, pairs)


def changes(lake: Any, first: int, last: int | None = None) -> list[tuple[Any, ...]]:
    feed = read_changes(lake.store, PATH, first, last).read_all().to_pylist()
    return sorted((row["_commit_version"], row["_change_type"], row["day"], row["amount"]) for row in feed)


def test_a_change_feed_is_right_for_files_that_enter_by_reference(lake: Any, rows: Any, days: Any) -> None:
    write = {"partition_by": ["day"], "properties": PROPERTIES}
    lake.write(rows(("a", 1), ("b", 2)), **write)
    lake.write(rows(("b", 3)), days("b"), **write)
    lake.write(rows(("c", 4)), mode="append", **write)
    lake.write(rows(("b", 3), ("c", 5)), mode="merge", keys=("day",), **write)
    lake.table.optimize.compact()
    restore(lake.store, plan_restore(lake.store, PATH, 1))

    assert changes(lake, 0) == [
        (1, "insert", "a", 1),
        (1, "insert", "b", 2),
        (2, "delete", "b", 2),
        (2, "insert", "b", 3),
        (3, "insert", "c", 4),
        (4, "update_postimage", "c", 5),
        (4, "update_preimage", "c", 4),
        (5, "delete", "b", 3),
        (5, "delete", "c", 5),
        (5, "insert", "b", 2),
    ]
    assert changes(lake, 2, 2) == [(2, "delete", "b", 2), (2, "insert", "b", 3)]


def test_a_change_feed_is_right_for_a_slice_that_is_rewritten(lake: Any, rows: Any, days: Any) -> None:
    lake.write(rows(("a", 1), ("b", 2)), properties=PROPERTIES)
    lake.write(rows(("b", 3)), days("b"), properties=PROPERTIES)

    net = {(kind, day, amount) for _, kind, day, amount in changes(lake, 2)}
    assert net - {("delete", "a", 1), ("insert", "a", 1)} == {("delete", "b", 2), ("insert", "b", 3)}


def test_a_table_that_asks_for_a_feed_later_keeps_one_from_then_on(lake: Any, rows: Any) -> None:
    lake.write(rows(("a", 1)))
    lake.write(rows(("a", 2)), properties=PROPERTIES)
    version = lake.version
    lake.write(rows(("a", 3)), properties=PROPERTIES)

    assert lake.version == version + 1
    assert changes(lake, version + 1) == [(4, "delete", "a", 2), (4, "insert", "a", 3)]
    with pytest.raises(ChangeFeedError, match=r"no change data feed from version 1 on .it began"):
        changes(lake, 1)


def test_a_table_with_named_features_is_not_given_a_feed_that_would_lock_readers_out(lake: Any) -> None:
    wall = pa.table({"at": pa.array([dt.datetime(2024, 1, 1)], pa.timestamp("us"))})
    lake.write(wall)
    protocol = lake.table.protocol()

    with pytest.raises(UnsupportedTableError, match=r"was made without delta\.enableChangeDataFeed=true"):
        lake.write(wall, properties=PROPERTIES)
    assert (lake.version, lake.table.protocol()) == (1, protocol)


def test_delta_rs_still_adds_a_reader_feature_with_a_property(tmp_path: Path) -> None:
    """The reason for the refusal above: when this fails, `require_properties` may set the property on any table."""
    uri = str(tmp_path / "table")
    write_deltalake(uri, pa.table({"at": pa.array([dt.datetime(2024, 1, 1)], pa.timestamp("us"))}))
    DeltaTable(uri).alter.set_table_properties(dict(PROPERTIES))

    assert "variantType" in (DeltaTable(uri).protocol().reader_features or [])


@pytest.mark.parametrize(("first", "last"), [(5, None), (1, 9), (2, 1)])
def test_versions_that_are_not_there_have_no_changes(lake: Any, rows: Any, first: int, last: int | None) -> None:
    lake.write(rows(("a", 1)), properties=PROPERTIES)

    with pytest.raises(ChangeFeedError, match=r"has no versions .*; the newest is 1"):
        changes(lake, first, last)


def test_a_foreign_commit_without_commit_info_has_the_time_of_its_file(lake: Any) -> None:
    DeltaTable.create(
        lake.store.uri(PATH),
        Schema([Field("v", PrimitiveType("long"))]),
        storage_options=dict(lake.store.storage_options),
    )
    log = "/".join([*PATH, "_delta_log", f"{0:020}.json"])
    lines = [json.loads(line) for line in bytes(obstore.get(lake.store.objects, log).bytes()).splitlines()]
    kept = "\n".join(json.dumps(line) for line in lines if "commitInfo" not in line)
    obstore.put(lake.store.objects, log, kept.encode())

    told = commits(lake.store, PATH, 5)[0]

    assert (told.operation, told.run_id) == ("unknown", "")
    assert abs((dt.datetime.now(dt.UTC) - told.time).total_seconds()) < 60
