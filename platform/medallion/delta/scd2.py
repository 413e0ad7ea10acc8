"""SCD type 2: where the versions of a key begin and end, recomputed for the keys that a batch has news of."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from medallion.delta.parquet import writer_properties
from medallion.duckdb_session import duckdb_session
from medallion.sql import literal, quoted

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    from deltalake import CommitProperties, DeltaTable, Transaction

AbsentKeys = Literal["keep", "close"]
SNAPSHOT = "_snapshot_at"
"""Column in which a transform says at which moment its rows were all there were."""
CHANGE = "_change"
INSERT, UPDATE, RESIZE, DELETE = "insert", "update", "resize", "delete"
_SNAPSHOTS = "medallion:snapshots"
"""Delta's transaction id under which a table remembers the moment of the newest snapshot it has taken."""


class SnapshotError(ValueError):
    """A full snapshot that can't say which keys ended when; nothing was written."""


@dataclass(frozen=True)
class History:
    """The columns that make rows versions of a key.

    Attributes:
        key: columns of the thing that has versions.
        valid_from: the moment a version begins, inclusive; the transform gives it.
        valid_to: the moment it ends, exclusive; NULL while it is open. Made by the framework, like the next two.
        is_current: whether it is open.
        version_hash: hash of the tracked columns, those that are no key and none of these.
        absent: `keep` leaves keys alone that a batch doesn't name; `close` takes a batch as a full snapshot, which ends
            them at the moment that the transform gives in `_snapshot_at`.
    """

    key: tuple[str, ...]
    valid_from: str = "valid_from"
    valid_to: str = "valid_to"
    is_current: str = "is_current"
    version_hash: str = "_version_hash"
    absent: AbsentKeys = "keep"

    @property
    def made(self) -> tuple[str, str, str]:
        """The columns that the framework makes."""
        return (self.valid_to, self.is_current, self.version_hash)


@dataclass(frozen=True)
class Batch:
    """Where the rows of a computation come from; every call reads them again.

    Attributes:
        name: the table and the slice, for messages.
        columns: columns of the rows that passed, those of the table alone.
        passed: those rows, and `_snapshot_at` where absent keys are closed.
        seen: keys of all rows, quarantined ones included: a key whose row is in quarantine has not disappeared.
        stored: key, `valid_from`, `valid_to` and hash of the versions that the table has.
    """

    name: str
    columns: Sequence[str]
    passed: Callable[[Sequence[str]], pa.RecordBatchReader]
    seen: Callable[[Sequence[str]], pa.RecordBatchReader]
    stored: Callable[[Sequence[str]], pa.RecordBatchReader]


@dataclass(frozen=True)
class Changes:
    """What has to change in the table, so that it holds the history with the batch in it.

    Attributes:
        counts: number of versions to insert, update, resize and delete; without those that are 0.
        unchanged: rows of the batch that say what the history says already.
        snapshot_at: the moment of the batch if it is a full snapshot, in microseconds since 1970.
        rows: gives the changes: the table's columns and `_change`, which names one of the four. `resize` has the key,
            `valid_from`, `valid_to` and `is_current` alone, `delete` the key and `valid_from`.
    """

    counts: dict[str, int]
    unchanged: int
    snapshot_at: int | None
    rows: Callable[[], pa.RecordBatchReader]


def merge_history(
    table: DeltaTable, history: History, batch: Batch, commit: Callable[[], CommitProperties]
) -> dict[str, int]:
    """Bring a batch into a table's history, in one commit, or none if the history says it all already.

    Args:
        table: whose version of now the history is computed from.
        history: its columns.
        batch: the rows; no two may share key and `valid_from`.
        commit: properties of the commit, without retries, so that a commit means that nobody changed the table since.

    Returns:
        Rows inserted, updated and deleted, files added and removed, and `rows_unchanged`: rows of the batch that made
        no version.

    Raises:
        SnapshotError: absent keys are to be closed, and the batch has no moment, several, or one before the last.
        deltalake.exceptions.CommitFailedError: somebody else committed first.
    """
    with history_changes(history, batch) as changes:
        taken = _snapshots(table, batch.name, changes.snapshot_at)
        counts = dict.fromkeys(("rows_inserted", "rows_updated", "rows_deleted", "files_added", "files_removed"), 0)
        if changes.counts or taken:
            properties = commit()
            properties.app_transactions = [*(properties.app_transactions or []), *taken]
            if changes.counts.keys() == {INSERT}:
                counts = _append(table, changes, properties)
            elif changes.counts:
                counts = _merge(table, history, changes, properties)
            else:
                schema, columns = table.schema(), table.metadata().partition_columns
                table.create_write_transaction([], "append", schema, columns, commit_properties=properties)
        return {**counts, "rows_unchanged": changes.unchanged}


