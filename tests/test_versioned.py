"""A table that keeps the history of its rows, from landed files to versions."""

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pandera.pyspark as pa
import pyspark.sql.types as T
import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from medallion.contracts import Contract, ContractError
from medallion.layers import bronze, gold, silver
from medallion.parsing import parse
from medallion.tables import DeclarationError, Table
from medallion.versioned import Versioned
from tests.fixtures.shop import MONTHS, RawOrder, Shop, bronze_orders, checks, metadata

PRICES = "silver/shop/prices"


class Price(Versioned):
    """One row per price of an order."""

    order_id: T.StringType() = pa.Field(metadata={"source": True})
    price: T.DecimalType(12, 2) = pa.Field(ge=0, metadata={"source": True})
    email: T.StringType() = pa.Field(nullable=True, metadata={"source": True})
    valid_from: T.TimestampType() = pa.Field(metadata={"source": "placed", "history": "valid_from"})

    class Config:
        """The key."""

        unique = ["order_id", "valid_from"]


def prices(at: dt.datetime | None = None, **declaration: Any) -> Table:
    def prices(raw_orders: DataFrame) -> DataFrame:
        """Prices of orders over time."""
        typed = parse(raw_orders, Price)
        return typed.withColumn("_snapshot_at", F.lit(at)) if at else typed

    return silver(contract=Price, domain="shop", mode="scd2", **{"max_rejected": 0.5, **declaration})(prices)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def made(shop: Shop, *lines: str, **declaration: Any) -> Any:
    shop.land("2024-01", *lines)
    assert shop.run(bronze_orders(), key="2024-01").success
    return shop.run(bronze_orders(), prices(**declaration), selection=[dg.AssetKey(PRICES.split("/"))])


def versions(shop: Shop) -> list[tuple[Any, ...]]:
    found = [
        (r["order_id"], r["price"], r["valid_from"].day, r["valid_to"] and r["valid_to"].day, r["is_current"])
        for r in shop.rows(PRICES)
    ]
    return sorted(found, key=lambda row: row[::2])


def test_landed_rows_become_versions_and_those_without_key_or_moment_go_to_quarantine(shop: Shop) -> None:
    result = made(
        shop,
        "a,1.00,2024-01-05 00:00:00,",
        "a,2.00,2024-01-07 00:00:00,",
        "a,2.00,2024-01-09 00:00:00,",
        ",9.00,2024-01-05 00:00:00,",
        "b,9.00,,",
    )
    assert result.success
    assert versions(shop) == [("a", Decimal("1.00"), 5, 7, False), ("a", Decimal("2.00"), 7, None, True)]
    assert sorted(row["rules"] for row in shop.rows("quarantine/shop/prices")) == [
        ["order_id_not_null"],
        ["valid_from_not_null"],
    ]
    told = metadata(result, PRICES)
    assert (told["rows_in"], told["rows_quarantined"]) == (5, 2)
    assert (told["delta/rows_inserted"], told["delta/rows_unchanged"]) == (2, 1)
    reconciled = checks(result, PRICES)["rows_reconcile"]
    assert reconciled.passed
    assert reconciled.metadata["rows_out"].value == 3


def test_the_same_rows_again_make_no_version(shop: Shop) -> None:
    lines = "a,1.00,2024-01-05 00:00:00,x@y", "b,2.00,2024-01-07 00:00:00,"
    assert made(shop, *lines).success
    version = shop.version(PRICES)
    result = made(shop, *lines)
    assert result.success
    assert shop.version(PRICES) == version
    assert metadata(result, PRICES)["delta/rows_unchanged"] == 2


def test_two_rows_of_a_key_at_one_moment_block_the_write_unless_one_is_declared_to_win(shop: Shop) -> None:
    lines = "a,1.00,2024-01-05 00:00:00,", "a,2.00,2024-01-05 00:00:00,"
    result = made(shop, *lines)
    assert not result.success
    assert not checks(result, PRICES)["key_is_unique"].passed
    assert made(shop, *lines, latest_by=["_source_row"]).success
    assert versions(shop) == [("a", Decimal("2.00"), 5, None, True)]


def test_a_key_that_the_snapshot_lacks_is_closed_but_not_one_whose_row_is_in_quarantine(shop: Shop) -> None:
    old = "a,1.00,2024-01-01 00:00:00,", "b,1.00,2024-01-01 00:00:00,", "c,1.00,2024-01-01 00:00:00,"
    second, fourth = (dt.datetime(2024, 1, day, tzinfo=dt.UTC) for day in (2, 4))
    assert made(shop, *old, at=second, absent="close").success
    assert made(shop, old[0], "b,minus,2024-01-01 00:00:00,", at=fourth, absent="close").success
    assert [(key, until) for key, _, _, until, _ in versions(shop)] == [("a", None), ("b", None), ("c", 4)]


