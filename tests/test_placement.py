"""Partition keys of files, and partitions that were never made."""

from pathlib import Path

import pytest

from medallion.placement import keys_without_rows, place
from tests.fixtures.shop import Shop, bronze_orders, gold_revenue, silver_orders

GOOD = ["a,1.50,2024-01-02 03:04:05,a@x"]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_values_of_no_selected_key_are_left_out() -> None:
    partitions = [{"month": "2024-01-01"}, {"month": "2024-03-01"}, {"month": None}]
    assert place(silver_orders(), ["2024-01", "2024-02"], partitions, {"month": "date"}) == {
        "month=2024-01-01": "2024-01"
    }


def test_a_table_without_partitions_has_no_places() -> None:
    assert place(gold_revenue(), [], [{}], {}) == {}


def test_every_key_of_a_table_that_is_not_there_is_without_rows(shop: Shop) -> None:
    assert keys_without_rows(shop.store, bronze_orders(), ["2024-01", "2024-02"]) == ["2024-01", "2024-02"]


def test_keys_with_files_are_told_from_the_log(shop: Shop) -> None:
    shop.land("2024-02", *GOOD)
    assert shop.run(bronze_orders(), key="2024-02").success
    assert keys_without_rows(shop.store, bronze_orders(), ["2024-01", "2024-02"]) == ["2024-01"]


def test_reading_a_month_that_was_never_made_fails_by_name_and_writes_nothing(shop: Shop) -> None:
    shop.land("2024-01", *GOOD)
    assert shop.run(bronze_orders(), silver_orders(), key="2024-01").success
    before = shop.version("silver/shop/orders")

    result = shop.run(bronze_orders(), silver_orders(), key="2024-02", selection=[silver_orders().key])

    assert not result.success
    cause = result.get_step_failure_events()[0].event_specific_data.error.cause.message
    assert "reads partitions ['2024-02'] of bronze/shop/orders, which were never made" in cause
    assert "medallion run -s bronze/shop/orders -p 2024-02...2024-02" in cause
    assert shop.version("silver/shop/orders") == before


def test_a_month_that_was_made_without_rows_can_be_read(shop: Shop) -> None:
    rejected = "z,cheap,2024-01-03 00:00:00,"
    shop.land("2024-01", *GOOD)
    shop.land("2024-02", rejected)
    everything = silver_orders(max_rejected=1.0)
    result = shop.run(bronze_orders(), everything, gold_revenue(), span=("2024-01", "2024-02"))
    assert result.success
    assert keys_without_rows(shop.store, everything, ["2024-01", "2024-02"]) == ["2024-02"]
