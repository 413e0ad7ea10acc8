"""Slices against a plain-Python model: what they hold, what delta-rs selects by them, what Spark selects by them."""

from __future__ import annotations

import datetime as dt
import itertools
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from medallion.delta.store import column_types
from medallion.engine.frames import read_delta
from medallion.partitions import WHOLE, Dimension, Slice, SliceError, boxes, parse_file_value, slice_of

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"]
WORDS = [
    *["de", "DE", "a b", "a,b", "l'eau", "''", 'say "x"', "a`b", "100%", "%20", "ü", "u\u0308", "日本", "a|b", "a\\b"],
    *["NULL", "null", "1", "01", "--", "; drop", "_", " x", "x ", "x", "{}", "$1", "*", "a/b", "a=b", "\\'"],
]
GRID_WORDS = [word for word in WORDS if not set(word) & set("|[],")][:8]  # Dagster allows no others in a grid
PATIENT = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=25
)


def instants() -> list[dt.datetime]:
    """Half hours around both changes of clocks, and moments beside every midnight of a year."""
    moments: set[dt.datetime] = set()
    for day in (dt.datetime(2024, 3, 9), dt.datetime(2024, 3, 30), dt.datetime(2024, 10, 26), dt.datetime(2024, 11, 2)):
        moments |= {day.replace(tzinfo=dt.UTC) + dt.timedelta(minutes=30 * n) for n in range(3 * 48)}
    for day in range(0, 400, 3):
        midnight = dt.datetime(2024, 1, 1, tzinfo=dt.UTC) + dt.timedelta(days=day)
        moments |= {midnight - dt.timedelta(microseconds=1), midnight, midnight + dt.timedelta(hours=5, minutes=30)}
    return sorted(moments)


MOMENTS = instants()


def time_column(kind: str, zone: str) -> str:
    return kind if kind == "timestamp" else f"{kind}_{ZONES.index(zone)}"


def rows() -> pa.Table:
    columns: dict[str, Any] = {"id": range(len(MOMENTS)), "timestamp": pa.array(MOMENTS, pa.timestamp("us", "UTC"))}
    for zone in ZONES:
        walls = [moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for moment in MOMENTS]
        columns[time_column("timestamp_ntz", zone)] = pa.array(walls, pa.timestamp("us"))
        columns[time_column("date", zone)] = [wall.date() for wall in walls]
    n = len(MOMENTS)
    columns["word"] = list(itertools.islice(itertools.cycle([*WORDS, None]), n))
    columns["number"] = pa.array(list(itertools.islice(itertools.cycle([*range(-3, 12), None]), n)), pa.int32())
    columns["day"] = list(itertools.islice(itertools.cycle([dt.date(2024, 1, d) for d in range(1, 8)]), n))
    return pa.table(columns)


class World:
    """The same rows as Python values, as a Delta table and as a Spark frame."""

    def __init__(self, folder: Path, spark: Any) -> None:
        write_deltalake(str(folder), rows())
        self.table = DeltaTable(str(folder))
        self.types = column_types(self.table.schema())
        self.frame = read_delta(spark, str(folder), 0)
        self.rows = rows().to_pylist()

    def agree(self, selection: Slice, expected: set[int]) -> None:
        bound = selection.bind(self.types)
        assert {row["id"] for row in self.rows if bound.holds(row)} == expected
        found = pa.table(self.table.scan(columns=["id"], predicate=bound.sql()))["id"].to_pylist()
        assert sorted(found) == sorted(expected)
        condition = bound.column_expression()
        frame = self.frame if condition is None else self.frame.where(condition)
        assert sorted(row.id for row in frame.select("id").collect()) == sorted(expected)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, spark: Any) -> World:
    return World(tmp_path_factory.mktemp("slices") / "t", spark)


