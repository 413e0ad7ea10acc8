"""The star of Olist: four dimensions and the facts of items and orders that refer to them."""

from datetime import timedelta

import dagster as dg
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from assets.olist.contracts import gold as contracts
from assets.olist.contracts.gold import UNKNOWN
from assets.olist.partitions import PURCHASE_MONTH
from medallion.calendar_day import calendar_days
from medallion.checks import Balances, References
from medallion.layers import gold

NO_REVENUE = ("canceled", "unavailable")
"""Order statuses whose items don't count as revenue."""
FRESHNESS = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=2), warn_window=timedelta(days=1, hours=6))
"""The daily schedule may be late by six hours before it is said, and fail once before it counts as a failure."""

_FIXED_HOLIDAYS = (101, 421, 501, 907, 1012, 1102, 1115, 1225)
_ORDER = ["order_id", "purchase_month"]


def money(amount: Column) -> Column:
    """An amount with the type of all gold amounts, to which no engine widens a sum by itself."""
    return amount.cast("decimal(18,2)")


def mean(value: Column) -> Column:
    """The mean as a double, NULL for no values; summed as a decimal, so that it doesn't depend on the order of rows."""
    return F.sum(value.cast("decimal(28,12)")).cast("double") / F.nullif(F.count(value), F.lit(0))


def is_revenue(status: Column) -> Column:
    """Whether an order of this status counts as revenue."""
    return ~status.isin(*NO_REVENUE)


def silver_revenue(orders: DataFrame, order_items: DataFrame) -> DataFrame:
    """Revenue by month of purchase straight from silver: price and freight of items of orders that count."""
    counted = orders.where(is_revenue(F.col("status"))).select(*_ORDER)
    sold = order_items.select(*_ORDER, "price", "freight").join(counted, _ORDER)
    return sold.groupBy("purchase_month").agg(money(F.sum("price") + F.sum("freight")).alias("amount"))


def revenue_by_month(rows: DataFrame) -> DataFrame:
    """Revenue of a gold table by month of purchase."""
    return rows.groupBy("purchase_month").agg(F.sum("revenue").alias("amount"))


REVENUE_BALANCES = Balances(
    name="revenue_balances_with_silver",
    by=("purchase_month",),
    ours=revenue_by_month,
    sources=("silver/olist/orders", "silver/olist/order_items"),
    theirs=silver_revenue,
    description="revenue of every month equals that of silver orders and items, to the cent",
)


@gold(contract=contracts.DimDate, owner="team:analytics", freshness=FRESHNESS)
def dim_date(orders: DataFrame) -> DataFrame:
    """Every day from the first purchase to the last date of an order: purchase, delivery or promised delivery."""
    day = F.col("date")
    span = orders.agg(
        F.to_date(F.min("purchased_at")).alias("first"),
        F.greatest(
            F.to_date(F.max("purchased_at")),
            F.to_date(F.max("delivered_at")),
            F.to_date(F.max("estimated_delivery_at")),
        ).alias("last"),
    )
    days = calendar_days(span.select(F.explode(F.sequence("first", "last")).alias("date")))
    return days.withColumn("is_fixed_holiday", (F.month(day) * 100 + F.dayofmonth(day)).isin(*_FIXED_HOLIDAYS))


@gold(contract=contracts.DimCustomer, owner="team:analytics", freshness=FRESHNESS)
def dim_customer(customers: DataFrame, geolocation: DataFrame) -> DataFrame:
    """Every address of every customer over the time that it held, and the unknown member.

    The key comes from what the version says, not from when it begins: a purchase that arrives late may move the
    beginning, and facts of other months that hold the key need no rebuild.
    """
    address = ("customer_unique_id", "zip_prefix", "state", "city")
    moves = F.row_number().over(Window.partitionBy(*address).orderBy("valid_from")).cast("string")
    unknown = customers.sparkSession.range(1).select(F.lit(UNKNOWN).alias("customer_unique_id"))
    members = customers.withColumn("customer_key", F.md5(F.concat_ws("|", moves, *address)))
    # A join, because Sail refuses a union of columns that have different comments in their Delta tables.
    members = unknown.join(members, "customer_unique_id", "full").withColumns(
        {
            "customer_key": F.coalesce("customer_key", F.lit(UNKNOWN)),
            "is_current": F.coalesce("is_current", F.lit(True)),
        }
    )
    return _placed(members, geolocation, "customer_key", "customer_unique_id", "valid_from", "valid_to", "is_current")


@gold(contract=contracts.DimProduct, owner="team:analytics", freshness=FRESHNESS)
def dim_product(products: DataFrame, order_items: DataFrame) -> DataFrame:
    """Every product that silver knows or an item names, and the unknown member."""
    measures = ("name_length", "description_length", "photos", "weight_g", "length_cm", "height_cm", "width_cm")
    return _members(products, order_items, "product_id").select(
        "product_id",
        F.coalesce("category_english", F.lit("unknown")).alias("category"),
        F.col("category").alias("category_portuguese"),
        *measures,
    )


@gold(contract=contracts.DimSeller, owner="team:analytics", freshness=FRESHNESS)
def dim_seller(sellers: DataFrame, geolocation: DataFrame, order_items: DataFrame) -> DataFrame:
    """Every seller that silver knows or an item names, and the unknown member."""
    return _placed(_members(sellers, order_items, "seller_id"), geolocation, "seller_id")


