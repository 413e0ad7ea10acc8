"""Rows written once, beside the table they are for, where no reader of the table sees them yet."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from medallion.delta.log import LOG, actions, commit_file
from medallion.delta.store import DeltaStore
from medallion.faults import Fault, fault

if TYPE_CHECKING:
    from deltalake import DeltaTable, Schema

OUTCOME = "_outcome"
"""First partition column of every stage: which of the outcomes a row has."""
PASSED, REJECTED, DUPLICATE = "passed", "rejected", "duplicate"
STAGE_PREFIX = "stage-"  # no leading underscore: vacuum must see what a crash leaves behind
_LOG_READERS = 16


@dataclass(frozen=True)
class StagedFile:
    """One data file of a stage.

    Attributes:
        path: relative to the stage, not percent-encoded.
        size: bytes.
        modified: milliseconds since the epoch.
        partition: raw partition values by column, the outcome included.
        stats: the statistics as the writer's JSON.
        rows: records.
    """

    path: str
    size: int
    modified: int
    partition: Mapping[str, str | None]
    stats: str
    rows: int


@dataclass(frozen=True)
class Stage:
    """A Delta table of its own inside the target table's folder, in one commit.

    Attributes:
        store: where it is.
        table: path of the target table.
        name: folder below the target table.
        files: all data files.
        metadata: the metadata action of its log.
    """

    store: DeltaStore
    table: tuple[str, ...]
    name: str
    files: tuple[StagedFile, ...]
    metadata: Mapping[str, Any]

    @property
    def path(self) -> tuple[str, ...]:
        """Path below the store's root."""
        return (*self.table, self.name)

    @property
    def uri(self) -> str:
        """Location, readable as a Delta table until it is published."""
        return self.store.uri(self.path)

    @cached_property
    def delta(self) -> DeltaTable:
        """The stage opened as a Delta table."""
        return self.store.open(self.path)

    @cached_property
    def schema(self) -> Schema:
        """Columns as written, the outcome included."""
        from deltalake import Schema

        return Schema.from_json(self.metadata["schemaString"])

    @property
    def partition_columns(self) -> list[str]:
        """Physical partition columns, the outcome first."""
        return list(self.metadata["partitionColumns"])

    def select(self, outcome: str) -> list[StagedFile]:
        """The files that hold the rows of one outcome."""
        return [file for file in self.files if file.partition[OUTCOME] == outcome]

    def rows(self, outcome: str) -> int:
        """Rows of one outcome."""
        return sum(file.rows for file in self.select(outcome))

    def discard(self, keep: Iterable[StagedFile] = ()) -> None:
        """Delete the stage but for the data files that a table has taken over; its log last, which marks it as one."""
        import obstore

        fault(Fault.BEFORE_DISCARD, self.table)
        kept = {"/".join([*self.path, file.path]) for file in keep}
        prefix = "/".join(self.path)
        paths = [entry["path"] for batch in obstore.list(self.store.objects, prefix) for entry in batch]
        _delete(self.store, self.path, [path for path in paths if unquote(path) not in kept and path not in kept])


@dataclass(frozen=True)
class AbandonedStage:
    """What a write that never ended has left, and no version of its table needs.

    Attributes:
        name: folder below the table.
        modified: when its newest object was written, UTC.
        size: bytes of the objects.
        objects: their paths below the store's root.
    """

    name: str
    modified: dt.datetime
    size: int
    objects: tuple[str, ...]


def write_stage(
    store: DeltaStore,
    table: tuple[str, ...],
    partition_by: Sequence[str],
    write: Callable[[str, Sequence[str]], None],
) -> Stage:
    """Let a writer make a stage.

    Args:
        store: where the table is.
        table: path of the target table.
        partition_by: physical partition columns of the target.
        write: writes the rows, with their outcome column, as a new Delta table: gets its URI and partition columns.

    Returns:
        The stage, its files read from its log.
    """
    name = STAGE_PREFIX + uuid.uuid4().hex[:12]
    fault(Fault.BEFORE_STAGE, table)
    write(store.uri((*table, name)), [OUTCOME, *partition_by])
    fault(Fault.AFTER_STAGE, table)
    return open_stage(store, table, name)


