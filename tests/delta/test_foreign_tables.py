"""Tables that another Delta writer made: read correctly by every path, or refused by name."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError, TableNotFoundError

from medallion.delta.change_feed import PROPERTIES, read_changes
from medallion.delta.diff import diff
from medallion.delta.frames import load, read_spark
from medallion.delta.history import commits
from medallion.delta.protocol import UnsupportedTableError
from medallion.delta.publish import row_count
from medallion.delta.restore import plan_restore
from medallion.delta.store import DeltaStore
from medallion.engine.resource import SparkEngine
from medallion.engine.snapshot import read_snapshot
from medallion.partitions import WHOLE

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PATH = ("silver", "shop", "orders")
ROWS = [("a", 1), ("a", 2), ("b", 3)]


@pytest.fixture(scope="module")
def spark() -> SparkSession:
    return SparkEngine().spark_session


@pytest.fixture
def store(tmp_path: Path) -> DeltaStore:
    """On local disk only: what a table demands is in its log, wherever that is."""
    return DeltaStore(str(tmp_path))


def make(
    store: DeltaStore,
    protocol: Mapping[str, Any],
    configuration: Mapping[str, str] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """A table of `ROWS` whose first commit is rewritten by hand; returns the folder of its log."""
    table = pa.table({"day": [day for day, _ in ROWS], "amount": pa.array([n for _, n in ROWS], pa.int64())})
    write_deltalake(store.uri(PATH), table, partition_by=["day"])
    log = Path(store.uri(PATH), "_delta_log")
    first = log / f"{0:020}.json"
    actions = [json.loads(line) for line in first.read_text().splitlines()]
    for action in actions:
        if "protocol" in action:
            action["protocol"] = protocol
        if "metaData" in action:
            action["metaData"]["configuration"].update(configuration or {})
            schema = json.loads(action["metaData"]["schemaString"])
            schema["fields"][1]["metadata"].update(metadata or {})
            action["metaData"]["schemaString"] = json.dumps(schema)
    first.write_text("\n".join(json.dumps(action) for action in actions) + "\n")
    return log


def features(readers: Sequence[str] = (), writers: Sequence[str] = ()) -> dict[str, Any]:
    return {
        "minReaderVersion": 3,
        "minWriterVersion": 7,
        "readerFeatures": list(readers),
        "writerFeatures": [*readers, *writers],
    }


def from_sail(spark: SparkSession, store: DeltaStore, **options: str) -> None:
    """A table of ten rows in two partitions, written by the engine with its own Delta options."""
    frame = spark.sql("select id, cast(id % 2 as string) day, id * 10 amount from range(10)").coalesce(1)
    frame.write.format("delta").options(**options).partitionBy("day").save(store.uri(PATH))


def read_by_every_path(spark: SparkSession, store: DeltaStore, selection: Any = WHOLE) -> dict[str, list[Any]]:
    """Amounts as each reader of the platform sees them."""
    columns = ["amount"]
    table = store.open(PATH)
    arrow = load(pa.Table, table, selection, columns)["amount"].to_pylist()
    polars = load(pl.DataFrame, table, selection, columns)["amount"].to_list()
    engine = [row.amount for row in read_spark(spark, store, PATH, selection, columns).collect()]
    return {"arrow": sorted(arrow), "polars": sorted(polars), "spark": sorted(engine)}


def everywhere(amounts: list[int]) -> dict[str, list[int]]:
    return dict.fromkeys(("arrow", "polars", "spark"), amounts)


class TestDeletionVectors:
    @pytest.fixture(autouse=True)
    def table(self, spark: SparkSession, store: DeltaStore) -> None:
        from_sail(spark, store, **{"delta.enableDeletionVectors": "true"})
        spark.sql(f"delete from delta.`{store.uri(PATH)}` where id < 3").collect()

    def test_deleted_rows_are_read_by_no_path(self, spark: SparkSession, store: DeltaStore, days: Any) -> None:
        assert pa.RecordBatchReader.from_stream(store.open(PATH).deletion_vectors()).read_all().num_rows == 2
        assert read_by_every_path(spark, store) == everywhere([30, 40, 50, 60, 70, 80, 90])
        assert read_by_every_path(spark, store, days("0")) == everywhere([40, 60, 80])

    def test_deleted_rows_are_not_counted(self, store: DeltaStore, days: Any) -> None:
        assert row_count(store, PATH) == 7
        assert row_count(store, PATH, days("0")) == 3
        assert store.open(PATH).count() == 10  # delta-rs's own count, which is why ours is another one
        newest, oldest = commits(store, PATH, 5)[0], commits(store, PATH, 5)[-1]
        assert (newest.rows, newest.rows_removed, newest.rows_added) == (7, 10, 7)
        assert oldest.rows in (0, 10)

    def test_a_comparison_sees_rows_that_a_vector_hides(self, store: DeltaStore) -> None:
        before = max(commit.version for commit in commits(store, PATH, 5) if commit.rows == 10)

        found = diff(store, PATH, store.open(PATH, before), store.open(PATH), key=["id"])

        assert (found.added, found.removed, found.changed) == (0, 3, 0)

    @pytest.mark.parametrize("mode", ["replace", "append", "merge"])
    def test_writing_is_refused_because_deleted_rows_would_come_back(self, store: DeltaStore, mode: Any) -> None:
        refused(store, "deletionVectors", mode=mode)

    def test_a_restore_is_refused(self, store: DeltaStore) -> None:
        with pytest.raises(UnsupportedTableError, match="deletionVectors"):
            plan_restore(store, PATH, 0)


def test_a_table_that_may_have_deletion_vectors_and_has_none_is_written_to(
    spark: SparkSession, store: DeltaStore, days: Any
) -> None:
    make(store, features(["deletionVectors"]), {"delta.enableDeletionVectors": "true"})
    written(store, pa.table({"day": ["a"], "amount": [7]}), days("a"))

    assert read_by_every_path(spark, store) == everywhere([3, 7])


class TestColumnMapping:
    @pytest.fixture(autouse=True, params=["name", "id"])
    def table(self, spark: SparkSession, store: DeltaStore, request: pytest.FixtureRequest) -> None:
        from_sail(spark, store, columnMappingMode=request.param)

    def test_columns_are_read_by_their_logical_names(self, spark: SparkSession, store: DeltaStore, days: Any) -> None:
        assert read_by_every_path(spark, store) == everywhere([n * 10 for n in range(10)])
        assert read_by_every_path(spark, store, days("1")) == everywhere([10, 30, 50, 70, 90])
        assert row_count(store, PATH, days("1")) == 5

    @pytest.mark.parametrize("mode", ["replace", "append", "merge"])
    def test_writing_is_refused_because_files_would_have_other_names(self, store: DeltaStore, mode: Any) -> None:
        refused(store, "columnMapping", mode=mode)

    def test_versions_are_compared_by_logical_names(self, spark: SparkSession, store: DeltaStore) -> None:
        before = store.open(PATH)
        more = spark.sql("select 10L id, '0' day, 100L amount")
        more.write.format("delta").mode("append").save(store.uri(PATH))

        found = diff(store, PATH, before, store.open(PATH), key=["id"])

        assert (found.added, found.removed, found.changed) == (1, 0, 0)
        assert found.sample[0].after == {"id": 10, "day": "0", "amount": 100}

    def test_files_are_not_read_without_the_log(self, spark: SparkSession, store: DeltaStore) -> None:
        with pytest.raises(UnsupportedTableError, match="columnMapping"):
            read_snapshot(spark, store.uri(PATH), store.open(PATH).version())


def test_column_mapping_is_noticed_in_a_protocol_that_names_no_features(spark: SparkSession, store: DeltaStore) -> None:
    make(store, {"minReaderVersion": 2, "minWriterVersion": 5}, {"delta.columnMapping.mode": "none"})

    with pytest.raises(UnsupportedTableError, match="columnMapping"):
        read_snapshot(spark, store.uri(PATH), 0)


@pytest.mark.parametrize(
    ("protocol", "named"),
    [
        (features(["typeWidening"]), "typeWidening"),
        (features(["vacuumProtocolCheck"]), "vacuumProtocolCheck"),
        (features(["madeUp"]), "madeUp"),
        (features(["catalogManaged"]), "catalog-managed"),
        ({"minReaderVersion": 4, "minWriterVersion": 8}, "reader version 4"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_reader_feature_that_is_not_known_is_refused_by_name(
    spark: SparkSession, store: DeltaStore, protocol: dict[str, Any], named: str
) -> None:
    make(store, protocol)

    for read in (lambda: store.open(PATH), lambda: read_spark(spark, store, PATH), lambda: row_count(store, PATH)):
        with pytest.raises(UnsupportedTableError, match=f"silver/shop/orders .*{named}.*DROP FEATURE"):
            read()


def test_variant_columns_are_refused_and_the_mere_feature_is_not(store: DeltaStore) -> None:
    log = make(store, features(["variantType"]))
    assert store.open(PATH).version() == 0
    first = log / f"{0:020}.json"
    first.write_text(first.read_text().replace('\\"type\\": \\"long\\"', '\\"type\\": \\"variant\\"'))

    with pytest.raises((UnsupportedTableError, DeltaError), match="variant"):
        store.open(PATH)


@pytest.mark.parametrize(
    ("protocol", "configuration", "metadata", "named"),
    [
        (features(writers=["rowTracking"]), {}, {}, "rowTracking"),
        (features(writers=["domainMetadata"]), {}, {}, "domainMetadata"),
        (features(writers=["clustering", "domainMetadata"]), {}, {}, "clustering"),
        (features(writers=["icebergCompatV2"]), {}, {}, "icebergCompatV2"),
        (features(writers=["inCommitTimestamp"]), {}, {}, "inCommitTimestamp"),
        (features(writers=["allowColumnDefaults"]), {}, {}, "allowColumnDefaults"),
        (features(writers=["identityColumns"]), {}, {}, "identityColumns"),
        (features(writers=["madeUp"]), {}, {}, "madeUp"),
        ({"minReaderVersion": 2, "minWriterVersion": 6}, {}, {}, "identityColumns"),
        ({"minReaderVersion": 1, "minWriterVersion": 3}, {"delta.constraints.few": "amount < 5"}, {}, "few"),
        (features(writers=["checkConstraints"]), {"delta.constraints.few": "amount < 5"}, {}, "checkConstraints"),
        ({"minReaderVersion": 1, "minWriterVersion": 2}, {}, {"delta.invariants": '{"expression": {}}'}, "invariants"),
        ({"minReaderVersion": 1, "minWriterVersion": 4}, {}, {"delta.generationExpression": "1"}, "generatedColumns"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_writer_rule_that_would_not_be_kept_is_refused_by_name(
    store: DeltaStore, protocol: dict[str, Any], configuration: dict[str, str], metadata: dict[str, str], named: str
) -> None:
    make(store, protocol, configuration, metadata)

    refused(store, named)


def test_features_that_no_column_uses_do_not_stop_a_write(spark: SparkSession, store: DeltaStore, days: Any) -> None:
    unused = ["appendOnly", "invariants", "checkConstraints", "generatedColumns", "changeDataFeed"]
    make(store, features(["columnMapping", "deletionVectors", "timestampNtz", "v2Checkpoint"], unused))
    written(store, pa.table({"day": ["a"], "amount": [7]}), days("a"))

    assert read_by_every_path(spark, store) == everywhere([3, 7])


def test_a_table_with_a_change_feed_is_read_by_every_path(spark: SparkSession, store: DeltaStore, days: Any) -> None:
    make(store, {"minReaderVersion": 1, "minWriterVersion": 4}, PROPERTIES)
    written(store, pa.table({"day": ["a"], "amount": [7]}), days("a"))

    assert read_by_every_path(spark, store) == everywhere([3, 7])
    changed = read_changes(store, PATH, 1).read_all().to_pylist()
    told = sorted((row["_change_type"], row["amount"]) for row in changed)
    assert told == [("delete", 1), ("delete", 2), ("insert", 7)]


def test_an_append_only_table_is_appended_to_and_not_replaced(store: DeltaStore, days: Any) -> None:
    make(store, {"minReaderVersion": 1, "minWriterVersion": 2}, {"delta.appendOnly": "true"})

    refused(store, "append-only")
    refused(store, "append-only", mode="merge")
    written(store, pa.table({"day": ["a"], "amount": [7]}), mode="append")
    assert row_count(store, PATH) == 4


@pytest.mark.parametrize("sidecar", [False, True])
def test_a_v2_checkpoint_is_read_and_written_after(
    spark: SparkSession, store: DeltaStore, days: Any, sidecar: bool
) -> None:
    log = make(store, features(["v2Checkpoint"]), {"delta.checkpointPolicy": "v2"})
    write_deltalake(store.uri(PATH), pa.table({"day": ["c"], "amount": [4]}), mode="append")
    actions = [json.loads(line) for file in sorted(log.glob("*.json")) for line in file.read_text().splitlines()]
    kept = [{"checkpointMetadata": {"version": 1}}, *[a for a in actions if "protocol" in a or "metaData" in a]]
    if sidecar:
        kept.append({"sidecar": _sidecar(store, log)})
    else:
        kept += [action for action in actions if "add" in action]
    (log / f"{1:020}.checkpoint.{uuid.uuid4()}.json").write_text("\n".join(map(json.dumps, kept)) + "\n")
    (log / f"{0:020}.json").unlink()

    assert read_by_every_path(spark, store) == everywhere([1, 2, 3, 4])
    written(store, pa.table({"day": ["a"], "amount": [7]}), days("a"))
    assert read_by_every_path(spark, store) == everywhere([3, 4, 7])


def _sidecar(store: DeltaStore, log: Path) -> dict[str, Any]:
    """The files of a classic checkpoint as a sidecar; the classic one is removed."""
    DeltaTable(store.uri(PATH)).create_checkpoint()
    classic = log / f"{1:020}.checkpoint.parquet"
    table = pq.read_table(classic)
    file = log / "_sidecars" / f"{uuid.uuid4()}.parquet"
    file.parent.mkdir()
    pq.write_table(table.filter(table["add"].is_valid()).select(["add"]), file)
    classic.unlink()
    (log / "_last_checkpoint").unlink()
    return {"path": file.name, "sizeInBytes": file.stat().st_size, "modificationTime": 1}


def test_a_log_of_a_checkpoint_alone_is_a_table(spark: SparkSession, store: DeltaStore) -> None:
    log = make(store, {"minReaderVersion": 1, "minWriterVersion": 2})
    DeltaTable(store.uri(PATH)).create_checkpoint()
    (log / f"{0:020}.json").unlink()

    assert read_by_every_path(spark, store) == everywhere([1, 2, 3])
    assert row_count(store, PATH) == 3
    assert commits(store, PATH, 5) == []


def test_a_log_that_lost_its_beginning_is_an_error_and_no_empty_place_for_a_table(store: DeltaStore) -> None:
    log = make(store, {"minReaderVersion": 1, "minWriterVersion": 2})
    write_deltalake(store.uri(PATH), pa.table({"day": ["c"], "amount": [4]}), mode="append")
    (log / f"{0:020}.json").unlink()
    files = sorted(log.iterdir())

    with pytest.raises(DeltaError) as raised:
        written(store, pa.table({"day": ["c"], "amount": [5]}))
    assert not isinstance(raised.value, TableNotFoundError)
    assert sorted(log.iterdir()) == files


def test_files_without_statistics_are_read_and_replaced_but_not_counted_as_empty(
    spark: SparkSession, store: DeltaStore, days: Any
) -> None:
    log = make(store, {"minReaderVersion": 1, "minWriterVersion": 2})
    first = log / f"{0:020}.json"
    actions = [json.loads(line) for line in first.read_text().splitlines()]
    for action in actions:
        action.get("add", {}).pop("stats", None)
    first.write_text("\n".join(map(json.dumps, actions)) + "\n")

    assert read_by_every_path(spark, store) == everywhere([1, 2, 3])
    assert commits(store, PATH, 1)[0].rows is None
    with pytest.raises(UnsupportedTableError, match="no row count in its table's log"):
        row_count(store, PATH)
    written(store, pa.table({"day": ["a", "b"], "amount": [7, 8]}), days("a", "b"))
    assert row_count(store, PATH) == 2


def test_a_shallow_clone_is_read_by_its_absolute_paths_and_refused_by_the_engine(
    spark: SparkSession, store: DeltaStore, days: Any
) -> None:
    log = make(store, {"minReaderVersion": 1, "minWriterVersion": 2})
    source = Path(store.uri(PATH)).rename(store.uri(("source",)))
    log.mkdir(parents=True)
    actions = [json.loads(line) for line in (source / "_delta_log" / f"{0:020}.json").read_text().splitlines()]
    for action in actions:
        if "add" in action:
            action["add"]["path"] = f"{source.as_uri()}/{action['add']['path']}"
    (log / f"{0:020}.json").write_text("\n".join(map(json.dumps, actions)) + "\n")

    assert sorted(load(pa.Table, store.open(PATH), WHOLE, ["amount"])["amount"].to_pylist()) == [1, 2, 3]
    with pytest.raises(UnsupportedTableError, match="silver/shop/orders is a shallow clone"):
        read_spark(spark, store, PATH)
    written(store, pa.table({"day": ["a"], "amount": [7]}), days("a"))
    assert sorted(load(pa.Table, store.open(PATH), WHOLE, ["amount"])["amount"].to_pylist()) == [3, 7]
    assert len(list(source.rglob("*.parquet"))) == 2


def written(store: DeltaStore, frame: pa.Table, selection: Any = WHOLE, **options: Any) -> None:
    """Write through the platform, partitioned by day."""
    from medallion.delta.frames import stage_writer
    from medallion.delta.publish import Write, publish
    from medallion.delta.staging import write_stage

    stage = write_stage(store, PATH, ["day"], stage_writer(frame, store))
    staged = {item.name: item for item in stage.schema.fields}
    from deltalake import Schema

    names = [item.name for item in store.open(PATH).schema().fields]
    schema = Schema([staged[name] for name in names if name in staged])
    try:
        published = publish(Write(stage, selection, schema, ("day",), **options))
    except BaseException:
        stage.discard()
        raise
    stage.discard(keep=published.kept)


def refused(store: DeltaStore, named: str, mode: Any = "replace") -> None:
    """Writing names the table and the feature, and changes nothing."""
    before = store.open(PATH)
    files = {path for path in Path(store.uri(PATH)).rglob("*") if path.is_file()}
    frame = pa.table({name: ["0"] if name == "day" else [7] for name in ("id", "day", "amount")})
    frame = frame.select([item.name for item in before.schema().fields])
    keys = ("amount",) if mode == "merge" else ()
    with pytest.raises(UnsupportedTableError, match=rf"silver/shop/orders .*{named}.*nothing was written"):
        written(store, frame, mode=mode, keys=keys)
    assert store.open(PATH).version() == before.version()
    assert {path for path in Path(store.uri(PATH)).rglob("*") if path.is_file()} == files
