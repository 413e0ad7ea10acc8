"""The gold tables of Olist by a hand-written DuckDB script: what the benchmark races and a test compares rows with.

    python benchmarks/olist_duckdb.py CSV_DIR OUT_DIR

reads the nine public files, leaves out the rows that silver would send to quarantine, writes one Parquet file per gold
table and prints the seconds. It takes for granted what the platform checks: that keys are unique, that every reference
resolves, that sums agree.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import duckdb

STATES = (
    "('AC','AL','AM','AP','BA','CE','DF','ES','GO','MA','MG','MS','MT','PA','PB','PE','PI','PR','RJ','RN','RO','RR',"
    "'RS','SC','SE','SP','TO')"
)

SOURCES = {
    "raw_orders": (
        "olist_orders_dataset.csv",
        "order_id text, customer_id text, status text, purchased_at timestamp, approved_at timestamp, "
        "carrier_at timestamp, delivered_at timestamp, estimated_at timestamp",
        "order_id is not null and customer_id is not null and purchased_at is not null and estimated_at is not null "
        "and status in ('approved','canceled','created','delivered','invoiced','processing','shipped','unavailable') "
        "and coalesce(approved_at >= purchased_at, true) and coalesce(delivered_at >= purchased_at, true)",
    ),
    "items": (
        "olist_order_items_dataset.csv",
        "order_id text, order_item_id integer, product_id text, seller_id text, shipping_limit_at timestamp, "
        "price decimal(12,2), freight decimal(12,2)",
        "order_id is not null and order_item_id >= 1 and product_id is not null and seller_id is not null "
        "and shipping_limit_at is not null and price >= 0 and freight >= 0",
    ),
    "payments": (
        "olist_order_payments_dataset.csv",
        "order_id text, payment_sequential integer, payment_type text, installments integer, value decimal(12,2)",
        "order_id is not null and payment_sequential >= 1 and installments >= 0 and value >= 0 "
        "and payment_type in ('boleto','credit_card','debit_card','not_defined','voucher')",
    ),
    "reviews": (
        "olist_order_reviews_dataset.csv",
        "review_id text, order_id text, score integer, title text, message text, created_at timestamp, "
        "answered_at timestamp",
        "review_id is not null and order_id is not null and score between 1 and 5 and answered_at >= created_at",
    ),
    "raw_customers": (
        "olist_customers_dataset.csv",
        "customer_id text, customer_unique_id text, zip_prefix text, city text, state text",
        "true",
    ),
    "products": (
        "olist_products_dataset.csv",
        "product_id text, category text, name_length integer, description_length integer, photos integer, "
        "weight_g integer, length_cm integer, height_cm integer, width_cm integer",
        "product_id is not null and coalesce(least(name_length, description_length, photos, weight_g, length_cm, "
        "height_cm, width_cm) >= 0, true)",
    ),
    "sellers": (
        "olist_sellers_dataset.csv",
        "seller_id text, zip_prefix text, city text, state text",
        f"seller_id is not null and regexp_full_match(zip_prefix, '[0-9]{{5}}') and city is not null "
        f"and state in {STATES}",
    ),
    "points": (
        "olist_geolocation_dataset.csv",
        "zip_prefix text, lat double, lng double, city text, state text",
        f"lat between -33.76 and 5.28 and lng between -74.0 and -32.3 and city is not null and state in {STATES}",
    ),
    "translation": ("product_category_name_translation.csv", "category text, english text", "true"),
}
"""Table -> file, its columns in their order, and the rows to keep. Rows that don't parse are left out by the reader."""

CONFORMED = (
    "regexp_replace(translate(lower(trim({0})), 'áàâãäéèêëíìîïóòôõöúùûüçñ\u00b4`\u2019', "
    "'aaaaaeeeeiiiiooooouuuucn'''''''), ' +', ' ', 'g')"
)

NEEDED = {"items": "* exclude (shipping_limit_at)", "reviews": "order_id, score"}
"""Columns to keep, where some are only there for the rules."""

