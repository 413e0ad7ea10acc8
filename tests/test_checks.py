"""Table checks on small candidates."""

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from typing import Any

import dagster as dg
import pandera.pyspark as pa
import pyarrow
import pyspark.sql.types as T
import pytest
from pyspark.sql import functions as F

from medallion.audit import RowAudit
from medallion.checks import Balances, CandidateView, Fresh, References, RowCountInBounds, RowsReconcile, UniqueKey
from medallion.contracts import Contract
from medallion.engine.frames import from_arrow
from medallion.layers import gold
from medallion.partitions import WHOLE
from medallion.placement import Placement

NOW = dt.datetime(2024, 3, 1, 12, tzinfo=dt.UTC)


class Sale(pa.DataFrameModel):
    """A sale."""

    id: T.StringType() = pa.Field(nullable=True)
    email: T.StringType() = pa.Field(nullable=True, metadata={"pii": True})
    amount: T.DecimalType(12, 2) = pa.Field(nullable=True)


def table(**columns: Any) -> pyarrow.Table:
    return pyarrow.table(columns)


def view(spark: Any, rows: Any, **options: Any) -> CandidateView:
    tables = {name: from_arrow(spark, frame) for name, frame in options.pop("tables", {}).items()}
    others = options.pop("others", None)
    audit = options.pop("audit", RowAudit(rows.num_rows, 0, 0, 0))
    defaults: dict[str, Any] = {"selection": WHOLE, "rows_in": None, "history": (), "now": NOW, **options}
    return CandidateView(
        name="gold/shop/sales",
        contract=Contract.of(Sale),
        load=lambda: from_arrow(spark, rows),
        audit=audit,
        read=tables.__getitem__,
        others=lambda key: None if others is None else from_arrow(spark, others),
        **defaults,
    )


class TestUniqueKey:
    def test_distinct_keys_pass(self, spark: Any) -> None:
        found = UniqueKey(("id",)).evaluate(view(spark, table(id=["a", "b"])))
        assert (found.passed, dict(found.metadata)) == (True, {"repeated_keys": 0, "ratio": 0.0})

    def test_a_repeated_key_fails_with_its_value(self, spark: Any) -> None:
        found = UniqueKey(("id",)).evaluate(view(spark, table(id=["a", "a", "a", "b"])))
        assert not found.passed
        assert found.metadata == {"repeated_keys": 1, "ratio": 0.25, "samples": [{"id": "a"}]}

    def test_a_key_that_another_slice_has_fails(self, spark: Any) -> None:
        found = UniqueKey(("id",)).evaluate(view(spark, table(id=["a", "b"]), others=table(id=["b", "c", "c"])))
        assert found.metadata["samples"] == [{"id": "b"}]

    def test_repeats_among_the_other_slices_alone_are_not_this_writes_fault(self, spark: Any) -> None:
        assert UniqueKey(("id",)).evaluate(view(spark, table(id=["a"]), others=table(id=["c", "c"]))).passed

    def test_a_personal_key_is_not_shown(self, spark: Any) -> None:
        found = UniqueKey(("email",)).evaluate(view(spark, table(email=["a@x", "a@x"])))
        assert not found.passed
        assert "a@x" not in repr(found)

    def test_at_most_five_samples(self, spark: Any) -> None:
        found = UniqueKey(("id",)).evaluate(view(spark, table(id=[f"k{n // 2}" for n in range(20)])))
        assert (found.metadata["repeated_keys"], len(found.metadata["samples"])) == (10, 5)


class TestReferences:
    def test_every_value_must_exist_there(self, spark: Any) -> None:
        tables = {"silver/shop/products": table(product=["a", "b"])}
        found = References("id", "silver/shop/products", "product").evaluate(
            view(spark, table(id=["a", "x", "x", None]), tables=tables)
        )
        assert not found.passed
        assert found.metadata == {"unresolved_rows": 2, "ratio": 0.5, "samples": [{"id": "x"}]}

    def test_null_refers_to_nothing(self, spark: Any) -> None:
        tables = {"silver/shop/products": table(id=["a", "a"])}
        assert (
            References("id", "silver/shop/products").evaluate(view(spark, table(id=["a", None]), tables=tables)).passed
        )

    def test_it_is_named_after_column_and_table(self) -> None:
        check = References("id", "silver/shop/products")
        assert (check.name, check.reads) == ("id_in_products", ("silver/shop/products",))
        assert check.description == "every id exists in silver/shop/products"


class TestRowCountInBounds:
    @pytest.mark.parametrize(("rows", "passed"), [(49, False), (50, True), (100, True), (200, True), (201, False)])
    def test_the_median_of_earlier_writes_sets_the_bounds(self, spark: Any, rows: int, passed: bool) -> None:
        candidate = view(spark, table(id=["a"]), audit=RowAudit(rows, 0, 0, 0), history=(100, 5, 1000))
        found = RowCountInBounds().evaluate(candidate)
        assert (found.passed, found.metadata["median_before"]) == (passed, 100)

    def test_without_history_there_is_nothing_to_compare_with(self, spark: Any) -> None:
        assert RowCountInBounds().evaluate(view(spark, table(id=["a"]))).passed

    def test_it_warns_by_default(self) -> None:
        assert RowCountInBounds().severity == "WARN"


