"""What the gold tables of Pagila promise: a star of five dimensions and two facts, and four marts over it."""

import datetime as dt

import pandera.pyspark as pa
import pyspark.sql.types as T
from pyspark.sql import Column
from pyspark.sql import functions as F

from medallion.calendar_day import CalendarDay
from medallion.contracts import row_rule

MONEY = "USD"
UNKNOWN = "unknown"
"""Key of the explicit unknown member that every dimension but the calendar has."""
FIRST_DAY, LAST_DAY = dt.date(2000, 1, 1), dt.date(2030, 12, 31)
"""The calendar's span; it ends long after the last date that a business of today can have recorded."""
TIERS = (("Platinum", 100), ("Gold", 50), ("Silver", 20))
"""Tier of a customer and the revenue from which it is reached, highest first."""
LOWEST_TIER = "Bronze"

_FACT_CUSTOMER = "Key of dim_customer: the version that held then, or the first if that began later."


def _month_of(date: str, month: str) -> Column:
    return F.col(month) == F.trunc(date, "month")


class DimDate(CalendarDay):
    """One row per day of the calendar."""

    class Config:
        """The key."""

        unique = ["date"]


class DimCustomer(pa.DataFrameModel):
    """One row per version of a customer, and the unknown member."""

    customer_key: T.StringType() = pa.Field(
        description="Hash of the customer and the moment from which the version holds; `unknown` for rentals and "
        "payments whose customer is not known."
    )
    customer_id: T.IntegerType() = pa.Field(
        nullable=True, description="The customer in the shop's database; NULL for the unknown member."
    )
    version: T.IntegerType() = pa.Field(description="Number of the customer's version, from 1.")
    valid_from: T.TimestampType() = pa.Field(
        nullable=True, description="When the version begins, UTC; NULL for the unknown member."
    )
    valid_to: T.TimestampType() = pa.Field(
        nullable=True, description="When it ends, which is not part of it; NULL while it holds."
    )
    is_current: T.BooleanType() = pa.Field(description="The version that holds; none of a customer who is gone.")
    first_name: T.StringType() = pa.Field(nullable=True, metadata={"pii": True}, description="Given name.")
    last_name: T.StringType() = pa.Field(nullable=True, metadata={"pii": True}, description="Family name.")
    email: T.StringType() = pa.Field(nullable=True, metadata={"pii": True}, description="E-mail address, lower case.")
    is_active: T.BooleanType() = pa.Field(nullable=True, description="Whether the shop counts the customer as active.")
    created_on: T.DateType() = pa.Field(nullable=True, description="When the customer was first recorded.")
    store_key: T.StringType() = pa.Field(description="Key of dim_store: where the customer is registered.")
    city: T.StringType() = pa.Field(
        metadata={"pii": True}, description="City of the address as it is now; `unknown` without one."
    )
    country: T.StringType() = pa.Field(description="Country of the address as it is now; `unknown` without one.")

    class Config:
        """The key."""

        unique = ["customer_key"]


class DimFilm(pa.DataFrameModel):
    """One row per version of a film, and the unknown member."""

    film_key: T.StringType() = pa.Field(
        description="Hash of the film and the moment from which the version holds; `unknown` for rentals and payments "
        "whose film is not known."
    )
    film_id: T.IntegerType() = pa.Field(
        nullable=True, description="The film in the shop's database; NULL for the unknown member."
    )
    version: T.IntegerType() = pa.Field(description="Number of the film's version, from 1.")
    valid_from: T.TimestampType() = pa.Field(
        nullable=True, description="When the version begins, UTC; NULL for the unknown member."
    )
    valid_to: T.TimestampType() = pa.Field(
        nullable=True, description="When it ends, which is not part of it; NULL while it holds."
    )
    is_current: T.BooleanType() = pa.Field(description="The version that holds; none of a film that is gone.")
    title: T.StringType() = pa.Field(description="Title; `unknown` for the unknown member.")
    description: T.StringType() = pa.Field(nullable=True, description="What it is about.")
    release_year: T.IntegerType() = pa.Field(nullable=True, description="Year of release.")
    language: T.StringType() = pa.Field(nullable=True, description="Language it is spoken in.")
    original_language: T.StringType() = pa.Field(nullable=True, description="Language it was made in, if another one.")
    rental_duration_days: T.IntegerType() = pa.Field(nullable=True, description="Days that a rental may last.")
    rental_rate: T.DecimalType(18, 2) = pa.Field(nullable=True, description=f"Price of that time, {MONEY}.")
    length_minutes: T.IntegerType() = pa.Field(nullable=True, description="Running time in minutes.")
    replacement_cost: T.DecimalType(18, 2) = pa.Field(nullable=True, description=f"Charge for a lost copy, {MONEY}.")
    rating: T.StringType() = pa.Field(nullable=True, description="Rating of the Motion Picture Association.")
    special_features: T.ArrayType(T.StringType()) = pa.Field(nullable=True, description="What the medium has besides.")
    categories: T.ArrayType(T.StringType()) = pa.Field(nullable=True, description="Names of its categories, sorted.")
    actors: T.ArrayType(T.StringType()) = pa.Field(nullable=True, description="Names of its actors, sorted.")

    class Config:
        """The key."""

        unique = ["film_key"]


