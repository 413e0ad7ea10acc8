"""An audited write of a large frame against the engine's own plain Delta write, and the cost of an empty write."""

from __future__ import annotations

import datetime as dt
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pandera.pyspark as pa
import pyspark.sql.types as T
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from benchmarks.measure import Sample, alternate, call, median, summary
from medallion.delta.io_manager import LakeStorage
from medallion.delta.publish import publish
from medallion.delta.store import DeltaStore
from medallion.engine.frames import read_delta, write_delta
from medallion.engine.resource import SparkEngine
from medallion.layers import silver
from medallion.pipeline import Making
from medallion.quarantine import replace_slices

ROWS = 2_000_000
MONTHS = dg.MonthlyPartitionsDefinition(start_date="2017-01", end_date="2019-01", fmt="%Y-%m")


class Line(pa.DataFrameModel):
    """Order lines as wide as usual; one row in a thousand breaks the status rule."""

    order_id: T.StringType() = pa.Field(str_matches="o[0-9]+$")
    status: T.LongType() = pa.Field(lt=999)
    price: T.DecimalType(12, 2) = pa.Field(ge=0)
    day: T.DateType() = pa.Field()
    c0: T.StringType() = pa.Field(nullable=True)
    c1: T.StringType() = pa.Field(nullable=True)
    c2: T.StringType() = pa.Field(nullable=True)
    c3: T.StringType() = pa.Field(nullable=True)
    month: T.DateType() = pa.Field(metadata={"partition": True})


class Source(pa.DataFrameModel):
    """What the lines come from; only its name matters here."""

    order_id: T.StringType() = pa.Field()


@silver(contract=Source, domain="bench")
def source() -> DataFrame:
    """Stands for the frame that is handed to the tables below."""
    raise NotImplementedError


@silver(contract=Line, partitions=MONTHS, domain="bench", max_rejected=0.01)
def lines(source: DataFrame) -> DataFrame:
    """The source as it is."""
    return source


@silver(contract=Line, partitions=MONTHS, domain="bench")
def nothing(source: DataFrame) -> DataFrame:
    """No rows."""
    return source.limit(0)


def run(rounds: int) -> dict[str, Any]:
    """Measure both.

    Returns:
        Medians and samples by contender, and the ratio of the audited to the plain write.
    """
    engine = SparkEngine(profile="sail")
    spark = engine.spark_session
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        wide = [F.expr(f"sha2(cast(id*{k} as string), 256)").alias(f"c{k}") for k in range(4)]
        spark.range(ROWS).select(
            F.concat(F.lit("o"), F.col("id").cast("string")).alias("order_id"),
            (F.col("id") % 1000).alias("status"),
            F.expr("cast(id % 1000 as decimal(12,2))").alias("price"),
            F.expr("date_add(date'2017-01-01', cast(id % 720 as int))").alias("day"),
            *wide,
            F.expr("cast(trunc(date_add(date'2017-01-01', cast(id % 720 as int)), 'MM') as date)").alias("month"),
        ).write.format("delta").save(f"{home}/source")
        rows = read_delta(spark, f"{home}/source", 0)
        storage = LakeStorage(DeltaStore(f"{home}/lake"), engine)

        def plain() -> Sample:
            shutil.rmtree(home / "plain", ignore_errors=True)
            return call(lambda: write_delta(rows, f"{home}/plain", ["month"]))

        def audited() -> Sample:
            shutil.rmtree(home / "lake", ignore_errors=True)
            return call(lambda: _make(storage, lines, rows))

        samples = alternate({"plain": plain, "audited": audited}, rounds)
        empty = []
        for _ in range(10):
            started = time.perf_counter()
            _make(storage, nothing, rows)
            empty.append(Sample(time.perf_counter() - started, 0))
    return {
        "rows": ROWS,
        **{name: summary(found) for name, found in samples.items()},
        "ratio_audited_to_plain": round(median(samples["audited"]) / median(samples["plain"]), 3),
        "empty_write_seconds": round(median(empty), 4),
    }


def _make(storage: LakeStorage, table: Any, rows: DataFrame) -> None:
    """Stage, rules, split, audit, publish and quarantine, without Dagster around it."""
    keys = tuple(MONTHS.get_partition_keys())
    making = Making(
        table,
        {table.label: table, source.label: source},
        storage,
        keys,
        lambda _: [],
        lambda _: (),
        "bench",
        "bench",
        dt.datetime.now(dt.UTC),
    )
    for event in making.run({"source": rows}, None):
        if isinstance(event, dg.Output):
            published = publish(event.value.write)
            if event.value.rejected is not None:
                replace_slices(storage.store, event.value.rejected)
            event.value.write.stage.discard(keep=published.kept)