class TestFresh:
    @pytest.mark.parametrize(("hours", "passed"), [(23, True), (24, True), (25, False)])
    def test_the_newest_row_decides(self, spark: Any, hours: int, passed: bool) -> None:
        at = pyarrow.array(
            [NOW - dt.timedelta(hours=hours), NOW - dt.timedelta(days=9)], pyarrow.timestamp("us", "UTC")
        )
        found = Fresh("at", dt.timedelta(days=1)).evaluate(view(spark, table(at=at)))
        assert (found.passed, found.metadata["age_hours"]) == (passed, pytest.approx(hours))

    def test_a_date_counts_from_its_midnight(self, spark: Any) -> None:
        found = Fresh("day", dt.timedelta(hours=12)).evaluate(view(spark, table(day=[NOW.date()])))
        assert found.passed
        assert found.metadata["newest"] == "2024-03-01T00:00:00+00:00"

    def test_no_row_is_not_fresh(self, spark: Any) -> None:
        at = pyarrow.array([None], pyarrow.timestamp("us", "UTC"))
        assert not Fresh("at", dt.timedelta(days=1)).evaluate(view(spark, table(at=at))).passed


class TestBalances:
    @staticmethod
    def check(by: str = "id") -> Balances:
        def sums(frame: Any) -> Any:
            return frame.groupBy(by).agg(F.sum("amount").cast("decimal(18,2)").alias("amount"))

        return Balances("revenue", (by,), sums, ("silver/shop/items",), sums, "revenue is that of the items")

    @staticmethod
    def sales(*pairs: tuple[str, str], by: str = "id") -> pyarrow.Table:
        amounts = pyarrow.array([Decimal(amount) for _, amount in pairs], pyarrow.decimal128(12, 2))
        return pyarrow.table({by: [name for name, _ in pairs], "amount": amounts})

    def test_equal_sums_pass(self, spark: Any) -> None:
        candidate = view(
            spark,
            self.sales(("a", "1.10"), ("b", "2.00")),
            tables={"silver/shop/items": self.sales(("a", "1.00"), ("a", "0.10"), ("b", "2.00"))},
        )
        found = self.check().evaluate(candidate)
        assert (found.passed, dict(found.metadata)) == (True, {"groups": 2, "differing_groups": 0, "total": "3.10"})

    @pytest.mark.parametrize("theirs", [[("a", "1.11")], [], [("a", "1.10"), ("b", "0.01")]])
    def test_a_cent_or_a_missing_group_fails(self, spark: Any, theirs: list[tuple[str, str]]) -> None:
        candidate = view(
            spark, self.sales(("a", "1.10")), tables={"silver/shop/items": self.sales(*theirs, ("z", "0.00"))}
        )
        found = self.check().evaluate(candidate)
        assert not found.passed
        assert found.metadata["differing_groups"] == 1
        assert len(found.metadata["samples"]) == 1

    def test_personal_groups_are_not_shown(self, spark: Any) -> None:
        candidate = view(
            spark,
            self.sales(("eve@x", "1.10"), by="email"),
            tables={"silver/shop/items": self.sales(("eve@x", "2.00"), by="email")},
        )
        found = self.check("email").evaluate(candidate)
        assert not found.passed
        assert "eve@x" not in repr(found)


