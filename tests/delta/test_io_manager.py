"""The IO manager inside runs: selections of every kind, frames of every library, modes, metadata, crashes, S3."""

import datetime as dt
from typing import Any

import dagster as dg
import polars as pl
import pyarrow as pa
import pytest
from dagster_deltalake.config import ClientConfig, LocalConfig, S3Config
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from medallion.delta import io_manager as module
from medallion.delta.frames import UnsupportedFrameError
from medallion.delta.io_manager import LakeIOManager, delta_options
from medallion.delta.store import DeltaStore, TableMissingError
from medallion.engine.frames import from_arrow
from medallion.engine.resource import SparkEngine
from medallion.partitions import SliceError
from tests.fixtures.s3_server import s3_config

DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-08")
MONTHS = dg.MonthlyPartitionsDefinition("2024-01-01", end_date="2024-04-01")
COUNTRIES = dg.StaticPartitionsDefinition(["be", "de", "fr", "nl"])
GRID = dg.MultiPartitionsDefinition({"date": DAYS, "country": COUNTRIES})
BY_DAY = {"partition_expr": "day"}


def daily(name: str = "events", **options: Any) -> Any:
    @dg.asset(name=name, partitions_def=DAYS, metadata={**BY_DAY, **options.pop("metadata", {})}, **options)
    def events(context: dg.AssetExecutionContext) -> pa.Table:
        keys = list(context.partition_keys)
        return pa.table({"day": keys, "n": list(range(len(keys))), "run": [context.run.run_id] * len(keys)})

    return events


