"""The star of Pagila on a shop of a few rows: which version a fact has, who is unknown, and what a rental was paid."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.pagila.contracts.gold import UNKNOWN
from assets.pagila.partitions import MONTH
from medallion.checks import Balances, References
from medallion.completeness import Covers
from tests.fixtures.pagila_silver import GOLD, MODELS, ORDER, at, build, customer, make, payment, rental, shop, table_of

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

    Tables = dict[str, pa.Table]


@pytest.fixture(scope="module")
def tables(spark: SparkSession) -> Tables:
    return build(spark, shop())


def by(tables: Tables, name: str, key: str) -> dict[Any, dict[str, Any]]:
    """The rows of a gold table by a column."""
    return {row[key]: row for row in tables[f"gold/pagila/{name}"].to_pylist()}


def key_of(tables: Tables, customer_id: int, version: int) -> str:
    (found,) = [
        row["customer_key"]
        for row in tables["gold/pagila/dim_customer"].to_pylist()
        if (row["customer_id"], row["version"]) == (customer_id, version)
    ]
    return str(found)


def test_gold_has_eleven_tables_of_which_the_facts_are_partitioned_by_month() -> None:
    assert sorted(GOLD) == sorted(ORDER)
    assert {name for name, table in GOLD.items() if table.partitions is MONTH} == {"fact_rental", "fact_payment"}
    assert {table.partitions for table in GOLD.values()} == {MONTH, None}


@pytest.mark.parametrize("name", sorted(GOLD))
def test_every_gold_table_has_an_owner_an_hours_freshness_a_key_and_described_columns(name: str) -> None:
    table = GOLD[name]
    assert all([table.owners, table.contract.key, table.description])
    assert table.freshness is not None
    assert table.freshness.fail_window.to_timedelta() == dt.timedelta(hours=1)
    assert [column.name for column in table.contract.columns if not column.description.endswith(".")] == []


@pytest.mark.parametrize("name", sorted(GOLD))
def test_all_money_of_gold_is_of_one_type(name: str) -> None:
    types = {column.type.simpleString() for column in GOLD[name].contract.columns}
    assert {kind for kind in types if kind.startswith(("decimal", "float"))} <= {"decimal(18,2)"}


@pytest.mark.parametrize("name", ["fact_rental", "fact_payment"])
def test_every_key_of_a_fact_must_exist_in_its_dimension_and_all_of_silver_in_the_fact(name: str) -> None:
    table = GOLD[name]
    keys = {check.column: check.to for check in table.checks if isinstance(check, References)}
    wanted = [column.name for column in table.contract.columns if column.name.endswith(("_key", "_date"))]
    assert {column for column, to in keys.items() if to.startswith("gold/pagila/dim_")} == set(wanted)
    silver = f"silver/pagila/{name.removeprefix('fact_')}"
    assert keys[f"{name.removeprefix('fact_')}_id"] == silver
    assert [check.of for check in table.checks if isinstance(check, Covers)] == [silver]
    assert len([check for check in table.checks if isinstance(check, Balances)]) == 1


def test_the_calendar_has_every_day_from_2000_to_2030_and_agrees_with_pythons(tables: Tables) -> None:
    calendar = by(tables, "dim_date", "date")
    first, last = dt.date(2000, 1, 1), dt.date(2030, 12, 31)
    assert sorted(calendar) == [first + dt.timedelta(days=day) for day in range((last - first).days + 1)]
    for date, row in calendar.items():
        assert (row["iso_year"], row["iso_week"], row["iso_weekday"]) == tuple(date.isocalendar())
        assert (row["year"], row["quarter"], row["month"]) == (date.year, (date.month + 2) // 3, date.month)
        assert (row["day"], row["month_start"]) == (date.day, date.replace(day=1))
        assert (row["weekday_name"], row["is_weekend"]) == (date.strftime("%A"), date.isoweekday() > 5)


@pytest.mark.parametrize("name", ["dim_customer", "dim_film", "dim_staff", "dim_store"])
def test_a_dimension_without_any_row_still_has_the_unknown_member(spark: SparkSession, name: str) -> None:
    nothing = {f"silver/pagila/{table}": table_of(table, []) for table in MODELS}
    stores = make(spark, "dim_store", nothing)
    (member,) = make(spark, name, {**nothing, "gold/pagila/dim_store": stores}).to_pylist()
    assert member[f"{name.removeprefix('dim_')}_key"] == UNKNOWN
    assert member[f"{name.removeprefix('dim_')}_id"] is None


def test_what_a_member_refers_to_is_unknown_if_silver_lacks_it(tables: Tables) -> None:
    assert by(tables, "dim_store", "store_id")[2]["city"] == UNKNOWN
    assert by(tables, "dim_staff", "staff_id")[3]["store_key"] == UNKNOWN
    bela, dora = (by(tables, "dim_customer", "customer_id")[number] for number in (2, 4))
    assert (bela["city"], bela["country"], bela["store_key"]) == (UNKNOWN, UNKNOWN, "1")
    assert (dora["city"], dora["country"], dora["store_key"]) == ("Lima", "Peru", UNKNOWN)


def test_the_key_of_a_version_is_the_same_whatever_versions_come_before_and_after(spark: SparkSession) -> None:
    def keys(*versions: dict[str, Any]) -> dict[Any, Any]:
        silver = {**{name: table_of(name, []) for name in MODELS}, "customer": table_of("customer", list(versions))}
        tables = {f"silver/pagila/{name}": rows for name, rows in silver.items()}
        tables["gold/pagila/dim_store"] = make(spark, "dim_store", tables)
        return {row["valid_from"]: row["customer_key"] for row in make(spark, "dim_customer", tables).to_pylist()}

    old, now, new = customer(1, "a", at(1, 1), at(2, 1)), customer(1, "b", at(2, 1)), customer(1, "c", at(3, 1))
    alone = keys(now)
    more = keys(old, {**now, "valid_to": at(3, 1), "is_current": False}, new)
    assert more[at(2, 1)] == alone[at(2, 1)]
    assert len(set(more.values())) == 4


@pytest.mark.parametrize(
    ("rental_id", "customer_id", "version"),
    [(2, 1, 1), (3, 1, 2), (4, 2, 1)],
    ids=["while the version held", "at the moment a version began", "before the first version"],
)
def test_a_rental_has_the_version_of_its_customer_that_held_then(
    tables: Tables, rental_id: int, customer_id: int, version: int
) -> None:
    found = by(tables, "fact_rental", "rental_id")[rental_id]
    assert (found["customer_id"], found["customer_key"]) == (customer_id, key_of(tables, customer_id, version))


@pytest.mark.parametrize("rental_id", [6, 7, 8], ids=["after the last version", "between two", "of nobody"])
def test_a_rental_at_a_moment_without_a_version_is_of_the_unknown_customer(tables: Tables, rental_id: int) -> None:
    assert by(tables, "fact_rental", "rental_id")[rental_id]["customer_key"] == UNKNOWN


def test_a_rental_has_the_film_as_it_was_then_and_the_store_of_its_copy_and_of_its_staff(tables: Tables) -> None:
    rentals, films = by(tables, "fact_rental", "rental_id"), by(tables, "dim_film", "film_key")
    assert [films[rentals[number]["film_key"]]["title"] for number in (2, 3, 4)] == ["ALPHA", "ALPHA UNCUT", "BETA"]
    stores = ("inventory_store_key", "staff_key", "staff_store_key")
    assert [tuple(rentals[number][name] for name in stores) for number in (4, 5, 8, 10, 6)] == [
        ("2", "1", "1"),
        ("1", "2", "2"),
        (UNKNOWN, "1", "1"),
        ("2", UNKNOWN, UNKNOWN),
        ("1", "3", UNKNOWN),
    ]
    assert (rentals[9]["film_id"], rentals[9]["film_key"]) == (None, UNKNOWN)
    assert (rentals[10]["film_id"], rentals[10]["film_key"]) == (8, UNKNOWN)


@pytest.mark.parametrize(
    ("rental_id", "is_late"),
    [(1, False), (2, True), (3, True), (4, None), (9, None)],
    ids=["to the microsecond", "by a microsecond", "by the film's new duration", "still out", "film not known"],
)
def test_a_rental_is_late_if_it_came_back_after_the_days_of_its_film(
    tables: Tables, rental_id: int, is_late: bool | None
) -> None:
    assert by(tables, "fact_rental", "rental_id")[rental_id]["is_late"] is is_late


def test_a_rental_with_six_payments_is_one_row_with_their_sum(tables: Tables) -> None:
    rentals = by(tables, "fact_rental", "rental_id")
    assert tables["gold/pagila/fact_rental"].num_rows == len(rentals) == 12
    assert (rentals[1]["payments"], rentals[1]["amount_paid"]) == (6, Decimal("25.05"))
    assert (rentals[12]["payments"], rentals[12]["amount_paid"]) == (0, Decimal("0.00"))


def test_a_payment_belongs_to_the_customer_who_paid(tables: Tables) -> None:
    payments, rentals = by(tables, "fact_payment", "payment_id"), by(tables, "fact_rental", "rental_id")
    assert (payments[6]["rental_id"], payments[6]["customer_id"]) == (1, 2)
    assert payments[6]["customer_key"] == key_of(tables, 2, 1)
    assert rentals[1]["customer_key"] == key_of(tables, 1, 1)


def test_a_payment_names_the_store_of_who_took_it_and_the_store_of_the_copy(tables: Tables) -> None:
    stores = {
        number: (row["staff_store_key"], row["inventory_store_key"])
        for number, row in by(tables, "fact_payment", "payment_id").items()
    }
    assert (stores[8], stores[6]) == (("1", "2"), ("2", "1"))
    assert {number for number, (_, copy) in stores.items() if copy == UNKNOWN} == {10, 11, 12, 15}


def test_days_and_months_are_those_of_utc(tables: Tables) -> None:
    rentals, payments = by(tables, "fact_rental", "rental_id"), by(tables, "fact_payment", "payment_id")
    days = {number: (rentals[number]["rental_date"], rentals[number]["rental_month"]) for number in (1, 12)}
    assert days == {
        1: (dt.date(2022, 5, 31), dt.date(2022, 5, 1)),
        12: (dt.date(2022, 12, 31), dt.date(2022, 12, 1)),
    }
    assert (payments[13]["payment_date"], payments[13]["payment_month"]) == (dt.date(2022, 6, 30), dt.date(2022, 6, 1))
    assert (rentals[1]["days_out"], rentals[4]["days_out"]) == (3.0, None)


@pytest.mark.parametrize(("name", "month"), [("fact_rental", "rental_month"), ("fact_payment", "payment_month")])
def test_a_run_of_some_months_makes_the_rows_that_a_run_of_all_makes_of_them(
    spark: SparkSession, tables: Tables, name: str, month: str
) -> None:
    some = make(spark, name, tables, GOLD[name].select(["2022-06", "2022-08", "2030-01"]))
    chosen = (dt.date(2022, 6, 1), dt.date(2022, 8, 1))
    expected = [row for row in tables[GOLD[name].label].to_pylist() if row[month] in chosen]
    (key, *_) = GOLD[name].contract.key
    assert some.num_rows > 2
    assert sorted(some.to_pylist(), key=lambda row: row[key]) == sorted(expected, key=lambda row: row[key])


CENTS = st.integers(-500, 99_999).map(lambda cents: Decimal(cents) / 100)
WHEN = st.datetimes(dt.datetime(2021, 11, 1), dt.datetime(2023, 2, 1), timezones=st.just(dt.UTC))
RENTALS = st.lists(st.tuples(WHEN, st.integers(1, 6), st.integers(1, 7)), max_size=8)
PAYMENTS = st.lists(st.tuples(WHEN, st.integers(1, 6), st.none() | st.integers(1, 9), CENTS), max_size=12)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(RENTALS, PAYMENTS)
def test_whatever_is_rented_and_paid_no_row_and_no_cent_gets_lost_or_multiplied(
    spark: SparkSession, rented: Any, paid: Any
) -> None:
    silver = shop()
    rentals = [rental(number, who, copy, when, None) for number, (when, who, copy) in enumerate(rented, 1)]
    payments = [payment(number, who, of, str(amount), when) for number, (when, who, of, amount) in enumerate(paid, 1)]
    silver |= {"rental": table_of("rental", rentals), "payment": table_of("payment", payments)}
    made = build(spark, silver)
    amounts = {
        (name, column): sum(made[f"gold/pagila/{name}"][column].to_pylist(), Decimal(0))
        for name, column in (
            ("fact_payment", "amount"),
            ("customer_metrics", "revenue"),
            ("monthly_revenue", "revenue"),
            ("store_scorecard", "revenue_by_staff"),
            ("store_scorecard", "revenue_by_inventory"),
        )
    }
    assert set(amounts.values()) == {sum((amount for *_, amount in paid), Decimal(0))}
    for name, expected in (("fact_rental", rentals), ("fact_payment", payments)):
        key = GOLD[name].contract.key[0]
        assert sorted(made[f"gold/pagila/{name}"][key].to_pylist()) == [row[key] for row in expected]
    for_rentals = sum((amount for _, _, of, amount in paid if of is not None and of <= len(rentals)), Decimal(0))
    assert sum(made["gold/pagila/fact_rental"]["amount_paid"].to_pylist(), Decimal(0)) == for_rentals
