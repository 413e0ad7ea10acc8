"""A source database as one run sees it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import duckdb
import pyarrow as pa
import pytest

from medallion.postgres.connection import Connection, connect
from medallion.postgres.database import Database
from medallion.postgres.errors import SourceError, SourceSchemaError, SourceUnavailableError
from tests.fixtures.postgres import Server


@pytest.fixture(scope="module")
def postgres_url(postgres_server: Server) -> Iterator[str]:
    with postgres_server.database() as url:
        yield url


@pytest.fixture
def source(postgres: Connection, postgres_url: str) -> Iterator[Database]:
    """A run's view of the module's database, which has some tables."""
    postgres.execute('drop schema if exists "Odd schema" cascade')
    postgres.execute("drop schema public cascade")
    postgres.execute("create schema public")
    postgres.execute("create domain year as int check (value > 1900)")
    postgres.execute("create table film (film_id int primary key, released year, rate numeric(4,2), tags text[])")
    postgres.execute("create table rental (rental_id int, film_id int, at timestamptz)")
    postgres.execute("insert into film values (1, 2006, 4.99, '{a}')")
    with Database("shop", postgres_url) as opened:
        yield opened


def count(source: Database, table: str) -> int:
    return int(source.query(f"select count(*)::int4 as rows from {table}").column("rows")[0].as_py())


def test_nothing_is_connected_before_something_is_read() -> None:
    Database("shop", "postgresql://nobody@no-such-host.invalid/none").close()


def test_a_comparison_that_was_given_up_ends_with_its_database() -> None:
    with Database("shop", "postgresql://nobody@no-such-host.invalid/none") as database:
        given_up = database.comparison()
        given_up.keep("kept", pa.schema([("id", pa.int64())]), iter([pa.record_batch({"id": [7]})]))
        assert given_up.largest("kept", "id") == 7
    with pytest.raises(duckdb.ConnectionException):
        given_up.largest("kept", "id")


def test_all_tables_are_read_as_of_one_moment(source: Database, postgres: Connection) -> None:
    assert count(source, "film") == 1
    postgres.execute("insert into film values (2, 2007, 0.99, null)")
    postgres.execute("insert into rental values (1, 2, now())")
    assert (count(source, "film"), count(source, "rental")) == (1, 0)


def test_the_next_run_sees_what_was_committed(source: Database, postgres: Connection, postgres_url: str) -> None:
    assert count(source, "film") == 1
    postgres.execute("insert into film values (2, 2007, 0.99, null)")
    with Database("shop", postgres_url) as later:
        assert count(later, "film") == 2
        assert later.position >= source.position > 0
        assert later.now > source.now


def test_the_source_cannot_be_written_to(source: Database, postgres: Connection) -> None:
    postgres.execute("create sequence numbers")
    with pytest.raises(SourceError, match="read-only transaction"):
        source.query("select nextval('numbers') as number")


def test_a_failed_statement_leaves_the_snapshot_for_other_tables(source: Database, postgres: Connection) -> None:
    assert count(source, "film") == 1
    postgres.execute("insert into film values (2, 2007, 0.99, null)")
    with pytest.raises(SourceSchemaError):
        source.query("select * from nothing", table="nothing")
    with pytest.raises(SourceError, match="division by zero"):
        list(source.stream("select 1 / (x - 3) as x from generate_series(1, 5) as x"))
    assert count(source, "film") == 1


def test_a_stream_that_is_given_up_leaves_the_snapshot(source: Database, postgres: Connection) -> None:
    assert count(source, "film") == 1
    postgres.execute("insert into film values (2, 2007, 0.99, null)")
    stream = source.stream("select x, repeat('x', 100) as t from generate_series(1, 300000) as x")
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert count(source, "film") == 1


def test_a_lost_connection_ends_the_run_because_the_snapshot_is_gone(source: Database, postgres: Connection) -> None:
    assert count(source, "film") == 1
    postgres.query(
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where datname = current_database() and pid <> pg_backend_pid()"
    )
    for _ in range(2):
        with pytest.raises(SourceUnavailableError, match=r"shop.*: the connection was lost.*run again"):
            count(source, "film")


def test_a_database_that_is_closed_says_so(source: Database) -> None:
    assert count(source, "film") == 1
    source.close()
    with pytest.raises(SourceError, match="shop: its database is closed"):
        count(source, "film")


def test_a_table_is_described_with_what_its_domains_are_made_of(source: Database) -> None:
    found = source.describe("film")
    assert found.sql == "public.film"
    assert found.key == ("film_id",)
    described = {name: (column.type, column.base, column.dimensions) for name, column in found.columns.items()}
    assert described == {
        "film_id": ("integer", "int4", 0),
        "released": ("year", "int4", 0),
        "rate": ("numeric(4,2)", "numeric", 0),
        "tags": ("text[]", "text", 1),
    }
    assert found.columns["rate"].scale == 2


def test_a_key_of_several_columns_has_its_order(source: Database, postgres: Connection) -> None:
    postgres.execute("create table link (a int, b int, c int, primary key (c, a))")
    assert source.describe("link").key == ("c", "a")


def test_a_partitioned_table_is_one_table(source: Database, postgres: Connection) -> None:
    postgres.execute("create table payment (id int, at timestamptz, primary key (at, id)) partition by range (at)")
    postgres.execute("create table payment_1 partition of payment for values from ('2022-01-01') to ('2022-02-01')")
    postgres.execute("create table payment_2 partition of payment for values from ('2022-02-01') to ('2022-03-01')")
    postgres.execute("insert into payment values (1, '2022-01-05 00:00+00'), (2, '2022-02-05 00:00+00')")
    assert source.describe("payment").key == ("at", "id")
    assert count(source, source.describe("payment").sql) == 2


def test_a_dropped_column_is_not_described(source: Database, postgres: Connection) -> None:
    postgres.execute("alter table film drop column rate")
    assert list(source.describe("film").columns) == ["film_id", "released", "tags"]


def test_a_table_of_another_schema_is_named_with_it(source: Database, postgres: Connection) -> None:
    postgres.execute('create schema "Odd schema"')
    postgres.execute('create table "Odd schema"."Odd.table" (a int)')
    assert source.describe("Odd schema.Odd.table").sql == '"Odd schema"."Odd.table"'


def test_a_missing_table_says_where_it_was_looked_for(source: Database) -> None:
    with pytest.raises(
        SourceSchemaError, match="shop: there is no table 'customer' in its database; check that SHOP_URL"
    ):
        source.describe("customer")


def test_event_days_are_those_of_utc_in_order_without_gaps_filled(source: Database, postgres: Connection) -> None:
    postgres.execute(
        "insert into rental values (1, 1, '2022-05-02 01:00+02'), (2, 1, '2022-02-01 12:00+00'), (3, 1, null), "
        "(4, 1, '2022-05-01 12:00+00'), (5, 1, 'infinity')"
    )
    assert source.event_days("rental", "at") == [dt.date(2022, 2, 1), dt.date(2022, 5, 1)]


def test_event_days_need_a_column_with_dates(source: Database) -> None:
    with pytest.raises(SourceSchemaError, match="event_time names 'film_id', but it is integer"):
        source.event_days("rental", "film_id")
    with pytest.raises(SourceSchemaError, match="event_time names 'gone', but there is no such column"):
        source.event_days("rental", "gone")


def test_a_lock_is_waited_for_only_so_long(source: Database, postgres: Connection, postgres_url: str) -> None:
    _ = source.position
    source.query("select set_config('lock_timeout', '50ms', true)")
    with connect("other", postgres_url) as other:
        other.execute("begin")
        other.execute("lock table film in access exclusive mode")
        with pytest.raises(SourceUnavailableError, match=r"table film.*another session holds a lock"):
            source.query("select * from film", table="film")
