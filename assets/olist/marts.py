"""The marts of Olist: revenue, customers, products, sellers and delivery, computed from the star."""

from functools import reduce

from pyspark.sql import Column, DataFrame, Window, WindowSpec
from pyspark.sql import functions as F

from assets.olist.contracts import gold as contracts
from assets.olist.contracts.gold import CHURNED_AFTER_DAYS, SEGMENTS, UNKNOWN
from assets.olist.partitions import PURCHASE_MONTH
from assets.olist.star import FRESHNESS, REVENUE_BALANCES, mean, money, silver_revenue
from medallion.checks import Balances
from medallion.layers import gold


@gold(
    contract=contracts.DailyRevenue,
    partitions=PURCHASE_MONTH,
    owner="team:finance",
    freshness=FRESHNESS,
    checks=[REVENUE_BALANCES],
)
def daily_revenue(fact_orders: DataFrame) -> DataFrame:
    """Orders, items and revenue of every day on which an order was placed; 0 if none of them counts as revenue."""
    return fact_orders.groupBy(F.col("purchase_date").alias("day"), "purchase_month").agg(
        F.count(F.when(F.col("is_revenue"), F.lit(1))).alias("orders"),
        F.coalesce(F.sum(F.when(F.col("is_revenue"), F.col("items"))), F.lit(0)).cast("bigint").alias("items"),
        money(F.sum("revenue")).alias("revenue"),
    )


@gold(
    contract=contracts.MonthlyRevenue,
    owner="team:finance",
    freshness=FRESHNESS,
    ins={"daily_revenue": "gold/olist/daily_revenue"},
    checks=[
        Balances(
            name=REVENUE_BALANCES.name,
            by=("month",),
            ours=lambda rows: rows.select("month", F.col("revenue").alias("amount")),
            sources=REVENUE_BALANCES.sources,
            theirs=lambda *silver: silver_revenue(*silver).withColumnRenamed("purchase_month", "month"),
            description=REVENUE_BALANCES.description,
        )
    ],
)
def monthly_revenue(daily_revenue: DataFrame) -> DataFrame:
    """Revenue by month of purchase, with its growth over the month before and over the same month a year before.

    Growth looks the earlier month up in the calendar: after a gap it is NULL, not growth over the last month there is.
    """
    months = daily_revenue.groupBy(F.col("purchase_month").alias("month")).agg(
        F.sum("orders").cast("bigint").alias("orders"),
        F.sum("items").cast("bigint").alias("items"),
        money(F.sum("revenue")).alias("revenue"),
    )
    joined = months
    for name, distance in (("month_before", 1), ("year_before", 12)):
        earlier = months.select(F.add_months("month", distance).alias("month"), F.col("revenue").alias(name))
        joined = joined.join(earlier, "month", "left")
    return joined.select(
        *("month", "orders", "items", "revenue"),
        _growth("month_before").alias("month_over_month"),
        _growth("year_before").alias("year_over_year"),
    )


@gold(contract=contracts.CustomerLifetimeValue, owner="team:analytics", freshness=FRESHNESS)
def customer_lifetime_value(fact_orders: DataFrame) -> DataFrame:
    """What every known customer has spent so far, and when; recency counts from the last purchase in the data."""
    customers = fact_orders.where(F.col("is_revenue") & (F.col("customer_unique_id") != UNKNOWN))
    spent = customers.groupBy("customer_unique_id").agg(
        F.min("purchase_date").alias("first_purchase_date"),
        F.max("purchase_date").alias("last_purchase_date"),
        F.count(F.lit(1)).alias("orders"),
        F.sum("items").cast("bigint").alias("items"),
        money(F.sum("revenue")).alias("revenue"),
    )
    return spent.crossJoin(_now(fact_orders)).select(
        *("customer_unique_id", "first_purchase_date", "last_purchase_date"),
        F.datediff("now", "last_purchase_date").cast("int").alias("recency_days"),
        F.datediff("last_purchase_date", "first_purchase_date").cast("int").alias("lifetime_days"),
        *("orders", "items", "revenue"),
        (F.col("revenue").cast("double") / F.col("orders")).alias("average_order_value"),
    )


