"""Each way in which dagster-deltalake 0.29.27 loses rows, as a test that passes here."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from dagster_deltalake import DeltaLakeIOManager

from medallion.delta import store as storing
from medallion.delta.io_manager import LakeIOManager

DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-08")
COUNTRIES = dg.StaticPartitionsDefinition(["be", "de", "fr", "nl"])


def text(moment: dt.datetime) -> str:
    return moment.date().isoformat()


def number(moment: dt.datetime) -> int:
    return int(moment.strftime("%Y%m%d"))


def source(partitions: dg.PartitionsDefinition[Any], value: Callable[[dt.datetime], Any], kind: pa.DataType) -> Any:
    """An asset with one row per partition, whose column `at` holds the partition's start and 90 minutes later."""

    @dg.asset(partitions_def=partitions, metadata={"partition_expr": "at"}, name="events")
    def events(context: dg.AssetExecutionContext) -> pa.Table:
        starts = [partitions.time_window_for_partition_key(key).start for key in context.partition_keys]
        return pa.table({"at": pa.array([value(start) for start in starts], kind), "n": [1] * len(starts)})

    return events


def counted(run: Any) -> int:
    return len(run.rows("events"))


def test_the_io_manager_is_the_stock_one_with_its_configuration() -> None:
    assert issubclass(LakeIOManager, DeltaLakeIOManager)
    assert set(LakeIOManager.model_fields) >= set(DeltaLakeIOManager.model_fields)


def test_a_string_partition_column_keeps_the_other_days(run: Any) -> None:
    events = source(DAYS, text, pa.string())
    for key in ("2024-01-01", "2024-01-02", "2024-01-03"):
        run(events, key=key)
    assert [row["at"] for row in run.rows("events")] == ["2024-01-01", "2024-01-02", "2024-01-03"]


def test_a_timestamp_ntz_partition_column_keeps_the_other_days(run: Any) -> None:
    events = source(DAYS, lambda start: start.replace(tzinfo=None, hour=7), pa.timestamp("us"))
    for key in ("2024-01-01", "2024-01-02", "2024-01-03"):
        run(events, key=key)
    assert counted(run) == 3


def test_an_integer_partition_column_keeps_the_other_days(run: Any) -> None:
    days = dg.DailyPartitionsDefinition("20240101", end_date="20240108", fmt="%Y%m%d")
    events = source(days, number, pa.int32())
    for key in ("20240101", "20240102", "20240103"):
        run(events, key=key)
    assert [row["at"] for row in run.rows("events")] == [20240101, 20240102, 20240103]


def test_a_transient_error_while_opening_the_table_loses_nothing(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    events = source(DAYS, text, pa.string())
    run(events, key="2024-01-01")

    def unavailable(*_: Any, **__: Any) -> Any:
        raise OSError("503 slow down")

    with monkeypatch.context() as patch:
        patch.setattr(storing.DeltaStore, "find", unavailable)
        with pytest.raises(OSError, match="503"):
            run(events, key="2024-01-02")
    run(events, key="2024-01-02")
    assert counted(run) == 2


def test_a_static_range_keeps_the_keys_outside_of_it(run: Any) -> None:
    @dg.asset(partitions_def=COUNTRIES, metadata={"partition_expr": "country"})
    def events(context: dg.AssetExecutionContext) -> pa.Table:
        return pa.table(
            {"country": list(context.partition_keys), "run": [context.run_id] * len(context.partition_keys)}
        )

    first = run(events, key="be").run_id
    last = run(events, span=("de", "nl")).run_id
    assert {row["country"]: row["run"] for row in run.rows("events")} == {
        "be": first,
        "de": last,
        "fr": last,
        "nl": last,
    }


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (lambda start: start.date(), pa.date32()),
        (text, pa.string()),
        (lambda start: start, pa.timestamp("us", "UTC")),
        (lambda start: start + dt.timedelta(hours=23, minutes=59), pa.timestamp("us", "UTC")),
        (lambda start: start.replace(tzinfo=None, hour=13), pa.timestamp("us")),
    ],
    ids=["date", "string", "midnight", "late", "ntz"],
)
def test_a_range_of_days_is_written_in_one_run_and_again(run: Any, value: Any, kind: pa.DataType) -> None:
    events = source(DAYS, value, kind)
    run(events, key="2024-01-01")
    for _ in range(2):
        assert run(events, span=("2024-01-03", "2024-01-05")).success
    assert counted(run) == 4


