"""SIGTERM in the middle of a write: what ends, what goes on, and that the next run makes what is missing."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from tests.fixtures.production import System, connect_server, free_port

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SHOP = ("run", "-s", "group:shop_bronze or group:shop_silver or group:shop_gold")


@pytest.fixture(params=["in_process", "multiprocess"])
def system(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[System]:
    port = free_port()
    system = System(tmp_path, "sail" if request.param == "in_process" else f"sc://127.0.0.1:{port}")
    try:
        if request.param == "multiprocess":
            connect_server(system, port)
        system.release("blue")
        system.land("a", "b", "c")
        yield system
    finally:
        system.end()


def test_a_command_that_is_told_to_stop_leaves_whole_tables_and_no_pools(system: System) -> None:
    system.hold("total")
    command = system.medallion("run", *SHOP)
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
    assert system.medallion("run", *SHOP).wait(120) == 0, system.logs()
    assert [row["orders"] for row in system.rows("gold/shop/total")] == [3]