@gold(
    contract=contracts.CustomerSegment,
    owner="team:marketing",
    freshness=FRESHNESS,
    ins={"customer_lifetime_value": "gold/olist/customer_lifetime_value"},
)
def customer_segments(customer_lifetime_value: DataFrame) -> DataFrame:
    """Customers by quintiles of recency, frequency and monetary value, with the name that the scores stand for.

    Quintiles have equal sizes; among equals the customer's key decides, so that every run cuts at the same customer.
    """

    def quintile(order: Column) -> Column:
        return F.ntile(5).over(_all_rows().orderBy(order, F.col("customer_unique_id").asc())).cast("int")

    scored = customer_lifetime_value.select(
        "customer_unique_id",
        "recency_days",
        F.col("orders").alias("frequency"),
        F.col("revenue").alias("monetary"),
        quintile(F.col("recency_days").desc()).alias("recency_score"),
        quintile(F.col("orders").asc()).alias("frequency_score"),
        quintile(F.col("revenue").asc()).alias("monetary_score"),
    )
    worth = F.col("frequency_score") + F.col("monetary_score")
    return scored.withColumn("segment", segment_name(F.col("recency_score"), worth))


def segment_name(recency: Column, worth: Column) -> Column:
    """The segment of a recency score (1..5) and a sum of frequency and monetary score (2..10)."""
    cases = [(F.lit(name), recency.between(*r) & worth.between(*w)) for name, r, w in SEGMENTS]
    (first, condition), *others = cases
    return reduce(lambda chain, case: chain.when(case[1], case[0]), others, F.when(condition, first))


@gold(contract=contracts.ChurnFeatures, owner="team:marketing", freshness=FRESHNESS)
def churn_features(fact_orders: DataFrame) -> DataFrame:
    """What a churn model may know of every known customer on the day of the last purchase in the data."""
    behaviour = (
        fact_orders.where(F.col("customer_unique_id") != UNKNOWN)
        .groupBy("customer_unique_id")
        .agg(
            F.min("purchase_date").alias("first"),
            F.max("purchase_date").alias("last"),
            F.count(F.lit(1)).alias("orders"),
            F.count(F.when(~F.col("is_revenue"), F.lit(1))).alias("lost_orders"),
            money(F.sum("revenue")).alias("revenue"),
            mean(F.col("review_score")).alias("average_review_score"),
            mean(F.col("delay_days")).alias("average_delay_days"),
            F.count(F.when(F.col("is_delayed"), F.lit(1))).alias("late_orders"),
        )
    )
    recency = F.datediff("now", "last")
    return behaviour.crossJoin(_now(fact_orders)).select(
        "customer_unique_id",
        F.col("now").alias("as_of_date"),
        recency.cast("int").alias("recency_days"),
        F.datediff("now", "first").cast("int").alias("tenure_days"),
        *("orders", "lost_orders", "revenue", "average_review_score", "average_delay_days", "late_orders"),
        (recency > CHURNED_AFTER_DAYS).alias("is_churned"),
    )


@gold(
    contract=contracts.CohortRetention,
    owner="team:marketing",
    freshness=FRESHNESS,
    ins={"customer_lifetime_value": "gold/olist/customer_lifetime_value"},
)
def cohort_retention(fact_orders: DataFrame, customer_lifetime_value: DataFrame) -> DataFrame:
    """How many customers of a month of first purchase buy again how many months later."""
    cohorts = customer_lifetime_value.select(
        "customer_unique_id", F.trunc("first_purchase_date", "month").alias("cohort_month")
    )
    sizes = cohorts.groupBy("cohort_month").agg(F.count(F.lit(1)).alias("cohort_size"))
    active = fact_orders.where("is_revenue").select("customer_unique_id", "purchase_month").distinct()
    month, cohort = F.col("purchase_month"), F.col("cohort_month")
    since = (F.year(month) - F.year(cohort)) * 12 + F.month(month) - F.month(cohort)
    retained = (
        active.join(cohorts, "customer_unique_id")
        .groupBy("cohort_month", since.cast("int").alias("months_since"))
        .agg(F.count(F.lit(1)).alias("customers"))
    )
    return retained.join(sizes, "cohort_month").select(
        *("cohort_month", "months_since", "cohort_size", "customers"),
        (F.col("customers").cast("double") / F.col("cohort_size")).alias("retained_share"),
    )


@gold(contract=contracts.ProductPerformance, owner="team:catalog", freshness=FRESHNESS)
def product_performance(fact_order_items: DataFrame, fact_orders: DataFrame, dim_product: DataFrame) -> DataFrame:
    """Sales and reviews of every product sold."""
    sold = _per_order(fact_order_items, "product_id").join(_outcomes(fact_orders), "order_id")
    products = sold.groupBy("product_id").agg(*_sales())
    return products.join(dim_product.select("product_id", "category"), "product_id")


