"""A merge too large for one machine: Delta MERGE in Spark on a private clone, whose files then enter the table."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from medallion.delta.actions import add_actions, remove_actions
from medallion.delta.log import actions, commit_file
from medallion.delta.merge import COUNTED, HAS_PASSED, Upsert
from medallion.delta.protocol import UnsupportedTableError
from medallion.delta.staging import STAGE_PREFIX, Stage, staged_file
from medallion.delta.store import data_files
from medallion.extract import DELETED
from medallion.partitions import WHOLE

if TYPE_CHECKING:
    from deltalake import CommitProperties, DeltaTable
    from pyspark.sql import SparkSession

_MERGED = 2  # after the empty table and the clone


def merge_in_engine(
    table: DeltaTable, upsert: Upsert, commit: CommitProperties, spark: SparkSession
) -> tuple[dict[str, int], Stage | None]:
    """Merge by the engine's executors, in one commit of delta-rs, or none if nothing changes.

    Spark's own commit to an object store would not notice a rival. So it merges into a shallow clone below the table,
    which nobody else sees, and the files that it wrote there enter the table like those of any other stage, if the
    table is still the one that was cloned.

    Args:
        table: opened; updated to the version after the merge.
        upsert: what to merge.
        commit: properties of the commit, without retries.
        spark: a session on Apache Spark with Delta Lake.

    Returns:
        Rows inserted, updated and deleted, files added and removed; and the clone, if files of it are part of the
        table now.

    Raises:
        UnsupportedTableError: the merge made deletion vectors.
        deltalake.exceptions.CommitFailedError: somebody else committed first.
        pyspark.errors.PySparkException: the engine can't clone or merge; nothing has changed.
    """
    from deltalake import DeltaTable

    store, path = upsert.stage.store, upsert.stage.table
    name = STAGE_PREFIX + uuid.uuid4().hex[:12]
    uri = store.uri((*path, name))
    # Spark takes a path below a table for one of its partitions unless a table of its own is there.
    DeltaTable.create(uri, table.schema(), storage_options=store.options)
    source = f"{_at(store.uri(path))} VERSION AS OF {table.version()}"
    spark.sql(f"CREATE OR REPLACE TABLE {_at(uri)} SHALLOW CLONE {source}").collect()
    spark.sql(_statement(upsert, uri)).collect()
    clone = Stage(store, path, name, (), {})
    log = _log(clone, _MERGED)
    infos = [entry["commitInfo"] for entry in log if "commitInfo" in entry]
    metrics: Mapping[str, Any] = infos[0].get("operationMetrics", {}) if infos else {}
    counts = {name: int(metrics.get(_camel(counted), 0)) for name, counted in COUNTED.items()}
    added = [entry["add"] for entry in log if "add" in entry]
    removed = {_below(store.uri(path), entry["remove"]["path"]) for entry in log if "remove" in entry}
    if any(add.get("deletionVector") for add in added):
        raise UnsupportedTableError(
            f"{'/'.join(path)}: the engine's merge made deletion vectors, which other writers of the table can't keep "
            "up; nothing was written. Set delta.enableDeletionVectors to false on the table"
        )
    if not added and not removed:
        clone.discard()
        return counts, None
    files = [staged_file(add) for add in added]
    leaving = [file for file in data_files(table, WHOLE) if file.path in removed]
    if len(leaving) != len(removed):
        raise UnsupportedTableError(
            f"{'/'.join(path)}: the engine's merge removes files that the table does not have "
            f"({sorted(removed - {file.path for file in leaving})[:3]}); nothing was written"
        )
    partition_by = table.metadata().partition_columns
    # If this fails, the clone stays until it is swept: the commit may have landed although its answer was lost.
    table.create_write_transaction(
        [*add_actions(files, name, partition_by), *remove_actions(leaving)],
        mode="append",
        schema=table.schema(),
        partition_by=partition_by,
        commit_properties=commit,
    )
    table.update_incremental()
    return counts, Stage(store, path, name, tuple(files), {})


def _statement(upsert: Upsert, target: str) -> str:
    clauses = []
    if upsert.deletes:
        clauses.append(f"WHEN MATCHED AND s.{_quoted(DELETED)} THEN DELETE")
    if upsert.updates:
        sets = ", ".join(f"t.{_quoted(column)} = s.{_quoted(column)}" for column in upsert.columns)
        clauses.append(f"WHEN MATCHED THEN UPDATE SET {sets}")
    names = ", ".join(map(_quoted, upsert.columns))
    values = ", ".join(f"s.{_quoted(column)}" for column in upsert.columns)
    clauses.append(f"WHEN NOT MATCHED THEN INSERT ({names}) VALUES ({values})")
    return f"MERGE INTO {_at(target)} t USING ({_news(upsert, target)}) s ON {upsert.same(_quoted)} {' '.join(clauses)}"


def _news(upsert: Upsert, target: str) -> str:
    """The staged rows that change something: Delta would copy every file that has a row of any key that came."""
    columns = ", ".join(f"s.{_quoted(column)}" for column in upsert.source_columns)
    known = f"t.{_quoted(upsert.keys[0])} IS NOT NULL"
    changed = []
    if upsert.deletes:
        changed.append(f"({known} AND s.{_quoted(DELETED)})")
    if upsert.updates:
        changed.append(f"({known} AND {upsert.differs(_quoted)})")
    kept = upsert.kept(_quoted)
    changed.append(f"(NOT {known}{f' AND {kept}' if kept else ''})")
    return (
        f"SELECT {columns} FROM {_at(upsert.stage.uri)} s LEFT JOIN {_at(target)} t ON {upsert.same(_quoted)} "
        f"WHERE s.{HAS_PASSED} AND ({' OR '.join(changed)})"
    )


def _log(clone: Stage, version: int) -> list[dict[str, Any]]:
    import obstore

    try:
        found = obstore.get(clone.store.objects, commit_file(clone.path, version))
    except FileNotFoundError:
        return []  # a merge that changes nothing commits nothing
    return actions(bytes(found.bytes()))


def _below(uri: str, path: str) -> str:
    """A file of the table, relative to it, from the absolute address that the clone's log has."""
    return unquote(_location(path)).removeprefix(_location(uri).rstrip("/") + "/")


def _location(address: str) -> str:
    """An address without what differs between writers: `file:/x`, `file:///x` and `/x`, `s3a://` and `s3://`."""
    # No parser of URLs: a root is not percent-encoded, and a `?` or `#` in it ends no path.
    return re.sub(r"^[a-z0-9]+:/", "", address).lstrip("/")


def _camel(name: str) -> str:
    """`num_target_rows_inserted` as Spark writes it, `numTargetRowsInserted`."""
    return re.sub(r"_(.)", lambda match: match[1].upper(), name)


def _at(uri: str) -> str:
    return f"delta.{_quoted(uri)}"


def _quoted(name: str) -> str:
    """A name as Spark SQL writes it."""
    return "`" + name.replace("`", "``") + "`"
