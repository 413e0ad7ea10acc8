"""One session of a PostgreSQL server: statements, and queries whose rows arrive as Arrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from medallion.postgres.errors import (
    SourceError,
    SourceUnavailableError,
    connection_failed,
    statement_failed,
    stream_failed,
    url_setting,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from adbc_driver_manager.dbapi import Connection as Driver

_OLDEST = 130000
# What a value looks like as text must not depend on the server's or the user's configuration.
_SESSION = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "client_encoding": "UTF8",
    "application_name": "medallion",
    "lock_timeout": "60s",
    # A run reads its first table minutes before its last one.
    "idle_in_transaction_session_timeout": "0",
    "statement_timeout": "0",
    # Rows that a policy hides would be taken for deleted ones; so the server refuses to read such a table.
    "row_security": "off",
}


@dataclass(frozen=True)
class Connection:
    """An open session in autocommit: every statement is its own transaction unless one is begun by `execute`.

    Attributes:
        domain: whose database it is, for messages.
        url: of the database; it holds the password, so it is in no message and not in the repr.
        server_version: such as 160004.
    """

    domain: str
    url: str
    server_version: int
    _driver: Driver

    def __repr__(self) -> str:
        return f"Connection({self.domain!r})"

    def execute(self, sql: str, table: str | None = None) -> None:
        """Run one statement that returns no rows, such as DDL, BEGIN or SET.

        Args:
            sql: one statement.
            table: what it is about, for messages.

        Raises:
            SourceError: it failed.
        """
        with self._translated(table), self._driver.cursor() as cursor:
            cursor.adbc_statement.set_sql_query(sql)
            cursor.adbc_statement.execute_update()

    def query(self, sql: str, params: Sequence[Any] = (), table: str | None = None) -> pa.Table:
        """All rows of a SELECT (no other statement returns rows) as an Arrow table.

        Args:
            sql: a SELECT; parameters are $1, $2 and so on. Without parameters the server streams it by COPY.
            params: their values; a list is an array.
            table: what it is about, for messages.

        Raises:
            SourceError: it failed.
        """
        with self._translated(table), self._driver.cursor() as cursor:
            cursor.execute(sql, tuple(params) or None)
            return cursor.fetch_arrow_table()

    def stream(self, sql: str, table: str | None = None) -> pa.RecordBatchReader:
        """The rows of a SELECT in batches, read as they are asked for.

        The session can do nothing else until they are read to the end or the reader is closed.

        Raises:
            SourceError: it failed; also while batches are read.
        """
        import pyarrow as pa

        cursor = self._driver.cursor()
        try:
            with self._translated(table):
                cursor.execute(sql)
                reader = cursor.fetch_record_batch()
                schema = reader.schema
        except SourceError:
            cursor.close()
            raise

        def batches() -> Iterator[pa.RecordBatch]:
            try:
                yield from reader
            except (OSError, pa.ArrowException) as error:
                raise stream_failed(self.domain, self.url, error, table) from None
            finally:
                reader.close()
                cursor.close()

        return pa.RecordBatchReader.from_batches(schema, batches())

    def ingest(self, table: str, rows: pa.Table, *, temporary: bool = False) -> None:
        """Append rows to a table by one binary COPY; their types are those of its columns.

        Args:
            table: name of the table, in the first schema of the search path.
            rows: columns by name; columns that they lack get their default.
            temporary: whether it is a temporary table of this session.

        Raises:
            SourceError: it failed.
        """
        with self._translated(table), self._driver.cursor() as cursor:
            cursor.adbc_ingest(table, rows, mode="append", temporary=temporary)

    def close(self) -> None:
        """End the session; what it began and didn't commit is undone."""
        self._driver.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _translated(self, table: str | None) -> Iterator[None]:
        from adbc_driver_manager import Error

        try:
            yield
        except Error as error:
            raise statement_failed(self.domain, self.url, error, table) from None


def connect(domain: str, url: str) -> Connection:
    """Open a session.

    Args:
        domain: whose database it is.
        url: `postgresql://user:password@host:port/database?options`, as libpq has it.

    Raises:
        SourceUnavailableError: the server can't be reached, refuses us, or is older than PostgreSQL 13.
    """
    from adbc_driver_manager import Error
    from adbc_driver_postgresql import dbapi  # type: ignore[import-untyped]

    try:
        # The context of the driver's error would show the URL.
        driver = dbapi.connect(_with_timeout(domain, url), autocommit=True)
    except Error as error:
        raise connection_failed(domain, url, error) from None
    opened = Connection(domain, url, 0, driver)
    try:
        settings = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in _SESSION.items())
        (row,) = opened.query(
            f"select current_setting('server_version_num')::int as version from (select {settings}) as settings"
        ).to_pylist()
        if row["version"] < _OLDEST:
            raise SourceUnavailableError(
                f"{domain}: its server is PostgreSQL {row['version'] // 10000}; Medallion reads 13 and newer: upgrade "
                f"the server, or point {url_setting(domain)} at another"
            )
    except SourceError:
        opened.close()
        raise
    return Connection(domain, url, row["version"], driver)


def _with_timeout(domain: str, url: str) -> str:
    """The URL with a time limit for connecting, unless it has one; libpq by itself waits for minutes."""
    wrong = f"{domain}: {url_setting(domain)} is no PostgreSQL URL; write postgresql://user:password@host:5432/database"
    try:
        parts = urlsplit(url)
    except ValueError:
        raise SourceUnavailableError(wrong) from None
    if parts.scheme not in ("postgresql", "postgres"):
        raise SourceUnavailableError(wrong)
    if any(name == "connect_timeout" for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
        return url
    return f"{url}{'&' if parts.query else '?'}connect_timeout=10"
