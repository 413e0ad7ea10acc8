"""Generated Olist, bronze to gold with every check, at growing sizes: the embedded engine beside Apache Spark."""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

from benchmarks.measure import Sample, alternate, command, median, summary
from benchmarks.olist import TABLES

ROOT = Path(__file__).parents[1]
ORDERS = 100_000
"""Orders at 1x; points, customers, items, payments, reviews, products and sellers grow with them."""
TIMES = {1: ("sail", "spark"), 10: ("sail", "spark"), 30: ("sail",)}
"""Which engines run at which multiple of `ORDERS`."""
MOST_ROUNDS = {1: 3, 10: 2, 30: 1}
_MEMORY = {("spark", 1): 3 << 30, ("spark", 10): 3 << 30, ("sail", 30): 3 << 30}
"""Bytes that an engine is given at a multiple, if not its default of 1 GiB: Spark's heap would be little but garbage at
10x, and the join behind `fact_orders` needs most of a GiB at 10x already and grows with the rows."""
_ONLY = "GROWTH"


def run(rounds: int) -> dict[str, Any]:
    """Measure whole runs on an empty lake, the engines in alternation, one size after the other.

    Every run is a process of its own, start included. The data of a size is made once, and removed after it.

    Environment:
        GROWTH: the only runs to make, such as `sail:1,sail:10`; all of `TIMES` if it is not set.

    Args:
        rounds: how often each contender runs, at most `MOST_ROUNDS`.

    Returns:
        By size: orders, rows, landed bytes, and by engine the medians, peaks and bytes of the lake; what the embedded
        engine's runs cost by order, as a multiple of 1x; and the ratio of the two engines.

    Raises:
        RuntimeError: the engines made tables of different numbers of rows.
    """
    report: dict[str, Any] = {}
    for times, engines in _wanted().items():
        report[f"{times}x"] = _size(times, engines, min(rounds, MOST_ROUNDS[times]))
    base = report.get("1x", {}).get("sail")
    for name, found in report.items():
        if base and name != "1x" and "sail" in found:
            growth = found["orders"] / report["1x"]["orders"]
            for what in ("median_seconds", "cpu_seconds"):
                found[f"{what}_by_order_to_1x"] = round(found["sail"][what] / base[what] / growth, 2)
    print(_table(report))
    return report


def _wanted() -> dict[int, tuple[str, ...]]:
    only = os.environ.get(_ONLY)
    if only is None:
        return TIMES
    known = {f"{engine}:{times}" for times, engines in TIMES.items() for engine in engines}
    runs = [name.strip() for name in only.split(",")]
    if unknown := sorted(set(runs) - known):
        raise ValueError(f"{_ONLY} names {unknown}; it takes a list of {sorted(known)}")
    wanted = {
        times: tuple(engine for engine in engines if f"{engine}:{times}" in runs) for times, engines in TIMES.items()
    }
    return {times: engines for times, engines in wanted.items() if engines}


def _size(times: int, engines: Sequence[str], rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        medallion = str(Path(sys.executable).parent / "medallion")
        environment = {"MEDALLION_HOME": str(home)}
        orders = str(ORDERS * times)
        generated = command([medallion, "generate", "olist", "--orders", orders, "--seed", "1"], environment, ROOT)
        shutil.rmtree(home / "synthetic")
        lakes: dict[str, dict[str, int]] = {}
        rows: dict[str, dict[str, int]] = {}

        def make(engine: str) -> Sample:
            for part in ("lake", "dagster", "logs", "running"):
                shutil.rmtree(home / part, ignore_errors=True)
            settings = {**environment, "MEDALLION_ENGINE": engine}
            if (memory := _MEMORY.get((engine, times))) is not None:
                settings["MEDALLION_ENGINE_MEMORY"] = str(memory)
            sample = command([medallion, "run", "-s", TABLES], settings, ROOT)
            lakes[engine] = _layers(home / "lake")
            rows[engine] = _rows(home / "lake")
            return sample

        contenders: dict[str, Callable[[], Sample]] = {engine: partial(make, engine) for engine in engines}
        samples = alternate(contenders, rounds)
        _require_same(rows)
        return {
            "orders": ORDERS * times,
            "rows": sum(next(iter(rows.values())).values()),
            "landed_mib": _mib(_bytes(home / "landing")),
            "generate": summary([generated]),
            **{engine: {**summary(samples[engine]), "lake_mib": lakes[engine]} for engine in engines},
            **_ratio(samples),
        }


def _ratio(samples: Mapping[str, Sequence[Sample]]) -> dict[str, float]:
    if len(samples) < 2:
        return {}
    paired = zip(samples["spark"], samples["sail"], strict=True)
    return {
        "ratio_spark_to_sail": round(median(samples["spark"]) / median(samples["sail"]), 2),
        "ratio_spark_to_sail_cpu": round(statistics.median(s.cpu_seconds / e.cpu_seconds for s, e in paired), 2),
    }


def _rows(lake: Path) -> dict[str, int]:
    """Rows by table, from the Delta logs."""
    logs = sorted(lake.glob("*/*/*/_delta_log"))
    return {str(log.parent.relative_to(lake)): int(DeltaTable(log.parent).count()) for log in logs}


def _require_same(rows: Mapping[str, Mapping[str, int]]) -> None:
    first, *others = rows.items()
    for engine, found in others:
        differing = [name for name in first[1] | found if first[1].get(name) != found.get(name)]
        if differing:
            counts = ", ".join(f"{name}: {first[1].get(name)} and {found.get(name)}" for name in differing)
            raise RuntimeError(f"{first[0]} and {engine} made different numbers of rows of {counts}")


def _layers(lake: Path) -> dict[str, int]:
    """MiB by layer, as they are on disk."""
    return {layer.name: _mib(_bytes(layer)) for layer in sorted(lake.iterdir()) if layer.is_dir()}


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _mib(size: int) -> int:
    return round(size / 2**20)


def _table(report: Mapping[str, Any]) -> str:
    """The report as the Markdown table of docs/growth.md."""
    lines = [
        "| orders | rows | landed | engine | seconds | CPU seconds | peak memory | lake |",
        "|---:|---:|---:|---|---:|---:|---:|---:|",
    ]
    for found in report.values():
        for engine in (name for name in ("sail", "spark") if name in found):
            one = found[engine]
            lines.append(
                f"| {found['orders']:,} | {found['rows']:,} | {found['landed_mib']:,} MiB | {engine} "
                f"| {one['median_seconds']:.0f} | {one['cpu_seconds']:.0f} | {one['peak_mib']:,} MiB "
                f"| {sum(one['lake_mib'].values()):,} MiB |"
            )
    return "\n".join(lines)
