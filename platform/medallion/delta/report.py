"""What a write says about itself: materialization metadata for Dagster's UI."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from medallion.delta.publish import Published, Write

if TYPE_CHECKING:
    from deltalake import DeltaTable, Schema

    from medallion.delta.store import DeltaStore

COLUMN_SCHEMA = "dagster/column_schema"


def output_metadata(write: Write, published: Published, seconds: float) -> dict[str, Any]:
    """Dagster's standard table metadata and what a Delta user asks next.

    Args:
        write: what was to be published.
        published: what was.
        seconds: from the first input read to the commit.
    """
    rows_written = write.stage.rows("passed") if published.operation != "skipped" else 0
    return {
        **table_metadata(write.stage.store, write.table, published.table, write.keys),
        "delta/version": published.version,
        "delta/operation": published.operation,
        "slice": write.selection.label,
        "rows_written": rows_written,
        "seconds": round(seconds, 3),
        "rows_per_second": round(rows_written / seconds) if seconds > 0 else 0,
        **{f"delta/{name}": value for name, value in published.metrics.items()},
    }


def table_metadata(store: DeltaStore, path: Sequence[str], table: DeltaTable, keys: tuple[str, ...]) -> dict[str, Any]:
    """Dagster's standard table metadata.

    Args:
        store: where the table is.
        path: the table.
        table: opened at the version that the metadata is of.
        keys: its key columns.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    actions = pa.table(table.get_add_actions(flatten=True))
    return {
        "dagster/row_count": int(pc.sum(actions["num_records"]).as_py() or 0),
        "dagster/size_bytes": int(pc.sum(actions["size_bytes"]).as_py() or 0),
        COLUMN_SCHEMA: column_schema(table.schema(), keys),
        "dagster/uri": store.uri(path),
        "dagster/table_name": ".".join(path),
        "delta/files": actions.num_rows,
    }


def column_schema(schema: Schema, keys: tuple[str, ...] = ()) -> dg.TableSchema:
    """A Delta schema as Dagster shows it: Spark SQL's type names, descriptions, nullability and key.

    Dagster's page has no icons for Delta's names (`long`, `integer`, `short`, `byte`).
    """
    import pyspark.sql.types as T

    columns = []
    types = [item.dataType.simpleString() for item in T.StructType.fromJson(json.loads(schema.to_json()))]
    for item, kind in zip(schema.fields, types, strict=True):
        constraints = dg.TableColumnConstraints(nullable=item.nullable, unique=keys == (item.name,))
        description = str((item.metadata or {}).get("comment") or "") or None
        columns.append(dg.TableColumn(item.name, kind, description=description, constraints=constraints))
    return dg.TableSchema(columns=columns)
