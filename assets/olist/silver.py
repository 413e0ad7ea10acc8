"""The Olist tables typed, deduplicated and conformed: what the shop means by its exports."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from assets.olist.contracts.silver import (
    LAT_RANGE,
    LNG_RANGE,
    STATES,
    ZIP_PREFIX,
    Customer,
    Order,
    OrderItem,
    Payment,
    Product,
    Review,
    Seller,
    ZipPlace,
)
from assets.olist.partitions import PURCHASE_MONTH
from medallion.checks import References
from medallion.layers import silver
from medallion.parsing import parse

AS_LANDED = ("_source_file", "_source_row")
"""The latest row of a key is the one that landed last: in the last file by name, there the last row."""

UNKNOWN_CATEGORY = "unknown"
"""English category of a product that has none."""

_ACCENTED = "áàâãäéèêëíìîïóòôõöúùûüçñ\u00b4`\u2019"
_PLAIN = "aaaaaeeeeiiiiooooouuuucn'''"

_AXES = ("lat", "lng")
_SUMS = (*_AXES, "points")
_PLACE = {
    "zip_prefix": "geolocation_zip_code_prefix",
    "city": "geolocation_city",
    "state": "geolocation_state",
}
_NANODEGREES = 1_000_000_000


@silver(contract=Order, partitions=PURCHASE_MONTH, latest_by=AS_LANDED, owner="team:commerce")
def orders(raw_orders: DataFrame, raw_customers: DataFrame) -> DataFrame:
    """One row per order, with its customer, typed timestamps, delivery time and lateness."""
    # By batch as well, so that a month comes out the same whatever other months its run covers; grouped, so that a
    # customer who landed twice doesn't multiply the order.
    customers = raw_customers.groupBy("_batch", F.trim("customer_id").alias("customer_id")).agg(
        F.max(_text("customer_unique_id")).alias("customer_unique_id")
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


@silver(contract=Customer, mode="scd2", latest_by=("customer_id", *AS_LANDED), owner="team:commerce")
def customers(raw_customers: DataFrame, orders: DataFrame) -> DataFrame:
    """One row per address of a customer, with the time over which purchases went there.

    Every purchase says where its customer lives at that moment; of two at one moment the greater customer id counts.
    A customer id whose order is not in silver has no moment: it is in quarantine until the order is out of it.
    """
    purchases = orders.groupBy("customer_id").agg(F.max("purchased_at").alias("valid_from"))
    typed = parse(raw_customers, Customer).withColumns(
        {"customer_id": F.trim("customer_id"), "city": _conformed(F.col("city"))}
    )
    return typed.join(purchases, "customer_id", "left")


@silver(contract=Product, latest_by=AS_LANDED, owner="team:catalog")
def products(raw_products: DataFrame, raw_category_translation: DataFrame) -> DataFrame:
    """One row per product, with its category in English and its measures."""
    english = raw_category_translation.groupBy(F.trim("product_category_name").alias("category")).agg(
        F.min(_text("product_category_name_english")).alias("_english")
    )
    translated = F.coalesce("_english", "category", F.lit(UNKNOWN_CATEGORY))
    return parse(raw_products, Product).join(english, "category", "left").withColumn("category_english", translated)


@silver(contract=Seller, latest_by=AS_LANDED, owner="team:marketplace")
def sellers(raw_sellers: DataFrame) -> DataFrame:
    """One row per seller, with where it ships from."""
    return parse(raw_sellers, Seller).withColumn("city", _conformed(F.col("city")))


@silver(contract=ZipPlace, owner="team:logistics")
def geolocation(raw_geolocation: DataFrame) -> DataFrame:
    """One row per postal code prefix: the middle of its points inside Brazil and the place they name most.

    A point outside of Brazil, or one that names no place, stays alone and goes to quarantine.
    """
    points = raw_geolocation.withColumns({axis: _degrees(axis) for axis in _AXES})
    kept = F.coalesce(_is_inside_brazil() & _names_a_place(), F.lit(False))
    # Filtering before grouping would have the engine parse each point twice.
    merged = _merged(points.withColumn("_kept", kept))
    one = F.lit(1).cast("long")
    alone = parse(points.where(~kept), ZipPlace).withColumns({"points": one, "_rows": one})
    return merged.unionByName(alone, allowMissingColumns=True)


def _merged(points: DataFrame) -> DataFrame:
    """The kept points by postal code prefix."""
    # Sums of whole numbers come out the same in whatever order the engine adds; those of doubles don't.
    whole = {axis: F.when(F.col("_kept"), F.round(F.col(axis) * _NANODEGREES).cast("long")) for axis in _AXES}
    spelled = points.groupBy(*_PLACE.values()).agg(
        F.count(F.when(F.col("_kept"), F.lit(1))).alias("points"),
        *[F.sum(value).alias(axis) for axis, value in whole.items()],
    )
    places = spelled.where(F.col("points") > 0).select(
        F.trim(_PLACE["zip_prefix"]).alias("zip_prefix"),
        _conformed(F.trim(_PLACE["city"])).alias("city"),
        F.trim(_PLACE["state"]).alias("state"),
        *_SUMS,
    )
    conformed = places.groupBy("zip_prefix", "city", "state").agg(*[F.sum(name).alias(name) for name in _SUMS])
    named_most = F.min(F.struct((-F.col("points")).alias("_fewer"), F.col("city"), F.col("state")))
    prefixes = conformed.groupBy("zip_prefix").agg(
        named_most.alias("_place"), *[F.sum(name).alias(name) for name in _SUMS]
    )
    return prefixes.select(
        "zip_prefix",
        *[F.round(F.col(axis) / F.col("points") / _NANODEGREES, 6).alias(axis) for axis in _AXES],
        *[F.col("_place").getField(name).alias(name) for name in ("city", "state")],
        "points",
        F.col("points").alias("_rows"),
        F.array().cast("array<string>").alias("_unparsed"),
    )


def _degrees(axis: str) -> Column:
    return F.trim(f"geolocation_{axis}").try_cast("double")


def _is_inside_brazil() -> Column:
    return F.col("lat").between(*LAT_RANGE) & F.col("lng").between(*LNG_RANGE)


def _names_a_place() -> Column:
    """The conditions of the contract on the texts of a point, which decide whether it can be merged."""
    zip_prefix, city, state = (F.trim(name) for name in _PLACE.values())
    return zip_prefix.rlike(f"^{ZIP_PREFIX}") & (city != "") & state.isin(*STATES)


def _text(name: str) -> Column:
    """A raw text as `parse` reads it: trimmed, NULL if empty."""
    return F.nullif(F.trim(name), F.lit(""))


def _landed_month() -> Column:
    """The first day of the month that a row landed in."""
    return F.to_date(F.concat("_batch", F.lit("-01")))


def _seconds_from_purchase(moment: str) -> Column:
    return F.unix_timestamp(moment) - F.unix_timestamp("purchased_at")


def _conformed(city: Column) -> Column:
    """A city's name in lower case, without accents, with single spaces: the sources spell one city in several ways."""
    return F.regexp_replace(F.translate(F.lower(city), _ACCENTED, _PLAIN), " +", " ")
