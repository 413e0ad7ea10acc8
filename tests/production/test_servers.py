"""Code servers, web server and daemon: new code takes over from old, runs that die are found, stopping waits."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from tests.fixtures.ports import free_port
from tests.fixtures.production import System, graphql

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LAUNCH = """mutation ($job: String!) { launchPipelineExecution(executionParams: {
  selector: {repositoryLocationName: "shop", repositoryName: "__repository__", pipelineName: $job}, mode: "default"
}) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
RELOAD = "mutation { reloadWorkspace { __typename ... on PythonError { message } } }"
TERMINATE = "mutation ($run: String!) { terminateRun(runId: $run) { __typename } }"
EDITION = """{ pipelineOrError(params: {repositoryLocationName: "shop", repositoryName: "__repository__",
  pipelineName: "shop"}) { __typename ... on Pipeline { description } } }"""


class Deployed(System):
    """A system with its page."""

    page: int

    def launch(self, job: str = "shop") -> str:
        """Launch a run as the page does, and give its id."""
        answer = graphql(self.page, LAUNCH, job=job)["launchPipelineExecution"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return str(answer["run"]["runId"])

    def edition(self) -> str | None:
        """Edition of the code that the page has loaded."""
        return graphql(self.page, EDITION)["pipelineOrError"].get("description")  # type: ignore[no-any-return]


@pytest.fixture
def system(tmp_path: Path) -> Iterator[Deployed]:
    """Runs take the embedded engine, one per run's process."""
    with Deployed(tmp_path, "in_process") as system:
        system.page = free_port()
        system.release("blue")
        system.land("a", "b", "c")
        yield system


def test_new_code_takes_over_and_the_run_in_progress_ends_on_the_old(system: Deployed) -> None:
    blue_port, green_port = free_port(), free_port()
    blue = system.code_server("blue", blue_port)
    system.point_at(blue_port)
    daemon = system.serve(system.page)
    system.hold("total")
    old_run = system.launch()
    (worker,) = system.reached("total")
    assert system.edition() == "blue"

    system.release("green")
    system.code_server("green", green_port)
    system.point_at(green_port)
    graphql(system.page, RELOAD)
    system.wait(lambda: system.edition() == "green" or None, "the green edition on the page")
    daemon.terminate()
    daemon.wait(60)
    system.daemon()
    blue.terminate()
    with pytest.raises(subprocess.TimeoutExpired):
        blue.wait(5)
    os.kill(worker, 0)

    system.go_on("total")
    assert system.finished(old_run) is dg.DagsterRunStatus.SUCCESS
    assert [row["edition"] for row in system.rows("gold/shop/total")] == ["blue"]
    assert blue.wait(60) == 0

    new_run = system.launch()
    assert system.finished(new_run) is dg.DagsterRunStatus.SUCCESS, system.logs()
    assert [row["edition"] for row in system.rows("gold/shop/total")] == ["green"]


def test_runs_that_are_stopped_or_die_are_found_and_their_tables_are_free(system: Deployed) -> None:
    port = free_port()
    server = system.code_server("blue", port)
    system.point_at(port)
    system.serve(system.page)
    system.hold("total")

    terminated = system.launch()
    system.reached("total")
    assert "gold_shop_total" in system.held_pools()
    graphql(system.page, TERMINATE, run=terminated)
    assert system.finished(terminated) is dg.DagsterRunStatus.CANCELED
    assert not system.events(terminated, dg.DagsterEventType.STEP_UP_FOR_RETRY)
    system.wait(lambda: not system.held_pools() or None, "free pools after a run was terminated")

    killed = system.launch()
    (_, worker) = system.reached("total", 2)
    os.kill(worker, signal.SIGKILL)
    assert system.finished(killed) is dg.DagsterRunStatus.FAILURE
    system.wait(lambda: not system.held_pools() or None, "free pools after a run was killed")

    lost = system.launch()
    (_, _, worker) = system.reached("total", 3)
    for pid in (server.pid, worker):
        os.kill(pid, signal.SIGKILL)
    server.wait()
    assert system.finished(lost) is dg.DagsterRunStatus.FAILURE
    (failed,) = system.events(lost, dg.DagsterEventType.RUN_FAILURE)
    assert "no sign of life" in str(failed.message)
    system.wait(lambda: not system.held_pools() or None, "free pools after a run was lost with its code server")

    system.go_on("total")
    assert system.rows("gold/shop/total") == []
    assert system.materialize("shop").wait(120) == 0, system.logs()
    assert [row["orders"] for row in system.rows("gold/shop/total")] == [3]
