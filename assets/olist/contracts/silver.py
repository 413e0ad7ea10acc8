"""Contracts of the silver tables: typed and conformed rows, and the business rules that each must keep."""

import pandera.pyspark as pa
import pyspark.sql.types as T
from pyspark.sql import Column
from pyspark.sql import functions as F

from medallion.contracts import row_rule
from medallion.versioned import Versioned

STATUSES = ("approved", "canceled", "created", "delivered", "invoiced", "processing", "shipped", "unavailable")
PAYMENT_TYPES = ("boleto", "credit_card", "debit_card", "not_defined", "voucher")
STATES = (
    *("AC", "AL", "AM", "AP", "BA", "CE", "DF", "ES", "GO", "MA", "MG", "MS", "MT", "PA"),
    *("PB", "PE", "PI", "PR", "RJ", "RN", "RO", "RR", "RS", "SC", "SE", "SP", "TO"),
)
"""The 26 states and the federal district, by their postal codes."""
ZIP_PREFIX = "[0-9]{5}$"

LAT_RANGE = (-33.76, 5.28)
"""From the mouth of the Chuí to Monte Caburaí, rounded outwards to 0.01 degrees."""
LNG_RANGE = (-74.0, -32.3)
"""From the Serra do Divisor to Fernando de Noronha, the easternmost place with postal codes: 360 km off the mainland's
end at -34.79, but its points are in the country."""


class Order(pa.DataFrameModel):
    """One row per order, with typed timestamps, delivery time and lateness."""

    order_id: T.StringType() = pa.Field(description="Order.", metadata={"source": True})
    customer_id: T.StringType() = pa.Field(
        description="The order's own customer id; a customer gets a new one with every order.",
        metadata={"source": True},
    )
    customer_unique_id: T.StringType() = pa.Field(
        nullable=True, description="The customer across orders; NULL if the customer did not land with the order."
    )
    status: T.StringType() = pa.Field(
        isin=STATUSES, description="State of the order when it was exported.", metadata={"source": "order_status"}
    )
    purchased_at: T.TimestampType() = pa.Field(
        description="When the order was placed.", metadata={"source": "order_purchase_timestamp"}
    )
    approved_at: T.TimestampType() = pa.Field(
        nullable=True, description="When the payment was approved.", metadata={"source": "order_approved_at"}
    )
    carrier_at: T.TimestampType() = pa.Field(
        nullable=True,
        description="When the carrier took the parcel.",
        metadata={"source": "order_delivered_carrier_date"},
    )
    delivered_at: T.TimestampType() = pa.Field(
        nullable=True,
        description="When the customer got the parcel.",
        metadata={"source": "order_delivered_customer_date"},
    )
    estimated_delivery_at: T.TimestampType() = pa.Field(
        description="Midnight of the day that was promised to the customer.",
        metadata={"source": "order_estimated_delivery_date"},
    )
    delivery_days: T.DoubleType() = pa.Field(
        nullable=True, description="Days of 24 hours from purchase to delivery; NULL if not delivered."
    )
    delay_days: T.IntegerType() = pa.Field(
        nullable=True,
        description="Calendar days from the promised day to the delivery; negative is early, NULL is not delivered.",
    )
    is_delayed: T.BooleanType() = pa.Field(
        nullable=True, description="Delivered after the promised day; NULL if not delivered."
    )
    approval_hours: T.DoubleType() = pa.Field(
        nullable=True, description="Hours from purchase to approval of the payment; NULL if not approved."
    )
    purchase_month: T.DateType() = pa.Field(
        description="First day of the month of purchase.", metadata={"partition": True}
    )

    class Config:
        """The key."""

        unique = ["order_id"]

    @row_rule()
    def purchased_in_its_month(cls) -> Column:
        """The purchase is in the month that the order landed in."""
        return F.trunc(F.to_date("purchased_at"), "month") == F.col("purchase_month")

    @row_rule()
    def approved_not_before_purchase(cls) -> Column:
        """The payment is not approved before the purchase."""
        return F.col("approved_at") >= F.col("purchased_at")

    @row_rule()
    def delivered_not_before_purchase(cls) -> Column:
        """The parcel does not arrive before the purchase."""
        return F.col("delivered_at") >= F.col("purchased_at")

    @row_rule("WARN")
    def carrier_not_before_purchase(cls) -> Column:
        """The carrier does not take the parcel before the purchase."""
        return F.col("carrier_at") >= F.col("purchased_at")

    @row_rule("WARN")
    def delivered_not_before_carrier(cls) -> Column:
        """The parcel does not arrive before the carrier takes it."""
        return F.col("delivered_at") >= F.col("carrier_at")

    @row_rule("WARN")
    def delivered_has_a_date(cls) -> Column:
        """An order of status delivered says when."""
        return (F.col("status") != "delivered") | F.col("delivered_at").isNotNull()


