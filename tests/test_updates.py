"""An update travels down to what it touches, once, and to nothing else."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg
import pandera.pyspark as pa
import pyspark.sql.types as T
import pytest
from dagster._core.events import StepMaterializationData

from medallion.layers import bronze, gold, silver
from medallion.tables import Table, input_key
from medallion.updates import UpdatesSensor, join_requests, on_update

MONTHS = dg.MonthlyPartitionsDefinition(start_date="2017-01", end_date="2017-07", fmt="%Y-%m")
RUN_TAGS = {"medallion/trigger": "update"}


class Monthly(pa.DataFrameModel):
    """Rows of a month."""

    month: T.StringType() = pa.Field(description="Month.", metadata={"partition": True})


class Whole(pa.DataFrameModel):
    """Rows of everything."""

    total: T.LongType() = pa.Field(description="Total.")


def _declared() -> dict[str, Table]:
    """Two monthly exports and a snapshot, typed; a dimension, a monthly fact and two marts above."""

    @bronze(contract=Monthly, partitions=MONTHS, domain="shop")
    def orders(arrivals: Any) -> Any:
        """Raw."""

    @bronze(contract=Monthly, partitions=MONTHS, domain="shop")
    def payments(arrivals: Any) -> Any:
        """Raw."""

    @bronze(contract=Whole, domain="shop")
    def products(arrivals: Any) -> Any:
        """Raw."""

    raw = [orders, payments, products]

    @silver(contract=Monthly, partitions=MONTHS, domain="shop")
    def orders(raw_orders: Any) -> Any:
        """Typed."""

    @silver(contract=Monthly, partitions=MONTHS, domain="shop")
    def payments(raw_payments: Any) -> Any:
        """Typed."""

    @silver(contract=Whole, domain="shop")
    def products(raw_products: Any) -> Any:
        """Typed."""

    @silver(contract=Whole, domain="shop")
    def customers(raw_orders: Any) -> Any:
        """Of all months."""

    typed = [orders, payments, products, customers]

    @gold(contract=Whole, domain="shop")
    def dim_product(products: Any) -> Any:
        """Dimension."""

    @gold(contract=Whole, domain="shop")
    def dim_customer(customers: Any) -> Any:
        """Dimension."""

    @gold(contract=Monthly, partitions=MONTHS, domain="shop")
    def fact_orders(orders: Any, payments: Any, dim_product: Any, dim_customer: Any) -> Any:
        """Fact."""

    @gold(contract=Whole, domain="shop")
    def revenue(fact_orders: Any) -> Any:
        """Mart."""

    @gold(contract=Whole, domain="shop")
    def growth(fact_orders: Any, dim_product: Any) -> Any:
        """Mart."""

    everything = [*raw, *typed, dim_product, dim_customer, fact_orders, revenue, growth]
    return {table.label: table for table in everything}


TABLES = _declared()
REST: list[str] = []
"""What a tick asks for when there is nothing to do."""


def stub(table: Table, tables: Mapping[str, Table]) -> dg.AssetsDefinition:
    """An asset that stands where the table does."""

    @dg.asset(
        key=table.key,
        deps=[input_key(asset_in) for asset_in in table.inputs.values()],
        partitions_def=table.partitions,
        automation_condition=on_update(table, tables),
    )
    def nothing() -> None: ...

    return nothing


def range_tags(*months: str) -> dict[str, str]:
    if not months:
        return {}
    return {"dagster/asset_partition_range_start": months[0], "dagster/asset_partition_range_end": months[-1]}


class Shop:
    """The tables on an instance of their own; the sensor ticks when the test says so, and runs leave only events."""

    def __init__(self, tables: Mapping[str, Table] = TABLES) -> None:
        self.tables = tables
        self.instance = dg.DagsterInstance.ephemeral()
        self.sensor = UpdatesSensor(list(tables.values()), "updates", RUN_TAGS)
        self.definitions = dg.Definitions([stub(table, tables) for table in tables.values()], sensors=[self.sensor])
        self.cursor: str | None = None
        self.requests: list[dg.RunRequest] = []

    def tick(self) -> list[str]:
        """One tick; what it asks for, as `first...last: tables` or `whole: tables`."""
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor, definitions=self.definitions)
        data = self.sensor.evaluate_tick(context)
        self.cursor = data.cursor
        self.requests = list(data.run_requests or [])
        return sorted(_said(request) for request in self.requests)

    def run(self, *labels: str, months: Sequence[str] = (), broken: Iterable[str] = ()) -> None:
        """One run of some tables, in the order of declaration, over a contiguous range of months."""
        run = dg.DagsterRun(
            job_name="shop",
            run_id=str(uuid.uuid4()),
            asset_selection=frozenset(self.tables[label].key for label in labels),
            status=dg.DagsterRunStatus.FAILURE if broken else dg.DagsterRunStatus.SUCCESS,
        )
        self.instance.add_run(run)
        for table in self.tables.values():
            if table.label in labels and table.label not in broken:
                for month in months if table.partitions is not None else [None]:
                    data = StepMaterializationData(dg.AssetMaterialization(table.key, partition=month))
                    event = dg.DagsterEvent("ASSET_MATERIALIZATION", "shop", event_specific_data=data)
                    self.instance.report_dagster_event(event, run.run_id)

    def follow(self) -> None:
        """The runs that the last tick asked for."""
        for request in self.requests:
            first = request.tags.get("dagster/asset_partition_range_start")
            last = request.tags.get("dagster/asset_partition_range_end")
            months = MONTHS.get_partition_keys_in_range(dg.PartitionKeyRange(first, last)) if first and last else ()
            self.run(*["/".join(key.path) for key in request.asset_selection or ()], months=months)

    def start(self, *labels: str, months: tuple[str, ...] = ()) -> dg.DagsterRun:
        """A run that has begun and made nothing yet."""
        keys = {self.tables[label].key for label in labels}
        job = self.definitions.resolve_implicit_global_asset_job_def().get_subset(asset_selection=keys)
        return self.instance.create_run_for_job(
            job, tags=range_tags(*months), asset_selection=frozenset(keys), status=dg.DagsterRunStatus.STARTED
        )


def _said(request: dg.RunRequest) -> str:
    tables = ", ".join(sorted("/".join(key.path) for key in request.asset_selection or ()))
    first = request.tags.get("dagster/asset_partition_range_start")
    last = request.tags.get("dagster/asset_partition_range_end")
    return f"{first}...{last}: {tables}".replace("shop/", "") if first else f"whole: {tables}".replace("shop/", "")


@pytest.fixture
def shop() -> Shop:
    """A shop whose sensor has ticked once, as it does when the daemon starts."""
    shop = Shop()
    assert shop.tick() == REST
    return shop


MONTHLY_BRONZE = ("bronze/shop/orders", "bronze/shop/payments")
SNAPSHOT_BRONZE = ("bronze/shop/products",)


def settled() -> Shop:
    """A shop in which February is made down to gold."""
    shop = Shop()
    assert shop.tick() == REST
    shop.run(*TABLES, months=("2017-02",))
    assert shop.tick() == REST
    return shop


def test_what_landed_travels_to_gold_layer_by_layer_and_then_rests(shop: Shop) -> None:
    shop.run(*SNAPSHOT_BRONZE)
    shop.run(*MONTHLY_BRONZE, months=("2017-02", "2017-03"))

    assert shop.tick() == [
        "2017-02...2017-03: silver/orders, silver/payments",
        "whole: gold/dim_customer, gold/dim_product, silver/customers, silver/products",
    ]
    shop.follow()
    assert shop.tick() == ["2017-02...2017-03: gold/fact_orders"]
    shop.follow()
    assert shop.tick() == ["whole: gold/growth, gold/revenue"]
    shop.follow()
    assert shop.tick() == REST
    assert shop.tick() == REST


def test_a_tick_that_comes_before_the_runs_have_begun_asks_for_nothing_again(shop: Shop) -> None:
    shop.run(*SNAPSHOT_BRONZE)
    shop.run(*MONTHLY_BRONZE, months=("2017-02",))

    assert len(shop.tick()) == 2
    assert shop.tick() == REST


def test_months_with_holes_between_them_are_one_run_per_contiguous_range() -> None:
    shop = settled()
    shop.run(*MONTHLY_BRONZE, months=("2017-01",))
    shop.run(*MONTHLY_BRONZE, months=("2017-03", "2017-04"))
    shop.run(*MONTHLY_BRONZE, months=("2017-06",))

    silver = "silver/orders, silver/payments"
    assert shop.tick() == [
        f"2017-01...2017-01: {silver}",
        f"2017-03...2017-04: {silver}",
        f"2017-06...2017-06: {silver}",
        "whole: gold/dim_customer, silver/customers",
    ]
    shop.follow()
    assert shop.tick() == [
        "2017-01...2017-01: gold/fact_orders",
        "2017-03...2017-04: gold/fact_orders",
        "2017-06...2017-06: gold/fact_orders",
    ]
    shop.follow()
    assert shop.tick() == ["whole: gold/growth, gold/revenue"]


def test_an_old_month_that_changed_is_made_again_and_no_other() -> None:
    shop = settled()
    shop.run(*TABLES, months=("2017-03",))
    assert shop.tick() == REST

    shop.run("bronze/shop/payments", months=("2017-02",))

    assert shop.tick() == ["2017-02...2017-02: gold/fact_orders, silver/payments"]
    shop.follow()
    assert shop.tick() == ["whole: gold/growth, gold/revenue"]


def test_a_run_of_everything_asks_for_nothing(shop: Shop) -> None:
    shop.run(*TABLES, months=("2017-02", "2017-03"))
    assert shop.tick() == REST
    shop.run(*TABLES, months=("2017-05",))
    assert shop.tick() == REST
    assert shop.tick() == REST


def test_a_table_that_failed_in_a_run_of_everything_is_not_tried_again_by_itself(shop: Shop) -> None:
    shop.run(*TABLES, months=("2017-02",), broken=["gold/shop/fact_orders"])

    assert shop.tick() == REST
    assert shop.tick() == REST


def test_a_month_waits_for_an_input_of_its_own_that_never_arrived() -> None:
    shop = settled()
    shop.run("bronze/shop/orders", months=("2017-04",))

    assert shop.tick() == ["2017-04...2017-04: silver/orders", "whole: gold/dim_customer, silver/customers"]
    shop.follow()
    assert shop.tick() == REST

    shop.run("bronze/shop/payments", months=("2017-04",))
    assert shop.tick() == ["2017-04...2017-04: gold/fact_orders, silver/payments"]


def test_a_new_dimension_does_not_rebuild_every_month_of_its_facts() -> None:
    shop = settled()
    shop.run(*SNAPSHOT_BRONZE)

    assert shop.tick() == ["whole: gold/dim_product, silver/products"]
    shop.follow()
    assert shop.tick() == ["whole: gold/growth"]
    shop.follow()
    assert shop.tick() == REST


def test_a_monthly_table_of_whole_ones_is_made_again_in_the_months_it_has_and_the_latest() -> None:
    @bronze(contract=Whole, domain="shop")
    def rental(arrivals: Any) -> Any:
        """Raw."""

    raw = rental

    @silver(contract=Whole, domain="shop")
    def rental(raw_rental: Any) -> Any:
        """Typed."""

    @gold(contract=Monthly, partitions=MONTHS, domain="shop")
    def fact_rental(rental: Any, selection: Any) -> Any:
        """Fact."""

    shop = Shop({table.label: table for table in (raw, rental, fact_rental)})
    assert shop.tick() == REST
    shop.run(*shop.tables, months=("2017-02", "2017-03"))
    assert shop.tick() == REST

    shop.run("bronze/shop/rental", "silver/shop/rental")

    assert shop.tick() == ["2017-02...2017-03: gold/fact_rental", "2017-06...2017-06: gold/fact_rental"]
    shop.follow()
    assert shop.tick() == REST


def test_nothing_is_made_while_something_above_it_is_being_made() -> None:
    shop = settled()
    shop.run(*MONTHLY_BRONZE, months=("2017-02",))
    products = shop.start(*SNAPSHOT_BRONZE)

    # The fact reads a dimension that comes from the products: it waits, and so do the marts.
    assert shop.tick() == [
        "2017-02...2017-02: silver/orders, silver/payments",
        "whole: gold/dim_customer, silver/customers",
    ]
    shop.follow()
    assert shop.tick() == REST

    shop.instance.report_run_failed(products)
    assert shop.tick() == ["2017-02...2017-02: gold/fact_orders"]


def test_another_month_that_is_being_made_does_not_hold_up_a_month() -> None:
    shop = settled()
    shop.start("bronze/shop/payments", months=("2017-05",))
    shop.run("bronze/shop/payments", months=("2017-02",))

    assert shop.tick() == ["2017-02...2017-02: gold/fact_orders, silver/payments"]
    shop.follow()
    assert shop.tick() == REST  # the marts read every month


def test_a_restarted_sensor_does_not_ask_again() -> None:
    shop = settled()
    shop.run("bronze/shop/payments", months=("2017-02",))
    assert shop.tick() != REST

    shop.sensor = shop.sensor.with_attributes(metadata={})
    assert isinstance(shop.sensor, UpdatesSensor)
    assert shop.tick() == REST


def test_requests_for_the_same_tables_join_and_others_stay_apart() -> None:
    orders, payments = TABLES["silver/shop/orders"].key, TABLES["silver/shop/payments"].key
    requests = [
        dg.RunRequest(asset_selection=[orders, payments], partition_key="2017-03"),
        dg.RunRequest(asset_selection=[orders], partition_key="2017-02"),
        dg.RunRequest(asset_selection=[payments, orders], partition_key="2017-04"),
        dg.RunRequest(asset_selection=[TABLES["gold/shop/revenue"].key]),
    ]

    joined = join_requests(requests, list(TABLES.values()), RUN_TAGS)

    assert sorted(map(_said, joined)) == [
        "2017-02...2017-02: silver/orders",
        "2017-03...2017-04: silver/orders, silver/payments",
        "whole: gold/revenue",
    ]
    assert all(request.tags["medallion/trigger"] == "update" for request in joined if request.tags)