class TestPartitions:
    """Two months; what a check finds in each."""

    class Month(pa.DataFrameModel):
        """A sale of a month."""

        id: T.StringType() = pa.Field(nullable=True)
        amount: T.DecimalType(12, 2) = pa.Field(nullable=True)
        month: T.DateType() = pa.Field(metadata={"partition": True})

    def candidate(self, spark: Any, *rows: tuple[Any, ...], **options: Any) -> CandidateView:
        months = dg.MonthlyPartitionsDefinition("2024-01", fmt="%Y-%m", end_date="2024-04")
        table = gold(contract=self.Month, partitions=months, domain="shop")(_sales)
        keys = ("2024-01", "2024-02")
        counts = {key: sum(f"2024-{row[2]:02}" == key for row in rows) for key in keys}
        audit = RowAudit(len(rows), 0, 0, 0, {}, {key: RowAudit(n, 0, 0, 0) for key, n in counts.items()})
        view_of = view(spark, self.rows(*rows), audit=audit, **options)
        placement = Placement(table, keys, {"id": "string", "amount": "decimal(12,2)", "month": "date"})
        return replace(view_of, contract=table.contract, placement=placement)

    @staticmethod
    def rows(*rows: tuple[Any, ...]) -> pyarrow.Table:
        amounts = pyarrow.array([Decimal(amount) for _, amount, _ in rows], pyarrow.decimal128(12, 2))
        months = pyarrow.array([dt.date(2024, month, 1) for _, _, month in rows], pyarrow.date32())
        return pyarrow.table({"id": pyarrow.array([row[0] for row in rows]), "amount": amounts, "month": months})

    def test_a_repeated_key_is_found_in_every_partition_that_has_it(self, spark: Any) -> None:
        rows = [("a", "1", 1), ("a", "1", 1), (None, "1", 1), (None, "1", 2), ("b", "1", 2)]
        found = UniqueKey(("id",)).evaluate(self.candidate(spark, *rows))
        assert (found.metadata["repeated_keys"], found.metadata["samples"]) == (2, [{"id": None}, {"id": "a"}])
        assert {key: dict(part.metadata) for key, part in found.partitions.items()} == {
            "2024-01": {"repeated_keys": 2, "ratio": pytest.approx(2 / 3), "samples": [{"id": None}, {"id": "a"}]},
            "2024-02": {"repeated_keys": 1, "ratio": 0.5, "samples": [{"id": None}]},
        }

    def test_a_key_that_another_slice_has_spoils_the_partition_that_repeats_it(self, spark: Any) -> None:
        candidate = self.candidate(spark, ("a", "1", 1), ("b", "1", 2), others=table(id=["b"]))
        assert list(UniqueKey(("id",)).evaluate(candidate).partitions) == ["2024-02"]

    def test_a_reference_is_missing_in_its_partition(self, spark: Any) -> None:
        tables = {"silver/shop/products": table(id=["a"])}
        rows = [("a", "1", 1), ("x", "1", 2), ("x", "1", 2)]
        found = References("id", "silver/shop/products").evaluate(self.candidate(spark, *rows, tables=tables))
        assert {key: part.metadata["unresolved_rows"] for key, part in found.partitions.items()} == {"2024-02": 2}
        assert found.partitions["2024-02"].metadata["samples"] == [{"id": "x"}]

    @pytest.mark.parametrize(
        ("theirs", "partitions"),
        [
            ([("a", "1", 1), ("b", "2", 2)], ["2024-02"]),
            ([("a", "2", 1), ("b", "1", 2), ("c", "1", 2)], ["2024-01", "2024-02"]),
            ([("a", "1", 1), ("b", "1", 2), ("c", "1", 3)], []),
        ],
        ids=["one differs", "all differ", "one of a month that is not written"],
    )
    def test_sums_differ_in_their_partition(
        self, spark: Any, theirs: list[tuple[str, str, int]], partitions: list[str]
    ) -> None:
        def sums(frame: Any) -> Any:
            return frame.groupBy("month").agg(F.sum("amount").cast("decimal(18,2)").alias("amount"))

        check = Balances("balance", ("month",), sums, ("silver/shop/items",), sums, "sums agree")
        tables = {"silver/shop/items": self.rows(*theirs)}
        found = check.evaluate(self.candidate(spark, ("a", "1", 1), ("b", "1", 2), tables=tables))
        assert (found.passed, sorted(found.partitions)) == (False, partitions)

    def test_rows_that_change_their_partition_do_not_reconcile(self, spark: Any) -> None:
        candidate = self.candidate(spark, ("a", "1", 1), ("b", "1", 2), rows_in=2)
        assert RowsReconcile().evaluate(replace(candidate, rows_in_by_partition={"2024-01": 1, "2024-02": 1})).passed
        found = RowsReconcile().evaluate(replace(candidate, rows_in_by_partition={"2024-01": 2, "2024-02": 0}))
        assert (found.passed, sorted(found.partitions)) == (False, ["2024-01", "2024-02"])

    def test_counts_are_compared_with_the_partitions_own(self, spark: Any) -> None:
        candidate = self.candidate(spark, ("a", "1", 1), ("b", "1", 2))
        history = {"2024-01": (1, 1, 1), "2024-02": (9, 9, 9)}
        found = RowCountInBounds().evaluate(replace(candidate, history_by_partition=history))
        assert {key: dict(part.metadata) for key, part in found.partitions.items()} == {
            "2024-02": {"rows": 1, "median_before": 9}
        }


def _sales(sales: Any) -> Any:
    """Sales."""
    return sales


class TestRowsReconcile:
    @pytest.mark.parametrize(("rows_in", "passed"), [(15, True), (14, False), (16, False), (None, False)])
    def test_every_row_in_is_somewhere(self, spark: Any, rows_in: int | None, passed: bool) -> None:
        audit = RowAudit(passed=8, rejected=2, duplicates=1, merged=4)
        found = RowsReconcile().evaluate(view(spark, table(id=["a"]), audit=audit, rows_in=rows_in))
        assert found.passed is passed
        assert found.metadata == {"rows_in": rows_in, "rows_out": 8, "quarantined": 2, "deduplicated": 5}
