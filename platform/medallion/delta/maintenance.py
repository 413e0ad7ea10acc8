"""What keeps a table fast and its old versions readable: declared per table, done step by step."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from medallion.delta.archive import Moved, archive
from medallion.delta.compaction import Compacted, compact
from medallion.delta.staging import abandoned_stages, sweep_stages
from medallion.delta.store import DeltaStore
from medallion.delta.vacuum import footprint, tidy_log, vacuum
from medallion.partitions import Slice


@dataclass(frozen=True)
class Maintenance:
    """How a table is kept.

    Attributes:
        target_bytes: size that small files are merged up to.
        small_files: least number of files below half of that size for which a slice is compacted.
        z_order: columns that readers filter by; files are put in their order, slice by slice, after they are written.
        keep_versions_days: how long a version can be read after the next one replaced it.
        keep_stages_days: how long the candidate of a blocked or killed write is kept for inspection.
        archive_after_days: age of a partition, by the end of its time window, at which it leaves the table for the
            archive; None for never. Bronze only, and only where MEDALLION_ARCHIVE is set.
    """

    target_bytes: int = 128 << 20
    small_files: int = 8
    z_order: tuple[str, ...] = ()
    keep_versions_days: int = 30
    keep_stages_days: int = 7
    archive_after_days: int | None = None

    def __post_init__(self) -> None:
        least = {
            "target_bytes": (self.target_bytes, 1 << 20),
            "small_files": (self.small_files, 2),
            "keep_versions_days": (self.keep_versions_days, 1),
            "keep_stages_days": (self.keep_stages_days, 1),
            "archive_after_days": (1 if self.archive_after_days is None else self.archive_after_days, 1),
        }
        for name, (value, limit) in least.items():
            if value < limit:
                raise ValueError(f"Maintenance({name}={value}) is less than {limit}")


BRONZE = Maintenance(keep_versions_days=7, archive_after_days=90)
"""What landed can land again, so old versions of it are kept for a week."""
DERIVED = Maintenance()
"""Silver, gold and quarantine: what a report said a month ago can be asked."""


@dataclass(frozen=True)
class Maintained:
    """What maintenance did to a table, or would do.

    Attributes:
        table: its name.
        files_before: live files before.
        files_after: live files after; the same in a dry run.
        size: bytes of the live files after.
        stages: abandoned stages that were deleted.
        compacted: slices of which small files were merged.
        ordered: slices that were put in z-order.
        archived: slices that moved to the archive, by their partition values.
        rows_archived: their rows.
        files_deleted: data files that no retained version needs.
        bytes_freed: their bytes and those of the stages.
        versions: versions that can be read, the newest included.
        notes: what was left for the next time, and why.
    """

    table: str
    files_before: int
    files_after: int
    size: int
    stages: int
    compacted: int
    ordered: int
    archived: tuple[str, ...]
    rows_archived: int
    files_deleted: int
    bytes_freed: int
    versions: int
    notes: tuple[str, ...] = ()


def maintain(
    store: DeltaStore,
    path: Sequence[str],
    care: Maintenance,
    now: dt.datetime,
    *,
    expired: Slice | None = None,
    archive_root: str | None = None,
    dry_run: bool = False,
) -> Maintained | None:
    """Sweep abandoned stages, archive, compact or z-order, shorten the log, and vacuum; each step stands for itself.

    Killed anywhere, the table has the same rows, and the next run does what is left.

    Args:
        store: where the table is.
        path: of the table.
        care: how it is kept.
        now: the current time, UTC.
        expired: the slice that belongs in the archive.
        archive_root: root of the archive; None archives nothing.
        dry_run: whether to change nothing; counts then say what would be done, each step taken alone.

    Returns:
        What was done; None if the table was never written.

    Raises:
        UnsupportedTableError: another writer gave it a feature that can't be kept up here.
        ArchiveError: rows could not be moved; none was removed.
    """
    table = store.find(path)
    if table is None:
        return None
    before, _ = footprint(table)
    moved = Moved()
    if expired is not None and archive_root is not None:
        moved = archive(store, path, archive_root, expired, dry_run=dry_run)
        if not dry_run:
            maintain(DeltaStore(archive_root, store.storage_options), path, care, now)
    rewritten = compact(
        store,
        path,
        target_bytes=care.target_bytes,
        small_files=care.small_files,
        z_order=care.z_order,
        dry_run=dry_run,
    )
    abandoned = abandoned_stages(store, path, dt.timedelta(days=care.keep_stages_days))
    if not dry_run:
        sweep_stages(store, path, abandoned)
        tidy_log(store, path, care.keep_versions_days)
    vacuumed = vacuum(store, path, dt.timedelta(days=care.keep_versions_days), now, dry_run=dry_run)
    after, size = footprint(store.open(path))
    return Maintained(
        table="/".join(path),
        files_before=before,
        files_after=after,
        size=size,
        stages=len(abandoned),
        compacted=0 if care.z_order else rewritten.slices,
        ordered=rewritten.slices if care.z_order else 0,
        archived=() if moved.lost else moved.slices,
        rows_archived=0 if moved.lost else moved.rows,
        files_deleted=vacuumed.files,
        bytes_freed=vacuumed.size + sum(stage.size for stage in abandoned),
        versions=vacuumed.newest - vacuumed.oldest + 1,
        notes=tuple(_notes(moved, rewritten)),
    )


def _notes(moved: Moved, rewritten: Compacted) -> list[str]:
    notes = []
    if moved.lost:
        notes.append(f"not archived, as another writer changed the table meanwhile: {', '.join(moved.slices)}")
    if rewritten.lost:
        notes.append(f"not compacted, as another writer changed the table meanwhile: {rewritten.lost} slices")
    return notes
