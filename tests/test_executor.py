"""The executor that settings ask for, and what is left of a run that is given up between two of its events."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator

from medallion.executor import run_executor
from medallion.instance.heartbeat import last_beat
from medallion.instance.home import open_instance
from medallion.settings import Settings


@pytest.mark.parametrize(
    ("engine", "executor"), [("sail", "in_process"), ("sc://127.0.0.1:15002", "in_process"), ("sc://h", "multiprocess")]
)
def test_the_setting_names_the_executor(engine: str, executor: str) -> None:
    assert run_executor(Settings.model_validate({"engine": engine, "executor": executor})).name == executor


@pytest.mark.parametrize("engine", ["sail", "spark", "spark://master:7077"])
def test_steps_in_processes_of_their_own_need_an_engine_that_they_can_share(engine: str) -> None:
    with pytest.raises(ValueError, match="set MEDALLION_ENGINE to the Spark Connect server"):
        Settings.model_validate({"engine": engine, "executor": "multiprocess"})


def test_a_run_that_is_given_up_between_two_events_keeps_no_pool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DAGSTER_HOME", "DAGSTER_EVENT_BATCH_SIZE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)

    @dg.asset(pool="table")
    def table() -> None: ...

    definitions = dg.Definitions([table], executor=run_executor(Settings()))
    job = definitions.resolve_implicit_global_asset_job_def()
    with open_instance(tmp_path) as instance:
        run = instance.create_run_for_job(job)
        events = execute_run_iterator(InMemoryJob(job), run, instance)
        while next(events).event_type is not dg.DagsterEventType.STEP_START:
            pass
        assert instance.event_log_storage.get_concurrency_info("table").active_slot_count == 1
        events.throw(SystemExit)  # type: ignore[attr-defined]
        assert list(events) == []
        assert instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.FAILURE  # type: ignore[union-attr]
        assert instance.event_log_storage.get_concurrency_info("table").active_slot_count == 0
        assert last_beat(instance, run.run_id) is not None