@gold(
    contract=contracts.FactOrderItem,
    partitions=PURCHASE_MONTH,
    owner="team:analytics",
    freshness=FRESHNESS,
    checks=[
        References("customer_key", to="gold/olist/dim_customer"),
        References("product_id", to="gold/olist/dim_product"),
        References("seller_id", to="gold/olist/dim_seller"),
        References("purchase_date", to="gold/olist/dim_date", to_column="date"),
        REVENUE_BALANCES,
    ],
)
def fact_order_items(order_items: DataFrame, orders: DataFrame, dim_customer: DataFrame) -> DataFrame:
    """Order items with the keys of their customer, product, seller and purchase date, and their revenue.

    An item whose order is not in silver, because the order is in quarantine, has no purchase date and no status; it
    joins the fact together with its order.
    """
    counts = is_revenue(F.col("status"))
    amount = F.col("price") + F.col("freight")
    return order_items.join(_purchases(orders, dim_customer), _ORDER).select(
        "order_id",
        "order_item_id",
        "customer_unique_id",
        "customer_key",
        "product_id",
        "seller_id",
        "purchase_date",
        "status",
        money(F.col("price")).alias("price"),
        money(F.col("freight")).alias("freight"),
        counts.alias("is_revenue"),
        money(F.when(counts, amount).otherwise(0)).alias("revenue"),
        "purchase_month",
    )


@gold(
    contract=contracts.FactOrder,
    partitions=PURCHASE_MONTH,
    owner="team:analytics",
    freshness=FRESHNESS,
    checks=[
        References("customer_key", to="gold/olist/dim_customer"),
        References("purchase_date", to="gold/olist/dim_date", to_column="date"),
        References("estimated_delivery_date", to="gold/olist/dim_date", to_column="date"),
        References("delivered_date", to="gold/olist/dim_date", to_column="date"),
        REVENUE_BALANCES,
    ],
)
def fact_orders(
    orders: DataFrame, order_items: DataFrame, payments: DataFrame, reviews: DataFrame, dim_customer: DataFrame
) -> DataFrame:
    """Orders with their items, payments and reviews, each summed before they meet, and their delivery."""
    sold = order_items.groupBy(*_ORDER).agg(
        F.count(F.lit(1)).alias("items"), F.sum("price").alias("price"), F.sum("freight").alias("freight")
    )
    paid = payments.groupBy(*_ORDER).agg(
        F.count(F.lit(1)).alias("payments"),
        F.sum("value").alias("payment_value"),
        F.max("installments").alias("installments"),
    )
    rated = reviews.groupBy(*_ORDER).agg(F.count(F.lit(1)).alias("reviews"), mean(F.col("score")).alias("review_score"))
    counts = is_revenue(F.col("status"))
    price, freight = (F.coalesce(F.col(name), F.lit(0)) for name in ("price", "freight"))
    joined = _with_customer(orders, dim_customer)
    for summed in (sold, paid, rated):
        joined = joined.join(summed, _ORDER, "left")
    return joined.select(
        "order_id",
        "customer_unique_id",
        "customer_key",
        F.to_date("purchased_at").alias("purchase_date"),
        F.to_date("estimated_delivery_at").alias("estimated_delivery_date"),
        F.to_date("delivered_at").alias("delivered_date"),
        "status",
        counts.alias("is_revenue"),
        F.coalesce("items", F.lit(0)).cast("bigint").alias("items"),
        money(price).alias("price"),
        money(freight).alias("freight"),
        money(F.when(counts, price + freight).otherwise(0)).alias("revenue"),
        F.coalesce("payments", F.lit(0)).cast("bigint").alias("payments"),
        money(F.coalesce("payment_value", F.lit(0))).alias("payment_value"),
        "installments",
        F.coalesce("reviews", F.lit(0)).cast("bigint").alias("reviews"),
        "review_score",
        "approval_hours",
        "delivery_days",
        "delay_days",
        "is_delayed",
        "purchase_month",
    )


def _with_customer(orders: DataFrame, dim_customer: DataFrame) -> DataFrame:
    """Orders with the key of the address that their customer had at the purchase; unknown without one."""
    versions = dim_customer.select(
        F.col("customer_unique_id").alias("_person"), "customer_key", "valid_from", "valid_to"
    )
    bought = F.col("purchased_at")
    held = (bought >= F.col("valid_from")) & (F.col("valid_to").isNull() | (bought < F.col("valid_to")))
    return orders.join(versions, (F.col("customer_unique_id") == F.col("_person")) & held, "left").withColumns(
        {name: F.coalesce(name, F.lit(UNKNOWN)) for name in ("customer_unique_id", "customer_key")}
    )


def _purchases(orders: DataFrame, dim_customer: DataFrame) -> DataFrame:
    """What items take over from their orders."""
    return _with_customer(orders, dim_customer).select(
        *_ORDER,
        "customer_unique_id",
        "customer_key",
        F.to_date("purchased_at").alias("purchase_date"),
        "status",
    )


def _members(listed: DataFrame, used: DataFrame, key: str) -> DataFrame:
    """The rows that silver lists, one per other key that `used` names, and one for the unknown member."""
    unknown = used.sparkSession.range(1).select(F.lit(UNKNOWN).alias(key))
    named = used.select(key).where(F.col(key).isNotNull()).distinct()
    # Joins, because Sail refuses a union of columns that have different comments in their Delta tables.
    return unknown.join(named, key, "full").join(listed, key, "full")


def _placed(members: DataFrame, geolocation: DataFrame, *own: str) -> DataFrame:
    """Members with the mean point of their postcode."""
    places = geolocation.select("zip_prefix", F.col("lat").alias("latitude"), F.col("lng").alias("longitude"))
    return members.join(places, "zip_prefix", "left").select(
        *own,
        "zip_prefix",
        F.coalesce("city", F.lit(UNKNOWN)).alias("city"),
        F.coalesce("state", F.lit(UNKNOWN)).alias("state"),
        "latitude",
        "longitude",
    )