def definition(cadence: str, zone: str) -> dg.TimeWindowPartitionsDefinition:
    if cadence == "hourly":
        return dg.HourlyPartitionsDefinition("2024-03-09-00:00", end_date="2024-11-05-00:00", timezone=zone)
    if cadence == "weekly":
        return dg.WeeklyPartitionsDefinition("2024-01-01", end_date="2025-01-01", timezone=zone, day_offset=3)
    kinds = {"daily": dg.DailyPartitionsDefinition, "monthly": dg.MonthlyPartitionsDefinition}
    return kinds[cadence]("2024-01-01", end_date="2025-01-01", timezone=zone)


KEYS = {
    (cadence, zone): definition(cadence, zone).get_partition_keys()
    for cadence in ("daily", "weekly", "monthly")
    for zone in ZONES
}
# Hours of the days on which clocks change, where the traps are.
KEYS |= {
    ("hourly", zone): [
        key
        for key in definition("hourly", zone).get_partition_keys()
        if key[:10] in ("2024-03-10", "2024-03-31", "2024-10-27", "2024-11-03")
    ]
    for zone in ZONES
}


@st.composite
def time_selections(draw: st.DrawFn) -> tuple[str, str, str, list[str]]:
    cadence = draw(st.sampled_from(["hourly", "daily", "weekly", "monthly"]))
    zone = draw(st.sampled_from(ZONES))
    kind = draw(st.sampled_from(["timestamp", "timestamp_ntz"] + ([] if cadence == "hourly" else ["date"])))
    keys = KEYS[cadence, zone]
    if draw(st.booleans()):
        first = draw(st.integers(0, len(keys) - 1))
        selected = keys[first : first + draw(st.integers(1, 9))]
    else:
        selected = draw(st.lists(st.sampled_from(keys), max_size=6))
    return cadence, zone, kind, draw(st.permutations(selected))


@settings(PATIENT, max_examples=60)
@given(time_selections())
def test_time_partitions_select_the_rows_of_their_windows(world: World, drawn: tuple[str, str, str, list[str]]) -> None:
    cadence, zone, kind, keys = drawn
    partitions = definition(cadence, zone)
    column = time_column(kind, zone)
    windows = [partitions.time_window_for_partition_key(key) for key in keys]
    assume(kind != "timestamp_ntz" or not any(window.start.fold or window.end.fold for window in windows))
    expected = {
        number
        for number, moment in enumerate(MOMENTS)
        if any(window.start.timestamp() <= moment.timestamp() < window.end.timestamp() for window in windows)
    }
    world.agree(slice_of(partitions, keys, column), expected)


@PATIENT
@given(st.lists(st.sampled_from(WORDS), unique=True), st.booleans())
def test_static_and_dynamic_keys_select_equal_text(world: World, keys: list[str], dynamic: bool) -> None:
    partitions: Any = dg.DynamicPartitionsDefinition(name="w") if dynamic else dg.StaticPartitionsDefinition(WORDS)
    expected = {row["id"] for row in world.rows if row["word"] in keys}
    world.agree(slice_of(partitions, keys, "word"), expected)


@PATIENT
@given(st.lists(st.integers(-3, 11), unique=True))
def test_integer_keys_select_equal_numbers(world: World, keys: list[int]) -> None:
    partitions = dg.StaticPartitionsDefinition([str(n) for n in range(-3, 12)])
    expected = {row["id"] for row in world.rows if row["number"] in keys}
    world.agree(slice_of(partitions, [str(key) for key in keys], "number"), expected)


@PATIENT
@given(st.sets(st.tuples(st.integers(1, 7), st.sampled_from(GRID_WORDS))))
def test_a_grid_selects_its_cells_and_no_others(world: World, cells: set[tuple[int, str]]) -> None:
    days = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-08")
    grid = dg.MultiPartitionsDefinition({"date": days, "word": dg.StaticPartitionsDefinition(GRID_WORDS)})
    keys = [dg.MultiPartitionKey({"date": f"2024-01-{day:02}", "word": word}) for day, word in cells]
    expected = {row["id"] for row in world.rows if (row["day"].day, row["word"]) in cells}
    world.agree(slice_of(grid, keys, {"date": "day", "word": "word"}), expected)


