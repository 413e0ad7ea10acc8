"""Change capture: what the log has since bronze was last brought up to date, as one extract per table."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from medallion.delta.positions import forget_position, read_position
from medallion.extract import DELETED, Extract
from medallion.faults import Fault, fault
from medallion.postgres import catalog
from medallion.postgres.changed_rows import ChangedRows
from medallion.postgres.pgoutput import Decoder, Relation
from medallion.postgres.reading import TableReading
from medallion.postgres.slot import CaptureError, ChangesLostError, PublishedTable, Slot, positions_name
from medallion.postgres.spool import Compaction, Spool, TableChanges

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

    from medallion.contracts import Contract
    from medallion.delta.store import DeltaStore


MERGED_ROWS = 500_000
"""With more changes than that a table is written anew."""


@dataclass
class Batch:
    """What the log had at one moment, spooled by table.

    Attributes:
        start: position from which it was read.
        end: position up to which all of its changes are here.
        head: where the log ended when it was read; a batch that was cut ends before that.
        spool: the changes.
        transactions: how many there are.
        committed_at: when the oldest of them was committed, UTC.
        settled: whether a snapshot that is taken now has all of the batch.
    """

    start: int
    end: int
    head: int
    spool: Spool
    transactions: int = 0
    committed_at: dt.datetime | None = None
    settled: bool = False


@dataclass
class Capture:
    """Follows the log of one database for the bronze tables of one lake.

    Every bronze commit carries the position up to which the table has the log, as an application transaction of the
    slot and the table. A change at or before that is not taken again, and the slot is advanced only over changes that
    bronze has: whatever dies in between, the next capture reads the same changes and skips those that are in.

    Attributes:
        slot: of the database and the lake.
        store: the lake.
        tables: path of the bronze table by the name that the source has it by.
        published: the same tables as the source has them; known after `prepare`.
    """

    slot: Slot
    store: DeltaStore
    tables: Mapping[str, tuple[str, ...]]
    published: dict[str, PublishedTable] = field(default_factory=dict)
    _loaded: set[str] = field(default_factory=set)

    def prepare(self) -> None:
        """See that the server logs what is captured: publication and slot are made if they are not there.

        Raises:
            ChangesLostError: bronze has been captured, but the slot or a table's publication is gone.
            CaptureError: the server or the user can't do it.
            SourceError: a table is missing.
        """
        self.slot.require_logical()
        tables = self._resolve()
        state, head = self.slot.state(), self.slot.head()
        known = {name: position for name in tables if (position := self.position(name)) is not None}
        if state is not None and state.status == "lost":
            raise self._lost(f"the server has removed log of slot {self.slot.name} that was not captured", known)
        if known and state is None:
            raise self._lost(f"the server has no slot {self.slot.name}, which bronze was captured from", known)
        if ahead := {name: position for name, position in known.items() if position > head}:
            raise self._lost(f"the server's log ends at {head}, so it is another server or was restored", ahead)
        # A table that is declared again later is found to have missed changes; while published, it would not be.
        self.slot.withdraw({table.oid for table in tables.values()})
        new = [name for name, table in tables.items() if not table.published]
        if orphans := {name: known[name] for name in new if name in known}:
            raise self._lost(f"publication {self.slot.name} does not have these tables any more", orphans)
        self.slot.publish([tables[name] for name in new])
        if state is None:
            self.slot.create()

    def restart(self) -> None:
        """Begin anew: every table is to be loaded whole, whatever happens in between; its rows stay until then."""
        for name, table in self._resolve().items():
            bronze = self.store.find(self.tables[name])
            if bronze is not None and self._position(name, bronze) is not None:
                forget_position(bronze, positions_name(self.slot.name, table.oid))
        self.slot.drop()

    def read(self, limit: int | None = None) -> Batch:
        """Spool what the log has now.

        Args:
            limit: messages after which no further transaction is begun; None for all.

        Raises:
            SourceError: the log can't be read.
        """
        import pyarrow as pa

        state = self.slot.state()
        if state is None:
            raise CaptureError(
                f"{self.slot.domain}: slot {self.slot.name} was dropped while it was captured; run again"
            )
        upto = self.slot.head()
        decoder, spool = Decoder(), Spool()
        with ExitStack() as unread:
            unread.callback(spool.close)
            for messages in self.slot.peek(upto, limit):
                for change in decoder.decode(messages.column(0)):
                    spool.add(change)
            spool.seal()
            unread.pop_all()
        pa.default_memory_pool().release_unused()
        cut = limit is not None and decoder.messages >= limit
        # A record that begins before `upto` may end after it.
        end = max(decoder.end or 0, state.confirmed if cut else upto)
        oldest = dt.datetime.fromtimestamp(decoder.committed_at / 1e6, dt.UTC) if decoder.committed_at else None
        return Batch(state.confirmed, end, upto, spool, decoder.transactions, oldest)

    def position(self, name: str) -> int | None:
        """How far a table has the log; None if it was never loaded for it."""
        table = self.store.find(self.tables[name])
        return None if table is None else self._position(name, table)

    def loaded(self, batch: Batch, name: str) -> dict[str, int]:
        """What the commit of a table says that was read whole, by a snapshot taken after `extract` gave nothing.

        The snapshot has all that the batch has, as `extract` waited for it, and maybe more, which the log gives once
        more. That does no harm: the last change of every key comes last, and the snapshot has no change that the log
        does not have after the batch. A table may go back to an older state on the way, and then ends where the source
        is.
        """
        return {positions_name(self.slot.name, self.published[name].oid): batch.end}

    def is_loaded(self, name: str, contract: Contract) -> bool:
        """Whether bronze has a table with all columns of its contract, so that changes are all it needs."""
        if name not in self._loaded:
            table = self.store.find(self.tables[name])
            if table is None or self._position(name, table) is None:
                return False
            if not set(contract.column_names) <= {item.name for item in table.schema().fields}:
                return False
            self._loaded.add(name)
        return True

    def pending(self, batch: Batch) -> dict[str, TableChanges]:
        """Changes that bronze does not have, by the source's name of the table; not of those that were never loaded."""
        found = {}
        for name, table in self.published.items():
            changes = batch.spool.tables.get(table.oid)
            if changes is None:
                continue
            position = self.position(name)
            if position is not None and changes.last >= position:
                found[name] = changes
        return found

    def extract(
        self, batch: Batch, name: str, contract: Contract, current: DeltaTable | None, started: dt.datetime
    ) -> Extract | None:
        """A table's part of a batch.

        Args:
            batch: what was read.
            name: the source's name of the table.
            contract: of the bronze table.
            current: the bronze table.
            started: time of the run, UTC.

        Returns:
            The last change of each key, or all rows if the table was truncated or there are too many changes to merge
            them in memory. None for a table that has to be loaded whole first, as it or a column of its contract is
            new; its commit then takes the positions of `loaded`.

        Raises:
            SourceSchemaError: the table lacks a column of the contract, or has it with a type that the contract's can't
                hold.
            CaptureError: the log does not give the key.
        """
        position = self._position(name, current) if current is not None else None
        stored = [item.name for item in current.schema().fields] if current is not None else []
        if current is None or position is None or not set(contract.column_names) <= set(stored):
            if not batch.settled:
                self.slot.settle()
                batch.settled = True
            return None
        reading = TableReading.of(self.slot.domain, catalog.describe(self.slot.connection, name), contract)
        changes = batch.spool.tables.get(self.published[name].oid)
        if changes is None or changes.last < position:
            return Extract(_nothing(reading), "merge", metadata=self._told(batch, 0))
        self._require_key(name, changes.relation, reading.key)
        compaction = Compaction(batch.spool, changes, reading.names, reading.key, position)
        rows = ChangedRows(reading, compaction, current, started, self.slot.connection)
        large = changes.rows > MERGED_ROWS and set(stored) == set(contract.column_names)
        whole = compaction.truncated is not None or large
        return Extract(
            rows.whole() if whole else rows.changed(),
            "replace" if whole else "merge",
            positions={positions_name(self.slot.name, self.published[name].oid): batch.end},
            metadata=self._told(batch, changes.rows),
        )

    def advance(self, batch: Batch) -> int:
        """Let the server forget what bronze has, and remove the spool.

        A table of the batch that was not committed holds the slot back at its first change.

        Returns:
            Position of the slot.
        """
        waiting = [changes.first for changes in self.pending(batch).values()]
        target = max(batch.start, min([batch.end, *waiting]))
        fault(Fault.BEFORE_ADVANCE, ("bronze", self.slot.domain))
        self.slot.advance(target)
        fault(Fault.AFTER_ADVANCE, ("bronze", self.slot.domain))
        batch.spool.close()
        return target

    def _resolve(self) -> dict[str, PublishedTable]:
        names = {name: catalog.describe(self.slot.connection, name).sql for name in sorted(self.tables)}
        self.published = self.slot.resolve(names)
        return self.published

    def _position(self, name: str, table: DeltaTable) -> int | None:
        return read_position(table, positions_name(self.slot.name, self.published[name].oid))

    def _lost(self, reason: str, tables: Mapping[str, int]) -> ChangesLostError:
        return ChangesLostError(
            f"{self.slot.domain}: {reason}: changes of {', '.join(sorted(tables)) or 'its tables'} may be lost. "
            "Nothing was written; load the tables whole and capture anew with: "
            f"medallion capture {self.slot.domain} --reload"
        )

    def _require_key(self, name: str, relation: Relation, key: tuple[str, ...]) -> None:
        given = {column.name for column in relation.columns if column.identifies}
        if not set(key) <= given:
            raise CaptureError(
                f"{self.slot.domain}, table {name}: the log identifies rows by {sorted(given) or 'nothing'}, its "
                f"contract by {list(key)}; run ALTER TABLE {name} REPLICA IDENTITY FULL, and capture anew with: "
                f"medallion capture {self.slot.domain} --reload"
            )

    def _told(self, batch: Batch, changes: int) -> dict[str, Any]:
        """What the materialization says of the log."""
        told: dict[str, Any] = {
            "source_position": batch.end,
            "source_changes": changes,
            "source_transactions": batch.transactions,
            "lag_bytes": max(0, self.slot.head() - batch.start),
        }
        if batch.committed_at is not None:
            told["lag_seconds"] = round((dt.datetime.now(dt.UTC) - batch.committed_at).total_seconds(), 3)
        return told


def _nothing(reading: TableReading) -> pa.RecordBatchReader:
    import pyarrow as pa

    return reading.schema.append(pa.field(DELETED, pa.bool_())).empty_table().to_reader()
