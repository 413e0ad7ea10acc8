"""The synthetic film shop: Pagila's tables and size, a plausible life, and a database that is never overwritten."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from assets.pagila.synthetic import FEWEST, FULL_SIZE, SyntheticError, generate
from assets.pagila.synthetic.generator import make_tables
from assets.pagila.synthetic.plan import Plan
from assets.pagila.synthetic.schema import TABLES
from medallion.postgres.connection import Connection, connect
from medallion.postgres.errors import SourceError
from tests.fixtures.pagila_churn import churn
from tests.fixtures.postgres import PASSWORD, Server

SMALL = 400
SIZES = {
    "actor": 200,
    "address": 603,
    "category": 16,
    "city": 600,
    "country": 109,
    "customer": 599,
    "film": 1_000,
    "film_actor": 5_462,
    "film_category": 1_000,
    "inventory": 4_581,
    "language": 6,
    "payment": 16_049,
    "rental": 16_044,
    "staff": 2,
    "store": 2,
}
"""Rows of the public sample."""

Ask = Callable[[str], list[tuple[Any, ...]]]


def asking(tables: dict[str, Any]) -> Ask:
    """Answers SQL over Arrow tables."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'")
    for name, rows in tables.items():
        connection.register(name, rows)
    return lambda sql: connection.execute(sql).fetchall()


@pytest.fixture(scope="module")
def ask() -> Ask:
    return asking(make_tables(Plan.of(FULL_SIZE), seed=1))


def rows(connection: Connection, sql: str) -> list[dict[str, Any]]:
    return connection.query(sql).to_pylist()


def number(connection: Connection, sql: str) -> int:
    (value,) = connection.query(sql).column(0).to_pylist()
    return int(value)


def test_it_has_exactly_the_sizes_of_the_public_sample(ask: Ask) -> None:
    assert {table: ask(f"select count(*) from {table}")[0][0] for table in SIZES} == SIZES
    assert set(TABLES) == set(SIZES)


def test_no_copy_is_with_two_customers_at_a_time(ask: Ask) -> None:
    next_rental = "lead(rental_date) over (partition by inventory_id order by rental_date)"
    lent_again = f"select return_date, {next_rental} as next from rental"
    assert ask(f"select * from ({lent_again}) where next is not null and return_date is null") == []
    assert ask(f"select * from ({lent_again}) where return_date >= next") == []


def test_every_rental_follows_what_it_needs(ask: Ask) -> None:
    assert ask("select * from rental where return_date <= rental_date") == []
    assert ask("select * from rental join customer using (customer_id) where rental_date::date < create_date") == []
    assert ask("select * from payment join customer using (customer_id) where payment_date::date < create_date") == []
    assert ask("select * from payment join rental using (rental_id) where payment_date < rental_date") == []
    assert ask("select * from rental r join inventory i using (inventory_id) where rental_date < i.last_update") == []
    assert ask("select * from rental where last_update <> coalesce(return_date, rental_date)") == []
    assert ask("select * from rental where hour(rental_date) not between 10 and 21") == []


def test_there_are_months_without_rentals_and_a_month_without_payments_between(ask: Ask) -> None:
    def months(moment: str, table: str) -> list[str]:
        return [month for (month,) in ask(f"select distinct strftime({moment}, '%Y-%m') from {table} order by 1")]

    assert months("rental_date", "rental") == [
        *("2024-02", "2024-03", "2024-04", "2024-05", "2024-06"),
        *("2024-09", "2024-10", "2024-11", "2024-12", "2025-01"),
    ]
    assert "2024-07" in months("payment_date", "payment"), "late returns are paid while the shop is closed"
    assert "2024-08" not in months("payment_date", "payment")


