"""pgoutput messages, decoded a batch at a time, are what a decoder of one message at a time makes of them."""

from __future__ import annotations

import struct
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medallion.postgres.pgoutput import Changes, Decoder, ProtocolError, Truncation

SAME: Any = ...


def begin(lsn: int) -> bytes:
    return struct.pack(">cqqi", b"B", lsn, 1_000_000, 7)


def commit(end: int) -> bytes:
    return struct.pack(">cbqqq", b"C", 0, end - 8, end, 1_000_000)


def relation(oid: int, columns: dict[str, bool], identity: str = "d", name: str = "thing") -> bytes:
    listed = b"".join(
        struct.pack(">b", key) + column.encode() + b"\0" + struct.pack(">ii", 25, -1) for column, key in columns.items()
    )
    head = b"public\0" + name.encode() + b"\0" + identity.encode() + struct.pack(">h", len(columns))
    return struct.pack(">ci", b"R", oid) + head + listed


def cells(row: list[Any]) -> bytes:
    packed = b""
    for cell in row:
        if cell is None:
            packed += b"n"
        elif cell is SAME:
            packed += b"u"
        else:
            text = cell.encode()
            packed += b"t" + struct.pack(">i", len(text)) + text
    return struct.pack(">h", len(row)) + packed


def insert(oid: int, row: list[Any]) -> bytes:
    return struct.pack(">ci", b"I", oid) + b"N" + cells(row)


def update(oid: int, row: list[Any], old: list[Any] | None = None, kind: bytes = b"K") -> bytes:
    before = b"" if old is None else kind + cells(old)
    return struct.pack(">ci", b"U", oid) + before + b"N" + cells(row)


def delete(oid: int, old: list[Any]) -> bytes:
    return struct.pack(">ci", b"D", oid) + b"K" + cells(old)


def truncate(*oids: int) -> bytes:
    return struct.pack(f">cib{len(oids)}i", b"T", len(oids), 0, *oids)


def decoded(decoder: Decoder, *messages: bytes) -> list[tuple[Any, ...]]:
    """Rows in order: (order, table, lsn, deleted, values), with ... for a value that stayed the same."""
    rows: list[tuple[Any, ...]] = []
    for change in decoder.decode(pa.array(messages, pa.binary())):
        if isinstance(change, Truncation):
            rows.append((change.order, change.relation.oid, change.lsn, "truncated", ()))
            continue
        columns = [values.to_pylist() for values in change.values]
        for number, order in enumerate(change.order.tolist()):
            row = tuple(
                SAME if change.unchanged[at] is not None and change.unchanged[at][number] else column[number]
                for at, column in enumerate(columns)
            )
            oid, lsn = change.relation.oid, int(change.lsn[number])
            rows.append((order, oid, lsn, bool(change.deleted[number]), row))
    return sorted(rows)


TABLE = relation(1, {"id": True, "name": False})


def test_rows_come_with_the_position_of_their_transaction() -> None:
    decoder = Decoder()
    rows = decoded(
        decoder, begin(100), TABLE, insert(1, ["1", "a"]), commit(120), begin(130), delete(1, ["1", None]), commit(150)
    )
    assert rows == [(4, 1, 100, False, ("1", "a")), (10, 1, 130, True, ("1", None))]
    assert (decoder.end, decoder.transactions, decoder.messages) == (150, 2, 7)
    assert decoder.committed_at == 946_684_801_000_000


def test_a_transaction_goes_on_in_the_next_batch() -> None:
    decoder = Decoder()
    decoded(decoder, begin(100), TABLE)
    assert decoded(decoder, insert(1, ["1", "a"])) == [(4, 1, 100, False, ("1", "a"))]
    assert decoder.end is None


def test_a_changed_key_is_a_deletion_and_then_a_row() -> None:
    rows = decoded(Decoder(), begin(100), TABLE, update(1, ["2", SAME], ["1", None]))
    assert rows == [(4, 1, 100, True, ("1", None)), (5, 1, 100, False, ("2", SAME))]


def test_a_value_that_stayed_the_same_is_taken_from_a_whole_old_row() -> None:
    table = relation(1, {"id": True, "name": True}, "f")
    rows = decoded(Decoder(), begin(100), table, update(1, ["1", SAME], ["1", "large"], b"O"))
    assert rows == [(4, 1, 100, True, ("1", "large")), (5, 1, 100, False, ("1", "large"))]


