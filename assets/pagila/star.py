"""The star of Pagila: five dimensions and the facts of rentals and payments that refer to them."""

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from assets.pagila.contracts import gold as contracts
from assets.pagila.contracts.gold import FIRST_DAY, LAST_DAY, UNKNOWN
from assets.pagila.partitions import MONTH
from assets.pagila.silver import FRESHNESS
from medallion.calendar_day import calendar_days
from medallion.checks import Balances, References
from medallion.completeness import Covers, EveryDay, OneRow
from medallion.layers import gold
from medallion.partitions import Slice

_MICROS_OF_DAY = 86_400_000_000


def money(amount: Column) -> Column:
    """An amount with the type of all gold amounts, which no engine gives a sum by itself; 0 where there is none."""
    return F.coalesce(amount, F.lit(0)).cast("decimal(18,2)")


def or_zero(count: Column) -> Column:
    """A count of rows, 0 where a join has found none."""
    return F.coalesce(count, F.lit(0)).cast("bigint")


def or_unknown(name: str) -> Column:
    """A text of a dimension, `unknown` where a join has found none."""
    return F.coalesce(name, F.lit(UNKNOWN)).alias(name)


def month_of(moment: str) -> Column:
    """The first day of a moment's month, UTC."""
    return F.trunc(F.to_date(moment), "month")


def rental_months(rental: DataFrame) -> DataFrame:
    """Silver rentals with the month that decides where their fact is."""
    return rental.withColumn("rental_month", month_of("rented_at"))


def payment_months(payment: DataFrame) -> DataFrame:
    """Silver payments with the month that decides where their fact is."""
    return payment.withColumn("payment_month", month_of("paid_at"))


def paid_for_rentals(payment: DataFrame, rental: DataFrame) -> DataFrame:
    """What silver's rentals were paid, by the month of the rental."""
    months = rental_months(rental).select("rental_id", "rental_month")
    paid = payment.select("rental_id", "amount").join(months, "rental_id")
    return paid.groupBy("rental_month").agg(money(F.sum("amount")).alias("amount"))


def paid_by_month(payment: DataFrame) -> DataFrame:
    """What silver's payments are in all, by their month."""
    return payment_months(payment).groupBy("payment_month").agg(money(F.sum("amount")).alias("amount"))


def _one_unknown(key: str) -> OneRow:
    return OneRow("one_unknown_member", where=f"{key} = '{UNKNOWN}'", required=True)


@gold(
    contract=contracts.DimDate,
    owner="team:analytics",
    freshness=FRESHNESS,
    checks=[EveryDay("date", FIRST_DAY, LAST_DAY)],
)
def dim_date(store: DataFrame) -> DataFrame:
    """Every day from 2000 to 2030.

    The stores lend their session and nothing else; a table without inputs would never be made by an update.
    """
    days = store.sparkSession.range((LAST_DAY - FIRST_DAY).days + 1)
    return calendar_days(days.select(F.date_add(F.lit(FIRST_DAY), F.col("id").cast("int")).alias("date")))


@gold(
    contract=contracts.DimStore,
    owner="team:stores",
    freshness=FRESHNESS,
    checks=[
        _one_unknown("store_key"),
        Covers(("store_id",), of="silver/pagila/store"),
    ],
)
def dim_store(store: DataFrame) -> DataFrame:
    """Every store with the place where it is, and the unknown member."""
    keyed = store.withColumn("store_key", F.col("store_id").cast("string"))
    return _with_unknown(keyed, "store_key").select(
        "store_key", "store_id", "manager_staff_id", or_unknown("city"), or_unknown("country")
    )


@gold(
    contract=contracts.DimStaff,
    owner="team:stores",
    freshness=FRESHNESS,
    checks=[
        _one_unknown("staff_key"),
        Covers(("staff_id",), of="silver/pagila/staff"),
        # Silver can't check it: there a store refers to its staff.
        References("store_id", to="silver/pagila/store", severity="WARN"),
    ],
)
def dim_staff(staff: DataFrame, dim_store: DataFrame) -> DataFrame:
    """Everybody who works or worked in a store, and the unknown member."""
    keyed = staff.withColumn("staff_key", F.col("staff_id").cast("string")).join(_stores(dim_store), "store_id", "left")
    return _with_unknown(keyed, "staff_key").select(
        *("staff_key", "staff_id", "first_name", "last_name", "email", "is_active", "store_id"), or_unknown("store_key")
    )


