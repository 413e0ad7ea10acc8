"""The marts of Pagila on a shop of a few rows: whose money it is, who is counted, and how ties end."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from assets.pagila import marts
from assets.pagila.contracts.gold import UNKNOWN
from medallion.checks import Balances
from tests.fixtures.pagila_silver import GOLD, at, build, film, payment, rental, shop, table_of

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


@pytest.fixture(scope="module")
def customers(tables: Tables) -> dict[Any, dict[str, Any]]:
    return by(tables, "customer_metrics", "customer_id")


@pytest.mark.parametrize(
    ("name", "balances"),
    [
        ("customer_metrics", {"revenue_balances_with_silver", "rentals_balance_with_silver"}),
        ("monthly_revenue", {"revenue_balances_with_silver", "rentals_balance_with_silver"}),
        ("store_scorecard", {"revenue_by_staff_balances_with_silver", "revenue_by_inventory_balances_with_silver"}),
        ("top_titles", {"revenue_balances_with_silver", "rentals_balance_with_silver"}),
    ],
)
def test_marts_read_all_months_and_must_balance_with_silver(name: str, balances: set[str]) -> None:
    table = GOLD[name]
    assert table.partitions is None
    found = {check.name: check for check in table.checks if isinstance(check, Balances)}
    assert set(found) == balances
    assert all(read.startswith("silver/pagila/") for check in found.values() for read in check.reads)


def test_revenue_is_that_of_the_payer_and_rentals_are_those_of_the_renter(customers: Any) -> None:
    # anna rented for 25.05, of which bela paid 0.10; bela has paid for a rental of eve, too.
    anna, bela, eve = customers[1], customers[2], customers[5]
    assert (anna["rentals"], anna["payments"], anna["revenue"]) == (5, 8, Decimal("101.02"))
    assert (bela["rentals"], bela["payments"], bela["revenue"]) == (3, 4, Decimal("39.88"))
    assert (eve["rentals"], eve["payments"], eve["revenue"]) == (1, 2, Decimal("4.99"))
    assert (anna["late_returns"], bela["late_returns"], eve["late_returns"]) == (2, 0, 1)
    assert (anna["first_rented_at"], anna["last_rented_at"]) == (at(5, 31, 23), at(8, 6))


def test_a_customer_who_rents_nothing_has_a_row_of_zeros(customers: Any) -> None:
    dora = customers[4]
    assert (dora["rentals"], dora["late_returns"], dora["payments"], dora["revenue"]) == (0, 0, 0, Decimal("0.00"))
    nothing = ("average_payment", "first_rented_at", "last_rented_at", "favourite_category")
    assert [dora[name] for name in nothing] == [None] * 4
    assert (dora["is_current"], dora["tier"]) == (True, "Bronze")


def test_a_customer_who_is_gone_keeps_the_revenue(tables: Tables, customers: Any) -> None:
    carl = customers[3]
    assert (carl["is_current"], carl["revenue"]) == (False, Decimal("100.00"))
    assert by(tables, "dim_customer", "customer_key")[carl["customer_key"]]["customer_id"] == 3


def test_a_customer_whom_silver_lacks_has_a_row_with_the_unknown_key(customers: Any) -> None:
    assert sorted(customers) == [1, 2, 3, 4, 5, 99]
    assert (customers[99]["customer_key"], customers[99]["is_current"]) == (UNKNOWN, False)
    assert customers[99]["revenue"] == Decimal("20.00")


def test_a_customer_has_the_key_of_the_latest_version(tables: Tables, customers: Any) -> None:
    versions = by(tables, "dim_customer", "customer_key")
    assert {number: versions[customers[number]["customer_key"]]["version"] for number in (1, 2, 3, 5)} == {
        1: 2,
        2: 1,
        3: 1,
        5: 2,
    }


def test_the_favourite_category_is_that_of_most_rentals_and_of_equals_the_first_by_name(customers: Any) -> None:
    # anna: Drama three times, Action once. The unknown customer: one film that is both.
    assert {number: customers[number]["favourite_category"] for number in (1, 2, 99, 3)} == {
        1: "Drama",
        2: "Comedy",
        99: "Action",
        3: None,
    }


def test_a_tier_begins_with_its_amount(spark: SparkSession) -> None:
    from pyspark.sql import functions as F

    cases = {"100.00": "Platinum", "99.99": "Gold", "50.00": "Gold", "49.99": "Silver", "20.00": "Silver"}
    cases |= {"19.99": "Bronze", "0.00": "Bronze", "-5.00": "Bronze", "5000.00": "Platinum"}
    frame = spark.createDataFrame([(Decimal(amount),) for amount in cases], "revenue decimal(18,2)")
    found = frame.select("revenue", marts.tier(F.col("revenue")).alias("tier")).collect()
    assert {str(row["revenue"]): row["tier"] for row in found} == cases


@pytest.mark.parametrize(
    ("amount", "rows", "expected"),
    [("0.05", 2, "0.03"), ("0.04", 3, "0.01"), ("10.00", 3, "3.33"), ("20.00", 3, "6.67"), ("-0.05", 2, "-0.03")],
)
def test_half_a_cent_of_an_average_rounds_up(spark: SparkSession, amount: str, rows: int, expected: str) -> None:
    from pyspark.sql import functions as F

    frame = spark.createDataFrame([(Decimal(amount), rows)], "amount decimal(18,2), rows bigint")
    ((found,),) = frame.select(marts.average(F.col("amount"), F.col("rows"))).collect()
    assert found == Decimal(expected)


def test_a_month_has_its_payments_and_its_rentals_whichever_there_are(tables: Tables) -> None:
    months = by(tables, "monthly_revenue", "month")
    assert sorted(day.month for day in months) == [1, 2, 3, 5, 6, 7, 8, 12]
    found = {
        day.month: tuple(row[name] for name in ("payments", "revenue", "paying_customers", "rentals"))
        for day, row in months.items()
    }
    assert found[2] == (0, Decimal("0.00"), 0, 1)
    assert found[3] == (2, Decimal("4.99"), 1, 0)
    assert found[7] == (4, Decimal("175.16"), 3, 4)
    assert months[dt.date(2022, 2, 1)]["average_payment"] is None
    assert months[dt.date(2022, 3, 1)]["average_payment"] == Decimal("2.50")


def test_a_store_has_the_revenue_of_its_staff_and_apart_from_it_that_of_its_copies(tables: Tables) -> None:
    stores = by(tables, "store_scorecard", "store_key")
    revenue = {key: (row["revenue_by_staff"], row["revenue_by_inventory"]) for key, row in stores.items()}
    assert revenue == {
        "1": (Decimal("125.90"), Decimal("198.12")),
        "2": (Decimal("19.99"), Decimal("39.78")),
        UNKNOWN: (Decimal("120.00"), Decimal("27.99")),
    }


def test_a_store_counts_its_copies_its_rentals_and_the_customers_who_are_active_now(tables: Tables) -> None:
    stores = by(tables, "store_scorecard", "store_key")
    counts = {
        key: tuple(row[name] for name in ("copies", "rentals", "late_share", "active_customers"))
        for key, row in stores.items()
    }
    # anna has moved to store 2, dora is not active, carl is gone; two of store 1's five rentals came back late.
    assert counts == {"1": (2, 5, 0.4, 2), "2": (3, 5, 0.5, 1), UNKNOWN: (1, 2, 1.0, 0)}


def test_a_store_without_business_has_a_row_and_the_unknown_store_has_none(spark: SparkSession) -> None:
    silver = {**shop(), **{name: table_of(name, []) for name in ("rental", "payment", "inventory")}}
    stores = by(build(spark, silver), "store_scorecard", "store_key")
    assert sorted(stores) == ["1", "2"]
    assert [stores["2"][name] for name in ("revenue_by_staff", "rentals", "late_share", "copies")] == [0, 0, None, 0]


def test_titles_rank_without_gaps_and_equals_end_up_in_the_same_order_every_time(spark: SparkSession) -> None:
    # By revenue A, then B and C with the same, of which C has more rentals; D and E differ in nothing but the title.
    films = {1: "E", 2: "D", 3: "C", 4: "B", 5: "A"}
    rented, paid = {1: 1, 2: 1, 3: 2, 4: 1, 5: 1}, {5: "9.00", 3: "5.00", 4: "5.00"}
    copies = [number for number, times in rented.items() for _ in range(times)]
    rentals = [rental(number, 1, copy, at(7, number), 1) for number, copy in enumerate(copies, 1)]
    payments = [payment(copy, 1, copies.index(copy) + 1, amount, at(7, 9)) for copy, amount in paid.items()]
    silver = {
        **shop(),
        "film": table_of("film", [film(number, title, at(1, 1)) for number, title in films.items()]),
        "inventory": table_of("inventory", [{"inventory_id": n, "film_id": n, "store_id": 1} for n in films]),
        "rental": table_of("rental", rentals),
        "payment": table_of("payment", payments),
    }
    titles = by(build(spark, silver), "top_titles", "title")
    assert sorted(titles, key=lambda title: titles[title]["revenue_rank"]) == ["A", "C", "B", "D", "E"]
    assert sorted(titles, key=lambda title: titles[title]["rental_rank"]) == ["C", "A", "B", "D", "E"]
    for rank in ("revenue_rank", "rental_rank"):
        assert sorted(row[rank] for row in titles.values()) == [1, 2, 3, 4, 5]


def test_a_film_has_the_title_of_its_latest_version_and_one_that_nobody_rented_has_no_rank(tables: Tables) -> None:
    titles = by(tables, "top_titles", "film_id")
    assert {number: row["title"] for number, row in titles.items()} == {
        1: "ALPHA UNCUT",
        2: "BETA",
        3: "GAMMA",
        8: UNKNOWN,
    }
    assert (titles[1]["rentals"], titles[1]["revenue"]) == (4, Decimal("118.12"))
