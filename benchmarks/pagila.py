"""Pagila's sample from a running PostgreSQL to gold, with every check, and again after a hundred changed rows."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measure import Sample, alternate, command, median, summary
from tests.fixtures.pagila_churn import churn
from tests.fixtures.postgres import load_sample, run_debian

ROOT = Path(__file__).parents[1]
CHANGES = 100
_TABLES = 'key:"*/pagila/*"'


def run(rounds: int) -> dict[str, Any]:
    """Measure full runs in alternation with a plain copy, then incremental runs on the lake that the last one left.

    Every run is a process of its own, start included. A full one begins with an empty lake and an empty instance.

    Args:
        rounds: how often each contender runs.

    Returns:
        Medians, samples and peaks by contender, and the ratio to a plain copy of the fifteen tables.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        run_debian() as server,
        server.database(load_sample(server)) as url,
    ):
        return _runs(Path(folder) / "home", url, rounds)


def _runs(home: Path, url: str, rounds: int) -> dict[str, Any]:
    environment = {"MEDALLION_HOME": str(home), "PAGILA_URL": url}
    medallion = [str(Path(sys.executable).parent / "medallion"), "run", "-s", _TABLES]

    def ours() -> Sample:
        shutil.rmtree(home, ignore_errors=True)
        return command(medallion, environment, ROOT)

    def copy() -> Sample:
        shutil.rmtree(home.with_name("copy"), ignore_errors=True)
        return command([sys.executable, "-m", "benchmarks.pagila_copy", url, str(home.with_name("copy"))], {}, ROOT)

    full = alternate({"medallion": ours, "plain_copy": copy}, rounds)
    changed = []
    for seed in range(rounds):
        churn(url, CHANGES, seed)
        changed.append(command([*medallion, "--changed"], environment, ROOT))
    return {
        **{name: summary(samples) for name, samples in full.items()},
        "ratio_medallion_to_copy": round(median(full["medallion"]) / median(full["plain_copy"]), 2),
        "changed_rows": CHANGES,
        "incremental": summary(changed),
    }
