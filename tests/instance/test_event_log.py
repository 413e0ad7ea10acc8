"""The pooled event log stores what the stock one stores, whole batches at once, beside other processes."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluation,
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.events import (
    AssetMaterializationPlannedData,
    DagsterEvent,
    DagsterEventBatchMetadata,
    DagsterEventType,
    EngineEventData,
    StepMaterializationData,
)
from dagster._core.events.log import EventLogEntry
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.test_utils import environ

from medallion.instance import event_log
from medallion.instance.event_log import PooledSqliteEventLogStorage

WRITTEN = {"id", "create_timestamp", "migration_completed"}
MONTHS = dg.MonthlyPartitionsDefinition(start_date="2024-01", end_date="2024-07", fmt="%Y-%m")
RANGE = {"dagster/asset_partition_range_start": "2024-02", "dagster/asset_partition_range_end": "2024-05"}
POOLED = {"module": "medallion.instance.event_log", "class": "PooledSqliteEventLogStorage"}
STOCK = {"module": "dagster._core.storage.event_log", "class": "SqliteEventLogStorage"}


@pytest.fixture(scope="module")
def empty_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty_log")
    PooledSqliteEventLogStorage(str(folder)).dispose()
    return folder


@pytest.fixture
def folder(empty_log: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(empty_log, tmp_path / "log"))


@pytest.fixture
def storage(folder: Path) -> Iterator[PooledSqliteEventLogStorage]:
    opened = PooledSqliteEventLogStorage(str(folder))
    yield opened
    opened.dispose()


def entry(run_id: str, event: DagsterEvent) -> EventLogEntry:
    return EventLogEntry(
        error_info=None,
        level=10,
        user_message="",
        run_id=run_id,
        timestamp=time.time(),
        job_name="job",
        dagster_event=event,
    )


def log(run_id: str, message: str = "hello") -> EventLogEntry:
    event = DagsterEvent(
        event_type_value=DagsterEventType.ENGINE_EVENT.value,
        job_name="job",
        message=message,
        event_specific_data=EngineEventData(),
    )
    return entry(run_id, event)


def materialization(run_id: str, table: str = "orders", partition: str | None = None) -> EventLogEntry:
    event = DagsterEvent(
        event_type_value=DagsterEventType.ASSET_MATERIALIZATION.value,
        job_name="job",
        event_specific_data=StepMaterializationData(
            dg.AssetMaterialization(asset_key=["silver", table], partition=partition)
        ),
    )
    return entry(run_id, event)


def planned(run_id: str, table: str = "orders") -> EventLogEntry:
    event = DagsterEvent(
        event_type_value=DagsterEventType.ASSET_MATERIALIZATION_PLANNED.value,
        job_name="job",
        event_specific_data=AssetMaterializationPlannedData(dg.AssetKey(["silver", table])),
    )
    return entry(run_id, event)


def rows(
    folder: Path, shard: str, query: str = "select dagster_event_type, asset_key, partition from event_logs"
) -> list:
    connection = sqlite3.connect(folder / f"{shard}.db")
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def job() -> dg.JobDefinition:
    @dg.asset(
        partitions_def=MONTHS,
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=[dg.AssetCheckSpec("unique", asset="orders"), dg.AssetCheckSpec("recent", asset="orders")],
        code_version="1",
    )
    def orders() -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:
        yield dg.AssetCheckResult(check_name="unique", passed=True)
        yield dg.AssetCheckResult(check_name="recent", passed=False, severity=dg.AssetCheckSeverity.WARN)
        yield dg.MaterializeResult(metadata={"dagster/row_count": 5})

    @dg.asset(deps=[orders], partitions_def=MONTHS, backfill_policy=dg.BackfillPolicy.single_run())
    def revenue(context) -> dg.MaterializeResult:
        context.log_event(dg.AssetObservation(asset_key="orders", metadata={"seen": 1}))
        return dg.MaterializeResult(tags={"quality": "good"})

    @dg.asset
    def broken() -> None:
        raise dg.Failure("on purpose")

    definitions = dg.Definitions(assets=[orders, revenue, broken], executor=dg.in_process_executor, loggers={})
    return definitions.resolve_implicit_global_asset_job_def()


def run_job(home: Path, log_class: dict[str, str]) -> dict[str, list]:
    """Run the job in an instance with the given event log and dump the tables without ids and times."""
    home.mkdir()
    folder = home / "log"
    config = {"event_log_storage": {**log_class, "config": {"base_dir": str(folder)}}, "telemetry": {"enabled": False}}
    with (
        environ({"DAGSTER_EVENT_BATCH_SIZE": "3"}),
        dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides=config)) as instance,
    ):
        result = job().execute_in_process(instance=instance, tags=RANGE, raise_on_error=False)
    assert not result.success
    event = "dagster_event_type, step_key, asset_key, partition"
    return {
        "run": rows(folder, result.run_id, f"select {event} from event_logs order by id"),
        "index": rows(folder, "index", f"select {event} from event_logs order by id"),
        "assets": rows(
            folder,
            "index",
            "select asset_key, last_run_id is not null, json_extract(last_materialization, '$.storage_id'),"
            " last_materialization_timestamp is not null from asset_keys order by asset_key",
        ),
        "checks": rows(
            folder,
            "index",
            "select asset_key, check_name, partition, execution_status, evaluation_event_storage_id,"
            " materialization_event_storage_id, json_extract(evaluation_event, '$.dagster_event.event_type_value')"
            " from asset_check_executions order by id",
        ),
        "tags": rows(folder, "index", "select event_id, asset_key, key from asset_event_tags order by id"),
    }


def tables(folder: Path, shard: str) -> dict[str, list]:
    """All rows of all tables, without ids and the times at which the rows themselves were written."""
    connection = sqlite3.connect(folder / f"{shard}.db")
    try:
        found = {}
        for (table,) in connection.execute("select name from sqlite_master where type = 'table'").fetchall():
            columns = [name for _, name, *_ in connection.execute(f"pragma table_info({table})")]
            compared = ", ".join(f'"{name}"' for name in columns if name not in WRITTEN)
            order = "asset_key" if table == "asset_keys" else "rowid"
            found[table] = connection.execute(f"select {compared} from {table} order by {order}").fetchall()
        return found
    finally:
        connection.close()


@pytest.mark.filterwarnings("ignore")
def test_every_column_of_every_table_is_what_the_stock_storage_wrote_for_the_same_events(
    folder: Path, tmp_path: Path, empty_log: Path
) -> None:
    stock_folder, others = tmp_path / "stock" / "log", Path(shutil.copytree(empty_log, tmp_path / "singles"))
    run_job(tmp_path / "stock", STOCK)
    stock = SqliteEventLogStorage(str(stock_folder))
    (run_id,) = stock.get_all_run_ids()
    events = [record.event_log_entry for record in stock.get_records_for_run(run_id).records]
    odd = odd_events(run_id)
    for event in odd:
        stock.store_event(event)
    events += odd
    batched, single = PooledSqliteEventLogStorage(str(folder)), PooledSqliteEventLogStorage(str(others))
    for start in range(0, len(events), 7):
        batched.store_event_batch(events[start : start + 7])
    for event in events:
        single.store_event(event)
    batched.dispose()
    single.dispose()

    for shard in (run_id, "index"):
        expected = tables(stock_folder, shard)
        assert tables(folder, shard) == expected
        assert tables(others, shard) == expected
    assert len(expected["asset_check_executions"]) > 10
    assert expected["asset_event_tags"]


def odd_events(run_id: str) -> list[EventLogEntry]:
    """Events that no normal run has: a check that was not planned, one without a run, a time without microseconds."""

    def evaluation(run: str, partition: str | None, target: AssetCheckEvaluationTargetMaterializationData | None):
        found = AssetCheckEvaluation(
            asset_key=dg.AssetKey("orders"),
            check_name="reported",
            passed=partition is None,
            metadata={},
            severity=dg.AssetCheckSeverity.WARN,
            target_materialization_data=target,
            partition=partition,
        )
        event = DagsterEvent(DagsterEventType.ASSET_CHECK_EVALUATION.value, "job", event_specific_data=found)
        return entry(run, event)._replace(timestamp=1_700_000_000.0)

    target = AssetCheckEvaluationTargetMaterializationData(storage_id=3, run_id=run_id, timestamp=1_600_000_000.5)
    return [
        evaluation(run_id, None, target),
        evaluation(run_id, "2024-03", None),
        evaluation(run_id, "2024-03", target),
        evaluation("", None, None),
        log(run_id)._replace(dagster_event=None, user_message="a line that an op has logged"),
    ]


@pytest.mark.filterwarnings("ignore")
def test_a_range_run_with_checks_leaves_the_rows_that_the_stock_storage_leaves(tmp_path: Path) -> None:
    expected = run_job(tmp_path / "stock", STOCK)
    actual = run_job(tmp_path / "pooled", POOLED)

    assert actual == expected
    assert len([row for row in expected["index"] if row[0] == "ASSET_MATERIALIZATION"]) == 8
    assert expected["checks"]
    assert expected["tags"]


def test_a_batch_ends_as_the_single_events_end(folder: Path, tmp_path: Path, empty_log: Path) -> None:
    events = [planned("r1"), materialization("r1", partition="a"), planned("r1", "items"), materialization("r1")]
    other = Path(shutil.copytree(empty_log, tmp_path / "other"))
    batched, single = PooledSqliteEventLogStorage(str(folder)), SqliteEventLogStorage(str(other))
    batched.store_event_batch(events)
    for event in events:
        single.store_event(event)
    batched.dispose()

    for shard in ("r1", "index"):
        assert rows(folder, shard) == rows(other, shard)
    query = "select asset_key, last_run_id, last_materialization, last_materialization_timestamp from asset_keys"
    assert rows(folder, "index", query) == rows(other, "index", query)


def test_an_empty_batch_is_nothing(storage: PooledSqliteEventLogStorage, folder: Path) -> None:
    storage.store_event_batch([])

    assert rows(folder, "index") == []


def test_an_error_in_the_middle_of_a_batch_stores_none_of_it(
    storage: PooledSqliteEventLogStorage, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.store_event(log("r1", "before"))
    fail_once(storage, monkeypatch)
    with pytest.raises(RuntimeError, match="disk"):
        storage.store_event_batch([materialization("r1", "a"), log("r1"), materialization("r1", "b")])

    assert [row[0] for row in rows(folder, "r1")] == ["ENGINE_EVENT"]
    assert rows(folder, "index") == []
    assert rows(folder, "index", "select * from asset_keys") == []
    storage.store_event_batch([materialization("r1", "a"), materialization("r1", "b")])
    assert len(rows(folder, "index", "select * from asset_keys")) == 2


def test_the_instance_stores_a_failed_batch_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"event_log_storage": {**POOLED, "config": {"base_dir": str(tmp_path / "log")}}}
    with (
        environ({"DAGSTER_EVENT_BATCH_SIZE": "10"}),
        dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(tmp_path), overrides=config)) as instance,
    ):
        fail_once(instance.event_log_storage, monkeypatch)
        batch = [materialization("r1", "a"), materialization("r1", "b"), materialization("r1", "c")]
        for number, event in enumerate(batch):
            metadata = DagsterEventBatchMetadata("batch", is_end=number == len(batch) - 1)
            instance.handle_new_event(event, batch_metadata=metadata)

    assert [row[1] for row in rows(tmp_path / "log", "r1")] == ['["silver", "a"]', '["silver", "b"]', '["silver", "c"]']
    assert len(rows(tmp_path / "log", "index")) == 3


def fail_once(storage: PooledSqliteEventLogStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the second asset event fail after it has been inserted into both shards."""
    original, calls = storage._store_asset_event_tags, []

    def store(*arguments: object) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            raise RuntimeError("disk on fire")
        original(*arguments)

    monkeypatch.setattr(storage, "_store_asset_event_tags", store)


