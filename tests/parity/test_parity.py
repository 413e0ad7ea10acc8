"""Olist and Pagila from the same bronze on the embedded engine and on Apache Spark: every table is equal."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from tests.fixtures.apache_spark import require_spark, spark_environment

pytestmark = [pytest.mark.spark, pytest.mark.parity, pytest.mark.integration, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
MEDALLION = str(Path(sys.executable).parent / "medallion")
SIZES = {"olist": ("--orders", "1500"), "pagila": ("--rentals", "1500")}
SECONDS = 1800
# Sums of doubles depend on the order of the rows, which no engine promises; nothing else may differ.
RELATIVE = 1e-9
OF_A_RUN = {"run_id", "quarantined_at"}


@dataclass(frozen=True)
class Lakes:
    """One domain's tables, by engine."""

    embedded: Path
    spark: Path

    @property
    def tables(self) -> list[str]:
        found = (self.embedded / "lake").glob("*/*/*/_delta_log")
        return sorted(str(log.parent.relative_to(self.embedded / "lake")) for log in found)


@pytest.fixture(scope="module", params=sorted(SIZES))
def domain(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def lakes(domain: str, tmp_path_factory: pytest.TempPathFactory) -> Lakes:
    """Bronze is made once, of text and database rows that no engine computes on; then silver and gold on each."""
    require_spark()
    embedded, spark = tmp_path_factory.mktemp("embedded"), tmp_path_factory.mktemp("spark")
    home = {"MEDALLION_HOME": str(embedded)}
    medallion(home, "generate", domain, *SIZES[domain], "--seed", "1")
    medallion(home, "run", "-s", f'key:"bronze/{domain}/*"')
    shutil.copytree(embedded, spark, dirs_exist_ok=True, ignore=shutil.ignore_patterns("postgres"))
    if (embedded / "postgres").exists():
        # Both ask one database which months there are.
        (spark / "postgres").symlink_to(embedded / "postgres")
    rest = ("run", "-s", f'key:"silver/{domain}/*" or key:"gold/{domain}/*"')
    medallion(home, *rest)
    environment = spark_environment(tmp_path_factory.mktemp("conf"))
    medallion({"MEDALLION_HOME": str(spark), **environment}, *rest)
    return Lakes(embedded, spark)


def test_both_engines_make_every_table(lakes: Lakes, domain: str) -> None:
    assert {f"{layer}/{domain}" for layer in ("bronze", "silver", "gold")} <= {
        table.rpartition("/")[0] for table in lakes.tables
    }
    assert Lakes(lakes.spark, lakes.embedded).tables == lakes.tables


def test_gold_was_computed_by_spark(lakes: Lakes, domain: str) -> None:
    writers = {home: file_writers(home / "lake" / "gold" / domain) for home in (lakes.embedded, lakes.spark)}
    assert "parquet-mr" in writers[lakes.spark]
    assert "parquet-mr" not in writers[lakes.embedded]


def test_every_table_has_the_same_columns(lakes: Lakes) -> None:
    for table in lakes.tables:
        mine, theirs = (fields(home / "lake" / table) for home in (lakes.embedded, lakes.spark))
        assert theirs == mine, table


def test_every_table_has_the_same_rows(lakes: Lakes) -> None:
    for table in lakes.tables:
        mine, theirs = (ordered(home / "lake" / table) for home in (lakes.embedded, lakes.spark))
        assert len(mine) == len(theirs), table
        for one, other in zip(mine, theirs, strict=True):
            different = {name: (one[name], other[name]) for name in one if not equal(one[name], other[name])}
            assert not different, (table, different)


def medallion(environment: Mapping[str, str], *arguments: str) -> None:
    done = subprocess.run(
        [MEDALLION, *arguments],
        env={**os.environ, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{arguments}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def file_writers(folder: Path) -> set[str]:
    """The programs that wrote the tables of a folder, as their files say."""
    return {pq.ParquetFile(file).metadata.created_by.split()[0] for file in folder.rglob("*.parquet")}


def fields(table: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DeltaTable(str(table)).schema().to_json())["fields"]
    return found


def ordered(table: Path) -> list[dict[str, Any]]:
    """Rows without what names the run, in an order that floats have no part in."""
    rows = pa.table(DeltaTable(str(table)).scan()).to_pylist()
    kept = [{name: value for name, value in row.items() if name not in OF_A_RUN} for row in rows]
    for row in kept:
        if "raw" in row:
            # How many digits of a number its text shows is the engine's own; what it says is not.
            row["raw"] = json.loads(row["raw"], parse_float=Decimal)
    return sorted(kept, key=lambda row: repr([value for value in row.values() if not isinstance(value, float)]))


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=RELATIVE) or (math.isnan(one) and math.isnan(other))
    return type(one) is type(other) and one == other
