"""The last change of each key as rows of bronze: texts of the log become values, what it leaves out comes from bronze."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medallion.delta.store import scan
from medallion.extract import DELETED
from medallion.postgres.errors import SourceValueError
from medallion.postgres.reading import INGESTED_AT, LSN, TableReading
from medallion.postgres.spool import BATCH_ROWS, Compaction, open_duckdb
from medallion.postgres.types import CastError, Reading
from medallion.sql import quoted

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable


@dataclass(frozen=True)
class ChangedRows:
    """Rows of one table as its bronze table has them.

    Attributes:
        reading: the table and the contract.
        compaction: the changes.
        current: the bronze table.
        started: time of the run, UTC.
    """

    reading: TableReading
    compaction: Compaction
    current: DeltaTable
    started: dt.datetime

    def reader(self) -> pa.RecordBatchReader:
        """The contract's columns, and `_deleted` if the table was not truncated.

        They are made before they are returned: what is wrong with them is an error here, and not one of whoever reads
        them, and delta-rs can't read bronze while it consumes a stream.

        Raises:
            SourceValueError: a value that the contract's type can't hold.
        """
        import pyarrow as pa

        schema = self.reading.schema
        if self.compaction.truncated is None:
            schema = schema.append(pa.field(DELETED, pa.bool_()))
        path = self.compaction.folder / f"{self.compaction.table.relation.oid}.arrow"
        with pa.ipc.new_stream(path, schema) as file:
            for batch in self._completed() if self.compaction.partial else self._typed():
                file.write_batch(_as(batch, schema))
        return pa.ipc.open_stream(path)

    def _typed(self) -> Iterator[pa.RecordBatch]:
        """The rows of the compaction with their types; its marks and keys stay with them."""
        import pyarrow as pa
        import pyarrow.compute as pc

        readings = {reading.column.name: reading for reading in self.reading.columns}
        for texts in self.compaction.batches():
            columns: dict[str, Any] = {}
            for name, values in zip(texts.schema.names, texts.columns, strict=True):
                reading = readings.get(name.removeprefix("@"))
                columns[name] = values if reading is None else self._values(reading, values, texts)
            columns[INGESTED_AT] = pa.repeat(pa.scalar(self.started, pa.timestamp("us", "UTC")), texts.num_rows)
            typed = pa.RecordBatch.from_pydict(columns)
            yield typed if self.compaction.truncated is None else typed.filter(pc.invert(typed[DELETED]))

    def _values(self, reading: Reading, texts: pa.Array, batch: pa.RecordBatch) -> pa.Array:
        try:
            return reading.from_text(texts)
        except CastError as error:
            row = next(number for number in range(len(texts)) if not _fits(reading, texts.slice(number, 1)))
            key = ", ".join(f"{name} = {batch[name][row].as_py()}" for name in self.reading.key)
            raise SourceValueError(
                f"{self.reading.domain}, table {self.reading.table.name}, column {reading.column.name}: {error}, in the "
                f"row with {key}; nothing was written. Mend the value, or name a wider type or StringType"
            ) from error

    def _completed(self) -> Iterator[pa.RecordBatch]:
        """Rows whose large values the log did not repeat get them from bronze, under the key that it has them by.

        A row that bronze has not is gone by now: the tables were loaded after the log began, so a row that changed in
        between and is not in bronze was deleted before it was loaded, and the log says so further on.
        """
        import pyarrow as pa

        partial, key = self.compaction.partial, self.reading.key
        typed = self._typed()
        first = next(typed, None)
        if first is None:
            return
        rows = pa.RecordBatchReader.from_batches(first.schema, itertools.chain([first], typed))
        stored = scan(self.current, [*key, *[name for name in partial if name not in key]])
        on = " and ".join(f"r.{quoted('@' + name)} = s.{quoted(name)}" for name in key)
        listed = [
            f"case when r.{quoted('~' + name)} then s.{quoted(name)} else r.{quoted(name)} end as {quoted(name)}"
            if name in partial
            else f"r.{quoted(name)}"
            for name in (*self.compaction.columns, LSN, DELETED, INGESTED_AT)
        ]
        with open_duckdb(self.compaction.folder) as connection:
            connection.register("changed", rows)
            connection.register("stored", stored)
            yield from connection.execute(
                f"select {', '.join(listed)} from changed r left join stored s on {on}"
            ).to_arrow_reader(BATCH_ROWS)


def _as(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    return pa.RecordBatch.from_arrays([batch.column(item.name).cast(item.type) for item in schema], schema=schema)


def _fits(reading: Reading, text: Any) -> bool:
    try:
        reading.from_text(text)
    except CastError:
        return False
    return True
