"""The replication slot and the publication of a captured database: made, read, advanced, watched."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medallion.postgres.connection import Connection
from medallion.postgres.errors import SourceError, SourceSchemaError, url_setting
from medallion.sql import literal, quoted

if TYPE_CHECKING:
    import pyarrow as pa

PATIENCE_SECONDS = 60.0
"""How long another capture, or a transaction that is older than a snapshot has to be, is waited for."""
_LOOK_SECONDS = 0.05
RETAINED_BYTES = 1 << 30
"""So much log that only a slot keeps is reported as a failure: nobody reads the slot, and the disk fills up."""
_TIGHT_BYTES = 256 << 20


class CaptureError(SourceError):
    """Change capture can't start or go on; the message says why and what to do, and nothing was written."""


class SlotBusyError(CaptureError):
    """Another capture reads the slot."""


class ChangesLostError(CaptureError):
    """The log does not have the changes that follow what bronze has; only a reload makes them equal again."""


@dataclass(frozen=True)
class SlotState:
    """How far a slot is behind and what the server does about it.

    Attributes:
        name: of the slot.
        confirmed: position up to which everything is in bronze.
        behind: bytes of log between that and now.
        retained: bytes of log that the server keeps for the slot.
        status: PostgreSQL's `wal_status`: reserved, extended, unreserved or lost.
        safe: bytes that may still be written before the slot is lost; None if the server keeps any amount.
    """

    name: str
    confirmed: int
    behind: int
    retained: int
    status: str
    safe: int | None

    def problem(self, domain: str) -> str | None:
        """What endangers the source's disk or the changes, with the next step; None if nothing does."""
        drop = f"select pg_drop_replication_slot({literal(self.name)})"
        if self.status == "lost":
            return (
                f"slot {self.name} is lost: the server has removed log that was not captured. Load its tables anew "
                f"with: medallion capture {domain} --reload, or give it up with: {drop}"
            )
        if self.status == "unreserved" or (self.safe is not None and self.safe < _TIGHT_BYTES):
            left = f"{(self.safe or 0) / 1e6:.0f} MB"
            return (
                f"slot {self.name} is lost after {left} more of log. Capture now (medallion capture {domain} --once), "
                "and raise max_slot_wal_keep_size on the server"
            )
        if self.retained > RETAINED_BYTES:
            return (
                f"the server keeps {self.retained / 1e9:.1f} GB of log for slot {self.name}, which fills its disk. "
                f"Capture now (medallion capture {domain} --once) or give the slot up with: {drop}; "
                "max_slot_wal_keep_size on the server bounds it"
            )
        return None


@dataclass(frozen=True)
class PublishedTable:
    """A table of the source that is captured.

    Attributes:
        oid: its object id, which a table that is dropped and made again does not keep.
        name: its name with its schema, as SQL has it.
        published: whether the publication has it.
    """

    oid: int
    name: str
    published: bool


