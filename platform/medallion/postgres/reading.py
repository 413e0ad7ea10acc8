"""A table of the source in the columns and types of its contract: as SQL, and from the driver's Arrow."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

from medallion.extract import DELETED
from medallion.postgres.errors import SourceSchemaError, SourceValueError
from medallion.postgres.types import Reading, read_as
from medallion.sql import quoted

if TYPE_CHECKING:
    import pyarrow as pa

    from medallion.contracts import Contract
    from medallion.postgres.catalog import SourceTable
    from medallion.postgres.database import Database

INGESTED_AT, LSN = "_ingested_at", "_lsn"
_ADDED = (INGESTED_AT, LSN)


@dataclass(frozen=True)
class Facts:
    """What a source table held in the snapshot.

    Attributes:
        rows: how many.
        sums: sum of each decimal column that is not an array; 0 without rows.
    """

    rows: int
    sums: Mapping[str, Decimal]


@dataclass(frozen=True)
class TableReading:
    """How the columns of a contract are taken from a table of the source.

    Attributes:
        domain: of the database.
        table: of the source.
        schema: Arrow schema of the contract, with what the framework adds.
        columns: how each column of the source is taken, in the contract's order.
        key: columns that identify a row.
    """

    domain: str
    table: SourceTable
    schema: pa.Schema
    columns: tuple[Reading, ...]
    key: tuple[str, ...]

    @classmethod
    def of(cls, domain: str, table: SourceTable, contract: Contract) -> TableReading:
        """Match a table and its contract.

        Raises:
            SourceSchemaError: the source lacks a column of the contract, or a column can't be taken as its type.
        """
        import pyarrow as pa

        schema = pa.schema(contract.delta_schema())
        wanted = [item for item in schema if item.name not in _ADDED]
        place = f"{domain}, table {table.name}"
        if missing := [item.name for item in wanted if item.name not in table.columns]:
            raise SourceSchemaError(
                f"{place}: the source has no column {', '.join(missing)}, which contract {contract.name} names; it has "
                f"{', '.join(table.columns)}. Take the column out of the contract, or bring it back in the source"
            )
        readings = {item.name: read_as(table.columns[item.name], item.type) for item in wanted}
        if refused := [item for item in wanted if readings[item.name] is None]:
            said = "; ".join(f"{item.name} is {table.columns[item.name].type}, not {item.type}" for item in refused)
            raise SourceSchemaError(
                f"{place}: {said}: contract {contract.name} names a type that can't hold the source's exactly; see "
                "medallion/postgres/types.py for those that can (StringType always does)"
            )
        return cls(domain, table, schema, tuple(found for found in readings.values() if found), contract.key)

    @cached_property
    def _by_name(self) -> dict[str, Reading]:
        return {reading.column.name: reading for reading in self.columns}

    @property
    def names(self) -> tuple[str, ...]:
        """Columns of the source that are taken."""
        return tuple(reading.column.name for reading in self.columns)

    @property
    def not_taken(self) -> tuple[str, ...]:
        """Columns of the source that the contract doesn't name."""
        return tuple(name for name in self.table.columns if name not in self.names)

    @property
    def assumes_utc(self) -> tuple[str, ...]:
        """Columns whose time stamps have no time zone and are taken for UTC."""
        return tuple(reading.column.name for reading in self.columns if reading.assumes_utc)

    def of_column(self, name: str) -> Reading:
        """How one column is taken."""
        return self._by_name[name]

    def select(self, names: Sequence[str] | None = None, where: str = "", also: Sequence[str] = ()) -> str:
        """A SELECT of some columns, or all of the contract's, and other expressions after them."""
        taken = self.columns if names is None else [self.of_column(name) for name in names]
        listed = ", ".join([*(f"{reading.select} as {quoted(reading.column.name)}" for reading in taken), *also])
        return f"select {listed} from {self.table.sql}{f' where {where}' if where else ''}"

    def cast(self, batch: pa.RecordBatch | pa.Table) -> pa.RecordBatch:
        """Columns of the source as the driver gives them, in the types of the contract, and what else is selected.

        Raises:
            SourceValueError: a value doesn't fit; which the source was asked for before, so it is one that came since.
        """
        import pyarrow as pa

        arrays, fields = [], []
        for name, values in zip(batch.schema.names, batch.columns, strict=True):
            reading = self._by_name.get(name)
            try:
                arrays.append(values if reading is None else reading.cast(values))
            except pa.ArrowException as error:
                kind = self.of_column(name).target
                raise SourceValueError(f"{self._place(name)}: a value doesn't fit {kind}: {error}") from None
            fields.append(pa.field(name, arrays[-1].type))
        return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))

    def facts(self, database: Database) -> Facts:
        """Count the rows, add up the decimals and look for values that the contract can't hold, in one query.

        Raises:
            SourceValueError: there is such a value; the message names the column and the key of a row.
        """
        import pyarrow as pa

        decimals = [reading.column for reading in self.columns if pa.types.is_decimal(reading.target)]
        checked = [(reading.column.name, reading.unfit) for reading in self.columns if reading.unfit is not None]
        asked = ["count(*)::int8 as rows"]
        asked += [f"sum({quoted(column.name)})::text as sum{number}" for number, column in enumerate(decimals)]
        asked += [f"bool_or({unfit}) as unfit{number}" for number, (_, unfit) in enumerate(checked)]
        (row,) = database.query(f"select {', '.join(asked)} from {self.table.sql}", table=self.table.name).to_pylist()
        for number, (name, unfit) in enumerate(checked):
            if row[f"unfit{number}"]:
                raise self._misfit(database, name, str(unfit))
        sums = {column.name: Decimal(row[f"sum{number}"] or 0) for number, column in enumerate(decimals)}
        return Facts(row["rows"], sums)

    def rows(self, database: Database, where: str = "") -> Iterator[pa.RecordBatch]:
        """The rows that fulfil a condition, or all, in the types of the contract; asked for when the first is.

        Raises:
            SourceError: they could not be read.
        """
        for batch in database.stream(self.select(where=where), self.table.name):
            yield self.cast(batch)

    def added(
        self, started: dt.datetime, position: int, batch: pa.RecordBatch, deleted: bool | None = None
    ) -> pa.RecordBatch:
        """Rows in the contract's order with what the framework adds; columns that they lack are NULL.

        Args:
            started: when the run read them.
            position: of the source's log.
            batch: columns of the source.
            deleted: under `merge`, whether the rows are gone from the source.
        """
        import pyarrow as pa

        size = batch.num_rows
        held: dict[str, Any] = {name: batch.column(name) for name in batch.schema.names}
        held[INGESTED_AT] = pa.repeat(pa.scalar(started, pa.timestamp("us", "UTC")), size)
        held[LSN] = pa.repeat(pa.scalar(position, pa.int64()), size)
        schema = self.schema
        if deleted is not None:
            held[DELETED] = pa.repeat(pa.scalar(deleted), size)
            schema = schema.append(deleted_field())
        arrays = [held[item.name] if item.name in held else pa.nulls(size, item.type) for item in schema]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _misfit(self, database: Database, name: str, unfit: str) -> SourceValueError:
        reading = self.of_column(name)
        # The key as text, the value not at all where it may be personal.
        keys = ", ".join(f"{quoted(part)}::text as {quoted(part)}" for part in self.key)
        rows = database.query(
            f"select {keys} from {self.table.sql} where {unfit} limit 1", table=self.table.name
        ).to_pylist()
        where = ", ".join(f"{part} = {rows[0][part]}" for part in self.key) if rows else "a row"
        return SourceValueError(
            f"{self._place(name)}: the value of type {reading.column.type} in the row with {where} doesn't fit "
            f"{reading.target} of the contract (too large, too many digits, infinite, NaN, outside of the years 1 to "
            "9999, or an array of several dimensions); mend the value, or name a wider type or StringType"
        )

    def _place(self, column: str) -> str:
        return f"{self.domain}, table {self.table.name}, column {column}"


def deleted_field() -> pa.Field:
    """The column that says of a row of a merge whether the source has it no longer."""
    import pyarrow as pa

    return pa.field(DELETED, pa.bool_())
