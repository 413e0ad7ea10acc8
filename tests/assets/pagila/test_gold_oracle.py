"""Every gold table against hand-written SQL, row by row: on a shop of a few rows, and on the sample database."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from medallion.postgres.connection import connect
from tests.fixtures.pagila_silver import GOLD, ORDER, build, sample, shop

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    from pyspark.sql import SparkSession

    Tables = dict[str, pa.Table]

_MEMBERS = """
create view members as
select md5(customer_id || '|' || epoch_us(valid_from)) as customer_key,
    (select count(*) from customer e where e.customer_id = c.customer_id and e.valid_from <= c.valid_from) as version, *
from customer c;
create view titles as
select md5(film_id || '|' || epoch_us(valid_from)) as film_key,
    (select count(*) from film e where e.film_id = f.film_id and e.valid_from <= f.valid_from) as version, *
from film f;
"""
_AVERAGE = "(sign({0}) * (((abs({0}) * 200)::bigint + {1}) // ({1} * 2)) / 100)::decimal(18, 2)"
ORACLE = {
    "dim_date": """
        select d::date as date, year(d) as year, quarter(d) as quarter, month(d) as month, day(d) as day,
            make_date(year(d), month(d), 1) as month_start, isoyear(d) as iso_year, week(d) as iso_week,
            isodow(d) as iso_weekday, dayname(d) as weekday_name, isodow(d) > 5 as is_weekend
        from generate_series(timestamp '2000-01-01', timestamp '2030-12-31', interval 1 day) t(d)""",
    "dim_store": """
        select store_id::varchar as store_key, store_id, manager_staff_id, ifnull(city, 'unknown') as city,
            ifnull(country, 'unknown') as country from store
        union all select 'unknown', null, null, 'unknown', 'unknown'""",
    "dim_staff": """
        select staff_id::varchar as staff_key, staff_id, first_name, last_name, email, is_active, store_id,
            ifnull((select s.store_id::varchar from store s where s.store_id = staff.store_id), 'unknown') as store_key
        from staff
        union all select 'unknown', null, null, null, null, null, null, 'unknown'""",
    "dim_customer": """
        select customer_key, customer_id, version, valid_from, valid_to, is_current, first_name, last_name, email,
            is_active, created_on,
            ifnull((select s.store_id::varchar from store s where s.store_id = members.store_id), 'unknown')
                as store_key,
            ifnull((select a.city from address a where a.address_id = members.address_id), 'unknown') as city,
            ifnull((select a.country from address a where a.address_id = members.address_id), 'unknown') as country
        from members
        union all
        select 'unknown', null, 1, null, null, true, null, null, null, null, null, 'unknown', 'unknown', 'unknown'""",
    "dim_film": """
        select film_key, film_id, version, valid_from, valid_to, is_current, title, description, release_year, language,
            original_language, rental_duration_days, rental_rate, length_minutes, replacement_cost, rating,
            special_features, categories, actors
        from titles
        union all
        select 'unknown', null, 1, null, null, true, 'unknown', null, null, null, null, null, null, null, null, null,
            null, null, null""",
    "fact_rental": """
        select rental_id, r.customer_id, ifnull(m.customer_key, 'unknown') as customer_key, r.inventory_id, i.film_id,
            ifnull(t.film_key, 'unknown') as film_key, ifnull(c.store_id::varchar, 'unknown') as inventory_store_key,
            ifnull(s.staff_id::varchar, 'unknown') as staff_key,
            ifnull(w.store_id::varchar, 'unknown') as staff_store_key,
            rented_at, rented_at::date as rental_date, returned_at, returned_at::date as return_date,
            (epoch_us(returned_at) - epoch_us(rented_at)) / 86400e6 as days_out,
            returned_at > rented_at + to_days(t.rental_duration_days) as is_late,
            (select count(*) from payment p where p.rental_id = r.rental_id) as payments,
            ifnull((select sum(amount) from payment p where p.rental_id = r.rental_id), 0)::decimal(18, 2)
                as amount_paid,
            date_trunc('month', rented_at)::date as rental_month
        from rental r left join inventory i using (inventory_id) left join store c using (store_id)
            left join staff s on s.staff_id = r.staff_id left join store w on w.store_id = s.store_id
            left join members m on m.customer_id = r.customer_id and (m.version = 1 or rented_at >= m.valid_from)
                and rented_at < ifnull(m.valid_to, 'infinity')
            left join titles t on t.film_id = i.film_id and (t.version = 1 or rented_at >= t.valid_from)
                and rented_at < ifnull(t.valid_to, 'infinity')""",
    "fact_payment": """
        select payment_id, p.rental_id, p.customer_id, ifnull(m.customer_key, 'unknown') as customer_key,
            ifnull(s.staff_id::varchar, 'unknown') as staff_key,
            ifnull(w.store_id::varchar, 'unknown') as staff_store_key,
            ifnull((select c.store_id::varchar from rental r join inventory i using (inventory_id)
                join store c using (store_id) where r.rental_id = p.rental_id), 'unknown') as inventory_store_key,
            paid_at, paid_at::date as payment_date, amount, date_trunc('month', paid_at)::date as payment_month
        from payment p left join staff s on s.staff_id = p.staff_id left join store w on w.store_id = s.store_id
            left join members m on m.customer_id = p.customer_id and (m.version = 1 or paid_at >= m.valid_from)
                and paid_at < ifnull(m.valid_to, 'infinity')""",
    "customer_metrics": f"""
        with ids as (
            select customer_id from customer union select customer_id from rental
            union select customer_id from payment
        ), amounts as (
            select customer_id, count(p.amount) as n, ifnull(sum(p.amount), 0)::decimal(18, 2) as revenue
            from ids left join payment p using (customer_id) group by 1
        ), liked as (
            select customer_id, category, count(*) as n
            from (select f.customer_id, unnest(t.categories) as category
                from fact_rental f join titles t using (film_key)) group by all
        )
        select customer_id, ifnull(m.customer_key, 'unknown') as customer_key,
            ifnull(m.is_current, false) as is_current,
            (select count(*) from rental r where r.customer_id = a.customer_id) as rentals,
            (select count(*) from fact_rental f where f.customer_id = a.customer_id and f.is_late) as late_returns,
            a.n as payments, revenue, if(a.n > 0, {_AVERAGE.format("revenue", "a.n")}, null) as average_payment,
            (select min(rented_at) from rental r where r.customer_id = a.customer_id) as first_rented_at,
            (select max(rented_at) from rental r where r.customer_id = a.customer_id) as last_rented_at,
            (select category from liked l where l.customer_id = a.customer_id order by n desc, category limit 1)
                as favourite_category,
            case when revenue >= 100 then 'Platinum' when revenue >= 50 then 'Gold' when revenue >= 20 then 'Silver'
                else 'Bronze' end as tier
        from amounts a left join members m using (customer_id)
        where m.version is null
            or m.version = (select max(version) from members l where l.customer_id = a.customer_id)""",
    "monthly_revenue": f"""
        with months as (
            select date_trunc('month', paid_at)::date as month from payment
            union select date_trunc('month', rented_at)::date from rental
        ), amounts as (
            select month, count(p.amount) as n, ifnull(sum(amount), 0)::decimal(18, 2) as revenue,
                count(distinct customer_id) as customers
            from months left join payment p on date_trunc('month', paid_at)::date = month group by 1
        )
        select month, n as payments, revenue, customers as paying_customers,
            if(n > 0, {_AVERAGE.format("revenue", "n")}, null) as average_payment,
            (select count(*) from rental where date_trunc('month', rented_at)::date = month) as rentals
        from amounts""",
    "store_scorecard": """
        with cards as (
            select distinct store_key from dim_store
            where store_key <> 'unknown' or store_key in (select staff_store_key from fact_payment)
                or store_key in (select inventory_store_key from fact_payment)
                or store_key in (select inventory_store_key from fact_rental)
                or exists (from inventory where store_id not in (select store_id from store))
        )
        select store_key,
            ifnull((select sum(amount) from fact_payment where staff_store_key = store_key), 0)::decimal(18, 2)
                as revenue_by_staff,
            ifnull((select sum(amount) from fact_payment where inventory_store_key = store_key), 0)::decimal(18, 2)
                as revenue_by_inventory,
            (select count(*) from fact_rental where inventory_store_key = store_key) as rentals,
            (select count(*) filter (is_late) / count(is_late) from fact_rental where inventory_store_key = store_key)
                as late_share,
            (select count(*) from inventory i left join store s using (store_id)
                where ifnull(s.store_id::varchar, 'unknown') = store_key) as copies,
            (select count(*) from customer c left join store s using (store_id)
                where ifnull(s.store_id::varchar, 'unknown') = store_key and is_current and is_active)
                as active_customers
        from cards""",
    "top_titles": """
        with films as (
            select film_id, count(*) as rentals, sum((select ifnull(sum(amount), 0) from payment p
                where p.rental_id = r.rental_id))::decimal(18, 2) as revenue
            from rental r join inventory using (inventory_id) group by 1
        ), named as (
            select film_id, ifnull(film_key, 'unknown') as film_key, ifnull(title, 'unknown') as title, rentals, revenue
            from films f left join titles t using (film_id)
            where version is null or version = (select max(version) from titles l where l.film_id = f.film_id)
        )
        select *,
            (select count(*) from named b where (-b.revenue, -b.rentals, b.title, b.film_id)
                <= (-a.revenue, -a.rentals, a.title, a.film_id)) as revenue_rank,
            (select count(*) from named b where (-b.rentals, -b.revenue, b.title, b.film_id)
                <= (-a.rentals, -a.revenue, a.title, a.film_id)) as rental_rank
        from named a""",
}
"""The gold tables in DuckDB's SQL; those of marts read silver, and facts only for what facts alone say."""


