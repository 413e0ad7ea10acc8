"""Runs of several partitions: each has its own numbers and check results, and a bad one can be kept apart."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from medallion.checks import CandidateView, Fresh, References, RowCountInBounds
from medallion.findings import Finding
from medallion.graph import build_assets
from medallion.layers import bronze, gold, silver
from medallion.partition_events import BadPartitionError
from medallion.tables import DeclarationError, Table
from tests.fixtures.shop import (
    MONTHS,
    Order,
    RawOrder,
    Shop,
    bronze_orders,
    checks,
    gold_revenue,
    materialized,
    metadata,
    partition_checks,
    silver_orders,
    typed,
)

pytestmark = pytest.mark.slow

BRONZE, SILVER, GOLD = "bronze/shop/orders", "silver/shop/orders", "gold/shop/revenue"
KEYS = ("2024-01", "2024-02", "2024-03")
SPAN = (KEYS[0], KEYS[-1])


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def line(order: str, price: str = "1", email: str = "") -> str:
    return f"{order},{price},2024-01-05 00:00:00,{email}"


def land(shop: Shop, **months: list[str]) -> None:
    for month, lines in months.items():
        shop.land(f"2024-{month[1:]}", *lines)


def isolating(**declaration: Any) -> Table:
    return silver_orders(on_bad_partition="isolate", **declaration)


def run(shop: Shop, table: Table, span: tuple[str, str] = SPAN, *more: Table) -> Any:
    return shop.run(bronze_orders(), table, *more, span=span)


def numbers(result: Any, asset: str) -> dict[str, dict[str, Any]]:
    """The metadata of the materializations of an asset by partition."""
    events = [e for e in result.get_asset_materialization_events() if e.asset_key.to_user_string() == asset]
    return {e.partition: {k: v.value for k, v in e.materialization.metadata.items()} for e in events}


def statuses(shop: Shop, table: Table) -> dict[str, str]:
    found = shop.instance.get_status_by_partition(table.key, list(KEYS), MONTHS)
    return {key: status.value if status else "NONE" for key, status in (found or {}).items()}


def recorded(shop: Shop, name: str, partition: str, table: Table | None = None) -> list[str]:
    """What is recorded of a check of the silver orders, or of another table, on a partition, latest first."""
    from dagster._core.storage.event_log.base import PartitionKeyFilter

    check = dg.AssetCheckKey((table or silver_orders()).key, name)
    records = shop.instance.event_log_storage.get_asset_check_execution_history(
        check, limit=20, partition_filter=PartitionKeyFilter(key=partition)
    )
    return [record.status.value for record in records]


def error_of(result: Any) -> str:
    (failure,) = result.get_step_failure_events()
    return str(failure.event_specific_data.error.message)


def orders_by_month(shop: Shop) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in shop.rows(SILVER):
        found.setdefault(row["month"].isoformat()[:7], []).append(row["order_id"])
    return found


SPOILED = {"m01": [line("a")], "m02": [line("b"), line("x", "dear"), line("y", "dear")], "m03": [line("c")]}


class TestTruth:
    def test_every_partition_of_a_range_has_its_own_numbers(self, shop: Shop) -> None:
        land(shop, m01=[line("a"), line("a"), line("b")], m02=[line("c"), line("x", "dear")], m03=[line("d")])
        result = run(shop, silver_orders())
        told = numbers(result, SILVER)
        names = ("rows_in", "rows_written", "dagster/partition_row_count", "rows_quarantined", "rows_deduplicated")
        assert {key: tuple(own[name] for name in names) for key, own in told.items()} == {
            "2024-01": (3, 2, 2, 0, 1),
            "2024-02": (2, 1, 1, 1, 0),
            "2024-03": (1, 1, 1, 0, 0),
        }
        assert [told[key]["checks_failed"] for key in KEYS] == [0, 1, 0]
        assert told["2024-02"]["failed_checks"]["price_parses"]["rows"] == 1
        assert [told[key]["quality/validity"] for key in KEYS] == [100, 50, 100]
        assert [told[key]["quality/uniqueness"] for key in KEYS] == [pytest.approx(66.667, abs=0.001), 100, 100]
        assert told["2024-03"]["dagster/row_count"] == 4

    def test_a_range_and_its_months_one_by_one_say_the_same(self, shop: Shop, tmp_path: Path) -> None:
        alone = Shop(_folder(tmp_path))
        lines = {"m01": [line("a"), line("a")], "m02": [line("c"), line("x", "dear")], "m03": [line("d", "1.50")]}
        for one in (shop, alone):
            land(one, **lines)
        ranged = run(shop, silver_orders())
        names = ("rows_in", "rows_written", "rows_quarantined", "rows_deduplicated", "checks_failed", "quality/score")
        for key in KEYS:
            single = alone.run(bronze_orders(), silver_orders(), key=key)
            for table in (BRONZE, SILVER):
                own, theirs = numbers(ranged, table)[key], metadata(single, table)
                assert [own.get(name) for name in names] == [theirs.get(name) for name in names]
            failed = {(name, part) for (name, part), e in partition_checks(ranged, SILVER).items() if not e.passed}
            assert {name for name, part in failed if part == key} == {
                name for name, check in checks(single, SILVER).items() if not check.passed
            }

    def test_a_rule_says_how_many_rows_of_which_partition_break_it(self, shop: Shop) -> None:
        land(shop, m01=[line("a"), line("p", "dear")], m02=[line("b")], m03=[line("c"), line("q", "x"), line("r", "y")])
        found = partition_checks(run(shop, silver_orders(max_rejected=1.0)), SILVER)
        assert found["price_parses", None].metadata["rows"].value == 3
        assert found["price_parses", None].metadata["partitions"].value == "2024-01, 2024-03"
        assert found["price_parses", "2024-01"].metadata["rows"].value == 1
        assert found["price_parses", "2024-03"].metadata["samples"].value == [{"order_id": "q"}, {"order_id": "r"}]
        assert ("price_parses", "2024-02") not in found

    def test_what_a_partition_fails_and_keeps_again_is_recorded_of_it(self, shop: Shop) -> None:
        land(shop, m01=[line("a")], m02=[line("b"), line("x", "dear")], m03=[line("c")])
        run(shop, silver_orders())
        assert [recorded(shop, "price_parses", key) for key in KEYS] == [["SUCCEEDED"], ["FAILED"], ["SUCCEEDED"]]
        land(shop, m02=[line("b")])
        shop.run(bronze_orders(), silver_orders(), key="2024-02")
        assert recorded(shop, "price_parses", "2024-02") == ["SUCCEEDED", "FAILED"]
        assert recorded(shop, "price_parses", "2024-01") == ["SUCCEEDED"]

    def test_partitions_that_are_no_time_have_results_too(self, shop: Shop) -> None:
        table = _by_shop({"a": [1, 2], "b": [1, -1], "c": [3]})
        result = shop.run(table, span=("a", "c"))
        assert result.success
        found = {key: recorded(shop, "amount_ge", key, table) for key in ("a", "b", "c", "d")}
        assert found == {"a": ["SUCCEEDED"], "b": ["FAILED"], "c": ["SUCCEEDED"], "d": []}
        latest = shop.instance.event_log_storage.get_latest_asset_check_execution_by_key(
            keys := [dg.AssetCheckKey(table.key, name) for name in ("amount_ge", "rejected_share")]
        )
        assert [latest[key].status.value for key in keys] == ["FAILED", "SUCCEEDED"]

    def test_the_state_of_a_check_is_that_of_the_whole_write(self, shop: Shop) -> None:
        key = dg.AssetCheckKey(silver_orders().key, "price_parses")
        latest = lambda: shop.instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]  # noqa: E731
        for bad in ("m03", "m01"):
            good = {month: [line(month)] for month in ("m01", "m02", "m03")}
            land(shop, **{**good, bad: [line(bad), line("x", "dear")]})
            run(shop, silver_orders())
            assert latest().status.value == "FAILED"
        land(shop, m01=[line("m01")])
        run(shop, silver_orders())
        assert latest().status.value == "SUCCEEDED"

    def test_a_commit_counts_every_partition(self, shop: Shop) -> None:
        land(shop, m01=[line("a")], m02=[line("b"), line("x", "dear")], m03=[line("c")])
        run(shop, silver_orders())
        audit = json.loads(shop.store.open(SILVER.split("/")).history(1)[0]["medallion/audit"])
        assert audit["partitions"]["2024-02"] == {"rows": 1, "quarantined": 1, "duplicates": 0}
        assert audit["rows"] == 3

    def test_row_counts_are_compared_with_the_partitions_own_history(self, shop: Shop) -> None:
        table = silver_orders(checks=[RowCountInBounds(least_history=2)])
        big, small = [line(f"a{n}") for n in range(9)], [line("b"), line("c")]
        land(shop, m01=big, m02=small, m03=[line("z")])
        run(shop, table)
        shop.run(bronze_orders(), table, key="2024-01")
        run(shop, table)
        land(shop, m01=[line("a")], m02=small[:1])
        found = partition_checks(run(shop, table), SILVER)
        assert found["row_count_in_bounds", None].metadata["partitions_out_of_bounds"].value == 1
        judged = found["row_count_in_bounds", "2024-01"].metadata
        assert (judged["rows"].value, judged["median_before"].value) == (1, 9)

    def test_personal_data_is_in_no_event_of_a_partition(self, shop: Shop) -> None:
        land(shop, m01=[line("a"), line("b", email="secretaddress")], m02=[line("c")], m03=[line("d")])
        result = run(shop, silver_orders())
        assert partition_checks(result, SILVER)["email_str_contains", "2024-01"].metadata["rows"].value == 1
        assert "secretaddress" not in repr([event.event_specific_data for event in result.all_events])


class TestBlock:
    def test_a_bad_partition_is_not_diluted_by_good_ones_and_blocks_the_write(self, shop: Shop) -> None:
        land(shop, **{**SPOILED, "m01": [line(f"a{n}") for n in range(50)]})
        table = silver_orders()
        result = run(shop, table, SPAN, gold_revenue())
        check = checks(result, SILVER)["rejected_share"]
        assert not check.passed
        assert check.metadata["ratio"].value < 0.5
        assert check.metadata["partitions"].value == "2024-02"
        assert check.metadata["worst"].value == "2024-02 with a ratio of 0.6667"
        assert shop.store.find(SILVER.split("/")) is None
        assert materialized(result) == {BRONZE}
        assert set(statuses(shop, table).values()) == {"FAILED"}

    def test_the_failed_result_names_the_partition(self, shop: Shop) -> None:
        land(shop, **SPOILED)
        found = partition_checks(run(shop, silver_orders()), SILVER)
        share = {partition: check for (name, partition), check in found.items() if name == "rejected_share"}
        assert set(share) == {None, "2024-02"}
        assert share["2024-02"].blocking
        assert share["2024-02"].metadata["mostly"].value == "price_parses, such as order_id x; order_id y"
        assert share["2024-02"].metadata["candidate"].value.startswith(shop.store.uri(SILVER.split("/")))
        assert recorded(shop, "rejected_share", "2024-02") == ["FAILED"]

    def test_a_row_that_changes_its_month_on_the_way_blocks(self, shop: Shop) -> None:
        def orders(raw_orders: DataFrame) -> DataFrame:
            """Puts an order of February into March."""
            moved = F.when(F.col("order_id") == "m", F.lit("2024-03-01").cast("date")).otherwise(F.col("month"))
            return typed(raw_orders).withColumn("month", moved)

        land(shop, m01=[line("a")], m02=[line("b"), line("m")], m03=[line("c")])
        found = partition_checks(run(shop, silver(contract=Order, partitions=MONTHS, domain="shop")(orders)), SILVER)
        assert {part for (name, part), check in found.items() if name == "rows_reconcile"} == {None, *KEYS[1:]}
        assert shop.rows(SILVER) == []


class TestIsolate:
    def test_the_good_partitions_are_published_in_one_commit_and_the_bad_one_alone_fails(self, shop: Shop) -> None:
        table = isolating()
        land(shop, m01=[line("a0")], m02=[line("b0"), line("w", "dear")], m03=[line("c0")])
        assert run(shop, table).success
        land(shop, **SPOILED)
        before = (shop.version(SILVER), shop.quarantine())
        result = run(shop, table, SPAN, gold_revenue())
        assert not result.success
        assert orders_by_month(shop) == {"2024-01": ["a"], "2024-02": ["b0"], "2024-03": ["c"]}
        assert (shop.version(SILVER) - 1, shop.quarantine()) == before
        assert set(numbers(result, SILVER)) == {"2024-01", "2024-03"}
        assert statuses(shop, table) == {"2024-01": "MATERIALIZED", "2024-02": "FAILED", "2024-03": "MATERIALIZED"}
        assert materialized(result) == {BRONZE, SILVER}

    def test_the_error_names_table_partition_check_and_next_step(self, shop: Shop) -> None:
        land(shop, **SPOILED)
        told = error_of(run(shop, isolating()))
        assert BadPartitionError.__name__ in told
        assert "silver/shop/orders: 1 of 3 partitions were not published" in told
        assert "2024-02 (rejected_share)" in told
        assert "medallion run -s silver/shop/orders+ -p 2024-02" in told

    def test_the_numbers_of_the_published_ones_are_theirs_alone(self, shop: Shop) -> None:
        land(shop, **{**SPOILED, "m03": [line("c"), line("z", "dear")]})
        result = run(shop, isolating())
        told = numbers(result, SILVER)
        assert {key: (own["rows_in"], own["rows_written"], own["rows_quarantined"]) for key, own in told.items()} == {
            "2024-01": (1, 1, 0),
            "2024-03": (2, 1, 1),
        }
        assert shop.quarantine() == [("silver", "2024-03", ["price_parses"])]
        commit = shop.store.open(SILVER.split("/")).history(1)[0]
        assert json.loads(commit["dagster/partitions"]) == ["2024-01", "2024-03"]
        assert "dagster/column_schema" in told["2024-03"]

    def test_the_check_fails_for_the_bad_partition_only(self, shop: Shop) -> None:
        land(shop, **SPOILED)
        run(shop, isolating())
        found = [recorded(shop, "rejected_share", key) for key in KEYS]
        assert found == [["SUCCEEDED"], ["FAILED"], ["SUCCEEDED"]]

    def test_the_candidate_of_the_bad_one_is_kept_and_no_other_stage(self, shop: Shop, spark: Any) -> None:
        land(shop, **SPOILED)
        result = run(shop, isolating())
        candidate = partition_checks(result, SILVER)["rejected_share", "2024-02"].metadata["candidate"].value
        rows = spark.read.format("delta").load(candidate).where("_outcome = 'rejected'").collect()
        assert sorted(row["order_id"] for row in rows) == ["x", "y"]
        assert [str(path.parent) for path in Path(shop.store.root).rglob("stage-*/_delta_log")] == [candidate]

    def test_a_mended_partition_is_made_alone(self, shop: Shop) -> None:
        table = isolating()
        land(shop, **SPOILED)
        run(shop, table)
        land(shop, m02=[line("b"), line("x", "3")])
        assert shop.run(bronze_orders(), table, key="2024-02").success
        assert orders_by_month(shop) == {"2024-01": ["a"], "2024-02": ["b", "x"], "2024-03": ["c"]}
        assert set(statuses(shop, table).values()) == {"MATERIALIZED"}
        assert recorded(shop, "rejected_share", "2024-02") == ["SUCCEEDED", "FAILED"]

    def test_running_twice_changes_nothing(self, shop: Shop) -> None:
        land(shop, **{**SPOILED, "m03": [line("c"), line("z", "dear")]})
        run(shop, isolating())
        before = (shop.rows(SILVER), shop.quarantine())
        run(shop, isolating())
        assert (shop.rows(SILVER), shop.quarantine()) == before

    def test_a_run_of_bad_partitions_alone_writes_nothing(self, shop: Shop) -> None:
        table = isolating()
        land(shop, m01=SPOILED["m02"], m02=[line("x", "dear")], m03=[line("q", "dear")])
        result = run(shop, table)
        assert shop.store.find(SILVER.split("/")) is None
        assert "blocking asset check" in error_of(result)
        assert set(statuses(shop, table).values()) == {"FAILED"}

    def test_a_key_in_two_partitions_spoils_both(self, shop: Shop) -> None:
        land(shop, m01=[line("a"), line("same")], m02=[line("b"), line("same")], m03=[line("c")])
        result = run(shop, isolating())
        assert orders_by_month(shop) == {"2024-03": ["c"]}
        found = partition_checks(result, SILVER)
        assert found["key_is_unique", "2024-01"].metadata["samples"].value == [{"order_id": "same"}]
        assert ("key_is_unique", "2024-02") in found

    def test_a_key_that_the_kept_rows_of_a_bad_partition_have_spoils_the_other(self, shop: Shop) -> None:
        land(shop, m01=[line("a")], m02=[line("moves")], m03=[line("c")])
        assert run(shop, isolating()).success
        land(shop, m01=[line("a2")], m02=SPOILED["m02"], m03=[line("c2"), line("moves")])
        result = run(shop, isolating())
        assert orders_by_month(shop) == {"2024-01": ["a2"], "2024-02": ["moves"], "2024-03": ["c"]}
        assert "2024-02 (rejected_share); 2024-03 (key_is_unique)" in error_of(result)
        assert len(list(Path(shop.store.root).rglob("stage-*/_delta_log"))) == 1

    def test_a_reference_that_is_not_there_spoils_its_partition(self, shop: Shop) -> None:
        def customers() -> Any:
            """Known customers."""
            import pyarrow

            return pyarrow.table({"email": ["k@x"]})

        known = silver(contract=_customer(), domain="shop")(customers)
        table = isolating(checks=[References("email", "silver/shop/customers")])
        land(shop, m01=[line("a", email="k@x")], m02=[line("b", email="u@x"), line("e", email="k@x")], m03=[line("c")])
        result = shop.run(known, bronze_orders(), table, span=SPAN)
        assert orders_by_month(shop) == {"2024-01": ["a"], "2024-03": ["c"]}
        found = partition_checks(result, SILVER)["email_in_customers", "2024-02"].metadata
        assert (found["unresolved_rows"].value, found["ratio"].value) == (1, 0.5)
        assert "samples" not in found

    def test_a_check_that_cannot_tell_its_partitions_blocks_them_all(self, shop: Shop) -> None:
        fresh = Fresh("placed", dt.timedelta(hours=1), severity="ERROR")
        land(shop, m01=[line("a")], m02=[line("b")], m03=[line("c")])
        result = run(shop, isolating(checks=[fresh]))
        assert not result.success
        assert shop.store.find(SILVER.split("/")) is None
        assert {partition for name, partition in partition_checks(result, SILVER) if name == "is_fresh"} == {None}

    def test_a_check_of_ones_own_names_its_partitions(self, shop: Shop) -> None:
        class NoFebruary:
            name, severity, reads, description = "no_february", "ERROR", (), "February is never good"

            def evaluate(self, candidate: CandidateView) -> Finding:
                bad = [key for key in candidate.audit.slices if key.endswith("-02")]
                return Finding(not bad, {}, {key: Finding(False, {"why": "it is short"}) for key in bad})

        land(shop, m01=[line("a")], m02=[line("b")], m03=[line("c")])
        result = run(shop, isolating(checks=[NoFebruary()]))
        assert orders_by_month(shop) == {"2024-01": ["a"], "2024-03": ["c"]}
        assert partition_checks(result, SILVER)["no_february", "2024-02"].metadata["why"].value == "it is short"

    def test_landed_lines_that_are_no_records_spoil_their_month_of_bronze(self, shop: Shop) -> None:
        land(shop, m01=[line("a")], m02=[line("b"), "too,many,fields,in,this", "and,in,this,as,well"], m03=[line("c")])
        table = bronze_orders(on_bad_partition="isolate")
        result = shop.run(table, span=SPAN)
        assert not result.success
        assert [row["order_id"] for row in shop.rows(BRONZE)] == ["a", "c"]
        assert partition_checks(result, BRONZE)["lines_are_csv", "2024-02"].metadata["rows"].value == 2
        assert shop.rows("quarantine/shop/orders") == []
        assert set(numbers(result, BRONZE)) == {"2024-01", "2024-03"}

    def test_a_row_without_a_month_spoils_the_one_it_arrived_in(self, shop: Shop) -> None:
        def orders(raw_orders: DataFrame) -> DataFrame:
            """Does not know the month of some orders."""
            unknown = F.when(F.col("order_id") != "n", F.col("month"))
            return typed(raw_orders).withColumn("month", unknown)

        options: dict[str, Any] = {"contract": Order, "partitions": MONTHS, "domain": "shop", "max_rejected": 0.4}
        land(shop, m01=[line("a")], m02=[line("n"), line("b")], m03=[line("c"), line("d"), line("n")])
        result = run(shop, silver(on_bad_partition="isolate", **options)(orders))
        assert orders_by_month(shop) == {"2024-01": ["a"], "2024-03": ["c", "d"]}
        assert shop.quarantine() == [("silver", "2024-03", ["month_not_null"])]
        assert partition_checks(result, SILVER)["month_not_null", "2024-02"].metadata["rows"].value == 1

    def test_a_bad_hour_of_another_time_zone_is_kept_apart(self, shop: Shop) -> None:
        hours = dg.HourlyPartitionsDefinition("2024-01-01-00:00", end_date="2024-01-02-00:00", timezone="Europe/Berlin")
        result = shop.run(_events(hours), span=("2024-01-01-01:00", "2024-01-01-03:00"))
        told = numbers(result, "silver/shop/events")
        assert {hour: own["rows_written"] for hour, own in told.items()} == {
            "2024-01-01-01:00": 2,
            "2024-01-01-03:00": 1,
        }
        assert "2024-01-01-02:00 (rejected_share)" in error_of(result)

    @pytest.mark.parametrize("mode", ["append", "merge"])
    def test_every_write_mode_keeps_the_bad_one_out(self, shop: Shop, mode: str) -> None:
        land(shop, **SPOILED)
        run(shop, isolating(mode=mode))
        assert orders_by_month(shop) == {"2024-01": ["a"], "2024-03": ["c"]}

    def test_rows_of_no_selected_partition_block_all_of_them(self, shop: Shop) -> None:
        def orders(raw_orders: DataFrame) -> DataFrame:
            """Puts an order into May."""
            stray = F.when(F.col("order_id") == "s", F.lit("2024-05-01").cast("date")).otherwise(F.col("month"))
            return typed(raw_orders).withColumn("month", stray)

        options: dict[str, Any] = {"contract": Order, "partitions": MONTHS, "domain": "shop", "max_rejected": 0.5}
        land(shop, **{**SPOILED, "m03": [line("c"), line("s")]})
        assert not run(shop, silver(on_bad_partition="isolate", **options)(orders)).success
        assert shop.rows(SILVER) == []


class TestDeclaration:
    def test_a_table_without_partitions_has_none_to_isolate(self) -> None:
        with pytest.raises(DeclarationError, match="gold/shop/revenue: on_bad_partition='isolate' needs partitions"):
            gold_revenue(on_bad_partition="isolate")

    def test_an_unknown_choice_is_named(self) -> None:
        with pytest.raises(DeclarationError, match="on_bad_partition is 'skip'; it is one of"):
            silver_orders(on_bad_partition="skip")

    def test_partitions_whose_rows_cannot_be_counted_are_not_isolated(self) -> None:
        def orders(arrivals: Any) -> Any:
            """Orders as they landed, by day."""
            return arrivals.csv()

        days = dg.DailyPartitionsDefinition("2024-01-01")
        by_day = bronze(contract=RawOrder, partitions=days, domain="shop")(orders)
        with pytest.raises(DeclarationError, match="needs the partitions of its first input bronze/shop/orders"):
            build_assets([by_day, isolating()])

    def test_gold_of_whole_tables_can_isolate(self) -> None:
        def orders(orders: DataFrame) -> DataFrame:
            """The orders again."""
            return orders

        table = gold(contract=Order, partitions=MONTHS, domain="shop", on_bad_partition="isolate")(orders)
        assert build_assets([bronze_orders(), silver_orders(), table])


def _customer() -> Any:
    import pandera.pyspark as pa
    import pyspark.sql.types as T

    class Customer(pa.DataFrameModel):
        """A known customer."""

        email: T.StringType() = pa.Field(metadata={"pii": True})

    return Customer


def _by_shop(amounts: dict[str, list[int]]) -> Table:
    import pandera.pyspark as pa
    import pyarrow
    import pyspark.sql.types as T

    class Sale(pa.DataFrameModel):
        """A sale."""

        shop: T.StringType() = pa.Field(metadata={"partition": True})
        amount: T.LongType() = pa.Field(ge=0)

    def sales() -> pyarrow.Table:
        """Sales."""
        rows = [(name, amount) for name, found in amounts.items() for amount in found]
        return pyarrow.table({"shop": [name for name, _ in rows], "amount": [amount for _, amount in rows]})

    shops = dg.StaticPartitionsDefinition(["a", "b", "c", "d"])
    return silver(contract=Sale, partitions=shops, domain="shop", max_rejected=0.5)(sales)


def _events(hours: dg.PartitionsDefinition[str]) -> Table:
    import pandera.pyspark as pa
    import pyarrow
    import pyspark.sql.types as T

    class Event(pa.DataFrameModel):
        """An event."""

        n: T.LongType() = pa.Field(ge=0)
        at: T.TimestampType() = pa.Field(metadata={"partition": True})

    def events() -> pyarrow.Table:
        """Two events in the hour from one in Berlin, a bad one in the next, and one from three."""
        at = [
            dt.datetime(2024, 1, 1, hour, minute, tzinfo=dt.UTC) for hour, minute in ((0, 0), (0, 59), (1, 0), (2, 0))
        ]
        return pyarrow.table({"n": [1, 2, -1, 3], "at": pyarrow.array(at, pyarrow.timestamp("us", "UTC"))})

    return silver(contract=Event, partitions=hours, domain="shop", on_bad_partition="isolate")(events)


def _folder(path: Path) -> Path:
    folder = path / "alone"
    folder.mkdir()
    return folder
