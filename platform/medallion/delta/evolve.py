"""A table takes other columns in one commit: by its metadata where its files stay as they are, else by new files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from medallion.delta.actions import add_actions
from medallion.delta.commits import WRITE_ID, own_commit
from medallion.delta.protocol import require_writable
from medallion.delta.rewrite import rewrite
from medallion.delta.schema import ColumnChange, SchemaError, type_name
from medallion.delta.staging import PASSED
from medallion.delta.store import DeltaStore, scan
from medallion.sql import quoted

if TYPE_CHECKING:
    from deltalake import CommitProperties, DeltaTable, Schema
    from deltalake.transaction import AddAction

MIGRATION = "medallion/migration"
"""Commit metadata that lists what a commit has changed about the columns."""
_REWRITING = frozenset({"removed", "widened", "retyped"})


def evolve(
    store: DeltaStore,
    path: Sequence[str],
    table: DeltaTable,
    target: Schema,
    changes: Sequence[ColumnChange],
    metadata: Mapping[str, str],
    renamed: Mapping[str, str] | None = None,
) -> bool:
    """Give a table other columns; its rows keep their values and have NULL in new columns.

    Args:
        store: where the table is.
        path: the table.
        table: the version that the changes were made out for; it is as new as the commit afterwards.
        target: all columns that the table is to have.
        changes: the differences, after columns are renamed.
        metadata: custom metadata of the commit.
        renamed: stored name by new name.

    Returns:
        Whether files were written.

    Raises:
        SchemaError: the stored rows do not allow it: NULLs in a column that becomes NOT NULL, a new NOT NULL column
            beside stored rows, or a value that another type does not hold. Nothing was changed.
        UnsupportedTableError: new files would lose a feature of the table.
        CommitFailedError: somebody else changed the table.
    """
    from deltalake.exceptions import DeltaError

    label = "/".join(path)
    added = {change.column for change in changes if change.kind == "added"}
    # A new column may have the name that another has lost.
    sources = {field.name: field.name for field in target.fields if field.name not in added} | dict(renamed or {})
    has_rows = table.count() > 0
    _require_values(label, table, target, changes, sources, has_rows)
    if not has_rows or not rewrites(changes, renamed or {}):
        _set_columns(table, target, _commit(metadata))
        return False
    require_writable(label, table, "migrate")
    stages = rewrite(store, tuple(path), table, target, sources)
    partition_by = table.metadata().partition_columns
    adds = [add for stage in stages for add in add_actions(stage.select(PASSED), stage.name, partition_by)]
    own = stages[0].name
    version = table.version()
    try:
        overwrite(table, adds, target, partition_by, _commit({**metadata, WRITE_ID: own}))
    except (DeltaError, OSError):
        # The commit may be there although its answer got lost; then the files are the table's.
        if own_commit(store, path, version, own) is None:
            for stage in stages:
                stage.discard()
            raise
        table.update_incremental()
    for stage in stages:
        stage.discard(keep=stage.files)
    return True


def rewrites(changes: Sequence[ColumnChange], renamed: Mapping[str, str]) -> bool:
    """Whether changes to the columns of a table need its files to be written anew."""
    return bool(renamed) or any(change.kind in _REWRITING for change in changes)


def described(changes: Sequence[ColumnChange]) -> str:
    """Changes as the commit keeps them: a JSON list of sentences."""
    return json.dumps([str(change) for change in changes])


def overwrite(
    table: DeltaTable,
    adds: Sequence[AddAction],
    schema: Schema,
    partition_by: Sequence[str],
    commit: CommitProperties,
) -> int:
    """Make staged files, with their columns, all that a table holds.

    Args:
        table: as of the version to build on; it is as new as the commit afterwards.
        adds: the files.
        schema: its columns from now on.
        partition_by: its physical partition columns.
        commit: properties of the commit.

    Returns:
        The version that holds them.
    """
    from deltalake import TableFeatures

    features = table.protocol().reader_features or ()
    if "timestampNtz" not in features and any("timestamp_ntz" in type_name(field) for field in schema.fields):
        # delta-rs commits files of this type without the feature, and then nobody can open the table.
        table.alter.add_feature(
            TableFeatures.TimestampWithoutTimezone,
            allow_protocol_versions_increase=True,
            commit_properties=_commit({}),
        )
        table.update_incremental()
    version = table.version() + 1
    table.create_write_transaction(
        list(adds),
        mode="overwrite",
        schema=schema,
        partition_by=list(partition_by),
        commit_properties=commit,
    )
    table.update_incremental()
    return version


def _commit(metadata: Mapping[str, str]) -> CommitProperties:
    """Properties of a commit that fails if anyone else committed since the table was read."""
    from deltalake import CommitProperties

    return CommitProperties(custom_metadata=dict(metadata), max_commit_retries=0)


def _set_columns(table: DeltaTable, target: Schema, commit: CommitProperties) -> None:
    """Commit new metadata alone: a write that replaces no row and brings none, but its columns."""
    import pyarrow as pa
    from deltalake import write_deltalake

    empty = pa.schema(target.to_arrow()).empty_table()
    write_deltalake(
        table, empty, mode="overwrite", predicate="FALSE", schema_mode="overwrite", commit_properties=commit
    )
    table.update_incremental()


def _require_values(
    label: str,
    table: DeltaTable,
    target: Schema,
    changes: Sequence[ColumnChange],
    sources: Mapping[str, str],
    has_rows: bool,
) -> None:
    """Refuse NOT NULL where a stored row has, or would have, no value."""
    required = {field.name for field in target.fields if not field.nullable}
    for change in changes:
        if change.kind == "added" and change.column in required and has_rows:
            raise SchemaError(
                f"{label}: {change} is NOT NULL, and the rows that are stored have no value for it; declare it "
                "nullable, fill it by running every partition, then declare it NOT NULL; nothing was changed"
            )
        if change.kind == "required" and (nulls := _nulls(table, sources[change.column])):
            raise SchemaError(
                f"{label}: {change}, but {nulls} stored rows have NULL there; declare it nullable, or fill it by "
                "running their partitions first; nothing was changed"
            )


def _nulls(table: DeltaTable, column: str) -> int:
    """Stored NULLs of a column, from the statistics where all files have them."""
    import pyarrow as pa

    actions = pa.table(table.get_add_actions(flatten=True))
    if column in table.metadata().partition_columns:
        return sum(row["num_records"] or 0 for row in actions.to_pylist() if row[f"partition.{column}"] is None)
    counts = actions[f"null_count.{column}"].to_pylist() if f"null_count.{column}" in actions.column_names else [None]
    if None not in counts:
        return sum(counts)
    stream = scan(table, [column], f"{quoted(column)} IS NULL")
    return sum(batch.num_rows for batch in stream)
