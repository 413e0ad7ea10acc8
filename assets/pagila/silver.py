"""The Pagila tables conformed: what the shop means by its rows, with the history of customers and films.

A reference to a row that is in quarantine is reported, the row that refers kept. Staff work in a store and a store has
a manager: the first of the two references is checked in gold, because tables can't be made from each other.
"""

from datetime import timedelta

import dagster as dg
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from assets.pagila.contracts import silver as contracts
from medallion.checks import Balances, References
from medallion.layers import silver

FRESHNESS = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=1))


def _refers(column: str, table: str, to_column: str | None = None) -> References:
    return References(column, to=f"silver/pagila/{table}", to_column=to_column, severity="WARN")


def _paid_by_day(payment: DataFrame) -> DataFrame:
    return payment.groupBy(F.to_date("paid_at").alias("paid_on")).agg(_money(F.sum("amount")))


def _received_by_day(raw_payment: DataFrame) -> DataFrame:
    """The money that the source has, but for payments that nobody can book: they are in quarantine."""
    bookable = raw_payment.dropna(subset=["customer_id", "staff_id"]).where(contracts.has_happened("payment_date"))
    return bookable.groupBy(F.to_date("payment_date").alias("paid_on")).agg(_money(F.sum("amount")))


AMOUNT_BALANCES = Balances(
    name="amount_balances_with_source",
    by=("paid_on",),
    ours=_paid_by_day,
    sources=("bronze/pagila/payment",),
    theirs=_received_by_day,
    description="the money of every day equals that of the source, to the cent",
)


@silver(contract=contracts.Address, owner="team:rental", freshness=FRESHNESS)
def address(raw_address: DataFrame, raw_city: DataFrame, raw_country: DataFrame) -> DataFrame:
    """One row per address, with its city and country."""
    cities = raw_city.select("city_id", _text("city").alias("city"), "country_id", _updated("_city_updated_at"))
    countries = raw_country.select("country_id", _text("country").alias("country"), _updated("_country_updated_at"))
    texts = ("address", "address2", "district", "postal_code", "phone")
    return (
        raw_address.withColumns({name: _text(name) for name in texts})
        .join(cities, "city_id", "left")
        .join(countries, "country_id", "left")
        .withColumn("updated_at", F.greatest("last_update", "_city_updated_at", "_country_updated_at"))
    )


@silver(contract=contracts.Staff, owner="team:rental", freshness=FRESHNESS, checks=[_refers("address_id", "address")])
def staff(raw_staff: DataFrame) -> DataFrame:
    """One row per member of staff, without password and photograph."""
    return raw_staff.withColumns(
        {
            **{name: _text(name) for name in ("first_name", "last_name", "username")},
            "email": F.lower(_text("email")),
            "is_active": F.col("active"),
            "updated_at": F.col("last_update"),
            # What quarantine keeps of a rejected row is shown to people.
            "_raw": F.col("_raw").dropFields("password", "picture"),
        }
    )


@silver(
    contract=contracts.Store,
    owner="team:rental",
    freshness=FRESHNESS,
    checks=[_refers("address_id", "address"), _refers("manager_staff_id", "staff", "staff_id")],
)
def store(raw_store: DataFrame, address: DataFrame) -> DataFrame:
    """One row per store, with where it is."""
    places = address.select("address_id", "city", "country")
    return raw_store.join(places, "address_id", "left").withColumn("updated_at", F.col("last_update"))


@silver(
    contract=contracts.Customer,
    mode="scd2",
    absent="close",
    owner="team:rental",
    freshness=FRESHNESS,
    checks=[_refers("address_id", "address"), _refers("store_id", "store")],
)
def customer(raw_customer: DataFrame) -> DataFrame:
    """One row per version of a customer, from one change to the next or until the source has the customer no more.

    A customer is active if no flag of the source says otherwise: rows that name only the newer one leave the older
    NULL.
    """
    return raw_customer.withColumns(
        {
            **{name: _text(name) for name in ("first_name", "last_name")},
            "email": F.lower(_text("email")),
            "is_active": F.col("activebool") & F.coalesce(F.col("active") == 1, F.lit(True)),
            "created_on": F.col("create_date"),
            "valid_from": F.coalesce("last_update", F.col("create_date").cast("timestamp")),
        }
    )