def test_every_hour_of_a_day_is_written(run: Any) -> None:
    hours = dg.HourlyPartitionsDefinition("2024-01-01-00:00", end_date="2024-01-02-00:00")
    events = source(hours, lambda start: start + dt.timedelta(minutes=59), pa.timestamp("us", "UTC"))
    for key in ("2024-01-01-00:00", "2024-01-01-13:00", "2024-01-01-13:00", "2024-01-01-23:00"):
        run(events, key=key)
    assert counted(run) == 3


def test_every_month_is_written(run: Any) -> None:
    months = dg.MonthlyPartitionsDefinition("2024-01-01", end_date="2024-06-01")
    events = source(months, lambda start: start.date().replace(day=28), pa.date32())
    for key in ("2024-01-01", "2024-02-01", "2024-02-01", "2024-05-01"):
        run(events, key=key)
    assert counted(run) == 3


def test_a_consumer_without_partitions_reads_every_day(run: Any) -> None:
    @dg.asset
    def report(events: pa.Table) -> pa.Table:
        return events

    events = source(DAYS, text, pa.string())
    for key in ("2024-01-01", "2024-01-02", "2024-01-05"):
        run(events, key=key)
    run(events, report, selection=[report])
    assert [row["at"] for row in run.rows("report")] == ["2024-01-01", "2024-01-02", "2024-01-05"]


def test_a_window_of_three_days_is_read_whole(run: Any) -> None:
    window = dg.TimeWindowPartitionMapping(start_offset=-2, end_offset=0)

    @dg.asset(
        partitions_def=DAYS,
        metadata={"partition_expr": "day"},
        ins={"events": dg.AssetIn(partition_mapping=window)},
    )
    def rolling(context: dg.AssetExecutionContext, events: pa.Table) -> pa.Table:
        return pa.table({"day": [context.partition_key], "read": [",".join(sorted(events["at"].to_pylist()))]})

    events = source(DAYS, text, pa.string())
    run(events, span=("2024-01-01", "2024-01-05"))
    run(events, rolling, key="2024-01-04", selection=[rolling])
    assert run.rows("rolling") == [{"day": "2024-01-04", "read": "2024-01-02,2024-01-03,2024-01-04"}]


def test_all_static_partitions_are_read_at_once(run: Any) -> None:
    @dg.asset(partitions_def=COUNTRIES, metadata={"partition_expr": "country"})
    def events(context: dg.AssetExecutionContext) -> pa.Table:
        return pa.table({"country": list(context.partition_keys)})

    @dg.asset
    def report(events: pa.Table) -> pa.Table:
        return events

    run(events, span=("be", "nl"))
    run(events, report, selection=[report])
    assert [row["country"] for row in run.rows("report")] == ["be", "de", "fr", "nl"]


def test_row_count_and_size_are_reported(run: Any) -> None:
    events = source(DAYS, text, pa.string())
    run(events, key="2024-01-01")
    metadata = run.metadata(run(events, key="2024-01-02"), "events")
    assert (metadata["dagster/row_count"], metadata["dagster/partition_row_count"]) == (2, 1)
    assert metadata["dagster/size_bytes"] > 0


def test_a_partition_written_with_fewer_columns_does_not_drop_them_for_all(run: Any) -> None:
    @dg.asset(partitions_def=DAYS, metadata={"partition_expr": "day", "medallion/schema_evolution": "replace"})
    def events(context: dg.AssetExecutionContext) -> pa.Table:
        wide = context.partition_key == "2024-01-01"
        return pa.table({"day": [context.partition_key], "n": [1], **({"note": ["x"]} if wide else {})})

    run(events, key="2024-01-01")
    refused = run(events, key="2024-01-02", raise_on_error=False)
    assert not refused.success
    assert run.rows("events") == [{"day": "2024-01-01", "n": 1, "note": "x"}]


def test_a_float_is_not_cut_to_the_integer_of_the_column(run: Any) -> None:
    @dg.asset(partitions_def=DAYS, metadata={"partition_expr": "day"})
    def events(context: dg.AssetExecutionContext) -> pa.Table:
        return pa.table({"day": [context.partition_key], "n": [1 if context.partition_key < "2024-01-02" else 1.5]})

    run(events, key="2024-01-01")
    assert not run(events, key="2024-01-02", raise_on_error=False).success
    assert run.rows("events") == [{"day": "2024-01-01", "n": 1}]