@dataclass(frozen=True)
class Slot:
    """A logical replication slot and the publication of the same name.

    Attributes:
        connection: a session in autocommit, for this alone.
        name: of both.
    """

    connection: Connection
    name: str

    @property
    def domain(self) -> str:
        """Whose database it is."""
        return self.connection.domain

    def require_logical(self) -> None:
        """Refuse a server that can't be captured.

        Raises:
            CaptureError: it is a standby, its log has no row changes, or its texts are not UTF-8.
        """
        (row,) = self.connection.query(
            "select current_setting('wal_level') as level, current_setting('server_encoding') as encoding, "
            "pg_is_in_recovery() as standby"
        ).to_pylist()
        if row["standby"]:
            raise CaptureError(
                f"{self.domain}: its server is a standby; point {url_setting(self.domain)} at the primary to capture "
                "changes"
            )
        if row["level"] != "logical":
            raise CaptureError(
                f"{self.domain}: the server's wal_level is {row['level']}, so its log has no row changes; run ALTER "
                "SYSTEM SET wal_level = logical and restart the server, or unset "
                f"{self.domain.upper()}_CAPTURE to read the tables instead"
            )
        if row["encoding"] != "UTF8":
            raise CaptureError(
                f"{self.domain}: its database is encoded as {row['encoding']}, and the log is not converted; unset "
                f"{self.domain.upper()}_CAPTURE to read the tables instead"
            )

    @contextmanager
    def held(self, what: str = "", patience: float = PATIENCE_SECONDS) -> Iterator[None]:
        """Keep other captures away; the server lets go when the session ends, however it does.

        Args:
            what: tells several locks of one slot apart.
            patience: seconds to wait for another one.

        Raises:
            SlotBusyError: names who has it.
        """
        key = f"hashtextextended({literal(self.name + what)}, 0)"
        until = time.monotonic() + patience
        while not self._one(f"select pg_try_advisory_lock({key}) as value"):
            if time.monotonic() >= until:
                raise SlotBusyError(self._busy(key))
            time.sleep(_LOOK_SECONDS)
        try:
            yield
        finally:
            self._one(f"select pg_advisory_unlock({key}) as value")

    def _busy(self, key: str) -> str:
        found = self.connection.query(
            "select a.pid, a.backend_start::text as since from pg_locks l join pg_stat_activity a using (pid) "
            f"where l.locktype = 'advisory' and l.granted and (l.classid::bigint << 32 | l.objid::bigint) = {key}"
        ).to_pylist()
        who = ", ".join(f"session {row['pid']} of {row['since']}" for row in found) or "a session that has just ended"
        return (
            f"{self.domain}: another capture reads slot {self.name} ({who}); wait for it, stop it, or end its session "
            "with: select pg_terminate_backend(PID)"
        )

    def resolve(self, names: Mapping[str, str]) -> dict[str, PublishedTable]:
        """The captured tables by the name that they are declared with.

        Args:
            names: as SQL writes them, by the same.

        Raises:
            CaptureError: the log would not identify the rows that a table updates and deletes.
        """
        listed = ", ".join(f"({literal(name)}, {literal(sql)}::regclass)" for name, sql in names.items())
        rows = self.connection.query(
            "select w.name, w.oid::oid::bigint as oid, exists (select from pg_publication_rel r "
            f"join pg_publication p on p.oid = r.prpubid where p.pubname = {literal(self.name)} and r.prrelid = w.oid) "
            f"as published from (values {listed}) as w(name, oid)"
        ).to_pylist()
        # Publishing such a table would make the source refuse its own updates.
        nameless = self.connection.query(
            f"with leaves as (select coalesce(t.relid, w.oid) as leaf from (values {listed}) as w(name, oid) "
            "left join lateral pg_partition_tree(w.oid) t on t.isleaf) "
            "select distinct c.oid::regclass::text as name from leaves l join pg_class c on c.oid = l.leaf "
            "where c.relreplident = 'n' or not exists (select from pg_index i where i.indrelid = c.oid "
            "and i.indisunique and i.indimmediate and (i.indisprimary or c.relreplident <> 'd')) order by 1"
        )["name"].to_pylist()
        if nameless:
            raise CaptureError(
                f"{self.domain}: the tables {nameless} have no primary key that is checked at once, so the log does "
                "not say which of their rows changes; give them one, or a unique index and REPLICA IDENTITY FULL"
            )
        return {row["name"]: PublishedTable(row["oid"], names[row["name"]], row["published"]) for row in rows}

    def publish(self, tables: Sequence[PublishedTable]) -> None:
        """Add tables to the publication, which is made if there is none.

        Raises:
            SourceError: the user may not.
        """
        if not tables:
            return
        listed = ", ".join(table.name for table in tables)
        if self._one(f"select count(*) as value from pg_publication where pubname = {literal(self.name)}"):
            self.connection.execute(f"alter publication {quoted(self.name)} add table {listed}")
        else:
            # So that a partitioned table's rows come as its own, whatever partitions there are. A partition that is
            # truncated, detached or dropped by itself is then not logged: that takes a reload.
            self.connection.execute(
                f"create publication {quoted(self.name)} for table {listed} with (publish_via_partition_root = true)"
            )

    def withdraw(self, declared: Collection[int]) -> None:
        """Take the tables out of the publication that are not declared.

        Args:
            declared: identifiers of those that are.
        """
        listed = ", ".join(map(str, declared)) or "0"
        others = self.connection.query(
            "select prrelid::regclass::text as name from pg_publication_rel join pg_publication p on p.oid = prpubid "
            f"where pubname = {literal(self.name)} and prrelid not in ({listed})"
        )["name"].to_pylist()
        if others:
            self.connection.execute(f"alter publication {quoted(self.name)} drop table {', '.join(others)}")

    def create(self) -> None:
        """Make the slot; waits for transactions that write now.

        Raises:
            CaptureError: the user has not the right to.
        """
        try:
            self._one(f"select lsn::text as value from pg_create_logical_replication_slot({self._name}, 'pgoutput')")
        except SourceSchemaError as error:
            raise CaptureError(
                f"{self.domain}: the user of {url_setting(self.domain)} may not make a replication slot; have an "
                "administrator run ALTER ROLE ... REPLICATION"
            ) from error

    def drop(self) -> None:
        """Remove slot and publication, if they are there."""
        if self.state() is not None:
            self._one(f"select pg_drop_replication_slot({self._name})::text as value")
        self.connection.execute(f"drop publication if exists {quoted(self.name)}")

    def state(self) -> SlotState | None:
        """The slot as the server has it; None if it has none."""
        return next((slot for slot in slot_states(self.connection, self.name) if slot.name == self.name), None)

    def head(self) -> int:
        """Position up to which the log is on the server's disk."""
        return int(self._one("select (pg_current_wal_flush_lsn() - '0/0')::bigint as value"))

    def settle(self, patience: float = PATIENCE_SECONDS) -> None:
        """Wait until every transaction that wrote before now has ended.

        A snapshot that is taken afterwards has whatever the log has now; one taken at once could lack a transaction
        whose commit is logged and not yet visible, or began before its table was published.

        Raises:
            CaptureError: one of them goes on.
        """
        # A snapshot's xmax is no bound: it comes after the last transaction that has ended, and older ones may go on.
        before = self._one("select pg_current_xact_id()::text as value")
        until = time.monotonic() + patience
        while not self._one(f"select pg_snapshot_xmin(pg_current_snapshot()) > {literal(before)}::xid8 as value"):
            if time.monotonic() >= until:
                raise CaptureError(
                    f"{self.domain}: a transaction that wrote before the capture began goes on for over {patience:.0f} "
                    "s; end it (pg_stat_activity shows the one with the oldest xact_start), then run again"
                )
            time.sleep(_LOOK_SECONDS)

    def peek(self, upto: int, limit: int | None) -> pa.RecordBatchReader:
        """Messages of transactions that were not confirmed, one per row of the column `data`.

        Args:
            upto: position up to which they committed.
            limit: messages after which no further transaction is begun; None for all.
        """
        return self.connection.stream(
            f"select data from pg_logical_slot_peek_binary_changes({self._name}, {_lsn(upto)}, "
            f"{'null' if limit is None else limit}, 'proto_version', '1', 'publication_names', "
            f"{literal(quoted(self.name))})"
        )

    def pending(self, upto: int) -> tuple[frozenset[int], int | None]:
        """Tables with changes that were not confirmed, by OID, and the position of the last of these changes.

        The server decodes and counts; no row leaves it.
        """
        rows = self.connection.query(
            "with m as materialized (select lsn, get_byte(data, 0) as kind, data from "
            f"pg_logical_slot_peek_binary_changes({self._name}, {_lsn(upto)}, null, 'proto_version', '1', "
            f"'publication_names', {literal(quoted(self.name))})), "
            "t as (select lsn, substring(data from 2 for 4) as oid from m where kind in (73, 85, 68) union all "
            "select lsn, substring(data from 7 + 4 * n for 4) from m, generate_series(0, get_byte(data, 4) - 1) n "
            "where kind = 84) "
            "select ('x' || encode(oid, 'hex'))::bit(32)::bigint as oid, (max(lsn) - '0/0')::bigint as last "
            "from t group by 1"
        ).to_pylist()
        return frozenset(row["oid"] for row in rows), max((row["last"] for row in rows), default=None)

    def advance(self, position: int) -> None:
        """Let the server drop the log before a position, and never give these changes again."""
        state = self.state()
        if state is not None and position > state.confirmed:
            self._one(f"select end_lsn::text as value from pg_replication_slot_advance({self._name}, {_lsn(position)})")

    @property
    def _name(self) -> str:
        return literal(self.name)

    def _one(self, sql: str) -> Any:
        return self.connection.query(sql)["value"][0].as_py()


