"""PostgreSQL's pgoutput messages as columns: all rows of a batch are decoded at once, column by column."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Numbers = np.ndarray[Any, np.dtype[Any]]

_BEGIN, _COMMIT, _RELATION, _TRUNCATE = b"BCRT"
_INSERT, _UPDATE, _DELETE = b"IUD"
_NO_ROWS = b"YOM"
"""Type names, origins and application messages: nothing that a mirror holds."""
_TEXT, _UNCHANGED, _NEW = b"tuN"
_KEY_FLAG = 1
_ALL_COLUMNS = "f"
_EPOCH_MICROS = 946_684_800_000_000
"""PostgreSQL counts from 2000-01-01; this is how far that is from 1970."""


class ProtocolError(RuntimeError):
    """A stream that is no pgoutput of version 1 as this decoder knows it."""


@dataclass(frozen=True)
class LoggedColumn:
    """A column as the log describes it: name, whether it is part of the replica identity, type OID and modifier."""

    name: str
    identifies: bool
    type_oid: int
    modifier: int


@dataclass(frozen=True)
class Relation:
    """A table as the log describes it before the first change that follows.

    Attributes:
        oid: of the table; of a partitioned one's root.
        schema: where it is.
        name: its name.
        identity: replica identity: `d` primary key, `i` an index, `f` all columns, `n` none.
        columns: in their order.
    """

    oid: int
    schema: str
    name: str
    identity: str
    columns: tuple[LoggedColumn, ...]


@dataclass(frozen=True)
class Changes:
    """Changed rows of one relation, in the order of the log.

    Attributes:
        relation: their table.
        order: position in the stream; a key that changes is deleted at an even and comes back at the next odd one.
        lsn: where the commit record of the row's transaction begins.
        deleted: whether the row of this key is gone.
        values: text of each column; NULL as well where the log does not give it.
        unchanged: per column, whether the log does not repeat the (large) value as it stayed the same; None if never.
    """

    relation: Relation
    order: Numbers
    lsn: Numbers
    deleted: Numbers
    values: tuple[pa.StringArray, ...]
    unchanged: tuple[Numbers | None, ...]


@dataclass(frozen=True)
class Truncation:
    """A table emptied: everything before `order` is void."""

    relation: Relation
    order: int
    lsn: int


@dataclass
class Decoder:
    """Decodes a stream of pgoutput messages (`proto_version` 1), batch by batch.

    Attributes:
        relations: the newest description of each table by OID.
        end: where the newest complete transaction ends; None before the first one.
        committed_at: time of the oldest transaction's commit, microseconds since 1970; None before the first one.
        transactions: complete ones so far.
        messages: messages so far.
    """

    relations: dict[int, Relation] = field(default_factory=dict)
    end: int | None = None
    committed_at: int | None = None
    transactions: int = 0
    messages: int = 0
    _lsn: int = 0

    def decode(self, messages: pa.Array) -> Iterator[Changes | Truncation]:
        """Decode the next messages; rows come grouped by table, `order` tells how they followed each other.

        Args:
            messages: binary array, one message each.

        Raises:
            ProtocolError: a message that the decoder does not know.
        """
        import numpy as np

        if not len(messages):
            return
        stream = _Stream.of(messages)
        kinds = stream.octets[stream.starts]
        orders = 2 * (self.messages + np.arange(len(kinds), dtype=np.int64))
        lsns = self._positions(stream, kinds)
        known = np.frombuffer(
            bytes([_BEGIN, _COMMIT, _RELATION, _TRUNCATE, _INSERT, _UPDATE, _DELETE, *_NO_ROWS]), "u1"
        )
        if strange := sorted(set(np.unique(kinds)) - set(known)):
            raise ProtocolError(
                f"messages of kinds {[chr(kind) for kind in strange]} are not in pgoutput's protocol version 1"
            )
        rows = np.flatnonzero(np.isin(kinds, np.frombuffer(b"IUD", "u1")))
        tables = stream.uint32(stream.starts[rows] + 1)
        # What a table looks like changes only where the log says so: rows between two such places have one layout.
        begun = 0
        for at in [*np.flatnonzero(kinds == _RELATION), len(kinds)]:
            last = np.searchsorted(rows, at)
            for oid in np.unique(tables[begun:last]):
                chosen = rows[begun:last][tables[begun:last] == oid]
                yield from self._rows(stream, self._relation(int(oid)), kinds[chosen], chosen, orders, lsns)
            begun = last
            if at < len(kinds):
                relation = _relation(stream.message(int(at)))
                self.relations[relation.oid] = relation
        for at in np.flatnonzero(kinds == _TRUNCATE):
            number, _ = struct.unpack_from(">ib", stream.message(int(at)), 1)
            for oid in struct.unpack_from(f">{number}I", stream.message(int(at)), 6):
                yield Truncation(self._relation(oid), int(orders[at]), int(lsns[at]))
        self.messages += len(kinds)

    def _positions(self, stream: _Stream, kinds: Numbers) -> Numbers:
        """The commit position of each message's transaction; also notes where the newest transaction ends."""
        import numpy as np

        begins, commits = np.flatnonzero(kinds == _BEGIN), np.flatnonzero(kinds == _COMMIT)
        found = stream.int64(stream.starts[begins] + 1)
        positions = np.concatenate(([self._lsn], found))
        if len(begins):
            self._lsn = int(found[-1])
            if self.committed_at is None:
                self.committed_at = int(stream.int64(stream.starts[begins[:1]] + 9)[0]) + _EPOCH_MICROS
        if len(commits):
            self.end = int(stream.int64(stream.starts[commits[-1:]] + 10)[0])
            self.transactions += len(commits)
        return positions[np.searchsorted(begins, np.arange(len(kinds)), side="right")]

    def _relation(self, oid: int) -> Relation:
        if oid not in self.relations:
            raise ProtocolError(f"the log has a change of table {oid}, which it has not described before")
        return self.relations[oid]

    def _rows(
        self, stream: _Stream, relation: Relation, kinds: Numbers, at: Numbers, orders: Numbers, lsns: Numbers
    ) -> Iterator[Changes]:
        """Rows of one layout: each message's first tuple, then the second ones of updates that give the old key."""
        deletes = kinds == _DELETE
        starts = stream.starts[at] + 5
        with_old = (kinds == _UPDATE) & (stream.octets[starts] != _NEW)
        first = _tuples(stream, starts + 1, relation)
        yield Changes(relation, orders[at], lsns[at], deletes | with_old, *first.columns(stream))
        if with_old.any():
            again = first.ends[with_old]
            if (stream.octets[again] != _NEW).any():
                raise ProtocolError(f"an update of {relation.name} has an old row and no new one")
            moved = at[with_old]
            values, unchanged = _tuples(stream, again + 1, relation).columns(stream)
            if relation.identity == _ALL_COLUMNS:
                # The old row is whole, so what stays the same is there.
                values = _with_old(values, unchanged, first.only(with_old).columns(stream)[0])
                unchanged = (None,) * len(values)
            yield Changes(relation, orders[moved] + 1, lsns[moved], deletes[with_old], values, unchanged)


