"""What the gold tables of Olist promise: a star of four dimensions and two facts, and ten marts over it."""

import pandera.pyspark as pa
import pyspark.sql.types as T

from medallion.calendar_day import CalendarDay

MONEY = "Brazilian reais"
UNKNOWN = "(unknown)"
"""Key of the explicit unknown member that every dimension but the calendar has."""

SEGMENTS = (
    ("Champions", (4, 5), (8, 10)),
    ("Loyal", (4, 5), (6, 7)),
    ("Potential loyalists", (4, 5), (4, 5)),
    ("New customers", (4, 5), (2, 3)),
    ("Loyal", (3, 3), (8, 10)),
    ("Need attention", (3, 3), (5, 7)),
    ("About to sleep", (3, 3), (2, 4)),
    ("Can't lose them", (1, 2), (8, 10)),
    ("At risk", (1, 2), (5, 7)),
    ("Hibernating", (1, 2), (2, 4)),
)
"""Segment, its recency scores and its sums of frequency and monetary score, bounds included; they cover all."""

SEGMENT_NAMES = tuple(dict.fromkeys(name for name, _, _ in SEGMENTS))
CHURNED_AFTER_DAYS = 180


class DimDate(CalendarDay):
    """One row per day, from the first purchase to the last date that an order holds."""

    is_fixed_holiday: T.BooleanType() = pa.Field(
        description="National holiday of Brazil with a fixed date: 01-01, 04-21, 05-01, 09-07, 10-12, 11-02, 11-15, "
        "12-25; Good Friday moves and is not marked."
    )

    class Config:
        """The key."""

        unique = ["date"]


class DimCustomer(pa.DataFrameModel):
    """One row per address that a person ordered to, over the time that it held, and the unknown member."""

    customer_key: T.StringType() = pa.Field(
        description="Person, address and how often the person had moved there, as one hash; `(unknown)` for orders "
        "whose customer or address is not known."
    )
    customer_unique_id: T.StringType() = pa.Field(description="The person; `(unknown)` for the unknown member.")
    valid_from: T.TimestampType() = pa.Field(
        nullable=True, description="First purchase from the address, UTC; NULL for the unknown member."
    )
    valid_to: T.TimestampType() = pa.Field(
        nullable=True, description="First purchase from the next address, UTC; NULL for the latest one."
    )
    is_current: T.BooleanType() = pa.Field(description="The person's latest address; one row of each person.")
    zip_prefix: T.StringType() = pa.Field(
        nullable=True, metadata={"pii": True}, description="First five digits of the postcode."
    )
    city: T.StringType() = pa.Field(metadata={"pii": True}, description="City; `(unknown)` for the unknown member.")
    state: T.StringType() = pa.Field(description="State; `(unknown)` for the unknown member.")
    latitude: T.DoubleType() = pa.Field(nullable=True, description="Degrees north of the postcode's mean point.")
    longitude: T.DoubleType() = pa.Field(nullable=True, description="Degrees east of the postcode's mean point.")

    class Config:
        """The key."""

        unique = ["customer_key"]


class DimProduct(pa.DataFrameModel):
    """One row per product, and the unknown member."""

    product_id: T.StringType() = pa.Field(description="The product; `(unknown)` for items without one.")
    category: T.StringType() = pa.Field(
        description="Category in English, in Portuguese where there is no translation, `unknown` where there is none."
    )
    category_portuguese: T.StringType() = pa.Field(nullable=True, description="Category as the shop names it.")
    name_length: T.IntegerType() = pa.Field(nullable=True, description="Characters of the product's name.")
    description_length: T.IntegerType() = pa.Field(nullable=True, description="Characters of its description.")
    photos: T.IntegerType() = pa.Field(nullable=True, description="Published photos.")
    weight_g: T.IntegerType() = pa.Field(nullable=True, description="Weight in grams.")
    length_cm: T.IntegerType() = pa.Field(nullable=True, description="Length in centimetres.")
    height_cm: T.IntegerType() = pa.Field(nullable=True, description="Height in centimetres.")
    width_cm: T.IntegerType() = pa.Field(nullable=True, description="Width in centimetres.")

    class Config:
        """The key."""

        unique = ["product_id"]