def slot_name(domain: str, lake: str) -> str:
    """The slot of a domain and a lake; two lakes that shared one would each miss what the other has read."""
    return f"medallion_{domain}_{hashlib.sha256(lake.encode()).hexdigest()[:8]}"


def slot_states(connection: Connection, prefix: str) -> list[SlotState]:
    """The slots of the session's database whose name begins with a text."""
    rows = connection.query(
        "select slot_name::text as name, coalesce(confirmed_flush_lsn - '0/0', 0)::bigint as confirmed, "
        "coalesce(pg_current_wal_flush_lsn() - confirmed_flush_lsn, 0)::bigint as behind, "
        "coalesce(pg_current_wal_flush_lsn() - restart_lsn, 0)::bigint as retained, "
        "coalesce(wal_status, 'lost') as status, safe_wal_size::bigint as safe from pg_replication_slots "
        f"where database = current_database() and starts_with(slot_name, {literal(prefix)}) order by 1"
    ).to_pylist()
    return [SlotState(**row) for row in rows]


def positions_name(slot: str, oid: int) -> str:
    """The application transaction by which a bronze table's commits say how far its log was read."""
    return f"medallion:capture:{slot}:{oid}"


def _lsn(position: int) -> str:
    return f"'{position >> 32:X}/{position & 0xFFFFFFFF:X}'"
