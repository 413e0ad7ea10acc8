"""Row rules on a frame: every row gets one outcome, and the stage tells how many broke what."""

from pathlib import Path
from typing import Any

import pandera.pyspark as pa
import pyarrow
import pyspark.sql.types as T
import pytest
from pyspark.sql import functions as F

from medallion.audit import RowAudit, annotate, audit_rows
from medallion.contracts import Contract, row_rule
from medallion.delta.frames import stage_writer
from medallion.delta.staging import write_stage
from medallion.delta.store import DeltaStore
from medallion.engine.frames import from_arrow


class Item(pa.DataFrameModel):
    """One row per item."""

    item: T.StringType() = pa.Field()
    price: T.LongType() = pa.Field(ge=0, le=100)
    at: T.LongType() = pa.Field(nullable=True)

    class Config:
        """The key."""

        unique = ["item"]

    @row_rule("WARN")
    def price_is_even(cls):
        """The price is even."""
        return F.col("price") % 2 == 0


ITEM = Contract.of(Item)


def frame(spark: Any, *rows: tuple[Any, ...], **columns: Any) -> Any:
    names = ("item", "price", "at")
    types = [pyarrow.string(), pyarrow.int64(), pyarrow.int64()]
    arrays = {name: pyarrow.array([row[n] for row in rows], types[n]) for n, name in enumerate(names)}
    return from_arrow(spark, pyarrow.table({**arrays, **columns}))


def outcomes(annotated: Any) -> list[tuple[Any, ...]]:
    rows = annotated.select("item", "price", "_outcome", "_errors").collect()
    return sorted([(row[0], row[1], row[2], tuple(row[3].split("\n")) if row[3] else ()) for row in rows], key=repr)


def audited(spark: Any, annotated: Any, folder: Path, contract: Contract = ITEM) -> RowAudit:
    store = DeltaStore(str(folder))
    return audit_rows(
        write_stage(store, ("silver", "shop", "items"), (), stage_writer(annotated, store)), contract, spark
    )


def test_a_row_that_keeps_every_rule_passes(spark: Any) -> None:
    assert outcomes(annotate(frame(spark, ("a", 1, 1), ("b", 100, None)), ITEM)) == [
        ("a", 1, "passed", ()),
        ("b", 100, "passed", ()),
    ]


def test_a_row_is_rejected_with_every_rule_it_broke(spark: Any) -> None:
    assert outcomes(annotate(frame(spark, (None, -1, 1), ("b", 101, 1), ("c", None, 1)), ITEM)) == [
        ("b", 101, "rejected", ("price_le",)),
        ("c", None, "rejected", ("price_not_null",)),
        (None, -1, "rejected", ("item_not_null", "price_ge")),
    ]


def test_a_warning_rejects_nothing(spark: Any) -> None:
    rows = annotate(frame(spark, ("a", 1, 1), ("b", 2, 1)), ITEM).orderBy("item").collect()
    assert [(row["_outcome"], row["_warnings"]) for row in rows] == [("passed", "price_is_even"), ("passed", None)]


def test_a_value_that_did_not_parse_is_not_called_missing_as_well(spark: Any) -> None:
    unparsed = pyarrow.array([["price_parses"], []], pyarrow.list_(pyarrow.string()))
    rows = frame(spark, ("a", None, 1), ("b", None, 1), _unparsed=unparsed)
    assert outcomes(annotate(rows, ITEM)) == [
        ("a", None, "rejected", ("price_parses",)),
        ("b", None, "rejected", ("price_not_null",)),
    ]


def test_the_latest_row_of_a_key_wins(spark: Any) -> None:
    rows = frame(spark, ("a", 1, 1), ("a", 2, 3), ("a", 3, 2), ("a", 4, None), ("b", 5, 1))
    assert outcomes(annotate(rows, ITEM, latest_by=("at",))) == [
        ("a", 1, "duplicate", ()),
        ("a", 2, "passed", ()),
        ("a", 3, "duplicate", ()),
        ("a", 4, "duplicate", ()),
        ("b", 5, "passed", ()),
    ]


def test_a_rejected_row_never_wins_over_a_good_one(spark: Any) -> None:
    rows = frame(spark, ("a", 1, 1), ("a", -2, 9))
    assert outcomes(annotate(rows, ITEM, latest_by=("at",))) == [
        ("a", -2, "rejected", ("price_ge",)),
        ("a", 1, "passed", ()),
    ]


def test_between_equals_the_same_row_wins_whatever_the_order(spark: Any) -> None:
    rows = [("a", n, 1) for n in range(8)]
    winners = set()
    for order in (rows, rows[::-1], rows[3:] + rows[:3]):
        annotated = annotate(frame(spark, *order), ITEM, latest_by=("at",))
        winners |= {row[1] for row in outcomes(annotated) if row[2] == "passed"}
    assert len(winners) == 1


