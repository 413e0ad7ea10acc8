"""Change capture: changes a second into bronze, how soon a commit is visible there, and the memory of a transaction."""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measure import command, summary
from medallion.postgres.connection import connect
from medallion.postgres.embedded import create
from tests.fixtures.captured import DOMAIN, Shop

MIXED = 100_000
LARGE = 1_000_000
COMMITS = 20
_ROW = "i, 'name ' || i, i % 1000, now(), array['a', 'b'], md5(i::text)"
_INSERT = "insert into thing (id, name, price, at, tags, document) select " + _ROW


def run(rounds: int) -> dict[str, Any]:
    """Measure all of them on the embedded server.

    Returns:
        Changes a second, seconds from a commit to bronze, and the peak memory of a process.
    """
    with tempfile.TemporaryDirectory() as folder:
        child = [sys.executable, "-m", "benchmarks.capture", folder]
        large = command([*child, "large"], {}, Path.cwd())
        with _shop(Path(folder) / "small") as shop:
            rates = [_changes_per_second(shop, number) for number in range(rounds)]
            waits = _waits(shop)
    return {
        "mixed_changes": MIXED,
        "changes_per_second": [round(rate) for rate in rates],
        "commit_to_bronze_seconds": {"median": round(statistics.median(waits), 3), "max": round(max(waits), 3)},
        "large_transaction_rows": LARGE,
        "large_with_start": summary([large]),
    }


def _changes_per_second(shop: Shop, number: int) -> float:
    first = (number + 1) * MIXED
    shop.execute(
        f"{_INSERT} from generate_series({first}, {first + MIXED // 2 - 1}) i",
        f"update thing set price = price + 1 where id >= {first} and id < {first + MIXED // 4}",
        f"delete from thing where id >= {first} and id % 10 = 0",
        f"insert into pair select i, {number}, 'x' from generate_series(1, {MIXED // 5}) i",
    )
    began = time.perf_counter()
    done = shop.capture()
    return sum(table.changes for table in done.values()) / (time.perf_counter() - began)


def _waits(shop: Shop) -> list[float]:
    """Seconds from each of some commits in the source to the one in bronze, in a process that follows the log."""
    stop, waits = threading.Event(), []

    def write() -> None:
        with connect(DOMAIN, shop.url) as connection:
            connection.execute("set synchronous_commit = on")
            for number in range(COMMITS):
                connection.execute(f"insert into payment values ({number}, '2024-03-03', 1)")
                time.sleep(0.7)
        stop.set()

    follower = shop.follower()
    with follower.opened() as capture:
        list(follower.catch_up(capture))
        writer = threading.Thread(target=write)
        writer.start()
        waits = [done.lag_seconds for done in follower.follow(capture, stop) if done.lag_seconds is not None]
        writer.join()
    return waits


def _large(folder: Path) -> None:
    with _shop(folder) as shop:
        shop.execute(f"{_INSERT} from generate_series(1, {LARGE}) i")
        shop.capture()


@contextmanager
def _shop(folder: Path) -> Iterator[Shop]:
    """A captured, empty shop on an embedded server of its own."""
    shop = Shop(create(folder / "home"), str(folder / "lake"), {})
    shop.create()
    shop.capture()
    yield shop


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    _large(Path(sys.argv[1]) / "large")
