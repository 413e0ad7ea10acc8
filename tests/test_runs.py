"""Runs in this process: lost ones are closed, living ones are left alone, errors name what is missing."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from medallion.instance.home import open_instance
from medallion.planning import plan_runs
from medallion.runs import Platform, PlatformError, close_lost_runs, execute, job_for, load_platform
from medallion.settings import Settings

sys.path.insert(0, str(Path(__file__).parent / "cli"))

from workspace import write_workspace

_LONG = 60


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("workspace")
    write_workspace(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("MEDALLION_HOME", str(folder / "home"))
        for name in [name for name in sys.modules if name.split(".")[0] in ("shop_definitions", "shop_domains")]:
            patch.delitem(sys.modules, name)
        workspace = folder / "workspace.yaml"
        yield load_platform(
            Settings(home=folder / "home", definitions="shop_definitions", domains="shop_domains", workspace=workspace)
        )
    for name in [name for name in sys.modules if name.split(".")[0] in ("shop_definitions", "shop_domains")]:
        del sys.modules[name]


def test_definitions_that_are_not_there_are_named() -> None:
    with pytest.raises(PlatformError, match=r"There is no module 'not_there' here\. Run from the repository's folder"):
        load_platform(Settings(definitions="not_there"))


def test_a_module_without_definitions_is_named() -> None:
    with pytest.raises(PlatformError, match="Module 'json' has no Dagster definitions named `defs`"):
        load_platform(Settings(definitions="json"))


def test_a_module_that_misses_another_one_keeps_its_own_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_definitions.py").write_text("import not_installed_at_all\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    with pytest.raises(ModuleNotFoundError, match="not_installed_at_all"):
        load_platform(Settings(definitions="broken_definitions"))


def test_tables_of_one_domain_run_in_its_job(platform: Platform) -> None:
    assert job_for(platform, [platform.tables["gold/shop/revenue"]]).name == "shop"


def test_without_a_job_of_the_domain_dagsters_own_runs(platform: Platform) -> None:
    from dataclasses import replace

    bare = dg.Definitions(
        assets=platform.definitions.assets, resources=platform.definitions.resources, executor=dg.in_process_executor
    )

    assert job_for(replace(platform, definitions=bare), list(platform.tables.values())).name == "__ASSET_JOB"


@pytest.mark.integration
def test_a_run_tells_its_events_and_is_stored_with_location_and_partitions(platform: Platform) -> None:
    (planned,) = plan_runs([platform.tables["bronze/shop/orders"]], ["2017-01"])

    with open_instance(platform.settings.home) as instance:
        told = list(execute(platform, instance, planned))
        run = instance.get_run_by_id(told[0][0])

    assert run is not None
    assert run.status == dg.DagsterRunStatus.FAILURE  # nothing has landed
    assert run.asset_selection == {dg.AssetKey(["bronze", "shop", "orders"])}
    assert run.tags["dagster/asset_partition_range_start"] == "2017-01"
    assert run.remote_job_origin is not None
    assert run.remote_job_origin.location_name == "shop-place"
    assert told[-1][1].event_type == dg.DagsterEventType.RUN_FAILURE
    assert not list((platform.settings.home / "running").iterdir())


@pytest.mark.integration
def test_only_a_run_after_a_killed_one_of_the_same_tables_and_partitions_is_its_re_execution(
    platform: Platform, tmp_path: Path
) -> None:
    (january,) = plan_runs([platform.tables["bronze/shop/orders"]], ["2017-01"])
    (february,) = plan_runs([platform.tables["bronze/shop/orders"]], ["2017-02"])

    with open_instance(tmp_path) as instance:

        def run(planned: Any) -> dg.DagsterRun:
            run_id = next(run_id for run_id, _ in list(execute(platform, instance, planned)))
            found = instance.get_run_by_id(run_id)
            assert found is not None
            return found

        failed = run(january)  # nothing has landed
        killed = run(january)
        instance.add_run_tags(killed.run_id, {"medallion/lost": "true"})
        other, again, later = run(february), run(january), run(january)

    assert [failed.parent_run_id, killed.parent_run_id, other.parent_run_id, later.parent_run_id] == [None] * 4
    assert (again.parent_run_id, again.root_run_id) == (killed.run_id, killed.run_id)


def _run_for_long(home: Path, run_id: str, ready: Any) -> None:
    import time

    from medallion.runs import _announced

    with _announced(home, run_id):
        ready.set()
        time.sleep(_LONG)


@pytest.mark.integration
def test_a_run_whose_process_was_killed_is_closed_and_one_that_lives_is_not(tmp_path: Path) -> None:
    @dg.op
    def nothing() -> None: ...

    @dg.job
    def idle() -> None:
        nothing()

    spawn = multiprocessing.get_context("spawn")
    with open_instance(tmp_path) as instance:
        run = instance.create_run_for_job(idle, status=dg.DagsterRunStatus.STARTED)
        ready = spawn.Event()
        process = spawn.Process(target=_run_for_long, args=(tmp_path, run.run_id, ready))
        process.start()
        assert ready.wait(_LONG)

        assert close_lost_runs(instance, tmp_path) == []
        assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.STARTED  # type: ignore[union-attr]

        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()

        assert close_lost_runs(instance, tmp_path) == [run.run_id]
        assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.FAILURE  # type: ignore[union-attr]
        assert close_lost_runs(instance, tmp_path) == []