class TestSelections:
    def test_dynamic_partitions_with_any_characters(self, run: Any) -> None:
        shops = dg.DynamicPartitionsDefinition(name="shops")
        keys = ["a b", "l'eau", "100%", "ü/日", 'say "x"', "a,b", "a=b"]
        run.instance.add_dynamic_partitions("shops", keys)

        @dg.asset(partitions_def=shops, metadata={"partition_expr": "shop"})
        def sales(context: dg.AssetExecutionContext) -> pa.Table:
            return pa.table({"shop": list(context.partition_keys), "run": [context.run.run_id]})

        last = {}
        for key in [*keys, *keys[:3]]:
            last[key] = run(sales, key=key).run_id
        assert {row["shop"]: row["run"] for row in run.rows("sales")} == last
        assert len(run.rows("sales")) == len(keys)

    def test_one_cell_and_one_band_of_a_grid(self, run: Any) -> None:
        @dg.asset(partitions_def=GRID, metadata={"partition_expr": {"date": "day", "country": "country"}})
        def sales(context: dg.AssetExecutionContext) -> pa.Table:
            keys = [key.keys_by_dimension for key in context.partition_keys]
            return pa.table(
                {
                    "day": pa.array([dt.date.fromisoformat(key["date"]) for key in keys]),
                    "country": [key["country"] for key in keys],
                    "run": [context.run.run_id] * len(keys),
                }
            )

        first = run(sales, span=("be|2024-01-01", "nl|2024-01-03")).run_id
        cell = run(sales, key=dg.MultiPartitionKey({"date": "2024-01-02", "country": "de"})).run_id
        band = run(sales, span=("de|2024-01-03", "fr|2024-01-03")).run_id
        expected = {
            (dt.date(2024, 1, day), country): first for day in (1, 2, 3) for country in ("be", "de", "fr", "nl")
        }
        expected[dt.date(2024, 1, 2), "de"] = cell
        expected |= {(dt.date(2024, 1, 3), country): band for country in ("de", "fr")}
        assert {(row["day"], row["country"]): row["run"] for row in run.rows("sales")} == expected

    def test_a_grid_is_read_by_day(self, run: Any) -> None:
        @dg.asset(partitions_def=GRID, metadata={"partition_expr": {"date": "day", "country": "country"}})
        def sales(context: dg.AssetExecutionContext) -> pa.Table:
            keys = [key.keys_by_dimension for key in context.partition_keys]
            days, countries = [key["date"] for key in keys], [key["country"] for key in keys]
            return pa.table({"day": days, "country": countries, "n": [1] * len(keys)})

        @dg.asset(partitions_def=DAYS, metadata=BY_DAY)
        def totals(sales: pa.Table) -> pa.Table:
            counts = sales.group_by("day").aggregate([("n", "sum")])
            return pa.table({"day": counts["day"], "n": counts["n_sum"]})

        run(sales, span=("be|2024-01-01", "nl|2024-01-03"))
        run(sales, totals, key="2024-01-02", selection=[totals])
        assert run.rows("totals") == [{"day": "2024-01-02", "n": 4}]
        run(sales, totals, span=("2024-01-01", "2024-01-03"), selection=[totals])
        assert [row["n"] for row in run.rows("totals")] == [4, 4, 4]

    @pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Europe/Berlin", "Asia/Kolkata"])
    def test_a_day_of_a_time_zone_is_its_own_24_or_23_hours(self, run: Any, zone: str) -> None:
        days = dg.DailyPartitionsDefinition("2024-03-09", end_date="2024-04-02", timezone=zone)
        spring = "2024-03-31" if zone == "Europe/Berlin" else "2024-03-10"

        @dg.asset(partitions_def=days, metadata={"partition_expr": "at"})
        def events(context: dg.AssetExecutionContext) -> pa.Table:
            window = context.partition_time_window
            last = window.end - dt.timedelta(microseconds=1)
            return pa.table({"at": pa.array([window.start, last], pa.timestamp("us", "UTC"))})

        start = dt.date.fromisoformat(spring)
        for day in (start - dt.timedelta(days=1), start, start + dt.timedelta(days=1), start):
            if day >= dt.date(2024, 3, 9):
                assert run(events, key=day.isoformat()).success
        assert len(run.rows("events")) == 6

    def test_a_month_of_days_is_read_by_a_monthly_table(self, run: Any) -> None:
        days = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-03-01")

        @dg.asset(partitions_def=days, metadata={"partition_expr": "day"})
        def events(context: dg.AssetExecutionContext) -> pa.Table:
            keys = list(context.partition_keys)
            return pa.table({"day": pa.array([dt.date.fromisoformat(k) for k in keys]), "n": [1] * len(keys)})

        @dg.asset(partitions_def=MONTHS, metadata={"partition_expr": "month"})
        def monthly(context: dg.AssetExecutionContext, events: pa.Table) -> pa.Table:
            month = dt.date.fromisoformat(context.partition_key)
            return pa.table({"month": pa.array([month]), "n": [events.num_rows]})

        run(events, span=("2024-01-20", "2024-02-29"))
        run(events, monthly, key="2024-02-01", selection=[monthly])
        assert run.rows("monthly") == [{"month": dt.date(2024, 2, 1), "n": 29}]

    def test_a_consumer_without_partitions_reads_the_whole_table_in_a_partitioned_run_too(self, run: Any) -> None:
        @dg.asset
        def report(events: pa.Table) -> pa.Table:
            return events.select(["day", "n"])

        events = daily()
        run(events, span=("2024-01-01", "2024-01-03"))
        run(events, report, key="2024-01-04")
        assert [row["day"][-1] for row in run.rows("report")] == ["1", "2", "3", "4"]

    def test_rows_of_keys_that_are_no_longer_defined_are_read_by_a_whole_table_consumer(self, run: Any) -> None:
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

    def test_a_partitioned_asset_without_a_column_is_refused(self, run: Any) -> None:
        @dg.asset(partitions_def=DAYS)
        def events() -> pa.Table:
            return pa.table({"day": ["2024-01-01"]})

        with pytest.raises(SliceError, match=r"events is partitioned but does not say on which column.*partition_expr"):
            run(events, key="2024-01-01")

    def test_the_first_day_of_a_table_that_reads_its_own_yesterday(self, run: Any) -> None:
        yesterday = dg.AssetIn(partition_mapping=dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1))

        @dg.asset(partitions_def=DAYS, metadata=BY_DAY, ins={"running": yesterday})
        def running(context: dg.AssetExecutionContext, running: pa.Table) -> pa.Table:
            before = running["total"].to_pylist() if running.num_rows else [0]
            return pa.table({"day": [context.partition_key], "total": [before[0] + 1]})

        for key in ("2024-01-01", "2024-01-02", "2024-01-03", "2024-01-01"):
            run(running, key=key)
        assert [row["total"] for row in run.rows("running")] == [1, 2, 3]

    def test_the_first_day_of_a_spark_table_has_the_declared_columns(self, run: Any) -> None:
        from deltalake import Schema

        yesterday = dg.AssetIn(partition_mapping=dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1))
        declared = Schema.from_arrow(pa.schema([("day", pa.string()), ("total", pa.int64())])).to_json()

        @dg.asset(partitions_def=DAYS, metadata={**BY_DAY, "medallion/schema": declared}, ins={"running": yesterday})
        def running(context: dg.AssetExecutionContext, running: DataFrame) -> DataFrame:
            total = F.coalesce(F.sum("total"), F.lit(0)).cast("long") + 1
            return running.agg(total.alias("total")).withColumn("day", F.lit(context.partition_key))

        for key in ("2024-01-01", "2024-01-02"):
            run(running, key=key)
        assert [row["total"] for row in run.rows("running")] == [1, 2]

    def test_an_input_that_was_never_written_names_itself(self, run: Any) -> None:
        @dg.asset
        def report(events: pa.Table) -> pa.Table:
            return events

        with pytest.raises(TableMissingError, match=r"events has no data.*medallion run -s \+events"):
            run(daily(), report, selection=[report])

    def test_a_mapping_is_followed_by_a_consumer_without_partitions(self, run: Any) -> None:
        @dg.asset(ins={"events": dg.AssetIn(partition_mapping=dg.LastPartitionMapping())})
        def latest(events: pa.Table) -> pa.Table:
            return events.select(["day"])

        events = daily()
        run(events, span=("2024-01-05", "2024-01-07"))
        run(events, latest, selection=[latest])
        assert run.rows("latest") == [{"day": "2024-01-07"}]


