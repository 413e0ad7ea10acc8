"""Contracts of the bronze tables: the columns of Pagila's base tables with their types; the rules are silver's."""

import pandera.pyspark as pa
import pyspark.sql.types as T

from medallion.mirrored import Mirrored


class Actor(Mirrored):
    """An actor."""

    actor_id: T.IntegerType() = pa.Field(description="Actor.")
    first_name: T.StringType() = pa.Field(nullable=True, description="First name.")
    last_name: T.StringType() = pa.Field(nullable=True, description="Last name.")
    last_update: T.TimestampType() = pa.Field(nullable=True, description="When the row last changed.")

    class Config:
        """The key."""

        unique = ["actor_id"]


class Address(Mirrored):
    """An address of a customer, a store or a member of staff."""

    address_id: T.IntegerType() = pa.Field(description="Address.")
    address: T.StringType() = pa.Field(nullable=True, description="Street and number.", metadata={"pii": True})
    address2: T.StringType() = pa.Field(nullable=True, description="Second line.", metadata={"pii": True})
    district: T.StringType() = pa.Field(nullable=True, description="District.")
    city_id: T.IntegerType() = pa.Field(nullable=True, description="City.")
    postal_code: T.StringType() = pa.Field(nullable=True, description="Postal code.", metadata={"pii": True})
    phone: T.StringType() = pa.Field(nullable=True, description="Telephone number.", metadata={"pii": True})
    last_update: T.TimestampType() = pa.Field(nullable=True, description="When the row last changed.")

    class Config:
        """The key."""

        unique = ["address_id"]


class Category(Mirrored):
    """A category of films."""

    category_id: T.IntegerType() = pa.Field(description="Category.")
    name: T.StringType() = pa.Field(nullable=True, description="Name.")
    last_update: T.TimestampType() = pa.Field(nullable=True, description="When the row last changed.")

    class Config:
        """The key."""

        unique = ["category_id"]


class City(Mirrored):
    """A city."""

    city_id: T.IntegerType() = pa.Field(description="City.")
    city: T.StringType() = pa.Field(nullable=True, description="Name.")
    country_id: T.IntegerType() = pa.Field(nullable=True, description="Country.")
    last_update: T.TimestampType() = pa.Field(nullable=True, description="When the row last changed.")

    class Config:
        """The key."""

        unique = ["city_id"]


class Country(Mirrored):
    """A country."""

    country_id: T.IntegerType() = pa.Field(description="Country.")
    country: T.StringType() = pa.Field(nullable=True, description="Name.")
    last_update: T.TimestampType() = pa.Field(nullable=True, description="When the row last changed.")

    class Config:
        """The key."""

        unique = ["country_id"]


class Customer(Mirrored):
    """A customer."""

    customer_id: T.IntegerType() = pa.Field(description="Customer.")
    store_id: T.IntegerType() = pa.Field(nullable=True, description="Home store.")
    first_name: T.StringType() = pa.Field(nullable=True, description="First name.", metadata={"pii": True})
    last_name: T.StringType() = pa.Field(nullable=True, description="Last name.", metadata={"pii": True})
    email: T.StringType() = pa.Field(nullable=True, description="E-mail address.", metadata={"pii": True})
    address_id: T.IntegerType() = pa.Field(nullable=True, description="Home address.")
    activebool: T.BooleanType() = pa.Field(nullable=True, description="Whether the customer is active.")
    create_date: T.DateType() = pa.Field(nullable=True, description="Day the customer was entered.")
    last_update: T.TimestampType() = pa.Field(nullable=True, description="When the row last changed.")
    active: T.IntegerType() = pa.Field(nullable=True, description="1 if active, 0 if not: the older of the two flags.")

    class Config:
        """The key."""

        unique = ["customer_id"]


class Film(Mirrored):
    """A film that the shop has or had for rent."""

    film_id: T.IntegerType() = pa.Field(description="Film.")
    title: T.StringType() = pa.Field(nullable=True, description="Title.")
    description: T.StringType() = pa.Field(nullable=True, description="Summary of the plot.")
    release_year: T.IntegerType() = pa.Field(nullable=True, description="Year of release.")
    language_id: T.IntegerType() = pa.Field(nullable=True, description="Language that is spoken.")
    original_language_id: T.IntegerType() = pa.Field(nullable=True, description="Language it was made in, if dubbed.")
    rental_duration: T.IntegerType() = pa.Field(nullable=True, description="Days a rental may last.")
    rental_rate: T.DecimalType(4, 2) = pa.Field(nullable=True, description="Price of a rental, USD.")
    length: T.IntegerType() = pa.Field(nullable=True, description="Running time, minutes.")
    replacement_cost: T.DecimalType(5, 2) = pa.Field(nullable=True, description="Price of a lost copy, USD.")
    rating: T.StringType() = pa.Field(nullable=True, description="MPAA rating.")
    last_update: T.TimestampType() = pa.Field(nullable=True, description="When the row last changed.")
    special_features: T.ArrayType(T.StringType()) = pa.Field(nullable=True, description="Extras on the disc.")
    fulltext: T.StringType() = pa.Field(nullable=True, description="Search vector of title and description, as text.")

    class Config:
        """The key."""

        unique = ["film_id"]