class DimStore(pa.DataFrameModel):
    """One row per store, and the unknown member."""

    store_key: T.StringType() = pa.Field(description="The store's id as a text; `unknown` where there is none.")
    store_id: T.IntegerType() = pa.Field(
        nullable=True, description="The store in the shop's database; NULL for the unknown member."
    )
    manager_staff_id: T.IntegerType() = pa.Field(nullable=True, description="Who manages it.")
    city: T.StringType() = pa.Field(description="City; `unknown` for the unknown member.")
    country: T.StringType() = pa.Field(description="Country; `unknown` for the unknown member.")

    class Config:
        """The key."""

        unique = ["store_key"]


class DimStaff(pa.DataFrameModel):
    """One row per member of the staff, and the unknown member."""

    staff_key: T.StringType() = pa.Field(description="The id as a text; `unknown` where there is none.")
    staff_id: T.IntegerType() = pa.Field(
        nullable=True, description="The person in the shop's database; NULL for the unknown member."
    )
    first_name: T.StringType() = pa.Field(nullable=True, metadata={"pii": True}, description="Given name.")
    last_name: T.StringType() = pa.Field(nullable=True, metadata={"pii": True}, description="Family name.")
    email: T.StringType() = pa.Field(nullable=True, metadata={"pii": True}, description="E-mail address, lower case.")
    is_active: T.BooleanType() = pa.Field(nullable=True, description="Whether the person works in the shop now.")
    store_id: T.IntegerType() = pa.Field(
        nullable=True, description="Where the person works, as the shop's database says; NULL for the unknown member."
    )
    store_key: T.StringType() = pa.Field(description="Key of dim_store: where the person works.")

    class Config:
        """The key."""

        unique = ["staff_key"]


class FactRental(pa.DataFrameModel):
    """One row per rental; its payments are summed before they meet it."""

    rental_id: T.IntegerType() = pa.Field(description="The rental.")
    customer_id: T.IntegerType() = pa.Field(description="The customer who rented.")
    customer_key: T.StringType() = pa.Field(description=_FACT_CUSTOMER)
    inventory_id: T.IntegerType() = pa.Field(description="The copy that was rented.")
    film_id: T.IntegerType() = pa.Field(nullable=True, description="Its film; NULL if the copy is not known.")
    film_key: T.StringType() = pa.Field(
        description="Key of dim_film: the version that held then, or the first if that began later."
    )
    inventory_store_key: T.StringType() = pa.Field(description="Key of dim_store: where the copy belongs.")
    staff_key: T.StringType() = pa.Field(description="Key of dim_staff: who handed it out.")
    staff_store_key: T.StringType() = pa.Field(description="Key of dim_store: where that person works.")
    rented_at: T.TimestampType() = pa.Field(description="When it was handed out, UTC.")
    rental_date: T.DateType() = pa.Field(description="Day of that, UTC; key of dim_date.")
    returned_at: T.TimestampType() = pa.Field(
        nullable=True, description="When it came back, UTC; NULL while it is out."
    )
    return_date: T.DateType() = pa.Field(nullable=True, description="Day of that, UTC; key of dim_date.")
    days_out: T.DoubleType() = pa.Field(
        nullable=True, ge=0, description="Days of 24 hours until it came back; NULL while it is out."
    )
    is_late: T.BooleanType() = pa.Field(
        nullable=True,
        description="Came back more than the film's rental_duration_days of 24 hours after it was handed out; NULL "
        "while it is out or if the film is not known.",
    )
    payments: T.LongType() = pa.Field(ge=0, description="Payments for it.")
    amount_paid: T.DecimalType(18, 2) = pa.Field(description=f"Sum of these payments, by whomever, {MONEY}.")
    rental_month: T.DateType() = pa.Field(
        metadata={"partition": True}, description="First day of the month of the rental, UTC."
    )

    class Config:
        """The key."""

        unique = ["rental_id"]

    @row_rule()
    def rental_is_of_its_month(cls) -> Column:
        """rental_month is the first day of the month of rental_date."""
        return _month_of("rental_date", "rental_month")


class FactPayment(pa.DataFrameModel):
    """One row per payment; it belongs to the customer who paid, who may not be the one who rented."""

    payment_id: T.IntegerType() = pa.Field(description="The payment; unique together with its moment.")
    rental_id: T.IntegerType() = pa.Field(nullable=True, description="The rental it is for, if it is for one.")
    customer_id: T.IntegerType() = pa.Field(description="The customer who paid.")
    customer_key: T.StringType() = pa.Field(description=_FACT_CUSTOMER)
    staff_key: T.StringType() = pa.Field(description="Key of dim_staff: who took it.")
    staff_store_key: T.StringType() = pa.Field(description="Key of dim_store: where that person works.")
    inventory_store_key: T.StringType() = pa.Field(
        description="Key of dim_store: where the rented copy belongs; `unknown` for a payment without a rental."
    )
    paid_at: T.TimestampType() = pa.Field(description="When it was paid, UTC.")
    payment_date: T.DateType() = pa.Field(description="Day of that, UTC; key of dim_date.")
    amount: T.DecimalType(18, 2) = pa.Field(description=f"What was paid, {MONEY}.")
    payment_month: T.DateType() = pa.Field(
        metadata={"partition": True}, description="First day of the month of the payment, UTC."
    )

    class Config:
        """The key."""

        unique = ["payment_id", "paid_at"]

    @row_rule()
    def payment_is_of_its_month(cls) -> Column:
        """payment_month is the first day of the month of payment_date."""
        return _month_of("payment_date", "payment_month")


