"""History of rows: where versions begin, end, split, collapse and come back."""

from __future__ import annotations

import datetime as dt
import os
import signal
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, Field, Schema, write_deltalake
from deltalake.schema import PrimitiveType

from medallion.delta import publish as publishing
from medallion.delta.preconditions import DuplicateKeyError
from medallion.delta.publish import Write, publish
from medallion.delta.scd2 import History, SnapshotError
from medallion.delta.staging import write_stage
from medallion.delta.store import DeltaStore
from medallion.partitions import WHOLE, Dimension, Slice, SliceError
from tests.delta.conftest import Lake
from tests.fixtures.processes import processes

STAMP = pa.timestamp("us", tz="UTC")
MADE = [("valid_to", STAMP), ("is_current", pa.bool_()), ("_version_hash", pa.string())]
SCHEMA = Schema.from_arrow(pa.schema([("k", pa.string()), ("v", pa.string()), ("valid_from", STAMP), *MADE]))
KEEP, CLOSE = History(key=("k",)), History(key=("k",), absent="close")
Version = tuple[str, str | None, int]


@pytest.fixture(name="lake")
def lake_on_disk(tmp_path: Path) -> Lake:
    return Lake(DeltaStore(str(tmp_path)))


@pytest.fixture
def anywhere(store: DeltaStore) -> Lake:
    """A lake on local disk, and one on S3."""
    return Lake(store)


def day(number: int) -> dt.datetime:
    return dt.datetime(2024, 1, number, tzinfo=dt.UTC)


def batch(*rows: Version, at: int | None = None) -> pa.Table:
    """Rows of (key, value, day from which it holds), of the full snapshot of a day if one is given."""
    columns = {
        "k": pa.array([k for k, _, _ in rows], pa.string()),
        "v": pa.array([v for _, v, _ in rows], pa.string()),
        "valid_from": pa.array([day(since) for _, _, since in rows], STAMP),
    }
    if at is not None:
        columns["_snapshot_at"] = pa.array([day(at)] * len(rows), STAMP)
    return pa.table(columns)


def take(lake: Lake, *rows: Version, at: int | None = None, **options: Any) -> dict[str, int]:
    """Write a batch; what it did, without what it did not."""
    how = {"mode": "scd2", "keys": ("k", "valid_from"), "schema": SCHEMA, "history": KEEP if at is None else CLOSE}
    published = lake.write(batch(*rows, at=at), **{**how, **options})
    assert published.operation == "scd2"
    return {name.removeprefix("rows_"): n for name, n in published.metrics.items() if n and name.startswith("rows_")}


def versions(lake: Lake) -> list[tuple[str, str | None, int, int | None]]:
    """(key, value, first day, day on which it no longer holds or None) of all versions."""
    rows = lake.rows()
    assert all(row["is_current"] == (row["valid_to"] is None) for row in rows)
    assert all(len(row["_version_hash"]) == 64 for row in rows)
    found = [(r["k"], r["v"], r["valid_from"].day, r["valid_to"].day if r["valid_to"] else None) for r in rows]
    return sorted(found, key=lambda version: (version[0], version[2]))


def test_several_changes_of_a_key_in_one_batch_follow_each_other(lake: Lake) -> None:
    assert take(lake, ("a", "y", 5), ("a", "x", 1), ("b", "z", 1)) == {"inserted": 3}
    assert versions(lake) == [("a", "x", 1, 5), ("a", "y", 5, None), ("b", "z", 1, None)]
    # New versions alone are appended: a merge would join them with the table in memory.
    assert (lake.commit["operation"], lake.commit["operationParameters"]["mode"]) == ("WRITE", "Append")
    assert take(lake, ("a", "w", 9), ("c", "z", 1)) == {"inserted": 2, "updated": 1}
    assert lake.commit["operation"] == "MERGE"


def test_a_batch_that_comes_again_makes_no_version(anywhere: Lake) -> None:
    rows = ("a", "x", 1), ("a", "y", 5), ("b", None, 1)
    take(anywhere, *rows)
    version, files = anywhere.version, anywhere.files()
    assert take(anywhere, *rows) == {"unchanged": 3}
    assert take(anywhere, ("a", "x", 3), ("b", None, 9)) == {"unchanged": 2}
    assert (anywhere.version, anywhere.files()) == (version, files)


def test_a_late_row_splits_the_version_that_it_falls_into(lake: Lake) -> None:
    take(lake, ("a", "x", 1), ("a", "y", 5))
    assert take(lake, ("a", "late", 3)) == {"inserted": 1, "updated": 1}
    assert versions(lake) == [("a", "x", 1, 3), ("a", "late", 3, 5), ("a", "y", 5, None)]


