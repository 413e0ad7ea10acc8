"""Dagster's SQLite event log with kept connections and one transaction per batch of events."""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as db
from dagster._core.event_api import EventHandlerFn
from dagster._core.events import (
    ASSET_CHECK_EVENTS,
    ASSET_EVENTS,
    EVENT_TYPE_TO_PIPELINE_RUN_STATUS,
    DagsterEventType,
)
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log.schema import AssetKeyTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
    INDEX_SHARD_NAME,
    SqliteEventLogStorage,
    SqliteEventLogStorageWatchdog,
)
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import NullPool, Pool, StaticPool
from watchdog.events import FileSystemEvent
from watchdog.observers import Observer

from medallion.instance.event_statements import INSERT_CHECK, INSERT_EVENT, UPDATE_CHECK, sqlite_time

KEPT_RUN_SHARDS = 8
"""Run shards whose connection stays open; a run process needs one, a page of the UI a handful."""

_INDEXED_EVENTS = ASSET_EVENTS | ASSET_CHECK_EVENTS | set(EVENT_TYPE_TO_PIPELINE_RUN_STATUS)

_abandoned: list["_Shard"] = []
"""Shards inherited through fork: closing one in the child would break the parent's locks, so they are leaked."""


@dataclass(frozen=True)
class _Shard:
    connection: Connection
    file: tuple[int, int]
    """Device and inode at opening time: a different file under the same path means that the run was wiped."""

    def close(self) -> None:
        self.connection.close()
        self.connection.engine.dispose()


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
            connection = self._connection(shard)
            with connection.begin():
                self._open[shard] = connection
                try:
                    yield connection
                finally:
                    del self._open[shard]

    def _connection(self, shard: str) -> Connection:
        """Connection to a shard, created or reopened if need be; closes the one that was used longest ago."""
        path = self.path_for_shard(shard)
        kept = self._shards.get(shard)
        if kept is not None:
            if kept.file == _identity(path):
                self._shards.move_to_end(shard)
                return kept.connection
            self._close(shard)
        if shard not in self._initialized_dbs:
            # Alembic opens a second connection, which the single one of a StaticPool can't serve.
            self._initdb(self._new_engine(shard, NullPool))
            self._initialized_dbs.add(shard)
        connection = self._new_engine(shard, StaticPool).connect()
        file = _identity(path)
        if file is None:
            connection.close()
            connection.engine.dispose()
            raise FileNotFoundError(f"The event log {path} was removed while it was being opened; run it again.")
        self._shards[shard] = _Shard(connection, file)
        self._close_oldest()
        return connection

    def _initdb(self, engine: Engine, for_index_shard: bool = False) -> None:
        """Create the tables, if they are not there; stock reads all migrations (50 ms) to find out that they are."""
        with engine.connect() as connection:
            known = db.inspect(connection).has_table("alembic_version")
            # The revision is written last.
            if known and connection.exec_driver_sql("SELECT 1 FROM alembic_version").first():
                return
        super()._initdb(engine, for_index_shard)

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
            self._shards.pop(name).close()

    def _close(self, shard: str) -> None:
        """Forget a shard whose file is gone, so that the next use creates its tables again."""
        self._shards.pop(shard).close()
        self._initialized_dbs.discard(shard)

    def _close_all(self) -> None:
        for shard in self._shards.values():
            shard.close()
        self._shards.clear()

    def _forget_after_fork(self) -> None:
        if self._pid == os.getpid():
            return
        _abandoned.extend(self._shards.values())
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
        rows = [self._row(event) for event in events]
        with ExitStack() as transactions:
            # The stack unwinds backwards: entered first, the index commits last.
            index = transactions.enter_context(self.index_connection()) if any(map(_is_indexed, events)) else None
            runs = {
                run_id: transactions.enter_context(self.run_connection(run_id))
                for run_id in sorted({event.run_id for event in events})
            }
            if len(runs) > 1:
                for run in runs.values():
                    # Locks are taken in one order by everybody (runs by name, then the index): no deadlock.
                    run.exec_driver_sql("BEGIN IMMEDIATE")
            latest: dict[tuple[str, str], tuple[EventLogEntry, int]] = {}
            for event, row in zip(events, rows, strict=True):
                INSERT_EVENT.execute(runs[event.run_id], row)
                if index is None or not _is_indexed(event):
                    continue
                event_id = INSERT_EVENT.execute(index, row).lastrowid
                happened = event.get_dagster_event()
                if happened.event_type in ASSET_EVENTS:
                    self._store_asset_event_tags(index, [event], [event_id])
                    # Each overwrites the same columns of the asset's row, so the last per asset and type will do.
                    slot = (row["asset_key"], row["dagster_event_type"])
                    latest.pop(slot, None)
                    latest[slot] = (event, event_id)
                elif happened.event_type in ASSET_CHECK_EVENTS:
                    self._store_check(index, event, event_id, row)
            if index is not None:
                for event, event_id in latest.values():
                    self._store_asset_event(index, event, event_id)

    def _row(self, event: EventLogEntry) -> dict[str, Any]:
        """The stock row of an event, as SQLite stores it."""
        row = self._event_to_row(event)
        return {**row, "timestamp": sqlite_time(row["timestamp"])}

    def _store_check(self, index: Connection, event: EventLogEntry, event_id: int, row: Mapping[str, Any]) -> None:
        """Store what a check is planned to do or has found; stock serializes the event again for each partition."""
        happened = event.get_dagster_event()
        if happened.event_type is DagsterEventType.ASSET_CHECK_EVALUATION and not event.run_id:
            self._store_runless_asset_check_evaluation(event, event_id)
            return
        data: Any = happened.event_specific_data
        execution = {
            "asset_key": data.asset_key.to_string(),
            "check_name": data.check_name,
            "run_id": event.run_id,
            "evaluation_event": row["event"],
            "evaluation_event_timestamp": row["timestamp"],
            "evaluation_event_storage_id": event_id,
            "materialization_event_storage_id": None,
        }
        if happened.event_type is DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED:
            execution["execution_status"] = AssetCheckExecutionRecordStatus.PLANNED.value
            for key in data.partitions_subset.get_partition_keys() if data.partitions_subset else [None]:
                INSERT_CHECK.execute(index, {**execution, "partition": key})
            return
        outcome = AssetCheckExecutionRecordStatus.SUCCEEDED if data.passed else AssetCheckExecutionRecordStatus.FAILED
        execution["execution_status"] = outcome.value
        execution["partition"] = data.partition
        if data.target_materialization_data:
            execution["materialization_event_storage_id"] = data.target_materialization_data.storage_id
        if not UPDATE_CHECK.execute(index, execution).rowcount:
            INSERT_CHECK.execute(index, execution)

    def _store_asset_event(self, conn: Connection, event: EventLogEntry, event_id: int) -> None:
        """Update the asset's row, which is there but for the first time; stock tries to insert it every time."""
        key = event.get_dagster_event().asset_key
        if key is None:
            return
        values = self._get_asset_entry_values(event, event_id, self._has_asset_key_index_cols_on_connection(conn))
        if not values:
            return
        row = AssetKeyTable.c.asset_key == key.to_string()
        if not conn.execute(AssetKeyTable.update().where(row).values(**values)).rowcount:
            conn.execute(AssetKeyTable.insert().values(asset_key=key.to_string(), **values))

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