class CustomerMetrics(pa.DataFrameModel):
    """One row per customer, those included who are gone or have rented nothing."""

    customer_id: T.IntegerType() = pa.Field(description="The customer.")
    customer_key: T.StringType() = pa.Field(
        description="Key of dim_customer: the latest version; `unknown` if only rentals or payments name the customer."
    )
    is_current: T.BooleanType() = pa.Field(description="Whether the shop's database has the customer.")
    rentals: T.LongType() = pa.Field(ge=0, description="Rentals of the customer.")
    late_returns: T.LongType() = pa.Field(ge=0, description="Of these, those that came back late.")
    payments: T.LongType() = pa.Field(ge=0, description="Payments of the customer, for whomever's rental.")
    revenue: T.DecimalType(18, 2) = pa.Field(description=f"Sum of these payments, {MONEY}.")
    average_payment: T.DecimalType(18, 2) = pa.Field(
        nullable=True, description=f"revenue / payments, half a cent rounds up, {MONEY}; NULL without payments."
    )
    first_rented_at: T.TimestampType() = pa.Field(nullable=True, description="When the first rental began, UTC.")
    last_rented_at: T.TimestampType() = pa.Field(nullable=True, description="When the last rental began, UTC.")
    favourite_category: T.StringType() = pa.Field(
        nullable=True, description="Category of most rentals, of equals the first by name; NULL without rentals."
    )
    tier: T.StringType() = pa.Field(
        isin=[*[name for name, _ in TIERS], LOWEST_TIER],
        description=", ".join(f"{name} from {least}" for name, least in TIERS) + f" of revenue, else {LOWEST_TIER}.",
    )

    class Config:
        """The key."""

        unique = ["customer_id"]


class MonthlyRevenue(pa.DataFrameModel):
    """One row per month with a payment or a rental."""

    month: T.DateType() = pa.Field(description="First day of the month, UTC.")
    payments: T.LongType() = pa.Field(ge=0, description="Payments of the month.")
    revenue: T.DecimalType(18, 2) = pa.Field(description=f"Sum of these payments, {MONEY}.")
    paying_customers: T.LongType() = pa.Field(ge=0, description="Customers who paid.")
    average_payment: T.DecimalType(18, 2) = pa.Field(
        nullable=True, description=f"revenue / payments, half a cent rounds up, {MONEY}; NULL without payments."
    )
    rentals: T.LongType() = pa.Field(ge=0, description="Rentals that began in the month.")

    class Config:
        """The key."""

        unique = ["month"]


class StoreScorecard(pa.DataFrameModel):
    """One row per store, and one of the unknown store if a rental or a payment has no other."""

    store_key: T.StringType() = pa.Field(description="Key of dim_store.")
    revenue_by_staff: T.DecimalType(18, 2) = pa.Field(
        description=f"Payments that were taken by the staff of the store, {MONEY}."
    )
    revenue_by_inventory: T.DecimalType(18, 2) = pa.Field(
        description=f"Payments for rentals of the store's copies, {MONEY}."
    )
    rentals: T.LongType() = pa.Field(ge=0, description="Rentals of the store's copies.")
    late_share: T.DoubleType() = pa.Field(
        nullable=True,
        in_range={"min_value": 0, "max_value": 1},
        description="Of these rentals that came back, the share that was late; NULL if none came back.",
    )
    copies: T.LongType() = pa.Field(ge=0, description="Copies that belong to the store.")
    active_customers: T.LongType() = pa.Field(
        ge=0, description="Customers who are registered in the store and active now."
    )

    class Config:
        """The key."""

        unique = ["store_key"]


class TopTitles(pa.DataFrameModel):
    """One row per film that was rented, ranked by what its rentals brought and by how many they were."""

    film_id: T.IntegerType() = pa.Field(description="The film.")
    film_key: T.StringType() = pa.Field(
        description="Key of dim_film: the latest version; `unknown` if only a copy names the film."
    )
    title: T.StringType() = pa.Field(description="Title in that version; `unknown` without one.")
    rentals: T.LongType() = pa.Field(ge=1, description="Rentals of its copies.")
    revenue: T.DecimalType(18, 2) = pa.Field(description=f"Payments for these rentals, {MONEY}.")
    revenue_rank: T.IntegerType() = pa.Field(
        ge=1, description="Place by revenue, from 1; of equals by rentals, then title, then film_id."
    )
    rental_rank: T.IntegerType() = pa.Field(
        ge=1, description="Place by rentals, from 1; of equals by revenue, then title, then film_id."
    )

    class Config:
        """The key."""

        unique = ["film_id"]