def test_what_is_odd_in_a_real_shop_is_there(ask: Ask) -> None:
    paid = Counter(times for (times,) in ask("select count(*) from payment group by rental_id"))
    assert paid[6] == 1
    assert paid[2] == 12
    assert paid.total() == SIZES["rental"] - 12

    def some(sql: str) -> bool:
        return ask(sql) != []

    assert some("select 1 from payment p join rental r using (rental_id) where p.customer_id <> r.customer_id")
    assert some("select 1 from rental join inventory using (inventory_id) where staff_id <> store_id")
    assert some("select 1 from customer where customer_id not in (select customer_id from rental)")
    assert some("select 1 from customer where active = 0")
    assert some("select 1 from customer where email is null")
    assert some("select 1 from film where film_id not in (select film_id from inventory)")
    assert some("select 1 from film_category group by film_id having count(*) = 2")
    assert some("select 1 from film where film_id not in (select film_id from film_category)")
    assert some("select 1 from payment where amount = 0")
    assert some("select 1 from address where address2 is null")
    assert some("select 1 from address where address2 = ''")
    assert some("select 1 from staff where picture is not null")
    assert some("select 1 from film where special_features is null")
    assert some("select 1 from film where len(special_features) = 0")
    ((late, back, out),) = ask(
        "select count(*) filter (where return_date > rental_date + rental_duration * interval '1 day'), "
        "count(return_date), count(*) - count(return_date) from rental join inventory using (inventory_id) "
        "join film using (film_id)"
    )
    assert 0.15 < late / back < 0.35
    assert 50 < out < 500


@settings(max_examples=8, deadline=None)
@given(rentals=st.integers(FEWEST, 3_000), seed=st.integers(0, 2**32))
def test_any_size_and_seed_gives_a_database_whose_keys_hold(rentals: int, seed: int) -> None:
    plan = Plan.of(rentals)
    tables = make_tables(plan, seed)
    ask = asking(tables)
    assert tables["rental"].num_rows == rentals
    assert tables["payment"].num_rows == plan.payments
    for name, table in TABLES.items():
        key = ", ".join(table.key)
        assert ask(f"select {key} from {name} group by all having count(*) > 1") == [], name
        for column, target in table.references.items():
            lost = f"select {column} from {name} where {column} not in (select {target}_id from {target})"
            assert ask(lost) == [], f"{name}.{column}"


def test_the_same_seed_makes_the_same_rows_and_another_makes_others() -> None:
    first, second, third = (make_tables(Plan.of(SMALL), seed) for seed in (1, 1, 2))
    assert all(first[table].equals(second[table]) for table in TABLES)
    assert not first["rental"].equals(third["rental"])
    assert not first["film"].equals(third["film"])


@pytest.mark.parametrize(
    ("rentals", "seed", "fault"), [(FEWEST - 1, 1, "--rentals is 199"), (SMALL, -1, "--seed is -1")]
)
def test_what_can_not_be_generated_is_refused_by_its_option(rentals: int, seed: int, fault: str) -> None:
    with pytest.raises(SyntheticError, match=fault):
        generate("postgresql://nowhere.invalid/", rentals=rentals, seed=seed)


def test_the_database_has_pagilas_types_and_its_triggers_work(postgres_url: str, postgres: Connection) -> None:
    generate(postgres_url, rentals=SMALL)

    kinds = {
        (row["table"], row["column"]): row["type"]
        for row in rows(
            postgres,
            'select attrelid::regclass::text as "table", attname::text as "column", '
            "format_type(atttypid, atttypmod) as type from pg_attribute join pg_class on pg_class.oid = attrelid "
            "where attnum > 0 and relkind in ('r', 'p') and relnamespace = 'public'::regnamespace",
        )
    }
    assert kinds["film", "rating"] == "mpaa_rating"
    assert kinds["film", "release_year"] == "year"
    assert kinds["film", "special_features"] == "text[]"
    assert kinds["film", "fulltext"] == "tsvector"
    assert kinds["film", "rental_rate"] == "numeric(4,2)"
    assert kinds["film", "rental_duration"] == "smallint"
    assert kinds["language", "name"] == "character(20)"
    assert kinds["staff", "picture"] == "bytea"
    assert kinds["payment", "payment_date"] == "timestamp with time zone"
    assert kinds["payment_p2024_09", "amount"] == "numeric(5,2)"

    assert number(postgres, "select count(*) from film where fulltext @@ to_tsquery('english', 'velvet')") > 0
    assert number(postgres, "select count(*) from film where last_update > now() - interval '1 day'") == 0
    postgres.execute("update film set rental_rate = 1.49 where film_id = 7")
    assert rows(postgres, "select film_id from film where last_update > now() - interval '1 day'") == [{"film_id": 7}]
    with pytest.raises(SourceError, match="foreign key constraint"):
        postgres.execute("delete from film where film_id in (select film_id from inventory)")


