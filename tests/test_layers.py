"""Inputs by the names of parameters, and the edges that are forbidden."""

from typing import Any

import dagster as dg
import pandera.pyspark as pa
import pyspark.sql.types as T
import pytest
from pyspark.sql import DataFrame

from medallion.layers import bronze, gold, silver
from medallion.tables import DeclarationError


class Row(pa.DataFrameModel):
    """A row."""

    v: T.LongType() = pa.Field()


def inputs(table: Any) -> dict[str, str]:
    return {name: asset_in.key.to_user_string() for name, asset_in in table.inputs.items()}


def test_parameters_stand_for_tables_of_the_same_domain() -> None:
    def items(raw_orders: DataFrame, products: DataFrame) -> DataFrame:
        return raw_orders

    assert inputs(silver(contract=Row, domain="shop")(items)) == {
        "raw_orders": "bronze/shop/orders",
        "products": "silver/shop/products",
    }


def test_stars_are_gold_in_a_gold_table() -> None:
    def revenue(fact_orders: DataFrame, dim_date: DataFrame, orders: DataFrame) -> DataFrame:
        return orders

    assert inputs(gold(contract=Row, domain="shop")(revenue)) == {
        "fact_orders": "gold/shop/fact_orders",
        "dim_date": "gold/shop/dim_date",
        "orders": "silver/shop/orders",
    }


def test_any_other_input_is_named() -> None:
    def report(a: DataFrame, b: DataFrame) -> DataFrame:
        return a

    mapped = dg.AssetIn(key=dg.AssetKey(["gold", "other", "b"]), partition_mapping=dg.AllPartitionMapping())
    table = gold(contract=Row, domain="shop", ins={"a": "silver/other/a", "b": mapped})(report)
    assert inputs(table) == {"a": "silver/other/a", "b": "gold/other/b"}
    assert table.inputs["b"].partition_mapping == dg.AllPartitionMapping()


def test_arrivals_are_no_table() -> None:
    def orders(arrivals: Any) -> Any:
        return arrivals.csv()

    assert bronze(contract=Row, domain="shop")(orders).inputs == {}


@pytest.mark.parametrize(
    ("layer", "source", "message"),
    [
        (bronze, "bronze/shop/x", "bronze may read only sources"),
        (bronze, "silver/shop/x", "bronze may read only sources"),
        (silver, "gold/shop/x", "silver may read only bronze and silver"),
        (gold, "bronze/shop/x", "gold may read only silver and gold; build a silver table in between"),
        (gold, "raw/shop/x", "gold may read only silver and gold"),
    ],
)
def test_a_forbidden_edge_fails_when_it_is_declared(layer: Any, source: str, message: str) -> None:
    def table(x: DataFrame) -> DataFrame:
        return x

    with pytest.raises(DeclarationError, match=message) as error:
        layer(contract=Row, domain="shop", ins={"x": source})(table)
    assert f"/shop/table reads {source} (parameter 'x')" in str(error.value)


@pytest.mark.parametrize(
    ("layer", "source"), [(silver, "bronze"), (silver, "silver"), (gold, "silver"), (gold, "gold")]
)
def test_an_allowed_edge_is_declared(layer: Any, source: str) -> None:
    def table(x: DataFrame) -> DataFrame:
        return x

    assert inputs(layer(contract=Row, domain="shop", ins={"x": f"{source}/shop/x"})(table)) == {"x": f"{source}/shop/x"}


def test_the_domain_is_the_package_of_the_module() -> None:
    def orders() -> None:
        return None

    orders.__module__ = "assets.olist.silver"
    assert silver(contract=Row)(orders).label == "silver/olist/orders"
    orders.__module__ = "script"
    with pytest.raises(DeclarationError, match=r"script.orders is in no domain package; pass domain="):
        silver(contract=Row)(orders)


def test_owner_tags_and_policies_reach_the_declaration() -> None:
    def orders() -> None:
        return None

    table = silver(contract=Row, domain="shop", owner="team:shop", tags={"pii": ""}, max_rejected=0, code_version="3")(
        orders
    )
    assert (table.owners, table.tags, table.max_rejected, table.code_version) == (("team:shop",), {"pii": ""}, 0, "3")