@gold(
    contract=contracts.CategoryPerformance,
    owner="team:catalog",
    freshness=FRESHNESS,
    ins={"product_performance": "gold/olist/product_performance"},
)
def category_performance(
    fact_order_items: DataFrame, fact_orders: DataFrame, dim_product: DataFrame, product_performance: DataFrame
) -> DataFrame:
    """Sales and reviews of every category sold, and its share of all revenue."""
    named = fact_order_items.join(dim_product.select("product_id", "category"), "product_id")
    sold = _per_order(named, "category").join(_outcomes(fact_orders), "order_id")
    products = product_performance.groupBy("category").agg(F.count(F.lit(1)).alias("products"))
    revenue = F.col("revenue").cast("double")
    total = F.sum("revenue").over(_all_rows()).cast("double")
    share = F.when(total != 0, revenue / total)
    return sold.groupBy("category").agg(*_sales()).join(products, "category").withColumn("revenue_share", share)


@gold(contract=contracts.SellerPerformance, owner="team:marketplace", freshness=FRESHNESS)
def seller_performance(fact_order_items: DataFrame, fact_orders: DataFrame, dim_seller: DataFrame) -> DataFrame:
    """Sales, reviews and delivery of every seller who sold."""
    sold = _per_order(fact_order_items, "seller_id").join(_outcomes(fact_orders), "order_id")
    sellers = sold.groupBy("seller_id").agg(
        *_sales(),
        mean(F.col("delivery_days")).alias("average_delivery_days"),
        mean((~F.col("is_delayed")).cast("int")).alias("on_time_share"),
    )
    return sellers.join(dim_seller.select("seller_id", "state"), "seller_id")


@gold(contract=contracts.DeliverySla, partitions=PURCHASE_MONTH, owner="team:logistics", freshness=FRESHNESS)
def delivery_sla(fact_orders: DataFrame, dim_customer: DataFrame) -> DataFrame:
    """Delivery times and punctuality by the state of the customer's address at the purchase and month of purchase."""
    delivered = fact_orders.where((F.col("status") == "delivered") & F.col("delivered_date").isNotNull())
    on_time = ~F.col("is_delayed")
    return (
        delivered.select("customer_key", "purchase_month", "is_delayed", "delivery_days", "delay_days")
        .join(dim_customer.select("customer_key", "state"), "customer_key")
        .groupBy("state", "purchase_month")
        .agg(
            F.count(F.lit(1)).alias("orders"),
            F.count(F.when(on_time, F.lit(1))).alias("on_time_orders"),
            mean(on_time.cast("int")).alias("on_time_share"),
            mean(F.col("delivery_days")).alias("average_delivery_days"),
            mean(F.col("delay_days")).alias("average_delay_days"),
        )
    )


def _now(fact_orders: DataFrame) -> DataFrame:
    """The last purchase date in the data, as one row."""
    return fact_orders.agg(F.max("purchase_date").alias("now"))


def _all_rows() -> WindowSpec:
    """A window over everything; pyspark warns on every run of one that names no partition."""
    return Window.partitionBy(F.lit(0))


def _growth(before: str) -> Column:
    earlier = F.col(before).cast("double")
    return F.when(earlier != 0, F.col("revenue").cast("double") / earlier - 1)


def _per_order(items: DataFrame, what: str) -> DataFrame:
    """Items that count as revenue, summed by order and what was sold, so that an order counts once for it."""
    return (
        items.where("is_revenue")
        .groupBy(what, "order_id")
        .agg(F.count(F.lit(1)).alias("items"), F.sum("price").alias("price"), F.sum("revenue").alias("revenue"))
    )


def _outcomes(fact_orders: DataFrame) -> DataFrame:
    return fact_orders.select("order_id", "review_score", "delivery_days", "is_delayed")


def _sales() -> list[Column]:
    """Measures of what was sold, from rows of `_per_order` with the outcomes of their orders."""
    return [
        F.count(F.lit(1)).alias("orders"),
        F.sum("items").cast("bigint").alias("items"),
        money(F.sum("revenue")).alias("revenue"),
        (F.sum("price").cast("double") / F.sum("items")).alias("average_price"),
        mean(F.col("review_score")).alias("average_review_score"),
    ]
