"""Runs give signs of life; one that gives none for too long is found dead, whatever the clocks say."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.launcher import WorkerStatus
from dagster._core.test_utils import create_run_for_test

from medallion.instance import heartbeat as heartbeat_module
from medallion.instance.heartbeat import heartbeat, last_beat
from medallion.instance.home import open_instance
from medallion.instance.run_launcher import WatchedRunLauncher


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    for name in ("DAGSTER_HOME", "DAGSTER_EVENT_BATCH_SIZE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    with open_instance(tmp_path) as instance:
        yield instance


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the launcher takes for the time."""
    now = [0.0]
    monkeypatch.setattr("medallion.instance.run_launcher.time.monotonic", lambda: now[0])
    return now


def beat(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    instance.run_storage.set_cursor_values({f"medallion/alive/{run.run_id}": str(time.time_ns())})


def test_a_home_has_the_launcher_and_monitoring_asks_it(instance: dg.DagsterInstance) -> None:
    assert isinstance(instance.run_launcher, WatchedRunLauncher)
    assert instance.run_launcher.supports_check_run_worker_health
    assert instance.run_monitoring_enabled


def test_a_run_is_dead_when_its_sign_of_life_stays_the_same(instance: dg.DagsterInstance, clock: list[float]) -> None:
    launcher, run = instance.run_launcher, create_run_for_test(instance)
    beat(instance, run)
    assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING
    clock[0] = 59
    assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING
    beat(instance, run)
    clock[0] = 118
    assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING
    clock[0] = 178
    health = launcher.check_run_worker_health(run)
    assert health.status is WorkerStatus.NOT_FOUND
    assert health.msg == "its process has given no sign of life for 60 s"


def test_a_run_of_another_executor_is_taken_for_alive(instance: dg.DagsterInstance, clock: list[float]) -> None:
    run = create_run_for_test(instance)
    clock[0] = 1e6
    assert instance.run_launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING


def test_a_run_beats_until_it_ends(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat_module, "BEAT_SECONDS", 0.01)
    seen: set[str | None] = set()
    with heartbeat(instance, "run"):
        while len(seen - {None}) < 3:
            seen.add(last_beat(instance, "run"))
    after = last_beat(instance, "run")
    time.sleep(0.05)
    assert last_beat(instance, "run") == after


def test_an_instance_that_can_not_be_reached_for_a_moment_does_not_end_the_run(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import OperationalError

    monkeypatch.setattr(heartbeat_module, "BEAT_SECONDS", 0.01)
    store, failures = instance.run_storage.set_cursor_values, [OperationalError("insert", {}, Exception("locked"))]

    def flaky(pairs: dict[str, str]) -> None:
        if failures:
            raise failures.pop()
        store(pairs)

    monkeypatch.setattr(instance.run_storage, "set_cursor_values", flaky)
    with heartbeat(instance, "run"):
        while last_beat(instance, "run") is None:
            time.sleep(0.01)
    assert not failures
