"""The gold transforms on a handful of rows: what is counted, what is not, and who is unknown."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.olist import gold, marts, star
from assets.olist.contracts import gold as contracts
from assets.olist.contracts import silver
from assets.olist.contracts.gold import SEGMENTS, UNKNOWN
from assets.olist.partitions import PURCHASE_MONTH
from medallion.checks import Balances, References
from medallion.contracts import Contract
from medallion.graph import tables_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from pandera.pyspark import DataFrameModel
    from pyspark.sql import DataFrame, SparkSession

    Frame = Callable[..., DataFrame]

TABLES = {table.name: table for table in tables_in([gold])}
MARCH = dt.date(2017, 3, 1)
BOUGHT = dt.datetime(2017, 3, 5, 12)
ORDER = {
    "order_id": "o1",
    "customer_id": "c1",
    "customer_unique_id": "anna",
    "status": "delivered",
    "purchased_at": BOUGHT,
    "estimated_delivery_at": dt.datetime(2017, 3, 20),
    "purchase_month": MARCH,
}
ITEM = {
    "order_id": "o1",
    "order_item_id": 1,
    "product_id": "p1",
    "seller_id": "s1",
    "price": Decimal("10.00"),
    "freight": Decimal("2.50"),
    "purchase_month": MARCH,
}
PAYMENT = {
    "order_id": "o1",
    "payment_sequential": 1,
    "installments": 1,
    "value": Decimal("12.5"),
    "purchase_month": MARCH,
}
REVIEW = {"review_id": "r1", "order_id": "o1", "score": 5, "purchase_month": MARCH}
FACT_ORDER = {
    "order_id": "o1",
    "customer_unique_id": "anna",
    "customer_key": "anna-1",
    "purchase_date": dt.date(2017, 3, 5),
    "status": "delivered",
    "is_revenue": True,
    "items": 1,
    "revenue": Decimal("12.50"),
    "purchase_month": MARCH,
}
FACT_ITEM = {
    "order_id": "o1",
    "order_item_id": 1,
    "product_id": "p1",
    "seller_id": "s1",
    "price": Decimal("10.00"),
    "is_revenue": True,
    "revenue": Decimal("12.50"),
}


@pytest.fixture
def frame(spark: SparkSession) -> Frame:
    """Rows as a frame with all columns of a contract; what a row leaves out is NULL."""
    from pyspark.sql import types as T

    def make(model: type[DataFrameModel], *rows: Mapping[str, Any]) -> DataFrame:
        columns = Contract.of(model).columns
        schema = T.StructType([T.StructField(column.name, column.type, True) for column in columns])
        return spark.createDataFrame([tuple(row.get(c.name) for c in columns) for row in rows], schema)

    return make


def rows(frame: DataFrame, *key: str) -> list[dict[str, Any]]:
    return sorted((row.asDict() for row in frame.collect()), key=lambda row: tuple(str(row[name]) for name in key))


ANNA = {
    "customer_key": "anna-1",
    "customer_unique_id": "anna",
    "valid_from": BOUGHT - dt.timedelta(days=1),
    "is_current": True,
}


def fact_orders(
    frame: Frame,
    orders: Any = (ORDER,),
    items: Any = (),
    payments: Any = (),
    reviews: Any = (),
    customers: Any = (ANNA,),
) -> Any:
    return star.fact_orders(
        frame(silver.Order, *orders),
        frame(silver.OrderItem, *items),
        frame(silver.Payment, *payments),
        frame(silver.Review, *reviews),
        frame(contracts.DimCustomer, *customers),
    )


def fact_order_items(frame: Frame, items: Any, orders: Any = (ORDER,), customers: Any = (ANNA,)) -> Any:
    dimension = frame(contracts.DimCustomer, *customers)
    return star.fact_order_items(frame(silver.OrderItem, *items), frame(silver.Order, *orders), dimension)


def test_the_facts_and_two_marts_are_partitioned_by_month_of_purchase_the_other_tables_are_not() -> None:
    monthly = {name for name, table in TABLES.items() if table.partitions == PURCHASE_MONTH}
    assert monthly == {"fact_order_items", "fact_orders", "daily_revenue", "delivery_sla"}
    assert len(TABLES) == 16


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_gold_table_has_an_owner_a_freshness_policy_a_key_and_described_columns(name: str) -> None:
    table = TABLES[name]
    assert all([table.owners, table.freshness, table.contract.key, table.description])
    assert [column.name for column in table.contract.columns if not column.description.endswith(".")] == []


@pytest.mark.parametrize("name", ["fact_order_items", "fact_orders", "daily_revenue", "monthly_revenue"])
def test_revenue_must_balance_with_silver_before_it_is_published(name: str) -> None:
    (check,) = [check for check in TABLES[name].checks if isinstance(check, Balances)]
    assert check.severity == "ERROR"
    assert check.reads == ("silver/olist/orders", "silver/olist/order_items")


@pytest.mark.parametrize(
    ("fact", "others"),
    [
        ("fact_order_items", {"product_id": "product", "seller_id": "seller"}),
        ("fact_orders", {"estimated_delivery_date": "date", "delivered_date": "date"}),
    ],
)
def test_every_dimension_key_of_a_fact_must_exist_in_its_dimension(fact: str, others: dict[str, str]) -> None:
    keys = {check.column: check.to for check in TABLES[fact].checks if isinstance(check, References)}
    expected = {"customer_key": "customer", "purchase_date": "date", **others}
    assert keys == {column: f"gold/olist/dim_{name}" for column, name in expected.items()}


def test_the_calendar_goes_from_the_first_purchase_to_the_last_promised_or_actual_delivery(frame: Frame) -> None:
    late = {**ORDER, "delivered_at": dt.datetime(2017, 3, 22, 8)}
    for orders, last in (([ORDER], 20), ([late], 22)):
        days = [row["date"] for row in rows(star.dim_date(frame(silver.Order, *orders)), "date")]
        assert days == [dt.date(2017, 3, day) for day in range(5, last + 1)]


def test_the_calendar_agrees_with_pythons(frame: Frame) -> None:
    span = {**ORDER, "purchased_at": dt.datetime(2015, 12, 20), "estimated_delivery_at": dt.datetime(2018, 1, 10)}
    calendar = rows(star.dim_date(frame(silver.Order, span)), "date")
    assert len(calendar) == 753
    for row in calendar:
        date = row["date"]
        assert (row["iso_year"], row["iso_week"], row["iso_weekday"]) == tuple(date.isocalendar())
        assert (row["year"], row["quarter"], row["month"]) == (date.year, (date.month + 2) // 3, date.month)
        assert (row["day"], row["month_start"]) == (date.day, date.replace(day=1))
        assert row["weekday_name"] == date.strftime("%A")
        assert row["is_weekend"] == (date.isoweekday() > 5)
    holidays = [row["date"] for row in calendar if row["is_fixed_holiday"] and row["year"] == 2016]
    fixed = [(1, 1), (4, 21), (5, 1), (9, 7), (10, 12), (11, 2), (11, 15), (12, 25)]
    assert holidays == [dt.date(2016, month, day) for month, day in fixed]


def version(city: str, since: int, until: int | None = None) -> dict[str, Any]:
    """Anna's address from a day of March on."""
    return {
        "customer_unique_id": "anna",
        "zip_prefix": "01001",
        "city": city,
        "state": "SP",
        "valid_from": dt.datetime(2017, 3, since),
        "valid_to": None if until is None else dt.datetime(2017, 3, until),
        "is_current": until is None,
    }


