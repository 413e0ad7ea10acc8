"""SIGTERM to a capture while rows keep coming: it ends by itself, and the next one goes on where it was."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from medallion.postgres.connection import Connection, connect
from tests.fixtures.production import System

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.mark.parametrize("executor", ["in_process"])
def test_a_capture_that_is_told_to_stop_commits_its_batch_and_the_next_one_goes_on(
    depot: Connection, postgres_url: str, system: System
) -> None:
    system.environment |= {"DEPOT_URL": postgres_url, "DEPOT_CAPTURE": "true"}
    enough = threading.Event()

    def insert() -> None:
        with connect("depot", postgres_url) as writer:
            number = 0
            while not enough.wait(0.02):
                number += 10
                writer.execute(f"insert into shelf select generate_series({number - 9}, {number})")

    thread = threading.Thread(target=insert)
    thread.start()
    try:
        capture = system.medallion("run", "capture", "depot")
        system.wait(lambda: len(system.rows("bronze/depot/shelf")) > 50 or None, "captured rows")
        os.kill(capture.pid, signal.SIGTERM)
        assert capture.wait(60) == 0, system.logs()
    finally:
        enough.set()
        thread.join()
    stopped = {row["id"] for row in system.rows("bronze/depot/shelf")}

    assert system.medallion("run", "capture", "depot", "--once").wait(60) == 0, system.logs()
    rows = depot.query("select id from shelf").column("id").to_pylist()
    captured = [row["id"] for row in system.rows("bronze/depot/shelf")]
    assert stopped < set(rows)
    assert sorted(captured) == sorted(rows)
