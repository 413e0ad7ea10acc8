"""What the write benchmarks write: order lines of 12 columns in 24 months, one row in a thousand of them broken."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import dagster as dg
import pandera.pyspark as pa
import pyspark.sql.types as T
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from medallion.delta.io_manager import LakeStorage
from medallion.delta.publish import publish
from medallion.engine.frames import read_delta, write_delta
from medallion.layers import silver
from medallion.pipeline import Making
from medallion.quarantine import replace_slices

MONTHS = dg.MonthlyPartitionsDefinition(start_date="2017-01", end_date="2019-01", fmt="%Y-%m")
_DAYS = 720


class Line(pa.DataFrameModel):
    """Order lines as wide as usual; one row in a thousand breaks the status rule."""

    order_id: T.StringType() = pa.Field(str_matches="o[0-9]+$")
    customer: T.LongType() = pa.Field(ge=0)
    status: T.LongType() = pa.Field(lt=999)
    quantity: T.IntegerType() = pa.Field(gt=0)
    price: T.DecimalType(12, 2) = pa.Field(ge=0)
    day: T.DateType() = pa.Field()
    score: T.DoubleType() = pa.Field(nullable=True)
    c0: T.StringType() = pa.Field(nullable=True)
    c1: T.StringType() = pa.Field(nullable=True)
    c2: T.StringType() = pa.Field(nullable=True)
    c3: T.StringType() = pa.Field(nullable=True)
    month: T.DateType() = pa.Field(metadata={"partition": True})


class Account(pa.DataFrameModel):
    """The same columns, one row per order, for merging."""

    order_id: T.StringType() = pa.Field()
    price: T.DecimalType(12, 2) = pa.Field(ge=0)
    c0: T.StringType() = pa.Field(nullable=True)
    c1: T.StringType() = pa.Field(nullable=True)
    c2: T.StringType() = pa.Field(nullable=True)
    c3: T.StringType() = pa.Field(nullable=True)

    class Config:
        unique = ["order_id"]


class Source(pa.DataFrameModel):
    """What the rows come from; only its name matters here."""

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


@silver(contract=Account, domain="bench", mode="merge")
def accounts(source: DataFrame) -> DataFrame:
    """The source as it is, merged by order."""
    return source


def write_source(spark: SparkSession, uri: str, rows: int) -> DataFrame:
    """Write lines as a plain Delta table by month, and read them."""
    day = f"date_add(date'2017-01-01', cast(id % {_DAYS} as int))"
    frame = spark.range(rows).select(
        F.concat(F.lit("o"), F.col("id").cast("string")).alias("order_id"),
        (F.col("id") % 99_991).alias("customer"),
        (F.col("id") % 1000).alias("status"),
        F.expr("cast(id % 7 + 1 as int)").alias("quantity"),
        F.expr("cast(id % 1000 as decimal(12,2))").alias("price"),
        F.expr(day).alias("day"),
        F.expr("id / 3.0D").alias("score"),
        *[F.expr(f"sha2(cast(id*{k} as string), 256)").alias(f"c{k}") for k in range(4)],
        F.expr(f"cast(trunc({day}, 'MM') as date)").alias("month"),
    )
    write_delta(frame, uri, ["month"])
    return read_delta(spark, uri, 0)


def make(storage: LakeStorage, table: Any, rows: DataFrame, keys: Sequence[str] = ()) -> None:
    """Stage, rules, split, audit, publish and quarantine, without Dagster around it."""
    making = Making(
        table=table,
        tables={table.label: table, source.label: source},
        storage=storage,
        keys=tuple(keys),
        input_keys=lambda _: [],
        made=lambda _: (),
        run_id="bench",
        root_run_id="bench",
        started=dt.datetime.now(dt.UTC),
    )
    for event in making.run({"source": rows}, None):
        if isinstance(event, dg.Output):
            candidate = event.value
            storage.snapshots.forget(candidate.write.table)
            published = publish(candidate.write)
            if candidate.rejected is not None:
                replace_slices(storage.store, candidate.rejected)
            candidate.write.stage.discard(keep=published.kept)
            return
    raise RuntimeError(f"{table.label} was not published")