@dataclass(frozen=True)
class _Stream:
    """The bytes of a batch of messages, and where each message starts."""

    buffer: Any
    octets: Numbers
    starts: Numbers
    ends: Numbers

    @classmethod
    def of(cls, messages: pa.Array) -> _Stream:
        import numpy as np

        _, offsets, data = messages.buffers()
        places = np.frombuffer(offsets, np.int32)[messages.offset : messages.offset + len(messages) + 1].astype(
            np.int64
        )
        return cls(data, np.frombuffer(data, np.uint8), places[:-1], places[1:])

    def message(self, number: int) -> bytes:
        return self.octets[self.starts[number] : self.ends[number]].tobytes()

    def int32(self, at: Numbers) -> Numbers:
        return self._number(at, 4).astype("i4")

    def uint32(self, at: Numbers) -> Numbers:
        """Identifiers of the server, which are unsigned."""
        return self._number(at, 4) & 0xFFFFFFFF

    def int64(self, at: Numbers) -> Numbers:
        return self._number(at, 8)

    def int16(self, at: Numbers) -> Numbers:
        return self._number(at, 2)

    def _number(self, at: Numbers, width: int) -> Numbers:
        """Big-endian numbers at any places."""
        import numpy as np

        value = np.zeros(len(at), np.int64)
        for n in range(width):
            value = (value << 8) | self.octets[at + n]
        return value


