"""How customers and films get their versions: from mirrors that change, in runs of the silver tables."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from assets.pagila import bronze, silver
from medallion.graph import build_assets, tables_in
from medallion.settings import Settings
from resources import build_resources
from tests.fixtures.pagila_mirrors import CHANGED, GOOD, READ, uri, write_mirror

pytestmark = pytest.mark.slow

LATER = CHANGED + dt.timedelta(days=1)
TABLES = tables_in([bronze, silver])


def run(home: Path, *names: str) -> Any:
    """Make silver tables from the mirrors that there are; all of them by default."""
    selection = [table.key for table in TABLES if table.layer == "silver" and (not names or table.name in names)]
    resources = {"databases": dg.ResourceDefinition.none_resource(), **build_resources(Settings(home=home))}
    result = dg.materialize(
        build_assets(TABLES), selection=selection, resources=resources, instance=dg.DagsterInstance.ephemeral()
    )
    assert result.success
    return result


def silver_table(home: Path, name: str) -> DeltaTable:
    return DeltaTable(str(home / "lake" / "silver" / "pagila" / name))


def versions(home: Path, name: str, *columns: str) -> list[tuple[Any, ...]]:
    """Rows of a history: the columns, then from when until when."""
    rows = pa.table(silver_table(home, name).scan(columns=[*columns, "valid_from", "valid_to"])).to_pylist()
    return sorted((tuple(row.values()) for row in rows), key=lambda row: (row[0], row[-2]))


def committed_at(home: Path, table: str) -> dt.datetime:
    """When a mirror last changed."""
    (newest,) = DeltaTable(uri(home, table)).history(1)
    return dt.datetime.fromtimestamp(newest["timestamp"] / 1000, dt.UTC)


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two customers and two films, and silver of them."""
    home = tmp_path_factory.mktemp("pagila")
    seconds = {"customer": "customer_id", "film": "film_id", "actor": "actor_id"}
    for table in GOOD:
        write_mirror(home, table, {}, *([{seconds[table]: 2}] if table in seconds else []))
    result = run(home)
    assert all(check.passed for check in result.get_asset_check_evaluations())
    return home


@pytest.fixture
def home(first_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(first_run, tmp_path / "home"))


def test_a_customer_begins_with_the_last_change_and_changes_make_versions(home: Path) -> None:
    assert versions(home, "customer", "customer_id") == [(1, CHANGED, None), (2, CHANGED, None)]
    write_mirror(home, "customer", {}, {"customer_id": 2, "last_name": "King", "last_update": LATER})
    run(home, "customer")
    assert versions(home, "customer", "customer_id", "last_name") == [
        (1, "Byron", CHANGED, None),
        (2, "Byron", CHANGED, LATER),
        (2, "King", LATER, None),
    ]


def test_a_run_without_news_changes_nothing(home: Path) -> None:
    before = [silver_table(home, name).version() for name in ("customer", "film")]
    run(home, "customer", "film")
    assert [silver_table(home, name).version() for name in ("customer", "film")] == before


def test_a_deleted_customer_ends_when_the_mirror_says_so_and_begins_again_when_it_is_back(home: Path) -> None:
    DeltaTable(uri(home, "customer")).delete("customer_id = 2")
    deleted = committed_at(home, "customer")
    run(home, "customer")
    assert versions(home, "customer", "customer_id") == [(1, CHANGED, None), (2, CHANGED, deleted)]

    write_mirror(home, "customer", {}, {"customer_id": 2})
    back = committed_at(home, "customer")
    run(home, "customer")
    assert versions(home, "customer", "customer_id") == [(1, CHANGED, None), (2, CHANGED, deleted), (2, back, None)]


def test_the_customer_that_was_read_last_can_be_deleted(home: Path) -> None:
    newest = {"customer_id": 3, "last_update": LATER, "_ingested_at": READ + dt.timedelta(hours=1)}
    write_mirror(home, "customer", {}, {"customer_id": 2}, newest)
    run(home, "customer")
    DeltaTable(uri(home, "customer")).delete("customer_id = 3")
    run(home, "customer")
    assert versions(home, "customer", "customer_id")[-1] == (3, LATER, committed_at(home, "customer"))


def test_compacting_a_mirror_is_no_news(home: Path) -> None:
    write_mirror(home, "customer", {"customer_id": 3}, mode="append")
    mirror = DeltaTable(uri(home, "customer"))
    mirror.delete("customer_id = 2")
    deleted = committed_at(home, "customer")
    mirror.optimize.compact()
    assert committed_at(home, "customer") > deleted
    run(home, "customer")
    assert versions(home, "customer", "customer_id")[1] == (2, CHANGED, deleted)


def test_a_rejected_customer_does_not_end(home: Path) -> None:
    write_mirror(
        home, "customer", *[{"customer_id": number} for number in range(3, 30)], {"first_name": ""}, {"customer_id": 2}
    )
    run(home, "customer")
    assert versions(home, "customer", "customer_id")[:2] == [(1, CHANGED, None), (2, CHANGED, None)]


def test_a_deleted_film_ends(home: Path) -> None:
    DeltaTable(uri(home, "film")).delete("film_id = 2")
    run(home, "film")
    assert versions(home, "film", "film_id") == [(1, CHANGED, None), (2, CHANGED, committed_at(home, "film"))]


def test_an_actor_that_joins_a_film_makes_a_version_that_ends_when_the_actor_leaves(home: Path) -> None:
    write_mirror(home, "film_actor", {}, {"actor_id": 2, "last_update": LATER})
    run(home, "film")
    write_mirror(home, "film_actor", {})
    left = committed_at(home, "film_actor")
    run(home, "film")
    assert [(len(actors), *span) for _, actors, *span in versions(home, "film", "film_id", "actors")] == [
        (1, CHANGED, LATER),
        (2, LATER, left),
        (1, left, None),
        (0, CHANGED, None),
    ]


def test_an_actor_that_leaves_before_the_last_change_of_a_film_is_corrected_in_its_version(home: Path) -> None:
    write_mirror(home, "film_actor", {}, {"actor_id": 2})
    write_mirror(home, "film", {"last_update": LATER}, {"film_id": 2})
    run(home, "film")
    assert [len(actors) for _, actors, *_ in versions(home, "film", "film_id", "actors")] == [1, 2, 0]
    write_mirror(home, "film_actor", {})
    run(home, "film")
    assert [(len(actors), *span) for _, actors, *span in versions(home, "film", "film_id", "actors")] == [
        (1, CHANGED, None),
        (0, CHANGED, None),
    ]
