"""The whole of Olist, bronze to gold with every check, against a hand-written DuckDB script of the same gold tables."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measure import Sample, alternate, command, median, summary

ROOT = Path(__file__).parents[1]
ORDERS = 99_441
MONTH = "2018-03"
TABLES = 'key:"*/olist/*"'


def run(rounds: int, orders: int = ORDERS) -> dict[str, Any]:
    """Measure full runs in alternation, then runs of one month on the lake that the last one left.

    Every run is a process of its own, start included, on an empty lake and an empty Dagster instance.

    Args:
        rounds: how often each contender runs.
        orders: size of the synthetic dataset; the real one has 99,441.

    Returns:
        Medians, samples and peaks by contender, and the ratios.
    """
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        medallion = [str(Path(sys.executable).parent / "medallion")]
        environment = {"MEDALLION_HOME": str(home)}
        command([*medallion, "generate", "olist", "--orders", str(orders), "--seed", "1"], environment, ROOT)
        source = home / "synthetic" / "olist"

        def ours() -> Sample:
            for part in ("lake", "dagster", "logs", "running"):
                shutil.rmtree(home / part, ignore_errors=True)
            return command([*medallion, "run", "-s", TABLES], environment, ROOT)

        def theirs() -> Sample:
            script = str(ROOT / "benchmarks" / "olist_duckdb.py")
            return command([sys.executable, script, str(source), str(Path(folder) / "gold")], {}, ROOT)

        full = alternate({"medallion": ours, "duckdb_script": theirs}, rounds)
        again = [*medallion, "run", "-s", TABLES, "-p", MONTH]
        month = [command(again, environment, ROOT) for _ in range(rounds)]
    return {
        "orders": orders,
        **{name: summary(samples) for name, samples in full.items()},
        "ratio_medallion_to_duckdb": round(median(full["medallion"]) / median(full["duckdb_script"]), 2),
        "one_month_again": summary(month),
    }