class OrderItem(pa.DataFrameModel):
    """One row per piece in an order, with its price and freight."""

    order_id: T.StringType() = pa.Field(description="Order.", metadata={"source": True})
    order_item_id: T.IntegerType() = pa.Field(
        ge=1, description="Number of the item in its order, from 1.", metadata={"source": True}
    )
    product_id: T.StringType() = pa.Field(description="Product.", metadata={"source": True})
    seller_id: T.StringType() = pa.Field(description="Seller.", metadata={"source": True})
    shipping_limit_at: T.TimestampType() = pa.Field(
        description="Until when the seller has to hand the item to the carrier.",
        metadata={"source": "shipping_limit_date"},
    )
    price: T.DecimalType(12, 2) = pa.Field(ge=0, description="Price of the item, BRL.", metadata={"source": True})
    freight: T.DecimalType(12, 2) = pa.Field(
        ge=0,
        description="The item's share of the order's freight, BRL.",
        metadata={"source": "freight_value"},
    )
    purchase_month: T.DateType() = pa.Field(
        description="First day of the order's month of purchase.", metadata={"partition": True}
    )

    class Config:
        """The key."""

        unique = ["order_id", "order_item_id"]


class Payment(pa.DataFrameModel):
    """One row per payment of an order; an order can be paid in several ways."""

    order_id: T.StringType() = pa.Field(description="Order.", metadata={"source": True})
    payment_sequential: T.IntegerType() = pa.Field(
        ge=1, description="Number of the payment in its order, from 1; may have gaps.", metadata={"source": True}
    )
    payment_type: T.StringType() = pa.Field(
        isin=PAYMENT_TYPES, description="How it was paid.", metadata={"source": True}
    )
    installments: T.IntegerType() = pa.Field(
        ge=0, description="Instalments the customer chose.", metadata={"source": "payment_installments"}
    )
    value: T.DecimalType(12, 2) = pa.Field(
        ge=0, description="Amount paid, BRL; 0 for a used-up voucher.", metadata={"source": "payment_value"}
    )
    purchase_month: T.DateType() = pa.Field(
        description="First day of the order's month of purchase.", metadata={"partition": True}
    )

    class Config:
        """The key."""

        unique = ["order_id", "payment_sequential"]


class Review(pa.DataFrameModel):
    """One row per review of an order; one review can cover several orders."""

    review_id: T.StringType() = pa.Field(description="Review; not unique by itself.", metadata={"source": True})
    order_id: T.StringType() = pa.Field(description="Order.", metadata={"source": True})
    score: T.IntegerType() = pa.Field(
        in_range={"min_value": 1, "max_value": 5},
        description="Satisfaction, 1 (worst) to 5.",
        metadata={"source": "review_score"},
    )
    title: T.StringType() = pa.Field(
        nullable=True,
        description="Title of the comment, Portuguese.",
        metadata={"source": "review_comment_title", "pii": True},
    )
    message: T.StringType() = pa.Field(
        nullable=True,
        description="The comment, Portuguese; free text that may name people.",
        metadata={"source": "review_comment_message", "pii": True},
    )
    created_at: T.TimestampType() = pa.Field(
        description="Midnight of the day the survey was sent.", metadata={"source": "review_creation_date"}
    )
    answered_at: T.TimestampType() = pa.Field(
        description="When the survey was answered.", metadata={"source": "review_answer_timestamp"}
    )
    purchase_month: T.DateType() = pa.Field(
        description="First day of the order's month of purchase.", metadata={"partition": True}
    )

    class Config:
        """The key."""

        unique = ["review_id", "order_id"]

    @row_rule()
    def answered_not_before_created(cls) -> Column:
        """The survey is not answered before it is sent."""
        return F.col("answered_at") >= F.col("created_at")


