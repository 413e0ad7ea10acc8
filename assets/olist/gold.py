"""The gold tables of Olist, where the domain loader looks for them: the star, then the marts over it."""

from assets.olist.marts import (
    category_performance,
    churn_features,
    cohort_retention,
    customer_lifetime_value,
    customer_segments,
    daily_revenue,
    delivery_sla,
    monthly_revenue,
    product_performance,
    seller_performance,
)
from assets.olist.star import dim_customer, dim_date, dim_product, dim_seller, fact_order_items, fact_orders

__all__ = [
    "category_performance",
    "churn_features",
    "cohort_retention",
    "customer_lifetime_value",
    "customer_segments",
    "daily_revenue",
    "delivery_sla",
    "dim_customer",
    "dim_date",
    "dim_product",
    "dim_seller",
    "fact_order_items",
    "fact_orders",
    "monthly_revenue",
    "product_performance",
    "seller_performance",
]
