"""Delta reads and writes and Arrow transfer that behave the same on every engine."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

# Above this many bytes one gRPC message of a local relation is refused (limit 128 MiB); half leaves room for framing.
_LOCAL_RELATION_BYTES = 64 << 20


def read_delta(spark: SparkSession, uri: str, version: int | None = None) -> DataFrame:
    """Read a Delta table, pinned to a version so that a plan sees the same rows whenever it is executed.

    Args:
        spark: Session to read with.
        uri: Path or `s3://…` address of the table.
        version: The newest Delta version, or one since the last checkpoint: `read_version` reads older ones. None is
            the newest at execution, for tables that nothing else writes.

    Raises:
        ValueError: The version is negative.
        pyspark.errors.PySparkException: When the frame is used: there is no such table or version.
    """
    reader = spark.read.format("delta")
    if version is None:
        return reader.load(uri)
    if version < 0:
        raise ValueError(f"version {version} of the Delta table {uri} can't exist; versions start at 0")
    return reader.option("versionAsOf", str(version)).load(uri)


def read_version(spark: SparkSession, uri: str, version: int) -> DataFrame:
    """Read any version of a Delta table that still has its files.

    Args:
        spark: Session to read with.
        uri: Path or `s3://…` address of the table.
        version: Delta version.

    Raises:
        ValueError: The version is negative, or its files aren't all there any more.
        deltalake.exceptions.TableNotFoundError: No table is at `uri`.
        deltalake.exceptions.DeltaError: The table has no such version.
    """
    from pyspark.errors import AnalysisException

    pinned = read_delta(spark, uri, version)
    try:
        # Asks the engine, which opens the version now.
        _ = pinned.schema
    except AnalysisException as error:
        # Sail before the last checkpoint. Its option metadataAsDataRead is no way out: it returns too few rows.
        if "commit file" not in str(error):
            raise
        from medallion.engine.snapshot import read_snapshot

        return read_snapshot(spark, uri, version)
    return pinned


def write_delta(df: DataFrame, uri: str, partition_by: Sequence[str] = ()) -> None:
    """Write a frame as a new Delta table.

    Args:
        df: Rows to write.
        uri: Path or `s3://…` address where no Delta table exists yet.
        partition_by: Partition columns, outermost first.

    Raises:
        pyspark.errors.PySparkException: A table exists at `uri` already, or the frame can't be computed or stored.
    """
    writer = df.write.format("delta").mode("error")
    with _memory_advice():
        (writer.partitionBy(*partition_by) if partition_by else writer).save(uri)


def arrow_batches(df: DataFrame) -> pa.RecordBatchReader:
    """Stream a frame into this process, in bounded memory.

    Args:
        df: Spark Connect DataFrame; it is executed as the batches are taken.

    Returns:
        Reader over the rows in the frame's own order of columns; every field has a type as in `plain_types()`.

    Raises:
        pyspark.errors.PySparkException: The frame can't be computed; with the first batch already on this call.
    """
    import pyarrow as pa

    # toArrow() holds the whole result and toLocalIterator() makes Python rows; this is what both are made of.
    client: Any = df.sparkSession.client
    plan: Any = df._plan
    answers = client.to_table_as_iterator(plan.to_proto(client), plan.observations)
    tables = (plain_types(answer) for answer in answers if isinstance(answer, pa.Table))
    with _memory_advice():
        first = next(tables)

    def batches() -> Iterator[pa.RecordBatch]:
        yield from first.to_batches()
        with _memory_advice():
            for table in tables:
                yield from table.to_batches()

    return pa.RecordBatchReader.from_batches(first.schema, batches())


@contextmanager
def _memory_advice() -> Iterator[None]:
    from pyspark.errors import PySparkException

    try:
        yield
    except PySparkException as error:
        if "HashJoinInput" in str(error):
            error.add_note(
                "A join's hash table doesn't fit into the engine's memory pool. Set MEDALLION_ENGINE_MEMORY (bytes) "
                "higher, or SparkEngine(spilling_joins=True), with which joins sort and spill instead."
            )
        elif "Failed to allocate additional" in str(error):
            error.add_note(
                "The engine's memory pool is too small for this query; raise MEDALLION_ENGINE_MEMORY (bytes)."
            )
        raise


def from_arrow(spark: SparkSession, table: pa.Table) -> DataFrame:
    """Make a frame of an Arrow table that is held in this process.

    Args:
        spark: Session that the frame belongs to.
        table: At most 64 MiB of data; view types are cast to plain ones.

    Raises:
        ValueError: The table is larger, which a Spark Connect message can't carry.
    """
    if table.nbytes > _LOCAL_RELATION_BYTES:
        raise ValueError(
            f"an Arrow table of {table.nbytes} bytes doesn't fit into one Spark Connect message "
            f"(limit here {_LOCAL_RELATION_BYTES}); write it to a Delta table and use read_delta()"
        )
    return spark.createDataFrame(plain_types(table))


def plain_types(table: pa.Table) -> pa.Table:
    """Cast an Arrow table to types that every engine and delta-rs take; the same table is returned if it has only such.

    View, large and dictionary-encoded strings, binaries and lists become plain ones at any depth, because delta-rs and
    Sail return `string_view`, which `createDataFrame` refuses. Fields become nullable, because engines infer NOT NULL
    from expressions and Delta would keep it as a constraint; a contract is what says NOT NULL.
    """
    import pyarrow as pa

    schema = pa.schema([_plain_field(field) for field in table.schema], metadata=table.schema.metadata)
    return table if schema.equals(table.schema) else table.cast(schema)


def _plain_field(field: pa.Field) -> pa.Field:
    return field.with_type(_plain(field.type)).with_nullable(True)


def _plain(kind: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    types = pa.types
    if types.is_dictionary(kind):
        return _plain(kind.value_type)
    if types.is_string_view(kind) or types.is_large_string(kind):
        return pa.string()
    if types.is_binary_view(kind) or types.is_large_binary(kind):
        return pa.binary()
    if types.is_struct(kind):
        return pa.struct([_plain_field(field) for field in kind])
    if types.is_map(kind):
        return pa.map_(kind.key_field.with_type(_plain(kind.key_type)), _plain_field(kind.item_field))
    if types.is_list(kind) or types.is_large_list(kind) or types.is_list_view(kind) or types.is_large_list_view(kind):
        return pa.list_(_plain_field(kind.value_field))
    return kind