@gold(
    contract=contracts.DimCustomer,
    owner="team:marketing",
    freshness=FRESHNESS,
    checks=[
        _one_unknown("customer_key"),
        OneRow("one_current_version", where="is_current", by=("customer_id",)),
        Covers(("customer_id", "valid_from"), of="silver/pagila/customer"),
        References("store_key", to="gold/pagila/dim_store"),
    ],
)
def dim_customer(customer: DataFrame, address: DataFrame, dim_store: DataFrame) -> DataFrame:
    """Every version of every customer with the place of the address as it is now, and the unknown member."""
    places = address.select("address_id", "city", "country")
    versions = (
        _versions(customer, "customer_id", "customer_key")
        .join(places, "address_id", "left")
        .join(_stores(dim_store), "store_id", "left")
    )
    return _with_unknown(versions, "customer_key").select(
        "customer_key",
        "customer_id",
        *_version_columns(),
        *("first_name", "last_name", "email", "is_active", "created_on"),
        *(or_unknown(name) for name in ("store_key", "city", "country")),
    )


@gold(
    contract=contracts.DimFilm,
    owner="team:catalog",
    freshness=FRESHNESS,
    checks=[
        _one_unknown("film_key"),
        OneRow("one_current_version", where="is_current", by=("film_id",)),
        Covers(("film_id", "valid_from"), of="silver/pagila/film"),
    ],
)
def dim_film(film: DataFrame) -> DataFrame:
    """Every version of every film, and the unknown member."""
    return _with_unknown(_versions(film, "film_id", "film_key"), "film_key").select(
        "film_key",
        "film_id",
        *_version_columns(),
        or_unknown("title"),
        *("description", "release_year", "language", "original_language", "rental_duration_days"),
        F.col("rental_rate").cast("decimal(18,2)").alias("rental_rate"),
        "length_minutes",
        F.col("replacement_cost").cast("decimal(18,2)").alias("replacement_cost"),
        *("rating", "special_features", "categories", "actors"),
    )


@gold(
    contract=contracts.FactRental,
    partitions=MONTH,
    owner="team:analytics",
    freshness=FRESHNESS,
    checks=[
        Covers(("rental_id",), of="silver/pagila/rental", rows=rental_months),
        References("rental_id", to="silver/pagila/rental"),
        References("customer_key", to="gold/pagila/dim_customer"),
        References("film_key", to="gold/pagila/dim_film"),
        References("inventory_store_key", to="gold/pagila/dim_store", to_column="store_key"),
        References("staff_key", to="gold/pagila/dim_staff"),
        References("staff_store_key", to="gold/pagila/dim_store", to_column="store_key"),
        References("rental_date", to="gold/pagila/dim_date", to_column="date"),
        References("return_date", to="gold/pagila/dim_date", to_column="date"),
        Balances(
            name="amount_paid_balances_with_silver",
            by=("rental_month",),
            ours=lambda facts: facts.groupBy("rental_month").agg(F.sum("amount_paid").alias("amount")),
            sources=("silver/pagila/payment", "silver/pagila/rental"),
            theirs=paid_for_rentals,
            description="payments for the rentals of every month equal those of silver, to the cent",
        ),
    ],
)
def fact_rental(
    rental: DataFrame,
    payment: DataFrame,
    inventory: DataFrame,
    dim_customer: DataFrame,
    dim_film: DataFrame,
    dim_store: DataFrame,
    dim_staff: DataFrame,
    selection: Slice,
) -> DataFrame:
    """Rentals with the keys of their customer, film, stores and staff, their return and what was paid for them.

    Customer and film are as they were at the rental. A rental may have several payments, so they are summed first.
    """
    copies = inventory.select("inventory_id", "film_id", "store_id").join(_stores(dim_store), "store_id", "left")
    paid = payment.groupBy("rental_id").agg(F.count(F.lit(1)).alias("payments"), F.sum("amount").alias("amount_paid"))
    rentals = selection.of(rental_months(rental)).join(copies, "inventory_id", "left")
    rentals = _with_version(rentals, dim_customer, "customer_id", "customer_key", "rented_at")
    rentals = _with_version(rentals, dim_film, "film_id", "film_key", "rented_at", "rental_duration_days")
    rentals = rentals.join(_staff(dim_staff), "staff_id", "left").join(paid, "rental_id", "left")
    out = F.unix_micros("returned_at") - F.unix_micros("rented_at")
    return rentals.select(
        *("rental_id", "customer_id", "customer_key", "inventory_id", "film_id", "film_key"),
        or_unknown("store_key").alias("inventory_store_key"),
        *(or_unknown(name) for name in ("staff_key", "staff_store_key")),
        "rented_at",
        F.to_date("rented_at").alias("rental_date"),
        "returned_at",
        F.to_date("returned_at").alias("return_date"),
        (out / _MICROS_OF_DAY).alias("days_out"),
        (out > F.col("rental_duration_days").cast("bigint") * _MICROS_OF_DAY).alias("is_late"),
        or_zero(F.col("payments")).alias("payments"),
        money(F.col("amount_paid")).alias("amount_paid"),
        "rental_month",
    )


