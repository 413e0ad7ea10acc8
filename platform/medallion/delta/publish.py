"""A stage enters its table: one commit that replaces, appends or merges exactly the slice."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from medallion.delta.actions import add_actions, remove_actions
from medallion.delta.change_feed import require_properties
from medallion.delta.commits import ASSET_KEY, RUN_ID, WRITE_ID, WRITE_MODE, own_commit
from medallion.delta.evolve import MIGRATION, described, evolve, overwrite
from medallion.delta.merge import COUNTED, HAS_PASSED, Upsert, merge_counts, merge_rows
from medallion.delta.positions import record_positions
from medallion.delta.preconditions import require_inside, require_no_row_outside, require_unique_keys
from medallion.delta.protocol import require_writable
from medallion.delta.scd2 import Batch, History, merge_history
from medallion.delta.schema import ColumnChange, SchemaEvolution, check_evolution, evolved
from medallion.delta.staging import PASSED, Stage, StagedFile
from medallion.delta.store import DeltaStore, column_types, data_files, scan
from medallion.faults import Fault, fault
from medallion.partitions import WHOLE, Slice, SliceError

if TYPE_CHECKING:
    from deltalake import CommitProperties, DeltaTable, Schema
    from pyspark.sql import SparkSession

WriteMode = Literal["replace", "append", "merge", "scd2"]
_PATIENCE_SECONDS = 120.0
_LONGEST_WAIT_SECONDS = 2.0


class WriteConflictError(RuntimeError):
    """Other writers won every attempt for two minutes; nothing was written."""


@dataclass(frozen=True)
class Write:
    """What is to be published and how.

    Attributes:
        stage: the rows; those with the outcome `passed` are published.
        selection: the rows of the table that the write may touch.
        schema: columns of the table, in order.
        partition_by: physical partition columns if the table is new.
        mode: `replace` the slice, `append` to the table, `merge` by key, or `scd2`, which keeps the history.
        keys: key columns of a merge; with `valid_from` those of a history.
        history: the columns of the history that `scd2` keeps.
        evolution: what may change about the columns.
        transactions: names that make an append happen once; one per partition.
        positions: how far a source was read, by name, as the commit records it; a table that is as far is left alone.
        commit: custom metadata of the commit.
        properties: Delta properties that the table is to have, such as a change data feed.
        spark: gives the session that merges; None to merge in this process.
    """

    stage: Stage
    selection: Slice
    schema: Schema
    partition_by: tuple[str, ...]
    mode: WriteMode = "replace"
    keys: tuple[str, ...] = ()
    history: History | None = None
    evolution: SchemaEvolution = "strict"
    transactions: tuple[str, ...] = ()
    positions: Mapping[str, int] = field(default_factory=dict)
    commit: Mapping[str, Any] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    spark: Callable[[], SparkSession] | None = None

    @property
    def table(self) -> tuple[str, ...]:
        """Path of the target table."""
        return self.stage.table

    @property
    def name(self) -> str:
        """The table as messages name it."""
        return "/".join(self.table)

    @property
    def columns(self) -> list[str]:
        """The columns of the schema that the stage has; under additive evolution it may lack some."""
        staged = {item.name for item in self.stage.schema.fields}
        return [item.name for item in self.schema.fields if item.name in staged]


@dataclass(frozen=True)
class Published:
    """What a write did.

    Attributes:
        table: the table after the write.
        version: Delta version of the table that holds the rows.
        operation: `replace`, `append`, `merge`, `scd2`, or `skipped` for what had been committed before.
        metrics: inserted, updated, added and removed counts, by name.
        kept: staged files that are part of the table now.
    """

    table: DeltaTable
    version: int
    operation: str
    metrics: Mapping[str, int]
    kept: tuple[StagedFile, ...] = ()


def publish(write: Write) -> Published:
    """Publish a stage in one commit; on any error the table is as it was.

    A lost race is run again with back-off. A commit whose answer got lost is found by its write id and not repeated.

    Raises:
        SchemaError: the columns differ in a way the evolution mode refuses.
        SliceError: passed rows are outside of the slice, or it can't be expressed on the table's columns.
        DuplicateKeyError: rows to merge share a key.
        UnsupportedTableError: another writer gave the table a rule that the commit would not keep.
        WriteConflictError: concurrent writers won every attempt.
    """
    from deltalake.exceptions import CommitFailedError, DeltaError

    if write.mode in ("merge", "scd2"):
        require_unique_keys(write)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    for attempt in itertools.count():
        table = _open_or_create(write)
        version = table.version()
        try:
            published = _attempt(write, table)
        except (DeltaError, OSError) as error:
            done = _landed(write, version)
            if done is None:
                if not isinstance(error, CommitFailedError):
                    raise
                if time.monotonic() >= deadline:
                    raise WriteConflictError(
                        f"{write.name} slice {write.selection.label}: other writers won each of {attempt + 1} attempts "
                        f"to commit, the last with: {error}; nothing was written, run it again"
                    ) from error
                time.sleep(min(_LONGEST_WAIT_SECONDS, 0.02 * 2 ** min(attempt, 10)) * random.uniform(0.5, 1))
                continue
            published = done
        fault(Fault.AFTER_COMMIT, write.table)
        return published
    raise AssertionError("unreachable")


def _landed(write: Write, since: int) -> Published | None:
    """The write, if a commit after a version is its own: the answer got lost, or something failed after it.

    Without this look an object store's repetition of a PUT would lose the race against itself, and the retry would
    double an append or discard the files that the table has taken over.
    """
    store = write.stage.store
    own = own_commit(store, write.table, since, write.stage.name)
    if own is None:
        return None
    table = store.open(write.table, version=own["version"])
    live = {file.path for file in data_files(table, WHOLE)}
    kept = tuple(file for file in write.stage.select(PASSED) if f"{write.stage.name}/{file.path}" in live)
    metrics = {"rows_written": write.stage.rows(PASSED)}
    if write.mode == "merge" and write.spark is None:
        metrics = merge_counts(own["operationMetrics"])
    return Published(table, table.version(), write.mode, metrics, kept)


def _attempt(write: Write, table: DeltaTable) -> Published:
    require_properties(write.name, table, write.properties)
    whole = write.selection.is_whole and write.mode == "replace"
    physical = table.metadata().partition_columns
    aligned = list(write.partition_by) == physical and write.selection.columns <= set(physical)
    changes = check_evolution(write.name, table.schema(), write.schema, write.evolution, whole, physical)
    if whole and aligned and (changes or write.evolution == "replace"):
        return _replace_all(write, table)
    if changes and not (whole and write.evolution == "replace"):
        _evolve(write, table, changes)
    if write.positions and _is_as_far(write, table):
        return _skipped(table)
    if write.mode == "merge":
        return _merge(write, table)
    if write.mode == "scd2":
        return _keep_history(write, table)
    if write.mode == "append" and (done := _already_appended(write, table)):
        return done
    return _swap_files(write, table) if aligned else _rewrite(write, table)


def _evolve(write: Write, table: DeltaTable, changes: Sequence[ColumnChange]) -> None:
    """Give the table the columns of the write in a commit of its own, which does no harm if the write then fails."""
    predicate = write.selection.bind(column_types(table.schema())).sql()
    if predicate is not None:
        require_no_row_outside(write, predicate)
    run = {key: value for key, value in write.commit.items() if key in (RUN_ID, ASSET_KEY)}
    target = evolved(table.schema(), write.schema)
    evolve(write.stage.store, write.table, table, target, changes, {**run, MIGRATION: described(changes)})


def _replace_all(write: Write, table: DeltaTable) -> Published:
    """Publish without copying what is to be all of the table, columns included."""
    passed = write.stage.select(PASSED)
    schema = write.schema if write.evolution == "replace" else evolved(table.schema(), write.schema)
    removed = len(data_files(table, WHOLE))
    adds = add_actions(passed, write.stage.name, write.partition_by)
    version = overwrite(table, adds, schema, write.partition_by, _commit(write, retries=0))
    metrics = {"files_added": len(passed), "files_removed": removed, "rows_written": sum(f.rows for f in passed)}
    return Published(table, version, write.mode, metrics, kept=tuple(passed))


def _open_or_create(write: Write) -> DeltaTable:
    """The table, made empty if there is none, so that the first rows are checked like all later ones."""
    from deltalake import DeltaTable
    from deltalake.exceptions import CommitFailedError

    store = write.stage.store
    table = store.find(write.table)
    if table is not None:
        require_writable(write.name, table, write.mode)
        return table
    with suppress(CommitFailedError):  # a rival made it, or its answer got lost; if neither, opening it fails
        DeltaTable.create(
            store.uri(write.table),
            write.schema,
            mode="ignore",
            partition_by=list(write.partition_by) or None,
            storage_options=store.options,
            configuration={**store.table_config, **write.properties} or None,
        )
    fault(Fault.AFTER_CREATE, write.table)
    return store.open(write.table)


def _swap_files(write: Write, table: DeltaTable) -> Published:
    """Publish without copying: the staged files themselves enter the table, the slice's old files leave it."""
    passed = write.stage.select(PASSED)
    types = column_types(table.schema())
    require_inside(write, write.selection.bind(types), types, passed)
    removes = remove_actions(data_files(table, write.selection)) if write.mode == "replace" else []
    version = table.version()
    table.create_write_transaction(
        [*add_actions(passed, write.stage.name, write.partition_by), *removes],
        mode="append",
        schema=table.schema(),
        partition_by=list(write.partition_by),
        # Without retries a commit means: nobody changed the table since its files were listed above.
        commit_properties=_commit(write, retries=0),
    )
    table.update_incremental()
    metrics = {"files_added": len(passed), "files_removed": len(removes), "rows_written": sum(f.rows for f in passed)}
    return Published(table, version + 1, write.mode, metrics, kept=tuple(passed))