@given(st.sets(st.tuples(*[st.sampled_from("abcd")] * 3)))
def test_boxes_cover_every_cell_once(cells: set[tuple[str, str, str]]) -> None:
    covered = [cell for box in boxes(sorted(cells)) for cell in itertools.product(*box)]
    assert sorted(covered) == sorted(cells)


@given(st.sets(st.sampled_from(KEYS["daily", "Europe/Berlin"])))
def test_windows_are_merged_to_as_few_intervals_as_there_are_holes(keys: set[str]) -> None:
    partitions = definition("daily", "Europe/Berlin")
    bound = slice_of(partitions, keys, "at").bind({"at": "timestamp"})
    days = sorted(dt.date.fromisoformat(key) for key in keys)
    runs = sum(1 for n, day in enumerate(days) if n == 0 or day - days[n - 1] > dt.timedelta(days=1))
    assert sum(len(condition.intervals) for box in bound.boxes for condition in box) == runs


@given(st.text(min_size=1))
def test_any_key_is_one_literal_of_its_predicate(key: str) -> None:
    sql = Slice(((Dimension("c", (key,)),),)).bind({"c": "string"}).sql()
    assert sql is not None
    prefix, suffix = '"c" IN (\'', "')"
    assert sql.startswith(prefix)
    assert sql.endswith(suffix)
    assert sql[len(prefix) : -len(suffix)].replace("''", "'") == key


def test_the_whole_table_has_no_predicate() -> None:
    assert WHOLE.bind({}).sql() is None
    assert WHOLE.bind({}).column_expression() is None
    assert WHOLE.bind({}).holds({})
    assert slice_of(None, [], "c") == WHOLE


def test_no_key_selects_nothing_and_not_everything(world: World) -> None:
    nothing = slice_of(dg.StaticPartitionsDefinition(["a"]), [], "word")
    assert nothing.bind(world.types).sql() == "FALSE"
    world.agree(nothing, set())


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("date", "(\"c\" >= '2024-01-01' AND \"c\" < '2024-01-03')"),
        ("timestamp", "(\"c\" >= '2023-12-31T23:00:00Z' AND \"c\" < '2024-01-02T23:00:00Z')"),
        ("timestamp_ntz", "(\"c\" >= '2024-01-01T00:00:00' AND \"c\" < '2024-01-03T00:00:00')"),
        ("string", "\"c\" IN ('2024-01-01', '2024-01-02')"),
    ],
)
def test_the_predicate_is_typed_like_the_column(kind: str, expected: str) -> None:
    selection = slice_of(definition("daily", "Europe/Berlin"), ["2024-01-02", "2024-01-01"], "c")
    assert selection.bind({"c": kind}).sql() == expected


def test_a_column_name_is_quoted() -> None:
    selection = slice_of(dg.StaticPartitionsDefinition(["x"]), ["x"], 'the "c"')
    assert selection.bind({'the "c"': "string"}).sql() == '"the ""c""" IN (\'x\')'


@pytest.mark.parametrize(
    ("kinds", "keys", "message"),
    [
        ({"other": "string"}, ["a"], "partition column 'c' is not a column of the table"),
        ({"c": "double"}, ["1"], "can't be compared with double column 'c'"),
        ({"c": "long"}, ["a"], "'a' is no integer"),
        ({"c": "long"}, ["1_0"], "'1_0' is no integer"),
        ({"c": "long"}, [" 1"], "' 1' is no integer"),
        ({"c": "date"}, ["monday"], "which can't hold the partition"),
        ({"c": "timestamp"}, ["2024-01-01"], "can't be compared with timestamp column"),
    ],
)
def test_what_the_column_cannot_hold_exactly_is_an_error(
    kinds: Mapping[str, str], keys: list[str], message: str
) -> None:
    with pytest.raises(SliceError, match=message):
        slice_of(dg.StaticPartitionsDefinition(keys), keys, "c").bind(kinds)


def test_an_hour_does_not_fit_a_date_column() -> None:
    with pytest.raises(SliceError, match="is not midnight; use a timestamp column"):
        slice_of(definition("hourly", "UTC"), ["2024-03-10-13:00"], "c").bind({"c": "date"})