class FilmActor(Mirrored):
    """An actor of a film."""

    actor_id: T.IntegerType() = pa.Field(description="Actor.")
    film_id: T.IntegerType() = pa.Field(description="Film.")
    last_update: T.TimestampType() = pa.Field(nullable=True, description="When the row last changed.")

    class Config:
        """The key."""

        unique = ["actor_id", "film_id"]


class FilmCategory(Mirrored):
    """A category of a film."""

    film_id: T.IntegerType() = pa.Field(description="Film.")
    category_id: T.IntegerType() = pa.Field(description="Category.")
    last_update: T.TimestampType() = pa.Field(nullable=True, description="When the row last changed.")

    class Config:
        """The key."""

        unique = ["film_id", "category_id"]


class Inventory(Mirrored):
    """A copy of a film in a store."""

    inventory_id: T.IntegerType() = pa.Field(description="Copy.")
    film_id: T.IntegerType() = pa.Field(nullable=True, description="Film.")
    store_id: T.IntegerType() = pa.Field(nullable=True, description="Store that has it.")
    last_update: T.TimestampType() = pa.Field(nullable=True, description="When the row last changed.")

    class Config:
        """The key."""

        unique = ["inventory_id"]


class Language(Mirrored):
    """A language of films."""

    language_id: T.IntegerType() = pa.Field(description="Language.")
    name: T.StringType() = pa.Field(nullable=True, description="Name.")
    last_update: T.TimestampType() = pa.Field(nullable=True, description="When the row last changed.")

    class Config:
        """The key."""

        unique = ["language_id"]


class Payment(Mirrored):
    """A payment of a customer; the source keeps them in a partition per month."""

    payment_id: T.IntegerType() = pa.Field(description="Payment; unique together with its moment.")
    customer_id: T.IntegerType() = pa.Field(nullable=True, description="Customer who paid.")
    staff_id: T.IntegerType() = pa.Field(nullable=True, description="Member of staff who took it.")
    rental_id: T.IntegerType() = pa.Field(nullable=True, description="Rental that it is for.")
    amount: T.DecimalType(5, 2) = pa.Field(nullable=True, description="Amount, USD.")
    payment_date: T.TimestampType() = pa.Field(description="When it was paid.")

    class Config:
        """The key."""

        unique = ["payment_date", "payment_id"]


class Rental(Mirrored):
    """A rental of a copy."""

    rental_id: T.IntegerType() = pa.Field(description="Rental.")
    rental_date: T.TimestampType() = pa.Field(nullable=True, description="When the copy was handed out.")
    inventory_id: T.IntegerType() = pa.Field(nullable=True, description="Copy.")
    customer_id: T.IntegerType() = pa.Field(nullable=True, description="Customer who took it.")
    return_date: T.TimestampType() = pa.Field(nullable=True, description="When it came back; NULL while it is out.")
    staff_id: T.IntegerType() = pa.Field(nullable=True, description="Member of staff who handed it out.")
    last_update: T.TimestampType() = pa.Field(nullable=True, description="When the row last changed.")

    class Config:
        """The key."""

        unique = ["rental_id"]


class Staff(Mirrored):
    """A member of staff."""

    staff_id: T.IntegerType() = pa.Field(description="Member of staff.")
    first_name: T.StringType() = pa.Field(nullable=True, description="First name.", metadata={"pii": True})
    last_name: T.StringType() = pa.Field(nullable=True, description="Last name.", metadata={"pii": True})
    address_id: T.IntegerType() = pa.Field(nullable=True, description="Home address.")
    email: T.StringType() = pa.Field(nullable=True, description="E-mail address.", metadata={"pii": True})
    store_id: T.IntegerType() = pa.Field(nullable=True, description="Store where they work.")
    active: T.BooleanType() = pa.Field(nullable=True, description="Whether they work there now.")
    username: T.StringType() = pa.Field(nullable=True, description="Login.", metadata={"pii": True})
    password: T.StringType() = pa.Field(nullable=True, description="Hash of the password.", metadata={"pii": True})
    last_update: T.TimestampType() = pa.Field(nullable=True, description="When the row last changed.")
    picture: T.BinaryType() = pa.Field(nullable=True, description="Photograph, PNG.", metadata={"pii": True})

    class Config:
        """The key."""

        unique = ["staff_id"]


class Store(Mirrored):
    """A store."""

    store_id: T.IntegerType() = pa.Field(description="Store.")
    manager_staff_id: T.IntegerType() = pa.Field(nullable=True, description="Member of staff who runs it.")
    address_id: T.IntegerType() = pa.Field(nullable=True, description="Address.")
    last_update: T.TimestampType() = pa.Field(nullable=True, description="When the row last changed.")

    class Config:
        """The key."""

        unique = ["store_id"]
