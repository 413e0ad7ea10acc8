"""The marts of Pagila: customers, months, stores and titles, computed from the star."""

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from assets.pagila.contracts import gold as contracts
from assets.pagila.contracts.gold import LOWEST_TIER, TIERS, UNKNOWN
from assets.pagila.silver import FRESHNESS
from assets.pagila.star import money, or_unknown, or_zero, payment_months, rental_months
from medallion.checks import Balances, References
from medallion.completeness import Covers, NoOrphans
from medallion.layers import gold

PAYMENT, RENTAL, INVENTORY = "silver/pagila/payment", "silver/pagila/rental", "silver/pagila/inventory"
STAFF, STORE, CUSTOMER = "silver/pagila/staff", "silver/pagila/store", "silver/pagila/customer"


def count() -> Column:
    """How many rows a group has."""
    return F.count(F.lit(1))


def tier(revenue: Column) -> Column:
    """The tier that a revenue reaches."""
    (name, least), *others = TIERS
    reached = F.when(revenue >= least, F.lit(name))
    for name, least in others:
        reached = reached.when(revenue >= least, F.lit(name))
    return reached.otherwise(F.lit(LOWEST_TIER))


def average(amount: Column, rows: Column) -> Column:
    """Amount per row, half a cent rounded up; NULL for no rows.

    With more digits than the cent, because engines disagree on whether a division of decimals rounds or truncates.
    """
    return F.round(amount.cast("decimal(28,8)") / F.nullif(rows, F.lit(0)), 2).cast("decimal(18,2)")


def _sums(rows: DataFrame, by: str | Column, amount: Column) -> DataFrame:
    return rows.groupBy(by).agg(money(amount).alias("amount"))


def _current(customer: DataFrame) -> DataFrame:
    return customer.where("is_current").select("customer_id")


def _paid_by_staff(payment: DataFrame, staff: DataFrame, store: DataFrame) -> DataFrame:
    """Silver's payments by the store of who took them."""
    taken = payment.join(staff.select("staff_id", "store_id"), "staff_id", "left")
    return _by_store(taken, store)


def _paid_by_inventory(payment: DataFrame, rental: DataFrame, inventory: DataFrame, store: DataFrame) -> DataFrame:
    """Silver's payments by the store of the rented copy."""
    rented = rental.select("rental_id", "inventory_id").join(
        inventory.select("inventory_id", "store_id"), "inventory_id"
    )
    return _by_store(payment.join(rented.select("rental_id", "store_id"), "rental_id", "left"), store)


def _by_store(payments: DataFrame, store: DataFrame) -> DataFrame:
    known = store.select("store_id", F.col("store_id").cast("string").alias("store_key"))
    keyed = payments.select("store_id", "amount").join(known, "store_id", "left")
    return _sums(keyed, or_unknown("store_key"), F.sum("amount"))


def _paid_by_film(payment: DataFrame, rental: DataFrame, inventory: DataFrame) -> DataFrame:
    """Silver's payments by the film of the rented copy."""
    rented = rental.select("rental_id", "inventory_id").join(
        inventory.select("inventory_id", "film_id"), "inventory_id"
    )
    return _sums(payment.select("rental_id", "amount").join(rented, "rental_id"), "film_id", F.sum("amount"))


@gold(
    contract=contracts.CustomerMetrics,
    owner="team:marketing",
    freshness=FRESHNESS,
    checks=[
        Covers(("customer_id",), of=CUSTOMER, rows=_current),
        References("customer_key", to="gold/pagila/dim_customer"),
        NoOrphans("customer_key", of="gold/pagila/fact_rental", to="gold/pagila/dim_customer"),
        NoOrphans("customer_key", of="gold/pagila/fact_payment", to="gold/pagila/dim_customer"),
        Balances(
            name="revenue_balances_with_silver",
            by=("customer_id",),
            ours=lambda mart: mart.select("customer_id", F.col("revenue").alias("amount")),
            sources=(PAYMENT,),
            theirs=lambda payment: _sums(payment, "customer_id", F.sum("amount")),
            description="what every customer paid, over all months, equals silver's payments, to the cent",
        ),
        Balances(
            name="rentals_balance_with_silver",
            by=("customer_id",),
            ours=lambda mart: mart.select("customer_id", F.col("rentals").alias("amount")),
            sources=(RENTAL,),
            theirs=lambda rental: _sums(rental, "customer_id", count()),
            description="every customer's rentals, over all months, are as many as silver has",
        ),
    ],
)
def customer_metrics(
    fact_rental: DataFrame, fact_payment: DataFrame, dim_customer: DataFrame, dim_film: DataFrame
) -> DataFrame:
    """What every customer has rented and paid so far; payments belong to the customer who paid."""
    members = _latest(dim_customer, "customer_id", "customer_key", "is_current")
    rented = fact_rental.groupBy("customer_id").agg(
        count().alias("rentals"),
        F.count(F.when(F.col("is_late"), F.lit(1))).alias("late_returns"),
        F.min("rented_at").alias("first_rented_at"),
        F.max("rented_at").alias("last_rented_at"),
    )
    paid = fact_payment.groupBy("customer_id").agg(count().alias("payments"), F.sum("amount").alias("revenue"))
    joined = members.join(rented, "customer_id", "full").join(paid, "customer_id", "full")
    revenue = money(F.col("revenue"))
    return joined.join(_favourites(fact_rental, dim_film), "customer_id", "left").select(
        "customer_id",
        or_unknown("customer_key"),
        F.coalesce("is_current", F.lit(False)).alias("is_current"),
        *(or_zero(F.col(name)).alias(name) for name in ("rentals", "late_returns", "payments")),
        revenue.alias("revenue"),
        average(F.col("revenue"), F.col("payments")).alias("average_payment"),
        *("first_rented_at", "last_rented_at", "favourite_category"),
        tier(revenue).alias("tier"),
    )


