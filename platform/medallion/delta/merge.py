"""Staged rows that enter a table by key: those that differ are updated, new ones inserted, marked ones deleted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medallion.delta.staging import OUTCOME, PASSED, Stage
from medallion.delta.store import column_types, scan
from medallion.extract import DELETED
from medallion.sql import quoted

if TYPE_CHECKING:
    from deltalake import CommitProperties, DeltaTable

HAS_PASSED = f"{OUTCOME} = '{PASSED}'"
COUNTED = {
    "rows_inserted": "num_target_rows_inserted",
    "rows_updated": "num_target_rows_updated",
    "rows_deleted": "num_target_rows_deleted",
    "files_added": "num_target_files_added",
    "files_removed": "num_target_files_removed",
}
"""What a merge counts, by the name that delta-rs gives it in its answer and in the commit."""


@dataclass(frozen=True)
class Upsert:
    """A merge as every engine of it needs it said.

    Attributes:
        stage: holds the rows; those that passed are merged.
        columns: of the table that the rows have.
        keys: columns that say which rows are the same; no two staged rows share them, and none is NULL.
    """

    stage: Stage
    columns: tuple[str, ...]
    keys: tuple[str, ...]

    @property
    def deletes(self) -> bool:
        """Whether rows can be marked as deleted."""
        return DELETED in column_types(self.stage.schema)

    @property
    def source_columns(self) -> list[str]:
        """Columns of the stage that the merge reads."""
        return [*self.columns, *([DELETED] if self.deletes else [])]

    @property
    def updates(self) -> bool:
        """Whether a row has anything beside its key."""
        return len(self.columns) > len(self.keys)

    def same(self, quote: Callable[[str], str]) -> str:
        """When a row `t` of the table and a staged row `s` are the same."""
        return " AND ".join(f"t.{quote(key)} = s.{quote(key)}" for key in self.keys)

    def differs(self, quote: Callable[[str], str]) -> str:
        """When the same row has another value, or is to be kept at all."""
        rest = [column for column in self.columns if column not in self.keys]
        # What the framework adds says when a row was read, not what it is.
        told = [column for column in rest if not column.startswith("_")] or rest
        differs = " OR ".join(f"(t.{quote(column)} IS DISTINCT FROM s.{quote(column)})" for column in told)
        kept = self.kept(quote)
        return f"({differs}) AND {kept}" if kept else f"({differs})"

    def kept(self, quote: Callable[[str], str]) -> str | None:
        """When a staged row is not marked as deleted; None if none can be."""
        return f"(s.{quote(DELETED)} IS DISTINCT FROM TRUE)" if self.deletes else None


def merge_rows(table: DeltaTable, upsert: Upsert, commit: CommitProperties) -> dict[str, int]:
    """Merge by delta-rs in this process, in one commit, or none if nothing changes.

    Args:
        table: opened; updated to the version after the merge.
        upsert: what to merge.
        commit: properties of the commit.

    Returns:
        Rows inserted, updated and deleted, files added and removed.
    """
    merger = table.merge(
        scan(upsert.stage.delta, upsert.source_columns, HAS_PASSED),
        upsert.same(quoted),
        source_alias="s",
        target_alias="t",
        commit_properties=commit,
    )
    ours = [DELETED] if upsert.deletes else None
    if upsert.deletes:
        merger = merger.when_matched_delete(predicate=f"s.{quoted(DELETED)}")
    if upsert.updates:
        merger = merger.when_matched_update_all(upsert.differs(quoted), ours)
    counts = merger.when_not_matched_insert_all(upsert.kept(quoted), ours).execute()
    table.update_incremental()
    return merge_counts(counts)


def merge_counts(metrics: Mapping[str, int]) -> dict[str, int]:
    """A merge's counts, from what delta-rs answers or a commit says."""
    return {name: int(metrics[counted]) for name, counted in COUNTED.items()}
