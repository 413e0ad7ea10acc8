"""Tables below one root: found, missing, listed, broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import obstore
import pytest
from deltalake.exceptions import DeltaError

from medallion.delta.store import DeltaStore, TableMissingError, column_types, data_files


def test_a_missing_table_is_none_or_an_error_that_says_what_to_run(lake: Any) -> None:
    assert lake.store.find(lake.path) is None
    with pytest.raises(
        TableMissingError, match=r"silver/shop/orders has no data.*medallion run -s \+silver/shop/orders"
    ):
        lake.store.open(lake.path)


def test_a_broken_table_is_an_error_and_not_a_missing_one(lake: Any, rows: Any) -> None:
    lake.write(rows(("01", 1)))
    for commit in lake.objects(".json"):
        obstore.put(lake.store.objects, "/".join([*lake.path, commit]), b"{ no json")
    with pytest.raises(DeltaError):
        lake.store.find(lake.path)


def test_tables_are_listed_without_stages_and_other_folders(lake: Any, rows: Any) -> None:
    lake.write(rows(("01", 1)))
    obstore.put(lake.store.objects, "silver/notes/read me.txt", b"no table")
    lake.stage(rows(("01", 1)))
    assert lake.store.tables() == [lake.path]
    assert lake.store.tables("silver") == [lake.path]
    assert lake.store.tables("gold") == []


def test_deleting_a_table_leaves_its_namesakes(lake: Any, rows: Any) -> None:
    lake.write(rows(("01", 1)))
    twin = type(lake)(lake.store)
    twin.path = ("silver", "shop", "orders_archive")
    twin.write(rows(("01", 1)))
    assert lake.store.delete(lake.path) > 0
    assert lake.store.tables() == [twin.path]


def test_an_old_version_can_be_opened(lake: Any, rows: Any) -> None:
    lake.write(rows(("01", 1)))
    lake.write(rows(("01", 1), ("01", 2)))
    assert lake.store.open(lake.path, version=1).count() == 1


def test_data_files_say_path_rows_partition_and_nulls(lake: Any, days: Any, rows: Any) -> None:
    lake.write(rows(("a b", 1), ("a b", None), ("02", 1)), partition_by=("day",))
    (file,) = data_files(lake.table, days("a b"))
    assert (file.rows, dict(file.partition), file.null_count["amount"]) == (2, {"day": "a b"}, 1)
    assert lake.objects()[file.path] == file.size


def test_a_slice_that_cuts_through_files_has_no_files(lake: Any, days: Any, rows: Any) -> None:
    lake.write(rows(("01", 1)))
    with pytest.raises(ValueError, match=r"slice columns \['day'\] are not the physical partitions \[\]"):
        data_files(lake.table, days("01"))


def test_types_of_columns_are_delta_names(lake: Any, rows: Any) -> None:
    lake.write(rows(("01", 1)))
    assert column_types(lake.table.schema()) == {"day": "string", "amount": "long"}


def test_a_new_table_gets_the_configured_properties(tmp_path: Path, rows: Any, lake: Any) -> None:
    store = DeltaStore(str(tmp_path / "other"), table_config={"delta.logRetentionDuration": "interval 7 days"})
    type(lake)(store).write(rows(("01", 1)))
    assert store.open(lake.path).metadata().configuration == {"delta.logRetentionDuration": "interval 7 days"}