@gold(
    contract=contracts.MonthlyRevenue,
    owner="team:finance",
    freshness=FRESHNESS,
    checks=[
        References("month", to="gold/pagila/dim_date", to_column="date"),
        Balances(
            name="revenue_balances_with_silver",
            by=("month",),
            ours=lambda mart: mart.select("month", F.col("revenue").alias("amount")),
            sources=(PAYMENT,),
            theirs=lambda payment: _sums(
                payment_months(payment), F.col("payment_month").alias("month"), F.sum("amount")
            ),
            description="payments of every month, those included that no run selects, equal silver's, to the cent",
        ),
        Balances(
            name="rentals_balance_with_silver",
            by=("month",),
            ours=lambda mart: mart.select("month", F.col("rentals").alias("amount")),
            sources=(RENTAL,),
            theirs=lambda rental: _sums(rental_months(rental), F.col("rental_month").alias("month"), count()),
            description="rentals of every month, those included that no run selects, are as many as silver has",
        ),
    ],
)
def monthly_revenue(fact_payment: DataFrame, fact_rental: DataFrame) -> DataFrame:
    """Payments and rentals by the month in which each happened; a month without either has no row."""
    paid = fact_payment.groupBy(F.col("payment_month").alias("month")).agg(
        count().alias("payments"),
        F.sum("amount").alias("revenue"),
        F.count_distinct("customer_id").alias("paying_customers"),
    )
    rented = fact_rental.groupBy(F.col("rental_month").alias("month")).agg(count().alias("rentals"))
    return paid.join(rented, "month", "full").select(
        "month",
        or_zero(F.col("payments")).alias("payments"),
        money(F.col("revenue")).alias("revenue"),
        or_zero(F.col("paying_customers")).alias("paying_customers"),
        average(F.col("revenue"), F.col("payments")).alias("average_payment"),
        or_zero(F.col("rentals")).alias("rentals"),
    )


