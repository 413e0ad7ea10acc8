"""The Olist tables typed, deduplicated and conformed: what the shop means by its exports."""

from functools import reduce
from operator import and_

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from assets.olist.contracts.silver import Customer, Order, OrderItem, Payment, Product, Review, Seller, ZipPlace
from assets.olist.partitions import PURCHASE_MONTH
from medallion.checks import References
from medallion.contracts import Contract
from medallion.layers import silver
from medallion.parsing import parse

AS_LANDED = ("_source_file", "_source_row")
"""The latest row of a key is the one that landed last: in the last file by name, there the last row."""

UNKNOWN_CATEGORY = "unknown"
"""English category of a product that has none."""

_ACCENTED = "áàâãäéèêëíìîïóòôõöúùûüçñ\u00b4`\u2019"
_PLAIN = "aaaaaeeeeiiiiooooouuuucn'''"
_NANODEGREES = 1_000_000_000


@silver(contract=Order, partitions=PURCHASE_MONTH, latest_by=AS_LANDED, owner="team:commerce")
def orders(raw_orders: DataFrame, raw_customers: DataFrame) -> DataFrame:
    """One row per order, with its customer, typed timestamps, delivery time and lateness."""
    # By batch as well, so that a month comes out the same whatever other months its run covers; grouped, so that a
    # customer who landed twice doesn't multiply the order.
    customers = raw_customers.groupBy("_batch", F.trim("customer_id").alias("customer_id")).agg(
        F.max(F.trim("customer_unique_id")).alias("customer_unique_id")
    )
    delay = F.datediff("delivered_at", "estimated_delivery_at")
    return (
        parse(raw_orders, Order)
        .join(customers, ["_batch", "customer_id"], "left")
        .withColumns(
            {
                "delivery_days": _seconds_from_purchase("delivered_at") / 86_400,
                "delay_days": delay.cast("int"),
                "is_delayed": delay > 0,
                "approval_hours": _seconds_from_purchase("approved_at") / 3_600,
                "purchase_month": _landed_month(),
            }
        )
    )


@silver(
    contract=OrderItem,
    partitions=PURCHASE_MONTH,
    latest_by=AS_LANDED,
    owner="team:commerce",
    checks=[
        References("order_id", to="silver/olist/orders", severity="WARN"),
        References("product_id", to="silver/olist/products", severity="WARN"),
        References("seller_id", to="silver/olist/sellers", severity="WARN"),
    ],
)
def order_items(raw_order_items: DataFrame) -> DataFrame:
    """One row per piece in an order, with its price and freight.

    A product, seller or order that it names may be in quarantine; then the reference is reported, the item kept.
    """
    return parse(raw_order_items, OrderItem).withColumn("purchase_month", _landed_month())


@silver(
    contract=Payment,
    partitions=PURCHASE_MONTH,
    latest_by=AS_LANDED,
    owner="team:finance",
    checks=[References("order_id", to="silver/olist/orders", severity="WARN")],
)
def payments(raw_payments: DataFrame) -> DataFrame:
    """One row per payment of an order; an order can be paid in several ways."""
    return parse(raw_payments, Payment).withColumn("purchase_month", _landed_month())


@silver(
    contract=Review,
    partitions=PURCHASE_MONTH,
    latest_by=("answered_at", *AS_LANDED),
    owner="team:customer-care",
    checks=[References("order_id", to="silver/olist/orders", severity="WARN")],
)
def reviews(raw_reviews: DataFrame) -> DataFrame:
    """One row per review of an order, the last answer of each."""
    return parse(raw_reviews, Review).withColumn("purchase_month", _landed_month())


@silver(contract=Customer, latest_by=("purchased_at", "customer_id", *AS_LANDED), owner="team:commerce")
def customers(raw_customers: DataFrame, orders: DataFrame) -> DataFrame:
    """One row per customer, with the address of the latest purchase.

    A customer id whose order is in quarantine counts as the earliest.
    """
    purchases = orders.groupBy("customer_id").agg(F.max("purchased_at").alias("purchased_at"))
    typed = parse(raw_customers, Customer).withColumns(
        {"customer_id": F.trim("customer_id"), "city": _conformed(F.col("city"))}
    )
    return typed.join(purchases, "customer_id", "left")


