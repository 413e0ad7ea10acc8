"""What a run writes: exactly the selected partitions, whatever they are, in one commit and with one event each."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from medallion.graph import build_assets
from medallion.partitions import SliceError
from medallion.planning import plan_run
from medallion.run_partitions import run_keys
from tests.fixtures.shop import Shop, bronze_orders, gold_revenue, silver_orders

pytestmark = pytest.mark.slow

DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-08")
COUNTRIES = dg.StaticPartitionsDefinition(["nl", "be", "fr", "de"])
GRID = dg.MultiPartitionsDefinition({"date": DAYS, "country": COUNTRIES})
AWKWARD = [
    *["a b", " ", "l'eau", 'say "x"', "100%", "%20", "ü/日", "a,b", "a=b", "a...b", "[1]", "..", "~", "\\", "x" * 200],
    *["__HIVE_DEFAULT_PARTITION__", "NULL", "a\nb", "☃" * 20],
]


def daily(name: str = "events", zone: str = "UTC", kind: pa.DataType | None = None) -> Any:
    """A row per selected day: its key, or its first instant, and the run that wrote it."""
    partitions = dg.DailyPartitionsDefinition("2024-03-28", end_date="2024-04-03", timezone=zone)
    return timed(name, partitions, kind)


def timed(name: str, partitions: dg.TimeWindowPartitionsDefinition, kind: pa.DataType | None) -> Any:
    @dg.asset(name=name, partitions_def=partitions, metadata={"partition_expr": "at"})
    def events(context: dg.AssetExecutionContext) -> pa.Table:
        keys = run_keys(context.get_step_execution_context())
        starts = [partitions.time_window_for_partition_key(key).start for key in keys]
        column = pa.array(keys) if kind is None else pa.array(_stored(starts, kind), kind)
        return pa.table({"at": column, "key": keys, "run": [context.run.run_id] * len(keys)})

    return events


def _stored(starts: list[dt.datetime], kind: pa.DataType) -> list[Any]:
    if pa.types.is_date(kind):
        return [start.date() for start in starts]
    # In UTC: once pyspark.pandas is imported, pyarrow takes the wall time of any other zone for UTC.
    return [start.astimezone(dt.UTC) if kind.tz else start.replace(tzinfo=None) for start in starts]


def grid() -> Any:
    @dg.asset(partitions_def=GRID, metadata={"partition_expr": {"date": "day", "country": "country"}})
    def sales(context: dg.AssetExecutionContext) -> pa.Table:
        keys = run_keys(context.get_step_execution_context())
        cells = [GRID.get_partition_key_from_str(key).keys_by_dimension for key in keys]
        days = pa.array([dt.date.fromisoformat(cell["date"]) for cell in cells])
        countries = [cell["country"] for cell in cells]
        return pa.table({"day": days, "country": countries, "key": keys, "run": [context.run.run_id] * len(keys)})

    return sales


def shops(run: Any, keys: list[str]) -> Any:
    run.instance.add_dynamic_partitions("shops", keys)

    @dg.asset(partitions_def=dg.DynamicPartitionsDefinition(name="shops"), metadata={"partition_expr": "shop"})
    def sales(context: dg.AssetExecutionContext) -> pa.Table:
        found = run_keys(context.get_step_execution_context())
        return pa.table({"shop": found, "key": found, "run": [context.run.run_id] * len(found)})

    return sales


def runs_by_key(run: Any, asset: Any) -> dict[str, str]:
    rows = run.rows(*asset.key.path)
    found = {row["key"]: row["run"] for row in rows}
    assert len(found) == len(rows)
    return found


def check_selection(run: Any, asset: Any, everything: list[str], selected: list[str]) -> None:
    """Write everything, then a selection again: its rows are new, the others' are not, in one commit."""
    first = run(asset, keys=everything)
    version = run.store.open(asset.key.path).version()
    second = run(asset, keys=selected)
    expected = {**dict.fromkeys(everything, first.run_id), **dict.fromkeys(selected, second.run_id)}
    assert runs_by_key(run, asset) == expected
    assert run.store.open(asset.key.path).version() == version + 1
    events = second.get_asset_materialization_events()
    assert sorted(event.partition for event in events) == sorted(selected)
    commit = run.store.open(asset.key.path).history(1)[0]
    assert sorted(json.loads(commit["dagster/partitions"])) == sorted(selected)