@gold(
    contract=contracts.StoreScorecard,
    owner="team:stores",
    freshness=FRESHNESS,
    checks=[
        Covers(
            ("store_key",),
            of=STORE,
            rows=lambda store: store.select(F.col("store_id").cast("string").alias("store_key")),
        ),
        References("store_key", to="gold/pagila/dim_store"),
        Balances(
            name="revenue_by_staff_balances_with_silver",
            by=("store_key",),
            ours=lambda mart: mart.select("store_key", F.col("revenue_by_staff").alias("amount")),
            sources=(PAYMENT, STAFF, STORE),
            theirs=_paid_by_staff,
            description="payments by the store of who took them equal those of silver, to the cent",
        ),
        Balances(
            name="revenue_by_inventory_balances_with_silver",
            by=("store_key",),
            ours=lambda mart: mart.select("store_key", F.col("revenue_by_inventory").alias("amount")),
            sources=(PAYMENT, RENTAL, INVENTORY, STORE),
            theirs=_paid_by_inventory,
            description="payments by the store of the rented copy equal those of silver, to the cent",
        ),
    ],
)
def store_scorecard(
    dim_store: DataFrame,
    fact_payment: DataFrame,
    fact_rental: DataFrame,
    inventory: DataFrame,
    dim_customer: DataFrame,
) -> DataFrame:
    """What every store takes in and rents out: a payment counts for whom took it and for whose copy it is, apart."""
    stores = dim_store.select("store_id", "store_key")
    by_staff = fact_payment.groupBy(F.col("staff_store_key").alias("store_key")).agg(
        F.sum("amount").alias("revenue_by_staff")
    )
    by_inventory = fact_payment.groupBy(F.col("inventory_store_key").alias("store_key")).agg(
        F.sum("amount").alias("revenue_by_inventory")
    )
    rented = fact_rental.groupBy(F.col("inventory_store_key").alias("store_key")).agg(
        count().alias("rentals"), F.avg(F.col("is_late").cast("int")).alias("late_share")
    )
    copies = inventory.groupBy("store_id").agg(count().alias("copies")).join(stores, "store_id", "left")
    held = copies.groupBy(or_unknown("store_key")).agg(F.sum("copies").alias("copies"))
    active = dim_customer.where("is_current and is_active").groupBy("store_key").agg(count().alias("active_customers"))
    card = stores.where(F.col("store_key") != UNKNOWN).select("store_key")
    for part in (by_staff, by_inventory, rented, held, active):
        card = card.join(part, "store_key", "full")
    return card.select(
        "store_key",
        *(money(F.col(name)).alias(name) for name in ("revenue_by_staff", "revenue_by_inventory")),
        or_zero(F.col("rentals")).alias("rentals"),
        "late_share",
        *(or_zero(F.col(name)).alias(name) for name in ("copies", "active_customers")),
    )


@gold(
    contract=contracts.TopTitles,
    owner="team:catalog",
    freshness=FRESHNESS,
    checks=[
        References("film_key", to="gold/pagila/dim_film"),
        NoOrphans("film_key", of="gold/pagila/fact_rental", to="gold/pagila/dim_film"),
        Balances(
            name="revenue_balances_with_silver",
            by=("film_id",),
            ours=lambda mart: mart.select("film_id", F.col("revenue").alias("amount")),
            sources=(PAYMENT, RENTAL, INVENTORY),
            theirs=_paid_by_film,
            description="payments for the rentals of every film equal those of silver, to the cent",
        ),
        Balances(
            name="rentals_balance_with_silver",
            by=("film_id",),
            ours=lambda mart: mart.select("film_id", F.col("rentals").alias("amount")),
            sources=(RENTAL, INVENTORY),
            theirs=lambda rental, inventory: _sums(rental.join(inventory, "inventory_id"), "film_id", count()),
            description="rentals of every film are as many as silver has",
        ),
    ],
)
def top_titles(fact_rental: DataFrame, dim_film: DataFrame) -> DataFrame:
    """Films by what their rentals brought and by how many they were; ranks have neither gaps nor ties."""
    titles = _latest(dim_film, "film_id", "film_key", "title")
    rented = fact_rental.where(F.col("film_id").isNotNull()).groupBy("film_id")
    measured = rented.agg(count().alias("rentals"), money(F.sum("amount_paid")).alias("revenue"))
    named = measured.join(titles, "film_id", "left").select(
        "film_id", or_unknown("film_key"), or_unknown("title"), "rentals", "revenue"
    )

    def place(first: str, second: str) -> Column:
        order = (F.col(first).desc(), F.col(second).desc(), "title", "film_id")
        # Of a constant, because pyspark warns on every run of a window that names no partition.
        return F.row_number().over(Window.partitionBy(F.lit(0)).orderBy(*order))

    return named.withColumns({"revenue_rank": place("revenue", "rentals"), "rental_rank": place("rentals", "revenue")})


def _latest(dimension: DataFrame, member: str, *columns: str) -> DataFrame:
    """Of every member but the unknown one, some columns of the latest version."""
    last = F.max(F.struct("version", *columns)).alias("_last")
    known = dimension.where(F.col(member).isNotNull()).groupBy(member).agg(last)
    return known.select(member, *(F.col("_last").getField(name).alias(name) for name in columns))


def _favourites(fact_rental: DataFrame, dim_film: DataFrame) -> DataFrame:
    """The category that each customer rents most, of equals the first by name; a film counts for all it is in."""
    categories = dim_film.select("film_key", F.explode("categories").alias("category"))
    counted = (
        fact_rental.select("customer_id", "film_key")
        .join(categories, "film_key")
        .groupBy("customer_id", "category")
        .agg((-count()).alias("_fewer"))
    )
    most = counted.groupBy("customer_id").agg(F.min(F.struct("_fewer", "category")).alias("_most"))
    return most.select("customer_id", F.col("_most").getField("category").alias("favourite_category"))