def test_a_late_row_with_the_values_of_the_next_version_moves_its_beginning(anywhere: Lake) -> None:
    take(anywhere, ("a", "x", 1), ("a", "y", 5))
    assert take(anywhere, ("a", "y", 3)) == {"inserted": 1, "updated": 1, "deleted": 1}
    assert versions(anywhere) == [("a", "x", 1, 3), ("a", "y", 3, None)]


def test_a_row_before_all_versions_becomes_the_first(lake: Lake) -> None:
    take(lake, ("a", "x", 5))
    take(lake, ("a", "w", 2))
    assert versions(lake) == [("a", "w", 2, 5), ("a", "x", 5, None)]


def test_a_correction_at_the_moment_of_a_version_replaces_it_and_equal_neighbours_become_one(lake: Lake) -> None:
    take(lake, ("a", "x", 1), ("a", "y", 3), ("a", "x", 7))
    assert take(lake, ("a", "x", 3)) == {"updated": 1, "deleted": 2, "unchanged": 1}
    assert versions(lake) == [("a", "x", 1, None)]


def test_null_to_a_value_is_a_change_and_null_to_null_is_none(lake: Lake) -> None:
    take(lake, ("a", None, 1), ("a", None, 2), ("a", "x", 3), ("a", None, 4), ("a", "", 5))
    assert versions(lake) == [("a", None, 1, 3), ("a", "x", 3, 4), ("a", None, 4, 5), ("a", "", 5, None)]


def test_keys_of_several_columns_are_compared_by_value_whatever_they_are_called(lake: Lake) -> None:
    names = ('the "first"', "order by")
    schema = Schema.from_arrow(
        pa.schema([(names[0], pa.string()), (names[1], pa.string()), ("from", STAMP), ("it's", pa.string()), *MADE])
    )
    history = History(key=names, valid_from="from")

    def write(*rows: tuple[str, str, int, str]) -> None:
        first, second, since, value = zip(*rows, strict=True)
        frame = pa.table([first, second, pa.array(map(day, since), STAMP), value], names=schema.to_arrow().names[:4])
        lake.write(frame, mode="scd2", keys=(*names, "from"), schema=schema, history=history)

    write(("a-1", "2", 1, "x"), ("a", "1-2", 1, "x"))
    write(("a-1", "2", 3, "y"))
    found = {(r[names[0]], r[names[1]], r["from"].day, r["it's"], r["is_current"]) for r in lake.rows()}
    assert found == {("a-1", "2", 1, "x", False), ("a-1", "2", 3, "y", True), ("a", "1-2", 1, "x", True)}


def test_tracked_columns_of_every_type_keep_their_values(lake: Lake) -> None:
    values = {
        "decimal": pa.array([Decimal("12345678901234567890.12"), Decimal("12345678901234567890.13")]),
        "double": pa.array([0.1, float("nan")]),
        "long": pa.array([2**53, 2**53 + 1]),
        "binary": pa.array([b"\x00\xff", b"a"]),
        "date": pa.array([dt.date(1, 1, 1), None]),
        "naive": pa.array([dt.datetime(2024, 1, 1), None], pa.timestamp("us")),
        "list": pa.array([["a", None], []], pa.list_(pa.string())),
        "struct": pa.array([{"x": 1}, None], pa.struct([("x", pa.int32())])),
    }
    for name, pair in values.items():
        lake.path = ("silver", "shop", f"typed_{name}")
        schema = Schema.from_arrow(pa.schema([("k", pa.string()), (name, pair.type), ("valid_from", STAMP), *MADE]))
        for since in (1, 3):
            keys = pa.array(["a", "a"])
            moments = pa.array([day(since), day(since + 1)], STAMP)
            frame = pa.table({"k": keys, name: pair, "valid_from": moments})
            lake.write(frame, mode="scd2", keys=("k", "valid_from"), schema=schema, history=KEEP)
        stored = sorted(lake.rows(), key=lambda row: row["valid_from"])
        assert [row["valid_from"].day for row in stored] == [1, 2, 3, 4]
        assert repr([row[name] for row in stored]) == repr(pair.to_pylist() * 2)


def test_a_new_column_that_is_null_makes_no_version(lake: Lake) -> None:
    take(lake, ("a", "x", 1))
    wide = Schema([*SCHEMA.fields, Field("note", PrimitiveType("string"))])
    frame = batch(("a", "x", 2)).append_column("note", pa.array([None], pa.string()))
    how = {"mode": "scd2", "keys": ("k", "valid_from"), "history": KEEP, "evolution": "additive", "schema": wide}
    lake.write(frame, **how)
    assert versions(lake) == [("a", "x", 1, None)]
    lake.write(batch(("a", "x", 3)).append_column("note", pa.array(["n"])), **how)
    assert [(row["note"], row["is_current"]) for row in lake.rows()] == [(None, False), ("n", True)]


