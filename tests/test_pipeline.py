"""A table's whole way inside a run: transform, stage, audit, publish, quarantine."""

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pandera.pyspark as pa
import pyarrow
import pyspark.sql.types as T
import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from medallion.audit import has_repeats
from medallion.checks import RowCountInBounds
from medallion.contracts import row_rule
from medallion.engine.frames import from_arrow
from medallion.layers import gold, silver
from medallion.partitions import Slice
from medallion.tables import Table
from tests.fixtures.s3_process import s3_process
from tests.fixtures.shop import (
    MONTHS,
    Order,
    Shop,
    bronze_orders,
    checks,
    gold_revenue,
    materialized,
    metadata,
    silver_orders,
    typed,
)

BRONZE, SILVER, GOLD = "bronze/shop/orders", "silver/shop/orders", "gold/shop/revenue"
GOOD = ["a,1.50,2024-01-02 03:04:05,a@x", "b,2.00,2024-01-03 00:00:00,"]
BAD_PRICE = "z,cheap,2024-01-03 00:00:00,"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def run_all(shop: Shop, silver_table: Any = None, **options: Any) -> Any:
    return shop.run(bronze_orders(), silver_table or silver_orders(), gold_revenue(), **options)


def run_silver(shop: Shop, silver_table: Any = None, **options: Any) -> Any:
    return shop.run(bronze_orders(), silver_table or silver_orders(), **options)


def silver_by_hand() -> Table:
    def orders() -> pyarrow.Table:
        """Orders of two months, with a gap between them."""
        months = [dt.date(2024, 1, 1), dt.date(2024, 3, 1)]
        amounts = pyarrow.array([Decimal("1.00"), Decimal("2.00")], pyarrow.decimal128(12, 2))
        placed = pyarrow.array([None, None], pyarrow.timestamp("us", "UTC"))
        none = pyarrow.array([None, None], pyarrow.string())
        columns = {"order_id": ["a", "b"], "price": amounts, "placed": placed, "email": none, "month": months}
        return pyarrow.table(columns)

    class WholeOrder(Order):
        month: T.DateType() = pa.Field()

    return silver(contract=WholeOrder, domain="shop")(orders)


def gold_by_month() -> Table:
    def by_month(orders: DataFrame, selection: Slice) -> DataFrame:
        """Orders by month."""
        return selection.of(orders)

    return gold(contract=Order, partitions=MONTHS, domain="shop")(by_month)