COLUMNS = {
    "string": None,
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
    "timestamp_ntz": pa.timestamp("us"),
}


@pytest.mark.parametrize("kind", list(COLUMNS))
@pytest.mark.parametrize(
    "days",
    [["03-31"], ["03-30", "03-31", "04-01"], ["03-28", "03-30", "03-31", "04-02"]],
    ids=["one day", "a range", "days with holes"],
)
def test_days_are_replaced_and_the_others_stay(run: Any, kind: str, days: list[str]) -> None:
    asset = daily(zone="Europe/Berlin", kind=COLUMNS[kind])
    keys = list(asset.partitions_def.get_partition_keys())
    check_selection(run, asset, keys, [f"2024-{day}" for day in days])


def test_days_with_holes_are_one_commit_on_every_storage(run_anywhere: Any) -> None:
    asset = daily(kind=pa.date32())
    run_anywhere(asset, keys=asset.partitions_def.get_partition_keys())
    before = run_anywhere.files("events")
    run_anywhere(asset, keys=["2024-03-28", "2024-03-30", "2024-04-01", "2024-04-02"])
    assert len(run_anywhere.files("events") & before) == 2
    assert run_anywhere.store.open(("events",)).version() == 2


def test_integer_keys_with_holes(run: Any) -> None:
    stores = dg.StaticPartitionsDefinition([str(n) for n in range(12)])

    @dg.asset(partitions_def=stores, metadata={"partition_expr": "store"})
    def sales(context: dg.AssetExecutionContext) -> pa.Table:
        keys = run_keys(context.get_step_execution_context())
        return pa.table({"store": [int(key) for key in keys], "key": keys, "run": [context.run.run_id] * len(keys)})

    check_selection(run, sales, stores.get_partition_keys(), ["0", "1", "10", "5"])


@pytest.mark.parametrize(
    "cells",
    [
        ["be|2024-01-02"],
        ["be|2024-01-02", "be|2024-01-03", "fr|2024-01-02", "fr|2024-01-03"],
        ["nl|2024-01-01", "nl|2024-01-02", "be|2024-01-02", "de|2024-01-03"],
        ["nl|2024-01-01", "nl|2024-01-03", "de|2024-01-01", "de|2024-01-03"],
    ],
    ids=["a cell", "a rectangle", "a staircase", "four corners"],
)
def test_cells_of_a_grid_are_replaced_and_the_others_stay(run: Any, cells: list[str]) -> None:
    everything = [f"{country}|2024-01-0{day}" for country in COUNTRIES.get_partition_keys() for day in (1, 2, 3)]
    check_selection(run, grid(), everything, cells)


def test_cells_that_are_no_rectangle_are_one_commit_on_every_storage(run_anywhere: Any) -> None:
    cells = ["nl|2024-01-01", "be|2024-01-02", "de|2024-01-03"]
    run_anywhere(grid(), span=("nl|2024-01-01", "de|2024-01-03"))
    before = run_anywhere.files("sales")
    result = run_anywhere(grid(), keys=cells)
    assert {key for key, by in runs_by_key(run_anywhere, grid()).items() if by == result.run_id} == set(cells)
    assert len(before - run_anywhere.files("sales")) == 3
    assert run_anywhere.store.open(("sales",)).version() == 2


def test_dynamic_keys_one_by_one(run: Any) -> None:
    some = ["l'eau", "a,b", "%20", "ü/日"]
    asset = shops(run, some)
    last = {key: run(asset, key=key).run_id for key in [*some, *some]}
    assert runs_by_key(run, asset) == last


def test_dynamic_keys_with_any_characters_at_once_with_holes(run_anywhere: Any) -> None:
    check_selection(run_anywhere, shops(run_anywhere, AWKWARD), AWKWARD, AWKWARD[::2])


