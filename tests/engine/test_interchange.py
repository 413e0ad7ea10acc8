"""One table, two engines: what one has written the other reads, merges and travels back in."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from deltalake import Schema

from medallion.delta.frames import read_spark, stage_writer
from medallion.delta.publish import Write, publish
from medallion.delta.staging import OUTCOME, write_stage
from medallion.delta.store import DeltaStore
from medallion.engine.frames import arrow_batches, from_arrow, read_version
from medallion.partitions import WHOLE

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.integration, pytest.mark.slow]

PATH = ("silver", "shop", "sales")
FIRST = {"day": "2024-01-01", "id": 1, "amount": Decimal("1.50"), "at": dt.datetime(2024, 1, 1, 3, tzinfo=dt.UTC)}
OTHER = {**FIRST, "day": "ü b=1", "id": 2, "tags": ["x", None], "place": {"zip": "1", "lat": -0.5}}
ROWS = [{"tags": None, "place": None, **FIRST}, OTHER]
SCHEMA = pa.schema(
    [
        ("day", pa.string()),
        ("id", pa.int64()),
        ("amount", pa.decimal128(10, 2)),
        ("at", pa.timestamp("us", tz="UTC")),
        ("tags", pa.list_(pa.string())),
        ("place", pa.struct([("zip", pa.string()), ("lat", pa.float64())])),
    ]
)


@pytest.fixture(params=["sail first", "spark first"])
def sessions(request: pytest.FixtureRequest, spark: SparkSession, apache_spark: SparkSession) -> list[SparkSession]:
    """Who writes first, and who comes after."""
    return [spark, apache_spark] if request.param == "sail first" else [apache_spark, spark]


def write(store: DeltaStore, session: SparkSession, rows: list[dict[str, Any]], **options: Any) -> None:
    frame = from_arrow(session, pa.Table.from_pylist(rows, SCHEMA))
    stage = write_stage(store, PATH, ["day"], stage_writer(frame, store))
    columns = {item.name: item for item in stage.schema.fields if item.name != OUTCOME}
    schema = Schema([columns[name] for name in SCHEMA.names])
    published = publish(Write(stage, WHOLE, schema, ("day",), keys=("day", "id"), **options))
    stage.discard(keep=published.kept)


def rows_of(frame: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = arrow_batches(frame).read_all().select(SCHEMA.names).to_pylist()
    return sorted(found, key=lambda row: int(row["id"]))


@pytest.mark.parametrize("merged_in", ["process", "engine"])
def test_the_second_engine_reads_merges_and_travels_in_the_table_of_the_first(
    sessions: list[SparkSession], apache_spark: SparkSession, tmp_path: Path, merged_in: str
) -> None:
    first, second = sessions
    store = DeltaStore(str(tmp_path))
    write(store, first, ROWS)
    assert rows_of(read_spark(second, store, PATH)) == ROWS
    changed, new = {**ROWS[0], "amount": Decimal("9.99")}, {**ROWS[1], "id": 3}
    how: dict[str, Any] = {"spark": lambda: apache_spark} if merged_in == "engine" else {}
    write(store, second, [changed, ROWS[1], new], mode="merge", **how)
    now = store.open(PATH).version()
    for session in sessions:
        assert rows_of(read_spark(session, store, PATH)) == [changed, ROWS[1], new]
        # The rows of the first write, as the engine that did not write them sees that version, and as its own does.
        assert rows_of(read_version(session, store.uri(PATH), now - 1)) == ROWS
