"""Contracts of the silver tables: conformed rows, and the business rules that each must keep."""

import pandera.pyspark as pa
import pyspark.sql.types as T
from pyspark.sql import Column
from pyspark.sql import functions as F

from medallion.contracts import row_rule
from medallion.versioned import Versioned

RATINGS = ("G", "PG", "PG-13", "R", "NC-17")
"""The ratings of the Motion Picture Association."""
YEARS = {"min_value": 1901, "max_value": 2155}
"""The years that the source's domain `year` has."""

_EMAIL = r"^[^@\s]+@[^@\s]+\.[^@\s]+$"


def has_happened(moment: str) -> Column:
    """Whether a moment of a mirror's row is not after it was read.

    A day is allowed for the source's clock, and for one that tells local time: the earliest zone is 14 hours ahead.
    """
    return F.col(moment) <= F.col("_ingested_at") + F.expr("INTERVAL 1 DAY")


class Dated(pa.DataFrameModel):
    """A row that says when it last changed."""

    @row_rule()
    def updated_at_has_happened(cls) -> Column:
        """The last change is not in the future."""
        return has_happened("updated_at")


class Reachable(pa.DataFrameModel):
    """A person with an e-mail address; one that can't be right is reported, for the person is right."""

    @row_rule("WARN")
    def email_looks_like_one(cls) -> Column:
        """The e-mail address has a name, an @ and a domain."""
        return F.col("email").rlike(_EMAIL)


class Address(Dated):
    """One row per address, with its city and country."""

    address_id: T.IntegerType() = pa.Field(gt=0, description="Address.")
    address: T.StringType() = pa.Field(description="Street and number.", metadata={"pii": True})
    address2: T.StringType() = pa.Field(
        nullable=True, description="Second line; NULL if there is none.", metadata={"pii": True}
    )
    district: T.StringType() = pa.Field(nullable=True, description="District; NULL if the country has none.")
    postal_code: T.StringType() = pa.Field(
        nullable=True, description="Postal code; NULL if there is none.", metadata={"pii": True}
    )
    phone: T.StringType() = pa.Field(
        nullable=True, description="Telephone number; NULL if there is none.", metadata={"pii": True}
    )
    city: T.StringType() = pa.Field(description="City.")
    country: T.StringType() = pa.Field(description="Country.")
    updated_at: T.TimestampType() = pa.Field(description="When it, its city or its country last changed.")

    class Config:
        """The key."""

        unique = ["address_id"]


class Staff(Dated, Reachable):
    """One row per member of staff, without password and photograph."""

    staff_id: T.IntegerType() = pa.Field(gt=0, description="Member of staff.")
    first_name: T.StringType() = pa.Field(description="First name.", metadata={"pii": True})
    last_name: T.StringType() = pa.Field(description="Last name.", metadata={"pii": True})
    email: T.StringType() = pa.Field(nullable=True, description="E-mail address, lower case.", metadata={"pii": True})
    store_id: T.IntegerType() = pa.Field(description="Store where they work.")
    address_id: T.IntegerType() = pa.Field(description="Home address.")
    username: T.StringType() = pa.Field(description="Login.", metadata={"pii": True})
    is_active: T.BooleanType() = pa.Field(description="Whether they work there now.")
    updated_at: T.TimestampType() = pa.Field(description="When the row last changed.")

    class Config:
        """The key."""

        unique = ["staff_id"]


class Store(Dated):
    """One row per store, with where it is."""

    store_id: T.IntegerType() = pa.Field(gt=0, description="Store.")
    manager_staff_id: T.IntegerType() = pa.Field(description="Member of staff who runs it.")
    address_id: T.IntegerType() = pa.Field(description="Address.")
    city: T.StringType() = pa.Field(nullable=True, description="City; NULL if the address is in quarantine.")
    country: T.StringType() = pa.Field(nullable=True, description="Country; NULL if the address is in quarantine.")
    updated_at: T.TimestampType() = pa.Field(description="When the row last changed.")

    class Config:
        """The key."""

        unique = ["store_id"]


class Customer(Versioned, Reachable):
    """One row per version of a customer."""

    customer_id: T.IntegerType() = pa.Field(gt=0, description="Customer.")
    store_id: T.IntegerType() = pa.Field(description="Home store.")
    first_name: T.StringType() = pa.Field(description="First name.", metadata={"pii": True})
    last_name: T.StringType() = pa.Field(description="Last name.", metadata={"pii": True})
    email: T.StringType() = pa.Field(nullable=True, description="E-mail address, lower case.", metadata={"pii": True})
    address_id: T.IntegerType() = pa.Field(description="Home address.")
    is_active: T.BooleanType() = pa.Field(description="Whether both flags of the source say so.")
    created_on: T.DateType() = pa.Field(description="Day the customer was entered.")

    class Config:
        """The key."""

        unique = ["customer_id", "valid_from"]

    @row_rule()
    def valid_from_has_happened(cls) -> Column:
        """The version does not begin in the future."""
        return has_happened("valid_from")

    @row_rule()
    def created_on_has_happened(cls) -> Column:
        """The customer was not entered in the future."""
        return has_happened("created_on")