@dataclass(frozen=True)
class _Tuples:
    """Where the cells of some rows are; per column their kind, start and length."""

    cells: list[tuple[Numbers, Numbers, Numbers]]
    ends: Numbers

    def only(self, chosen: Numbers) -> _Tuples:
        return _Tuples([(kinds[chosen], at[chosen], n[chosen]) for kinds, at, n in self.cells], self.ends[chosen])

    def columns(self, stream: _Stream) -> tuple[tuple[pa.StringArray, ...], tuple[Numbers | None, ...]]:
        values = tuple(_texts(stream, kinds == _TEXT, starts, lengths) for kinds, starts, lengths in self.cells)
        same = [kinds == _UNCHANGED for kinds, _, _ in self.cells]
        return values, tuple(unchanged if unchanged.any() else None for unchanged in same)


def _tuples(stream: _Stream, at: Numbers, relation: Relation) -> _Tuples:
    import numpy as np

    if (stream.int16(at) != len(relation.columns)).any():
        raise ProtocolError(f"rows of {relation.name} have other columns than the log has described")
    at = at + 2
    cells = []
    for _ in relation.columns:
        kinds = stream.octets[at]
        given = kinds == _TEXT
        lengths = np.zeros(len(at), np.int64)
        lengths[given] = stream.int32(at[given] + 1)
        starts = np.where(given, at + 5, at)
        cells.append((kinds, starts, lengths))
        at = np.where(given, starts + lengths, at + 1)
    return _Tuples(cells, at)


def _texts(stream: _Stream, given: Numbers, starts: Numbers, lengths: Numbers) -> pa.StringArray:
    """Texts at ascending places of the stream, copied once: every second element of an array that spans the stream."""
    import numpy as np
    import pyarrow as pa

    bounds = np.empty(2 * len(starts) + 1, np.int32)
    bounds[0:-1:2], bounds[1::2] = starts, starts + lengths
    bounds[-1] = bounds[-2] if len(starts) else 0
    spanning = pa.StringArray.from_buffers(2 * len(starts), pa.py_buffer(bounds), stream.buffer)
    wanted = pa.array(np.arange(0, 2 * len(starts), 2), mask=~given)
    return spanning.take(wanted)


def _with_old(
    values: tuple[pa.StringArray, ...], unchanged: tuple[Numbers | None, ...], old: tuple[pa.StringArray, ...]
) -> tuple[pa.StringArray, ...]:
    import pyarrow.compute as pc

    return tuple(
        new if same is None else pc.if_else(same, before, new)
        for new, same, before in zip(values, unchanged, old, strict=True)
    )


def _relation(message: bytes) -> Relation:
    (oid,) = struct.unpack_from(">I", message, 1)
    schema_end = message.index(0, 5)
    name_end = message.index(0, schema_end + 1)
    identity, number = struct.unpack_from(">ch", message, name_end + 1)
    at = name_end + 4
    columns = []
    for _ in range(number):
        end = message.index(0, at + 1)
        type_oid, modifier = struct.unpack_from(">Ii", message, end + 1)
        columns.append(LoggedColumn(message[at + 1 : end].decode(), bool(message[at] & _KEY_FLAG), type_oid, modifier))
        at = end + 9
    schema = message[5:schema_end].decode() or "pg_catalog"
    return Relation(oid, schema, message[schema_end + 1 : name_end].decode(), identity.decode(), tuple(columns))