class TestFrames:
    @pytest.mark.parametrize("kind", ["table", "reader", "polars", "lazy", "spark"])
    def test_a_frame_goes_out_and_comes_in_as_its_own_kind(self, run: Any, spark: Any, kind: str) -> None:
        kinds: dict[str, Any] = {
            **{"table": pa.Table, "reader": pa.RecordBatchReader, "polars": pl.DataFrame, "lazy": pl.LazyFrame},
            "spark": DataFrame,
        }
        annotation = kinds[kind]
        table = pa.table({"day": ["2024-01-02"], "n": [7]})
        made = {
            "table": lambda: table,
            "reader": table.to_reader,
            "polars": lambda: pl.DataFrame(table),
            "lazy": lambda: pl.DataFrame(table).lazy(),
            "spark": lambda: from_arrow(spark, table),
        }[kind]
        seen = []

        def produce() -> Any:
            return made()

        def consume(events: Any) -> Any:
            seen.append(events)
            return events

        produce.__annotations__ = {"return": annotation}
        consume.__annotations__ = {"events": annotation, "return": annotation}
        events = dg.asset(name="events", partitions_def=DAYS, metadata=BY_DAY)(produce)
        copy = dg.asset(name="copy", partitions_def=DAYS, metadata=BY_DAY)(consume)
        run(events, copy, key="2024-01-02")
        assert isinstance(seen[0], annotation)
        assert run.rows("copy") == [{"day": "2024-01-02", "n": 7}]
        assert [item.name for item in run.store.open(("copy",)).schema().fields] == ["day", "n"]

    def test_only_the_declared_columns_are_read(self, run: Any) -> None:
        seen = []

        @dg.asset(ins={"events": dg.AssetIn(metadata={"columns": ["n"]})})
        def arrow(events: pa.Table) -> pa.Table:
            seen.append(events.column_names)
            return events

        @dg.asset(ins={"events": dg.AssetIn(metadata={"columns": ["n"]})})
        def spark_too(events: DataFrame) -> DataFrame:
            seen.append(events.columns)
            return events

        events = daily()
        run(events, key="2024-01-01")
        run(events, arrow, spark_too, selection=[arrow, spark_too])
        assert seen == [["n"], ["n"]]

    def test_what_is_no_frame_is_refused(self, run: Any) -> None:
        @dg.asset
        def events() -> Any:
            return [1, 2]

        with pytest.raises(UnsupportedFrameError, match=r"builtins.list can't be stored; return a Spark DataFrame"):
            run(events)


