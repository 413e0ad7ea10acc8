"""A standalone cluster with object storage: a worker is killed in the middle of a backfill, and nothing is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import obstore
import pyarrow as pa
import pytest

from medallion.delta.store import DeltaStore
from medallion.engine.jars import default_folder
from tests.fixtures.apache_spark import require_spark, spark_environment
from tests.fixtures.s3_process import s3_process
from tests.fixtures.spark_cluster import spark_cluster

pytestmark = [pytest.mark.spark, pytest.mark.integration, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
MEDALLION = str(Path(sys.executable).parent / "medallion")
BRONZE = ("run", "-s", 'key:"bronze/olist/orders" or key:"bronze/olist/customers" or key:"bronze/olist/payments"')
BACKFILL = ("run", "-s", 'key:"silver/olist/orders" or key:"silver/olist/customers" or key:"silver/olist/payments"')
TABLES = [("silver", "olist", name) for name in ("orders", "customers", "payments")]
SECONDS = 900


def test_a_backfill_is_right_although_a_worker_is_killed_in_the_middle_of_it(tmp_path: Path) -> None:
    require_spark()
    local = {"MEDALLION_HOME": str(tmp_path / "local")}
    medallion(local, "generate", "olist", "--orders", "1000", "--seed", "1")
    with s3_process("cluster") as server:
        lake = {
            "MEDALLION_HOME": str(tmp_path / "remote"),
            "MEDALLION_LANDING": str(tmp_path / "local" / "landing"),
            "MEDALLION_LAKE": f"s3://{server.bucket}/lake",
            **server.storage_options,
        }
        store = DeltaStore(lake["MEDALLION_LAKE"], server.storage_options)
        for environment in (local, lake):
            medallion(environment, *BRONZE)
        medallion(local, *BACKFILL)
        # The workers have the jars where this machine has them.
        jars = os.environ.get("MEDALLION_SPARK_JARS") or str(default_folder())
        environment = {**spark_environment(tmp_path / "conf"), "MEDALLION_SPARK_JARS": jars}
        with spark_cluster(tmp_path / "cluster", environment, workers=2) as cluster:
            spark = {**lake, **environment, "MEDALLION_ENGINE": cluster.master}
            run = started(spark, *BACKFILL, "--json")
            await_stage(store, run)
            assert [worker["coresused"] for worker in cluster.alive()] == [1, 1]
            cluster.kill_worker(0)
            output, problems = run.communicate(timeout=SECONDS)
            assert run.returncode == 0, output[-3000:] + problems[-3000:]
            assert len(cluster.alive()) == 1
        assert json.loads(output)["success"]
        for table in TABLES:
            assert rows(store, table) == rows(DeltaStore(str(tmp_path / "local" / "lake")), table), table


def await_stage(store: DeltaStore, run: subprocess.Popen[str]) -> None:
    """Wait until an executor has written a file of a stage, of which there is no commit yet."""
    deadline = time.monotonic() + SECONDS
    while run.poll() is None and time.monotonic() < deadline:
        paths = [entry["path"] for batch in obstore.list(store.objects, "silver") for entry in batch]
        staged = {path.partition("/stage-")[2].partition("/")[0] for path in paths if path.endswith(".parquet")}
        committed = {path.partition("/stage-")[2].partition("/")[0] for path in paths if path.endswith(".json")}
        if staged - committed - {""}:
            return
        time.sleep(0.05)
    pytest.fail("no executor was seen writing")


def rows(store: DeltaStore, table: tuple[str, ...]) -> list[dict[str, Any]]:
    return sorted(pa.table(store.open(table).scan()).to_pylist(), key=repr)


def started(environment: Mapping[str, str], *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [MEDALLION, *arguments],
        env={**os.environ, **environment},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def medallion(environment: Mapping[str, str], *arguments: str) -> None:
    process = started(environment, *arguments)
    output, problems = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, f"{arguments}: {output[-3000:]}\n{problems[-3000:]}"
