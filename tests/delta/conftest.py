"""A lake on local disk and the same on an S3 server, written to without Dagster."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import dagster as dg
import obstore
import pyarrow as pa
import pytest
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster_deltalake.config import ClientConfig, LocalConfig
from deltalake import DeltaTable, Schema

from medallion.delta.frames import frame_types, stage_writer, streamed
from medallion.delta.io_manager import LakeIOManager
from medallion.delta.publish import Published, Write, publish
from medallion.delta.staging import Stage, write_stage
from medallion.delta.store import DeltaStore, data_files
from medallion.engine.resource import SparkEngine
from medallion.engine.storage import storage_environment
from medallion.partitions import WHOLE, Dimension, Slice
from medallion.planning import PlannedRun, plan_run
from tests.fixtures.s3_process import s3_process
from tests.fixtures.s3_server import S3, s3_config

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from medallion.delta.publish import WriteMode

ORDERS = ("silver", "shop", "orders")


class Lake:
    """One table, `silver/shop/orders`, and short ways to write and look at it."""

    path = ORDERS

    def __init__(self, store: DeltaStore, spark: Callable[[], SparkSession] | None = None) -> None:
        self.store = store
        self.spark = spark

    def stage(self, frame: Any, partition_by: Sequence[str] = ()) -> Stage:
        return write_stage(self.store, self.path, partition_by, stage_writer(frame, self.store))

    def write(
        self,
        frame: Any,
        selection: Slice = WHOLE,
        partition_by: Sequence[str] = (),
        mode: WriteMode = "replace",
        schema: Schema | None = None,
        **options: Any,
    ) -> Published:
        frame = streamed(frame)
        names = list(frame_types(frame))
        stage = self.stage(frame, partition_by)
        staged = {item.name: item for item in stage.schema.fields}
        schema = schema or Schema([staged[name] for name in names])
        published = publish(Write(stage, selection, schema, tuple(partition_by), mode, spark=self.spark, **options))
        stage.discard(keep=published.kept)
        return published

    @property
    def table(self) -> DeltaTable:
        return self.store.open(self.path)

    @property
    def version(self) -> int:
        return self.table.version()

    def rows(self) -> list[dict[str, Any]]:
        return sorted(pa.table(self.table.scan()).to_pylist(), key=repr)

    def pairs(self) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in self.rows()]

    def files(self, selection: Slice = WHOLE) -> set[str]:
        return {file.path for file in data_files(self.table, selection)}

    def objects(self, suffix: str = "") -> dict[str, int]:
        """Size by path, relative to the table's folder, of what is stored there, stages included."""
        folder = "/".join(self.path) + "/"
        found = [entry for batch in obstore.list(self.store.objects, folder) for entry in batch]
        return {entry["path"].removeprefix(folder): entry["size"] for entry in found if entry["path"].endswith(suffix)}

    @property
    def commit(self) -> dict[str, Any]:
        return self.table.history(1)[0]


def days(*keys: str, column: str = "day") -> Slice:
    """The slice of some keys of a string column."""
    return Slice(((Dimension(column, keys),),), keys=keys)


def rows(*pairs: tuple[str | None, int | None]) -> pa.Table:
    """Rows of (day, amount)."""
    schema = pa.schema([("day", pa.string()), ("amount", pa.int64())])
    return pa.Table.from_pylist([{"day": day, "amount": amount} for day, amount in pairs], schema=schema)


@pytest.fixture(scope="session")
def running_s3() -> Iterator[S3]:
    """An S3 server in its own process; the bucket has a new name each time, as the engine keeps a client per bucket."""
    with s3_process(f"lake-{uuid.uuid4().hex[:8]}") as server:
        yield server


@pytest.fixture(scope="module")
def s3(running_s3: S3) -> Iterator[S3]:
    """The server, known to the engine for as long as a module's tests run."""
    with storage_environment(running_s3.storage_options):
        yield running_s3


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> DeltaStore:
    """An empty root, once on local disk and once on S3."""
    if request.param == "local":
        return DeltaStore(str(tmp_path / "lake"))
    server: S3 = request.getfixturevalue("s3")
    return DeltaStore(f"s3://{server.bucket}/{tmp_path.name}", server.storage_options)


@pytest.fixture
def lake(store: DeltaStore) -> Lake:
    """A lake with one table; every test that asks for it runs on local disk and on S3."""
    return Lake(store)


@pytest.fixture
def lake_at() -> Callable[[DeltaStore], Lake]:
    """A lake with one table at a root of the test's own."""
    return Lake


@pytest.fixture(name="days")
def days_fixture() -> Any:
    return days


@pytest.fixture(name="rows")
def rows_fixture() -> Any:
    return rows


class Runs:
    """Materializes assets into a lake with the IO manager, each run on one instance."""

    def __init__(self, store: DeltaStore) -> None:
        self.store = store
        options = store.storage_options
        engine = SparkEngine(storage_options=dict(options))
        manager = LakeIOManager(
            root_uri=store.root,
            storage_options=s3_config(options) if options else LocalConfig(),
            client_options=ClientConfig(allow_http=True) if options else None,
            engine=engine,
        )
        self.resources = {"io_manager": manager, "engine": engine}
        self.instance = dg.DagsterInstance.ephemeral()

    def __call__(
        self,
        *assets: Any,
        key: str | None = None,
        span: tuple[str, str] | None = None,
        keys: Sequence[str] = (),
        **options: Any,
    ) -> Any:
        """Run assets over one key, over Dagster's range of two keys, or over any keys of the first asset."""
        tags = PlannedRun((), *span).tags if span else self.tags(assets[0], keys) if keys else {}
        return dg.materialize(
            list(assets), instance=self.instance, resources=self.resources, partition_key=key, tags=tags, **options
        )

    def tags(self, asset: Any, keys: Sequence[str]) -> dict[str, str]:
        table: Any = SimpleNamespace(key=asset.key, label=asset.key.to_user_string(), partitions=asset.partitions_def)
        with partition_loading_context(dynamic_partitions_store=self.instance):
            (planned,) = plan_run([table], keys)
        return planned.tags

    def rows(self, *path: str, by: str | None = None) -> list[dict[str, Any]]:
        found = pa.table(self.store.open(path).scan()).to_pylist()
        return sorted(found, key=(lambda row: row[by]) if by else repr)

    def files(self, *path: str) -> set[str]:
        return {file.path for file in data_files(self.store.open(path), WHOLE)}

    def metadata(self, result: Any, asset: str) -> dict[str, Any]:
        events = [e for e in result.get_asset_materialization_events() if e.asset_key.to_user_string() == asset]
        return {key: value.value for key, value in events[-1].materialization.metadata.items()}


@pytest.fixture
def run(tmp_path: Path) -> Runs:
    return Runs(DeltaStore(str(tmp_path / "lake")))


@pytest.fixture
def run_anywhere(store: DeltaStore) -> Runs:
    """Runs into a lake on local disk, and into one on S3."""
    return Runs(store)