def open_stage(store: DeltaStore, table: tuple[str, ...], name: str) -> Stage:
    """Read a stage's files from its only commit."""
    import obstore

    log = actions(bytes(obstore.get(store.objects, commit_file((*table, name), 0)).bytes()))
    metadata = next(action["metaData"] for action in log if "metaData" in action)
    return Stage(store, table, name, tuple(staged_file(action["add"]) for action in log if "add" in action), metadata)


def staged_file(add: Mapping[str, Any]) -> StagedFile:
    """A file as the `add` action of a stage's log names it."""
    stats = add["stats"]
    return StagedFile(
        path=unquote(add["path"]),
        size=add["size"],
        modified=add["modificationTime"],
        partition=add["partitionValues"],
        stats=stats,
        rows=json.loads(stats)["numRecords"],
    )


def abandoned_stages(store: DeltaStore, path: Sequence[str], older_than: dt.timedelta) -> list[AbandonedStage]:
    """Stages of a table to which nothing was written for a while, those of blocked writes included; oldest first.

    A staged file that any version in the table's log refers to is no part of the result. A stage that is being written
    or audited is safe by its age alone, so `older_than` has to exceed the longest run.

    Args:
        store: where the table is.
        path: of the table; it need not exist yet.
        older_than: least time since the newest object of the stage was written.

    Raises:
        ValueError: `older_than` is negative.
    """
    import obstore

    if older_than < dt.timedelta(0):
        raise ValueError(f"{'/'.join(path)}: stages can't be older than {older_than}; give a time of 0 or more")
    prefix = "/".join(path)
    found: dict[str, list[Any]] = {}
    for batch in obstore.list(store.objects, prefix):
        for entry in batch:
            name, _, rest = entry["path"].removeprefix(f"{prefix}/").partition("/")
            if rest and name.startswith((STAGE_PREFIX, LOG)):
                found.setdefault(name, []).append(entry)
    log = [entry["path"] for entry in found.pop(LOG, [])]
    latest = dt.datetime.now(dt.UTC) - older_than
    old = {name: entries for name, entries in found.items() if _modified(entries) <= latest}
    needed = _referenced(store, log) if old else set()
    abandoned = []
    for name, entries in old.items():
        relative = {entry["path"].removeprefix(f"{prefix}/"): entry for entry in entries}
        unneeded = [entry for key, entry in relative.items() if key not in needed and unquote(key) not in needed]
        if unneeded:
            objects = tuple(sorted(entry["path"] for entry in unneeded))
            abandoned.append(AbandonedStage(name, _modified(entries), sum(e["size"] for e in unneeded), objects))
    return sorted(abandoned, key=lambda stage: (stage.modified, stage.name))


def sweep_stages(store: DeltaStore, path: Sequence[str], stages: Iterable[AbandonedStage]) -> None:
    """Delete what `abandoned_stages` has listed, a stage's log last."""
    for stage in stages:
        _delete(store, (*path, stage.name), stage.objects)


def _delete(store: DeltaStore, stage: Sequence[str], objects: Sequence[str]) -> None:
    """Delete objects of a stage, its log last: as long as that is there, something of the stage may be."""
    import obstore

    log = {path for path in objects if path.startswith("/".join([*stage, LOG, ""]))}
    if data := sorted(set(objects) - log):
        obstore.delete(store.objects, data)
    fault(Fault.HALF_DISCARDED, stage[:-1])
    if log:
        obstore.delete(store.objects, sorted(log))


def _modified(entries: Iterable[Any]) -> dt.datetime:
    newest: dt.datetime = max(entry["last_modified"] for entry in entries)
    return newest


def _referenced(store: DeltaStore, log: Sequence[str]) -> set[str]:
    """Data files, relative to their table, that any commit or checkpoint of its log names.

    All of the log is read, whatever the objects' times: those of a copied lake say nothing about their order.
    """
    with ThreadPoolExecutor(_LOG_READERS) as readers:
        return set().union(*readers.map(lambda name: _named(store, name), log))


def _named(store: DeltaStore, name: str) -> set[str]:
    import obstore
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not name.endswith((".json", ".parquet")):
        return set()
    content = bytes(obstore.get(store.objects, name).bytes())
    if name.endswith(".parquet"):
        rows = pq.ParquetFile(pa.BufferReader(content)).read(columns=["add.path", "remove.path"]).to_pylist()
    else:
        rows = actions(content)
    files = [row.get(kind) for row in rows for kind in ("add", "remove")]
    return {unquote(file["path"]) for file in files if file and file["path"]}