def test_the_stock_storage_reads_and_writes_the_same_files(storage: PooledSqliteEventLogStorage, folder: Path) -> None:
    storage.store_event_batch([materialization("r1", "a"), log("r1")])
    stock = SqliteEventLogStorage(str(folder))
    stock.store_event(materialization("r1", "b"))

    assert len(stock.get_records_for_run("r1").records) == 3
    assert len(storage.get_records_for_run("r1").records) == 3
    assert set(storage.all_asset_keys()) == {dg.AssetKey(["silver", "a"]), dg.AssetKey(["silver", "b"])}


def test_no_lock_is_held_between_calls(storage: PooledSqliteEventLogStorage, folder: Path) -> None:
    storage.store_event_batch([materialization("r1"), log("r1")])
    storage.get_records_for_run("r1", limit=1)
    storage.all_asset_keys()

    for shard in ("r1", "index"):
        busy, in_wal, moved = rows(folder, shard, "pragma wal_checkpoint(truncate)")[0]
        assert (busy, in_wal, moved) == (0, 0, 0)


def test_only_a_few_run_shards_stay_open(
    storage: PooledSqliteEventLogStorage, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log, "KEPT_RUN_SHARDS", 2)
    for number in range(4):
        storage.store_event(materialization(f"r{number}"))

    assert sorted(file.name for file in folder.glob("r*.db-wal")) == ["r2.db-wal", "r3.db-wal"]
    assert (folder / "index.db-wal").exists()
    assert len(storage.get_records_for_run("r0").records) == 1