def test_a_dynamic_key_that_was_added_later_joins_its_elders(run: Any) -> None:
    asset = shops(run, ["b", "d"])
    run(asset, keys=["b", "d"])
    run.instance.add_dynamic_partitions("shops", ["a"])
    check_selection(run, asset, ["b", "d", "a"], ["a", "b"])


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Europe/Berlin", "Asia/Kolkata"])
def test_a_day_of_a_time_zone_is_its_own_23_24_or_25_hours(run: Any, zone: str) -> None:
    days = dg.DailyPartitionsDefinition("2024-03-09", end_date="2024-11-05", timezone=zone)

    @dg.asset(partitions_def=days, metadata={"partition_expr": "at"})
    def events(context: dg.AssetExecutionContext) -> pa.Table:
        windows = [days.time_window_for_partition_key(key) for key in run_keys(context.get_step_execution_context())]
        ends = [edge.astimezone(dt.UTC) for w in windows for edge in (w.start, w.end - dt.timedelta(microseconds=1))]
        return pa.table({"at": pa.array(ends, pa.timestamp("us", "UTC"))})

    changes = ["2024-03-09", "2024-03-10", "2024-03-30", "2024-03-31", "2024-10-26", "2024-10-27", "2024-11-03"]
    run(events, keys=changes)
    run(events, keys=["2024-03-10", "2024-03-31", "2024-10-27"])
    assert len(run.rows("events")) == 2 * len(changes)


def hours_of(day: str, zone: str, kind: pa.DataType) -> tuple[Any, list[str]]:
    partitions = dg.HourlyPartitionsDefinition("2024-03-30-00:00", end_date="2024-10-29-00:00", timezone=zone)
    keys = [key for key in partitions.get_partition_keys() if key.startswith(day)]
    return timed("events", partitions, kind), keys


@pytest.mark.parametrize(("day", "hours"), [("2024-03-31", 23), ("2024-10-27", 25)])
def test_the_hours_of_a_day_on_which_clocks_change(run: Any, day: str, hours: int) -> None:
    asset, keys = hours_of(day, "Europe/Berlin", pa.timestamp("us", "UTC"))
    assert len(keys) == hours
    check_selection(run, asset, keys, [keys[1], keys[3], keys[-1]])


@pytest.mark.parametrize("position", [2, 3])
def test_one_of_the_two_hours_that_the_clock_shows_alike_keeps_the_other(run: Any, position: int) -> None:
    asset, keys = hours_of("2024-10-27", "Europe/Berlin", pa.timestamp("us", "UTC"))
    first = run(asset, keys=keys).run_id
    second = run(asset, key=keys[position]).run_id
    assert runs_by_key(run, asset) == {**dict.fromkeys(keys, first), keys[position]: second}


def test_the_hour_that_comes_twice_is_refused_in_a_column_without_time_zone(run: Any) -> None:
    asset, keys = hours_of("2024-10-27", "Europe/Berlin", pa.timestamp("us"))
    run(asset, keys=keys[:2])
    with pytest.raises(SliceError, match="read 2024-10-27 02:00:00 twice; use a timestamp column"):
        run(asset, keys=[keys[2]])
    assert sorted(runs_by_key(run, asset)) == keys[:2]


def test_hours_across_midnight(run: Any) -> None:
    asset, _ = hours_of("2024-05-01", "Europe/Berlin", pa.timestamp("us", "UTC"))
    hours = [f"2024-05-01-{n}:00" for n in (21, 22, 23)] + [f"2024-05-02-0{n}:00" for n in (0, 1, 2)]
    run(asset, span=(hours[0], hours[-1]))
    check_selection(run, asset, hours, hours[2:4])


def test_weeks_that_begin_on_any_day_and_cross_a_year(run: Any) -> None:
    weeks = dg.WeeklyPartitionsDefinition("2023-12-01", end_date="2024-02-01", day_offset=3, timezone="Europe/Berlin")
    keys = list(weeks.get_partition_keys())
    check_selection(run, timed("events", weeks, pa.date32()), keys, [keys[0], keys[3], keys[4]])


