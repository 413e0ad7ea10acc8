"""Every check of every gold table: it passes the sound table, and it catches the defect that it is there for."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from medallion.audit import ERRORS, RowAudit, annotate, broken_rules
from medallion.checks import CandidateView
from medallion.delta.staging import OUTCOME, REJECTED
from medallion.partitions import WHOLE, Slice
from tests.fixtures.pagila_silver import GOLD, MODELS, build, changed, frame, make, shop

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

    from medallion.checks import TableCheck

CHECKS = [(name, check.name) for name in sorted(GOLD) for check in GOLD[name].checks]
UNKNOWN = "unknown"
CENT = Decimal("0.01")


@dataclass(frozen=True)
class Shop:
    """The sound tables by label."""

    spark: SparkSession
    tables: Mapping[str, pa.Table]

    def view(self, name: str, selection: Slice = WHOLE, **replaced: pa.Table) -> CandidateView:
        """A gold table as a candidate; tables by the end of their label can be replaced."""
        table = GOLD[name]
        tables = {label: replaced.get(label.rsplit("/", 1)[-1], rows) for label, rows in self.tables.items()}
        candidate = tables[table.label]
        return CandidateView(
            name=table.label,
            contract=table.contract,
            load=lambda: frame(self.spark, candidate),
            audit=RowAudit(candidate.num_rows, 0, 0, 0),
            selection=selection,
            read=lambda label: frame(self.spark, tables[label]),
            others=lambda key: None,
            rows_in=None,
            history=(self.tables[table.label].num_rows,) * 3,
            now=dt.datetime(2023, 1, 1, tzinfo=dt.UTC),
        )


@pytest.fixture(scope="module")
def sound(spark: SparkSession) -> Shop:
    """The shop, all of whose staff work in a store that it has."""
    silver = shop()
    silver["staff"] = changed(silver["staff"], {"store_id": 9}, store_id=2)
    return Shop(spark, build(spark, silver))


def check_of(name: str, check: str) -> TableCheck:
    (found,) = [known for known in GOLD[name].checks if known.name == check]
    return found


Defect = Callable[["pa.Table"], "pa.Table"]


def repeated(rows: pa.Table) -> pa.Table:
    """The first row twice."""
    import pyarrow as pa

    return pa.concat_tables([rows, rows.slice(0, 1)])


def without(rows: pa.Table, **row: Any) -> pa.Table:
    """Without the rows that have these values."""
    import pyarrow as pa

    found = rows.to_pylist()
    kept = [known for known in found if not all(known[name] == value for name, value in row.items())]
    assert len(kept) < len(found)
    return pa.Table.from_pylist(kept, schema=rows.schema)


def other(row: Mapping[str, Any], **values: Any) -> Defect:
    """Other values in the rows that have those of `row`."""
    return partial(changed, row=row, **values)


def lacks(**row: Any) -> Defect:
    """Rows are not there."""
    return partial(without, **row)


OUTSIDE = dt.date(1999, 12, 31)
RENTAL, PAYMENT = {"rental_id": 3}, {"payment_id": 7}
DEFECTS: dict[str, dict[str, Defect]] = {
    "dim_date": {"every_day_is_there": lacks(date=dt.date(2024, 2, 29))},
    "dim_store": {
        "one_unknown_member": lacks(store_key=UNKNOWN),
        "covers_store": lacks(store_id=2),
    },
    "dim_staff": {
        "one_unknown_member": lacks(staff_key=UNKNOWN),
        "covers_staff": lacks(staff_id=3),
        "store_id_in_store": other({"staff_id": 2}, store_id=7),
    },
    "dim_customer": {
        "one_unknown_member": other({"customer_id": 4}, customer_key=UNKNOWN),
        "one_current_version": other({"customer_id": 1}, is_current=True),
        "covers_customer": lacks(customer_id=5, version=1),
        "store_key_in_dim_store": other({"customer_id": 4}, store_key="9"),
    },
    "dim_film": {
        "one_unknown_member": lacks(film_key=UNKNOWN),
        "one_current_version": other({"film_id": 1}, is_current=True),
        "covers_film": lacks(film_id=1, version=1),
    },
    "fact_rental": {
        "covers_rental": lacks(rental_id=12),
        "rental_id_in_rental": other(RENTAL, rental_id=1000),
        "customer_key_in_dim_customer": other(RENTAL, customer_key="gone"),
        "film_key_in_dim_film": other(RENTAL, film_key="gone"),
        "inventory_store_key_in_dim_store": other(RENTAL, inventory_store_key="9"),
        "staff_key_in_dim_staff": other(RENTAL, staff_key="9"),
        "staff_store_key_in_dim_store": other(RENTAL, staff_store_key="9"),
        "rental_date_in_dim_date": other(RENTAL, rental_date=OUTSIDE),
        "return_date_in_dim_date": other(RENTAL, return_date=OUTSIDE),
        "amount_paid_balances_with_silver": other(RENTAL, amount_paid=Decimal("75.06") + CENT),
    },
    "fact_payment": {
        "covers_payment": lacks(payment_id=14),
        "payment_id_in_payment": other(PAYMENT, payment_id=1000),
        "customer_key_in_dim_customer": other(PAYMENT, customer_key="gone"),
        "inventory_store_key_in_dim_store": other(PAYMENT, inventory_store_key="9"),
        "staff_key_in_dim_staff": other(PAYMENT, staff_key="9"),
        "staff_store_key_in_dim_store": other(PAYMENT, staff_store_key="9"),
        "payment_date_in_dim_date": other(PAYMENT, payment_date=OUTSIDE),
        "amount_balances_with_silver": other(PAYMENT, amount=Decimal("75.06") - CENT),
    },
    "customer_metrics": {
        "covers_customer": lacks(customer_id=4),
        "customer_key_in_dim_customer": other({"customer_id": 4}, customer_key="gone"),
        "revenue_balances_with_silver": other({"customer_id": 1}, revenue=Decimal("101.02") - CENT),
        "rentals_balance_with_silver": other({"customer_id": 2}, rentals=2),
    },
    "monthly_revenue": {
        "month_in_dim_date": other({"month": dt.date(2022, 7, 1)}, month=dt.date(1999, 7, 1)),
        "revenue_balances_with_silver": lacks(month=dt.date(2022, 3, 1)),
        "rentals_balance_with_silver": lacks(month=dt.date(2022, 12, 1)),
    },
    "store_scorecard": {
        "covers_store": lacks(store_key="2"),
        "store_key_in_dim_store": other({"store_key": "1"}, store_key="9"),
        "revenue_by_staff_balances_with_silver": other({"store_key": "1"}, revenue_by_staff=Decimal("198.12")),
        "revenue_by_inventory_balances_with_silver": other({"store_key": "1"}, revenue_by_inventory=Decimal("125.90")),
    },
    "top_titles": {
        "film_key_in_dim_film": other({"film_id": 1}, film_key="gone"),
        "revenue_balances_with_silver": other({"film_id": 8}, revenue=CENT),
        "rentals_balance_with_silver": lacks(film_id=8),
    },
}
"""What is wrong with the candidate, by table and check; every table has `COMMON` besides."""

COMMON: dict[str, Defect] = {"key_is_unique": repeated, "row_count_in_bounds": lambda rows: rows.slice(0, 0)}
ELSEWHERE: dict[tuple[str, str], tuple[str, Defect]] = {
    ("customer_metrics", "fact_rental_customer_key_in_dim_customer"): (
        "fact_rental",
        other({"rental_id": 4}, customer_key="gone"),
    ),
    ("customer_metrics", "fact_payment_customer_key_in_dim_customer"): (
        "fact_payment",
        other({"payment_id": 8}, customer_key="gone"),
    ),
    ("top_titles", "fact_rental_film_key_in_dim_film"): ("dim_film", lacks(film_id=1, version=1)),
}
"""What is wrong with another table, of which the candidate knows nothing."""


@pytest.mark.parametrize(("name", "check"), CHECKS)
def test_a_check_passes_the_sound_table_and_catches_its_defect(sound: Shop, name: str, check: str) -> None:
    where, defect = ELSEWHERE.get((name, check)) or (name, {**COMMON, **DEFECTS[name]}[check])
    (label,) = [label for label in sound.tables if label.endswith(f"/{where}")]
    broken = defect(sound.tables[label])
    found = check_of(name, check)
    assert found.evaluate(sound.view(name)).passed
    assert not found.evaluate(sound.view(name, **{where: broken})).passed


def test_no_planted_defect_is_of_a_check_that_no_longer_exists() -> None:
    planted = {(name, check) for name, checks in DEFECTS.items() for check in checks} | set(ELSEWHERE)
    assert planted <= set(CHECKS)


def test_all_checks_block_but_those_of_row_counts_and_of_a_store_in_quarantine() -> None:
    warnings = {(name, check) for name, check in CHECKS if check_of(name, check).severity == "WARN"}
    assert warnings == {("dim_staff", "store_id_in_store"), *((name, "row_count_in_bounds") for name in GOLD)}
    assert len(CHECKS) >= 40


@pytest.mark.parametrize("name", ["fact_rental", "fact_payment"])
def test_a_run_of_some_months_is_checked_against_silver_of_these_months(sound: Shop, name: str) -> None:
    july = GOLD[name].select(["2022-07"])
    rows = make(sound.spark, name, sound.tables, july)
    assert 0 < rows.num_rows < sound.tables[GOLD[name].label].num_rows
    candidate = sound.view(name, july, **{name: rows})
    blocking = [check for check in GOLD[name].checks if check.severity == "ERROR"]
    assert [check.name for check in blocking if not check.evaluate(candidate).passed] == []
    covers = next(check for check in GOLD[name].checks if check.name.startswith("covers_"))
    assert not covers.evaluate(sound.view(name, july, **{name: rows.slice(1)})).passed


@pytest.mark.parametrize(("fact", "column"), [("fact_rental", "rental_month"), ("fact_payment", "payment_month")])
def test_a_month_that_no_run_made_is_missed_by_the_marts(sound: Shop, fact: str, column: str) -> None:
    label = GOLD[fact].label
    tables = {**sound.tables, label: without(sound.tables[label], **{column: dt.date(2022, 7, 1)})}
    for mart in ("customer_metrics", "monthly_revenue"):
        rows = make(sound.spark, mart, tables)
        candidate = sound.view(mart, **{mart: rows, fact: tables[label]})
        failed = [check.name for check in GOLD[mart].checks if not check.evaluate(candidate).passed]
        assert failed == [f"{'rentals_balance' if fact == 'fact_rental' else 'revenue_balances'}_with_silver"]


BROKEN_VALUES = {"ge": -1, "isin": "Tin", "in_range": 1.5}
BROKEN_MONTHS = {
    "rental_is_of_its_month": {"rental_month": dt.date(2022, 1, 1)},
    "payment_is_of_its_month": {"payment_month": dt.date(2022, 1, 2)},
}


@pytest.mark.parametrize("name", sorted(GOLD))
def test_every_row_rule_rejects_the_row_that_breaks_it_and_no_other(sound: Shop, name: str) -> None:
    import pyarrow as pa

    table = GOLD[name]
    rows = sound.tables[table.label]
    good = max(rows.to_pylist(), key=lambda row: sum(value is not None for value in row.values()))
    defects = []
    for rule in table.contract.rules:
        if rule.column is None:
            change = BROKEN_MONTHS[rule.name]
        else:
            short = rule.name.removeprefix(f"{rule.column}_")
            change = {rule.column: None if short == "not_null" else BROKEN_VALUES[short]}
        defects.append({**good, **change})
    broken = pa.Table.from_pylist([good, *defects], schema=rows.schema)
    found = annotate(frame(sound.spark, broken), table.contract)
    outcomes = found.select(OUTCOME, broken_rules(found[ERRORS])).collect()
    assert outcomes[0][OUTCOME] != REJECTED
    assert [row[1] for row in outcomes[1:]] == [[rule.name] for rule in table.contract.rules]


def test_the_hand_written_silver_keeps_the_rules_of_silver(sound: Shop) -> None:
    from pyspark.sql import functions as F

    from medallion.contracts import Contract

    read_at = F.lit("2023-01-01").cast("timestamp")
    for name, model in MODELS.items():
        contract = Contract.of(model).incoming
        rows = frame(sound.spark, sound.tables[f"silver/pagila/{name}"]).withColumn("_ingested_at", read_at)
        found = annotate(rows, contract)
        assert [row[ERRORS] for row in found.where(F.col(OUTCOME) == REJECTED).collect()] == [], name