class Customer(Versioned):
    """One row per address of a customer, from the first purchase that names it to the first that names another."""

    customer_unique_id: T.StringType() = pa.Field(description="Customer across orders.", metadata={"source": True})
    zip_prefix: T.StringType() = pa.Field(
        str_matches=ZIP_PREFIX,
        description="First five digits of the postal code, with leading zeros.",
        metadata={"source": "customer_zip_code_prefix", "pii": True},
    )
    city: T.StringType() = pa.Field(
        description="City, lower case without accents.", metadata={"source": "customer_city", "pii": True}
    )
    state: T.StringType() = pa.Field(
        isin=STATES, description="State, two letters.", metadata={"source": "customer_state"}
    )

    class Config:
        """The key."""

        unique = ["customer_unique_id", "valid_from"]


class Product(pa.DataFrameModel):
    """One row per product, with its category in English and its measures."""

    product_id: T.StringType() = pa.Field(description="Product.", metadata={"source": True})
    category: T.StringType() = pa.Field(
        nullable=True, description="Category, Portuguese.", metadata={"source": "product_category_name"}
    )
    category_english: T.StringType() = pa.Field(
        description="Category, English; the Portuguese name if it has no translation, `unknown` if there is none."
    )
    name_length: T.IntegerType() = pa.Field(
        nullable=True, ge=0, description="Characters of the name.", metadata={"source": "product_name_lenght"}
    )
    description_length: T.IntegerType() = pa.Field(
        nullable=True,
        ge=0,
        description="Characters of the description.",
        metadata={"source": "product_description_lenght"},
    )
    photos: T.IntegerType() = pa.Field(
        nullable=True, ge=0, description="Published photos.", metadata={"source": "product_photos_qty"}
    )
    weight_g: T.IntegerType() = pa.Field(
        nullable=True, ge=0, description="Weight, g; some sellers state 0.", metadata={"source": "product_weight_g"}
    )
    length_cm: T.IntegerType() = pa.Field(
        nullable=True, ge=0, description="Length, cm.", metadata={"source": "product_length_cm"}
    )
    height_cm: T.IntegerType() = pa.Field(
        nullable=True, ge=0, description="Height, cm.", metadata={"source": "product_height_cm"}
    )
    width_cm: T.IntegerType() = pa.Field(
        nullable=True, ge=0, description="Width, cm.", metadata={"source": "product_width_cm"}
    )

    class Config:
        """The key."""

        unique = ["product_id"]


class Seller(pa.DataFrameModel):
    """One row per seller, with where it ships from."""

    seller_id: T.StringType() = pa.Field(description="Seller.", metadata={"source": True})
    zip_prefix: T.StringType() = pa.Field(
        str_matches=ZIP_PREFIX,
        description="First five digits of the postal code, with leading zeros.",
        metadata={"source": "seller_zip_code_prefix"},
    )
    city: T.StringType() = pa.Field(description="City, lower case without accents.", metadata={"source": "seller_city"})
    state: T.StringType() = pa.Field(
        isin=STATES, description="State, two letters.", metadata={"source": "seller_state"}
    )

    class Config:
        """The key."""

        unique = ["seller_id"]


class ZipPlace(pa.DataFrameModel):
    """One row per postal code prefix: the middle of its points inside Brazil and the place they name most."""

    zip_prefix: T.StringType() = pa.Field(
        str_matches=ZIP_PREFIX,
        description="First five digits of the postal code, with leading zeros.",
        metadata={"source": "geolocation_zip_code_prefix"},
    )
    lat: T.DoubleType() = pa.Field(
        in_range={"min_value": LAT_RANGE[0], "max_value": LAT_RANGE[1]},
        description="Mean latitude of the points, degrees, 6 decimals.",
        metadata={"source": "geolocation_lat"},
    )
    lng: T.DoubleType() = pa.Field(
        in_range={"min_value": LNG_RANGE[0], "max_value": LNG_RANGE[1]},
        description="Mean longitude of the points, degrees, 6 decimals.",
        metadata={"source": "geolocation_lng"},
    )
    city: T.StringType() = pa.Field(
        description="City of the place that most points name, lower case without accents; the first by name.",
        metadata={"source": "geolocation_city"},
    )
    state: T.StringType() = pa.Field(
        isin=STATES,
        description="State of that place.",
        metadata={"source": "geolocation_state"},
    )
    points: T.LongType() = pa.Field(
        ge=1, description="Source points that were merged; one that landed twice counts twice."
    )

    class Config:
        """The key."""

        unique = ["zip_prefix"]
