"""What a run's events tell about its tables and their partitions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from medallion.cli.progress import RunOutcome, TableOutcome
from medallion.tables import Table
from tests.fixtures.shop import Shop, bronze_orders, silver_orders

SPAN = ("2024-01", "2024-03")


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path)
    shop.land("2024-01", "a,1,,", "a,2,,")
    shop.land("2024-02", "b,1,,", "x,dear,,", "y,dear,,")
    shop.land("2024-03", "c,1,,")
    return shop


def outcome(shop: Shop, silver: Table) -> TableOutcome:
    tables = [bronze_orders(), silver]
    seen: Any = RunOutcome("2024-01...2024-03", tables)
    for event in shop.run(*tables, span=SPAN).all_events:
        seen.see(event)
    found: TableOutcome = seen.tables[silver.label]
    return found


def test_a_table_counts_the_rows_of_all_its_partitions_and_every_check_once(shop: Shop) -> None:
    found = outcome(shop, silver_orders(max_rejected=0.7))
    assert (found.state, found.rows_in, found.rows_out) == ("done", 6, 3)
    assert (found.quarantined, found.deduplicated) == (2, 1)
    names = [check.name for check in found.checks]
    assert len(names) == len(set(names))


def test_every_partition_has_its_own_numbers(shop: Shop) -> None:
    found = outcome(shop, silver_orders(max_rejected=0.7)).document()["partitions"]
    assert found["2024-02"] == {
        "rows_in": 3,
        "rows_out": 1,
        "quarantined": 2,
        "deduplicated": 0,
        "failed_checks": 1,
    }
    assert found["2024-01"]["deduplicated"] == 1


def test_a_blocked_table_names_the_partition_that_blocks_it(shop: Shop) -> None:
    found = outcome(shop, silver_orders())
    assert (found.state, found.rows_out) == ("blocked", None)
    assert "nothing was published, rejected_share failed" in (found.error or "")
    assert "partitions 2024-02" in (found.error or "")


def test_a_table_of_which_a_partition_was_kept_apart_tells_what_is_published_and_what_to_do(shop: Shop) -> None:
    found = outcome(shop, silver_orders(on_bad_partition="isolate"))
    assert (found.state, found.rows_out, sorted(found.partitions)) == ("failed", 2, ["2024-01", "2024-03"])
    assert found.cause is not None
    assert found.cause.explained
    assert found.cause.message.startswith("silver/shop/orders: 1 of 3 partitions were not published")