class DimSeller(pa.DataFrameModel):
    """One row per seller, and the unknown member."""

    seller_id: T.StringType() = pa.Field(description="The seller; `(unknown)` for items without one.")
    zip_prefix: T.StringType() = pa.Field(nullable=True, description="First five digits of the postcode.")
    city: T.StringType() = pa.Field(description="City, `(unknown)` if there is none.")
    state: T.StringType() = pa.Field(description="State, `(unknown)` if there is none.")
    latitude: T.DoubleType() = pa.Field(nullable=True, description="Degrees north of the postcode's mean point.")
    longitude: T.DoubleType() = pa.Field(nullable=True, description="Degrees east of the postcode's mean point.")

    class Config:
        """The key."""

        unique = ["seller_id"]


class FactOrderItem(pa.DataFrameModel):
    """One row per order item whose order is known."""

    order_id: T.StringType() = pa.Field(description="The order.")
    order_item_id: T.IntegerType() = pa.Field(description="Number of the item in its order, from 1.")
    customer_unique_id: T.StringType() = pa.Field(description="The person who ordered; `(unknown)` if not known.")
    customer_key: T.StringType() = pa.Field(description="Key of dim_customer: the person's address at the purchase.")
    product_id: T.StringType() = pa.Field(description="Key of dim_product.")
    seller_id: T.StringType() = pa.Field(description="Key of dim_seller.")
    purchase_date: T.DateType() = pa.Field(description="Day of the purchase, UTC; key of dim_date.")
    status: T.StringType() = pa.Field(description="Status of the order.")
    price: T.DecimalType(18, 2) = pa.Field(description=f"Price, {MONEY}.")
    freight: T.DecimalType(18, 2) = pa.Field(description=f"Freight, {MONEY}.")
    is_revenue: T.BooleanType() = pa.Field(description="The order is neither canceled nor unavailable.")
    revenue: T.DecimalType(18, 2) = pa.Field(description=f"Price and freight if is_revenue, else 0; {MONEY}.")
    purchase_month: T.DateType() = pa.Field(metadata={"partition": True}, description="First day of the month.")

    class Config:
        """The key."""

        unique = ["order_id", "order_item_id"]


class FactOrder(pa.DataFrameModel):
    """One row per order; items, payments and reviews are summed before they meet."""

    order_id: T.StringType() = pa.Field(description="The order.")
    customer_unique_id: T.StringType() = pa.Field(description="The person who ordered; `(unknown)` if not known.")
    customer_key: T.StringType() = pa.Field(description="Key of dim_customer: the person's address at the purchase.")
    purchase_date: T.DateType() = pa.Field(description="Day of the purchase, UTC; key of dim_date.")
    estimated_delivery_date: T.DateType() = pa.Field(description="Promised day of delivery; key of dim_date.")
    delivered_date: T.DateType() = pa.Field(nullable=True, description="Day of delivery, if any; key of dim_date.")
    status: T.StringType() = pa.Field(description="Status of the order.")
    is_revenue: T.BooleanType() = pa.Field(description="The order is neither canceled nor unavailable.")
    items: T.LongType() = pa.Field(description="Items; 0 for an order without any.")
    price: T.DecimalType(18, 2) = pa.Field(description=f"Sum of the items' prices, {MONEY}.")
    freight: T.DecimalType(18, 2) = pa.Field(description=f"Sum of the items' freight, {MONEY}.")
    revenue: T.DecimalType(18, 2) = pa.Field(description=f"Price and freight if is_revenue, else 0; {MONEY}.")
    payments: T.LongType() = pa.Field(description="Parts that the order was paid in.")
    payment_value: T.DecimalType(18, 2) = pa.Field(description=f"Sum of the payments, {MONEY}.")
    installments: T.IntegerType() = pa.Field(nullable=True, description="Most installments of one payment.")
    reviews: T.LongType() = pa.Field(description="Reviews of the order.")
    review_score: T.DoubleType() = pa.Field(
        nullable=True, in_range={"min_value": 1, "max_value": 5}, description="Mean score of the reviews, 1 to 5."
    )
    approval_hours: T.DoubleType() = pa.Field(nullable=True, description="Hours from purchase to approval.")
    delivery_days: T.DoubleType() = pa.Field(nullable=True, description="Days from purchase to delivery.")
    delay_days: T.IntegerType() = pa.Field(
        nullable=True, description="Calendar days after the promised day; negative is early."
    )
    is_delayed: T.BooleanType() = pa.Field(nullable=True, description="Delivered late; NULL if not delivered.")
    purchase_month: T.DateType() = pa.Field(metadata={"partition": True}, description="First day of the month.")

    class Config:
        """The key."""

        unique = ["order_id"]


