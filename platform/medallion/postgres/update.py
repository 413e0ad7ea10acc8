"""What changed in a table of the source since bronze read it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from medallion.delta.store import scan
from medallion.postgres.errors import SourceError
from medallion.sql import literal, quoted

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

    from medallion.postgres.database import Database
    from medallion.postgres.reading import TableReading

_RECENT = "_recent"
_BRONZE, _SOURCE, _GONE, _LATE = "bronze", "source", "gone", "late"
_KEYS_AT_ONCE = 10_000


@dataclass
class Update:
    """New, changed and deleted rows of one table, in the columns of the source.

    Attributes:
        reading: how the table is read.
        database: of the run.
        current: the bronze table.
        rows: how many the source's table has.
        watermark: column that grows with every change of a row, if there is one.
        overlap: rows are read whole whose watermark is at most this much older than bronze's newest.
        by_key: whether keys and watermarks of the whole table are compared.
        late: rows outside of the overlap that bronze lacks, or has with another watermark.
        gone: keys that the source has no longer.
    """

    reading: TableReading
    database: Database
    current: DeltaTable
    rows: int
    watermark: str | None
    overlap: dt.timedelta
    by_key: bool
    late: int = field(init=False, default=0)
    gone: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        """Compare keys and watermarks.

        Raises:
            SourceError: the source's could not be read.
        """
        self._comparison = self.database.comparison()
        columns = self._compared
        schema = self._schema(columns)
        if columns:
            self._comparison.keep(_BRONZE, schema, scan(self.current, columns))
        if self.by_key:
            import pyarrow as pa

            asked = self.reading.select(columns, also=[f"({self.since or 'true'}) as {quoted(_RECENT)}"])
            rows = self.database.stream(asked, self.reading.table.name)
            schema = schema.append(pa.field(_RECENT, pa.bool_()))
            read = self._comparison.keep(_SOURCE, schema, map(self.reading.cast, rows))
            if read != self.rows:
                # Keys that were not read would be taken for deleted rows.
                raise SourceError(
                    f"{self.reading.domain}, table {self.reading.table.name}: it has {self.rows} rows, but {read} of "
                    "their keys arrived in the same snapshot; run again, and report it if that recurs"
                )
            self.gone = self._comparison.keep_absent(_GONE, _BRONZE, _SOURCE, self.reading.key)
            self.late = self._comparison.keep_absent(_LATE, _SOURCE, _BRONZE, columns, f"NOT {quoted(_RECENT)}")

    @cached_property
    def since(self) -> str:
        """Condition, in the SQL of PostgreSQL and of Delta alike, of the rows that are read whole; empty for all."""
        if self.watermark is None:
            return ""
        newest = self._comparison.largest(_BRONZE, self.watermark)
        if newest is None:
            return ""
        low = literal(_earlier(newest, self.overlap, self.database.now))
        return f"{quoted(self.watermark)} >= {low} or {quoted(self.watermark)} is null"

    def batches(self) -> Iterator[tuple[pa.RecordBatch, bool]]:
        """Rows to put into bronze (False) and keys to remove (True); no key comes twice.

        Raises:
            SourceError: they could not be read.
        """
        names = self.reading.names
        incoming = self.reading.rows(self.database, self.since)
        held = scan(self.current, names, self.since or None)
        for batch in self._comparison.changed(self._schema(names), incoming, held):
            yield batch, False
        if self.late:
            for batch in self._comparison.kept(_LATE, self.reading.key, as_text=True):
                for start in range(0, batch.num_rows, _KEYS_AT_ONCE):
                    yield self._by_key(batch.slice(start, _KEYS_AT_ONCE)), False
        if self.gone:
            schema = self._schema(self.reading.key)
            for batch in self._comparison.kept(_GONE, self.reading.key):
                yield batch.cast(schema), True
        self._comparison.close()

    @property
    def _compared(self) -> list[str]:
        marks = [] if self.watermark is None else [self.watermark]
        return list(dict.fromkeys([*self.reading.key, *marks])) if self.by_key else marks

    def _schema(self, names: Sequence[str]) -> pa.Schema:
        import pyarrow as pa

        return pa.schema([(name, self.reading.of_column(name).target) for name in names])

    def _by_key(self, keys: pa.RecordBatch) -> pa.RecordBatch:
        """The rows of some keys, which are text."""
        types = [self.reading.table.columns[name].type for name in self.reading.key]
        wanted = ", ".join(f"k{number}::{kind}" for number, kind in enumerate(types))
        arrays = ", ".join(f"${number + 1}::text[]" for number in range(len(types)))
        named = ", ".join(f"k{number}" for number in range(len(types)))
        columns = ", ".join(quoted(name) for name in self.reading.key)
        where = f"({columns}) in (select {wanted} from unnest({arrays}) as wanted({named}))"
        values = [column.to_pylist() for column in keys.columns]
        return self.reading.cast(
            self.database.query(self.reading.select(where=where), values, table=self.reading.table.name)
        )


def _earlier(newest: Any, overlap: dt.timedelta, now: dt.datetime) -> str:
    """The newest watermark less the overlap, as SQL writes it; one in the future counts as of now."""
    if isinstance(newest, dt.datetime):
        current = now if newest.tzinfo is not None else now.replace(tzinfo=None)
        return (min(newest, current) - overlap).isoformat()
    moment = dt.datetime.combine(min(newest, now.date()), dt.time()) - overlap
    return moment.date().isoformat()