@pytest.fixture(scope="module", params=["shop", pytest.param("sample", marks=pytest.mark.integration)])
def tables(request: pytest.FixtureRequest, spark: SparkSession) -> Tables:
    """Silver and gold tables by label."""
    if request.param == "shop":
        return build(spark, shop())
    server, name = request.getfixturevalue("debian_server"), request.getfixturevalue("pagila_sample")
    with connect("test", server.url(name)) as connection:
        return build(spark, sample(connection))


@pytest.fixture(scope="module")
def oracle(tables: Tables) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that sees the silver tables, and views of the gold ones by the SQL."""
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        for label, rows in tables.items():
            if label.startswith("silver/"):
                connection.register(label.rsplit("/", 1)[-1], rows)
        connection.execute(_MEMBERS)
        for name in ORDER:
            connection.execute(f"create table {name} as {ORACLE[name]}")
        yield connection


@pytest.mark.parametrize("name", ORDER)
def test_a_gold_table_equals_the_hand_written_sql_row_by_row(
    tables: Tables, oracle: duckdb.DuckDBPyConnection, name: str
) -> None:
    table = GOLD[name]
    ours = by_key(name, tables[table.label])
    theirs = by_key(name, oracle.table(name).to_arrow_table())
    assert ours
    assert ours.keys() - theirs.keys() == set()
    assert theirs.keys() - ours.keys() == set()
    assert [(key, row, theirs[key]) for key, row in ours.items() if row != theirs[key]] == []


def by_key(name: str, rows: pa.Table) -> dict[tuple[Any, ...], dict[str, Any]]:
    contract = GOLD[name].contract
    assert set(rows.column_names) == set(contract.column_names)
    found = {tuple(row[column] for column in contract.key): row for row in rows.to_pylist()}
    assert len(found) == rows.num_rows
    return found


def test_no_cent_gets_lost_between_silver_and_the_marts(tables: Tables) -> None:
    def total(label: str, column: str) -> Decimal:
        return sum(tables[label][column].to_pylist(), Decimal(0))

    paid = total("silver/pagila/payment", "amount")
    rentals, payments = (tables[f"gold/pagila/{name}"].num_rows for name in ("fact_rental", "fact_payment"))
    assert (rentals, payments, paid) in [(12, 16, Decimal("265.89")), (16_044, 16_049, Decimal("67416.51"))]
    for label, column in (
        ("gold/pagila/fact_payment", "amount"),
        ("gold/pagila/customer_metrics", "revenue"),
        ("gold/pagila/monthly_revenue", "revenue"),
        ("gold/pagila/store_scorecard", "revenue_by_staff"),
        ("gold/pagila/store_scorecard", "revenue_by_inventory"),
    ):
        assert total(label, column) == paid, label