class DailyRevenue(pa.DataFrameModel):
    """One row per day on which an order was placed."""

    day: T.DateType() = pa.Field(description="Day of the purchase, UTC.")
    orders: T.LongType() = pa.Field(description="Orders that count as revenue.")
    items: T.LongType() = pa.Field(description="Items of these orders.")
    revenue: T.DecimalType(18, 2) = pa.Field(description=f"Price and freight of these items, {MONEY}.")
    purchase_month: T.DateType() = pa.Field(metadata={"partition": True}, description="First day of the month.")

    class Config:
        """The key."""

        unique = ["day"]


class MonthlyRevenue(pa.DataFrameModel):
    """One row per month in which an order was placed."""

    month: T.DateType() = pa.Field(description="First day of the month.")
    orders: T.LongType() = pa.Field(description="Orders that count as revenue.")
    items: T.LongType() = pa.Field(description="Items of these orders.")
    revenue: T.DecimalType(18, 2) = pa.Field(description=f"Price and freight of these items, {MONEY}.")
    month_over_month: T.DoubleType() = pa.Field(
        nullable=True, description="Growth over the calendar month before, 0.1 is 10 %; NULL if that has no revenue."
    )
    year_over_year: T.DoubleType() = pa.Field(
        nullable=True, description="Growth over the same month a year before; NULL if that has no revenue."
    )

    class Config:
        """The key."""

        unique = ["month"]


class CustomerLifetimeValue(pa.DataFrameModel):
    """One row per known customer with an order that counts as revenue."""

    customer_unique_id: T.StringType() = pa.Field(description="The person.")
    first_purchase_date: T.DateType() = pa.Field(description="Day of the first order that counts.")
    last_purchase_date: T.DateType() = pa.Field(description="Day of the last order that counts.")
    recency_days: T.IntegerType() = pa.Field(description="Days from that to the last purchase in the data.")
    lifetime_days: T.IntegerType() = pa.Field(description="Days from the first to the last order that counts.")
    orders: T.LongType() = pa.Field(description="Orders that count as revenue.")
    items: T.LongType() = pa.Field(description="Items of these orders.")
    revenue: T.DecimalType(18, 2) = pa.Field(description=f"Price and freight of these items, {MONEY}.")
    average_order_value: T.DoubleType() = pa.Field(description=f"Revenue per order, {MONEY}.")

    class Config:
        """The key."""

        unique = ["customer_unique_id"]


class CustomerSegment(pa.DataFrameModel):
    """One row per customer of customer_lifetime_value, with quintiles of recency, frequency and monetary value."""

    customer_unique_id: T.StringType() = pa.Field(description="The person.")
    recency_days: T.IntegerType() = pa.Field(description="Days from the last purchase to the last one in the data.")
    frequency: T.LongType() = pa.Field(description="Orders that count as revenue.")
    monetary: T.DecimalType(18, 2) = pa.Field(description=f"Revenue, {MONEY}.")
    recency_score: T.IntegerType() = pa.Field(isin=[1, 2, 3, 4, 5], description="Quintile, 5 is most recent.")
    frequency_score: T.IntegerType() = pa.Field(isin=[1, 2, 3, 4, 5], description="Quintile, 5 is most orders.")
    monetary_score: T.IntegerType() = pa.Field(isin=[1, 2, 3, 4, 5], description="Quintile, 5 is most revenue.")
    segment: T.StringType() = pa.Field(isin=list(SEGMENT_NAMES), description="Name of the scores, see SEGMENTS.")

    class Config:
        """The key."""

        unique = ["customer_unique_id"]


class ChurnFeatures(pa.DataFrameModel):
    """One row per known customer with an order of any status, as of the last purchase date in the data."""

    customer_unique_id: T.StringType() = pa.Field(description="The person.")
    as_of_date: T.DateType() = pa.Field(description="Last purchase date in the data; features look back from it.")
    recency_days: T.IntegerType() = pa.Field(description="Days since the last order.")
    tenure_days: T.IntegerType() = pa.Field(description="Days since the first order.")
    orders: T.LongType() = pa.Field(description="Orders of any status.")
    lost_orders: T.LongType() = pa.Field(description="Orders that are canceled or unavailable.")
    revenue: T.DecimalType(18, 2) = pa.Field(description=f"Revenue, {MONEY}.")
    average_review_score: T.DoubleType() = pa.Field(nullable=True, description="Mean review score of the orders.")
    average_delay_days: T.DoubleType() = pa.Field(nullable=True, description="Mean delay; negative is early.")
    late_orders: T.LongType() = pa.Field(description="Orders delivered late.")
    is_churned: T.BooleanType() = pa.Field(description=f"No order for more than {CHURNED_AFTER_DAYS} days.")

    class Config:
        """The key."""

        unique = ["customer_unique_id"]


