"""An old version of a Delta table, read from its data files where the engine can't replay the log that far back."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import datetime
from functools import reduce
from itertools import chain
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from medallion.delta.protocol import UnsupportedTableError, reader_features

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession
    from pyspark.sql.types import DataType, StructType

# Features that leave the Parquet files readable by themselves; deletion vectors and column mapping don't.
_PLAIN_FEATURES = frozenset({"timestampNtz", "v2Checkpoint"})


def read_snapshot(spark: SparkSession, uri: str, version: int) -> DataFrame:
    """Read one version of a Delta table by the list of its files, which delta-rs takes from the log.

    Sail replays the log from the newest checkpoint only, so older versions are out of its reach.

    Args:
        spark: Session to read with.
        uri: Path or `s3://…` address of the table.
        version: Delta version that still has all of its files.

    Returns:
        The table's columns in its order, all nullable.

    Raises:
        deltalake.exceptions.TableNotFoundError: No table is at `uri`.
        deltalake.exceptions.DeltaError: The table has no such version.
        UnsupportedTableError: The table uses deletion vectors or column mapping.
        ValueError: Files of the version were vacuumed.
    """
    import pyarrow as pa
    from deltalake import DeltaTable
    from pyspark.sql import functions as F

    table = DeltaTable(uri, version=version)
    features = reader_features(table) - _PLAIN_FEATURES
    if features:
        raise UnsupportedTableError(
            f"version {version} of the Delta table {uri} is older than its last checkpoint and uses "
            f"{', '.join(sorted(features))}, so this engine can't read it; use DeltaTable(uri, version).scan()"
        )
    schema = _schema(table.schema().to_json())
    partitions = table.metadata().partition_columns
    actions: list[dict[str, Any]] = pa.table(table.get_add_actions()).to_pylist()
    if not actions:
        return spark.createDataFrame([], schema)
    files: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for action in actions:
        values = tuple(action["partition"][name] for name in partitions) if partitions else ()
        files[values].append(_address(uri, action["path"]))
    reader = spark.read.schema(_without(schema, partitions))
    recorded = [action["num_records"] for action in actions]
    _verify_files(reader.parquet(*chain.from_iterable(files.values())), uri, version, recorded)

    def slice_of(values: tuple[Any, ...]) -> DataFrame:
        literals = {
            name: _literal(value, schema[name].dataType) for name, value in zip(partitions, values, strict=True)
        }
        return reader.parquet(*files[values]).select(
            *[literals[name].alias(name) if name in literals else F.col(f"`{name}`") for name in schema.names]
        )

    return reduce(lambda left, right: left.unionAll(right), map(slice_of, files))


def _verify_files(data: DataFrame, uri: str, version: int, recorded: list[int | None]) -> None:
    # A Parquet path that isn't there reads as no rows, so a vacuumed file would go unnoticed without this count.
    if None in recorded:
        raise ValueError(f"files of version {version} of the Delta table {uri} have no row count in the log")
    expected, found = sum(count or 0 for count in recorded), data.count()
    if found != expected:
        raise ValueError(
            f"version {version} of the Delta table {uri} has {expected} rows in its log and {found} in its files; "
            "some were vacuumed, so read a newer version"
        )


def _schema(delta_json: str) -> StructType:
    from pyspark.sql.types import StructType

    fields = json.loads(delta_json)
    for field in fields["fields"]:
        field["nullable"] = True
    return StructType.fromJson(fields)


def _without(schema: StructType, names: list[str]) -> StructType:
    from pyspark.sql.types import StructType

    return StructType([field for field in schema.fields if field.name not in names])


def _address(uri: str, path: str) -> str:
    return path if "://" in path else f"{uri.rstrip('/')}/{unquote(path)}"


def _literal(value: Any, kind: DataType) -> Column:
    from pyspark.sql import functions as F

    # As text, because PySpark converts a naive datetime by the time zone of this machine.
    text = value.isoformat(sep=" ") if isinstance(value, datetime) else str(value)
    return F.lit(None if value is None else text).cast(kind)