def test_a_shard_that_was_deleted_behind_our_back_starts_anew(
    storage: PooledSqliteEventLogStorage, folder: Path
) -> None:
    storage.store_event(log("r1"))
    for file in folder.glob("r1.db*"):
        file.unlink()
    storage.store_event(log("r1", "after"))

    assert len(rows(folder, "r1")) == 1


def test_wiping_removes_every_run(storage: PooledSqliteEventLogStorage, folder: Path) -> None:
    storage.store_event_batch([materialization("r1"), log("r1")])
    storage.wipe()

    assert sorted(file.stem for file in folder.glob("*.db")) == ["index"]
    assert rows(folder, "index") == []
    storage.store_event(materialization("r1"))
    assert len(rows(folder, "r1")) == 1


def test_deleting_a_run_removes_its_events(storage: PooledSqliteEventLogStorage, folder: Path) -> None:
    storage.store_event_batch([materialization("r1"), materialization("r2")])
    storage.delete_events("r1")

    assert rows(folder, "r1") == []
    assert len(rows(folder, "index")) == 1


def test_many_threads_share_one_storage(storage: PooledSqliteEventLogStorage, folder: Path) -> None:
    def write(number: int) -> None:
        for _ in range(10):
            storage.store_event_batch([materialization(f"r{number % 2}", f"t{number}"), log(f"r{number % 2}")])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(rows(folder, "index")) == 40
    assert len(rows(folder, "r0")) == len(rows(folder, "r1")) == 40
    assert len(rows(folder, "index", "select * from asset_keys")) == 4


