"""A mirror of a source: changed rows and deleted keys in one commit that says how far the source was read."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from deltalake import Schema

from medallion.extract import DELETED

SCHEMA = Schema.from_arrow(
    pa.schema([("id", pa.int64()), ("name", pa.string()), ("_ingested_at", pa.timestamp("us", "UTC"))])
)
MERGE: dict[str, Any] = {"mode": "merge", "keys": ("id",), "schema": SCHEMA}
SLOT = "medallion:capture:shop"


def changes(*rows: tuple[int, str | None, bool], read_at: int = 0) -> pa.Table:
    """Rows as (id, name, deleted), read so many seconds after the epoch."""
    ids, names, deleted = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table(
        {
            "id": pa.array(ids, pa.int64()),
            "name": pa.array(names, pa.string()),
            "_ingested_at": pa.array([read_at * 1_000_000] * len(rows), pa.timestamp("us", "UTC")),
            DELETED: pa.array(deleted, pa.bool_()),
        }
    )


def names(lake: Any) -> dict[int, str]:
    table = pa.table(lake.store.open(lake.path).scan(columns=["id", "name"]).read_all())
    return dict(zip(table["id"].to_pylist(), table["name"].to_pylist(), strict=True))


@pytest.fixture
def mirror(lake: Any) -> Any:
    lake.write(changes((1, "a", False), (2, "b", False), (3, "c", False)), **MERGE)
    return lake


def test_deleted_changed_and_new_keys_are_one_version(mirror: Any) -> None:
    before = mirror.version

    published = mirror.write(changes((1, None, True), (2, "B", False), (4, "d", False)), **MERGE)

    assert names(mirror) == {2: "B", 3: "c", 4: "d"}
    assert mirror.version == before + 1
    counted = {name: n for name, n in published.metrics.items() if name.startswith("rows_")}
    assert counted == {"rows_inserted": 1, "rows_updated": 1, "rows_deleted": 1}


def test_the_column_that_marks_deletions_is_no_column_of_the_table(mirror: Any) -> None:
    assert [item.name for item in mirror.store.open(mirror.path).schema().fields] == ["id", "name", "_ingested_at"]


def test_deleting_a_key_that_is_not_there_changes_nothing(mirror: Any) -> None:
    mirror.write(changes((9, None, True)), **MERGE)

    assert names(mirror) == {1: "a", 2: "b", 3: "c"}


def test_a_row_read_again_unchanged_is_not_rewritten(mirror: Any) -> None:
    before = mirror.version, mirror.files()

    mirror.write(changes((1, "a", False), read_at=60), **MERGE)

    assert (mirror.version, mirror.files()) == before


def test_nothing_to_merge_makes_no_version(mirror: Any) -> None:
    before = mirror.version

    published = mirror.write(changes(), **MERGE)

    assert mirror.version == before
    assert set(published.metrics.values()) == {0}


@pytest.mark.parametrize("mode", ["merge", "replace"])
def test_a_commit_carries_how_far_the_source_was_read(mirror: Any, mode: str) -> None:
    mirror.write(changes((1, "z", False)), **{**MERGE, "mode": mode}, positions={SLOT: 700})

    assert mirror.store.open(mirror.path).transaction_version(SLOT) == 700


@pytest.mark.parametrize("mode", ["merge", "replace"])
@pytest.mark.parametrize("position", [700, 699])
def test_what_the_table_has_been_brought_to_is_not_written_again(mirror: Any, mode: str, position: int) -> None:
    mirror.write(changes((1, "new", False)), **MERGE, positions={SLOT: 700})
    before = mirror.version

    published = mirror.write(changes((1, "old", False)), **{**MERGE, "mode": mode}, positions={SLOT: position})

    assert (published.operation, mirror.version, names(mirror)[1]) == ("skipped", before, "new")


def test_changes_that_differ_in_nothing_still_say_how_far_the_source_was_read(mirror: Any) -> None:
    files = mirror.files()

    mirror.write(changes((1, "a", False), read_at=60), **MERGE, positions={SLOT: 700})

    assert mirror.store.open(mirror.path).transaction_version(SLOT) == 700
    assert mirror.files() == files