@silver(contract=Product, latest_by=AS_LANDED, owner="team:catalog")
def products(raw_products: DataFrame, raw_category_translation: DataFrame) -> DataFrame:
    """One row per product, with its category in English and its measures."""
    english = raw_category_translation.groupBy(F.trim("product_category_name").alias("category")).agg(
        F.min(F.trim("product_category_name_english")).alias("_english")
    )
    translated = F.coalesce(F.when(F.col("_english") != "", F.col("_english")), "category", F.lit(UNKNOWN_CATEGORY))
    return parse(raw_products, Product).join(english, "category", "left").withColumn("category_english", translated)


@silver(contract=Seller, latest_by=AS_LANDED, owner="team:marketplace")
def sellers(raw_sellers: DataFrame) -> DataFrame:
    """One row per seller, with where it ships from."""
    return parse(raw_sellers, Seller).withColumn("city", _conformed(F.col("city")))


@silver(contract=ZipPlace, owner="team:logistics")
def geolocation(raw_geolocation: DataFrame) -> DataFrame:
    """One row per postal code prefix: the middle of its points inside Brazil and the place they name most.

    A point that breaks a rule by itself, above all one outside of Brazil, stays alone for quarantine. Exact
    duplicates count once.
    """
    points = parse(raw_geolocation, ZipPlace).withColumn("points", F.lit(1).cast("long"))
    kept = reduce(and_, [F.coalesce(rule.kept(), F.lit(True)) for rule in Contract.of(ZipPlace).rules if rule.kept])
    broken = points.where(~kept).withColumns({"city": _conformed(F.col("city")), "_rows": F.lit(1).cast("long")})
    return _merged(points.where(kept)).unionByName(broken, allowMissingColumns=True)


def _merged(points: DataFrame) -> DataFrame:
    """Points by postal code prefix; `points` counts those that differ, `_rows` all."""
    distinct = points.groupBy("zip_prefix", "lat", "lng", "city", "state").agg(F.count(F.lit(1)).alias("_rows"))
    # Sums of whole numbers come out the same in whatever order the engine adds; those of doubles don't.
    by_place = distinct.groupBy("zip_prefix", _conformed(F.col("city")).alias("city"), "state").agg(
        F.count(F.lit(1)).alias("points"),
        F.sum("_rows").alias("_rows"),
        F.sum(F.round(F.col("lat") * _NANODEGREES).cast("long")).alias("lat"),
        F.sum(F.round(F.col("lng") * _NANODEGREES).cast("long")).alias("lng"),
    )
    first = F.min(F.struct((-F.col("points")).alias("fewer"), F.col("city"), F.col("state"))).alias("place")
    sums = [F.sum(name).alias(name) for name in ("points", "_rows", "lat", "lng")]
    return (
        by_place.groupBy("zip_prefix")
        .agg(first, *sums)
        .select(
            "zip_prefix",
            *[F.round(F.col(name) / F.col("points") / _NANODEGREES, 6).alias(name) for name in ("lat", "lng")],
            *[F.col("place").getField(name).alias(name) for name in ("city", "state")],
            "points",
            "_rows",
            F.array().cast("array<string>").alias("_unparsed"),
        )
    )


def _landed_month() -> Column:
    """The first day of the month that a row landed in."""
    return F.to_date(F.concat("_batch", F.lit("-01")))


def _seconds_from_purchase(moment: str) -> Column:
    return F.unix_timestamp(moment) - F.unix_timestamp("purchased_at")


def _conformed(city: Column) -> Column:
    """A city's name in lower case, without accents, with single spaces: the sources spell one city in several ways."""
    return F.regexp_replace(F.translate(F.lower(city), _ACCENTED, _PLAIN), " +", " ")