def test_a_snapshot_without_its_moment_is_refused_before_anything_is_staged(shop: Shop) -> None:
    result = made(shop, "a,1.00,2024-01-05 00:00:00,", absent="close")
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "does not return the columns ['_snapshot_at']" in str(failure.event_specific_data.error)


def test_the_engine_reads_the_versions_in_the_next_table(shop: Shop) -> None:
    class Latest(pa.DataFrameModel):
        order_id: T.StringType() = pa.Field()
        price: T.DecimalType(12, 2) = pa.Field()

    def latest(prices: DataFrame) -> DataFrame:
        """The prices of now."""
        return prices.where("is_current")

    assert made(shop, "a,1.00,2024-01-05 00:00:00,", "a,2.00,2024-01-06 00:00:00,", "b,3.00,2024-01-05 00:00:00,")
    tables = bronze_orders(), prices(), gold(contract=Latest, domain="shop")(latest)
    assert shop.run(*tables, selection=[dg.AssetKey(["gold", "shop", "latest"])]).success
    assert shop.rows("gold/shop/latest") == [
        {"order_id": "a", "price": Decimal("2.00")},
        {"order_id": "b", "price": Decimal("3.00")},
    ]


def test_a_contract_says_what_the_framework_makes_and_what_a_transform_returns() -> None:
    contract = Contract.of(Price)
    assert contract.column_names == (
        *("order_id", "price", "email"),
        *("valid_from", "valid_to", "is_current", "_version_hash"),
    )
    assert contract.incoming.column_names == ("order_id", "price", "email", "valid_from")
    assert {rule.column for rule in contract.rules} == {"order_id", "price", "valid_from"}
    assert contract.incoming.key == ("order_id", "valid_from")


def test_texts_are_nullable_in_the_table_where_rows_are_merged_and_nothing_else_is() -> None:
    nullable = {item.name: item.nullable for item in prices().schema.fields}
    assert nullable == {
        **{"order_id": True, "price": False, "email": True},
        **{"valid_from": False, "valid_to": True, "is_current": False, "_version_hash": True},
    }


class Unkeyed(Price):
    class Config:
        unique = ["order_id"]


class Odd(Price):
    price: T.DecimalType(12, 2) = pa.Field(metadata={"history": "now"})


def declare(model: Any, **declaration: Any) -> Table:
    def table(raw_orders: DataFrame) -> DataFrame:
        return raw_orders

    return silver(contract=model, domain="shop", **declaration)(table)


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        ({"model": Price}, "its contract has the history columns .* the mode is 'replace'"),
        ({"model": Unkeyed, "mode": "scd2"}, "names its key and valid_from in Config.unique"),
        ({"model": RawOrder, "mode": "scd2", "partitions": MONTHS}, "needs a contract that extends Versioned"),
        ({"model": RawOrder, "absent": "close", "partitions": MONTHS}, "absent='close' needs mode='scd2'"),
    ],
)
def test_a_declaration_that_can_keep_no_history_is_refused(declaration: Any, message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        declare(**declaration)


def test_bronze_keeps_no_history_of_rows() -> None:
    def table(arrivals: Any) -> Any:
        return arrivals.csv()

    with pytest.raises(DeclarationError, match="bronze keeps every file as it arrived"):
        bronze(contract=Price, mode="scd2", domain="shop")(table)


class ByRegion(Price):
    region: T.StringType() = pa.Field(metadata={"partition": True})


class RegionKeyed(ByRegion):
    class Config:
        unique = ["region", "order_id", "valid_from"]


REGIONS = dg.StaticPartitionsDefinition(["north", "south"])


def test_the_history_of_a_key_is_in_one_partition() -> None:
    with pytest.raises(DeclarationError, match=r"\['region'\] are not part of the key"):
        declare(ByRegion, mode="scd2", partitions=REGIONS)
    assert declare(RegionKeyed, mode="scd2", partitions=REGIONS).history.key == ("region", "order_id")
    with pytest.raises(DeclarationError, match="takes full snapshots"):
        declare(RegionKeyed, mode="scd2", partitions=REGIONS, absent="close")


def test_an_unknown_role_of_a_column_is_refused() -> None:
    with pytest.raises(ContractError, match=r"Odd.price: history is one of .*not 'now'"):
        Contract.of(Odd)
