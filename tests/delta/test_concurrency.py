"""Eight processes write one table at once: what was acknowledged is there, and nobody ever sees half a commit."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from medallion.delta.store import DeltaStore
from medallion.instance.home import open_instance
from tests.fixtures import crash_run
from tests.fixtures.processes import processes
from tests.fixtures.s3_server import S3
from tests.fixtures.writers import LOG, PATH, compacts, diary_of, reads, torn, write, writes

_LONG = 300
WRITERS: list[tuple[Any, str]] = [
    ("append", LOG),
    ("append", LOG),
    ("replace", "own-1"),
    ("replace", "own-2"),
    ("replace", "shared"),
    ("replace", "shared"),
    ("merge", "merged"),
]
"""Mode and slice of seven writers; the eighth compacts."""


@pytest.mark.parametrize(
    ("where", "partition_by", "times"),
    [
        pytest.param("local", ("day",), 6, marks=pytest.mark.slow, id="local"),
        pytest.param("local", (), 4, marks=pytest.mark.slow, id="local-rewritten"),
        pytest.param("s3", ("day",), 3, marks=pytest.mark.slow, id="s3"),
    ],
)
def test_eight_processes_lose_and_double_nothing_and_readers_see_whole_versions(
    where: str, partition_by: tuple[str, ...], times: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    store = DeltaStore(str(tmp_path / "lake"))
    if where == "s3":
        server: S3 = request.getfixturevalue("s3")
        store = DeltaStore(f"s3://{server.bucket}/{tmp_path.name}", server.storage_options)
    context = processes()
    stop = tmp_path / "stop"
    diaries = [tmp_path / f"{number}-{mode}" for number, (mode, _) in enumerate(WRITERS)]
    reader = context.Process(target=reads, args=(store, tmp_path / "reader", stop))
    victim = context.Process(target=writes, args=(store, partition_by, tmp_path / "victim", "append", LOG, 10_000))
    write(store, partition_by, "append", LOG, "first")
    workers = [
        context.Process(target=writes, args=(store, partition_by, diary, mode, day, times))
        for diary, (mode, day) in zip(diaries, WRITERS, strict=True)
    ]
    workers.append(context.Process(target=compacts, args=(store, tmp_path / "compactor", times)))
    for process in [reader, victim, *workers]:
        process.start()
    workers[0].join(_LONG)
    victim.kill()
    for process in workers:
        process.join(_LONG)
    stop.touch()
    for process in (reader, victim):
        process.join(_LONG)

    assert [process.exitcode for process in [reader, *workers]] == [0] * (len(workers) + 1)
    assert victim.exitcode == -signal.SIGKILL
    notes = [line for diary in diaries for line in diary_of(diary)]
    assert [line for line in notes if line["what"] == "failed"] == []
    acknowledged = [line for line in notes if line["what"] == "acknowledged"]
    assert len(acknowledged) == times * len(WRITERS)

    seen = diary_of(tmp_path / "reader")
    assert seen
    assert [line for line in seen if line["faults"]] == []
    table = store.open(PATH)
    for version in range(1, table.version() + 1):
        assert list(torn(pa.table(store.open(PATH, version).scan()).to_pylist())) == []

    rows = pa.table(table.scan()).to_pylist()
    values = {day: {row["value"] for row in rows if row["day"] == day} for _, day in WRITERS}
    begun = {line["value"] for line in diary_of(tmp_path / "victim") if line["what"] == "begun"}
    survived = {line["value"] for line in diary_of(tmp_path / "victim") if line["what"] == "acknowledged"}
    appended = {line["value"] for line in acknowledged if line["day"] == LOG} | {"first"}
    assert appended | survived <= values[LOG] <= appended | begun
    for diary, (_, day) in zip(diaries, WRITERS, strict=True):
        own = [line["value"] for line in diary_of(diary) if line["what"] == "acknowledged"]
        if day != LOG and [other for _, other in WRITERS].count(day) == 1:
            assert values[day] == {own[-1]}
    commits = Counter(commit["test/value"] for commit in table.history() if "test/value" in commit)
    assert {line["value"]: commits[line["value"]] for line in acknowledged} == {
        line["value"]: 1 for line in acknowledged
    }
    assert len(commits) - 1 - len(acknowledged) in (len(survived), len(survived) + 1)


def test_two_runs_of_one_table_wait_for_each_other(tmp_path: Path) -> None:
    scene = crash_run.Scene(tmp_path, "replace", str(tmp_path / "lake"))
    scene.land(crash_run.BEFORE)
    crash_run.run(scene, "bronze/shop/orders")
    context = processes()
    runs = [context.Process(target=crash_run.run, args=(scene,)) for _ in range(2)]
    for process in runs:
        process.start()
    for process in runs:
        process.join(_LONG)
    assert [process.exitcode for process in runs] == [0, 0]

    steps = []
    with open_instance(tmp_path / "home") as instance:
        for run in instance.get_runs(limit=2):
            times = {
                kind: next(log.timestamp for log in instance.all_logs(run.run_id, of_type=kind))
                for kind in (dg.DagsterEventType.STEP_START, dg.DagsterEventType.STEP_SUCCESS)
            }
            steps.append((times[dg.DagsterEventType.STEP_START], times[dg.DagsterEventType.STEP_SUCCESS]))
    (_, first_end), (second_start, _) = sorted(steps)
    assert first_end <= second_start
