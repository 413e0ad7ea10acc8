"""One audited write of many rows in a process of its own, whose peak memory is what is measured."""

from __future__ import annotations

import sys

from benchmarks.lines import MONTHS, lines, make, write_source
from medallion.delta.io_manager import LakeStorage
from medallion.delta.store import DeltaStore
from medallion.engine.frames import read_delta
from medallion.engine.resource import SparkEngine


def main(home: str, step: str, rows: int) -> None:
    """`prepare` the source or `write` the table from it; two processes, as the peak is to be that of the write."""
    spark = SparkEngine(profile="sail").spark_session
    if step == "prepare":
        write_source(spark, f"{home}/source", rows)
        return
    storage = LakeStorage(DeltaStore(f"{home}/lake"), SparkEngine(profile="sail"))
    make(storage, lines, read_delta(spark, f"{home}/source", 0), MONTHS.get_partition_keys())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