def test_new_rows_are_numbered_after_the_generated_ones_and_find_a_partition(
    postgres_url: str, postgres: Connection
) -> None:
    generate(postgres_url, rentals=SMALL)
    postgres.execute(
        "insert into rental (rental_date, inventory_id, customer_id, staff_id) values (now(), 1, 1, 1)",
    )
    postgres.execute(
        "insert into payment (customer_id, staff_id, rental_id, amount, payment_date) "
        "select 1, 1, max(rental_id), 2.99, now() from rental"
    )
    assert number(postgres, "select max(rental_id) from rental") == SMALL + 1
    assert number(postgres, "select payment_id from payment_default") == Plan.of(SMALL).payments + 1


def test_generated_again_the_rows_that_stay_keep_their_last_update(postgres_url: str, postgres: Connection) -> None:
    generate(postgres_url, rentals=SMALL)
    made = postgres.query("select * from rental order by 1")
    postgres.execute("update rental set return_date = return_date + interval '1 day' where rental_id = 5")
    postgres.execute("delete from payment where rental_id = 6")
    postgres.execute("insert into category (name) values ('Home Video')")

    generate(postgres_url, rentals=SMALL)

    again = postgres.query("select * from rental order by 1")
    assert again.drop(["last_update"]).equals(made.drop(["last_update"]))
    moved = [
        before["rental_id"]
        for before, after in zip(made.to_pylist(), again.to_pylist(), strict=True)
        if before["last_update"] != after["last_update"]
    ]
    assert moved == [5], "who reads by last_update must see what was changed back, and nothing else"
    assert number(postgres, "select count(*) from category") == SIZES["category"]
    assert number(postgres, "select count(*) from payment") == Plan.of(SMALL).payments


def test_another_seed_or_size_replaces_the_rows(postgres_url: str, postgres: Connection) -> None:
    generate(postgres_url, rentals=SMALL, seed=1)
    report = generate(postgres_url, rentals=FEWEST, seed=2)
    assert report.rows["rental"] == number(postgres, "select count(*) from rental") == FEWEST
    marks = rows(postgres, "select obj_description('payment'::regclass) as mark")
    assert marks == [
        {"mark": "SYNTHETIC: every row is made up; made by medallion generate pagila --rentals 200 --seed 2"}
    ]


@pytest.mark.parametrize(
    "theirs",
    [
        "create table film (title text)",
        "create view customer as select 1 as one",
        "create type mpaa_rating as enum ('X')",
        "create table payment_p2024_02 (id int)",
        "create function last_updated() returns int language sql as 'select 1'",
    ],
)
def test_somebody_elses_objects_are_never_touched(postgres_url: str, postgres: Connection, theirs: str) -> None:
    postgres.execute(theirs)
    with pytest.raises(SyntheticError, match=r"not made by `medallion generate pagila`.*Nothing was changed"):
        generate(postgres_url, rentals=SMALL)
    assert number(postgres, "select count(*) from pg_class where relnamespace = 'public'::regnamespace") <= 1


def test_a_shop_of_which_a_table_is_gone_is_not_filled_up(postgres_url: str, postgres: Connection) -> None:
    generate(postgres_url, rentals=SMALL)
    postgres.execute("drop table payment_p2024_02")
    with pytest.raises(SyntheticError, match="lacks payment_p2024_02"):
        generate(postgres_url, rentals=SMALL)