def dim_customer(frame: Frame, *versions: Mapping[str, Any]) -> DataFrame:
    place = {"zip_prefix": "01001", "lat": -23.5, "lng": -46.6}
    members: DataFrame = star.dim_customer(frame(silver.Customer, *versions), frame(silver.ZipPlace, place))
    return members


def test_a_customer_has_a_row_for_each_address_and_one_row_is_for_the_unknown(frame: Frame) -> None:
    members = rows(dim_customer(frame, version("osasco", 1, 5), version("santos", 5)), "city")
    assert [(row["customer_unique_id"], row["city"], row["is_current"], row["latitude"]) for row in members] == [
        (UNKNOWN, UNKNOWN, True, None),
        ("anna", "osasco", False, -23.5),
        ("anna", "santos", True, -23.5),
    ]
    assert (members[0]["customer_key"], members[0]["valid_from"]) == (UNKNOWN, None)
    assert members[1]["valid_to"] == members[2]["valid_from"] == dt.datetime(2017, 3, 5)


def test_an_address_that_a_customer_returns_to_is_a_row_of_its_own(frame: Frame) -> None:
    members = rows(dim_customer(frame, version("osasco", 1, 5), version("santos", 5, 9), version("osasco", 9)))
    assert len({row["customer_key"] for row in members}) == 4


