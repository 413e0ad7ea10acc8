"""A run's share of the log: one batch for all bronze tables of a database, read before the first of them is made."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING, Any

from medallion.postgres.capture import Batch, Capture
from medallion.postgres.connection import connect
from medallion.postgres.slot import CaptureError, Slot, slot_name

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from medallion.contracts import Contract
    from medallion.delta.store import DeltaStore
    from medallion.extract import Extract
    from medallion.tables import Table


class Captured:
    """What bronze tables take from the log instead of the tables of the source.

    The slot is held from the first table that is made until the run ends. Then it is advanced over what the tables have
    committed: a run of some tables, or one that fails, leaves the others' changes in the log.
    """

    def __init__(self, domain: str, url: str, store: DeltaStore, tables: Mapping[str, tuple[str, ...]]) -> None:
        """Take note of the database; nothing is read yet.

        Args:
            domain: whose database it is.
            url: of the database.
            store: the lake.
            tables: path of the bronze table by the name that the source has it by.
        """
        self._domain, self._url, self._store, self._tables = domain, url, store, tables
        self._opened = ExitStack()

    def extract(
        self, name: str, contract: Contract, current: DeltaTable | None, started: dt.datetime
    ) -> Extract | None:
        """A table's part of the batch; None for a table that has to be read whole.

        Raises:
            CaptureError: the server can't be captured.
            SourceError: the log can't be read.
        """
        capture, batch = self._read
        return capture.extract(batch, name, contract, current, started)

    def loaded(self, name: str) -> dict[str, int]:
        """The positions that the commit of a table takes that was read whole after `extract` gave nothing."""
        capture, batch = self._read
        return capture.loaded(batch, name)

    def close(self) -> None:
        """Advance the slot, let go of it and end the session."""
        self._opened.close()

    @cached_property
    def _read(self) -> tuple[Capture, Batch]:
        # If something fails, the slot is let go of at once, not when the run ends.
        with ExitStack() as opened:
            connection = opened.enter_context(connect(self._domain, self._url))
            capture = Capture(Slot(connection, slot_name(self._domain, self._store.root)), self._store, self._tables)
            opened.enter_context(capture.slot.held())
            capture.prepare()
            batch = capture.read()
            opened.callback(capture.advance, batch)
            self._opened = opened.pop_all()
        return capture, batch


def captured_tables(tables: Iterable[Table], domain: str) -> dict[str, Table]:
    """The bronze tables of a domain that mirror its database, by the name that the source has them by."""
    found: dict[str, Table] = {}
    for table in tables:
        if table.domain == domain and table.reads_source:
            other = found.setdefault(_source_name(table), table)
            if other is not table:
                raise CaptureError(
                    f"{table.label} and {other.label} mirror one table of {domain}; only one of them can be captured"
                )
    return found


class _Asked(Exception):
    """Tells which table a transform reads."""


class _Question:
    """Stands for the database when a transform is only asked what it reads."""

    def table(self, name: str | None = None, **_: Any) -> Any:
        raise _Asked(name)


def _source_name(table: Table) -> str:
    try:
        table.transform(_Question())
    except _Asked as asked:
        return str(asked.args[0] or table.name)
    raise TypeError(f"{table.label} takes a source and does not read it; return source.table()")
