"""A source database as one run sees it: one snapshot for all of its tables."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from medallion.postgres import catalog
from medallion.postgres.captured import Captured, captured_tables
from medallion.postgres.catalog import SourceTable
from medallion.postgres.comparison import Comparison
from medallion.postgres.connection import Connection, connect
from medallion.postgres.errors import SourceError, SourceSchemaError
from medallion.sql import literal, quoted

if TYPE_CHECKING:
    import pyarrow as pa

    from medallion.delta.store import DeltaStore
    from medallion.postgres.moment import Moment
    from medallion.tables import Table

# Taken before the snapshot: what is committed later may be in the snapshot, what is in the log before it is.
_POSITION = """
select ((case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end) - '0/0'::pg_lsn)
::int8 as position
"""
_EVENT_DAY = {"timestamptz": "({0} at time zone 'UTC')::date", "timestamp": "{0}::date", "date": "{0}"}


class Database:
    """Reads a source in one read-only transaction, so that tables that refer to each other agree.

    It connects when something is read. A statement that fails doesn't end the snapshot: other tables can still be
    read. If the connection is lost, so is the snapshot, and everything that follows fails: the run has to be repeated.

    Attributes:
        domain: whose database it is.
        changes: what the log has for bronze, if this run captures it.
    """

    def __init__(self, domain: str, url: str, moment: Moment | None = None) -> None:
        """Take note of the database.

        Args:
            domain: whose database it is.
            url: `postgresql://user:password@host:port/database`.
            moment: the snapshot that another process of the run has exported; None to take one.
        """
        self.domain = domain
        self.changes: Captured | None = None
        self._url = url
        self._given = moment
        self._opened: Connection | None = None
        self._tables: dict[str, SourceTable] = {}
        self._comparisons = ExitStack()

    def __repr__(self) -> str:
        return f"Database({self.domain!r})"

    @property
    def position(self) -> int:
        """Position of the write-ahead log at which the snapshot was taken; on a standby, up to which it had replayed.

        All that was committed and visible before it is in the snapshot.
        """
        return self._moment[0]

    @property
    def now(self) -> dt.datetime:
        """When the snapshot was taken, by the server's clock, UTC."""
        return self._moment[1]

    def describe(self, table: str) -> SourceTable:
        """What a table is made of; `schema.table` for one outside of the search_path.

        Raises:
            SourceSchemaError: there is no such table.
        """
        _ = self._moment
        if table not in self._tables:
            with self._kept():
                self._tables[table] = catalog.describe(self._connection, table)
        return self._tables[table]

    def query(self, sql: str, params: Sequence[Any] = (), table: str | None = None) -> pa.Table:
        """All rows of a SELECT, as of the snapshot; parameters are $1, $2 and so on.

        Raises:
            SourceError: it failed; the snapshot lives on.
        """
        _ = self._moment
        with self._kept():
            return self._connection.query(sql, params, table)

    def stream(self, sql: str, table: str | None = None) -> Iterator[pa.RecordBatch]:
        """The rows of a SELECT, as of the snapshot; nothing else can be read before they are, or are given up.

        Raises:
            SourceError: it failed; also while batches are read.
        """
        _ = self._moment
        with self._kept():
            reader = self._connection.stream(sql, table)
            try:
                yield from reader
            finally:
                reader.close()

    def event_days(self, table: str, column: str) -> list[dt.date]:
        """The days, in UTC, of the values of a column, in order.

        Raises:
            SourceSchemaError: the table has no such column, or it holds no dates.
        """
        found = self.describe(table)
        kind = found.columns.get(column)
        day = _EVENT_DAY.get(kind.base) if kind is not None and not kind.dimensions else None
        if day is None:
            held = "there is no such column" if kind is None else f"it is {kind.type}"
            raise SourceSchemaError(
                f"{self.domain}, table {table}: event_time names {column!r}, but {held}; name a date or a timestamp"
            )
        name = quoted(column)
        rows = self.query(
            f"select distinct {day.format(name)} as day from {found.sql} "
            f"where {name} >= '0001-01-01' and {name} < '10000-01-01' order by day",
            table=table,
        )
        return [day for day in rows.column("day").to_pylist() if day is not None]

    def follow(self, store: DeltaStore, tables: Iterable[Table]) -> None:
        """Have bronze take changes from the log; for the whole run.

        Args:
            store: the lake.
            tables: all declared ones.
        """
        if self.changes is None:
            mirrors = {name: table.path for name, table in captured_tables(tables, self.domain).items()}
            self.changes = Captured(self.domain, self._url, store, mirrors)

    def export(self) -> str:
        """Name of the snapshot, by which other sessions can read it for as long as this one is open."""
        _ = self._moment
        return str(self._connection.query("select pg_export_snapshot() as name").column("name")[0].as_py())

    def comparison(self) -> Comparison:
        """Where rows of a table can be compared with those of its bronze table, until this is closed."""
        return self._comparisons.enter_context(closing(Comparison()))

    def close(self) -> None:
        """End the snapshot and the connection; a database that was never read has none."""
        self._comparisons.close()
        if self._opened is not None:
            self._opened.close()
            self._opened = None
        if self.changes is not None:
            self.changes.close()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _connection(self) -> Connection:
        if self._opened is None:
            raise SourceError(f"{self.domain}: its database is closed; open another one for another run")
        return self._opened

    @cached_property
    def _moment(self) -> tuple[int, dt.datetime]:
        self._opened = connect(self.domain, self._url)
        if self._given is not None:
            self._opened.execute("begin isolation level repeatable read read only")
            self._opened.execute(f"set transaction snapshot {literal(self._given.snapshot)}")
            return self._given.position, self._given.now
        position = self._opened.query(_POSITION).column("position")[0].as_py()
        self._opened.execute("begin isolation level repeatable read read only")
        return position, self._opened.query("select now() as now").column("now")[0].as_py()

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """Keep the snapshot when a statement fails."""
        self._connection.execute("savepoint medallion")
        try:
            yield
        except SourceError as error:
            try:
                self._connection.execute("rollback to savepoint medallion")
            except SourceError:
                # The connection is gone, which the first error tells.
                raise error from None
            raise
        else:
            self._connection.execute("release savepoint medallion")