def test_a_table_may_change_its_columns_between_rows() -> None:
    wider = relation(1, {"id": True, "name": False, "more": False})
    rows = decoded(
        Decoder(),
        begin(1),
        TABLE,
        insert(1, ["1", "a"]),
        wider,
        insert(1, ["2", "b", None]),
        update(1, ["1", "c", "d"]),
    )
    assert [row[-1] for row in rows] == [("1", "a"), ("2", "b", None), ("1", "c", "d")]


def test_a_truncation_names_all_of_its_tables() -> None:
    other = relation(2, {"id": True}, name="other")
    rows = decoded(Decoder(), begin(9), TABLE, other, truncate(1, 2))
    assert rows == [(6, 1, 9, "truncated", ()), (6, 2, 9, "truncated", ())]


def test_types_origins_and_application_messages_are_passed_over() -> None:
    assert decoded(Decoder(), begin(1), b"Yxxxxx", b"Oxxxxxxxxx", b"Mxxxx", commit(9)) == []


def test_no_messages_are_no_changes() -> None:
    assert decoded(Decoder()) == []


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ([b"S123"], r"\['S'\] are not in pgoutput's protocol version 1"),
        ([begin(1), insert(5, ["1"])], "a change of table 5, which it has not described"),
        ([begin(1), TABLE, insert(1, ["1"])], "rows of thing have other columns"),
    ],
)
def test_a_stream_that_is_none_of_ours_is_refused(messages: list[bytes], told: str) -> None:
    with pytest.raises(ProtocolError, match=told):
        decoded(Decoder(), *messages)


_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
_CELLS = st.one_of(st.none(), _TEXT)
_ROW = st.tuples(_TEXT, _CELLS, _CELLS)
_CHANGE = st.one_of(
    st.tuples(st.just("insert"), st.integers(1, 3), _ROW),
    st.tuples(st.just("update"), st.integers(1, 3), st.tuples(_TEXT, _CELLS, st.one_of(_CELLS, st.just(SAME)))),
    st.tuples(st.just("move"), st.integers(1, 3), _ROW),
    st.tuples(st.just("delete"), st.integers(1, 3), _ROW),
    st.tuples(st.just("commit"), st.just(0), _ROW),
)


@settings(max_examples=60, deadline=None)
@given(changes=st.lists(_CHANGE, max_size=25), cut=st.integers(0, 30))
def test_any_stream_gives_its_rows_in_order_however_it_is_cut(changes: list[Any], cut: int) -> None:
    columns = {"id": True, "name": False, "note": False}
    messages = [begin(10), *[relation(oid, columns, name=f"t{oid}") for oid in (1, 2, 3)]]
    expected: list[tuple[Any, ...]] = []
    lsn = 10
    for kind, oid, row in changes:
        order = 2 * len(messages)
        if kind == "commit":
            lsn += 10
            messages += [commit(lsn - 1), begin(lsn)]
        elif kind == "insert":
            messages.append(insert(oid, list(row)))
            expected.append((order, oid, lsn, False, row))
        elif kind == "update":
            messages.append(update(oid, list(row)))
            expected.append((order, oid, lsn, False, row))
        elif kind == "delete":
            messages.append(delete(oid, [row[0], None, None]))
            expected.append((order, oid, lsn, True, (row[0], None, None)))
        else:
            messages.append(update(oid, list(row), ["old", None, None]))
            expected += [(order, oid, lsn, True, ("old", None, None)), (order + 1, oid, lsn, False, row)]
    decoder = Decoder()
    rows = decoded(decoder, *messages[:cut]) + decoded(decoder, *messages[cut:])
    assert rows == expected


def test_a_slice_of_a_larger_array_is_decoded_alone() -> None:
    messages = pa.array([b"junk", begin(5), TABLE, insert(1, ["1", "é"]), b"junk"], pa.binary()).slice(1, 3)
    (change,) = Decoder().decode(messages)
    assert isinstance(change, Changes)
    assert [values.to_pylist() for values in change.values] == [["1"], ["é"]]