def test_a_watcher_sees_events_while_the_writer_keeps_its_connection(
    storage: PooledSqliteEventLogStorage, folder: Path
) -> None:
    storage.store_event(log("r1", "first"))
    reader, seen = PooledSqliteEventLogStorage(str(folder)), []
    arrived = threading.Event()

    def remember(event: EventLogEntry, _cursor: str) -> None:
        seen.append(event.get_dagster_event().message)
        if seen[-1] == "third":
            arrived.set()

    reader.watch("r1", None, remember)
    storage.store_event(log("r1", "second"))
    storage.store_event(log("r1", "third"))
    arrived.wait(10)
    reader.end_watch("r1", remember)
    reader.dispose()

    assert seen == ["first", "second", "third"]


def run_script(folder: Path, *scripts: str) -> list[int]:
    """Run scripts at the same time, each in a process of its own with a storage on `folder`; returns exit codes."""
    prelude = "import os, signal, sys, time\nfrom pathlib import Path\n"
    prelude += f"sys.path[:0] = {[str(Path(__file__).parent)]!r}\n"
    prelude += "from test_event_log import PooledSqliteEventLogStorage, log, materialization\n"
    prelude += f"storage = PooledSqliteEventLogStorage({str(folder)!r})\n"
    commands = [[sys.executable, "-c", prelude + textwrap.dedent(script)] for script in scripts]
    processes = [subprocess.Popen(command, env=dict(os.environ)) for command in commands]
    return [process.wait(60) for process in processes]