def test_the_key_of_an_address_stays_when_an_earlier_purchase_arrives_late(frame: Frame) -> None:
    def key_of_santos(*versions: Mapping[str, Any]) -> str:
        (found,) = [row["customer_key"] for row in rows(dim_customer(frame, *versions)) if row["city"] == "santos"]
        return str(found)

    assert key_of_santos(version("santos", 5)) == key_of_santos(version("santos", 2))
    assert key_of_santos(version("santos", 5)) == key_of_santos(version("osasco", 1, 5), version("santos", 5))


@pytest.mark.parametrize(
    ("hour", "expected"),
    [(1, UNKNOWN), (2, "old"), (11, "old"), (12, "new"), (23, "new")],
    ids=lambda value: str(value),
)
def test_a_fact_has_the_address_of_the_moment_of_purchase(frame: Frame, hour: int, expected: str) -> None:
    morning, noon = BOUGHT.replace(hour=2), BOUGHT.replace(hour=12)
    customers = [
        {**ANNA, "customer_key": "old", "valid_from": morning, "valid_to": noon, "is_current": False},
        {**ANNA, "customer_key": "new", "valid_from": noon},
        {"customer_key": UNKNOWN, "customer_unique_id": UNKNOWN, "is_current": True},
    ]
    orders = [{**ORDER, "purchased_at": BOUGHT.replace(hour=hour)}]
    (order,) = rows(fact_orders(frame, orders, customers=customers))
    (item,) = rows(fact_order_items(frame, [ITEM], orders, customers))
    for fact in (order, item):
        assert (fact["customer_unique_id"], fact["customer_key"]) == ("anna", expected)


def test_a_product_that_only_items_name_has_an_unknown_category(frame: Frame) -> None:
    listed = {"product_id": "p1", "category": "bebes", "category_english": "baby", "weight_g": 7150}
    items = frame(silver.OrderItem, ITEM, {**ITEM, "product_id": "p2"})
    members = rows(star.dim_product(frame(silver.Product, listed), items), "product_id")
    assert [(row["product_id"], row["category"], row["weight_g"]) for row in members] == [
        (UNKNOWN, "unknown", None),
        ("p1", "baby", 7150),
        ("p2", "unknown", None),
    ]


def test_a_dimension_without_any_source_row_still_has_the_unknown_member(frame: Frame) -> None:
    sellers = star.dim_seller(frame(silver.Seller), frame(silver.ZipPlace), frame(silver.OrderItem))
    assert [row["seller_id"] for row in rows(sellers)] == [UNKNOWN]


def test_items_and_payments_of_an_order_do_not_multiply_each_other(frame: Frame) -> None:
    items = [ITEM, {**ITEM, "order_item_id": 2}, {**ITEM, "order_item_id": 3}]
    payments = [PAYMENT, {**PAYMENT, "payment_sequential": 2, "installments": 4, "value": Decimal("25.00")}]
    reviews = [REVIEW, {**REVIEW, "review_id": "r2", "score": 2}]
    (order,) = rows(fact_orders(frame, items=items, payments=payments, reviews=reviews))
    assert (order["items"], order["price"], order["freight"]) == (3, Decimal("30.00"), Decimal("7.50"))
    assert (order["payments"], order["payment_value"], order["installments"]) == (2, Decimal("37.50"), 4)
    assert (order["reviews"], order["review_score"]) == (2, 3.5)
    assert order["revenue"] == Decimal("37.50")


