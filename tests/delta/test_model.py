"""A table is what a plain-Python model of its writes says, and a write changes no file outside of its slice."""

from __future__ import annotations

import datetime as dt
import itertools
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

import dagster as dg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from medallion.delta.frames import stage_writer
from medallion.delta.publish import Write, publish
from medallion.delta.staging import write_stage
from medallion.delta.store import DeltaStore, column_types, data_files
from medallion.partitions import WHOLE, SliceError, slice_of

PATH = ("silver", "shop", "orders")
ZONE = "Europe/Berlin"
PATIENT = settings(
    deadline=None,
    max_examples=15,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
Row = tuple[Any, ...]
Mode = Literal["replace", "append", "merge"]


@dataclass(frozen=True)
class Side:
    """One dimension: its partitions, its column's type, and values that lie in each key's partition."""

    definition: dg.PartitionsDefinition[Any]
    kind: pa.DataType
    values: Mapping[str, tuple[Any, ...]]


def words() -> Side:
    keys = ["a b", "l'eau", "100%", "ü", "a=b"]
    return Side(dg.StaticPartitionsDefinition(keys), pa.string(), {key: (key,) for key in keys})


def numbers() -> Side:
    keys = ["0", "1", "10", "-2"]
    return Side(dg.StaticPartitionsDefinition(keys), pa.int64(), {key: (int(key),) for key in keys})


def dates() -> Side:
    definition = dg.WeeklyPartitionsDefinition("2024-03-10", end_date="2024-04-14", timezone=ZONE)
    return Side(definition, pa.date32(), _within(definition, lambda moment: moment.astimezone(ZoneInfo(ZONE)).date()))


def instants() -> Side:
    definition = dg.HourlyPartitionsDefinition("2024-10-27-00:00", end_date="2024-10-27-05:00", timezone=ZONE)
    return Side(definition, pa.timestamp("us", "UTC"), _within(definition, lambda moment: moment))


def wall_times() -> Side:
    definition = dg.DailyPartitionsDefinition("2024-03-29", end_date="2024-04-03", timezone=ZONE)
    wall = ZoneInfo(ZONE)
    kind = pa.timestamp("us")
    return Side(definition, kind, _within(definition, lambda moment: moment.astimezone(wall).replace(tzinfo=None)))


def _within(definition: dg.TimeWindowPartitionsDefinition, value: Any) -> dict[str, tuple[Any, ...]]:
    """First and last microsecond of each window, and one in between, as the column stores them."""
    found = {}
    for key in definition.get_partition_keys():
        window = definition.time_window_for_partition_key(key)
        start, end = window.start.astimezone(dt.UTC), window.end.astimezone(dt.UTC)
        moments = (start, start + (end - start) / 2, end - dt.timedelta(microseconds=1))
        found[key] = tuple(dict.fromkeys(value(moment) for moment in moments))
    return found


SIDES = {"string": words(), "long": numbers(), "date": dates(), "timestamp": instants(), "timestamp_ntz": wall_times()}


class World:
    """One table, its partitions, and the rows that it should hold: id, one value per dimension, amount."""

    def __init__(self, root: Path, kinds: tuple[str, ...], aligned: bool) -> None:
        self.store = DeltaStore(str(root))
        self.sides = [SIDES[kind] for kind in kinds]
        self.names = [f"d{n}" for n in range(len(kinds))]
        self.partition_by = tuple(self.names) if aligned else ()
        self.definition: dg.PartitionsDefinition[Any] = (
            self.sides[0].definition
            if len(self.sides) == 1
            else dg.MultiPartitionsDefinition(
                {name: side.definition for name, side in zip(self.names, self.sides, strict=True)}
            )
        )
        self.model: list[Row] = []

    @property
    def cells(self) -> list[tuple[str, ...]]:
        return list(itertools.product(*[list(side.values) for side in self.sides]))

    def values(self, cell: tuple[str, ...]) -> list[Row]:
        return list(itertools.product(*[side.values[key] for side, key in zip(self.sides, cell, strict=True)]))

    def schema(self) -> pa.Schema:
        columns = [(name, side.kind) for name, side in zip(self.names, self.sides, strict=True)]
        return pa.schema([("id", pa.int64()), *columns, ("amount", pa.int64())])

    def write(self, cells: list[tuple[str, ...]], rows: list[Row], mode: Mode) -> None:
        keys = ["|".join(cell) for cell in cells]
        columns: Any = self.names[0] if len(self.names) == 1 else {name: name for name in self.names}
        selection = slice_of(self.definition, keys, columns)
        schema = self.schema()
        frame = pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema=schema)
        stage = write_stage(self.store, PATH, self.partition_by, stage_writer(frame, self.store))
        fields = {item.name: item for item in stage.schema.fields}
        from deltalake import Schema

        write = Write(
            stage,
            selection,
            Schema([fields[name] for name in schema.names]),
            self.partition_by,
            mode,
            keys=("id",) if mode == "merge" else (),
        )
        stage.discard(keep=publish(write).kept)

    def inside(self, cells: list[tuple[str, ...]]) -> set[Row]:
        return {values for cell in cells for values in self.values(cell)}

    def expect(self, cells: list[tuple[str, ...]], rows: list[Row], mode: Mode) -> None:
        inside = self.inside(cells)
        if mode == "replace":
            self.model = [row for row in self.model if row[1:-1] not in inside] + rows
        elif mode == "append":
            self.model = self.model + rows
        else:
            ids = {row[0] for row in rows}
            self.model = [row for row in self.model if row[0] not in ids] + rows

    def stored(self) -> Counter[Row]:
        table = pa.table(self.store.open(PATH).scan(columns=self.schema().names))
        return Counter(tuple(row.values()) for row in table.to_pylist())

    def files(self) -> dict[str, tuple[Any, ...]]:
        """Ids of the rows of every live file."""
        found = self.store.find(PATH)
        if found is None:
            return {}
        import pyarrow.parquet as pq

        folder = Path(self.store.uri(PATH))
        return {
            file.path: tuple(pq.ParquetFile(folder / file.path).read(["id"])["id"].to_pylist())
            for file in data_files(found, WHOLE)
        }


