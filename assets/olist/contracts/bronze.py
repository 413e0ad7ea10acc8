"""Contracts of the bronze tables: the columns of the nine public files, all nullable text, spelled as they arrive."""

import pandera.pyspark as pa
import pyspark.sql.types as T

from medallion.landed import Landed, LandedByBatch


class RawOrder(LandedByBatch):
    """An order as the shop exported it."""

    order_id: T.StringType() = pa.Field(nullable=True, description="Order.")
    customer_id: T.StringType() = pa.Field(nullable=True, description="The order's own customer id.")
    order_status: T.StringType() = pa.Field(nullable=True, description="State of the order.")
    order_purchase_timestamp: T.StringType() = pa.Field(nullable=True, description="When the order was placed.")
    order_approved_at: T.StringType() = pa.Field(nullable=True, description="When the payment was approved.")
    order_delivered_carrier_date: T.StringType() = pa.Field(
        nullable=True, description="When the carrier took the parcel."
    )
    order_delivered_customer_date: T.StringType() = pa.Field(
        nullable=True, description="When the customer got the parcel."
    )
    order_estimated_delivery_date: T.StringType() = pa.Field(
        nullable=True, description="The delivery day that was promised."
    )


class RawOrderItem(LandedByBatch):
    """A piece in an order as the shop exported it."""

    order_id: T.StringType() = pa.Field(nullable=True, description="Order.")
    order_item_id: T.StringType() = pa.Field(nullable=True, description="Number of the item in its order.")
    product_id: T.StringType() = pa.Field(nullable=True, description="Product.")
    seller_id: T.StringType() = pa.Field(nullable=True, description="Seller.")
    shipping_limit_date: T.StringType() = pa.Field(
        nullable=True, description="Until when the seller has to hand over the item."
    )
    price: T.StringType() = pa.Field(nullable=True, description="Price, BRL.")
    freight_value: T.StringType() = pa.Field(nullable=True, description="Freight, BRL.")


class RawPayment(LandedByBatch):
    """A payment of an order as the shop exported it."""

    order_id: T.StringType() = pa.Field(nullable=True, description="Order.")
    payment_sequential: T.StringType() = pa.Field(nullable=True, description="Number of the payment in its order.")
    payment_type: T.StringType() = pa.Field(nullable=True, description="How it was paid.")
    payment_installments: T.StringType() = pa.Field(nullable=True, description="Instalments.")
    payment_value: T.StringType() = pa.Field(nullable=True, description="Amount, BRL.")


class RawReview(LandedByBatch):
    """A review of an order as the shop exported it."""

    review_id: T.StringType() = pa.Field(nullable=True, description="Review.")
    order_id: T.StringType() = pa.Field(nullable=True, description="Order.")
    review_score: T.StringType() = pa.Field(nullable=True, description="Satisfaction, 1 to 5.")
    review_comment_title: T.StringType() = pa.Field(
        nullable=True, description="Title of the comment.", metadata={"pii": True}
    )
    review_comment_message: T.StringType() = pa.Field(
        nullable=True, description="The comment; may name people.", metadata={"pii": True}
    )
    review_creation_date: T.StringType() = pa.Field(nullable=True, description="Day the survey was sent.")
    review_answer_timestamp: T.StringType() = pa.Field(nullable=True, description="When it was answered.")


class RawCustomer(LandedByBatch):
    """A customer of one order as the shop exported it."""

    customer_id: T.StringType() = pa.Field(nullable=True, description="The order's own customer id.")
    customer_unique_id: T.StringType() = pa.Field(nullable=True, description="The customer across orders.")
    customer_zip_code_prefix: T.StringType() = pa.Field(
        nullable=True, description="First five digits of the postal code.", metadata={"pii": True}
    )
    customer_city: T.StringType() = pa.Field(nullable=True, description="City.", metadata={"pii": True})
    customer_state: T.StringType() = pa.Field(nullable=True, description="State.")


class RawProduct(Landed):
    """A product of the catalogue as the shop exported it."""

    product_id: T.StringType() = pa.Field(nullable=True, description="Product.")
    product_category_name: T.StringType() = pa.Field(nullable=True, description="Category, Portuguese.")
    product_name_lenght: T.StringType() = pa.Field(
        nullable=True, description="Characters of the name; misspelt by the source."
    )
    product_description_lenght: T.StringType() = pa.Field(
        nullable=True, description="Characters of the description; misspelt by the source."
    )
    product_photos_qty: T.StringType() = pa.Field(nullable=True, description="Published photos.")
    product_weight_g: T.StringType() = pa.Field(nullable=True, description="Weight, g.")
    product_length_cm: T.StringType() = pa.Field(nullable=True, description="Length, cm.")
    product_height_cm: T.StringType() = pa.Field(nullable=True, description="Height, cm.")
    product_width_cm: T.StringType() = pa.Field(nullable=True, description="Width, cm.")


class RawSeller(Landed):
    """A seller as the shop exported it."""

    seller_id: T.StringType() = pa.Field(nullable=True, description="Seller.")
    seller_zip_code_prefix: T.StringType() = pa.Field(
        nullable=True, description="First five digits of the postal code."
    )
    seller_city: T.StringType() = pa.Field(nullable=True, description="City.")
    seller_state: T.StringType() = pa.Field(nullable=True, description="State.")


class RawPoint(Landed):
    """A point of a postal code prefix as the shop exported it."""

    geolocation_zip_code_prefix: T.StringType() = pa.Field(
        nullable=True, description="First five digits of the postal code."
    )
    geolocation_lat: T.StringType() = pa.Field(nullable=True, description="Latitude, degrees.")
    geolocation_lng: T.StringType() = pa.Field(nullable=True, description="Longitude, degrees.")
    geolocation_city: T.StringType() = pa.Field(nullable=True, description="City.")
    geolocation_state: T.StringType() = pa.Field(nullable=True, description="State.")


class RawTranslation(Landed):
    """A category name in both languages as the shop exported it."""

    product_category_name: T.StringType() = pa.Field(nullable=True, description="Category, Portuguese.")
    product_category_name_english: T.StringType() = pa.Field(nullable=True, description="Category, English.")
