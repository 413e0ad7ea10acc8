"""SIGTERM to a capture while rows keep coming: it ends by itself, and the next one goes on where it was."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from medallion.postgres.connection import connect
from tests.fixtures.production import System

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_a_capture_that_is_told_to_stop_commits_its_batch_and_the_next_one_goes_on(
    tmp_path: Path, postgres_url: str
) -> None:
    system = System(tmp_path, "sail")
    system.environment |= {"DEPOT_URL": postgres_url, "DEPOT_CAPTURE": "true"}
    system.release("blue")
    enough = threading.Event()

    def insert() -> None:
        with connect("depot", postgres_url) as writer:
            number = 0
            while not enough.wait(0.02):
                number += 10
                writer.execute(f"insert into shelf select generate_series({number - 9}, {number})")

    try:
        with connect("depot", postgres_url) as source:
            for table in ("shelf", "yard"):
                source.execute(f"create table {table} (id int primary key)")
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
            rows = source.query("select id from shelf").column("id").to_pylist()
        captured = [row["id"] for row in system.rows("bronze/depot/shelf")]
        assert stopped < set(rows)
        assert sorted(captured) == sorted(rows)
    finally:
        system.end()