def _snapshots(table: DeltaTable, name: str, snapshot_at: int | None) -> list[Transaction]:
    """What the table has to remember of a snapshot that is its newest; an older one would undo what later ones said."""
    from deltalake import Transaction

    if snapshot_at is None:
        return []
    last = table.transaction_version(_SNAPSHOTS)
    if last is not None and snapshot_at < last:
        raise SnapshotError(
            f"{name}: the full snapshot of {_iso(snapshot_at)} is older than that of {_iso(last)}, which the table has "
            "taken; nothing was written. Bring snapshots in order, or restore the table to before the later one"
        )
    return [Transaction(_SNAPSHOTS, snapshot_at, None)] if snapshot_at != last else []


def _iso(microseconds: int) -> str:
    import datetime as dt

    return (dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=microseconds)).isoformat()


def _merge(table: DeltaTable, history: History, changes: Changes, properties: CommitProperties) -> dict[str, int]:
    same = " AND ".join(f"t.{quoted(name)} = s.{quoted(name)}" for name in (*history.key, history.valid_from))
    change = f"s.{quoted(CHANGE)}"
    ends = {quoted(name): f"s.{quoted(name)}" for name in (history.valid_to, history.is_current)}
    metrics = (
        table.merge(changes.rows(), same, source_alias="s", target_alias="t", commit_properties=properties)
        .when_matched_update_all(f"{change} = '{UPDATE}'", except_cols=[CHANGE])
        .when_matched_update(ends, f"{change} = '{RESIZE}'")
        .when_matched_delete(f"{change} = '{DELETE}'")
        .when_not_matched_insert_all(f"{change} = '{INSERT}'", except_cols=[CHANGE])
        .execute()
    )
    return {
        "rows_inserted": metrics["num_target_rows_inserted"],
        "rows_updated": metrics["num_target_rows_updated"],
        "rows_deleted": metrics["num_target_rows_deleted"],
        "files_added": metrics["num_target_files_added"],
        "files_removed": metrics["num_target_files_removed"],
    }


def _append(table: DeltaTable, changes: Changes, properties: CommitProperties) -> dict[str, int]:
    """Versions that are all new, as in a first load, need not be joined with the table in memory."""
    import pyarrow as pa
    from deltalake import write_deltalake

    files = len(table.file_uris())
    rows = changes.rows()
    schema = pa.schema([item for item in rows.schema if item.name != CHANGE])
    batches = (batch.select(schema.names) for batch in rows)
    write_deltalake(
        table,
        pa.RecordBatchReader.from_batches(schema, batches),
        mode="append",
        # A column that the batch lacks is NULL in its rows.
        schema_mode="merge" if len(schema) < len(table.schema().fields) else None,
        writer_properties=writer_properties(),
        commit_properties=properties,
    )
    return {
        "rows_inserted": changes.counts[INSERT],
        "rows_updated": 0,
        "rows_deleted": 0,
        "files_added": len(table.file_uris()) - files,
        "files_removed": 0,
    }


@contextmanager
def history_changes(history: History, batch: Batch) -> Iterator[Changes]:
    """Compute what a batch changes in a history.

    A key's history says for every moment which values hold, or none. A row of the batch sets the values from its moment
    to where the history changes next; neighbours with equal values are one version. What the table holds of a moment is
    all that is remembered: a row that confirmed a version leaves no trace.

    Args:
        history: the columns.
        batch: the rows; no two may share key and `valid_from`.

    Yields:
        The changes, which are computed on disk and can be read until the context ends.

    Raises:
        SnapshotError: absent keys are to be closed, and the batch has no moment or several.
    """
    with duckdb_session() as db:
        yield _Computation(history, batch, db).changes()


