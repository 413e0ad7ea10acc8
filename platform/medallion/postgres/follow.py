"""The long-running capture: whatever the log has is in bronze a moment later, without a run."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import dagster as dg

from medallion.delta.io_manager import LakeStorage
from medallion.delta.publish import Published, publish
from medallion.delta.report import output_metadata
from medallion.faults import Fault, fault
from medallion.pipeline import Making
from medallion.postgres.capture import Batch, Capture
from medallion.postgres.captured import captured_tables
from medallion.postgres.connection import connect
from medallion.postgres.database import Database
from medallion.postgres.errors import SourceError
from medallion.postgres.slot import Slot, slot_name
from medallion.postgres.source import Source
from medallion.verdict import Verdict

if TYPE_CHECKING:
    from medallion.delta.store import DeltaStore
    from medallion.engine.resource import SparkEngine
    from medallion.extract import Extract
    from medallion.tables import Table

LOOK_SECONDS = 0.1
"""How often the server is asked whether its log has grown."""
BATCH_MESSAGES = 1_000_000
"""So many changes are committed at once at least, if there are as many; a transaction is never cut."""
ENDING_SECONDS = 5.0
"""How long the session of a process that was killed may take to end."""
PROCESS = ":process"
"""What is held of the slot by the one process that follows it."""


class NotPublishedError(SourceError):
    """A table's checks refused what the log has of it."""


@dataclass(frozen=True)
class Committed:
    """A table that was brought up to date.

    Attributes:
        table: of bronze.
        operation: what the commit did.
        changes: changed rows in the log, repeated keys counted; rows of the table if it was loaded whole.
        lag_seconds: from the oldest commit in the source to the one in bronze; None for a load.
        metrics: counts of the commit.
    """

    table: Table
    operation: str
    changes: int
    lag_seconds: float | None
    metrics: Mapping[str, int]


@dataclass(frozen=True)
class Follower:
    """Follows one database.

    Attributes:
        domain: whose database it is.
        url: of the database.
        tables: all declared tables by label.
        store: the lake.
        engine: for checks that need one.
        instance: where materializations are reported.
    """

    domain: str
    url: str
    tables: Mapping[str, Table]
    store: DeltaStore
    engine: SparkEngine
    instance: dg.DagsterInstance

    @contextmanager
    def opened(self, *, reload: bool = False) -> Iterator[Capture]:
        """Connect, and see that the log has all that is captured.

        Args:
            reload: forget how far bronze has the log, so that every table is loaded whole.

        Raises:
            SlotBusyError: another process follows the database for this lake.
            CaptureError: the server can't be captured, or has lost changes.
        """
        mirrors = self._mirrors
        with connect(self.domain, self.url) as connection:
            slot = Slot(connection, slot_name(self.domain, self.store.root))
            capture = Capture(slot, self.store, {name: table.path for name, table in mirrors.items()})
            with slot.held(PROCESS, ENDING_SECONDS):
                with slot.held():
                    if reload:
                        capture.restart()
                    capture.prepare()
                yield capture

    def catch_up(self, capture: Capture) -> Iterator[Committed]:
        """Bring bronze to where the log is now; load tables that were never captured.

        Raises:
            SourceError: the log or a table can't be read.
            NotPublishedError: a check refused a table; the others are published, and the slot keeps its changes.
        """
        more = True
        while more:
            with capture.slot.held():
                batch = capture.read(BATCH_MESSAGES)
                try:
                    yield from self._commit(capture, batch)
                finally:
                    capture.advance(batch)
                more = batch.end < batch.head

    def follow(self, capture: Capture, stop: threading.Event) -> Iterator[Committed]:
        """Catch up whenever the log grows, until told to stop.

        Raises:
            SourceError: as `catch_up`.
        """
        seen = -1
        while not stop.is_set():
            head = capture.slot.head()
            if head == seen:
                stop.wait(LOOK_SECONDS)
                continue
            seen = head
            yield from self.catch_up(capture)

    def _commit(self, capture: Capture, batch: Batch) -> Iterator[Committed]:
        started = dt.datetime.now(dt.UTC)
        changed, missing = capture.pending(batch), []
        for name, table in self._mirrors.items():
            if name not in changed and capture.is_loaded(name, table.contract):
                continue
            extract = capture.extract(batch, name, table.contract, self.store.find(table.path), started)
            if extract is None:
                missing.append((name, table))
            else:
                yield self._publish(table, extract, started, batch.committed_at)
        if missing:
            with Database(self.domain, self.url) as database:
                for name, table in missing:
                    extract = table.transform(Source(database, table.name, table.contract, None, started))
                    positions = capture.loaded(batch, name)
                    yield self._publish(table, replace(extract, positions=positions), started, None)

    def _publish(
        self, table: Table, extract: Extract, started: dt.datetime, committed_at: dt.datetime | None
    ) -> Committed:
        """Check and publish an extract as a run does, and report it."""
        began = time.perf_counter()
        run = f"capture of {self.domain}"
        storage = LakeStorage(self.store, self.engine)
        making = Making(
            table=table,
            tables=self.tables,
            storage=storage,
            keys=(),
            input_keys=lambda _: None,
            made=lambda _: (),
            run_id=run,
            root_run_id=run,
            started=started,
        )
        refused: list[str] = []
        for event in making.run({}, extract):
            if isinstance(event, Verdict):
                refused = [ruling.name for ruling in event.rulings if ruling.blocks and not ruling.finding.passed]
            if isinstance(event, dg.Output):
                published = publish(event.value.write)
                event.value.write.stage.discard(keep=published.kept)
                seconds = time.perf_counter() - began
                metadata = {**output_metadata(event.value.write, published, seconds), **event.value.metadata}
                lag = (dt.datetime.now(dt.UTC) - committed_at).total_seconds() if committed_at else None
                if lag is not None:
                    metadata["lag_seconds"] = round(lag, 3)
                fault(Fault.BEFORE_EVENT, table.path)
                self._report(table, published, metadata)
                changes = metadata.get("source_changes", metadata["rows_written"])
                return Committed(table, published.operation, changes, lag, published.metrics)
        raise NotPublishedError(
            f"{table.label}: its checks refused what was read ({', '.join(refused)}), and nothing was written; see the "
            f"rows with: medallion show {table.label} --candidate"
        )

    def _report(self, table: Table, published: Published, metadata: Mapping[str, Any]) -> None:
        self.instance.report_runless_asset_event(
            dg.AssetMaterialization(
                asset_key=table.key,
                description=f"Captured from the log: {published.operation}.",
                metadata=dict(metadata),
                tags={"dagster/code_version": table.version},
            )
        )

    @property
    def _mirrors(self) -> dict[str, Table]:
        return captured_tables(self.tables.values(), self.domain)
