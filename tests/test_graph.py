"""Tables become assets: what Dagster is told about each."""

import datetime as dt
from typing import Any

import dagster as dg
import pandera.pyspark as pa
import pyspark.sql.types as T
import pytest
from pyspark.sql import DataFrame

from medallion.checks import References
from medallion.graph import build_assets, tables_in
from medallion.layers import silver
from medallion.tables import DeclarationError
from tests.fixtures import shop
from tests.fixtures.shop import MONTHS, bronze_orders, gold_revenue, silver_orders

SILVER = dg.AssetKey(["silver", "shop", "orders"])


@pytest.fixture(scope="module")
def assets() -> dict[dg.AssetKey, dg.AssetsDefinition]:
    freshness = dg.FreshnessPolicy.time_window(fail_window=dt.timedelta(days=2))
    tables = [bronze_orders(), silver_orders(code_version="7", tags={"cost": "low"}), gold_revenue(freshness=freshness)]
    return {definition.key: definition for definition in build_assets(tables)}


def spec(assets: Any, key: dg.AssetKey = SILVER) -> dg.AssetSpec:
    return assets[key].get_asset_spec(key)


def test_an_asset_has_group_kinds_owner_tags_description_and_version(assets: Any) -> None:
    found = spec(assets)
    assert (found.group_name, found.description, found.code_version) == ("shop_silver", "Orders, typed.", "7")
    assert {"silver", "deltalake"} <= found.kinds
    assert found.owners == ["team:shop"]
    assert found.tags["cost"] == "low"
    assert found.partitions_def == MONTHS


def test_an_asset_depends_on_its_inputs(assets: Any) -> None:
    assert {dep.asset_key for dep in spec(assets).deps} == {dg.AssetKey(["bronze", "shop", "orders"])}
    gold = dg.AssetKey(["gold", "shop", "revenue"])
    assert {dep.asset_key for dep in spec(assets, gold).deps} == {SILVER}


def test_metadata_says_columns_partition_column_mode_table_and_code(assets: Any) -> None:
    metadata = spec(assets).metadata
    columns = {column.name: column for column in metadata["dagster/column_schema"].columns}
    assert columns["order_id"].description == "The id of the order."
    assert columns["order_id"].constraints == dg.TableColumnConstraints(nullable=False, unique=True)
    assert (metadata["partition_expr"], metadata["medallion/mode"]) == ("month", "replace")
    assert metadata["dagster/table_name"] == "silver.shop.orders"
    reference = metadata["dagster/code_references"].code_references[0]
    assert reference.file_path == shop.__file__


def test_every_rule_and_table_check_is_an_asset_check_and_errors_on_the_table_block(assets: Any) -> None:
    checks = {check.name: check for check in assets[SILVER].check_specs}
    assert {"price_ge", "price_is_round", "rejected_share", "key_is_unique", "rows_reconcile"} <= set(checks)
    assert {name for name, check in checks.items() if check.blocking} == {
        "rejected_share",
        "key_is_unique",
        "rows_reconcile",
    }
    assert checks["price_ge"].description == "price is at least 0"


def test_a_range_is_one_run_and_a_table_has_one_writer_at_a_time(assets: Any) -> None:
    assert assets[SILVER].backfill_policy == dg.BackfillPolicy.single_run()
    assert assets[SILVER].op.pool == "silver_shop_orders"


def test_freshness_reaches_the_asset(assets: Any) -> None:
    assert spec(assets, dg.AssetKey(["gold", "shop", "revenue"])).freshness_policy is not None


def test_a_table_with_inputs_follows_their_updates(assets: Any) -> None:
    assert spec(assets).automation_condition is not None


def test_the_whole_graph_loads(assets: Any) -> None:
    resources = {"io_manager": dg.mem_io_manager, "landing": dg.ResourceDefinition.none_resource()}
    dg.Definitions.validate_loadable(dg.Definitions(assets=list(assets.values()), resources=resources))


def test_a_table_declared_twice_is_refused() -> None:
    with pytest.raises(DeclarationError, match="silver/shop/orders is declared twice"):
        build_assets([bronze_orders(), silver_orders(), silver_orders()])


def test_an_input_that_nothing_declares_is_refused_with_the_way_out() -> None:
    with pytest.raises(
        DeclarationError, match=r"'raw_orders' stands for bronze/shop/orders, which no table declares.*ins="
    ):
        build_assets([silver_orders()])


def test_a_reference_to_a_table_that_nothing_declares_is_refused() -> None:
    with pytest.raises(DeclarationError, match="silver/shop/products"):
        build_assets([bronze_orders(), silver_orders(checks=[References("order_id", "silver/shop/products")])])


def test_a_grid_names_its_column_per_dimension() -> None:
    class Sale(pa.DataFrameModel):
        """A sale."""

        shop: T.StringType() = pa.Field(metadata={"partition": "shop"})
        month: T.DateType() = pa.Field(metadata={"partition": "month"})

    def sales() -> DataFrame:
        """Sales."""
        raise NotImplementedError

    grid = dg.MultiPartitionsDefinition({"month": MONTHS, "shop": dg.StaticPartitionsDefinition(["a"])})
    (asset,) = build_assets([silver(contract=Sale, partitions=grid, domain="shop")(sales)])
    assert asset.get_asset_spec().metadata["partition_expr"] == {"shop": "shop", "month": "month"}


def test_tables_are_collected_from_modules_in_order_of_declaration() -> None:
    from types import ModuleType

    module = ModuleType("assets.shop.tables")
    module.first, module.other, module.second = gold_revenue(), 1, bronze_orders()  # type: ignore[attr-defined]
    assert [table.label for table in tables_in([module])] == ["gold/shop/revenue", "bronze/shop/orders"]
