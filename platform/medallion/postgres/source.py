"""What a bronze table takes from its table of a PostgreSQL database."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from medallion.delta.schema import type_name
from medallion.extract import Extract
from medallion.postgres.errors import SourceSchemaError
from medallion.postgres.reading import TableReading, deleted_field
from medallion.postgres.update import Update

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

    from medallion.contracts import Contract
    from medallion.postgres.database import Database

OVERLAP = dt.timedelta(minutes=10)
_TIMED = ("timestamptz", "timestamp", "date")


class Source:
    """The table of a database that a bronze table mirrors, and what the mirror has of it."""

    def __init__(
        self,
        database: Database,
        table: str,
        contract: Contract,
        current: DeltaTable | None,
        started: dt.datetime,
    ) -> None:
        """Take note of what is to be read.

        Args:
            database: of the run.
            table: name of the source's table, unless the transform names another.
            contract: of the bronze table.
            current: the bronze table as it is; None before its first write.
            started: when the run started, which rows say in `_ingested_at`.
        """
        self.database = database
        self._name = table
        self._contract = contract
        self._current = current
        self._started = started

    def table(
        self,
        name: str | None = None,
        *,
        watermark: str | None = None,
        overlap: dt.timedelta = OVERLAP,
        deletes: bool = True,
    ) -> Extract:
        """Read the table as of the run's snapshot.

        If the run captures changes, they are given instead, once the table has been read whole.

        Without a bronze table, or when its columns are not the contract's, all rows are taken. Otherwise only those
        that are new or differ from bronze's, with the keys that the source has no longer; a source that didn't change
        gives no rows. With a watermark, only these rows are read whole: those in the overlap, those whose watermark
        is NULL, and those whose key and watermark are not in bronze, however late they were committed. A change that
        leaves the watermark as it is, and is committed after the overlap, is not seen.

        Args:
            name: of the source's table, `schema.name` if the search_path hasn't it; by default the transform's name.
            watermark: a date or timestamp column that grows with every change of a row.
            overlap: rows are read again whose watermark is at most this much older than bronze's newest.
            deletes: whether keys and watermarks of the whole table are read and compared with bronze's. Without,
                deleted rows stay in bronze, and what was committed later than the overlap is missed: for tables that
                are only ever appended to and too large for that. Totals are then not compared with the source's.

        Raises:
            SourceError: it could not be read; the message says why and what to do.
        """
        name = name or self._name
        changes = self.database.changes
        if changes is None:
            return self._read(name, self._current, watermark, overlap, deletes)
        captured = changes.extract(name, self._contract, self._current, self._started)
        if captured is not None:
            return captured
        # The log goes on from here, so nothing before it may be missed, as a watermark might.
        return replace(self._read(name, None, None, overlap, deletes), positions=changes.loaded(name))

    def _read(
        self, name: str, current: DeltaTable | None, watermark: str | None, overlap: dt.timedelta, deletes: bool
    ) -> Extract:
        described = self.database.describe(name)
        reading = TableReading.of(self.database.domain, described, self._contract)
        if watermark is not None:
            _require_timed(reading, watermark)
        facts = reading.facts(self.database)
        metadata = {
            "source_table": described.sql,
            "source_position": self.database.position,
            "source_rows": facts.rows,
            "columns_not_taken": list(reading.not_taken),
            "columns_taken_for_utc": list(reading.assumes_utc),
        }
        finish = partial(reading.added, self._started, self.database.position)
        if current is None or not self._is_comparable(current):
            rows = map(finish, reading.rows(self.database))
            return Extract(_reader(reading.schema, rows), "replace", facts.rows, facts.sums, metadata=metadata)
        update = Update(reading, self.database, current, facts.rows, watermark, overlap, deletes)
        changed = (finish(batch, gone) for batch, gone in update.batches())
        schema = reading.schema.append(deleted_field())
        return Extract(
            _reader(schema, changed),
            "merge",
            facts.rows if deletes else None,
            facts.sums if deletes else {},
            metadata=metadata | {"late_rows": update.late, "deleted_keys": update.gone},
        )

    def _is_comparable(self, current: DeltaTable) -> bool:
        held = {item.name: type_name(item) for item in current.schema().fields}
        return all(held.get(item.name) == type_name(item) for item in self._contract.delta_schema().fields)


def _require_timed(reading: TableReading, watermark: str) -> None:
    held = reading.table.columns.get(watermark) if watermark in reading.names else None
    if held is None or held.dimensions or held.base not in _TIMED:
        said = "is no column of its contract" if held is None else f"is {held.type}"
        raise SourceSchemaError(
            f"{reading.domain}, table {reading.table.name}: watermark {watermark!r} {said}; name a date or timestamp "
            "column that the contract has too, or none"
        )


def _reader(schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> pa.RecordBatchReader:
    import pyarrow as pa

    return pa.RecordBatchReader.from_batches(schema, batches)
