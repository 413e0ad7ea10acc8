"""The gold tables of Pagila, where the domain loader looks for them: the star, then the marts over it."""

from assets.pagila.marts import customer_metrics, monthly_revenue, store_scorecard, top_titles
from assets.pagila.star import dim_customer, dim_date, dim_film, dim_staff, dim_store, fact_payment, fact_rental

__all__ = [
    "customer_metrics",
    "dim_customer",
    "dim_date",
    "dim_film",
    "dim_staff",
    "dim_store",
    "fact_payment",
    "fact_rental",
    "monthly_revenue",
    "store_scorecard",
    "top_titles",
]