def _rewrite(write: Write, table: DeltaTable) -> Published:
    """Copy the staged rows into a table whose files the slice cuts through."""
    from deltalake import write_deltalake
    from deltalake.exceptions import CommitFailedError, DeltaError

    predicate = write.selection.bind(column_types(table.schema())).sql()
    append = write.mode == "append"
    how: Any = {"mode": "append"} if append else {"mode": "overwrite", "predicate": predicate}
    if not append and predicate is None and write.evolution == "replace":
        how["schema_mode"] = "overwrite"
    elif len(write.columns) < len(table.schema().fields):
        how["schema_mode"] = "merge"  # the columns that did not come are NULL; those that did are the table's own
    if append and predicate is not None:
        require_no_row_outside(write, predicate)
    try:
        write_deltalake(
            table,
            scan(write.stage.delta, write.columns, HAS_PASSED),
            storage_options=write.stage.store.options,
            commit_properties=_commit(write, retries=0),
            **how,
        )
    except CommitFailedError:
        raise
    except DeltaError as error:
        if predicate is not None and "validation check" in str(error):
            raise SliceError(
                f"{write.name}: the transform returned rows outside of slice {write.selection.label} "
                f"({predicate}); nothing was written"
            ) from error
        raise
    table.update_incremental()
    return Published(table, table.version(), write.mode, {"rows_written": write.stage.rows(PASSED)})


