"""Moves slices of a table to the same table below another root, and back, so that a crash neither loses nor doubles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from medallion.delta.actions import remove_actions
from medallion.delta.frames import stage_writer
from medallion.delta.protocol import require_writable
from medallion.delta.publish import Write, publish
from medallion.delta.staging import write_stage
from medallion.delta.store import DataFile, DeltaStore, column_types, data_files, scan
from medallion.partitions import Dimension, Slice, boxes

if TYPE_CHECKING:
    from deltalake import DeltaTable

ARCHIVE = "medallion.archive"
"""Table property: root below which archived slices of the table are; it outlives log clean-up and settings."""
_SHOWN = 5


class ArchivedError(LookupError):
    """Rows that are in the archive and not in the table; the message says how to bring them back."""


class ArchiveError(RuntimeError):
    """A slice that can't be moved; no row was removed from where it was."""


@dataclass(frozen=True)
class Moved:
    """What was moved, or would be.

    Attributes:
        slices: slices by their partition values, such as `month=2017-01-01`.
        rows: their rows.
        lost: whether another writer changed the table meanwhile; then the rows are still there, and a copy is too.
    """

    slices: tuple[str, ...] = ()
    rows: int = 0
    lost: bool = False


def archive(store: DeltaStore, path: Sequence[str], root: str, expired: Slice, *, dry_run: bool = False) -> Moved:
    """Move the rows of a slice below another root: copied in one commit, counted there, removed in one commit.

    A slice that has rows again after it was archived replaces its archived rows.

    Args:
        store: where the table is.
        path: of the table, and of its archive below `root`.
        root: folder or URL; the store's options reach it.
        expired: what to move; it has to be aligned with the table's physical partitions.
        dry_run: whether to move nothing.

    Raises:
        TableMissingError: the table was never written.
        ValueError: the slice cuts through files.
        ArchiveError: the archive is the table itself, was elsewhere before, or has other rows than were copied.
    """
    from deltalake.exceptions import CommitFailedError

    table = store.open(path)
    files = _placed(table, expired)
    if dry_run or not files:
        return _moved(files)
    held = table.metadata().configuration.get(ARCHIVE)
    if held is not None and held != root:
        raise ArchiveError(
            f"{'/'.join(path)} has archived rows below {held}, and now they would go to {root}; set MEDALLION_ARCHIVE "
            f"to {held} again, or bring them back first with: medallion unarchive {'/'.join(path)}"
        )
    if held is None:
        # Before anything is removed: from then on, readers look there for what is missing here.
        try:
            table.alter.set_table_properties({ARCHIVE: root}, raise_if_not_exists=False)
        except CommitFailedError:
            return replace(_moved(files), lost=True)
        table = store.open(path)
        files = _placed(table, expired)
    return _move(DeltaStore(root, store.storage_options), path, table, files)


def unarchive(store: DeltaStore, path: Sequence[str], selection: Slice) -> Moved:
    """Move archived rows of a slice back, but for those of partitions that have rows in the table again.

    Raises:
        TableMissingError: the table was never written.
        ArchiveError: the table has other rows than were copied.
    """
    found = _archived(store.open(path), store, path, selection)
    if found is None:
        return Moved()
    _, table, files = found
    return _move(store, path, table, files) if files else Moved()


def require_not_archived(store: DeltaStore, path: Sequence[str], selection: Slice) -> None:
    """Refuse to read a slice of which rows are in the archive: without them it would look like one with fewer rows.

    Raises:
        ArchivedError: names the partitions, the archive and the command that brings them back.
    """
    table = store.find(path)
    found = _archived(table, store, path, selection) if table is not None else None
    if found is None or not found[2]:
        return
    slices = _moved(found[2]).slices
    more = f" and {len(slices) - _SHOWN} more" if len(slices) > _SHOWN else ""
    name = "/".join(path)
    keys = f" -p {selection.keys[0]}...{selection.keys[-1]}" if selection.keys else ""
    raise ArchivedError(
        f"{name} slice {selection.label}: {', '.join(slices[:_SHOWN])}{more} was archived to {found[0].uri(path)}; "
        f"bring it back with: medallion unarchive {name}{keys}"
    )


