"""What a run reads: exactly the rows that its partition mappings select, however many partitions the run has."""

import datetime as dt
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from medallion.delta.store import TableMissingError
from medallion.run_partitions import run_keys

DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-02-01")
WEEK = [f"2024-01-0{day}" for day in range(1, 8)]
COUNTRIES = dg.StaticPartitionsDefinition(["be", "de", "fr", "nl"])
BY_DAY = {"partition_expr": "day"}


def window(start: int, end: int = 0, **options: Any) -> dg.AssetIn:
    return dg.AssetIn(partition_mapping=dg.TimeWindowPartitionMapping(start_offset=start, end_offset=end, **options))


def daily(partitions: Any = DAYS) -> Any:
    @dg.asset(partitions_def=partitions, metadata=BY_DAY)
    def events(context: dg.AssetExecutionContext) -> pa.Table:
        keys = run_keys(context.get_step_execution_context())
        return pa.table({"day": keys, "n": [1] * len(keys)})

    return events


def reader(asset_in: dg.AssetIn | None = None, partitions: Any = DAYS) -> tuple[Any, list[list[str]]]:
    """An asset of daily partitions that reads `events`, and the days that each of its runs saw."""
    seen: list[list[str]] = []

    @dg.asset(partitions_def=partitions, metadata=BY_DAY, ins={"events": asset_in} if asset_in else {})
    def report(context: dg.AssetExecutionContext, events: pa.Table) -> pa.Table:
        seen.append(sorted(events["day"].to_pylist()))
        return pa.table({"day": run_keys(context.get_step_execution_context())})

    return report, seen


def days(*numbers: int) -> list[str]:
    return [f"2024-01-{number:02}" for number in numbers]


@pytest.mark.parametrize(
    ("asset_in", "selected", "read"),
    [
        (None, days(3), days(3)),
        (None, days(2, 3, 6), days(2, 3, 6)),
        (window(-1, -1), days(3), days(2)),
        (window(-1, -1), days(1), []),
        (window(-1, -1), days(1, 2, 5), days(1, 4)),
        (window(-6), days(7), days(1, 2, 3, 4, 5, 6, 7)),
        (window(-6), days(2), days(1, 2)),
        (window(-1), days(2, 5, 6), days(1, 2, 4, 5, 6)),
        (window(1, 1), days(2, 5), days(3, 6)),
        (window(0, 1), days(31), days(31)),
    ],
    ids=[
        *["the day", "days with holes", "the day before", "before the first day", "the days before, with holes"],
        *["seven days", "seven days, clipped at the first", "two days each, with holes", "the days after"],
        "the day after the last",
    ],
)
def test_a_mapping_selects_the_days(
    run: Any, asset_in: dg.AssetIn | None, selected: list[str], read: list[str]
) -> None:
    report, seen = reader(asset_in)
    run(daily(), keys=[*WEEK, "2024-01-31"])
    run(report, daily(), keys=selected, selection=[report])
    assert seen == [read]


def test_days_that_do_not_exist_are_refused_by_name(run: Any) -> None:
    report, _ = reader(partitions=dg.MonthlyPartitionsDefinition("2024-01-01", end_date="2024-04-01"))
    run(daily(), keys=["2024-01-31"])
    with pytest.raises(dg.DagsterInvariantViolationError, match=r"report depends on invalid partitions .*2024-02-01"):
        run(report, daily(), key="2024-02-01", selection=[report])


def test_days_with_holes_are_read_from_every_storage(run_anywhere: Any) -> None:
    report, seen = reader()
    run_anywhere(daily(), keys=WEEK)
    run_anywhere(report, daily(), keys=days(1, 2, 7), selection=[report])
    assert seen == [days(1, 2, 7)]
    assert [row["day"] for row in run_anywhere.rows("report")] == days(1, 2, 7)