@silver(contract=contracts.Film, mode="scd2", absent="close", owner="team:catalog", freshness=FRESHNESS)
def film(
    raw_film: DataFrame,
    raw_language: DataFrame,
    raw_film_category: DataFrame,
    raw_category: DataFrame,
    raw_film_actor: DataFrame,
    raw_actor: DataFrame,
) -> DataFrame:
    """One row per version of a film, with its language, categories and actors.

    A version begins when the film, or what it is joined with, last changed. An actor or a category that is taken away
    moves no time stamp: if another part changed later, the version of that moment is corrected.
    """
    languages = raw_language.select("language_id", _text("name").alias("language"), _updated("_language_updated_at"))
    originals = languages.toDF("original_language_id", "original_language", "_original_updated_at")
    categories = raw_category.select("category_id", _text("name").alias("_name"), _updated("_updated_at"))
    names = F.concat_ws(" ", _text("first_name"), _text("last_name"))
    actors = raw_actor.select("actor_id", names.alias("_name"), _updated("_updated_at"))
    parts = ("last_update", "_language_updated_at", "_original_updated_at", "_categories_updated_at")
    return (
        raw_film.join(languages, "language_id", "left")
        .join(originals, "original_language_id", "left")
        .join(_listed(raw_film_category.join(categories, "category_id"), "categories"), "film_id", "left")
        .join(_listed(raw_film_actor.join(actors, "actor_id"), "actors"), "film_id", "left")
        .withColumns(
            {
                **{name: _text(name) for name in ("title", "description", "rating")},
                **{name: F.coalesce(name, F.array().cast("array<string>")) for name in ("categories", "actors")},
                "rental_duration_days": F.col("rental_duration"),
                "length_minutes": F.col("length"),
                "valid_from": F.greatest(*parts, "_actors_updated_at"),
            }
        )
    )


@silver(
    contract=contracts.Inventory,
    owner="team:rental",
    freshness=FRESHNESS,
    checks=[_refers("film_id", "film"), _refers("store_id", "store")],
)
def inventory(raw_inventory: DataFrame) -> DataFrame:
    """One row per copy of a film."""
    return raw_inventory.withColumn("updated_at", F.col("last_update"))


@silver(
    contract=contracts.Rental,
    owner="team:rental",
    freshness=FRESHNESS,
    checks=[_refers("inventory_id", "inventory"), _refers("customer_id", "customer"), _refers("staff_id", "staff")],
)
def rental(raw_rental: DataFrame) -> DataFrame:
    """One row per rental of a copy."""
    return raw_rental.withColumns(
        {
            "rented_at": F.col("rental_date"),
            "returned_at": F.col("return_date"),
            "updated_at": F.col("last_update"),
        }
    )


@silver(
    contract=contracts.Payment,
    owner="team:finance",
    freshness=FRESHNESS,
    checks=[
        _refers("customer_id", "customer"),
        _refers("staff_id", "staff"),
        _refers("rental_id", "rental"),
        AMOUNT_BALANCES,
    ],
)
def payment(raw_payment: DataFrame) -> DataFrame:
    """One row per payment, those of all months."""
    return raw_payment.withColumn("paid_at", F.col("payment_date"))


def _listed(links: DataFrame, name: str) -> DataFrame:
    """The names that a film is linked with, sorted, and when one of them or of the links last changed."""
    changed = F.max(F.greatest("last_update", "_updated_at")).alias(f"_{name}_updated_at")
    return links.groupBy("film_id").agg(F.sort_array(F.collect_list("_name")).alias(name), changed)


def _text(name: str) -> Column:
    """A text without the blanks around it, NULL if nothing is left."""
    return F.nullif(F.trim(name), F.lit(""))


def _updated(name: str) -> Column:
    """When a row last changed, by a name that is free in a join."""
    return F.col("last_update").alias(name)


def _money(amount: Column) -> Column:
    return amount.cast("decimal(18,2)").alias("amount")
