"""Checks of what a candidate must hold, on small candidates."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandera.pyspark as pa
import pyarrow
import pyspark.sql.types as T
import pytest

from medallion.audit import RowAudit
from medallion.checks import Balances, CandidateView
from medallion.completeness import Covers, EveryDay, NoOrphans, OneRow
from medallion.contracts import Contract
from medallion.engine.frames import from_arrow
from medallion.layers import gold
from medallion.partitions import WHOLE
from medallion.placement import Placement

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

MONTHS = dg.MonthlyPartitionsDefinition("2024-01", fmt="%Y-%m", end_date="2024-07")


class Sale(pa.DataFrameModel):
    """A sale of a month."""

    id: T.StringType() = pa.Field(nullable=True)
    email: T.StringType() = pa.Field(nullable=True, metadata={"pii": True})
    month: T.DateType() = pa.Field(metadata={"partition": True})


def _sales(sales: Any) -> Any:
    """Sales."""
    return sales


TABLE = gold(contract=Sale, partitions=MONTHS, domain="shop")(_sales)


def rows(**columns: Any) -> pyarrow.Table:
    return pyarrow.table(columns)


def sales(*found: tuple[str, int]) -> pyarrow.Table:
    """Sales by id and month of 2024."""
    months = pyarrow.array([dt.date(2024, month, 1) for _, month in found], pyarrow.date32())
    return pyarrow.table({"id": pyarrow.array([name for name, _ in found], "string"), "month": months})


def view(spark: SparkSession, found: pyarrow.Table, **tables: pyarrow.Table) -> CandidateView:
    return CandidateView(
        name="gold/shop/sales",
        contract=Contract.of(Sale),
        load=lambda: from_arrow(spark, found),
        audit=RowAudit(found.num_rows, 0, 0, 0),
        selection=WHOLE,
        read=lambda label: from_arrow(spark, tables[label.rsplit("/", 1)[-1]]),
        others=lambda key: None,
        rows_in=None,
        history=(),
        now=dt.datetime(2024, 3, 1, tzinfo=dt.UTC),
    )


def monthly(candidate: CandidateView, *keys: str) -> CandidateView:
    """The candidate as one of some months."""
    placement = Placement(TABLE, keys, {"id": "string", "month": "date"})
    audit = RowAudit(candidate.audit.passed, 0, 0, 0, {}, dict.fromkeys(keys, RowAudit(1, 0, 0, 0)))
    return replace(candidate, selection=TABLE.select(keys), placement=placement, audit=audit)


class TestCovers:
    CHECK = Covers(("id",), of="silver/shop/orders")

    def test_every_row_of_the_other_table_has_to_be_here(self, spark: SparkSession) -> None:
        found = self.CHECK.evaluate(view(spark, rows(id=["a"]), orders=rows(id=["a", "b", "c", "c"])))
        assert not found.passed
        assert found.metadata == {"missing_rows": 3, "samples": [{"id": "b"}, {"id": "c"}]}

    def test_rows_that_only_this_table_has_are_none_of_its_business(self, spark: SparkSession) -> None:
        assert self.CHECK.evaluate(view(spark, rows(id=["a", "x"]), orders=rows(id=["a"]))).passed

    def test_the_rows_that_count_can_be_chosen(self, spark: SparkSession) -> None:
        def paid(orders: DataFrame) -> DataFrame:
            return orders.where("paid")

        check = replace(self.CHECK, rows=paid)
        orders = rows(id=["a", "b"], paid=[True, False])
        assert check.evaluate(view(spark, rows(id=["a"]), orders=orders)).passed

    def test_a_personal_key_is_not_shown(self, spark: SparkSession) -> None:
        check = Covers(("email",), of="silver/shop/orders")
        found = check.evaluate(view(spark, rows(email=["b@x"]), orders=rows(email=["a@x"])))
        assert not found.passed
        assert "a@x" not in repr(found)

    def test_rows_of_months_that_are_not_written_are_not_missing(self, spark: SparkSession) -> None:
        candidate = view(spark, sales(("a", 2)), orders=sales(("a", 2), ("b", 3), ("c", 1)))
        assert self.CHECK.evaluate(monthly(candidate, "2024-02")).passed

    def test_rows_are_missing_in_their_month(self, spark: SparkSession) -> None:
        candidate = view(spark, sales(("a", 2)), orders=sales(("a", 2), ("b", 4), ("c", 4), ("d", 5)))
        found = self.CHECK.evaluate(monthly(candidate, "2024-02", "2024-04"))
        assert {key: part.metadata["missing_rows"] for key, part in found.partitions.items()} == {"2024-04": 2}
        assert (found.passed, found.metadata["missing_rows"]) == (False, 2)

    def test_it_is_named_after_the_other_table(self) -> None:
        assert (self.CHECK.name, self.CHECK.reads) == ("covers_orders", ("silver/shop/orders",))
        assert self.CHECK.description == "every (id) of silver/shop/orders is here"


class TestNoOrphans:
    CHECK = NoOrphans("id", of="gold/shop/facts", to="gold/shop/goods")

    def test_every_value_of_the_one_table_exists_in_the_other(self, spark: SparkSession) -> None:
        tables = {"facts": rows(id=["a", "x", "x", None]), "goods": rows(id=["a", "b"])}
        found = self.CHECK.evaluate(view(spark, rows(id=["q"]), **tables))
        assert (found.passed, dict(found.metadata)) == (False, {"orphans": 1, "samples": [{"id": "x"}]})
        tables["goods"] = rows(id=["a", "x"])
        assert self.CHECK.evaluate(view(spark, rows(id=["q"]), **tables)).passed

    def test_it_is_named_after_both_tables(self) -> None:
        assert (self.CHECK.name, self.CHECK.reads) == ("facts_id_in_goods", ("gold/shop/facts", "gold/shop/goods"))


class TestOneRow:
    @pytest.mark.parametrize(("required", "wrong"), [(False, ["two"]), (True, ["none", "two"])])
    def test_a_group_has_at_most_one_such_row_or_exactly_one(
        self, spark: SparkSession, required: bool, wrong: list[str]
    ) -> None:
        found = rows(id=["none", "one", "one", "two", "two"], now=[False, True, False, True, True])
        check = OneRow("one_now", where="now", by=("id",), required=required)
        finding = check.evaluate(view(spark, found))
        assert [sample["id"] for sample in finding.metadata["samples"]] == wrong
        assert finding.metadata["wrong_groups"] == len(wrong)
        assert check.evaluate(view(spark, found.slice(1, 2))).passed

    @pytest.mark.parametrize(("ids", "passed"), [(["u", "a"], True), (["a"], False), (["u", "u"], False)])
    def test_a_table_has_one_such_row(self, spark: SparkSession, ids: list[str], passed: bool) -> None:
        check = OneRow("one_unknown", where="id = 'u'", required=True)
        assert check.evaluate(view(spark, rows(id=pyarrow.array(ids, "string")))).passed is passed

    def test_a_condition_that_is_not_known_is_not_fulfilled(self, spark: SparkSession) -> None:
        found = rows(id=["a", "a"], now=pyarrow.array([True, None]))
        assert OneRow("one_now", where="now", by=("id",), required=True).evaluate(view(spark, found)).passed

    def test_all_wrong_groups_are_counted_and_five_are_shown(self, spark: SparkSession) -> None:
        found = rows(id=[f"k{n}" for n in range(7)], now=[False] * 7)
        metadata = OneRow("one_now", where="now", by=("id",), required=True).evaluate(view(spark, found)).metadata
        assert (metadata["wrong_groups"], len(metadata["samples"])) == (7, 5)

    def test_it_says_what_it_wants(self) -> None:
        check = OneRow("one_now", where="now", by=("id",))
        assert check.description == "at most one row where now of each (id)"
        assert OneRow("one", where="now", required=True).description == "exactly one row where now"


class TestEveryDay:
    CHECK = EveryDay("day", dt.date(2024, 2, 27), dt.date(2024, 3, 1))
    DAYS = (dt.date(2024, 2, 27), dt.date(2024, 2, 28), dt.date(2024, 2, 29), dt.date(2024, 3, 1))

    def test_all_days_of_the_span_pass(self, spark: SparkSession) -> None:
        assert self.CHECK.evaluate(view(spark, rows(day=list(self.DAYS)))).passed

    @pytest.mark.parametrize(
        "days",
        [DAYS[1:], DAYS[:-1], (*DAYS[:2], DAYS[3], DAYS[3]), (*DAYS, dt.date(2024, 3, 2))],
        ids=["begins late", "ends early", "has a hole", "has one more"],
    )
    def test_another_span_fails(self, spark: SparkSession, days: tuple[dt.date, ...]) -> None:
        found = self.CHECK.evaluate(view(spark, rows(day=pyarrow.array(days, pyarrow.date32()))))
        assert (found.passed, found.metadata["days_expected"]) == (False, 4)


def test_sums_of_months_that_are_not_written_do_not_unbalance_the_others(spark: SparkSession) -> None:
    from pyspark.sql import functions as F

    def counts(frame: DataFrame) -> DataFrame:
        return frame.groupBy("month").agg(F.count(F.lit(1)).alias("amount"))

    check = Balances("orders_balance", ("month",), counts, ("silver/shop/orders",), counts, "orders add up")
    candidate = view(spark, sales(("a", 2)), orders=sales(("a", 2), ("b", 3)))
    assert check.evaluate(monthly(candidate, "2024-02")).passed
    assert not check.evaluate(monthly(candidate, "2024-02", "2024-03")).passed
    assert not check.evaluate(candidate).passed