def test_an_hour_that_the_clock_shows_twice_reads_itself_alone(run: Any) -> None:
    hours = dg.HourlyPartitionsDefinition("2024-10-27-00:00", end_date="2024-10-27-05:00", timezone="Europe/Berlin")
    report, seen = reader(partitions=hours)
    run(daily(hours), keys=hours.get_partition_keys())
    for hour in ("2024-10-27-02:00", "2024-10-27-02:00+0100"):
        run(report, daily(hours), key=hour, selection=[report])
    assert seen == [["2024-10-27-02:00"], ["2024-10-27-02:00+0100"]]


def test_a_day_reads_its_hours_and_not_those_beside_midnight(run: Any) -> None:
    hours = dg.HourlyPartitionsDefinition("2024-03-30-00:00", end_date="2024-04-02-00:00", timezone="Europe/Berlin")
    dates = dg.DailyPartitionsDefinition("2024-03-30", end_date="2024-04-02", timezone="Europe/Berlin")

    @dg.asset(partitions_def=hours, metadata={"partition_expr": "at"})
    def events(context: dg.AssetExecutionContext) -> pa.Table:
        keys = run_keys(context.get_step_execution_context())
        starts = [hours.time_window_for_partition_key(key).start.astimezone(dt.UTC) for key in keys]
        return pa.table({"at": pa.array(starts, pa.timestamp("us", "UTC")), "day": keys})

    report, seen = reader(partitions=dates)
    run(events, keys=hours.get_partition_keys())
    run(report, events, key="2024-03-31", selection=[report])
    assert seen == [[key for key in hours.get_partition_keys() if key.startswith("2024-03-31")]]
    assert len(seen[0]) == 23


def test_weeks_and_months_read_their_days(run: Any) -> None:
    weeks = dg.WeeklyPartitionsDefinition("2023-12-31", end_date="2024-02-04")
    months = dg.MonthlyPartitionsDefinition("2024-01-01", end_date="2024-04-01")
    weekly, of_weeks = reader(window(0, 0, allow_nonexistent_upstream_partitions=True), partitions=weeks)
    monthly, of_months = reader(partitions=months)
    run(daily(), keys=DAYS.get_partition_keys())
    run(weekly, daily(), keys=["2023-12-31", "2024-01-14"], selection=[weekly])
    assert of_weeks == [[*days(1, 2, 3, 4, 5, 6), *days(14, 15, 16, 17, 18, 19, 20)]]
    run(monthly, daily(), key="2024-01-01", selection=[monthly])
    assert of_months == [list(DAYS.get_partition_keys())]


def test_a_grid_is_read_by_day(run: Any) -> None:
    grid = dg.MultiPartitionsDefinition({"date": DAYS, "country": COUNTRIES})

    @dg.asset(partitions_def=grid, metadata={"partition_expr": {"date": "day", "country": "country"}})
    def events(context: dg.AssetExecutionContext) -> pa.Table:
        cells = [
            grid.get_partition_key_from_str(k).keys_by_dimension for k in run_keys(context.get_step_execution_context())
        ]
        return pa.table({"day": [cell["date"] for cell in cells], "country": [cell["country"] for cell in cells]})

    report, seen = reader()
    run(events, span=("be|2024-01-01", "nl|2024-01-04"))
    run(report, events, keys=days(1, 2, 4), selection=[report])
    assert seen == [sorted(days(1, 2, 4) * 4)]