class TestModes:
    def test_an_append_happens_once_per_run_and_partition(self, run: Any) -> None:
        events = daily(metadata={"medallion/mode": "append"})
        run(events, span=("2024-01-01", "2024-01-02"))
        run(events, key="2024-01-02")
        assert [row["day"] for row in run.rows("events", by="day")] == ["2024-01-01", "2024-01-02", "2024-01-02"]

    def test_a_retry_after_a_crash_between_commit_and_event_appends_nothing(
        self, run: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        report, crashes = module.output_metadata, []

        def crash_once(*args: Any) -> Any:
            if not crashes:
                crashes.append(1)
                raise ConnectionError("lost between commit and event")
            return report(*args)

        monkeypatch.setattr(module, "output_metadata", crash_once)
        events = daily(metadata={"medallion/mode": "append"}, retry_policy=dg.RetryPolicy(max_retries=1))
        result = run(events, key="2024-01-01")
        assert result.success
        assert len(run.rows("events")) == 1
        assert run.metadata(result, "events")["delta/operation"] == "skipped"

    def test_a_merge_needs_no_more_than_mode_and_keys(self, run: Any) -> None:
        events = daily(metadata={"medallion/mode": "merge", "medallion/keys": ["day"]})
        run(events, span=("2024-01-01", "2024-01-03"))
        run(events, key="2024-01-02")
        assert len(run.rows("events")) == 3

    def test_additive_evolution_adds_a_column(self, run: Any) -> None:
        @dg.asset(metadata={"medallion/mode": "append", "medallion/schema_evolution": "additive"})
        def events(context: dg.AssetExecutionContext) -> pa.Table:
            wide = run.store.find(("events",)) is not None
            return pa.table({"n": [1], **({"note": ["x"]} if wide else {})})

        run(events)
        run(events)
        assert sorted(run.rows("events"), key=repr) == [{"n": 1, "note": "x"}, {"n": 1, "note": None}]

    def test_physical_partitions_can_be_declared(self, run: Any) -> None:
        @dg.asset(metadata={"medallion/partition_by": ["country"]})
        def events() -> pa.Table:
            return pa.table({"country": ["be", "de"], "n": [1, 2]})

        run(events)
        run(events)
        assert run.store.open(("events",)).metadata().partition_columns == ["country"]
        assert len(run.rows("events")) == 2


class TestMetadata:
    def test_a_partition_reports_itself_and_the_table(self, run: Any) -> None:
        events = daily()
        run(events, span=("2024-01-01", "2024-01-03"))
        found = run.metadata(run(events, key="2024-01-02"), "events")
        assert (found["dagster/row_count"], found["dagster/partition_row_count"], found["rows_written"]) == (3, 1, 1)
        assert {column.name: column.type for column in found["dagster/column_schema"].columns} == {
            **{"day": "string", "n": "bigint"},
            "run": "string",
        }
        assert found["dagster/uri"] == run.store.uri(("events",))
        assert found["dagster/table_name"] == "events"
        assert found["delta/version"] == run.store.open(("events",)).version()
        assert {"delta/operation", "delta/files", "seconds", "rows_per_second", "dagster/size_bytes"} <= set(found)

    def test_the_commit_names_run_asset_and_partitions(self, run: Any) -> None:
        result = run(daily(key_prefix=["silver"]), span=("2024-01-02", "2024-01-03"))
        commit = run.store.open(("silver", "events")).history(1)[0]
        assert commit["dagster/run_id"] == result.run_id
        assert commit["dagster/asset_key"] == "silver/events"
        assert commit["dagster/partitions"] == "2024-01-02,2024-01-03"

    def test_a_failed_write_reports_no_materialization(self, run: Any) -> None:
        @dg.asset(partitions_def=DAYS, metadata=BY_DAY)
        def events() -> pa.Table:
            return pa.table({"day": ["2024-01-07"], "n": [1]})

        result = run(events, key="2024-01-01", raise_on_error=False)
        assert not result.success
        assert result.get_asset_materialization_events() == []


class TestOptions:
    def test_local_storage_needs_none(self) -> None:
        assert delta_options(LocalConfig()) == {}

    def test_s3_options_are_named_as_delta_rs_does(self) -> None:
        config = S3Config(access_key_id="id", secret_access_key="key", region="eu-1", endpoint="http://h:1", token="t")
        assert delta_options(config, ClientConfig(allow_http=True)) == {
            "AWS_ACCESS_KEY_ID": "id",
            "AWS_SECRET_ACCESS_KEY": "key",
            "AWS_REGION": "eu-1",
            "AWS_ENDPOINT_URL": "http://h:1",
            "AWS_SESSION_TOKEN": "t",
            "AWS_ALLOW_HTTP": "true",
        }


class TestObjectStore:
    @pytest.fixture
    def resources(self, s3: Any) -> dict[str, Any]:
        options = s3.storage_options
        manager = LakeIOManager(
            root_uri=f"s3://{s3.bucket}/lake",
            storage_options=s3_config(options),
            client_options=ClientConfig(allow_http=True),
            engine=SparkEngine(storage_options=options),
        )
        return {"io_manager": manager}

    @pytest.mark.parametrize(("mode", "rows"), [("replace", 3), ("append", 4), ("merge", 3)])
    def test_modes(self, run: Any, s3: Any, resources: Any, mode: str, rows: int) -> None:
        run.resources = resources
        events = daily(mode, metadata={"medallion/mode": mode, "medallion/keys": ["day"]})
        assert run(events, span=("2024-01-01", "2024-01-03")).success
        assert run(events, key="2024-01-02").success
        store = DeltaStore(f"s3://{s3.bucket}/lake", s3.storage_options)
        assert store.open((mode,)).count() == rows
        assert (mode,) in store.tables()

    def test_spark_frames_with_awkward_partition_values(self, run: Any, s3: Any, resources: Any) -> None:
        shops = dg.StaticPartitionsDefinition(["a b", "100%", "ü"])

        @dg.asset(partitions_def=shops, metadata={"partition_expr": "shop"})
        def sales(context: dg.AssetExecutionContext) -> DataFrame:
            session = resources["io_manager"].engine.spark_session
            return from_arrow(session, pa.table({"shop": list(context.partition_keys), "n": [1]}))

        @dg.asset
        def report(sales: DataFrame) -> DataFrame:
            return sales

        run.resources = resources
        for key in ("a b", "100%", "ü", "100%"):
            run(sales, key=key)
        run(sales, report, selection=[report])
        found = pa.table(DeltaStore(f"s3://{s3.bucket}/lake", s3.storage_options).open(("report",)).scan())
        assert sorted(found["shop"].to_pylist()) == ["100%", "a b", "ü"]
