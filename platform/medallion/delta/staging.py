"""Rows written once, beside the table they are for, where no reader of the table sees them yet."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from medallion.delta.store import DeltaStore

if TYPE_CHECKING:
    from deltalake import DeltaTable, Schema

OUTCOME = "_outcome"
"""First partition column of every stage: which of the outcomes a row has."""
PASSED, REJECTED, DUPLICATE = "passed", "rejected", "duplicate"
STAGE_PREFIX = "stage-"  # no leading underscore: vacuum must see what a crash leaves behind
_FIRST_COMMIT = "_delta_log/00000000000000000000.json"


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
    """

    store: DeltaStore
    table: tuple[str, ...]
    name: str
    files: tuple[StagedFile, ...]

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
        return self.delta.schema()

    def select(self, outcome: str) -> list[StagedFile]:
        """The files that hold the rows of one outcome."""
        return [file for file in self.files if file.partition[OUTCOME] == outcome]

    def rows(self, outcome: str) -> int:
        """Rows of one outcome."""
        return sum(file.rows for file in self.select(outcome))

    def discard(self, keep: Iterable[StagedFile] = ()) -> None:
        """Delete the stage but for the data files that a table has taken over."""
        import obstore

        kept = {"/".join([*self.path, file.path]) for file in keep}
        prefix = "/".join(self.path)
        paths = [entry["path"] for batch in obstore.list(self.store.objects, prefix) for entry in batch]
        if doomed := [path for path in paths if unquote(path) not in kept and path not in kept]:
            obstore.delete(self.store.objects, doomed)


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
    write(store.uri((*table, name)), [OUTCOME, *partition_by])
    return open_stage(store, table, name)


def open_stage(store: DeltaStore, table: tuple[str, ...], name: str) -> Stage:
    """Read a stage's files from its only commit."""
    import obstore

    log = bytes(obstore.get(store.objects, "/".join([*table, name, _FIRST_COMMIT])).bytes())
    actions = [json.loads(line) for line in log.splitlines() if line.strip()]
    return Stage(store, table, name, tuple(_file(action["add"]) for action in actions if "add" in action))


def _file(add: Mapping[str, Any]) -> StagedFile:
    stats = add["stats"]
    return StagedFile(
        path=unquote(add["path"]),
        size=add["size"],
        modified=add["modificationTime"],
        partition=add["partitionValues"],
        stats=stats,
        rows=json.loads(stats)["numRecords"],
    )