@pytest.mark.integration
def test_two_processes_write_at_the_same_time_and_lose_nothing(folder: Path) -> None:
    script = """
        for number in range(40):
            batch = [materialization(run, f"t{{number % 3}}") for run in ("{name}", "shared")]
            storage.store_event_batch(batch) if number % 2 else [storage.store_event(event) for event in batch]
    """
    codes = run_script(folder, script.format(name="a"), script.format(name="b"))

    assert codes == [0, 0]
    assert [len(rows(folder, shard)) for shard in ("a", "b", "shared", "index")] == [40, 40, 80, 160]


@pytest.mark.integration
def test_an_event_survives_a_killed_process_once_it_is_stored(folder: Path) -> None:
    codes = run_script(folder, 'storage.store_event(materialization("r1")); os.kill(os.getpid(), signal.SIGKILL)')

    assert codes == [-signal.SIGKILL]
    assert len(rows(folder, "r1")) == len(rows(folder, "index")) == 1


@pytest.mark.integration
def test_a_killed_run_keeps_a_materialization_and_the_checks_reported_before_it(folder: Path) -> None:
    script = f"""
        import dagster as dg
        from dagster._core.instance.ref import InstanceRef
        from test_event_log import POOLED

        @dg.asset(check_specs=[dg.AssetCheckSpec(name, asset="orders") for name in ("unique", "recent")])
        def orders():
            yield dg.AssetCheckResult(check_name="unique", passed=True)
            yield dg.AssetCheckResult(check_name="recent", passed=False, severity=dg.AssetCheckSeverity.WARN)
            yield dg.MaterializeResult()

        @dg.asset(deps=[orders])
        def revenue():
            os.kill(os.getpid(), signal.SIGKILL)

        log = {{**POOLED, "config": {{"base_dir": {str(folder)!r}}}}}
        config = {{"event_log_storage": log, "telemetry": {{"enabled": False}}}}
        instance = dg.DagsterInstance.from_ref(InstanceRef.from_dir({str(folder.parent)!r}, overrides=config))
        dg.materialize([orders, revenue], instance=instance)
    """
    assert run_script(folder, script) == [-signal.SIGKILL]

    (run_id,) = [file.stem for file in folder.glob("*-*.db")]
    for shard in (run_id, "index"):
        kinds = [kind for kind, *_ in rows(folder, shard)]
        assert kinds.count("ASSET_CHECK_EVALUATION") == 2
        assert kinds.count("ASSET_MATERIALIZATION") == 1
    last_of_run = rows(folder, run_id, "select dagster_event_type from event_logs order by id desc limit 1")
    assert last_of_run == [("STEP_START",)]
    executions = rows(folder, "index", "select check_name, execution_status from asset_check_executions order by id")
    assert sorted(executions) == [("recent", "FAILED"), ("unique", "SUCCEEDED")]


@pytest.mark.integration
def test_a_forked_child_opens_connections_of_its_own(folder: Path) -> None:
    script = """
        storage.store_event(materialization("r1", "parent"))
        child = os.fork()
        storage.store_event(materialization("r1", "child" if child == 0 else "after"))
        if child:
            assert os.waitpid(child, 0)[1] == 0
            assert len(storage.get_records_for_run("r1").records) == 3
    """
    assert run_script(folder, script) == [0]
    assert len(rows(folder, "index")) == 3
