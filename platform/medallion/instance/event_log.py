"""Dagster's SQLite event log with kept connections and one transaction per batch of events."""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as db
from dagster._core.event_api import EventHandlerFn
from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS, EVENT_TYPE_TO_PIPELINE_RUN_STATUS
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
    INDEX_SHARD_NAME,
    SqliteEventLogStorage,
    SqliteEventLogStorageWatchdog,
)
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData, serialize_value
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import NullPool, Pool, StaticPool
from watchdog.events import FileSystemEvent
from watchdog.observers import Observer

KEPT_RUN_SHARDS = 8
"""Run shards whose connection stays open; a run process needs one, a page of the UI a handful."""

_INDEXED_EVENTS = ASSET_EVENTS | ASSET_CHECK_EVENTS | set(EVENT_TYPE_TO_PIPELINE_RUN_STATUS)

_abandoned: list[Engine] = []
"""Engines inherited through fork: closing one in the child would break the parent's locks, so they are leaked."""


@dataclass(frozen=True)
class _Shard:
    engine: Engine
    file: tuple[int, int]
    """Device and inode at opening time: a different file under the same path means that the run was wiped."""


class PooledSqliteEventLogStorage(SqliteEventLogStorage):
    """Stock storage opens a connection, checkpoints and closes it for every statement: about 13 ms an event.

    This class keeps one connection per shard, and stores an event, or a whole batch of them, in one transaction per
    shard. The files are the stock ones; both classes may read and write them at the same time from many processes.

    Durability: when `store_event` returns, the event survives the death of the process (it is in the WAL file, in the
    kernel's hands). `synchronous=NORMAL` doesn't wait for the disk, so a power cut may take the last events with it,
    never the consistency of the file; a run that was in progress is lost by a power cut anyway, and the Delta tables
    have their own log. Waiting for the disk (FULL) costs about 0.4 ms a transaction on an idle virtual disk, and more
    on a slow or busy one.
    """

    _obs: Any

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._shards: OrderedDict[str, _Shard] = OrderedDict()
        self._open: dict[str, Connection] = {}
        self._deferred: dict[tuple[str, str], tuple[Connection, EventLogEntry, int]] | None = None
        self._known_tables: set[str] = set()
        self._known_columns: set[str] = set()
        self._shards_lock = threading.RLock()
        self._pid = os.getpid()
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Any
    ) -> "PooledSqliteEventLogStorage":
        """Build the storage from the `config` block of dagster.yaml: `base_dir`, the folder of the shards."""
        return cls(inst_data=inst_data, **config_value)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        """Yield the shard's connection inside a transaction, or inside the one that this thread has already open."""
        self._forget_after_fork()
        with self._shards_lock:
            joined = self._open.get(shard)
            if joined is not None:
                yield joined
                return
            with self._engine(shard).connect() as conn, conn.begin():
                self._open[shard] = conn
                try:
                    yield conn
                finally:
                    del self._open[shard]

    def _engine(self, shard: str) -> Engine:
        """Engine of a shard, created or reopened if need be; closes the one that was used longest ago."""
        path = self.path_for_shard(shard)
        kept = self._shards.get(shard)
        if kept is not None:
            if kept.file == _identity(path):
                self._shards.move_to_end(shard)
                return kept.engine
            self._close(shard)
        if shard not in self._initialized_dbs:
            # Alembic opens a second connection, which the single one of a StaticPool can't serve.
            self._initdb(self._new_engine(shard, NullPool))
            self._initialized_dbs.add(shard)
        engine = self._new_engine(shard, StaticPool)
        with engine.connect():
            file = _identity(path)
        if file is None:
            engine.dispose()
            raise FileNotFoundError(f"The event log {path} was removed while it was being opened; run it again.")
        self._shards[shard] = _Shard(engine, file)
        self._close_oldest()
        return engine

    def _new_engine(self, shard: str, pool: type[Pool]) -> Engine:
        engine = db.create_engine(
            self.conn_string_for_shard(shard),
            poolclass=pool,
            connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
        )
        db.event.listen(engine, "connect", _prefer_process_durability)
        return engine

    def _close_oldest(self) -> None:
        candidates = [name for name in self._shards if name != INDEX_SHARD_NAME and name not in self._open]
        for name in candidates[: max(0, len(candidates) - KEPT_RUN_SHARDS)]:
            self._shards.pop(name).engine.dispose()

    def _close(self, shard: str) -> None:
        """Forget a shard whose file is gone, so that the next use creates its tables again."""
        self._shards.pop(shard).engine.dispose()
        self._initialized_dbs.discard(shard)

    def _close_all(self) -> None:
        for shard in self._shards.values():
            shard.engine.dispose()
        self._shards.clear()

    def _forget_after_fork(self) -> None:
        if self._pid == os.getpid():
            return
        _abandoned.extend(shard.engine for shard in self._shards.values())
        self._shards = OrderedDict()
        self._open = {}
        self._shards_lock = threading.RLock()
        self._pid = os.getpid()

    def store_event(self, event: EventLogEntry) -> None:
        """Store one event and what the index derives from it, in one transaction per shard."""
        self.store_event_batch([event])

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store all events or none of them.

        Both shards commit after the last event, the run's before the index (the order of the stock class), so an
        error in the middle rolls everything back and the instance may store the events one by one.

        Raises:
            sqlalchemy.exc.OperationalError: another process held a shard for longer than the busy time-out (30 s).
        """
        if not events:
            return
        with ExitStack() as transactions:
            # The stack unwinds backwards: entered first, the index commits last.
            if any(_is_indexed(event) for event in events):
                transactions.enter_context(self.index_connection())
            runs = sorted({event.run_id for event in events})
            for run_id in runs:
                connection = transactions.enter_context(self.run_connection(run_id))
                if len(runs) > 1:
                    # Locks are taken in one order by everybody (runs by name, then the index): no deadlock.
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
            self._deferred = {}
            try:
                for event in events:
                    super().store_event(event)
                latest, self._deferred = self._deferred, None
                for conn, event, event_id in latest.values():
                    self._store_asset_event(conn, event, event_id)
            finally:
                self._deferred = None

    def _store_asset_event(self, conn: Connection, event: EventLogEntry, event_id: int) -> None:
        """Keep only the last event per asset and type: each overwrites the same columns of the asset's row."""
        if self._deferred is None:
            super()._store_asset_event(conn, event, event_id)
            return
        dagster_event = event.get_dagster_event()
        if dagster_event.asset_key:
            slot = (dagster_event.asset_key.to_string(), dagster_event.event_type_value)
            self._deferred.pop(slot, None)
            self._deferred[slot] = (conn, event, event_id)

    def _store_asset_check_evaluation_planned(self, event: EventLogEntry, event_id: int | None) -> None:
        """Stock serializes the event and compiles the statement anew for every partition of every check."""
        planned: Any = event.get_dagster_event().event_specific_data
        row = {
            "asset_key": planned.asset_key.to_string(),
            "check_name": planned.check_name,
            "run_id": event.run_id,
            "execution_status": AssetCheckExecutionRecordStatus.PLANNED.value,
            "evaluation_event": serialize_value(event),
            "evaluation_event_timestamp": self._event_insert_timestamp(event),  # type: ignore[no-untyped-call]
            "evaluation_event_storage_id": event_id,
        }
        keys = planned.partitions_subset.get_partition_keys() if planned.partitions_subset else [None]
        if keys:
            with self.index_connection() as conn:
                conn.execute(AssetCheckExecutionsTable.insert(), [{**row, "partition": key} for key in keys])

    def has_table(self, table_name: str) -> bool:
        """Whether the index has the table; stock opens a connection per question, also for every tagged event."""
        if table_name not in self._known_tables:
            if not super().has_table(table_name):
                return False
            self._known_tables.add(table_name)
        return True

    def _has_asset_key_col_on_connection(self, conn: Connection, column_name: str) -> bool:
        if column_name not in self._known_columns:
            if not super()._has_asset_key_col_on_connection(conn, column_name):
                return False
            self._known_columns.add(column_name)
        return True

    def wipe(self) -> None:
        """Delete every run's shard and empty the index."""
        with self._shards_lock:
            self._close_all()
            super().wipe()

    def upgrade(self) -> None:
        """Bring every shard to the newest schema."""
        with self._shards_lock:
            super().upgrade()
            self._close_all()

    def watch(self, run_id: str, cursor: str | None, callback: EventHandlerFn) -> None:
        """Call back for every new event of a run: the stock watcher only sees checkpoints, not the WAL."""
        if not self._obs:
            self._obs = Observer()
            self._obs.start()
        watcher = _WalWatchdog(self, run_id, callback, cursor)
        self._watchers[run_id][callback] = (watcher, self._obs.schedule(watcher, self._base_dir, recursive=True))

    def dispose(self) -> None:
        """Stop the watcher and close every connection, which moves the WAL files into the databases."""
        super().dispose()
        self._forget_after_fork()
        with self._shards_lock:
            self._close_all()


class _WalWatchdog(SqliteEventLogStorageWatchdog):
    """While a connection is open, new events show up in `<run>.db-wal`, and in `<run>.db` only at a checkpoint."""

    def __init__(self, storage: SqliteEventLogStorage, run_id: str, callback: EventHandlerFn, cursor: str | None):
        super().__init__(storage, run_id, callback, cursor)
        self._patterns = [self._log_path, f"{self._log_path}-wal"]

    def on_modified(self, event: FileSystemEvent) -> None:  # noqa: ARG002 - stock requires it to be `<run>.db`
        self._process_log()


def _is_indexed(event: EventLogEntry) -> bool:
    return event.is_dagster_event and event.dagster_event_type in _INDEXED_EVENTS


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - on the path of every event
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _prefer_process_durability(connection: Any, _record: Any) -> None:
    # Stock turns to WAL only after it has created the tables, with a rollback journal and two syncs for each.
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