@pytest.mark.parametrize("status", star.NO_REVENUE)
def test_a_canceled_or_unavailable_order_keeps_its_price_and_has_no_revenue(frame: Frame, status: str) -> None:
    orders = [{**ORDER, "status": status}]
    (order,) = rows(fact_orders(frame, orders, [ITEM]))
    (item,) = rows(fact_order_items(frame, [ITEM], orders))
    for fact in (order, item):
        assert (fact["price"], fact["revenue"], fact["is_revenue"]) == (Decimal("10.00"), Decimal("0.00"), False)


def test_an_order_without_anything_counts_zeros_and_belongs_to_the_unknown_customer(frame: Frame) -> None:
    (order,) = rows(fact_orders(frame, [{**ORDER, "customer_unique_id": None}]))
    assert (order["customer_unique_id"], order["customer_key"]) == (UNKNOWN, UNKNOWN)
    assert (order["items"], order["revenue"], order["payments"], order["reviews"]) == (0, Decimal(0), 0, 0)
    assert order["review_score"] is None
    assert order["delivered_date"] is None


def test_an_item_whose_order_is_not_in_silver_waits_for_it(frame: Frame) -> None:
    items = [ITEM, {**ITEM, "order_id": "quarantined"}]
    assert [row["order_id"] for row in rows(fact_order_items(frame, items))] == ["o1"]


def test_rows_of_another_month_do_not_join_an_order_whatever_months_a_run_covers(frame: Frame) -> None:
    elsewhere = {**ITEM, "purchase_month": dt.date(2017, 4, 1)}
    (order,) = rows(fact_orders(frame, items=[elsewhere]))
    assert order["items"] == 0
    assert rows(fact_order_items(frame, [elsewhere])) == []


def test_a_day_on_which_every_order_was_canceled_has_no_revenue_but_is_there(frame: Frame) -> None:
    lost = {**FACT_ORDER, "order_id": "o2", "is_revenue": False, "revenue": Decimal("0.00")}
    other = {**lost, "purchase_date": dt.date(2017, 3, 6)}
    days = rows(marts.daily_revenue(frame(contracts.FactOrder, FACT_ORDER, lost, other)), "day")
    assert [(row["day"].day, row["orders"], row["items"], row["revenue"]) for row in days] == [
        (5, 1, 1, Decimal("12.50")),
        (6, 0, 0, Decimal("0.00")),
    ]


def test_growth_is_over_the_calendar_month_and_unknown_without_revenue_in_it(frame: Frame) -> None:
    revenue = {(2016, 12): 40, (2017, 1): 50, (2017, 3): 80, (2017, 12): 0, (2018, 1): 75}
    amounts = {dt.date(*month, 1): Decimal(amount) for month, amount in revenue.items()}
    days = [{"day": day, "orders": 1, "items": 1, "revenue": a, "purchase_month": day} for day, a in amounts.items()]
    months = rows(marts.monthly_revenue(frame(contracts.DailyRevenue, *days)), "month")
    growth = [(row["month_over_month"], row["year_over_year"]) for row in months]
    assert growth == [(None, None), (0.25, None), (None, None), (None, -1.0), (None, 0.5)]


def test_lifetime_value_counts_from_the_last_purchase_in_the_data_and_leaves_the_unknown_out(frame: Frame) -> None:
    second = {**FACT_ORDER, "order_id": "o2", "purchase_date": dt.date(2017, 3, 10), "revenue": Decimal("7.50")}
    lost = {**FACT_ORDER, "order_id": "o3", "is_revenue": False, "purchase_date": dt.date(2017, 3, 15)}
    nobody = {**FACT_ORDER, "order_id": "o4", "customer_unique_id": UNKNOWN, "purchase_date": dt.date(2017, 3, 25)}
    (anna,) = rows(marts.customer_lifetime_value(frame(contracts.FactOrder, FACT_ORDER, second, lost, nobody)))
    assert (anna["orders"], anna["revenue"], anna["average_order_value"]) == (2, Decimal("20.00"), 10.0)
    assert (anna["recency_days"], anna["lifetime_days"]) == (15, 5)


