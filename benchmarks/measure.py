"""Time commands and functions: alternating, median of several, peak memory of a command's process tree."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_LOOKS_SECONDS = 0.2


@dataclass(frozen=True)
class Sample:
    """One execution: wall seconds, peak resident bytes, and seconds of processor time, children included."""

    seconds: float
    peak_bytes: int
    cpu_seconds: float


def command(arguments: Sequence[str], environment: Mapping[str, str], folder: Path) -> Sample:
    """Run a command to its end.

    Its peak is what all its processes hold together, as looked at five times a second, or more exactly what the largest
    one has held, whichever is more. What processes share counts for each of them.

    Raises:
        RuntimeError: it failed; its output is in the message.
    """
    started = time.perf_counter()
    process = subprocess.Popen(
        arguments, env={**os.environ, **environment}, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    with _watched(process.pid) as looks:
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if os.waitstatus_to_exitcode(status):
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{output.decode()[-4000:]}")
    largest = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Sample(seconds, max(largest, *looks), usage.ru_utime + usage.ru_stime)


@contextmanager
def _watched(pid: int) -> Iterator[list[int]]:
    """Resident bytes of a process and its descendants, over and over until the context ends."""
    looks, ended = [0], threading.Event()

    def watch() -> None:
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(pid)
            while not ended.wait(_LOOKS_SECONDS):
                looks.append(sum(_resident(process) for process in [root, *root.children(recursive=True)]))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield looks
    finally:
        ended.set()
        thread.join()


def _resident(process: psutil.Process) -> int:
    with suppress(psutil.NoSuchProcess):
        return int(process.memory_info().rss)
    return 0


def call(function: Callable[[], object]) -> Sample:
    """Run a function in this process; the peak is the process's own so far."""
    started, processor = time.perf_counter(), time.process_time()
    function()
    seconds, used = time.perf_counter() - started, time.process_time() - processor
    return Sample(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, used)


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
    """Median, all values, processor time and the highest peak, for the JSON report."""
    return {
        "median_seconds": round(median(samples), 3),
        "seconds": [round(sample.seconds, 3) for sample in samples],
        "cpu_seconds": round(statistics.median(sample.cpu_seconds for sample in samples), 1),
        "peak_mib": round(max(sample.peak_bytes for sample in samples) / 2**20),
    }