def _archived(
    table: DeltaTable, store: DeltaStore, path: Sequence[str], selection: Slice
) -> tuple[DeltaStore, DeltaTable, list[DataFile]] | None:
    """The archive and its files of partitions that have no row in the table; None if nothing was ever archived."""
    root = table.metadata().configuration.get(ARCHIVE)
    if root is None:
        return None
    archived = DeltaStore(root, store.storage_options)
    copy = archived.find(path)
    if copy is None:
        return None
    present = {_label(file.partition) for file in data_files(table, selection) if file.rows}
    files = [file for file in data_files(copy, selection) if _label(file.partition) not in present]
    return archived, copy, files


def _move(target: DeltaStore, path: Sequence[str], table: DeltaTable, files: Sequence[DataFile]) -> Moved:
    """Copy files' rows to a store in one commit, count them there, and remove the files here in one commit.

    Killed before the second commit, the rows are in both places and the table's own count; a second run replaces the
    copy. The second commit fails if anybody changed the table since the files were listed.
    """
    from deltalake import CommitProperties
    from deltalake.exceptions import CommitFailedError

    name = "/".join(path)
    require_writable(name, table, "archive")
    other = target.find(path)
    if other is not None and other.metadata().id == table.metadata().id:
        raise ArchiveError(
            f"the archive of {name} at {target.uri(path)} is the table itself, or a copy of its folder; set "
            "MEDALLION_ARCHIVE to an empty folder or prefix of its own"
        )
    columns = table.metadata().partition_columns
    selection = _slice(columns, files)
    _copy(target, path, table, selection)
    expected, found = sum(file.rows for file in files), _count(target.open(path), selection, columns)
    if found != expected:
        raise ArchiveError(
            f"{name}: {target.uri(path)} has {found} rows of {selection.label}, but {expected} were copied; nothing "
            "was removed. Look at both tables, and run it again"
        )
    moved = _moved(files)
    try:
        table.create_write_transaction(
            [*remove_actions(files)],
            mode="append",
            schema=table.schema(),
            partition_by=columns,
            commit_properties=CommitProperties(
                custom_metadata={"medallion/moved_to": target.uri(path), "medallion/moved": ", ".join(moved.slices)},
                # Without retries a commit means: nobody changed the table since its files were listed.
                max_commit_retries=0,
            ),
        )
    except CommitFailedError:
        return replace(moved, lost=True)
    return moved


def _copy(target: DeltaStore, path: Sequence[str], table: DeltaTable, selection: Slice) -> None:
    columns = tuple(table.metadata().partition_columns)
    names = [item.name for item in table.schema().fields]
    predicate = selection.bind(column_types(table.schema())).sql()
    rows = scan(table, names, predicate)
    stage = write_stage(target, tuple(path), columns, stage_writer(rows, target))
    published = publish(Write(stage, selection, table.schema(), columns, evolution="additive"))
    stage.discard(keep=published.kept)


def _count(table: DeltaTable, selection: Slice, columns: Sequence[str]) -> int:
    """Rows of a slice as its data files have them, not as the log counts them."""
    predicate = selection.bind(column_types(table.schema())).sql()
    return sum(batch.num_rows for batch in scan(table, columns, predicate))


def _slice(columns: Sequence[str], files: Sequence[DataFile]) -> Slice:
    """The partitions of some files by their raw values, which none of them lacks."""
    values = {tuple(str(file.partition[column]) for column in columns) for file in files}
    covered = tuple(
        tuple(Dimension(column, keys) for column, keys in zip(columns, box, strict=True))
        for box in boxes(sorted(values))
    )
    return Slice(covered, keys=tuple("/".join(row) for row in sorted(values)))


def _placed(table: DeltaTable, selection: Slice) -> list[DataFile]:
    """Files of a slice; those without a value in another partition column stay, as no predicate would find them."""
    return [file for file in data_files(table, selection) if all(file.partition.values())]


def _moved(files: Sequence[DataFile]) -> Moved:
    labels = sorted({_label(file.partition) for file in files})
    return Moved(tuple(labels), sum(file.rows for file in files))


def _label(partition: Mapping[str, str | None]) -> str:
    return "/".join(f"{column}={value}" for column, value in partition.items())