def test_every_combination_of_scores_has_exactly_one_segment_and_gets_its_name(spark: SparkSession) -> None:
    from pyspark.sql import functions as F

    scores = spark.createDataFrame(list(product(range(1, 6), range(2, 11))), "r int, w int")
    for recency, worth, segment in scores.select("r", "w", marts.segment_name(F.col("r"), F.col("w"))).collect():
        assert [name for name, r, w in SEGMENTS if r[0] <= recency <= r[1] and w[0] <= worth <= w[1]] == [segment]


def test_quintiles_are_equal_in_size_and_ties_are_cut_by_key(frame: Frame) -> None:
    customers = [
        {"customer_unique_id": f"c{number}", "recency_days": number, "orders": 1, "revenue": Decimal(number)}
        for number in range(10)
    ]
    for order in (customers, customers[::-1]):
        scored = rows(marts.customer_segments(frame(contracts.CustomerLifetimeValue, *order)), "customer_unique_id")
        assert [row["recency_score"] for row in scored] == [5, 5, 4, 4, 3, 3, 2, 2, 1, 1]
        assert [row["frequency_score"] for row in scored] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
        assert [row["monetary_score"] for row in scored] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_a_customer_has_churned_after_more_than_180_days_without_an_order(frame: Frame) -> None:
    last = dt.date(2018, 1, 1)
    orders = [
        {**FACT_ORDER, "order_id": name, "customer_unique_id": name, "purchase_date": last - dt.timedelta(days=days)}
        for name, days in (("today", 0), ("still", 180), ("gone", 181))
    ]
    features = {
        row["customer_unique_id"]: row for row in rows(marts.churn_features(frame(contracts.FactOrder, *orders)))
    }
    assert {name: row["is_churned"] for name, row in features.items()} == {"today": False, "still": False, "gone": True}
    assert {row["as_of_date"] for row in features.values()} == {last}


def test_churn_features_describe_all_orders_of_a_customer(frame: Frame) -> None:
    late = {**FACT_ORDER, "review_score": 2.0, "delay_days": 3, "is_delayed": True}
    early = {**FACT_ORDER, "order_id": "o2", "review_score": 5.0, "delay_days": -4, "is_delayed": False}
    lost = {**FACT_ORDER, "order_id": "o3", "is_revenue": False, "revenue": Decimal(0)}
    (anna,) = rows(marts.churn_features(frame(contracts.FactOrder, late, early, lost)))
    assert (anna["orders"], anna["lost_orders"], anna["late_orders"]) == (3, 1, 1)
    assert (anna["average_review_score"], anna["average_delay_days"]) == (3.5, -0.5)
    assert anna["revenue"] == Decimal("25.00")


def test_a_cohort_counts_each_customer_once_a_month(frame: Frame) -> None:
    def order(number: int, customer: str, month: int) -> dict[str, Any]:
        day = dt.date(2017, month, 7)
        return {
            **FACT_ORDER,
            **{"order_id": f"o{number}", "customer_unique_id": customer, "purchase_date": day},
            "purchase_month": day.replace(day=1),
        }

    bought = [("anna", 3), ("anna", 3), ("bela", 3), ("anna", 5), ("carla", 5)]
    orders = frame(contracts.FactOrder, *[order(number, *who) for number, who in enumerate(bought)])
    values = marts.customer_lifetime_value(orders)
    retention = rows(marts.cohort_retention(orders, values), "cohort_month", "months_since")
    assert [
        (row["cohort_month"].month, row["months_since"], row["customers"], row["cohort_size"], row["retained_share"])
        for row in retention
    ] == [(3, 0, 2, 2, 1.0), (3, 2, 1, 2, 0.5), (5, 0, 1, 1, 1.0)]