PREPARED = {
    "customers": f"""
        with bought as (
            select customer_unique_id, purchased_at valid_from, arg_max(
                {{'zip_prefix': zip_prefix, 'state': state, 'city': {CONFORMED.format("city")}}}, customer_id) home
            from raw_customers join raw_orders using (customer_id)
            where regexp_full_match(zip_prefix, '[0-9]{{5}}') and city is not null and state in {STATES}
                and customer_unique_id is not null
            group by all),
        moved as (
            select * from bought window person as (partition by customer_unique_id order by valid_from)
            qualify home is distinct from lag(home) over person)
        select customer_unique_id, unnest(home), valid_from,
            lead(valid_from) over (partition by customer_unique_id order by valid_from) valid_to,
            md5(concat_ws('|', row_number() over (partition by customer_unique_id, home order by valid_from),
                customer_unique_id, home.zip_prefix, home.state, home.city)) customer_key
        from moved""",
    "orders": """
        select o.*, coalesce(trim(c.customer_unique_id), '(unknown)') customer_unique_id,
            coalesce(customer_key, '(unknown)') customer_key,
            purchased_at::date purchase_date, date_trunc('month', purchased_at)::date purchase_month,
            status not in ('canceled', 'unavailable') is_revenue
        from raw_orders o left join raw_customers c using (customer_id)
        asof left join customers v on v.customer_unique_id = c.customer_unique_id and v.valid_from <= purchased_at""",
    "places": """
        select zip_prefix, round(avg(lat), 6) latitude, round(avg(lng), 6) longitude
        from points group by all having regexp_full_match(zip_prefix, '[0-9]{5}')""",
}
"""What several gold tables need."""

SALES = """count(*) orders, sum(items)::bigint items, sum(revenue)::decimal(18,2) revenue,
    sum(price)::double / sum(items) average_price, avg(review_score) average_review_score"""


def _sold(what: str) -> str:
    """Items that count, by order and `what`, with the outcome of the order."""
    return f"""(
        select {what}, order_id, count(*) items, sum(i.price) price, sum(i.revenue) revenue,
            any_value(review_score) review_score, any_value(delivery_days) delivery_days,
            any_value(is_delayed) is_delayed
        from fact_order_items i join dim_product using (product_id) join fact_orders o using (order_id)
        where i.is_revenue group by all)"""


