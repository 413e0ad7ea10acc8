"""A declaration: what follows from it and what it refuses."""

from typing import Any

import dagster as dg
import pandera.pyspark as pa
import pyspark.sql.types as T
import pytest
from pyspark.sql import DataFrame

from medallion.checks import RowCountInBounds, UniqueKey
from medallion.layers import gold, silver
from medallion.partitions import WHOLE
from medallion.tables import DeclarationError
from tests.fixtures.shop import MONTHS, Order, bronze_orders, gold_revenue, silver_orders


class Keyless(pa.DataFrameModel):
    """No key."""

    v: T.LongType() = pa.Field()


def declared(**options: Any) -> Any:
    def items(orders: DataFrame) -> DataFrame:
        return orders

    return silver(**{"contract": Order, "partitions": MONTHS, "domain": "shop", **options})(items)


def test_names_and_places_follow_from_layer_domain_and_function() -> None:
    table = silver_orders()
    assert table.label == "silver/shop/orders"
    assert table.key == dg.AssetKey(["silver", "shop", "orders"])
    assert table.path == ("silver", "shop", "orders")
    assert table.group == "shop_silver"
    assert table.description == "Orders, typed."


def test_without_a_docstring_the_contract_describes_the_table() -> None:
    assert declared().description == "One row per order."


def test_calling_a_table_calls_its_transform() -> None:
    assert declared()("anything") == "anything"


def test_a_slice_is_that_of_the_contracts_partition_column() -> None:
    assert silver_orders().select(["2024-02"]).bind({"month": "date"}).sql() == (
        "(\"month\" >= '2024-02-01' AND \"month\" < '2024-03-01')"
    )
    assert gold_revenue().select([]) == WHOLE


def test_checks_follow_from_layer_key_and_first_input() -> None:
    assert [check.name for check in silver_orders().checks] == [
        "key_is_unique",
        "rows_reconcile",
        "row_count_in_bounds",
    ]
    assert [check.name for check in gold_revenue().checks] == ["key_is_unique", "row_count_in_bounds"]
    assert bronze_orders().checks == ()


def test_a_named_check_takes_the_place_of_a_derived_one() -> None:
    table = declared(checks=[RowCountInBounds(lowest=0.9), UniqueKey(("order_id",), severity="WARN")])
    assert [(check.name, check.severity) for check in table.checks] == [
        ("row_count_in_bounds", "WARN"),
        ("key_is_unique", "WARN"),
    ]


def test_only_the_first_bronze_input_of_a_silver_table_is_primary() -> None:
    assert silver_orders().primary == ("raw_orders", dg.AssetKey(["bronze", "shop", "orders"]))
    assert declared().primary is None
    assert bronze_orders().primary is None


def test_a_bronze_table_expects_the_columns_that_are_not_ours() -> None:
    table = bronze_orders()
    assert table.reads_arrivals
    assert table.landed_columns == ("order_id", "price", "placed", "email")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"partitions": None}, r"partition dimensions \[\] need contract columns.*the contract has \{'': 'month'\}"),
        ({"contract": Keyless}, r"silver/shop/items: partition dimensions \[''\] need contract columns"),
        ({"contract": Keyless, "partitions": None, "mode": "merge"}, "merge and latest_by need a key"),
        ({"contract": Keyless, "partitions": None, "latest_by": ["v"]}, "merge and latest_by need a key"),
        ({"merge_in": "engine"}, "merge_in='engine' needs mode='merge'; the mode is 'replace'"),
        ({"merge_in": "engine", "mode": "merge", "change_feed": True}, "merge_in='engine' can't keep a change feed"),
        ({"merge_in": "spark", "mode": "merge"}, r"merge_in is 'spark'; it is one of \('process', 'engine'\)"),
        ({"max_rejected": 5}, "max_rejected is a share between 0 and 1, not 5"),
        ({"checks": [UniqueKey(("a",), name="k"), UniqueKey(("b",), name="k")]}, r"checks \['k'\] are declared twice"),
        ({"checks": [UniqueKey(("a",), name="price_ge")]}, r"checks \['price_ge'\] are declared twice"),
        ({"ins": {"order": "silver/shop/orders"}}, r"ins names \['order'\], which are no parameters"),
    ],
)
def test_a_mistake_fails_when_the_table_is_declared(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        declared(**options)


def test_a_grid_needs_a_column_per_dimension() -> None:
    grid = dg.MultiPartitionsDefinition({"month": MONTHS, "shop": dg.StaticPartitionsDefinition(["a"])})
    with pytest.raises(DeclarationError, match=r"partition dimensions \['month', 'shop'\] need contract columns"):
        gold(contract=Order, partitions=grid, domain="shop")(lambda: None)
