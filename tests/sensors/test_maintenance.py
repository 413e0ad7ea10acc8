"""The nightly maintenance as Dagster runs it: one op per table, in the table's pool, with numbers on its page."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import dagster as dg
import pandera.pyspark as pa
import pyspark.sql.types as T
import pytest

from medallion.delta.maintenance import Maintenance
from medallion.domains import declared_tables
from medallion.graph import build_assets
from medallion.landing import Landing
from medallion.layers import bronze, silver
from medallion.settings import Settings
from medallion.tables import DeclarationError, Table
from medallion.upkeep import archivable_keys, expired_slice, upkeep_of
from sensors.maintenance import maintenance_schedules
from sensors.schedules import domain_schedules
from tests.fixtures.shop import Shop, bronze_orders, gold_revenue, silver_orders

NOW = dt.datetime(2024, 7, 1, tzinfo=dt.UTC)


class Customer(pa.DataFrameModel):
    """A customer; of no month."""

    email: T.StringType() = pa.Field()


class Visit(pa.DataFrameModel):
    """Visits of a day and a country."""

    day: T.DateType() = pa.Field(metadata={"partition": "day"})
    country: T.StringType() = pa.Field(metadata={"partition": "country"})
    visits: T.LongType() = pa.Field()


def schedule_of(tables: Any, **settings: Any) -> Any:
    (schedule,) = maintenance_schedules(tables, Settings(**settings))
    return schedule


def test_every_table_has_an_op_in_the_pool_of_its_writes() -> None:
    tables = declared_tables("assets")
    schedule = schedule_of(tables)
    pools = {node.name: node.definition.pool for node in schedule.job.nodes}
    written = {asset.op.pool for asset in build_assets(tables)}
    assert set(pools.values()) == {*written, "quarantine"}
    assert all(name == pool for name, pool in pools.items())


def test_it_runs_at_half_past_three_utc_after_the_daily_run() -> None:
    schedule = schedule_of(declared_tables("assets"))
    assert (schedule.name, schedule.cron_schedule, schedule.execution_timezone) == (
        "daily_maintenance",
        "30 3 * * *",
        "UTC",
    )
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING


def test_a_project_without_tables_has_none() -> None:
    assert maintenance_schedules([], Settings()) == []


def test_a_run_compacts_and_records_files_and_bytes(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    orders = bronze_orders(mode="append", maintenance=Maintenance(small_files=2))
    shop.land("2024-01", "a,1.50,,", 'b,"2')
    for _ in range(3):
        assert shop.run(orders, key="2024-01").success
    before = shop.rows("bronze/shop/orders")

    result = schedule_of([orders]).job.execute_in_process(instance=shop.instance, resources=shop.resources)

    assert result.success
    output = next(e for e in result.all_events if e.is_successful_output and e.step_key == "bronze_shop_orders")
    facts = {name: value.value for name, value in output.step_output_data.metadata.items()}
    assert (facts["files_before"], facts["files_after"], facts["compacted"]) == (3, 1, 1)
    assert shop.rows("bronze/shop/orders") == before
    assert len(shop.quarantine()) == 1


def test_a_table_that_was_not_made_yet_is_passed_over(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    result = schedule_of([bronze_orders()]).job.execute_in_process(instance=shop.instance, resources=shop.resources)
    assert result.success


def test_a_month_is_archived_by_the_end_of_its_window(tmp_path: Path) -> None:
    orders = bronze_orders(maintenance=Maintenance(archive_after_days=30))
    expired = expired_slice(orders, NOW)
    assert expired is not None
    assert expired.keys == ("2024-01", "2024-02", "2024-03", "2024-04", "2024-05")
    assert archivable_keys(orders, ["2024-05", "2024-06"], NOW) == {"2024-05"}
    assert expired_slice(bronze_orders(maintenance=Maintenance()), NOW) is None


def test_the_time_of_several_dimensions_decides() -> None:
    days = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-04")
    grid = dg.MultiPartitionsDefinition({"day": days, "country": dg.StaticPartitionsDefinition(["de", "fr"])})

    def visits(arrivals: Any) -> Any:
        return arrivals.csv()

    declare = bronze(contract=Visit, partitions=grid, domain="shop", maintenance=Maintenance(archive_after_days=1))
    table = declare(visits)
    now = dt.datetime(2024, 1, 3, tzinfo=dt.UTC)
    expired = expired_slice(table, now)
    assert expired is not None
    assert (expired.columns, expired.keys) == ({"day"}, ("2024-01-01",))
    keys = grid.get_partition_keys()
    assert archivable_keys(table, keys, now) == {"de|2024-01-01", "fr|2024-01-01"}


def archived_shop(tmp_path: Path) -> tuple[Shop, list[Table]]:
    shop = Shop(tmp_path)
    tables = [bronze_orders(), silver_orders(), gold_revenue()]
    shop.land("2024-01", "a,1.50,,", "b,2.50,,")
    assert shop.run(*tables, key="2024-01").success
    job = schedule_of(tables, archive=str(tmp_path / "archive")).job
    assert job.execute_in_process(instance=shop.instance, resources=shop.resources).success
    return shop, tables


def test_archived_rows_are_never_read_as_if_there_were_none(tmp_path: Path) -> None:
    shop, tables = archived_shop(tmp_path)
    silver_rows = shop.rows("silver/shop/orders")
    assert shop.rows("bronze/shop/orders") == []

    result = shop.run(*tables, key="2024-01", selection=[tables[1].key])

    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "medallion unarchive bronze/shop/orders -p 2024-01...2024-01" in str(failure.event_specific_data.error)
    assert shop.rows("silver/shop/orders") == silver_rows


def test_an_archived_month_that_lands_again_is_read_as_it_landed(tmp_path: Path) -> None:
    shop, tables = archived_shop(tmp_path)
    shop.land("2024-01", "c,3.50,,")
    assert shop.run(*tables, key="2024-01").success
    assert [row["order_id"] for row in shop.rows("silver/shop/orders")] == ["c"]


def test_a_table_that_is_read_whole_stays_in_the_lake(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    orders = bronze_orders()

    def customers(raw_orders: Any) -> Any:
        """All customers."""

    reader = silver(contract=Customer, domain="shop")(customers)
    shop.land("2024-01", "a,1.50,,")
    assert shop.run(orders, key="2024-01").success
    (target, *_) = upkeep_of([orders], [orders, reader])

    done = target.run(shop.store, dt.datetime.now(dt.UTC), str(tmp_path / "archive"))

    assert done is not None
    assert done.notes == ("not archived, as silver/shop/customers reads all of it in every run",)
    assert len(shop.rows("bronze/shop/orders")) == 1


def test_the_daily_run_leaves_archived_months_alone(tmp_path: Path) -> None:
    tables = [bronze_orders(), silver_orders()]
    landing = Landing(str(tmp_path))
    for month in ("2024-01", "2024-02", "2024-06"):
        with landing.write("shop", "orders", month, "orders.csv") as file:
            file.write(b"a\n1\n")
    job = dg.define_asset_job("shop", selection=[table.key for table in tables])

    def keys(archiving: bool) -> Any:
        (schedule,) = domain_schedules(tables, {"shop": job}, archiving=archiving)
        context = dg.build_schedule_context(
            instance=dg.DagsterInstance.ephemeral(), scheduled_execution_time=NOW, resources={"landing": landing}
        )
        with context:
            return [request.run_key for request in schedule.evaluate_tick(context).run_requests]

    assert keys(archiving=False) == ["2024-07-01:2024-01...2024-02", "2024-07-01:2024-06"]
    assert keys(archiving=True) == ["2024-07-01:2024-06"]


def test_only_bronze_is_archived() -> None:
    with pytest.raises(DeclarationError, match="gold/shop/revenue: only bronze is archived"):
        gold_revenue(maintenance=Maintenance(archive_after_days=90))


def test_z_order_takes_columns_of_the_contract_that_are_no_partitions() -> None:
    assert silver_orders(maintenance=Maintenance(z_order=("price",))).maintenance.z_order == ("price",)
    for column in ("month", "prise"):
        with pytest.raises(DeclarationError, match=rf"z_order names \['{column}'\]"):
            silver_orders(maintenance=Maintenance(z_order=(column,)))
