"""Runs with change capture on: one batch of the log for all bronze tables, and the slot follows what they committed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster_deltalake.config import LocalConfig

from medallion.delta.io_manager import LakeIOManager
from medallion.engine.resource import SparkEngine
from medallion.graph import build_assets
from medallion.postgres.resource import Databases
from tests.fixtures.captured import DOMAIN, TABLES, Shop

pytestmark = pytest.mark.slow

ASSETS = build_assets(TABLES.values())


@pytest.fixture
def shop(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    shop = Shop(postgres_url, str(tmp_path / "lake"), {})
    shop.create()
    shop.execute("insert into thing (id, name) values (1, 'a')", "insert into pair values (1, 1, 'p')")
    monkeypatch.setenv("SHOP_URL", postgres_url)
    monkeypatch.setenv("SHOP_CAPTURE", "true")
    return shop


def run(shop: Shop, *names: str) -> Any:
    engine = SparkEngine()
    manager = LakeIOManager(root_uri=shop.lake, storage_options=LocalConfig(), engine=engine)
    resources = {"io_manager": manager, "engine": engine, "databases": Databases(home=str(Path(shop.lake).parent))}
    selection = [dg.AssetKey(["bronze", DOMAIN, name]) for name in names] or None
    return dg.materialize(ASSETS, selection=selection, resources=resources, raise_on_error=False)


def told(result: Any, name: str) -> dict[str, Any]:
    (event,) = result.asset_materializations_for_node(f"bronze__{DOMAIN}__{name}")
    return {key: value.value for key, value in event.metadata.items()}


def test_the_first_run_loads_and_the_next_takes_changes(shop: Shop) -> None:
    assert told(run(shop), "thing")["delta/operation"] == "replace"
    shop.assert_equal()
    shop.execute("update thing set name = 'b'", "delete from pair")
    result = run(shop)
    assert result.success
    assert told(result, "thing")["source_changes"] == 1
    assert told(result, "payment")["source_changes"] == 0
    shop.assert_equal()
    assert shop.state().behind < 1000


def test_a_run_of_one_table_leaves_the_changes_of_the_others_in_the_log(shop: Shop) -> None:
    run(shop)
    shop.execute(
        "insert into pair values (2, 2, 'p')", "update thing set name = 'b'", "insert into pair values (3, 3, 'p')"
    )
    assert run(shop, "thing").success
    assert len(shop.bronze("pair")) == 1
    assert run(shop).success
    shop.assert_equal()


def test_a_run_after_the_slot_was_dropped_fails_with_the_next_step(shop: Shop) -> None:
    run(shop)
    shop.execute(f"select pg_drop_replication_slot('{shop.slot}')", "update thing set name = 'b'")
    result = run(shop)
    assert not result.success
    assert "medallion capture shop --reload" in str(result.failure_data_for_node(f"bronze__{DOMAIN}__thing"))
    assert shop.bronze("thing")[0]["name"] == "a"
    shop.capture(reload=True)
    assert run(shop).success
    shop.assert_equal()


def test_a_run_takes_over_where_a_process_ended(shop: Shop) -> None:
    shop.capture()
    shop.execute("update thing set name = 'b'")
    assert told(run(shop), "thing")["delta/operation"] == "merge"
    shop.execute("update thing set name = 'c'")
    assert set(shop.capture()) == {"thing"}
    shop.assert_equal()