class TestPublishing:
    def test_a_file_becomes_audited_gold_in_one_run(self, shop: Shop) -> None:
        shop.land("2024-01", *GOOD, BAD_PRICE, "a,9.99,2024-01-04 00:00:00,a@x")
        result = run_all(shop, key="2024-01")
        assert result.success
        assert shop.rows(GOLD) == [{"month": dt.date(2024, 1, 1), "revenue": Decimal("11.99")}]
        assert {row["order_id"]: row["price"] for row in shop.rows(SILVER)} == {
            "a": Decimal("9.99"),
            "b": Decimal("2.00"),
        }
        assert checks(result, SILVER)["rows_reconcile"].metadata["rows_in"].value == 4

    def test_the_table_has_the_columns_types_and_comments_of_its_contract(self, shop: Shop) -> None:
        shop.land("2024-01", *GOOD)
        run_silver(shop, key="2024-01")
        fields = {item.name: item for item in shop.store.open(SILVER.split("/")).schema().fields}
        assert list(fields) == ["order_id", "price", "placed", "email", "month"]
        assert (fields["order_id"].nullable, fields["email"].nullable) == (False, True)
        assert fields["order_id"].metadata == {"comment": "The id of the order."}

    def test_a_key_that_came_twice_is_looked_for_unless_the_last_write_had_one(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answers: list[bool] = []
        monkeypatch.setattr(
            "medallion.pipeline.has_repeats", lambda *given: answers.append(has_repeats(*given)) or answers[-1]
        )
        repeated = [*GOOD, "a,9.99,2024-01-04 00:00:00,a@x"]
        for lines, asked in ((GOOD, [False]), (repeated, [True]), (repeated, []), (GOOD, []), (GOOD, [False])):
            answers.clear()
            shop.land("2024-01", *lines)
            result = run_silver(shop, key="2024-01")
            assert answers == asked
            assert metadata(result, SILVER)["rows_deduplicated"] == len(lines) - len(GOOD)
            prices = {row["order_id"]: row["price"] for row in shop.rows(SILVER)}
            assert prices == {"a": Decimal("1.50" if lines is GOOD else "9.99"), "b": Decimal("2.00")}
        # One for each version: what was staged before the keys were known to repeat is gone.
        assert len(list(Path(shop.store.uri(SILVER.split("/"))).glob("stage-*"))) == 5

    def test_running_twice_changes_nothing(self, shop: Shop) -> None:
        shop.land("2024-01", *GOOD, BAD_PRICE)
        run_all(shop, key="2024-01")
        before = (shop.rows(SILVER), shop.rows(GOLD), shop.quarantine())
        run_all(shop, key="2024-01")
        assert (shop.rows(SILVER), shop.rows(GOLD), shop.quarantine()) == before

    def test_a_range_is_one_run_and_one_commit_per_table(self, shop: Shop) -> None:
        for month in ("2024-01", "2024-02", "2024-03"):
            shop.land(month, f"{month},1.00,{month}-05 00:00:00,")
        result = run_silver(shop, span=("2024-01", "2024-03"))
        assert result.success
        assert (shop.version(BRONZE), shop.version(SILVER)) == (1, 1)
        assert len(shop.rows(SILVER)) == 3
        counts = {
            (event.asset_key.to_user_string(), event.partition): event.materialization.metadata
            for event in result.get_asset_materialization_events()
        }
        assert counts[SILVER, "2024-02"]["dagster/partition_row_count"].value == 1
        assert counts[SILVER, "2024-02"]["dagster/row_count"].value == 3

    def test_the_files_of_other_months_stay(self, shop: Shop) -> None:
        table = silver_orders()
        for month in ("2024-01", "2024-02", "2024-03"):
            shop.land(month, f"{month},1.00,{month}-05 00:00:00,")
        run_silver(shop, span=("2024-01", "2024-03"))
        others = shop.files(SILVER, table.select(["2024-01", "2024-03"]))
        shop.land("2024-02", "new,5.00,2024-02-05 00:00:00,")
        run_silver(shop, key="2024-02")
        assert shop.files(SILVER, table.select(["2024-01", "2024-03"])) == others
        assert [row["order_id"] for row in shop.rows(SILVER)] == ["2024-01", "2024-03", "new"]

    def test_the_commit_names_run_asset_partition_code_and_audit(self, shop: Shop) -> None:
        import json

        shop.land("2024-01", *GOOD, BAD_PRICE)
        result = run_silver(shop, silver_orders(code_version="7"), key="2024-01")
        commit = shop.store.open(SILVER.split("/")).history(1)[0]
        assert (commit["dagster/run_id"], commit["dagster/asset_key"]) == (result.run_id, SILVER)
        assert (commit["dagster/partitions"], commit["dagster/code_version"]) == ('["2024-01"]', "7")
        assert json.loads(commit["medallion/audit"]) == {"rows": 2, "quarantined": 1, "duplicates": 0}
        assert json.loads(commit["medallion/sources"]) == {BRONZE: shop.version(BRONZE)}

    def test_a_partitioned_table_of_unpartitioned_ones_takes_the_slice_of_its_run(self, shop: Shop) -> None:
        whole = silver_by_hand()
        months = gold_by_month()
        shop.run(whole, months, key="2024-01")
        assert [row["order_id"] for row in shop.rows("gold/shop/by_month")] == ["a"]
        shop.run(whole, months, span=("2024-02", "2024-06"))
        assert [row["order_id"] for row in shop.rows("gold/shop/by_month")] == ["a", "b"]

    def test_the_materialization_says_rows_size_columns_and_quality(self, shop: Shop) -> None:
        shop.land("2024-01", *GOOD, BAD_PRICE)
        found = metadata(run_silver(shop, key="2024-01"), SILVER)
        assert (found["dagster/row_count"], found["dagster/partition_row_count"], found["rows_in"]) == (2, 2, 3)
        assert (found["rows_quarantined"], found["rows_deduplicated"]) == (1, 0)
        assert found["quality/validity"] == pytest.approx(66.667, abs=0.001)
        assert found["quality/completeness"] == pytest.approx(100 * 7 / 8)
        assert found["dagster/column_schema"].columns[0].description == "The id of the order."
        assert found["dagster/size_bytes"] > 0

    def test_nothing_of_a_stage_is_left_behind(self, shop: Shop, tmp_path: Path) -> None:
        shop.land("2024-01", *GOOD, BAD_PRICE)
        run_all(shop, key="2024-01")
        on_disk = {str(path) for path in (tmp_path / "lake").rglob("*.parquet")}
        tables = [BRONZE, SILVER, GOLD, "quarantine/shop/orders"]
        assert on_disk == {f"{tmp_path}/lake/{label}/{path}" for label in tables for path in shop.files(label)}
        assert [str(path) for path in (tmp_path / "lake").rglob("stage-*/_delta_log")] == []

    def test_a_table_of_arrow_is_audited_like_one_of_spark(self, shop: Shop, tmp_path: Path) -> None:
        def orders() -> pyarrow.Table:
            """Orders from elsewhere."""
            placed = pyarrow.array([dt.datetime(2024, 1, 1, tzinfo=dt.UTC)] * 2, pyarrow.timestamp("us", "UTC"))
            prices = pyarrow.array([Decimal("1.00"), Decimal("-1.00")], pyarrow.decimal128(12, 2))
            return pyarrow.table(
                {
                    "order_id": ["a", "b"],
                    "price": prices,
                    "placed": placed,
                    "email": ["a@x", None],
                    "month": [dt.date(2024, 1, 1)] * 2,
                }
            )

        table = silver(contract=Order, partitions=MONTHS, domain="shop", max_rejected=0.5)(orders)
        result = shop.run(table, key="2024-01")
        assert result.success
        assert [row["order_id"] for row in shop.rows(SILVER)] == ["a"]
        assert shop.quarantine() == [("silver", "2024-01", ["price_ge"])]
        assert len(list((tmp_path / "lake" / "silver").rglob("*.parquet"))) == 1


class TestBlocking:
    def blocked(self, shop: Shop, **declaration: Any) -> Any:
        shop.land("2024-01", *GOOD)
        assert run_all(shop, key="2024-01").success
        shop.land("2024-01", "c,1.00,2024-01-05 00:00:00,", BAD_PRICE, "y,dear,2024-01-05 00:00:00,", "x,-1,,")
        return run_all(shop, silver_orders(**declaration), key="2024-01")

    def test_too_many_bad_rows_leave_version_rows_and_quarantine_untouched(self, shop: Shop) -> None:
        shop.land("2024-01", *GOOD)
        run_all(shop, key="2024-01")
        before = (shop.version(SILVER), shop.rows(SILVER), shop.version(GOLD), shop.quarantine())
        result = self.blocked(shop, max_rejected=0.5)
        assert not result.success
        assert (shop.version(SILVER) - before[0], shop.rows(SILVER)) == (1, before[1])
        assert shop.quarantine() == before[3]

    def test_a_blocked_write_fails_its_check_and_skips_what_is_downstream(self, shop: Shop) -> None:
        result = self.blocked(shop, max_rejected=0.7)
        check = checks(result, SILVER)["rejected_share"]
        assert (check.passed, check.severity, check.blocking) == (False, dg.AssetCheckSeverity.ERROR, True)
        assert check.metadata["rejected"].value == 3
        assert check.metadata["ratio"].value == pytest.approx(0.75)
        assert check.metadata["mostly"].value.startswith("price_parses, such as order_id ")
        assert materialized(result) == {BRONZE}

    def test_the_candidate_of_a_blocked_write_can_be_inspected(self, shop: Shop, spark: Any) -> None:
        check = checks(self.blocked(shop), SILVER)["rejected_share"]
        candidate = spark.read.format("delta").load(check.metadata["candidate"].value)
        assert candidate.where("_outcome = 'rejected'").count() == 3

    def test_up_to_the_declared_share_is_published(self, shop: Shop) -> None:
        assert self.blocked(shop, max_rejected=0.75).success

    def test_a_repeated_key_blocks(self, shop: Shop) -> None:
        shop.land("2024-01", *GOOD, "a,9.99,2024-01-04 00:00:00,")
        result = run_all(shop, silver_orders(latest_by=()), key="2024-01")
        check = checks(result, SILVER)["key_is_unique"]
        assert not check.passed
        assert check.metadata["samples"].value == [{"order_id": "a"}]
        assert shop.rows(SILVER) == []
        assert GOLD not in materialized(result)

    def test_a_key_that_another_month_has_blocks(self, shop: Shop) -> None:
        shop.land("2024-01", *GOOD)
        shop.land("2024-02", "a,1.00,2024-02-01 00:00:00,")
        assert run_silver(shop, key="2024-01").success
        assert not run_silver(shop, key="2024-02").success
        assert run_silver(shop, key="2024-01").success

    def test_rows_that_a_transform_loses_block(self, shop: Shop) -> None:
        def orders(raw_orders: DataFrame) -> DataFrame:
            """Loses rows."""
            return typed(raw_orders.where("order_id <> 'b'"))

        shop.land("2024-01", *GOOD)
        losing = silver(contract=Order, partitions=MONTHS, domain="shop")(orders)
        result = run_silver(shop, losing, key="2024-01")
        check = checks(result, SILVER)["rows_reconcile"]
        assert not check.passed
        assert (check.metadata["rows_in"].value, check.metadata["rows_out"].value) == (2, 1)

    def test_rows_of_another_month_are_refused(self, shop: Shop) -> None:
        def orders(raw_orders: DataFrame) -> DataFrame:
            """Puts rows into the wrong month."""
            return typed(raw_orders).withColumn("month", F.to_date(F.lit("2024-05-01")))

        shop.land("2024-01", *GOOD)
        stray = silver(contract=Order, partitions=MONTHS, domain="shop")(orders)
        assert not run_silver(shop, stray, key="2024-01").success
        assert shop.rows(SILVER) == []

    def test_a_missing_column_is_named(self, shop: Shop) -> None:
        def orders(raw_orders: DataFrame) -> DataFrame:
            """Forgets the price."""
            return typed(raw_orders).drop("price")

        shop.land("2024-01", *GOOD)
        forgetful = silver(contract=Order, partitions=MONTHS, domain="shop")(orders)
        with pytest.raises(Exception, match=r"silver/shop/orders: .*does not return the columns \['price'\]"):
            run_silver(shop, forgetful, key="2024-01", raise_on_error=True)

    def test_a_column_of_another_type_is_named(self, shop: Shop) -> None:
        def orders(raw_orders: DataFrame) -> DataFrame:
            """Makes the price a double."""
            return typed(raw_orders).withColumn("price", F.col("price").cast("double"))

        shop.land("2024-01", *GOOD)
        wrong = silver(contract=Order, partitions=MONTHS, domain="shop")(orders)
        with pytest.raises(Exception, match=r"price is double, the contract says decimal\(12,2\)"):
            run_silver(shop, wrong, key="2024-01", raise_on_error=True)


class TestReporting:
    def test_a_warning_reports_and_publishes(self, shop: Shop) -> None:
        shop.land("2024-01", *GOOD)
        result = run_silver(shop, key="2024-01")
        check = checks(result, SILVER)["price_is_round"]
        assert result.success
        assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
        assert (check.metadata["rows"].value, check.metadata["ratio"].value) == (1, 0.5)
        assert check.metadata["samples"].value == [{"order_id": "a"}]

    def test_a_broken_rule_counts_its_rows_and_shows_keys_only(self, shop: Shop) -> None:
        bad = [f"k{n},oops{n},2024-01-03 00:00:00,secret{n}@x" for n in range(8)]
        shop.land("2024-01", *[f"g{n},1,2024-01-03 00:00:00," for n in range(8)], *bad)
        result = run_silver(shop, key="2024-01")
        check = checks(result, SILVER)["price_parses"]
        assert (check.metadata["rows"].value, check.metadata["ratio"].value) == (8, 0.5)
        assert check.metadata["samples"].value == [{"order_id": f"k{n}"} for n in range(5)]

    def test_personal_data_is_in_no_event(self, shop: Shop) -> None:
        shop.land("2024-01", *GOOD, "c,1.00,2024-01-02 00:00:00,secretaddress", "d,x,2024-01-02 00:00:00,hidden@mail")
        result = run_silver(shop, key="2024-01")
        told = repr([event.event_specific_data for event in result.all_events])
        assert "secretaddress" not in told
        assert "hidden@mail" not in told
        assert shop.quarantine() == [
            ("silver", "2024-01", ["email_str_contains"]),
            ("silver", "2024-01", ["price_parses"]),
        ]

    def test_every_rule_and_check_is_an_asset_check(self, shop: Shop) -> None:
        shop.land("2024-01", *GOOD)
        found = checks(run_silver(shop, key="2024-01"), SILVER)
        assert set(found) == {
            *{"order_id_not_null", "price_parses", "price_not_null", "price_ge", "placed_parses", "email_str_contains"},
            *{"month_not_null", "price_is_round", "rejected_share", "key_is_unique", "rows_reconcile"},
            *{"row_count_in_bounds", "schema_change"},
        }
        assert all(check.passed for name, check in found.items() if name != "price_is_round")

    def test_lines_that_are_no_csv_are_counted_and_quarantined(self, shop: Shop) -> None:
        shop.land("2024-01", *GOOD, "too,many,fields,in,this")
        result = run_silver(shop, key="2024-01")
        check = checks(result, BRONZE)["lines_are_csv"]
        assert (check.passed, check.metadata["rows"].value) == (False, 1)
        assert shop.quarantine() == [("bronze", "2024-01", ["lines_are_csv"])]
        assert len(shop.rows(BRONZE)) == 2

    def test_row_counts_are_compared_with_earlier_writes_of_the_same_slice(self, shop: Shop) -> None:
        table = silver_orders(checks=[RowCountInBounds(least_history=2)])
        shop.land("2024-02", *[f"f{n},1,2024-02-01 00:00:00," for n in range(9)])
        run_silver(shop, table, key="2024-02")
        for lines in (4, 4):
            shop.land("2024-01", *[f"k{n},1,2024-01-01 00:00:00," for n in range(lines)])
            assert checks(run_silver(shop, table, key="2024-01"), SILVER)["row_count_in_bounds"].passed
        shop.land("2024-01", "k0,1,2024-01-01 00:00:00,")
        result = run_silver(shop, table, key="2024-01")
        check = checks(result, SILVER)["row_count_in_bounds"]
        assert result.success
        assert not check.passed
        assert (check.metadata["rows"].value, check.metadata["median_before"].value) == (1, 4)


class TestModes:
    def rows_of(self, *ids: str, price: str = "1.00") -> pyarrow.Table:
        n = len(ids)
        return pyarrow.table(
            {
                "order_id": pyarrow.array(ids, pyarrow.string()),
                "price": pyarrow.array([Decimal(price)] * n, pyarrow.decimal128(12, 2)),
                "placed": pyarrow.array([None] * n, pyarrow.timestamp("us", "UTC")),
                "email": pyarrow.array([None] * n, pyarrow.string()),
                "month": pyarrow.array([dt.date(2024, 1, 1)] * n, pyarrow.date32()),
            }
        )

    def table(self, frame: pyarrow.Table, **declaration: Any) -> Any:
        def orders() -> pyarrow.Table:
            """Orders."""
            return frame

        return silver(contract=Order, partitions=MONTHS, domain="shop", **declaration)(orders)

    def test_merge_updates_by_the_contracts_key(self, shop: Shop) -> None:
        shop.run(self.table(self.rows_of("a", "b"), mode="merge"), key="2024-01")
        result = shop.run(self.table(self.rows_of("b", "c", price="2.00"), mode="merge"), key="2024-01")
        assert {row["order_id"]: row["price"] for row in shop.rows(SILVER)} == {
            **{"a": Decimal("1.00"), "b": Decimal("2.00")},
            "c": Decimal("2.00"),
        }
        assert metadata(result, SILVER)["delta/rows_updated"] == 1

    def test_merging_the_same_rows_makes_no_version(self, shop: Shop) -> None:
        for _ in range(2):
            assert shop.run(self.table(self.rows_of("a", "b"), mode="merge"), key="2024-01").success
        assert shop.version(SILVER) == 1

    def test_append_adds_and_refuses_a_key_that_is_there(self, shop: Shop) -> None:
        assert shop.run(self.table(self.rows_of("a"), mode="append"), key="2024-01").success
        assert shop.run(self.table(self.rows_of("b"), mode="append"), key="2024-01").success
        assert not shop.run(self.table(self.rows_of("b"), mode="append"), key="2024-01").success
        assert [row["order_id"] for row in shop.rows(SILVER)] == ["a", "b"]

    def test_an_empty_result_empties_the_slice(self, shop: Shop) -> None:
        shop.run(self.table(self.rows_of("a")), key="2024-01")
        assert shop.run(self.table(self.rows_of()), key="2024-01").success
        assert shop.rows(SILVER) == []


class TestEvolution:
    def test_an_open_bronze_table_keeps_columns_that_came_and_went(self, shop: Shop) -> None:
        table = bronze_orders(schema_evolution="additive")
        shop.land("2024-01", *GOOD)
        shop.land("2024-02", "c,1,,,gift", header="order_id,price,placed,email,note")
        shop.land("2024-03", "d,1,,")
        for month in ("2024-01", "2024-02", "2024-03", "2024-01"):
            assert shop.run(table, key=month).success
        assert {row["order_id"]: row["note"] for row in shop.rows(BRONZE)} == {
            "a": None,
            "b": None,
            "c": "gift",
            "d": None,
        }

    def test_an_additive_contract_adds_its_new_column_to_the_table(self, shop: Shop) -> None:
        class Wider(Order):
            """An order with a note."""

            note: T.StringType() = pa.Field(nullable=True, description="What the customer wrote.")

        def orders(raw_orders: DataFrame) -> DataFrame:
            """Orders with a note."""
            return typed(raw_orders).withColumn("note", F.lit("hi"))

        for month in ("2024-01", "2024-02"):
            shop.land(month, f"{month},1,,")
        assert shop.run(bronze_orders(), silver_orders(), span=("2024-01", "2024-02")).success
        options: dict[str, Any] = {"contract": Wider, "partitions": MONTHS, "domain": "shop"}
        assert not shop.run(bronze_orders(), silver(**options)(orders), key="2024-01").success
        assert shop.run(bronze_orders(), silver(schema_evolution="additive", **options)(orders), key="2024-01").success
        assert {row["order_id"]: row["note"] for row in shop.rows(SILVER)} == {"2024-01": "hi", "2024-02": None}

    def test_columns_without_statistics_do_not_count_as_complete(self, shop: Shop, spark: Any) -> None:
        names = [f"c{n:02}" for n in range(40)]
        body: dict[str, Any] = {name: pa.Field(nullable=True) for name in names}
        annotations = {name: T.LongType() for name in names}
        wide = type("Wide", (pa.DataFrameModel,), {"__annotations__": annotations, "__module__": __name__, **body})

        def items() -> DataFrame:
            """Twenty full columns, then twenty empty ones; Delta keeps statistics of the first 32."""
            arrays = {name: pyarrow.array([n if n < 20 else None], pyarrow.int64()) for n, name in enumerate(names)}
            return from_arrow(spark, pyarrow.table(arrays))

        found = metadata(shop.run(silver(contract=wide, domain="shop")(items)), "silver/shop/items")
        assert found["quality/completeness"] == pytest.approx(100 * 20 / 32)


class TestSelections:
    def test_an_hour_of_timestamps_is_a_slice_with_its_own_quarantine(self, shop: Shop, spark: Any) -> None:
        hours = dg.HourlyPartitionsDefinition("2024-01-01-00:00", end_date="2024-01-02-00:00", timezone="Europe/Berlin")

        class Event(pa.DataFrameModel):
            """An event."""

            id: T.StringType() = pa.Field()
            n: T.LongType() = pa.Field(ge=0)
            hour: T.TimestampType() = pa.Field(metadata={"partition": True})

            @row_rule()
            def id_is_short(cls):
                return F.length("id") < 30

        def table(sign: int) -> Any:
            def events() -> DataFrame:
                """One good and one bad event per hour from one to three in Berlin."""
                at = [dt.datetime(2024, 1, 1, hour, tzinfo=dt.UTC) for hour in (0, 1)] * 2
                frame = pyarrow.table(
                    {
                        "id": ["a", "b", "bad a", "bad b"],
                        "n": [1, 1, sign, sign],
                        "hour": pyarrow.array(at, pyarrow.timestamp("us", "UTC")),
                    }
                )
                return from_arrow(spark, frame)

            return silver(contract=Event, partitions=hours, domain="shop", max_rejected=0.5)(events)

        span = ("2024-01-01-01:00", "2024-01-01-02:00")
        assert shop.run(table(-1), span=span).success
        found = [(row["slice"], row["rules"]) for row in shop.rows("quarantine/shop/events")]
        assert sorted(found) == [(span[0], ["n_ge"]), (span[1], ["n_ge"])]
        assert shop.run(table(1), span=span).success
        assert shop.rows("quarantine/shop/events") == []
        assert len(shop.rows("silver/shop/events")) == 4

    def test_a_grid_of_shops_and_months_is_written_cell_by_cell(self, shop: Shop, spark: Any) -> None:
        grid = dg.MultiPartitionsDefinition({"month": MONTHS, "shop": dg.StaticPartitionsDefinition(["a b", "l'eau"])})

        class Sale(pa.DataFrameModel):
            """A sale."""

            shop: T.StringType() = pa.Field(metadata={"partition": "shop"})
            month: T.DateType() = pa.Field(metadata={"partition": "month"})
            amount: T.LongType() = pa.Field(ge=0)

        def table(*rows: tuple[str, int, int]) -> Any:
            def sales() -> DataFrame:
                """Sales."""
                months = [dt.date(2024, month, 1) for _, month, _ in rows]
                amounts = [amount for _, _, amount in rows]
                columns = {"shop": [name for name, _, _ in rows], "month": months, "amount": amounts}
                return from_arrow(spark, pyarrow.table(columns))

            return silver(contract=Sale, partitions=grid, domain="shop", max_rejected=0.5)(sales)

        def key(name: str, month: str) -> dg.MultiPartitionKey:
            return dg.MultiPartitionKey({"shop": name, "month": month})

        assert shop.run(table(("a b", 1, 1), ("a b", 1, -1)), key=key("a b", "2024-01")).success
        assert shop.run(table(("l'eau", 1, 2)), key=key("l'eau", "2024-01")).success
        assert shop.run(table(("a b", 2, 3)), key=key("a b", "2024-02")).success
        assert shop.run(table(("a b", 1, 4)), key=key("a b", "2024-01")).success
        assert sorted(row["amount"] for row in shop.rows("silver/shop/sales")) == [2, 3, 4]
        assert shop.rows("quarantine/shop/sales") == []
        assert not shop.run(table(("a b", 2, 9)), key=key("a b", "2024-01")).success

    def test_a_month_reads_itself_and_the_one_before(self, shop: Shop) -> None:
        class Change(pa.DataFrameModel):
            """Orders of this month and the last."""

            month: T.DateType() = pa.Field(metadata={"partition": True})
            orders: T.LongType() = pa.Field()

        window = dg.AssetIn(
            key=dg.AssetKey(["silver", "shop", "orders"]),
            partition_mapping=dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=0),
        )

        def change(orders: DataFrame) -> DataFrame:
            """Orders of two months under the later one."""
            return orders.agg(F.max("month").alias("month"), F.count(F.lit(1)).alias("orders"))

        table = gold(contract=Change, partitions=MONTHS, domain="shop", ins={"orders": window})(change)
        for month in ("2024-01", "2024-02", "2024-03"):
            shop.land(month, f"{month},1.00,{month}-05 00:00:00,")
        shop.run(bronze_orders(), silver_orders(), span=("2024-01", "2024-03"))
        tables = [bronze_orders(), silver_orders(), table]
        for month in ("2024-01", "2024-02"):
            assert shop.run(*tables, key=month, selection='key:"gold/shop/change"').success
        assert [row["orders"] for row in shop.rows("gold/shop/change")] == [1, 2]


@pytest.mark.slow
class TestObjectStore:
    def test_the_whole_way_on_s3(self, tmp_path: Path) -> None:
        from medallion.engine.storage import storage_environment

        with s3_process("pipeline") as s3, storage_environment(s3.storage_options):
            shop = Shop(tmp_path, f"s3://{s3.bucket}/lake", s3.storage_options)
            for price in ("1.00", "3.00"):
                shop.land("2024-01", f"a,{price},2024-01-05 00:00:00,", BAD_PRICE)
                assert run_all(shop, key="2024-01").success
            assert shop.rows(GOLD) == [{"month": dt.date(2024, 1, 1), "revenue": Decimal("3.00")}]
            assert shop.quarantine() == [("silver", "2024-01", ["price_parses"])]
            assert shop.store.tables() == [
                tuple(label.split("/")) for label in (BRONZE, GOLD, "quarantine/shop/orders", SILVER)
            ]