class TestWholeTables:
    def test_a_consumer_without_partitions_reads_all_in_a_partitioned_run_too(self, run_anywhere: Any) -> None:
        @dg.asset
        def report(events: pa.Table) -> pa.Table:
            return events

        run_anywhere(daily(), keys=days(1, 2, 5))
        run_anywhere(daily(), report, key="2024-01-04")
        assert [row["day"] for row in run_anywhere.rows("report")] == days(1, 2, 4, 5)
        run_anywhere(daily(), report, keys=days(1, 7))
        assert [row["day"] for row in run_anywhere.rows("report")] == days(1, 2, 4, 5, 7)

    def test_rows_of_keys_that_are_no_longer_defined_are_read_too(self, run: Any) -> None:
        shops = dg.DynamicPartitionsDefinition(name="shops")
        run.instance.add_dynamic_partitions("shops", ["a", "b"])

        @dg.asset(partitions_def=shops, metadata={"partition_expr": "shop"})
        def sales(context: dg.AssetExecutionContext) -> pa.Table:
            return pa.table({"shop": list(context.partition_keys), "n": [1]})

        @dg.asset
        def report(sales: pa.Table) -> pa.Table:
            return sales

        for key in ("a", "b"):
            run(sales, key=key)
        run.instance.delete_dynamic_partition("shops", "a")
        run(sales, report, selection=[report])
        assert len(run.rows("report")) == 2
        run(sales, report, key="b")
        assert len(run.rows("report")) == 2

    def test_a_mapping_is_followed(self, run: Any) -> None:
        @dg.asset(ins={"events": dg.AssetIn(partition_mapping=dg.LastPartitionMapping())})
        def latest(events: pa.Table) -> pa.Table:
            return events.select(["day"])

        run(daily(), keys=days(29, 30, 31))
        run(daily(), latest, selection=[latest])
        assert run.rows("latest") == [{"day": "2024-01-31"}]

    def test_an_input_that_was_never_written_names_itself(self, run: Any) -> None:
        @dg.asset
        def report(events: pa.Table) -> pa.Table:
            return events

        with pytest.raises(TableMissingError, match=r"events has no data.*medallion run -s \+events"):
            run(daily(), report, selection=[report])


class TestSelfDependencies:
    def test_the_first_day_reads_nothing_and_the_next_ones_read_the_day_before(self, run_anywhere: Any) -> None:
        running = self.running_total()
        for key in days(1, 2, 3, 1):
            run_anywhere(running, key=key)
        assert [row["total"] for row in run_anywhere.rows("running")] == [1, 2, 3]

    def test_a_range_reads_the_days_before_it_and_none_that_it_replaces(self, run: Any) -> None:
        seen: list[list[str]] = []

        @dg.asset(partitions_def=DAYS, metadata=BY_DAY, ins={"running": window(-1, -1)})
        def running(context: dg.AssetExecutionContext, running: pa.Table) -> pa.Table:
            seen.append(sorted(running["day"].to_pylist()) if running.num_rows else [])
            return pa.table({"day": run_keys(context.get_step_execution_context())})

        run(running, keys=days(1, 2))
        run(running, keys=days(2, 3, 6))
        run(running, keys=days(1, 2, 3))
        assert seen == [[], days(1), []]
        assert [row["day"] for row in run.rows("running")] == days(1, 2, 3, 6)

    def test_the_first_day_of_a_spark_table_has_the_declared_columns(self, run: Any) -> None:
        from deltalake import Schema

        declared = Schema.from_arrow(pa.schema([("day", pa.string()), ("total", pa.int64())])).to_json()

        @dg.asset(
            partitions_def=DAYS, metadata={**BY_DAY, "medallion/schema": declared}, ins={"running": window(-1, -1)}
        )
        def running(context: dg.AssetExecutionContext, running: DataFrame) -> DataFrame:
            total = F.coalesce(F.sum("total"), F.lit(0)).cast("long") + 1
            return running.agg(total.alias("total")).withColumn("day", F.lit(context.partition_key))

        for key in days(1, 2):
            run(running, key=key)
        assert [row["total"] for row in run.rows("running")] == [1, 2]

    @staticmethod
    def running_total() -> Any:
        @dg.asset(partitions_def=DAYS, metadata=BY_DAY, ins={"running": window(-1, -1)})
        def running(context: dg.AssetExecutionContext, running: pa.Table) -> pa.Table:
            before = running["total"].to_pylist() if running.num_rows else [0]
            return pa.table({"day": [context.partition_key], "total": [before[0] + 1]})

        return running