def test_moments_may_be_dates(lake: Lake) -> None:
    today = pa.date32()
    schema = Schema.from_arrow(pa.schema([("k", pa.string()), ("valid_from", today), ("valid_to", today), *MADE[1:]]))
    history = History(key=("k",), absent="close")
    for n, names in ((1, ["a", "b"]), (3, ["a"])):
        moments = pa.array([dt.date(2024, 1, n)] * len(names), today)
        frame = pa.table({"k": names, "valid_from": moments, "_snapshot_at": moments})
        lake.write(frame, mode="scd2", keys=("k", "valid_from"), schema=schema, history=history)
    assert {(row["k"], row["valid_to"]) for row in lake.rows()} == {("a", None), ("b", dt.date(2024, 1, 3))}


def test_two_rows_of_a_key_at_one_moment_are_refused(lake: Lake) -> None:
    take(lake, ("a", "x", 1))
    with pytest.raises(DuplicateKeyError, match=r"1 keys \['k', 'valid_from'\] stand for more than one row"):
        take(lake, ("b", "y", 1), ("a", "y", 2), ("a", "z", 2))
    assert versions(lake) == [("a", "x", 1, None)]


def test_a_key_outside_of_the_slice_is_refused(lake: Lake) -> None:
    only_a = Slice(((Dimension("k", ("a",)),),), keys=("a",))
    with pytest.raises(SliceError, match="1 rows are outside of slice a"):
        take(lake, ("a", "x", 1), ("b", "x", 1), selection=only_a)
    assert versions(lake) == []


def test_without_history_columns_the_mode_is_refused(lake: Lake) -> None:
    with pytest.raises(ValueError, match=r"silver/shop/orders: mode scd2 needs a contract that extends Versioned"):
        take(lake, ("a", "x", 1), history=None)


def test_a_key_that_a_batch_does_not_name_is_kept(lake: Lake) -> None:
    take(lake, ("a", "x", 1), ("b", "y", 1))
    take(lake, ("a", "x", 3))
    assert versions(lake) == [("a", "x", 1, None), ("b", "y", 1, None)]


def test_a_key_that_a_snapshot_lacks_ends_at_its_moment_and_may_come_back(lake: Lake) -> None:
    take(lake, ("a", "x", 1), ("b", "y", 1), at=1)
    assert take(lake, ("a", "x", 3), at=3) == {"updated": 1, "unchanged": 1}
    assert versions(lake) == [("a", "x", 1, None), ("b", "y", 1, 3)]
    take(lake, ("a", "x", 5), ("b", "y", 5), at=5)
    assert versions(lake) == [("a", "x", 1, None), ("b", "y", 1, 3), ("b", "y", 5, None)]


def test_a_key_that_comes_back_with_the_moment_of_its_last_change_begins_again_with_the_snapshot(lake: Lake) -> None:
    take(lake, ("a", "x", 1), ("b", "y", 1), at=2)
    take(lake, ("a", "x", 1), at=4)
    take(lake, ("a", "x", 1), ("b", "y", 1), at=6)
    assert versions(lake) == [("a", "x", 1, None), ("b", "y", 1, 4), ("b", "y", 6, None)]


def test_a_key_whose_row_is_in_quarantine_does_not_end(lake: Lake) -> None:
    take(lake, ("a", "x", 1), ("b", "y", 1), at=1)
    outcomes = pa.array(["passed", "rejected"])
    frame = batch(("a", "x", 3), ("b", "?", 3), at=3).append_column("_outcome", outcomes)

    def write(uri: str, partition_by: Any) -> None:
        options = dict(lake.store.storage_options)
        write_deltalake(uri, frame, partition_by=list(partition_by), storage_options=options)

    stage = write_stage(lake.store, lake.path, (), write)
    keys = ("k", "valid_from")
    publish(Write(stage, WHOLE, SCHEMA, (), "scd2", keys=keys, history=CLOSE))
    stage.discard()
    assert versions(lake) == [("a", "x", 1, None), ("b", "y", 1, None)]


