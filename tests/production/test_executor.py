"""Steps in processes of their own that share one Connect server: at the same time, on the same versions, killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import dagster as dg
import pytest

from medallion.postgres.connection import Connection
from tests.fixtures.production import System

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_independent_steps_work_at_the_same_time_and_a_killed_one_is_made_again(system: System) -> None:
    system.hold("left")
    system.hold("right")
    command = system.materialize("shop")
    (left,) = system.reached("left")
    (right,) = system.reached("right")
    assert len({left, right, command.pid}) == 3
    assert {"silver_shop_left", "silver_shop_right"} <= system.held_pools()

    os.kill(left, signal.SIGKILL)
    system.reached("left", 2)
    system.go_on("left", "right")

    assert command.wait(120) == 0, system.logs()
    run = system.last_run()
    (retried,) = system.events(run.run_id, dg.DagsterEventType.STEP_UP_FOR_RETRY)
    assert retried.step_key == "silver__shop__left"
    assert [(row["orders"], row["edition"]) for row in system.rows("gold/shop/total")] == [(3, "blue")]
    assert system.held_pools() == set()
    assert list((system.home / "running").iterdir()) == []


def test_a_step_whose_run_was_killed_ends_by_itself_and_the_next_run_is_right(system: System) -> None:
    system.hold("total")
    command = system.materialize("shop")
    (total,) = system.reached("total")
    command.kill()
    command.wait()
    system.go_on("total")
    system.processes.pop("run")
    system.wait(lambda: not Path(f"/proc/{total}").exists() or None, "end of the step's process")

    assert system.materialize("shop").wait(120) == 0, system.logs()
    assert [row["orders"] for row in system.rows("gold/shop/total")] == [3]
    assert system.held_pools() == set()
    assert list((system.home / "running").iterdir()) == []


def test_all_tables_of_a_database_are_read_in_one_snapshot(
    depot: Connection, postgres_url: str, system: System
) -> None:
    system.environment |= {"DEPOT_URL": postgres_url, "MEDALLION_EXECUTOR_STEPS": "1"}
    insert_into_both(depot, 1)
    system.hold("shelf")
    command = system.materialize("depot")
    (shelf,) = system.reached("shelf")
    insert_into_both(depot, 2)
    system.go_on("shelf")
    assert command.wait(120) == 0, system.logs()

    (yard,) = system.reached("yard")
    assert len({shelf, yard, command.pid}) == 3
    read = {name: system.rows(f"bronze/depot/{name}") for name in ("shelf", "yard")}
    assert {name: [row["id"] for row in rows] for name, rows in read.items()} == {"shelf": [1], "yard": [1]}
    assert len({row["_lsn"] for rows in read.values() for row in rows}) == 1


def test_a_captured_database_is_read_by_one_process(depot: Connection, postgres_url: str, system: System) -> None:
    system.environment |= {"DEPOT_URL": postgres_url, "DEPOT_CAPTURE": "true"}
    insert_into_both(depot, 1)
    assert system.materialize("depot").wait(120) == 0, system.logs()
    assert system.reached("shelf") == system.reached("yard") == [system.processes["run"].pid]
    assert [row["id"] for row in system.rows("bronze/depot/yard")] == [1]


def insert_into_both(depot: Connection, item: int) -> None:
    for table in ("shelf", "yard"):
        depot.execute(f"insert into {table} values ({item})")