@pytest.mark.parametrize("mode", ["append", "merge"])
def test_other_modes_touch_the_selected_days_alone(run_anywhere: Any, mode: str) -> None:
    @dg.asset(
        partitions_def=DAYS,
        metadata={"partition_expr": "day", "medallion/mode": mode, "medallion/keys": ["day"]},
    )
    def events(context: dg.AssetExecutionContext) -> pa.Table:
        keys = run_keys(context.get_step_execution_context())
        return pa.table({"day": keys, "run": [context.run.run_id] * len(keys)})

    first = run_anywhere(events, keys=DAYS.get_partition_keys()).run_id
    some = ["2024-01-01", "2024-01-03", "2024-01-04", "2024-01-07"]
    second = run_anywhere(events, keys=some).run_id
    expected = [(day, second) for day in some]
    expected += [(day, first) for day in DAYS.get_partition_keys() if mode == "append" or day not in some]
    assert sorted((row["day"], row["run"]) for row in run_anywhere.rows("events")) == sorted(expected)


def test_a_row_of_a_hole_is_refused_and_nothing_is_written(run: Any) -> None:
    asset = daily()
    run(asset, keys=["2024-03-28", "2024-03-29", "2024-03-30"])

    @dg.asset(name="events", partitions_def=asset.partitions_def, metadata={"partition_expr": "at"})
    def careless(context: dg.AssetExecutionContext) -> pa.Table:
        keys = list(context.partition_keys)  # Dagster's range, holes included
        return pa.table({"at": keys, "key": keys, "run": [context.run.run_id] * len(keys)})

    before = run.rows("events")
    with pytest.raises(
        SliceError, match=r"outside of slice 2024-03-28\.\.\.2024-03-30 \(2\): at=2024-03-29 \(1 rows\)"
    ):
        run(careless, keys=["2024-03-28", "2024-03-30"])
    assert run.rows("events") == before


def test_a_partitioned_asset_without_a_column_is_refused(run: Any) -> None:
    @dg.asset(partitions_def=DAYS)
    def events() -> pa.Table:
        return pa.table({"day": ["2024-01-01"]})

    with pytest.raises(SliceError, match=r"events is partitioned but does not say on which column.*partition_expr"):
        run(events, key="2024-01-01")


def test_audited_tables_are_made_for_months_with_holes(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    tables = [bronze_orders(), silver_orders(), gold_revenue()]
    assets = build_assets(tables)
    months = ["2024-01", "2024-02", "2024-03", "2024-04"]
    for month in months:
        shop.land(month, f"{month},1.00,{month}-05 00:00:00,", f"bad {month},cheap,{month}-05 00:00:00,")
    assert shop.run(*tables, span=(months[0], months[-1])).success
    for month in months:
        shop.land(month, f"new {month},2.00,{month}-05 00:00:00,", f"worse {month},cheap,{month}-05 00:00:00,")

    (planned,) = plan_run(tables, ["2024-01", "2024-02", "2024-04"])
    result = dg.materialize(assets, instance=shop.instance, resources=shop.resources, tags=planned.tags)
    assert result.success
    made = [e.partition for e in result.get_asset_materialization_events() if e.asset_key == tables[1].key]
    assert sorted(made) == ["2024-01", "2024-02", "2024-04"]
    assert [row["order_id"] for row in shop.rows("silver/shop/orders")] == [
        *["2024-03", "new 2024-01", "new 2024-02", "new 2024-04"]
    ]
    assert shop.version("silver/shop/orders") == 2
    silver = [(row["slice"], row["raw"]) for row in shop.rows("quarantine/shop/orders") if row["layer"] == "silver"]
    assert {(month, "worse" in raw) for month, raw in silver} == {
        *[("2024-01", True), ("2024-02", True), ("2024-03", False), ("2024-04", True)]
    }
    assert sum(row["revenue"] for row in shop.rows("gold/shop/revenue")) == 7