@st.composite
def histories(draw: st.DrawFn) -> tuple[tuple[str, ...], bool, list[tuple[Mode, list[int], list[tuple[int, int]]]]]:
    """Kinds of the dimensions, whether they are physical partitions, and writes: mode, cells, (value, amount) rows."""
    kinds = tuple(draw(st.lists(st.sampled_from(list(SIDES)), min_size=1, max_size=2)))
    aligned = draw(st.booleans())
    number = st.integers(0, 10**6)
    steps = st.tuples(
        st.sampled_from(["replace", "replace", "append", "merge"]),
        st.lists(number, min_size=1, max_size=4),
        st.lists(st.tuples(number, st.integers(0, 9)), max_size=5),
    )
    return kinds, aligned, draw(st.lists(steps, min_size=1, max_size=4))  # type: ignore[arg-type]


@PATIENT
@given(histories())
def test_after_any_writes_the_table_is_its_model_and_other_files_are_as_they_were(drawn: Any) -> None:
    kinds, aligned, steps = drawn
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), kinds, aligned)
        # Every partition has rows, so that a write that is too wide is seen.
        first = [(n, *values, 0) for n, values in enumerate(v for cell in world.cells for v in world.values(cell))]
        world.write(world.cells, first, "replace")
        world.expect(world.cells, first, "replace")
        ids = itertools.count(len(first))
        for mode, picks, contents in steps:
            cells = list(dict.fromkeys(world.cells[pick % len(world.cells)] for pick in picks))
            room = sorted(world.inside(cells), key=repr)
            rows = [(next(ids), *room[pick % len(room)], amount) for pick, amount in contents]
            if mode == "merge":
                times = Counter(row[0] for row in world.model)
                known = [row for row in world.model if row[1:-1] in room and times[row[0]] == 1]
                rows += [(*row[:-1], row[-1] + 1) for row in known[:2]]
            before = world.files()
            places = {row[0]: row[1:-1] for row in world.model}
            world.write(cells, rows, mode)
            world.expect(cells, rows, mode)
            assert world.stored() == Counter(world.model)
            untouched = {path for path, held in before.items() if not {places[n] for n in held} & set(room)}
            assert untouched <= world.files().keys()


@PATIENT
@given(histories(), st.integers(0, 10**6))
def test_a_row_outside_of_the_selection_is_refused_and_nothing_changes(drawn: Any, pick: int) -> None:
    kinds, aligned, steps = drawn
    mode, picks, _ = steps[0]
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), kinds, aligned)
        first = [(n, *world.values(cell)[0], 0) for n, cell in enumerate(world.cells)]
        world.write(world.cells, first, "replace")
        cells = list(dict.fromkeys(world.cells[pick % len(world.cells)] for pick in picks))
        outside = [cell for cell in world.cells if cell not in cells]
        assume(outside)
        stray = world.values(outside[pick % len(outside)])[-1]
        version = world.store.open(PATH).version()
        with pytest.raises(SliceError, match=r"silver/shop/orders.*outside of slice.*nothing was written"):
            world.write(cells, [(-1, *world.values(cells[0])[0], 1), (-2, *stray, 1)], mode)
        assert world.store.open(PATH).version() == version
        assert world.stored() == Counter(first)


def test_the_model_covers_every_column_type() -> None:
    types = pa.schema([(kind, side.kind) for kind, side in SIDES.items()])
    from deltalake import Schema

    assert column_types(Schema.from_arrow(types)) == {kind: kind for kind in SIDES}
