"""Change capture of the sample database, killed again and again: source, bronze and silver end up equal, row by row."""

from __future__ import annotations

import datetime as dt
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from assets.pagila import bronze
from medallion.engine.frames import plain_types
from medallion.graph import tables_in
from medallion.postgres.connection import connect
from medallion.postgres.database import Database
from medallion.postgres.source import Source
from tests.fixtures.pagila_churn import churn
from tests.fixtures.pagila_silver import sample

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ROOT = Path(__file__).parents[3]
MEDALLION = str(Path(sys.executable).parent / "medallion")
CHANGES, KILLS = 4_000, 6
CAUGHT_UP = "bronze is where the log is"
OURS = ("_ingested_at", "_lsn")
HISTORY = ("valid_from", "valid_to", "is_current")
_LONG = 180


@contextmanager
def capturing(environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """The long-running command, killed at the end, once it has caught up."""
    command = [MEDALLION, "capture", "pagila"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        said = ""
        for line in process.stdout:
            said += line
            if CAUGHT_UP in line:
                break
        assert CAUGHT_UP in said, said
        # Read on, so that it never waits for somebody to do so.
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield process
    finally:
        process.kill()
        process.wait(_LONG)


def medallion(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [MEDALLION, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=_LONG, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def stored(home: Path, layer: str, table: str) -> pa.Table:
    return plain_types(pa.table(DeltaTable(str(home / "lake" / layer / "pagila" / table)).scan()))


def in_order(rows: pa.Table, *without: str) -> list[str]:
    """Rows as texts, sorted."""
    kept = [name for name in sorted(rows.column_names) if name not in without]
    return sorted(map(repr, rows.select(kept).to_pylist()))


def as_silver(rows: pa.Table) -> pa.Table:
    """Rows of the source as silver has them: no empty texts, and e-mail addresses in lower case."""
    listed = rows.to_pylist()
    for row in listed:
        for name, value in row.items():
            row[name] = value.lower() if name == "email" and value else None if value == "" else value
    return pa.Table.from_pylist(listed, rows.schema)


def test_source_bronze_and_silver_are_equal_after_a_capture_that_was_killed_again_and_again(
    tmp_path: Path, pagila_url: str
) -> None:
    environment = {
        **os.environ,
        "MEDALLION_HOME": str(tmp_path),
        "PAGILA_URL": pagila_url,
        "PAGILA_CAPTURE": "true",
        "COLUMNS": "200",
    }
    chance = random.Random(4)
    done: list[Any] = []
    changing = threading.Thread(target=lambda: done.append(churn(pagila_url, CHANGES, 4, pause=0.15)))
    with capturing(environment):
        changing.start()
        time.sleep(2 + 2 * chance.random())
    for _ in range(KILLS - 1):
        with capturing(environment):
            time.sleep(1 + 3 * chance.random())
    changing.join(_LONG)
    assert sum(done[0].values()) == CHANGES
    medallion(environment, "capture", "pagila", "--once")
    medallion({**environment, "PAGILA_CAPTURE": "false"}, "run", "-s", "group:pagila_silver")

    started = dt.datetime.now(dt.UTC)
    with Database("pagila", pagila_url) as database:
        for table in tables_in([bronze]):
            theirs = Source(database, table.name, table.contract, None, started).table().batches.read_all()
            ours = stored(tmp_path, "bronze", table.name)
            assert in_order(ours, *OURS) == in_order(plain_types(theirs), *OURS), table.label
    with connect("pagila", pagila_url) as connection:
        for name, expected in sample(connection).items():
            ours = stored(tmp_path, "silver", name)
            if "is_current" in ours.column_names:
                ours = ours.filter(ours["is_current"])
            wanted = as_silver(expected)
            columns = [column for column in wanted.column_names if column not in HISTORY]
            assert in_order(ours.select(columns)) == in_order(wanted.select(columns)), name
