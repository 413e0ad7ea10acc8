"""Spark, Arrow and polars frames in and out of Delta tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from medallion.delta.ahead import Ahead
from medallion.delta.parquet import writer_properties
from medallion.delta.protocol import require_own_files
from medallion.delta.staging import OUTCOME, PASSED
from medallion.delta.store import DeltaStore, column_types, scan
from medallion.partitions import WHOLE, Slice

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable, Schema
    from pyspark.sql import DataFrame, SparkSession

Writer = Callable[[str, Sequence[str]], None]


class UnsupportedFrameError(TypeError):
    """A Python type that is no frame the lakehouse can store or load."""


def stage_writer(frame: Any, store: DeltaStore) -> Writer:
    """How a frame is written as a stage, every row passed unless the frame has an outcome column.

    Args:
        frame: Spark DataFrame, pyarrow Table or RecordBatchReader, polars DataFrame or LazyFrame.
        store: whose storage options reach the stage.

    Raises:
        UnsupportedFrameError: it is none of these.
    """
    if _is_spark(type(frame)):
        return lambda uri, partition_by: _write_spark(frame, uri, partition_by)
    reader = arrow_reader(frame)
    return lambda uri, partition_by: _write_arrow(reader, uri, partition_by, store)


def streamed(frame: Any) -> Any:
    """A Spark frame as it is, any other as a stream of Arrow batches, which can be taken once."""
    return frame if _is_spark(type(frame)) else arrow_reader(frame)


def frame_types(frame: Any) -> dict[str, str]:
    """Type names by column of a Spark frame or an Arrow stream."""
    if _is_spark(type(frame)):
        return dict(frame.dtypes)
    return {item.name: str(item.type) for item in frame.schema}


def arrow_reader(frame: Any) -> pa.RecordBatchReader:
    """A pyarrow or polars frame as a stream of Arrow batches.

    Raises:
        UnsupportedFrameError: it is neither.
    """
    import pyarrow as pa

    if isinstance(frame, pa.RecordBatchReader):
        return frame
    if isinstance(frame, pa.Table):
        return frame.to_reader()
    if (polars_type := _polars_type(type(frame))) is not None:
        table = (frame.collect() if polars_type == "LazyFrame" else frame).to_arrow()
        from medallion.engine.frames import plain_types

        return plain_types(table).to_reader()
    raise UnsupportedFrameError(
        f"{type(frame).__module__}.{type(frame).__qualname__} can't be stored; return a Spark DataFrame, a pyarrow "
        "Table or RecordBatchReader, or a polars DataFrame or LazyFrame"
    )


def read_spark(
    spark: SparkSession,
    store: DeltaStore,
    path: Sequence[str],
    selection: Slice = WHOLE,
    columns: Sequence[str] | None = None,
) -> DataFrame:
    """A slice of a table as a Spark frame, pinned to the table's version of now.

    Raises:
        TableMissingError: it was never written.
        UnsupportedTableError: another writer gave it a feature that the engine can't read.
        SliceError: the slice can't be expressed on the table's columns.
    """
    from medallion.engine.frames import read_delta

    table = store.open(path)
    require_own_files("/".join(path), table)
    frame = read_delta(spark, store.uri(path), table.version())
    condition = selection.bind(column_types(table.schema())).column_expression()
    if condition is not None:
        frame = frame.where(condition)
    return frame.select(*[f"`{name}`" for name in columns]) if columns else frame


def load(kind: Any, table: DeltaTable, selection: Slice, columns: Sequence[str] | None) -> Any:
    """A slice of a table as a pyarrow or polars frame.

    Raises:
        UnsupportedFrameError: the type is neither.
    """

    predicate = selection.bind(column_types(table.schema())).sql()
    names = list(columns) if columns else [item.name for item in table.schema().fields]
    return _convert(kind, scan(table, names, predicate))


def empty(kind: Any, schema: Schema, spark: Callable[[], SparkSession]) -> Any:
    """A frame without rows, for a slice before a table's first write."""
    if is_spark_type(kind):
        from pyspark.sql.types import StructType

        # Delta and Spark share one JSON notation of a schema.
        return spark().createDataFrame([], StructType.fromJson(json.loads(schema.to_json())))
    import pyarrow as pa

    return _convert(kind, pa.schema(schema.to_arrow()).empty_table().to_reader())


def is_spark_type(kind: Any) -> bool:
    """Whether an input's annotation asks for a Spark frame, which an input without one gets as well."""
    return kind is Any or _is_spark(kind)


def _convert(kind: Any, reader: pa.RecordBatchReader) -> Any:
    import pyarrow as pa

    from medallion.engine.frames import plain_types

    if kind is pa.RecordBatchReader:
        schema = plain_types(reader.schema.empty_table()).schema

        def batches() -> Iterator[pa.RecordBatch]:
            for batch in reader:
                yield from plain_types(pa.Table.from_batches([batch])).to_batches()

        return pa.RecordBatchReader.from_batches(schema, batches())
    table = plain_types(reader.read_all())
    if kind is pa.Table:
        return table
    if (polars_type := _polars_type(kind)) is not None:
        import polars as pl

        frame = pl.DataFrame(table)
        return frame.lazy() if polars_type == "LazyFrame" else frame
    raise UnsupportedFrameError(
        f"an input can't be loaded as {kind!r}; annotate it as a Spark DataFrame, a pyarrow Table or "
        "RecordBatchReader, or a polars DataFrame or LazyFrame"
    )


def _write_spark(frame: DataFrame, uri: str, partition_by: Sequence[str]) -> None:
    from pyspark.sql import functions as F

    from medallion.engine.frames import write_delta

    if OUTCOME not in frame.columns:
        frame = frame.withColumn(OUTCOME, F.lit(PASSED))
    write_delta(frame, uri, partition_by)


def _write_arrow(reader: pa.RecordBatchReader, uri: str, partition_by: Sequence[str], store: DeltaStore) -> None:
    import pyarrow as pa
    from deltalake import write_deltalake

    schema = reader.schema.append(pa.field(OUTCOME, pa.string()))

    def outcomes(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            outcome = pa.repeat(PASSED, batch.num_rows)
            yield pa.RecordBatch.from_arrays([*batch.columns, outcome], schema=schema)

    with Ahead(reader) as ahead:
        write_deltalake(
            uri,
            pa.RecordBatchReader.from_batches(schema, outcomes(ahead.batches())),
            partition_by=list(partition_by),
            storage_options=store.options,
            writer_properties=writer_properties(),
        )


def _is_spark(kind: Any) -> bool:
    """By name, so that asking does not import pyspark."""
    return any(base.__module__.startswith("pyspark.sql") and base.__name__ == "DataFrame" for base in _bases(kind))


def _polars_type(kind: Any) -> str | None:
    names = [base.__name__ for base in _bases(kind) if base.__module__.startswith("polars.")]
    return next((name for name in names if name in ("DataFrame", "LazyFrame")), None)


def _bases(kind: Any) -> tuple[type, ...]:
    return kind.__mro__ if isinstance(kind, type) else ()