def _merge(write: Write, table: DeltaTable) -> Published:
    """Upsert by key; a matched row is written only if a column differs."""
    predicate = write.selection.bind(column_types(table.schema())).sql()
    if predicate is not None:
        require_no_row_outside(write, predicate)
    upsert = Upsert(write.stage, tuple(write.columns), write.keys)
    if upsert.deletes and not write.stage.rows(PASSED) and not write.positions:
        return Published(table, table.version(), "merge", dict.fromkeys(COUNTED, 0))
    before, clone = table.version(), None
    if write.spark is None:
        counts = merge_rows(table, upsert, _commit(write, retries=0))
    else:
        from medallion.delta.engine_merge import merge_in_engine

        counts, clone = merge_in_engine(table, upsert, _commit(write, retries=0), write.spark())
    if write.positions and table.version() == before:
        # A merge that changes nothing commits nothing, and would be read from the source's log for ever.
        record_positions(table, write.positions, _metadata(write))
        table.update_incremental()
    if clone is not None:
        clone.discard(keep=clone.files)
    return Published(table, table.version(), "merge", counts)


def _keep_history(write: Write, table: DeltaTable) -> Published:
    """Bring the staged rows into the history of their keys."""
    if write.history is None:
        raise ValueError(f"{write.name}: mode scd2 needs a contract that extends Versioned; declare it with @silver")
    predicate = write.selection.bind(column_types(table.schema())).sql()
    if predicate is not None:
        require_no_row_outside(write, predicate)
    batch = Batch(
        name=f"{write.name} slice {write.selection.label}",
        columns=write.columns,
        passed=lambda columns: scan(write.stage.delta, columns, HAS_PASSED),
        seen=lambda columns: scan(write.stage.delta, columns),
        stored=lambda columns: scan(table, columns, predicate),
    )
    metrics = merge_history(table, write.history, batch, lambda: _commit(write, retries=0))
    table.update_incremental()
    return Published(table, table.version(), "scd2", metrics)


def _already_appended(write: Write, table: DeltaTable) -> Published | None:
    done = [name for name in write.transactions if table.transaction_version(name) is not None]
    if not done:
        return None
    if len(done) < len(write.transactions):
        raise RuntimeError(
            f"{write.name}: this run has appended {len(done)} of the {len(write.transactions)} partitions of slice "
            f"{write.selection.label} before; start a new run for the others"
        )
    return _skipped(table)


def _is_as_far(write: Write, table: DeltaTable) -> bool:
    """Whether the table has been brought to all positions of the write: by a rival, or before a crash."""
    reached = {name: table.transaction_version(name) for name in write.positions}
    return all((reached[name] or -1) >= position for name, position in write.positions.items())


def _skipped(table: DeltaTable) -> Published:
    return Published(table, table.version(), "skipped", {"rows_written": 0})


def _metadata(write: Write) -> dict[str, Any]:
    return {**write.commit, WRITE_ID: write.stage.name, WRITE_MODE: write.mode}


def _commit(write: Write, retries: int) -> CommitProperties:
    from deltalake import CommitProperties, Transaction

    fault(Fault.BEFORE_COMMIT, write.table)
    return CommitProperties(
        custom_metadata=_metadata(write),
        max_commit_retries=retries,
        app_transactions=[
            Transaction(name, version, None)
            for name, version in (*dict.fromkeys(write.transactions, 1).items(), *write.positions.items())
        ]
        or None,
    )


def row_count(store: DeltaStore, path: Sequence[str], selection: Slice = WHOLE) -> int:
    """Rows of a slice that is aligned with the table's physical partitions, from the log alone."""
    table = store.find(path)
    return 0 if table is None else sum(file.rows for file in data_files(table, selection))
