"""Rows of a source beside those of its bronze table: what is new or differs, and which keys are gone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from medallion.duckdb_session import duckdb_session
from medallion.postgres.errors import SourceError
from medallion.sql import quoted

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_BATCH_ROWS = 65536


class Comparison:
    """Compares streams of rows; what it keeps is its own."""

    def __init__(self) -> None:
        """Begin without rows, in a session of its own."""
        self._db = duckdb_session()
        self._db.execute("SET SESSION preserve_insertion_order = false")

    def close(self) -> None:
        """Forget what was kept."""
        self._db.close()

    def keep(self, name: str, schema: pa.Schema, rows: Iterator[pa.RecordBatch]) -> int:
        """Read a stream to its end into a table, on disk if need be.

        Returns:
            How many rows there were.

        Raises:
            SourceError: the stream failed.
        """
        with _Stream(self._db, "rows_to_keep", schema, rows) as stream:
            return int(stream.run(lambda: self._kept(f"CREATE TEMP TABLE {name} AS SELECT * FROM rows_to_keep")))

    def largest(self, table: str, column: str) -> Any:
        """The largest value of a column of a table that is kept."""
        found = self._db.sql(f"SELECT max({quoted(column)}) AS largest FROM {table}").to_arrow_table()
        return found.column("largest")[0].as_py()

    def keep_absent(self, name: str, table: str, other: str, columns: Sequence[str], where: str = "true") -> int:
        """Keep the rows of one kept table that another lacks, by some columns, of which NULL is like NULL.

        Returns:
            How many there are.
        """
        same = " AND ".join(f"o.{quoted(column)} IS NOT DISTINCT FROM t.{quoted(column)}" for column in columns)
        return self._kept(
            f"CREATE TEMP TABLE {name} AS SELECT t.* FROM {table} t WHERE ({where}) "
            f"AND NOT EXISTS (SELECT 1 FROM {other} o WHERE {same})"
        )

    def kept(self, table: str, columns: Sequence[str], as_text: bool = False) -> pa.RecordBatchReader:
        """Some columns of a kept table, which are read before anything else is compared."""
        listed = [f"CAST({quoted(name)} AS VARCHAR) AS {quoted(name)}" if as_text else quoted(name) for name in columns]
        return self._db.sql(f"SELECT {', '.join(listed)} FROM {table}").to_arrow_reader(_BATCH_ROWS)

    def changed(
        self, schema: pa.Schema, incoming: Iterator[pa.RecordBatch], held: pa.RecordBatchReader
    ) -> Iterator[pa.RecordBatch]:
        """The incoming rows that are not held just as they are.

        Raises:
            SourceError: the incoming stream failed.
        """
        self._db.register("held", held)
        try:
            with _Stream(self._db, "incoming", schema, incoming) as stream:
                names = ", ".join(quoted(name) for name in schema.names)
                reader = stream.run(
                    lambda: self._db.sql(
                        f"SELECT {names} FROM incoming EXCEPT SELECT {names} FROM held"
                    ).to_arrow_reader(_BATCH_ROWS)
                )
                while (batch := stream.run(lambda: next(reader, None))) is not None:
                    yield batch.cast(schema)
        finally:
            self._db.unregister("held")

    def _kept(self, statement: str) -> int:
        (row,) = self._db.execute(statement).fetchall()
        return int(row[0])


class _Stream:
    """Rows that DuckDB reads; what they fail with reaches the caller as it was, not as DuckDB's text of it."""

    def __init__(
        self, db: duckdb.DuckDBPyConnection, name: str, schema: pa.Schema, rows: Iterator[pa.RecordBatch]
    ) -> None:
        self._db, self._name, self._schema, self._rows = db, name, schema, rows
        self._failure: SourceError | None = None

    def __enter__(self) -> _Stream:
        import pyarrow as pa

        self._db.register(self._name, pa.RecordBatchReader.from_batches(self._schema, self._watched()))
        return self

    def __exit__(self, *_: object) -> None:
        self._db.unregister(self._name)

    def run(self, work: Any) -> Any:
        import duckdb
        import pyarrow as pa

        try:
            return work()
        except (duckdb.Error, pa.ArrowException, OSError):
            if self._failure is not None:
                raise self._failure from None
            raise

    def _watched(self) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self._rows:
                # DuckDB trusts the stream's schema: another type than it says would be read from foreign memory.
                yield batch.select(self._schema.names).cast(self._schema)
        except SourceError as error:
            self._failure = error
            raise
