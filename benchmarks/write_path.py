"""Audited writes: a large replace against the engine's own plain Delta write, a partition, a merge, nothing, memory."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from pyspark.sql import functions as F

from benchmarks.lines import MONTHS, accounts, lines, make, nothing, write_source
from benchmarks.measure import Sample, alternate, call, command, median, summary
from medallion.delta.io_manager import LakeStorage
from medallion.delta.store import DeltaStore
from medallion.engine.frames import write_delta
from medallion.engine.resource import SparkEngine

ROWS = 5_000_000
MERGED_INTO = 1_000_000
CHANGED = 50_000
LARGE = 10_000_000
MONTH = "2018-03"


def run(rounds: int) -> dict[str, Any]:
    """Measure all of them.

    Returns:
        Medians and samples by contender, and the ratio of the audited to the plain write.
    """
    with tempfile.TemporaryDirectory() as folder:
        # First, while this process is small: the peak of a child is at least what its parent held when it began.
        for step in ("prepare", "write"):
            arguments = [sys.executable, "-m", "benchmarks.large_write", f"{folder}/large", step, str(LARGE)]
            large = command(arguments, {}, Path.cwd())
        shutil.rmtree(f"{folder}/large")
        return {
            "large_rows": LARGE,
            "large_with_start": summary([large]),
            "rows": ROWS,
            **_writes(Path(folder), rounds),
        }


def _writes(home: Path, rounds: int) -> dict[str, Any]:
    engine = SparkEngine(profile="sail")
    spark = engine.spark_session
    rows = write_source(spark, f"{home}/source", ROWS)
    storage = LakeStorage(DeltaStore(f"{home}/lake"), engine)
    keys = MONTHS.get_partition_keys()

    def plain() -> Sample:
        shutil.rmtree(home / "plain", ignore_errors=True)
        return call(lambda: write_delta(rows, f"{home}/plain", ["month"]))

    def audited() -> Sample:
        shutil.rmtree(home / "lake", ignore_errors=True)
        return call(lambda: make(storage, lines, rows, keys))

    samples = alternate({"plain": plain, "audited": audited}, rounds)
    one = rows.where(F.col("month") == F.lit(f"{MONTH}-01").cast("date"))
    orders = rows.limit(MERGED_INTO).select("order_id", "price", "c0", "c1", "c2", "c3")
    make(storage, accounts, orders)
    samples |= alternate(
        {
            "one_partition": lambda: call(lambda: make(storage, lines, one, [MONTH])),
            "empty": lambda: call(lambda: make(storage, nothing, rows, keys)),
        },
        rounds,
    )
    step = MERGED_INTO // CHANGED
    picked = F.pmod(F.xxhash64("order_id"), F.lit(step)) == 0
    for n in range(rounds):
        changed = orders.where(picked).withColumn("price", F.lit(n + 1).cast("decimal(12,2)"))
        samples.setdefault("merge", []).append(call(lambda frame=changed: make(storage, accounts, frame)))
    return {
        **{name: summary(found) for name, found in samples.items()},
        "ratio_audited_to_plain": round(median(samples["audited"]) / median(samples["plain"]), 3),
    }
