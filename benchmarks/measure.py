"""Time commands and functions: alternating, median of several, peak memory of the process tree's largest member."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sample:
    """One execution: wall seconds and peak resident bytes."""

    seconds: float
    peak_bytes: int


def command(arguments: Sequence[str], environment: Mapping[str, str], folder: Path) -> Sample:
    """Run a command to its end.

    Raises:
        RuntimeError: it failed; its output is in the message.
    """
    started = time.perf_counter()
    process = subprocess.Popen(
        arguments, env={**os.environ, **environment}, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if os.waitstatus_to_exitcode(status):
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{output.decode()[-4000:]}")
    return Sample(seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def call(function: Callable[[], object]) -> Sample:
    """Run a function in this process; the peak is the process's own so far."""
    started = time.perf_counter()
    function()
    seconds = time.perf_counter() - started
    return Sample(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def alternate(contenders: Mapping[str, Callable[[], Sample]], rounds: int) -> dict[str, list[Sample]]:
    """Run all contenders in turn, round by round, so that a noisy spell hits them all."""
    samples: dict[str, list[Sample]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            samples[name].append(contender())
    return samples


def median(samples: Sequence[Sample]) -> float:
    """Median seconds."""
    return statistics.median(sample.seconds for sample in samples)


def summary(samples: Sequence[Sample]) -> dict[str, object]:
    """Median, all values and the highest peak, for the JSON report."""
    return {
        "median_seconds": round(median(samples), 3),
        "seconds": [round(sample.seconds, 3) for sample in samples],
        "peak_mib": round(max(sample.peak_bytes for sample in samples) / 2**20),
    }
