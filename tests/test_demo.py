"""The demo as a person types it, on local disk and on S3: the same commands, only the environment differs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.s3_process import s3_process

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ROOT = Path(__file__).parents[1]
MEDALLION = (str(Path(sys.executable).parent / "medallion"),)
ORDERS, RENTALS = "1000", "2000"


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return demo({"MEDALLION_HOME": str(tmp_path_factory.mktemp("local"))})


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with s3_process("demo") as server:
        yield {
            "MEDALLION_HOME": str(tmp_path_factory.mktemp("s3")),
            "MEDALLION_LAKE": f"s3://{server.bucket}/lake",
            "MEDALLION_LANDING": f"s3://{server.bucket}/landing",
            **server.storage_options,
        }


def test_the_demo_makes_the_same_tables_on_s3(local: dict[str, Any], s3: dict[str, str]) -> None:
    remote = demo(s3)
    assert rows_by_table(remote) == rows_by_table(local)
    assert not (Path(s3["MEDALLION_HOME"]) / "lake").exists()
    assert not (Path(s3["MEDALLION_HOME"]) / "landing").exists()


def demo(environment: dict[str, str]) -> dict[str, Any]:
    """Generate, run, list the tables; what the run says of itself."""
    medallion(environment, "generate", "olist", "--orders", ORDERS, "--seed", "1")
    medallion(environment, "generate", "pagila", "--rentals", RENTALS, "--seed", "1")
    made: dict[str, Any] = json.loads(medallion(environment, "run", "--json"))
    listed = medallion({**environment, "COLUMNS": "120"}, "tables")
    assert "gold/olist/daily_revenue" in listed
    assert "gold/pagila/fact_rental" in listed
    return made


def medallion(environment: dict[str, str], *arguments: str) -> str:
    """Call the command; its standard output."""
    done = subprocess.run(
        [*MEDALLION, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"medallion {' '.join(arguments)} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def rows_by_table(made: dict[str, Any]) -> list[tuple[str, int, int]]:
    found = [
        (table["table"], table["rows_out"], table["quarantined"]) for run in made["runs"] for table in run["assets"]
    ]
    assert len(found) >= 33
    return sorted(found)