def test_other_schemas_may_have_tables_of_these_names(postgres_url: str, postgres: Connection) -> None:
    postgres.execute("create schema theirs")
    postgres.execute("create table theirs.film (title text)")
    generate(postgres_url, rentals=SMALL)
    assert number(postgres, "select count(*) from theirs.film") == 0


def test_a_load_that_fails_leaves_nothing_and_a_refill_that_fails_the_old_rows(
    postgres_url: str, postgres: Connection
) -> None:
    def fail(table: str, done: int, total: int) -> None:
        if table == "rental":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(postgres_url, rentals=SMALL, progress=fail)
    assert number(postgres, "select count(*) from pg_class where relnamespace = 'public'::regnamespace") == 0

    generate(postgres_url, rentals=SMALL)
    with pytest.raises(KeyboardInterrupt):
        generate(postgres_url, rentals=FEWEST, progress=fail)
    assert number(postgres, "select count(*) from rental") == SMALL


def test_a_user_who_may_not_make_tables_is_told_and_the_password_is_not(
    postgres_server: Server, postgres_url: str, postgres: Connection
) -> None:
    database = postgres_url.split("?")[0].rsplit("/", 1)[1]
    with pytest.raises(SourceError, match="permission denied") as caught:
        generate(postgres_server.locked_url(database, PASSWORD), rentals=SMALL)
    assert PASSWORD not in str(caught.value)


def test_the_command_fills_the_database_that_the_setting_names(postgres_url: str, postgres: Connection) -> None:
    from medallion.cli.app import app

    result = CliRunner().invoke(
        app, ["generate", "pagila", "--rentals", str(SMALL), "--seed", "4"], env={"PAGILA_URL": postgres_url}
    )

    assert result.exit_code == 0, result.output
    assert "Generating synthetic pagila in the database of PAGILA_URL; every row is made up" in result.stdout
    assert "synthetic rows in 15 tables (seed 4, 400 rentals)" in result.stdout
    assert postgres_url not in result.output
    assert number(postgres, "select count(*) from rental") == SMALL


def test_a_server_of_the_system_is_filled_over_tcp_and_filled_again(debian_server: Server) -> None:
    with debian_server.database() as url:
        generate(url, rentals=SMALL)
        generate(url, rentals=FEWEST)
        with connect("test", url) as connection:
            assert number(connection, "select count(*) from rental") == FEWEST


def test_progress_of_every_table_ends_at_its_rows(postgres_url: str) -> None:
    last: dict[str, tuple[int, int]] = {}
    report = generate(
        postgres_url, rentals=SMALL, progress=lambda table, done, total: last.update({table: (done, total)})
    )
    assert last == {table: (count, count) for table, count in report.rows.items()}


def test_churn_makes_as_many_changes_as_asked_and_the_same_for_a_seed(postgres_server: Server) -> None:
    made = []
    for _ in range(2):
        with postgres_server.database() as url:
            generate(url, rentals=SMALL)
            kinds = churn(url, 300, seed=9, per_transaction=50)
            with connect("test", url) as connection:
                changed = "select count(*) from {} where last_update > now() - interval '1 h'"
                counted = {table: number(connection, changed.format(table)) for table in ("rental", "film", "address")}
                paid = rows(connection, "select * from payment order by payment_id, payment_date")
            made.append((kinds, counted, paid))
    assert made[0] == made[1]
    kinds, counted, paid = made[0]
    assert kinds.total() == 300
    assert min(kinds.values()) > 0
    assert counted["rental"] > 0
    assert counted["film"] > 0
    assert len(paid) == Plan.of(SMALL).payments + kinds["pay"] - kinds["delete a payment"]


def test_churn_runs_on_the_public_sample(pagila_url: str) -> None:
    assert churn(pagila_url, 200, seed=1).total() == 200


def test_every_connection_is_closed(postgres_url: str, postgres: Connection) -> None:
    generate(postgres_url, rentals=SMALL)
    churn(postgres_url, 20)
    # A backend that is told to end is still listed for a moment.
    others = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    for _ in range(50):
        if number(postgres, others) == 0:
            return
        postgres.query("select pg_sleep(0.1)::text")
    pytest.fail("a connection is still open")