def test_of_exact_repeats_one_stays(spark: Any) -> None:
    annotated = annotate(frame(spark, *[("a", 1, 1)] * 3), ITEM, latest_by=("at",))
    assert [row[2] for row in outcomes(annotated)] == ["duplicate", "duplicate", "passed"]


def test_without_latest_by_nothing_is_deduplicated(spark: Any) -> None:
    assert [row[2] for row in outcomes(annotate(frame(spark, *[("a", 1, 1)] * 2), ITEM))] == ["passed", "passed"]


def test_only_the_columns_of_the_contract_and_those_of_quarantine_are_left(spark: Any) -> None:
    rows = frame(spark, ("a", 1, 1), helper=["x"], _batch=["2024-01"], _rows=[2])
    columns = annotate(rows, ITEM).columns
    assert columns == ["item", "price", "at", "_outcome", "_raw", "_errors", "_batch", "_rows", "_warnings"]


def test_a_contract_that_declares_the_batch_itself_has_it_once(spark: Any) -> None:
    from medallion.landed import LandedByBatch

    rows = from_arrow(
        spark, pyarrow.table({**{name: ["x"] for name in ("_source_file", "_row_hash", "_batch")}, "_source_row": [1]})
    ).withColumn("_ingested_at", F.current_timestamp())
    annotated = annotate(rows, Contract.of(LandedByBatch))
    assert annotated.columns.count("_batch") == 1
    assert annotated.collect()[0]["_outcome"] == "passed"


def test_a_rejected_row_keeps_what_arrived(spark: Any) -> None:
    import json

    rows = frame(spark, ("a", -1, 1), ("b", 1, 1)).withColumn("_raw", F.struct(F.lit(" -1 €").alias("price text")))
    raws = [row["_raw"] for row in annotate(rows, ITEM).orderBy("item").collect()]
    assert json.loads(raws[0]) == {"price text": " -1 €"}
    assert raws[1] is None


def test_a_rejected_row_without_raw_values_keeps_its_own(spark: Any) -> None:
    import json

    rows = annotate(frame(spark, ("a", -1, None)), ITEM).collect()
    assert json.loads(rows[0]["_raw"]).items() >= {"item": "a", "price": -1}.items()


def test_the_stage_tells_counts_and_shares(spark: Any, tmp_path: Path) -> None:
    rows = [("a", 2, 1), ("a", 4, 2), ("b", -1, 1), ("c", 101, 1), ("d", 6, 1)]
    audit = audited(spark, annotate(frame(spark, *rows), ITEM, latest_by=("at",)), tmp_path)
    assert (audit.passed, audit.rejected, audit.duplicates, audit.total) == (2, 2, 1, 5)
    assert audit.rejected_share == pytest.approx(0.4)
    assert {name: count.rows for name, count in audit.broken.items()} == {"price_ge": 1, "price_le": 1}


def test_at_most_five_keys_are_shown(spark: Any, tmp_path: Path) -> None:
    rows = [(f"k{n}", -1, 1) for n in range(9)]
    count = audited(spark, annotate(frame(spark, *rows), ITEM), tmp_path).broken["price_ge"]
    assert count.rows == 9
    assert [sample["item"] for sample in count.samples] == ["k0", "k1", "k2", "k3", "k4"]


def test_warnings_are_counted_among_the_rows_that_pass(spark: Any, tmp_path: Path) -> None:
    rows = [("a", 1, 1), ("b", 3, 1), ("c", -3, 1), ("d", 2, 1)]
    audit = audited(spark, annotate(frame(spark, *rows), ITEM), tmp_path)
    assert (audit.broken["price_is_even"].rows, audit.broken["price_ge"].rows) == (2, 1)


def test_a_personal_key_is_counted_and_never_shown(spark: Any, tmp_path: Path) -> None:
    class Customer(pa.DataFrameModel):
        """A customer."""

        item: T.StringType() = pa.Field(metadata={"pii": True})
        price: T.LongType() = pa.Field(ge=0)

        class Config:
            """The key."""

            unique = ["item"]

    contract = Contract.of(Customer)
    audit = audited(spark, annotate(frame(spark, ("eve@x", -1, 1), ("bob@x", -2, 1)), contract), tmp_path, contract)
    assert (audit.broken["price_ge"].rows, audit.broken["price_ge"].samples) == (2, ())
    assert "@x" not in repr(audit)


def test_rows_that_the_transform_merged_are_counted(spark: Any, tmp_path: Path) -> None:
    rows = frame(spark, ("a", 1, 1), ("b", -1, 1), ("c", 3, 1), _rows=pyarrow.array([3, 2, None], pyarrow.int64()))
    assert audited(spark, annotate(rows, ITEM), tmp_path).merged == 3


def test_no_rows_are_an_audit_of_zeros(spark: Any, tmp_path: Path) -> None:
    audit = audited(spark, annotate(frame(spark, ("a", 1, 1)).where("false"), ITEM), tmp_path)
    assert audit == RowAudit(0, 0, 0, 0, {})
    assert audit.rejected_share == 0.0
