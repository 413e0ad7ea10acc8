"""SIGTERM in the middle of a write: what ends, what goes on, and that the next run makes what is missing."""

from __future__ import annotations

import os
import signal

import dagster as dg
import pytest

from tests.fixtures.production import System

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.mark.parametrize("executor", ["in_process", "multiprocess"])
def test_a_command_that_is_told_to_stop_leaves_whole_tables_and_no_pools(system: System) -> None:
    system.hold("total")
    command = system.materialize("shop")
    system.reached("total")

    os.kill(command.pid, signal.SIGTERM)
    assert command.wait(60) == 130, system.logs()

    stopped = system.last_run()
    assert stopped.status is dg.DagsterRunStatus.FAILURE
    assert system.held_pools() == set()
    assert list((system.home / "running").iterdir()) == []
    assert len(system.rows("silver/shop/left")) == len(system.rows("silver/shop/right")) == 3
    assert system.rows("gold/shop/total") == []
    assert not system.events(stopped.run_id, dg.DagsterEventType.STEP_UP_FOR_RETRY)

    system.go_on("total")
    assert system.materialize("shop").wait(120) == 0, system.logs()
    assert [row["orders"] for row in system.rows("gold/shop/total")] == [3]
