"""A session of a server: what it gives, and what its errors say."""

from __future__ import annotations

import pytest

from medallion.postgres.connection import Connection, connect
from medallion.postgres.errors import SourceError, SourceSchemaError, SourceUnavailableError, hide_credentials
from tests.fixtures.postgres import PASSWORD, Server


def refused(url: str) -> str:
    with pytest.raises(SourceUnavailableError) as caught:
        connect("pagila", url)
    assert caught.value.__cause__ is None
    return str(caught.value)


def test_a_session_shows_times_in_utc_whatever_the_database_says(postgres: Connection, postgres_url: str) -> None:
    name = postgres.query("select current_database()::text as name").column("name")[0].as_py()
    postgres.execute(f"alter database {name} set timezone = 'Asia/Kolkata'")
    postgres.execute(f"alter database {name} set datestyle = 'German'")
    with connect("pagila", postgres_url) as other:
        shown = other.query("select timestamptz '2022-01-31 10:00+01'::text as at").column("at")[0].as_py()
    assert shown == "2022-01-31 09:00:00+00"


def test_a_server_that_is_down_is_named_with_the_next_step() -> None:
    message = refused("postgresql://shop:hidden@127.0.0.1:1/shop")
    assert "Connection refused" in message
    assert "start the server, or check host and port in PAGILA_URL" in message
    assert "hidden" not in message


def test_an_unknown_host_is_named() -> None:
    message = refused("postgresql://shop:hidden@no-such-host.invalid/shop")
    assert "no-such-host.invalid" in message
    assert "check the host in PAGILA_URL" in message


def test_a_missing_database_is_named(postgres_server: Server) -> None:
    assert 'database "nowhere" does not exist; check the database' in refused(postgres_server.url("nowhere"))


def test_a_wrong_password_is_neither_shown_nor_is_the_user(postgres_server: Server) -> None:
    message = refused(postgres_server.locked_url("postgres", "hidden%2Fpart"))
    assert "password authentication failed for user of the URL; correct user and password in PAGILA_URL" in message
    assert "locked" not in message
    assert "hidden" not in message


@pytest.mark.integration
def test_a_wrong_password_is_not_shown_by_a_server_of_the_network_either(debian_server: Server) -> None:
    message = refused(debian_server.locked_url("postgres", "hidden%2Fpart"))
    assert "127.0.0.1" in message
    assert "correct user and password in PAGILA_URL" in message
    assert "locked" not in message
    assert "hidden" not in message


def test_the_right_password_is_let_in(postgres_server: Server) -> None:
    url = postgres_server.locked_url("postgres", PASSWORD.replace("+", "%2B"))
    with connect("pagila", url) as connection:
        assert connection.query("select 1 as one").column("one").to_pylist() == [1]


@pytest.mark.parametrize(
    "url",
    [
        "mysql://shop:hidden@127.0.0.1/shop",
        "shop:hidden",
        "postgresql://shop:hidden@[::1/shop",
        "postgresql://shop:hidden@127.0.0.1:port/shop",
        "postgresql://shop:hid%zzden@127.0.0.1:1/shop",
        "postgresql://shop:hidden@127.0.0.1:1/shop?unknown=hidden",
        "host=127.0.0.1 password=hidden",
    ],
)
def test_a_malformed_url_is_not_repeated(url: str) -> None:
    message = refused(url)
    assert "PAGILA_URL" in message
    assert "hidden" not in message
    assert "hid%" not in message


def test_a_connection_shows_no_url(postgres: Connection) -> None:
    assert repr(postgres) == "Connection('test')"


def test_a_failed_statement_names_the_table(postgres: Connection) -> None:
    with pytest.raises(SourceSchemaError, match='table rental: relation "rental" does not exist; check that TEST_URL'):
        postgres.query("select * from rental", table="rental")


def test_a_missing_right_says_what_to_grant(postgres: Connection, postgres_server: Server, postgres_url: str) -> None:
    postgres.execute("create table rental (id int)")
    name = postgres.query("select current_database()::text as name").column("name")[0].as_py()
    url = postgres_server.locked_url(name, PASSWORD.replace("+", "%2B"))
    with connect("pagila", url) as connection, pytest.raises(SourceSchemaError, match="GRANT SELECT ON"):
        connection.query("select * from rental", table="rental")


def test_a_query_streams_what_it_is_asked_for(postgres: Connection) -> None:
    batches = list(postgres.stream("select x, repeat('x', 200) as text from generate_series(1, 200000) as x"))
    assert len(batches) > 1
    assert sum(batch.num_rows for batch in batches) == 200_000


def test_an_error_in_the_middle_of_a_stream_is_told(postgres: Connection) -> None:
    stream = postgres.stream("select 1 / (x - 900000) as x from generate_series(1, 1000000) as x", table="numbers")
    with pytest.raises(SourceError, match="test, table numbers: division by zero"):
        list(stream)


def test_a_connection_that_is_cut_in_the_middle_of_a_stream_is_told(postgres: Connection, postgres_url: str) -> None:
    stream = postgres.stream("select x, repeat('x', 100) as t from generate_series(1, 3000000) as x", table="numbers")
    assert stream.read_next_batch().num_rows
    with connect("test", postgres_url) as other:
        other.query(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where datname = current_database() and pid <> pg_backend_pid()"
        )
    with pytest.raises(SourceUnavailableError, match="table numbers: the connection was lost"):
        list(stream)
    with pytest.raises(SourceUnavailableError, match="run again when the server is back"):
        postgres.query("select 1")


def test_another_statement_during_a_stream_ends_the_stream_with_an_error(postgres: Connection) -> None:
    stream = postgres.stream("select x, repeat('x', 100) as t from generate_series(1, 1000000) as x")
    assert stream.read_next_batch().num_rows
    postgres.query("select 1")
    with pytest.raises(SourceError, match="before the rows were read to the end"):
        list(stream)


def test_a_stream_that_is_given_up_leaves_the_session_usable(postgres: Connection) -> None:
    stream = postgres.stream("select x, repeat('x', 100) as t from generate_series(1, 1000000) as x")
    assert stream.read_next_batch().num_rows
    del stream
    assert postgres.query("select 1 as one").column("one").to_pylist() == [1]


def test_a_list_is_an_array_parameter(postgres: Connection) -> None:
    found = postgres.query("select x from generate_series(1, 9) as x where x::text = any($1)", (["3", "5"],))
    assert found.column("x").to_pylist() == [3, 5]


def test_a_server_older_than_13_is_refused(monkeypatch: pytest.MonkeyPatch, postgres_url: str) -> None:
    monkeypatch.setattr("medallion.postgres.connection._OLDEST", 990000)
    assert "Medallion reads 13 and newer: upgrade the server, or point PAGILA_URL at another" in refused(postgres_url)


@pytest.mark.parametrize(
    ("url", "message", "shown"),
    [
        ("postgresql://u:s3cr@etpart@host/db", 'could not translate host name "etpart@host"', '"***@host"'),
        ("postgresql://u:s3cr/etpart@host/db", 'invalid integer value "s3cr"', 'value "***"'),
        ("postgresql://u:abc#hun%zzter@host/db", 'invalid percent-encoded token: "abc#hun%zzter"', 'token: "***"'),
        ("postgresql://host/db?password=a%2Bb%zz", 'invalid percent-encoded token: "a%2Bb%zz"', 'token: "***"'),
    ],
)
def test_pieces_of_a_password_with_unescaped_signs_are_hidden(url: str, message: str, shown: str) -> None:
    assert hide_credentials(url, message).endswith(shown)
