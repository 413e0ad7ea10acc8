"""Runs, events and schedules in PostgreSQL: what dagster.yaml says of it, and that Dagster then knows the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.storage.event_log.base import PartitionKeyFilter
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

from medallion.instance.home import ensure_home, open_instance
from medallion.postgres.connection import connect
from tests.fixtures.postgres import LOCKED, PASSWORD, Server
from tests.fixtures.shop import MONTHS, Shop, bronze_orders, silver_orders

KEYS = ("2024-01", "2024-02", "2024-03")
PASSING, FAILING = "key_is_unique", "price_parses"


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set and delete, so that monkeypatch restores whatever open_instance leaves."""
    names = ("DAGSTER_HOME", "DAGSTER_EVENT_BATCH_SIZE", "MEDALLION_INSTANCE_URL", "MEDALLION_INSTANCE_PASSWORD")
    for name in names:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def storage(home: Path) -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load((ensure_home(home) / "dagster.yaml").read_text())
    assert {"run_storage", "event_log_storage", "schedule_storage"}.isdisjoint(settings)
    found: dict[str, Any] = settings["storage"]["postgres"]["postgres_db"]
    return found


def test_the_file_names_the_variable_of_the_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDALLION_INSTANCE_URL", "postgresql://dag%40ster@db.internal:6432/runs%2B?sslmode=require")
    monkeypatch.setenv("MEDALLION_INSTANCE_PASSWORD", "p@ss/word: {x}")

    assert storage(tmp_path) == {
        "scheme": "postgresql+psycopg2",
        "username": "dag@ster",
        "hostname": "db.internal",
        "port": 6432,
        "db_name": "runs+",
        "params": {"sslmode": "require"},
        "password": {"env": "MEDALLION_INSTANCE_PASSWORD"},
    }
    assert "p@ss" not in (tmp_path / "dagster" / "dagster.yaml").read_text()


def test_a_database_without_a_password_has_none_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDALLION_INSTANCE_URL", "postgresql://dagster@db/runs")

    assert (storage(tmp_path)["password"], storage(tmp_path)["port"]) == ("", 5432)


def test_an_empty_address_keeps_everything_in_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDALLION_INSTANCE_URL", "")

    assert "event_log_storage" in yaml.safe_load((ensure_home(tmp_path) / "dagster.yaml").read_text())


@pytest.mark.parametrize("url", ["mysql://a@b/c", "postgresql://host/database", "postgresql://user@host", "host:5432"])
def test_what_is_no_address_of_a_database_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("MEDALLION_INSTANCE_URL", url)
    with pytest.raises(ValueError, match="MEDALLION_INSTANCE_URL is not the address of a PostgreSQL database"):
        ensure_home(tmp_path)
    assert not (tmp_path / "dagster" / "dagster.yaml").exists()


def test_a_password_in_the_address_is_refused_and_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDALLION_INSTANCE_URL", "postgresql://dagster:s3cret@db/runs")
    with pytest.raises(ValueError, match="MEDALLION_INSTANCE_PASSWORD") as refused:
        ensure_home(tmp_path)
    assert "s3cret" not in str(refused.value)


@pytest.fixture
def url(debian_server: Server) -> Iterator[str]:
    """A fresh database of a role that has a password and is no superuser."""
    with debian_server.database() as found:
        with connect("test", found) as connection:
            connection.execute(f"grant all on schema public to {LOCKED}")
        yield debian_server.locked_url(found.rpartition("/")[2], PASSWORD)


def known(instance: dg.DagsterInstance, shop: Shop) -> dict[str, Any]:
    """What Dagster knows after a run: of each partition, of each check on it, and of pools."""
    table = silver_orders()
    log = instance.event_log_storage
    checks = {
        (name, key): [
            record.status.value
            for record in log.get_asset_check_execution_history(
                dg.AssetCheckKey(table.key, name), limit=20, partition_filter=PartitionKeyFilter(key=key)
            )
        ]
        for name in (PASSING, FAILING)
        for key in KEYS
    }
    status = instance.get_status_by_partition(table.key, list(KEYS), MONTHS) or {}
    cached = get_and_update_asset_status_cache_value(instance, table.key, MONTHS)
    return {
        "checks": checks,
        "partitions": {key: value.value if value else None for key, value in status.items()},
        "materialized": sorted(cached.deserialize_materialized_partition_subsets(MONTHS).get_partition_keys()),
        "rows": len(shop.rows("silver/shop/orders")),
        "slots": [log.get_concurrency_info(key).active_slot_count for key in log.get_concurrency_keys()],
    }


@pytest.mark.integration
@pytest.mark.slow
def test_a_range_run_is_known_in_postgresql_as_it_is_in_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    def after_a_run(name: str) -> dict[str, Any]:
        (tmp_path / name).mkdir()
        shop = Shop(tmp_path / name)
        shop.land("2024-01", "a,1,2024-01-05 00:00:00,")
        shop.land("2024-02", "b,1,2024-02-05 00:00:00,", "x,dear,2024-02-05 00:00:00,")
        shop.land("2024-03", "c,1,2024-03-05 00:00:00,")
        with open_instance(tmp_path / name / "home") as instance:
            shop.instance = instance
            assert shop.run(bronze_orders(), silver_orders(), span=(KEYS[0], KEYS[-1])).success
            return known(instance, shop)

    files = after_a_run("files")
    user, _, rest = url.partition(f":{PASSWORD}")
    monkeypatch.setenv("MEDALLION_INSTANCE_URL", user + rest)
    monkeypatch.setenv("MEDALLION_INSTANCE_PASSWORD", PASSWORD)
    database = after_a_run("database")

    assert database == files
    assert files["checks"][FAILING, "2024-02"] == ["FAILED"]
    assert files["checks"][FAILING, "2024-01"] == files["checks"][PASSING, "2024-02"] == ["SUCCEEDED"]
    assert files["materialized"] == list(KEYS)
