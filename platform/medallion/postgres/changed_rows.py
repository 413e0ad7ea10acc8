"""The last change of each key as rows of bronze: texts become values, and what the log leaves out is looked up."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medallion.delta.store import scan
from medallion.extract import DELETED
from medallion.postgres.errors import SourceValueError
from medallion.postgres.reading import INGESTED_AT, LSN, TableReading
from medallion.postgres.spool import BATCH_ROWS, Compaction
from medallion.postgres.types import CastError, Reading
from medallion.sql import quoted

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    from deltalake import DeltaTable

    from medallion.postgres.connection import Connection


@dataclass(frozen=True)
class ChangedRows:
    """Rows of one table as its bronze table has them.

    Attributes:
        reading: the table and the contract.
        compaction: the changes.
        current: the bronze table.
        started: time of the run, UTC.
        connection: to the source.
    """

    reading: TableReading
    compaction: Compaction
    current: DeltaTable
    started: dt.datetime
    connection: Connection

    def changed(self) -> pa.RecordBatchReader:
        """The last change of each key: the contract's columns and `_deleted`.

        They are made before they are returned: what is wrong with them is an error here, and not one of whoever reads
        them.

        Raises:
            SourceValueError: a value that the contract's type can't hold.
        """
        import pyarrow as pa

        schema = self.reading.schema.append(pa.field(DELETED, pa.bool_()))
        path = self.compaction.spool.folder / f"{self.compaction.table.relation.oid}.arrow"
        with pa.ipc.new_stream(path, schema) as file:
            for batch in self._completed() if self.compaction.partial else self._typed():
                file.write_batch(_as(batch, schema))
        # Not mapped into memory, whose size would then look like that of the file.
        return pa.ipc.open_stream(pa.OSFile(str(path)))

    def whole(self) -> pa.RecordBatchReader:
        """All rows that the bronze table then has; where the table was truncated, none of those that it has now.

        A merge holds all of its changes in memory; this goes to disk.

        Raises:
            SourceValueError: a value that the contract's type can't hold.
        """
        import pyarrow as pa

        schema = self.reading.schema
        connection = self.compaction.spool.database.cursor()
        connection.register("rows", self.changed())
        connection.execute("create temp table latest as from rows")
        listed = ", ".join(quoted(name) for name in schema.names)
        live = f"select {listed} from latest where not {DELETED}"
        if self.compaction.truncated is None:
            connection.register("stored", scan(self.current, schema.names))
            same = " and ".join(f"s.{quoted(name)} = l.{quoted(name)}" for name in self.reading.key)
            live += f" union all select {listed} from stored s where not exists (select 1 from latest l where {same})"
        rows = connection.sql(live).to_arrow_reader(BATCH_ROWS)
        return pa.RecordBatchReader.from_batches(schema, (_as(batch, schema) for batch in rows))

    def _typed(self) -> Iterator[pa.RecordBatch]:
        """The rows of the compaction with their types; its marks stay with them."""
        import pyarrow as pa

        readings = {reading.column.name: reading for reading in self.reading.columns}
        for texts in self.compaction.batches():
            columns: dict[str, Any] = {}
            for name, values in zip(texts.schema.names, texts.columns, strict=True):
                reading = readings.get(name)
                columns[name] = values if reading is None else self._values(reading, values, texts)
            columns[INGESTED_AT] = pa.repeat(pa.scalar(self.started, pa.timestamp("us", "UTC")), texts.num_rows)
            yield pa.RecordBatch.from_pydict(columns)

    def _values(self, reading: Reading, texts: pa.Array, batch: pa.RecordBatch) -> pa.Array:
        try:
            return reading.from_text(texts)
        except CastError as error:
            row = next(number for number in range(len(texts)) if not _fits(reading, texts.slice(number, 1)))
            key = ", ".join(f"{name} = {batch[name][row].as_py()}" for name in self.reading.key)
            raise SourceValueError(
                f"{self.reading.domain}, table {self.reading.table.name}, column {reading.column.name}: {error}, in "
                f"the row with {key}; nothing was written. Mend the value, or name a wider type or StringType"
            ) from error

    def _completed(self) -> Iterator[pa.RecordBatch]:
        """Rows with the large values that the log did not repeat, from bronze, or the source if the key had another.

        What the source has now may be newer than the row; then the log tells of it further on. A row that it has no
        longer was deleted or got another key, of which the log tells as well: until then its value is NULL.
        """
        import pyarrow as pa

        partial, key = self.compaction.partial, self.reading.key
        typed = self._typed()
        first = next(typed, None)
        if first is None:
            return
        with self.compaction.spool.database.cursor() as connection:
            connection.register(
                "rows", pa.RecordBatchReader.from_batches(first.schema, itertools.chain([first], typed))
            )
            connection.execute("create temp table changed as from rows")
            names = [*key, *[name for name in partial if name not in key]]
            connection.register("stored", scan(self.current, names))
            connection.register("found", self._asked(connection, names))
            given = {
                name: f'case when not r.{quoted("~" + name)} then r.{quoted(name)} when r."~" then f.{quoted(name)} '
                f"else s.{quoted(name)} end as {quoted(name)}"
                for name in partial
            }
            columns = (*self.compaction.columns, LSN, DELETED, INGESTED_AT)
            listed = ", ".join(given.get(name, f"r.{quoted(name)}") for name in columns)
            joins = " ".join(
                f"left join {table} {alias} on "
                + " and ".join(f"r.{quoted(name)} = {alias}.{quoted(name)}" for name in key)
                for table, alias in (("stored", "s"), ("found", "f"))
            )
            yield from connection.sql(f"select {listed} from changed r {joins}").to_arrow_reader(BATCH_ROWS)

    def _asked(self, connection: duckdb.DuckDBPyConnection, names: Sequence[str]) -> pa.Table:
        """Columns of rows that have the key of another one in bronze, from the source."""
        import pyarrow as pa

        key = self.reading.key
        unknown = " or ".join(quoted("~" + name) for name in self.compaction.partial)
        listed = ", ".join(quoted("@" + name) for name in key)
        rows = connection.sql(f'select {listed} from changed where "~" and ({unknown})').to_arrow_table()
        schema = pa.schema([self.reading.schema.field(name) for name in names])
        if not rows.num_rows:
            return schema.empty_table()
        # As the server's output functions write them, like the log.
        texts = ", ".join(f"format('%s', {quoted(name)})" for name in key)
        arrays = ", ".join(f"${number}::text[]" for number in range(1, len(key) + 1))
        found = self.connection.query(
            self.reading.select(names, f"({texts}) in (select * from unnest({arrays}))"),
            [column.to_pylist() for column in rows.columns],
            self.reading.table.name,
        )
        return pa.Table.from_batches([self.reading.cast(found)]).cast(schema)


def _as(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    return pa.RecordBatch.from_arrays([batch.column(item.name).cast(item.type) for item in schema], schema=schema)


def _fits(reading: Reading, text: Any) -> bool:
    try:
        reading.from_text(text)
    except CastError:
        return False
    return True