@pytest.mark.parametrize("key", ["2024-10-27-02:00", "2024-10-27-02:00+0100"])
def test_an_hour_that_the_clock_shows_twice_needs_a_timestamp_column(key: str) -> None:
    selection = slice_of(definition("hourly", "Europe/Berlin"), [key], "c")
    with pytest.raises(SliceError, match="read 2024-10-27 02:00:00 twice; use a timestamp column"):
        selection.bind({"c": "timestamp_ntz"})
    assert selection.bind({"c": "timestamp"}).sql() is not None


@pytest.fixture
def far_from_utc() -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = "America/New_York"
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.parametrize("kind", ["timestamp", "timestamp_ntz", "date"])
def test_the_time_zone_of_the_machine_selects_no_other_rows(world: World, far_from_utc: None, kind: str) -> None:
    days = ["2024-03-10", "2024-03-30"]
    zone = ZoneInfo("Europe/Berlin")
    expected = {n for n, moment in enumerate(MOMENTS) if moment.astimezone(zone).date().isoformat() in days}
    world.agree(slice_of(definition("daily", "Europe/Berlin"), days, time_column(kind, "Europe/Berlin")), expected)


def test_keys_are_in_order_of_time_whatever_order_they_come_in() -> None:
    months = dg.MonthlyPartitionsDefinition("01/2024", end_date="01/2025", fmt="%m/%Y")
    assert slice_of(months, ["11/2024", "02/2024", "11/2024"], "c").keys == ("02/2024", "11/2024")


def test_static_keys_are_sorted_because_dagster_hands_them_in_set_order() -> None:
    partitions = dg.StaticPartitionsDefinition(["nl", "be", "de"])
    assert slice_of(partitions, ["nl", "de", "be"], "c").keys == ("be", "de", "nl")


@pytest.mark.parametrize(
    ("selection", "label"),
    [
        (WHOLE, "table"),
        (slice_of(dg.StaticPartitionsDefinition(["a", "b"]), [], "c"), "nothing"),
        (slice_of(dg.StaticPartitionsDefinition(["a", "b"]), ["b"], "c"), "b"),
        (slice_of(dg.StaticPartitionsDefinition(["a", "b"]), ["b", "a"], "c"), "a...b (2)"),
    ],
)
def test_a_slice_has_a_name_for_people(selection: Slice, label: str) -> None:
    assert selection.label == label


def test_every_dimension_needs_a_column() -> None:
    static = dg.StaticPartitionsDefinition(["a"])
    grid = dg.MultiPartitionsDefinition({"x": static, "y": static})
    with pytest.raises(SliceError, match=r"partition dimensions \['x', 'y'\] need one column each"):
        slice_of(grid, ["a|a"], "c")
    with pytest.raises(SliceError, match=r"one partition dimension needs one column, got \['x', 'y'\]"):
        slice_of(static, ["a"], {"x": "c", "y": "d"})


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        (None, "string", None),
        ("", "string", None),
        ("a b", "string", "a b"),
        ("-7", "long", -7),
        ("2024-02-29", "date", dt.date(2024, 2, 29)),
        ("2024-02-29 01:02:03", "timestamp_ntz", dt.datetime(2024, 2, 29, 1, 2, 3)),
        ("2024-02-29 01:02:03.5", "timestamp_ntz", dt.datetime(2024, 2, 29, 1, 2, 3, 500000)),
        ("2024-02-29T01:02:03.000000Z", "timestamp", dt.datetime(2024, 2, 29, 1, 2, 3, tzinfo=dt.UTC)),
        ("2024-02-29 01:02:03", "timestamp", dt.datetime(2024, 2, 29, 1, 2, 3, tzinfo=dt.UTC)),
        ("2024-02-29 01:02:03+00:00", "timestamp", dt.datetime(2024, 2, 29, 1, 2, 3, tzinfo=dt.UTC)),
    ],
)
def test_partition_values_of_the_log_are_read_as_python_values(text: str | None, kind: str, value: Any) -> None:
    assert parse_file_value(text, kind) == value