def test_an_order_counts_once_for_what_it_has_two_items_of(frame: Frame) -> None:
    items = frame(
        contracts.FactOrderItem,
        FACT_ITEM,
        {**FACT_ITEM, "order_item_id": 2},
        {**FACT_ITEM, "order_item_id": 3, "product_id": "p2"},
        {**FACT_ITEM, "order_id": "lost", "is_revenue": False},
    )
    orders = frame(
        contracts.FactOrder,
        {**FACT_ORDER, "review_score": 4.0},
        {**FACT_ORDER, "order_id": "lost", "review_score": 1.0},
    )
    names = [{"product_id": name, "category": "baby"} for name in ("p1", "p2")]
    dimension = frame(contracts.DimProduct, *names)
    products = marts.product_performance(items, orders, dimension)
    first, second = rows(products, "product_id")
    assert (first["orders"], first["items"], first["revenue"]) == (1, 2, Decimal("25.00"))
    assert (second["orders"], second["items"], second["average_price"]) == (1, 1, 10.0)
    (category,) = rows(marts.category_performance(items, orders, dimension, products))
    assert (category["products"], category["orders"], category["items"]) == (2, 1, 3)
    assert (category["revenue"], category["revenue_share"]) == (Decimal("37.50"), 1.0)
    assert category["average_review_score"] == 4.0


def test_a_seller_without_a_delivery_has_no_punctuality(frame: Frame) -> None:
    dimension = frame(contracts.DimSeller, {"seller_id": "s1", "state": "SP"})
    items = frame(contracts.FactOrderItem, FACT_ITEM)
    (seller,) = rows(marts.seller_performance(items, frame(contracts.FactOrder, FACT_ORDER), dimension))
    assert (seller["average_delivery_days"], seller["on_time_share"]) == (None, None)
    delivered = {**FACT_ORDER, "delivery_days": 2.5, "is_delayed": False}
    (seller,) = rows(marts.seller_performance(items, frame(contracts.FactOrder, delivered), dimension))
    assert (seller["average_delivery_days"], seller["on_time_share"]) == (2.5, 1.0)


def test_punctuality_counts_delivered_orders_only(frame: Frame) -> None:
    delivered = {"delivered_date": dt.date(2017, 3, 9), "delivery_days": 4.0, "delay_days": -1, "is_delayed": False}
    orders = frame(
        contracts.FactOrder,
        {**FACT_ORDER, **delivered},
        {**FACT_ORDER, **delivered, "order_id": "o2", "delivery_days": 8.0, "delay_days": 3, "is_delayed": True},
        {**FACT_ORDER, **delivered, "order_id": "o3", "status": "canceled"},
        {**FACT_ORDER, "order_id": "o4"},
    )
    customers = frame(contracts.DimCustomer, {**ANNA, "state": "SP"}, {**ANNA, "customer_key": "anna-2", "state": "RJ"})
    (sla,) = rows(marts.delivery_sla(orders, customers))
    assert (sla["state"], sla["orders"], sla["on_time_orders"], sla["on_time_share"]) == ("SP", 2, 1, 0.5)
    assert (sla["average_delivery_days"], sla["average_delay_days"]) == (6.0, 1.0)


CENTS = st.integers(0, 10**9).map(lambda cents: Decimal(cents) / 100)
SALES = st.lists(
    st.tuples(st.sampled_from(silver.STATUSES), st.lists(st.tuples(CENTS, CENTS), max_size=4)), min_size=1, max_size=6
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SALES)
def test_all_revenue_tables_and_the_check_say_the_same_to_the_cent(frame: Frame, sales: Any) -> None:
    orders = [{**ORDER, "order_id": f"o{number}", "status": status} for number, (status, _) in enumerate(sales)]
    items = [
        {**ITEM, "order_id": f"o{number}", "order_item_id": place, "price": price, "freight": freight}
        for number, (_, bought) in enumerate(sales)
        for place, (price, freight) in enumerate(bought)
    ]
    sold = [sum(item, Decimal(0)) for status, bought in sales if status not in star.NO_REVENUE for item in bought]
    silver_orders, silver_items = frame(silver.Order, *orders), frame(silver.OrderItem, *items)
    facts = fact_orders(frame, orders, items)
    daily = marts.daily_revenue(facts)
    for amounts in (
        star.revenue_by_month(star.fact_order_items(silver_items, silver_orders, frame(contracts.DimCustomer))),
        star.revenue_by_month(facts),
        star.revenue_by_month(daily),
        marts.monthly_revenue(daily).selectExpr("revenue as amount"),
        star.silver_revenue(silver_orders, silver_items),
    ):
        assert sum((row["amount"] for row in amounts.collect()), Decimal(0)) == sum(sold, Decimal(0))