@gold(
    contract=contracts.FactPayment,
    partitions=MONTH,
    owner="team:finance",
    freshness=FRESHNESS,
    checks=[
        Covers(("payment_id", "paid_at"), of="silver/pagila/payment", rows=payment_months),
        References("payment_id", to="silver/pagila/payment"),
        References("customer_key", to="gold/pagila/dim_customer"),
        References("inventory_store_key", to="gold/pagila/dim_store", to_column="store_key"),
        References("staff_key", to="gold/pagila/dim_staff"),
        References("staff_store_key", to="gold/pagila/dim_store", to_column="store_key"),
        References("payment_date", to="gold/pagila/dim_date", to_column="date"),
        Balances(
            name="amount_balances_with_silver",
            by=("payment_month",),
            ours=lambda facts: facts.groupBy("payment_month").agg(F.sum("amount").alias("amount")),
            sources=("silver/pagila/payment",),
            theirs=paid_by_month,
            description="payments of every month equal those of silver, to the cent",
        ),
    ],
)
def fact_payment(
    payment: DataFrame,
    rental: DataFrame,
    inventory: DataFrame,
    dim_customer: DataFrame,
    dim_store: DataFrame,
    dim_staff: DataFrame,
    selection: Slice,
) -> DataFrame:
    """Payments with the keys of the customer who paid, who took it, and both stores that may claim it.

    Somebody else than the customer who rented may pay, in another store than that of the copy.
    """
    copies = inventory.select("inventory_id", "store_id").join(_stores(dim_store), "store_id", "left")
    rented = rental.select("rental_id", "inventory_id").join(copies, "inventory_id")
    payments = selection.of(payment_months(payment)).join(rented.select("rental_id", "store_key"), "rental_id", "left")
    payments = _with_version(payments, dim_customer, "customer_id", "customer_key", "paid_at")
    return payments.join(_staff(dim_staff), "staff_id", "left").select(
        *("payment_id", "rental_id", "customer_id", "customer_key"),
        *(or_unknown(name) for name in ("staff_key", "staff_store_key")),
        or_unknown("store_key").alias("inventory_store_key"),
        "paid_at",
        F.to_date("paid_at").alias("payment_date"),
        money(F.col("amount")).alias("amount"),
        "payment_month",
    )


def _versions(history: DataFrame, member: str, key: str) -> DataFrame:
    """Versions with their key, which no other version changes, and their number."""
    number = F.row_number().over(Window.partitionBy(member).orderBy("valid_from"))
    named = F.concat_ws("|", F.col(member).cast("string"), F.unix_micros("valid_from").cast("string"))
    return history.withColumns({key: F.md5(named), "version": number})


def _version_columns() -> tuple[Column | str, ...]:
    """What says when a version holds; the unknown member always does."""
    return (
        F.coalesce("version", F.lit(1)).alias("version"),
        "valid_from",
        "valid_to",
        F.coalesce("is_current", F.lit(True)).alias("is_current"),
    )


def _with_unknown(members: DataFrame, key: str) -> DataFrame:
    """Members and one more, all of whose columns but the key are NULL."""
    # A join, because Sail refuses a union of columns that have different comments in their Delta tables.
    return members.sparkSession.range(1).select(F.lit(UNKNOWN).alias(key)).join(members, key, "full")


def _with_version(facts: DataFrame, dimension: DataFrame, member: str, key: str, moment: str, *more: str) -> DataFrame:
    """Facts with the key of the version that held at a moment, and more of its columns.

    The first version counts for what is earlier: a database is often younger than the business it records.
    """
    begins = F.when(F.col("version") > 1, F.col("valid_from"))
    versions = dimension.select(
        F.col(member).alias("_member"), key, begins.alias("_begins"), F.col("valid_to").alias("_ends"), *more
    )
    held = (F.col("_begins").isNull() | (F.col(moment) >= F.col("_begins"))) & (
        F.col("_ends").isNull() | (F.col(moment) < F.col("_ends"))
    )
    found = facts.join(versions, (F.col(member) == F.col("_member")) & held, "left")
    return found.withColumn(key, or_unknown(key)).drop("_member", "_begins", "_ends")


def _stores(dim_store: DataFrame) -> DataFrame:
    return dim_store.select("store_id", "store_key")


def _staff(dim_staff: DataFrame) -> DataFrame:
    return dim_staff.select("staff_id", "staff_key", F.col("store_key").alias("staff_store_key"))