class _Computation:
    """One computation in DuckDB; columns of the table have names of ours there, so that theirs can be any."""

    def __init__(self, history: History, batch: Batch, db: duckdb.DuckDBPyConnection) -> None:
        self.history, self.batch, self.db = history, batch, db
        self.keys = [f"k{number}" for number in range(len(history.key))]
        self.k = ", ".join(self.keys)
        self.closes = history.absent == "close"

    def changes(self) -> Changes:
        self._load()
        snapshot_at = self._load_snapshot() if self.closes else None
        self._leave_out_what_is_known()
        self.db.execute(f"CREATE TEMP TABLE history AS {self._history()}")
        self.db.execute(f"CREATE TEMP TABLE change AS {self._difference()}")
        counts = dict(self.db.execute("SELECT change, count(*) FROM change GROUP BY change").fetchall())
        # The moment of a snapshot is a second place where a row can make a version.
        made = f"SELECT DISTINCT {self.k}, origin FROM change WHERE change IN ('{INSERT}', '{UPDATE}')"
        unchanged = self._number(f"SELECT (SELECT count(*) FROM event) - (SELECT count(*) FROM ({made}))")
        return Changes(counts, unchanged, snapshot_at, self._rows)

    def _load(self) -> None:
        """The batch as key, moment and hash, and the stored versions of the keys it touches."""
        history = self.history
        self.db.register("passed", self.batch.passed([*self.batch.columns, *([SNAPSHOT] if self.closes else [])]))
        moment = f", {SNAPSHOT} AS moment" if self.closes else ""
        self.db.execute(
            f"CREATE TEMP TABLE event AS SELECT {self._named_keys()}, {quoted(history.valid_from)} AS since, "
            f"{self._hash()} AS hash{moment} FROM passed"
        )
        columns = [*history.key, history.valid_from, history.valid_to, history.version_hash]
        self.db.register("versions", self.batch.stored(columns))
        touched = "" if self.closes else f"SEMI JOIN event USING ({self.k})"
        since, until, version_hash = (quoted(name) for name in columns[-3:])
        self.db.execute(
            f"CREATE TEMP TABLE stored AS SELECT * FROM (SELECT {self._named_keys()}, {since} AS since, {until} AS "
            f"until, {version_hash} AS hash FROM versions) {touched}"
        )
        # From `since` on the values of `hash` hold, or none if it is NULL. At one moment the highest rank decides;
        # `origin` is the moment of the row that has the values.
        self.db.execute(
            f"CREATE TEMP TABLE point AS SELECT {self.k}, since, hash, 2 AS rank, since AS origin FROM event"
        )

    def _load_snapshot(self) -> int:
        """At the moment of a full snapshot its keys have the values of their latest rows, and all others have none."""
        rows, distinct, missing, first, last = self.db.execute(
            "SELECT count(*), count(DISTINCT moment), count(*) - count(moment), min(moment)::TEXT, max(moment)::TEXT "
            "FROM event"
        ).fetchall()[0]
        if not rows:
            raise SnapshotError(
                f"{self.batch.name}: a full snapshot without rows has no moment at which its keys could end; nothing "
                "was written. Look why the source is empty"
            )
        if missing or distinct != 1:
            raise SnapshotError(
                f"{self.batch.name}: a full snapshot has one moment, but {SNAPSHOT} is NULL in {missing} of {rows} "
                f"rows and goes from {first} to {last} in the others; nothing was written"
            )
        if (kind := self._kind("moment")) != self._kind("since"):
            raise SnapshotError(
                f"{self.batch.name}: {SNAPSHOT} is {kind}, but {self.history.valid_from} is {self._kind('since')}; "
                "nothing was written. Cast it in the transform"
            )
        self.db.register("seen", self.batch.seen(self.history.key))
        self.db.execute(
            f"INSERT INTO point SELECT {self.k}, moment, arg_max(hash, since), 1, max(since) FROM event "
            f"WHERE since <= moment GROUP BY {self.k}, moment HAVING max(since) < moment"
        )
        self.db.execute(
            f"INSERT INTO point SELECT {self.k}, moment, NULL, 1, NULL FROM (SELECT DISTINCT {self.k} FROM stored) "
            f"ANTI JOIN (SELECT {self._named_keys()} FROM seen) USING ({self.k}), (SELECT DISTINCT moment FROM event)"
        )
        return self._number("SELECT any_value(epoch_us(moment)) FROM event")

    def _leave_out_what_is_known(self) -> None:
        """Drop the keys of which the batch says nothing new: there may be many, and history costs two sorts."""
        same_key = " AND ".join(f"p.{key} = s.{key}" for key in self.keys)
        keys = ", ".join(f"p.{key}" for key in self.keys)
        self.db.execute(
            f"CREATE TEMP TABLE news AS SELECT DISTINCT {keys} FROM point p LEFT JOIN stored s ON {same_key} "
            "AND s.since <= p.since AND (p.since < s.until OR s.until IS NULL) WHERE s.hash IS DISTINCT FROM p.hash"
        )
        for table in ("point", "stored"):
            self.db.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS FROM {table} SEMI JOIN news USING ({self.k})")

    def _history(self) -> str:
        """The versions with the batch among them, each with the moment of the row that gives its values, if one does.

        Stored versions are points too, and so are the ends that no version follows.
        """
        per_key = f"PARTITION BY {self.k} ORDER BY since"
        return f"""
            WITH points AS (
                SELECT * FROM point
                UNION ALL SELECT {self.k}, since, hash, 0, NULL FROM stored
                UNION ALL SELECT {self.k}, until, NULL, 0, NULL
                    FROM (SELECT *, lead(since) OVER ({per_key}) AS next FROM stored)
                    WHERE until < next OR (next IS NULL AND until IS NOT NULL)),
            decided AS (
                SELECT * FROM points
                QUALIFY row_number() OVER (PARTITION BY {self.k}, since ORDER BY rank DESC) = 1),
            turns AS (SELECT * FROM decided QUALIFY hash IS DISTINCT FROM lag(hash) OVER ({per_key})),
            ended AS (SELECT *, lead(since) OVER ({per_key}) AS until FROM turns)
            SELECT {self.k}, since, until, hash, origin FROM ended WHERE hash IS NOT NULL"""

    def _difference(self) -> str:
        """What the stored versions lack or have too much."""
        both = " AND ".join(f"h.{key} = s.{key}" for key in [*self.keys, "since"])
        keys = ", ".join(f"coalesce(h.{key}, s.{key}) AS {key}" for key in [*self.keys, "since"])
        return f"""
            SELECT {keys}, h.until, h.hash, h.origin,
                CASE WHEN h.since IS NULL THEN '{DELETE}' WHEN s.since IS NULL THEN '{INSERT}'
                    WHEN h.hash != s.hash THEN '{UPDATE}' ELSE '{RESIZE}' END AS change
            FROM history h FULL JOIN stored s ON {both}
            WHERE h.since IS NULL OR s.since IS NULL OR h.hash != s.hash OR h.until IS DISTINCT FROM s.until"""

    def _rows(self) -> pa.RecordBatchReader:
        history = self.history
        made = {
            history.valid_from: "c.since",
            history.valid_to: "c.until",
            history.is_current: "c.until IS NULL",
            history.version_hash: "c.hash",
            **{name: f"c.{key}" for name, key in zip(history.key, self.keys, strict=True)},
        }
        names = [*dict.fromkeys([*self.batch.columns, *history.made])]
        columns = ", ".join(f"{made.get(name, f'p.{quoted(name)}')} AS {quoted(name)}" for name in names)
        # The stage is read a second time for the values, so that no more than keys and moments are held meanwhile.
        self.db.register("passed", self.batch.passed(self.batch.columns))
        row = [f"p.{quoted(name)} = c.{key}" for name, key in zip(history.key, self.keys, strict=True)]
        row.append(f"p.{quoted(history.valid_from)} = c.origin AND c.change IN ('{INSERT}', '{UPDATE}')")
        query = f"SELECT {columns}, c.change AS {CHANGE} FROM change c LEFT JOIN passed p ON {' AND '.join(row)}"
        return self.db.sql(query).to_arrow_reader(50_000)

    def _hash(self) -> str:
        """SHA-256 of the tracked values by name as JSON; NULLs are left out, so that a new column is no change."""
        untracked = {*self.history.key, self.history.valid_from, *self.history.made}
        parts = [
            f"coalesce({literal(json.dumps(name) + ':')} || to_json({quoted(name)}) || ',', '')"
            for name in sorted(set(self.batch.columns) - untracked)
        ]
        return f"sha256({' || '.join(parts) or repr('')})"

    def _named_keys(self) -> str:
        return ", ".join(f"{quoted(name)} AS {key}" for name, key in zip(self.history.key, self.keys, strict=True))

    def _kind(self, column: str) -> str:
        """The type of a column of the batch, as DuckDB names it."""
        return str(self.db.sql(f"SELECT {column} FROM event").types[0])

    def _number(self, query: str) -> int:
        return int(self.db.execute(query).fetchall()[0][0])
