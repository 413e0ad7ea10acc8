"""The IO manager inside runs: frames of every library, modes, metadata, crashes, S3."""

from typing import Any

import dagster as dg
import polars as pl
import pyarrow as pa
import pytest
from dagster_deltalake.config import ClientConfig, LocalConfig, S3Config
from pyspark.sql import DataFrame

from medallion.delta import io_manager as module
from medallion.delta.frames import UnsupportedFrameError
from medallion.delta.io_manager import LakeIOManager, delta_options
from medallion.delta.store import DeltaStore
from medallion.engine.frames import from_arrow
from medallion.engine.resource import SparkEngine
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
        assert commit["dagster/partitions"] == '["2024-01-02", "2024-01-03"]'

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
