"""Random batches against a plain-Python model of history: for every key, what holds on every day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import Schema
from hypothesis import given, settings
from hypothesis import strategies as st

from medallion.delta.frames import stage_writer
from medallion.delta.publish import Write, publish
from medallion.delta.scd2 import CHANGE, DELETE, INSERT, RESIZE, SNAPSHOT, Batch, History, history_changes
from medallion.delta.staging import write_stage
from medallion.delta.store import DeltaStore
from medallion.partitions import WHOLE

STAMP = pa.timestamp("us", tz="UTC")
DAYS = range(1, 9)
EXAMPLES = 15
ABSENT = object()
Key = tuple[str, str]
Values = tuple[str | None, int | None]
VALUES = pa.schema([("city", pa.string()), ("floor", pa.int64())])
KEY = pa.schema([("first", pa.string()), ("second", pa.string())])
COLUMNS = pa.schema([*KEY, *VALUES, ("valid_from", STAMP)])
TABLE = pa.schema([*COLUMNS, ("valid_to", STAMP), ("is_current", pa.bool_()), ("_version_hash", pa.string())])

# Joined by a dash, the first two are one; there are several, as every key of an example is a history by itself.
KEYS = st.sampled_from([("a-1", "2"), ("a", "1-2"), ("", "b"), ("b", ""), ("c", "c"), ("d", "'")])
TRACKED = st.sampled_from([("x", 1), ("y", 1), (None, 1), ("x", None), (None, None), ("", 1)])
ROWS = st.dictionaries(st.tuples(KEYS, st.sampled_from(DAYS)), TRACKED, max_size=20)


@dataclass(frozen=True)
class Arrival:
    """Rows by key and day, of the full snapshot of a day if one is given; keys in quarantine were seen, not passed."""

    rows: Mapping[tuple[Key, int], Values]
    snapshot: int | None = None
    quarantined: frozenset[Key] = frozenset()


EVENTS = st.lists(ROWS.map(Arrival), min_size=1, max_size=4)
SNAPSHOTS = st.lists(st.tuples(ROWS.filter(len), st.sets(KEYS, max_size=1)), min_size=1, max_size=4).map(
    lambda batches: [Arrival(rows, 2 * n - 1, frozenset(bad)) for n, (rows, bad) in enumerate(batches, 1)]
)


class Model:
    """What holds of each key on each day, as a list over the days."""

    def __init__(self) -> None:
        self.days: dict[Key, list[Any]] = {}

    def take(self, arrival: Arrival) -> None:
        named = {key for key, _ in arrival.rows}
        for key in named | self.days.keys():
            before = self.days.get(key, [ABSENT] * len(DAYS))
            turns = {
                day: value
                for day, value, earlier in zip(DAYS, before, [ABSENT, *before], strict=False)
                if value is not earlier and value != earlier
            }
            own = {day: values for (name, day), values in arrival.rows.items() if name == key}
            if arrival.snapshot is not None:
                if known := [day for day in own if day <= arrival.snapshot]:
                    turns[arrival.snapshot] = own[max(known)]
                elif not own and key not in arrival.quarantined:
                    turns[arrival.snapshot] = ABSENT
            turns |= own
            holds: list[Any] = []
            for day in DAYS:
                holds.append(turns.get(day, holds[-1] if holds else ABSENT))
            self.days[key] = holds

    def versions(self) -> set[tuple[Key, Values, int, int | None]]:
        found = set()
        for key, holds in self.days.items():
            starts = [n for n in range(len(DAYS)) if n == 0 or holds[n] != holds[n - 1]]
            for start, end in zip(starts, [*starts[1:], None], strict=True):
                if holds[start] is not ABSENT:
                    found.add((key, holds[start], DAYS[start], None if end is None else DAYS[end]))
        return found


def moment(day: int) -> dt.datetime:
    return dt.datetime(2024, 1, day, tzinfo=dt.UTC)


def arrow(arrival: Arrival) -> pa.Table:
    rows = [
        dict(zip(COLUMNS.names, (*key, *values, moment(day)), strict=True))
        for (key, day), values in arrival.rows.items()
    ]
    table = pa.Table.from_pylist(rows, schema=COLUMNS)
    if arrival.snapshot is None:
        return table
    return table.append_column(SNAPSHOT, pa.array([moment(arrival.snapshot)] * len(rows), STAMP))


def shown(rows: Sequence[Mapping[str, Any]]) -> set[tuple[Key, Values, int, int | None]]:
    assert all(row["is_current"] == (row["valid_to"] is None) for row in rows)
    found = {
        (
            (row["first"], row["second"]),
            (row["city"], row["floor"]),
            row["valid_from"].day,
            row["valid_to"].day if row["valid_to"] else None,
        )
        for row in rows
    }
    assert len(found) == len(rows)
    for key in {version[0] for version in found}:
        spans = sorted((since, until) for name, _, since, until in found if name == key)
        # Nothing overlaps, so that only the last one can be open.
        assert all(until is not None and until <= following for (_, until), (following, _) in pairwise(spans))
        assert all(until is None or since < until for since, until in spans)
    return found


class Rows:
    """A table in memory that takes changes as a MERGE would."""

    def __init__(self, absent: Any) -> None:
        self.history = History(key=("first", "second"), absent=absent)
        self.rows: dict[Any, dict[str, Any]] = {}

    def take(self, arrival: Arrival) -> dict[str, int]:
        table = arrow(arrival)
        quarantined = pa.table([[key[n] for key in arrival.quarantined] for n in (0, 1)], schema=KEY)
        stored = pa.Table.from_pylist(list(self.rows.values()), schema=TABLE)
        batch = Batch(
            name="t",
            columns=COLUMNS.names,
            passed=lambda columns: table.select(list(columns)).to_reader(),
            seen=lambda columns: pa.concat_tables([table.select(list(columns)), quarantined]).to_reader(),
            stored=lambda columns: stored.select(list(columns)).to_reader(),
        )
        with history_changes(self.history, batch) as changes:
            for row in changes.rows().read_all().to_pylist():
                place = (row["first"], row["second"], row["valid_from"])
                change = row.pop(CHANGE)
                assert (place in self.rows) == (change != INSERT)
                if change == DELETE:
                    del self.rows[place]
                elif change == RESIZE:
                    self.rows[place] |= {name: row[name] for name in ("valid_to", "is_current")}
                else:
                    self.rows[place] = row
        return changes.counts


@settings(max_examples=EXAMPLES, deadline=None)
@given(EVENTS)
def test_after_any_batches_the_history_is_that_of_the_model(arrivals: list[Arrival]) -> None:
    table, model = Rows("keep"), Model()
    for arrival in arrivals:
        table.take(arrival)
        model.take(arrival)
        assert shown(list(table.rows.values())) == model.versions()
    assert table.take(arrival) == {}


@settings(max_examples=EXAMPLES, deadline=None)
@given(SNAPSHOTS)
def test_after_any_snapshots_the_history_is_that_of_the_model(arrivals: list[Arrival]) -> None:
    table, model = Rows("close"), Model()
    for arrival in arrivals:
        table.take(arrival)
        model.take(arrival)
        assert shown(list(table.rows.values())) == model.versions()
    assert table.take(arrival) == {}


@settings(max_examples=EXAMPLES // 2, deadline=None)
@given(st.dictionaries(st.tuples(KEYS, st.sampled_from(DAYS)), TRACKED, min_size=2, max_size=25), st.randoms())
def test_batches_that_share_no_moment_give_the_whole_history_once_all_came_twice(rows: Any, random: Any) -> None:
    """What confirmed a version is forgotten, so that a late change may reach too far until it is said again."""
    at_once = Rows("keep")
    at_once.take(Arrival(rows))
    pieces: list[dict[Any, Any]] = [{}, {}, {}]
    for place, values in rows.items():
        random.choice(pieces)[place] = values
    bit_by_bit = Rows("keep")
    for piece in [*pieces, *pieces]:
        bit_by_bit.take(Arrival(piece))
    assert bit_by_bit.rows == at_once.rows


@settings(max_examples=EXAMPLES // 4, deadline=None)
@given(EVENTS)
def test_the_table_itself_holds_the_history_of_the_model(tmp_path_factory: Any, arrivals: list[Arrival]) -> None:
    store, path = DeltaStore(str(Path(tmp_path_factory.mktemp("lake")))), ("silver", "shop", "homes")
    model = Model()

    def write(arrival: Arrival) -> int:
        stage = write_stage(store, path, (), stage_writer(arrow(arrival), store))
        keys = ("first", "second", "valid_from")
        history = History(key=keys[:2])
        published = publish(Write(stage, WHOLE, Schema.from_arrow(TABLE), (), "scd2", keys, history))
        stage.discard()
        return published.version

    for arrival in arrivals:
        version = write(arrival)
        model.take(arrival)
        assert shown(pa.table(store.open(path).scan()).to_pylist()) == model.versions()
        assert write(arrival) == version
