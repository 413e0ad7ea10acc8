"""Olist on disk, Pagila on object storage, on both engines from the same bronze: every table is equal."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from medallion.delta.store import DeltaStore
from tests.fixtures.apache_spark import require_spark, spark_environment
from tests.fixtures.object_store import object_store

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

    embedded: DeltaStore
    spark: DeltaStore


@pytest.fixture(scope="module", params=[("olist", "disk"), ("pagila", "object storage")], ids=" on ".join)
def scene(request: pytest.FixtureRequest) -> tuple[str, str]:
    domain, place = request.param
    return domain, place


@pytest.fixture(scope="module")
def domain(scene: tuple[str, str]) -> str:
    return scene[0]


@pytest.fixture(scope="module")
def lakes(scene: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakes]:
    """Bronze is made once, of text and database rows that no engine computes on; then silver and gold on each."""
    require_spark()
    domain, place = scene
    embedded, spark = tmp_path_factory.mktemp("embedded"), tmp_path_factory.mktemp("spark")
    with ExitStack() as stack:
        made = Lakes(DeltaStore(str(embedded / "lake")), DeltaStore(str(spark / "lake")))
        if place == "object storage":
            server = stack.enter_context(object_store())
            for bucket in ("embedded", "spark"):
                server.bucket(bucket)
            made = Lakes(DeltaStore("s3://embedded/lake", server.root), DeltaStore("s3://spark/lake", server.root))
        ours = {"MEDALLION_HOME": str(embedded), "MEDALLION_LAKE": made.embedded.root, **made.embedded.storage_options}
        medallion(ours, "generate", domain, *SIZES[domain], "--seed", "1")
        medallion(ours, "run", "-s", f'key:"bronze/{domain}/*"')
        shutil.copytree(embedded, spark, dirs_exist_ok=True, ignore=shutil.ignore_patterns("postgres"))
        if place == "object storage":
            copy(made.embedded, made.spark)
        if (embedded / "postgres").exists():
            # Both ask one database which months there are.
            (spark / "postgres").symlink_to(embedded / "postgres")
        rest = ("run", "-s", f'key:"silver/{domain}/*" or key:"gold/{domain}/*"')
        medallion(ours, *rest)
        theirs = {"MEDALLION_HOME": str(spark), "MEDALLION_LAKE": made.spark.root, **made.spark.storage_options}
        medallion(theirs | spark_environment(tmp_path_factory.mktemp("conf")), *rest)
        yield made


def test_both_engines_make_every_table(lakes: Lakes, domain: str) -> None:
    made = tables(lakes.embedded)
    assert {f"{layer}/{domain}" for layer in ("bronze", "silver", "gold")} <= {
        table.rpartition("/")[0] for table in made
    }
    assert tables(lakes.spark) == made


def test_gold_was_computed_by_spark(lakes: Lakes, domain: str) -> None:
    assert "parquet-mr" in file_writers(lakes.spark, f"gold/{domain}")
    assert "parquet-mr" not in file_writers(lakes.embedded, f"gold/{domain}")


def test_every_table_has_the_same_columns(lakes: Lakes) -> None:
    for table in tables(lakes.embedded):
        mine, theirs = (fields(store, table) for store in (lakes.embedded, lakes.spark))
        assert theirs == mine, table


def test_every_table_has_the_same_rows(lakes: Lakes) -> None:
    for table in tables(lakes.embedded):
        mine, theirs = (ordered(store, table) for store in (lakes.embedded, lakes.spark))
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


def objects(store: DeltaStore, below: str = "") -> list[str]:
    return [entry["path"] for batch in obstore.list(store.objects, below) for entry in batch]


def copy(source: DeltaStore, target: DeltaStore) -> None:
    for path in objects(source):
        obstore.put(target.objects, path, obstore.get(source.objects, path).bytes())


def tables(store: DeltaStore) -> list[str]:
    return sorted("/".join(path) for path in store.tables())


def file_writers(store: DeltaStore, below: str) -> set[str]:
    """The programs that wrote the tables of a folder, as their files say."""
    files = [obstore.get(store.objects, path).bytes() for path in objects(store, below) if path.endswith(".parquet")]
    return {pq.ParquetFile(pa.BufferReader(bytes(file))).metadata.created_by.split()[0] for file in files}


def fields(store: DeltaStore, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(store.open(table.split("/")).schema().to_json())["fields"]
    return found


def ordered(store: DeltaStore, table: str) -> list[dict[str, Any]]:
    """Rows without what names the run, in an order that floats have no part in."""
    rows = pa.table(store.open(table.split("/")).scan()).to_pylist()
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
