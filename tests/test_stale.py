"""An incremental run makes what no longer follows from its inputs, and nothing else."""

from pathlib import Path
from typing import Any

import pytest

from medallion.stale import stale_tables
from medallion.tables import Table
from tests.fixtures.shop import Shop, bronze_orders, gold_revenue, silver_orders

RAW, ORDERS, REVENUE = bronze_orders(), silver_orders(), gold_revenue()
ALL = {table.label: table for table in (RAW, ORDERS, REVENUE)}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Three months, made whole."""
    shop = Shop(tmp_path)
    for month in ("2024-01", "2024-02", "2024-03"):
        shop.land(month, f"{month},1.00,{month}-05 00:00:00,")
    assert shop.run(RAW, ORDERS, REVENUE, span=("2024-01", "2024-03")).success
    return shop


def stale(shop: Shop, *tables: Table, keys: Any = ("2024-01", "2024-02", "2024-03")) -> tuple[list[str], list[str]]:
    found, partitions = stale_tables(tables or (ORDERS, REVENUE), ALL, shop.store, keys)
    return [table.label for table in found], partitions


def test_what_was_just_made_is_not_stale(shop: Shop) -> None:
    assert stale(shop) == ([], [])


def test_a_month_that_came_anew_is_stale_with_all_that_is_made_from_it(shop: Shop) -> None:
    shop.land("2024-02", "2024-02,5.00,2024-02-05 00:00:00,")
    shop.run(RAW, key="2024-02")

    assert stale(shop) == ([ORDERS.label, REVENUE.label], ["2024-02"])


def test_once_it_is_made_again_nothing_is_stale(shop: Shop) -> None:
    shop.run(RAW, key="2024-02")
    shop.run(ORDERS, RAW, key="2024-02", selection=[ORDERS.key])
    assert stale(shop) == ([REVENUE.label], [])

    shop.run(REVENUE, ORDERS, RAW, selection=[REVENUE.key])
    assert stale(shop) == ([], [])


def test_a_month_that_was_never_made_is_stale(shop: Shop) -> None:
    shop.land("2024-05", "e,1.00,2024-05-05 00:00:00,")
    shop.run(RAW, key="2024-05")

    assert stale(shop, keys=["2024-03", "2024-05"]) == ([ORDERS.label, REVENUE.label], ["2024-05"])


def test_a_table_whose_declaration_changed_is_stale_in_all_months(shop: Shop) -> None:
    changed = silver_orders(code_version="another")

    assert stale(shop, changed, REVENUE) == (
        [ORDERS.label, REVENUE.label],
        ["2024-01", "2024-02", "2024-03"],
    )


def test_compaction_of_an_input_makes_nothing_stale(shop: Shop) -> None:
    table = shop.store.open(ORDERS.path)
    before = table.version()
    table.optimize.z_order(["order_id"])
    assert shop.version(ORDERS.label) > before

    assert stale(shop) == ([], [])


def test_everything_is_stale_before_the_first_run(tmp_path: Path) -> None:
    assert stale(Shop(tmp_path), keys=["2024-01"]) == ([ORDERS.label, REVENUE.label], ["2024-01"])


def test_a_restored_input_makes_what_follows_it_stale(shop: Shop) -> None:
    from medallion.delta.restore import plan_restore, restore

    shop.land("2024-02", "2024-02,5.00,2024-02-05 00:00:00,")
    shop.run(RAW, ORDERS, REVENUE, key="2024-02")
    restore(shop.store, plan_restore(shop.store, RAW.path, 1))

    assert stale(shop)[0] == [ORDERS.label, REVENUE.label]
