"""`medallion maintain` and `unarchive`: what a person reads, and what the exit code says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from workspace import ORDERS

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture(scope="module")
def made(shop: Any) -> Any:
    shop.land(ORDERS)
    shop.call("run")
    return shop


def line_of(text: str, start: str) -> list[str]:
    return next(line.split() for line in text.splitlines() if line.startswith(start))


def rows(shop: Any, table: str) -> list[Any]:
    from deltalake import DeltaTable
    from pyarrow import table as arrow

    return sorted(arrow(DeltaTable(str(shop.folder / "home" / "lake" / table)).scan()).to_pylist(), key=repr)


def test_an_empty_lake_has_nothing_to_maintain(new_shop: Callable[[], Any]) -> None:
    result = new_shop().call("maintain")

    assert result.exit_code == 0
    assert "No table was made yet: medallion run" in result.stdout


def test_every_table_and_quarantine_has_a_line(made: Any) -> None:
    text = made.call("maintain", "--dry-run").stdout

    for table in ("bronze/shop/orders", "silver/shop/orders", "gold/shop/revenue", "quarantine/shop/orders"):
        assert line_of(text, table)
    assert "5 tables would be maintained, 0 B to free" in text


def test_a_selection_takes_the_tables_it_names_and_their_quarantine(made: Any) -> None:
    document = made.document("maintain", "group:shop_silver", "--dry-run")

    assert [table["table"] for table in document["tables"]] == [
        "silver/shop/orders",
        "silver/shop/prices",
        "quarantine/shop/orders",
    ]
    assert (document["success"], document["dry_run"], document["errors"]) == (True, True, {})


def test_a_selection_that_selects_nothing_is_refused(made: Any) -> None:
    result = made.call("maintain", "silver/shop/order")

    assert result.exit_code == 2
    assert "Did you mean silver/shop/orders" in result.stderr


def test_maintaining_changes_no_row_and_twice_is_once(made: Any) -> None:
    before = {table: rows(made, table) for table in ("bronze/shop/orders", "silver/shop/orders", "gold/shop/revenue")}
    assert made.call("maintain").exit_code == 0
    first = made.document("maintain")["tables"]
    assert first == made.document("maintain")["tables"]
    assert before == {table: rows(made, table) for table in before}


def test_a_table_that_can_not_be_maintained_does_not_hold_up_the_others(made: Any) -> None:
    log = Path(made.folder / "home" / "lake" / "silver/shop/prices/_delta_log/00000000000000000000.json")
    whole = log.read_text()
    log.write_text(whole.replace('"minWriterVersion":2', '"minWriterVersion":7,"writerFeatures":["identityColumns"]'))
    try:
        result = made.call("maintain", "--json")
    finally:
        log.write_text(whole)

    document = json.loads(result.stdout)
    assert result.exit_code == 1
    assert "identityColumns" in document["errors"]["silver/shop/prices"]
    assert len(document["tables"]) == 4


def test_what_was_archived_is_refused_by_name_and_can_be_brought_back(new_shop: Callable[[], Any]) -> None:
    shop = new_shop()
    shop.land(ORDERS)
    shop.call("run")
    bronze, silver = rows(shop, "bronze/shop/orders"), rows(shop, "silver/shop/orders")
    archive = str(shop.folder / "archive")

    text = shop.call("maintain", MEDALLION_ARCHIVE=archive).stdout
    assert "slices archived" in text
    assert rows(shop, "bronze/shop/orders") == []

    failed = shop.call("run", "-s", "silver/shop/orders", "-p", "2017-01", MEDALLION_ARCHIVE=archive)
    assert failed.exit_code == 1
    assert "medallion unarchive bronze/shop/orders -p 2017-01...2017-01" in failed.stdout + failed.stderr
    assert rows(shop, "silver/shop/orders") == silver

    text = shop.call("unarchive", "bronze/shop/orders", "-p", "2017-01", MEDALLION_ARCHIVE=archive).stdout
    assert "1 slice" in text
    assert "The next maintenance archives them again" in text
    assert shop.call("run", "-s", "silver/shop/orders", "-p", "2017-01").exit_code == 0
    assert rows(shop, "silver/shop/orders") == silver

    shop.call("unarchive", "bronze/shop/orders")
    assert rows(shop, "bronze/shop/orders") == bronze
    assert "has no rows" in shop.call("unarchive", "bronze/shop/orders").stdout


def test_slices_of_a_table_without_partitions_can_not_be_named(made: Any) -> None:
    result = made.call("unarchive", "revenue", "-p", "2017-01")

    assert result.exit_code == 2
    assert "gold/shop/revenue has no partitions" in result.stderr