class CohortRetention(pa.DataFrameModel):
    """One row per month of first purchase and number of months since then in which somebody of it bought."""

    cohort_month: T.DateType() = pa.Field(description="First day of the month of the first order that counts.")
    months_since: T.IntegerType() = pa.Field(description="Months since then, from 0.")
    cohort_size: T.LongType() = pa.Field(description="Customers of the cohort.")
    customers: T.LongType() = pa.Field(description="Of these, those with an order that counts in this month.")
    retained_share: T.DoubleType() = pa.Field(
        in_range={"min_value": 0, "max_value": 1}, description="customers / cohort_size."
    )

    class Config:
        """The key."""

        unique = ["cohort_month", "months_since"]


class ProductPerformance(pa.DataFrameModel):
    """One row per product with an item that counts as revenue."""

    product_id: T.StringType() = pa.Field(description="Key of dim_product.")
    category: T.StringType() = pa.Field(description="Category in English.")
    orders: T.LongType() = pa.Field(description="Orders with the product that count as revenue.")
    items: T.LongType() = pa.Field(description="Items of the product in these orders.")
    revenue: T.DecimalType(18, 2) = pa.Field(description=f"Price and freight of these items, {MONEY}.")
    average_price: T.DoubleType() = pa.Field(description=f"Mean price of an item, {MONEY}.")
    average_review_score: T.DoubleType() = pa.Field(nullable=True, description="Mean review score of these orders.")

    class Config:
        """The key."""

        unique = ["product_id"]


class CategoryPerformance(pa.DataFrameModel):
    """One row per category with an item that counts as revenue."""

    category: T.StringType() = pa.Field(description="Category in English, `unknown` for products without one.")
    products: T.LongType() = pa.Field(description="Products sold.")
    orders: T.LongType() = pa.Field(description="Orders with the category that count as revenue.")
    items: T.LongType() = pa.Field(description="Items of the category in these orders.")
    revenue: T.DecimalType(18, 2) = pa.Field(description=f"Price and freight of these items, {MONEY}.")
    revenue_share: T.DoubleType() = pa.Field(nullable=True, description="Share of all revenue; NULL if that is 0.")
    average_price: T.DoubleType() = pa.Field(description=f"Mean price of an item, {MONEY}.")
    average_review_score: T.DoubleType() = pa.Field(nullable=True, description="Mean review score of these orders.")

    class Config:
        """The key."""

        unique = ["category"]


class SellerPerformance(pa.DataFrameModel):
    """One row per seller with an item that counts as revenue."""

    seller_id: T.StringType() = pa.Field(description="Key of dim_seller.")
    state: T.StringType() = pa.Field(description="State of the seller.")
    orders: T.LongType() = pa.Field(description="Orders with the seller that count as revenue.")
    items: T.LongType() = pa.Field(description="Items of the seller in these orders.")
    revenue: T.DecimalType(18, 2) = pa.Field(description=f"Price and freight of these items, {MONEY}.")
    average_price: T.DoubleType() = pa.Field(description=f"Mean price of an item, {MONEY}.")
    average_review_score: T.DoubleType() = pa.Field(nullable=True, description="Mean review score of these orders.")
    average_delivery_days: T.DoubleType() = pa.Field(nullable=True, description="Mean days to delivery, if delivered.")
    on_time_share: T.DoubleType() = pa.Field(nullable=True, description="Delivered orders that were not late.")

    class Config:
        """The key."""

        unique = ["seller_id"]


class DeliverySla(pa.DataFrameModel):
    """One row per state of the customer and month of purchase with a delivered order."""

    state: T.StringType() = pa.Field(description="State of the customer's latest address.")
    purchase_month: T.DateType() = pa.Field(metadata={"partition": True}, description="First day of the month.")
    orders: T.LongType() = pa.Field(description="Orders with status delivered and a delivery date.")
    on_time_orders: T.LongType() = pa.Field(description="Of these, those that were not late.")
    on_time_share: T.DoubleType() = pa.Field(
        in_range={"min_value": 0, "max_value": 1}, description="on_time_orders / orders."
    )
    average_delivery_days: T.DoubleType() = pa.Field(description="Mean days from purchase to delivery.")
    average_delay_days: T.DoubleType() = pa.Field(description="Mean days after the promised day; negative is early.")

    class Config:
        """The key."""

        unique = ["state", "purchase_month"]