GOLD = {
    "dim_date": """
        select d::date as date, year(d)::int as year, quarter(d)::int as quarter, month(d)::int as month,
            day(d)::int as day, date_trunc('month', d)::date as month_start, isoyear(d)::int as iso_year,
            week(d)::int as iso_week, isodow(d)::int as iso_weekday, dayname(d) as weekday_name,
            isodow(d) >= 6 as is_weekend,
            strftime(d, '%m-%d') in ('01-01','04-21','05-01','09-07','10-12','11-02','11-15','12-25') is_fixed_holiday
        from (
            select unnest(generate_series(min(purchased_at)::date, greatest(
                max(purchased_at), max(delivered_at), max(estimated_at))::date, interval 1 day)) d
            from orders)""",
    "dim_customer": """
        select customer_key, customer_unique_id, valid_from::timestamptz valid_from, valid_to::timestamptz valid_to,
            valid_to is null is_current, zip_prefix, city, state, latitude, longitude
        from customers left join places using (zip_prefix)
        union all select '(unknown)', '(unknown)', null, null, true, null, '(unknown)', '(unknown)', null, null""",
    "dim_product": """
        select product_id, coalesce(english, category, 'unknown') category, category category_portuguese, name_length,
            description_length, photos, weight_g, length_cm, height_cm, width_cm
        from (select product_id from products union select product_id from items union select '(unknown)')
        left join products using (product_id) left join translation using (category)""",
    "dim_seller": f"""
        select seller_id, zip_prefix, coalesce({CONFORMED.format("city")}, '(unknown)') city,
            coalesce(state, '(unknown)') state, latitude, longitude
        from (select seller_id from sellers union select seller_id from items union select '(unknown)')
        left join sellers using (seller_id) left join places using (zip_prefix)""",
    "fact_order_items": """
        select order_id, order_item_id, customer_unique_id, customer_key, product_id, seller_id, purchase_date, status,
            price::decimal(18,2) price, freight::decimal(18,2) freight, is_revenue,
            if(is_revenue, price + freight, 0)::decimal(18,2) revenue, purchase_month
        from items join orders using (order_id)""",
    "fact_orders": """
        with sold as (select order_id, count(*) items, sum(price) price, sum(freight) freight from items group by all),
        paid as (
            select order_id, count(*) payments, sum(value) payment_value, max(installments) installments
            from payments group by all),
        rated as (select order_id, count(*) reviews, avg(score) review_score from reviews group by all)
        select order_id, customer_unique_id, customer_key, purchase_date, estimated_at::date estimated_delivery_date,
            delivered_at::date delivered_date, status, is_revenue, coalesce(items, 0) items,
            coalesce(price, 0)::decimal(18,2) price, coalesce(freight, 0)::decimal(18,2) freight,
            if(is_revenue, coalesce(price + freight, 0), 0)::decimal(18,2) revenue, coalesce(payments, 0) payments,
            coalesce(payment_value, 0)::decimal(18,2) payment_value, installments, coalesce(reviews, 0) reviews,
            review_score, epoch(approved_at - purchased_at) / 3600 approval_hours,
            epoch(delivered_at - purchased_at) / 86400 delivery_days,
            datediff('day', estimated_at, delivered_at)::int delay_days,
            delivered_at::date > estimated_at::date is_delayed, purchase_month
        from orders left join sold using (order_id) left join paid using (order_id) left join rated using (order_id)""",
    "daily_revenue": """
        select purchase_date as day, count(*) filter (is_revenue) orders,
            coalesce(sum(items) filter (is_revenue), 0)::bigint items, sum(revenue)::decimal(18,2) revenue,
            purchase_month
        from fact_orders group by all""",
    "monthly_revenue": """
        with months as (
            select purchase_month as month, sum(orders)::bigint orders, sum(items)::bigint items,
                sum(revenue)::decimal(18,2) revenue
            from daily_revenue group by all)
        select m.*, m.revenue::double / nullif(b.revenue, 0)::double - 1 month_over_month,
            m.revenue::double / nullif(y.revenue, 0)::double - 1 year_over_year
        from months m left join months b on m.month = b.month + interval 1 month
        left join months y on m.month = y.month + interval 1 year""",
    "customer_lifetime_value": """
        select customer_unique_id, min(purchase_date) first_purchase_date, max(purchase_date) last_purchase_date,
            ((select max(purchase_date) from fact_orders) - max(purchase_date))::int recency_days,
            (max(purchase_date) - min(purchase_date))::int lifetime_days, count(*) orders, sum(items)::bigint items,
            sum(revenue)::decimal(18,2) revenue, sum(revenue)::double / count(*) average_order_value
        from fact_orders where is_revenue and customer_unique_id != '(unknown)' group by all""",
    "customer_segments": """
        with scored as (
            select customer_unique_id, recency_days, orders frequency, revenue monetary,
                ntile(5) over (order by recency_days desc, customer_unique_id)::int recency_score,
                ntile(5) over (order by orders, customer_unique_id)::int frequency_score,
                ntile(5) over (order by revenue, customer_unique_id)::int monetary_score
            from customer_lifetime_value)
        select *, case
            when recency_score >= 4 then case when frequency_score + monetary_score >= 8 then 'Champions'
                when frequency_score + monetary_score >= 6 then 'Loyal'
                when frequency_score + monetary_score >= 4 then 'Potential loyalists' else 'New customers' end
            when recency_score = 3 then case when frequency_score + monetary_score >= 8 then 'Loyal'
                when frequency_score + monetary_score >= 5 then 'Need attention' else 'About to sleep' end
            else case when frequency_score + monetary_score >= 8 then 'Can''t lose them'
                when frequency_score + monetary_score >= 5 then 'At risk' else 'Hibernating' end end segment
        from scored""",
    "churn_features": """
        with now as (select max(purchase_date) as_of_date from fact_orders)
        select customer_unique_id, as_of_date, (as_of_date - max(purchase_date))::int recency_days,
            (as_of_date - min(purchase_date))::int tenure_days, count(*) orders,
            count(*) filter (not is_revenue) lost_orders, sum(revenue)::decimal(18,2) revenue,
            avg(review_score) average_review_score, avg(delay_days) average_delay_days,
            count(*) filter (is_delayed) late_orders, as_of_date - max(purchase_date) > 180 is_churned
        from fact_orders, now where customer_unique_id != '(unknown)' group by customer_unique_id, as_of_date""",
    "cohort_retention": """
        with cohorts as (
            select customer_unique_id, date_trunc('month', first_purchase_date)::date cohort_month
            from customer_lifetime_value),
        sizes as (select cohort_month, count(*) cohort_size from cohorts group by all)
        select cohort_month, datediff('month', cohort_month, purchase_month)::int months_since, cohort_size,
            count(distinct customer_unique_id) customers, customers / cohort_size retained_share
        from fact_orders join cohorts using (customer_unique_id) join sizes using (cohort_month)
        where is_revenue group by cohort_month, purchase_month, cohort_size""",
    "product_performance": f"""
        select product_id, category, {SALES} from {_sold("product_id")} join dim_product using (product_id)
        group by all""",
    "category_performance": f"""
        with products as (
            select category, count(distinct product_id) products
            from fact_order_items join dim_product using (product_id) where is_revenue group by all),
        sales as (select category, {SALES} from {_sold("category")} group by all)
        select category, products, sales.* exclude (category),
            revenue::double / nullif(sum(revenue) over (), 0)::double revenue_share
        from sales join products using (category)""",
    "seller_performance": f"""
        select seller_id, state, {SALES}, avg(delivery_days) average_delivery_days,
            avg((not is_delayed)::int) on_time_share
        from {_sold("seller_id")} join dim_seller using (seller_id) group by all""",
    "delivery_sla": """
        select state, purchase_month, count(*) orders, count(*) filter (not is_delayed) on_time_orders,
            avg((not is_delayed)::int) on_time_share, avg(delivery_days) average_delivery_days,
            avg(delay_days) average_delay_days
        from fact_orders join dim_customer using (customer_key)
        where status = 'delivered' and delivered_date is not null group by all""",
}
"""Gold table -> query, each over those before it."""


def build(csv_dir: Path, out_dir: Path) -> float:
    """Read the nine files and write every gold table as `<out_dir>/<table>.parquet`.

    Returns:
        Seconds from the first file to the last.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    with duckdb.connect() as db:
        db.execute("set timezone = 'UTC'")
        for table, (file, columns, kept) in SOURCES.items():
            types = ", ".join(f"'{name}': '{kind}'" for name, kind in (c.split(" ") for c in columns.split(", ")))
            reader = (
                f"read_csv('{csv_dir / file}', header = true, auto_detect = false, delim = ',', quote = '\"', "
                f"escape = '\"', ignore_errors = true, columns = {{{types}}})"
            )
            db.execute(f"create table {table} as select {NEEDED.get(table, '*')} from {reader} where {kept}")
        for table, query in (PREPARED | GOLD).items():
            db.execute(f"create table {table} as {query}")
        for table in GOLD:
            db.execute(f"copy {table} to '{out_dir / table}.parquet' (format parquet)")
    return time.perf_counter() - began


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python benchmarks/olist_duckdb.py CSV_DIR OUT_DIR")
    print(f"{build(Path(sys.argv[1]), Path(sys.argv[2])):.3f}")