def test_a_snapshot_that_is_older_than_the_last_one_is_refused_even_if_that_changed_nothing(anywhere: Lake) -> None:
    take(anywhere, ("a", "x", 1), at=1)
    files = anywhere.files()
    take(anywhere, ("a", "x", 1), at=5)
    version = anywhere.version
    take(anywhere, ("a", "x", 1), at=5)
    assert (anywhere.version, anywhere.files()) == (version, files)
    with pytest.raises(SnapshotError, match=r"snapshot of 2024-01-03T.* is older than that of 2024-01-05T.*in order"):
        take(anywhere, ("b", "y", 1), at=3)
    assert versions(anywhere) == [("a", "x", 1, None)]


def test_a_snapshot_without_rows_or_with_several_moments_is_refused(lake: Lake) -> None:
    take(lake, ("a", "x", 1), at=1)
    with pytest.raises(SnapshotError, match="a full snapshot without rows has no moment"):
        take(lake, at=3)
    mixed = batch(("a", "x", 3), ("b", "x", 3)).append_column("_snapshot_at", pa.array([day(3), day(4)], STAMP))
    how = {"mode": "scd2", "keys": ("k", "valid_from"), "schema": SCHEMA, "history": CLOSE}
    with pytest.raises(SnapshotError, match=r"one moment.*from 2024-01-03.* to 2024-01-04"):
        lake.write(mixed, **how)
    missing = mixed.set_column(3, "_snapshot_at", pa.array([day(3), None], STAMP))
    with pytest.raises(SnapshotError, match="NULL in 1 of 2 rows"):
        lake.write(missing, **how)
    dated = mixed.set_column(3, "_snapshot_at", pa.array([dt.date(2024, 1, 3)] * 2))
    with pytest.raises(SnapshotError, match=r"_snapshot_at is DATE, but valid_from is TIMESTAMP WITH TIME ZONE.*Cast"):
        lake.write(dated, **how)
    assert versions(lake) == [("a", "x", 1, None)]


def test_what_a_rival_commits_meanwhile_is_part_of_the_history(anywhere: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    take(anywhere, ("a", "x", 1))
    rivals: list[Callable[[], Any]] = [lambda: take(anywhere, ("a", "rival", 3))]
    commit = publishing._commit

    def rivalled(write: Any, retries: int) -> Any:
        if rivals:
            rivals.pop()()
        return commit(write, retries)

    monkeypatch.setattr(publishing, "_commit", rivalled)
    take(anywhere, ("a", "y", 5), ("a", "x", 2))
    assert versions(anywhere) == [("a", "x", 1, 3), ("a", "rival", 3, 5), ("a", "y", 5, None)]
    rivals.append(lambda: take(anywhere, ("b", "rival", 1)))
    take(anywhere, ("b", "x", 1), ("b", "y", 4))  # would be new, were it not for the rival
    assert versions(anywhere)[3:] == [("b", "x", 1, 4), ("b", "y", 4, None)]


def _crash(root: str, fault: str) -> None:
    os.environ["MEDALLION_FAULT"] = f"{fault}@silver/shop/orders"
    take(Lake(DeltaStore(root)), *LATE)


LATE = ("a", "late", 3), ("b", "y", 2)


@pytest.mark.parametrize("fault", ["after_stage", "before_commit", "after_commit"])
def test_a_process_killed_at_any_step_leaves_the_old_history_or_the_new_one(
    lake: Lake, tmp_path: Path, fault: str
) -> None:
    take(lake, ("a", "x", 1), ("a", "y", 5))
    before = versions(lake)
    process = processes().Process(target=_crash, args=(str(tmp_path), fault))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    whole = [("a", "x", 1, 3), ("a", "late", 3, 5), ("a", "y", 5, None), ("b", "y", 2, None)]
    assert versions(lake) == (whole if fault == "after_commit" else before)
    assert take(lake, *LATE) == ({"unchanged": 2} if fault == "after_commit" else {"inserted": 2, "updated": 1})
    assert versions(lake) == whole


def test_the_engine_can_not_read_texts_that_are_not_null_from_files_of_a_merge(spark: Any, tmp_path: Any) -> None:
    """Why `Table.schema` has nullable texts where rows are merged; if this fails, it need not any more."""
    from pyspark.errors import PySparkException

    from medallion.engine.frames import read_delta

    rows = pa.table({"k": ["a", "b"], "v": ["x", "y"]})
    DeltaTable.create(str(tmp_path), Schema([Field(name, PrimitiveType("string"), nullable=False) for name in "kv"]))
    DeltaTable(str(tmp_path)).merge(rows, "t.k = s.k", "s", "t").when_not_matched_insert_all().execute()
    with pytest.raises(PySparkException, match=r"Cannot cast column .* from 'Utf8View'"):
        read_delta(spark, str(tmp_path)).collect()
