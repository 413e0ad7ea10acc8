"""What is written from a stream may read Delta tables itself, and its errors stay what they are."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from medallion.delta.ahead import Ahead
from medallion.delta.frames import stage_writer
from medallion.delta.staging import PASSED, write_stage
from medallion.delta.store import DeltaStore, scan

SCHEMA = pa.schema([("n", pa.int64())])
TABLE = ("bronze", "shop", "numbers")


def batch(*numbers: int) -> pa.RecordBatch:
    return pa.record_batch({"n": pa.array(numbers, pa.int64())})


def write(store: DeltaStore, batches: Iterator[pa.RecordBatch]) -> Any:
    reader = pa.RecordBatchReader.from_batches(SCHEMA, batches)
    return write_stage(store, TABLE, (), stage_writer(reader, store))


def test_a_stream_may_scan_a_delta_table_while_it_is_written(tmp_path: Path) -> None:
    store = DeltaStore(str(tmp_path))
    first = write(store, iter([batch(1, 2, 3)]))

    copied = write(store, (b for b in scan(first.delta, ["n"])))

    assert copied.rows(PASSED) == 3


def test_an_error_of_a_stream_is_raised_as_it_is_and_nothing_is_staged(tmp_path: Path) -> None:
    store = DeltaStore(str(tmp_path))

    def failing() -> Iterator[pa.RecordBatch]:
        yield batch(1)
        raise ConnectionError("the source went away")

    with pytest.raises(ConnectionError, match="the source went away"):
        write(store, failing())
    assert store.tables() == []


def test_a_stream_that_nobody_reads_to_its_end_is_let_go() -> None:
    def endless() -> Iterator[pa.RecordBatch]:
        while True:
            yield batch(1)

    before = threading.active_count()
    with Ahead(pa.RecordBatchReader.from_batches(SCHEMA, endless())) as ahead:
        assert next(ahead.batches()).num_rows == 1

    assert threading.active_count() == before


def test_batches_come_in_their_order() -> None:
    numbers = [batch(n) for n in range(20)]
    with Ahead(pa.RecordBatchReader.from_batches(SCHEMA, iter(numbers))) as ahead:
        assert [b["n"][0].as_py() for b in ahead.batches()] == list(range(20))