class Film(Versioned):
    """One row per version of a film, with its language, categories and actors."""

    film_id: T.IntegerType() = pa.Field(gt=0, description="Film.")
    title: T.StringType() = pa.Field(description="Title.")
    description: T.StringType() = pa.Field(nullable=True, description="Summary of the plot.")
    release_year: T.IntegerType() = pa.Field(nullable=True, in_range=YEARS, description="Year of release.")
    language: T.StringType() = pa.Field(description="Language that is spoken.")
    original_language: T.StringType() = pa.Field(
        nullable=True, description="Language it was made in; NULL if it is not dubbed."
    )
    rental_duration_days: T.IntegerType() = pa.Field(ge=1, description="Days a rental may last.")
    rental_rate: T.DecimalType(4, 2) = pa.Field(ge=0, description="Price of a rental, USD; 0 for a promotion.")
    length_minutes: T.IntegerType() = pa.Field(nullable=True, gt=0, description="Running time, minutes.")
    replacement_cost: T.DecimalType(5, 2) = pa.Field(ge=0, description="Price of a lost copy, USD.")
    rating: T.StringType() = pa.Field(nullable=True, isin=RATINGS, description="MPAA rating; NULL if not rated.")
    special_features: T.ArrayType(T.StringType()) = pa.Field(
        nullable=True, description="Extras on the disc; NULL if not known."
    )
    categories: T.ArrayType(T.StringType()) = pa.Field(description="Names of its categories, sorted.")
    actors: T.ArrayType(T.StringType()) = pa.Field(
        description="Names of its actors, sorted; two of one name are there twice."
    )

    class Config:
        """The key."""

        unique = ["film_id", "valid_from"]

    @row_rule()
    def valid_from_has_happened(cls) -> Column:
        """The version does not begin in the future."""
        return has_happened("valid_from")


class Inventory(Dated):
    """One row per copy of a film."""

    inventory_id: T.IntegerType() = pa.Field(gt=0, description="Copy.")
    film_id: T.IntegerType() = pa.Field(description="Film.")
    store_id: T.IntegerType() = pa.Field(description="Store that has it.")
    updated_at: T.TimestampType() = pa.Field(description="When the row last changed.")

    class Config:
        """The key."""

        unique = ["inventory_id"]


class Rental(Dated):
    """One row per rental of a copy."""

    rental_id: T.IntegerType() = pa.Field(gt=0, description="Rental.")
    rented_at: T.TimestampType() = pa.Field(description="When the copy was handed out.")
    returned_at: T.TimestampType() = pa.Field(nullable=True, description="When it came back; NULL while it is out.")
    inventory_id: T.IntegerType() = pa.Field(description="Copy.")
    customer_id: T.IntegerType() = pa.Field(description="Customer who took it.")
    staff_id: T.IntegerType() = pa.Field(description="Member of staff who handed it out.")
    updated_at: T.TimestampType() = pa.Field(description="When the row last changed.")

    class Config:
        """The key."""

        unique = ["rental_id"]

    @row_rule()
    def returned_not_before_rented(cls) -> Column:
        """A copy does not come back before it is handed out."""
        return F.col("returned_at") >= F.col("rented_at")

    @row_rule()
    def rented_at_has_happened(cls) -> Column:
        """The rental does not begin in the future."""
        return has_happened("rented_at")

    @row_rule()
    def returned_at_has_happened(cls) -> Column:
        """The return is not in the future: a copy that is out has none."""
        return has_happened("returned_at")


class Payment(pa.DataFrameModel):
    """One row per payment."""

    payment_id: T.IntegerType() = pa.Field(description="Payment; unique together with its moment.")
    customer_id: T.IntegerType() = pa.Field(description="Customer who paid; need not be the one who rented.")
    staff_id: T.IntegerType() = pa.Field(description="Member of staff who took it.")
    rental_id: T.IntegerType() = pa.Field(
        nullable=True, description="Rental that it is for; NULL if for none, or the rental was deleted."
    )
    amount: T.DecimalType(5, 2) = pa.Field(description="Amount, USD; 0 for a free rental, negative for a refund.")
    paid_at: T.TimestampType() = pa.Field(description="When it was paid.")

    class Config:
        """The key."""

        unique = ["payment_id", "paid_at"]

    @row_rule()
    def paid_at_has_happened(cls) -> Column:
        """The payment is not in the future."""
        return has_happened("paid_at")

    @row_rule("WARN")
    def amount_is_no_refund(cls) -> Column:
        """The amount is not negative: money that was given back counts, and is reported."""
        return F.col("amount") >= 0
