"""Deletes the data files that no retained version of a table needs, and keeps the table's log short."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from medallion.delta.log import LOG, actions, commit_file
from medallion.delta.protocol import DELETION_VECTORS, UnsupportedTableError, reader_features
from medallion.delta.store import DeltaStore

if TYPE_CHECKING:
    from deltalake import DeltaTable

UNCOMMITTED = dt.timedelta(days=1)
"""Least age of a file that is deleted: a younger one may be part of a write that has yet to commit."""
_CHANGE_FEED = "_change_data"
_COMMIT = re.compile(rf"{LOG}/(\d{{20}})\.json")
_CHECKPOINT = re.compile(rf"{LOG}/(\d{{20}})\.checkpoint.*\.(?:parquet|json)")
_COMMITS_BETWEEN_CHECKPOINTS = 10
_LOG_READERS = 8
# Delta's own defaults; a table that has them needs no commit to say so.
_FILES_KEPT, _LOG_KEPT = "delta.deletedFileRetentionDuration", "delta.logRetentionDuration"
_DEFAULT_DAYS = {_FILES_KEPT: 7, _LOG_KEPT: 30}


@dataclass(frozen=True)
class Vacuumed:
    """What a vacuum deleted, or would delete.

    Attributes:
        files: number of data files.
        size: their bytes.
        oldest: oldest version that keeps all of its files.
        newest: newest version.
    """

    files: int
    size: int
    oldest: int
    newest: int


def vacuum(
    store: DeltaStore, path: Sequence[str], keep: dt.timedelta, now: dt.datetime, *, dry_run: bool = False
) -> Vacuumed:
    """Delete the files that no version of the last `keep` needs; the version that was current then is kept, too.

    What a version needs is read from the log's commits, not from tombstones: a checkpoint forgets those, and then
    delta-rs's full vacuum deletes files of versions within retention while its light one never finds them. Unpublished
    stages, which have logs of their own, are left to `sweep_stages`.

    Args:
        store: where the table is.
        path: of the table.
        keep: how long ago a version may have been replaced and still be readable.
        now: the current time, UTC.
        dry_run: whether to delete nothing.

    Raises:
        TableMissingError: it was never written.
        UnsupportedTableError: its log names files in a way that can't be followed; nothing was deleted.
    """
    import obstore

    prefix = "/".join(path) + "/"
    # Listed before the log is read: a file that is committed in between is among those that the log names.
    listed = [entry for batch in obstore.list(store.objects, prefix.rstrip("/")) for entry in batch]
    objects = {entry["path"].removeprefix(prefix): entry for entry in listed}
    table = store.open(path)
    name = "/".join(path)
    if DELETION_VECTORS in reader_features(table):
        raise UnsupportedTableError(
            f"{name} uses the Delta feature {DELETION_VECTORS}, whose files the log names in another way; nothing was "
            "deleted. Vacuum it with the engine that wrote it"
        )
    oldest = _oldest_retained(objects, table.version(), now - keep)
    needed = _needed(store, path, oldest, table.version())
    if foreign := next((file for file in needed if "://" in file), None):
        raise UnsupportedTableError(
            f"{name} refers to {foreign}, which is outside of the table; nothing was deleted. Vacuum it with the "
            "engine that wrote it"
        )
    stages = _folders_with_log(objects)
    doomed = [
        entry
        for file, entry in objects.items()
        if _is_data(file)
        and not file.startswith(stages)
        and entry["last_modified"] < now - UNCOMMITTED
        and file not in needed
        and unquote(file) not in needed
    ]
    if doomed and not dry_run:
        obstore.delete(store.objects, sorted(entry["path"] for entry in doomed))
    return Vacuumed(len(doomed), sum(entry["size"] for entry in doomed), oldest, table.version())


def tidy_log(store: DeltaStore, path: Sequence[str], keep_days: int) -> None:
    """Checkpoint a log that has grown, and delete the commits that are older than its retention.

    Publishing by reference makes no checkpoints, so without this a table opens slower with every write. Retention is
    first stored in the table, because the same properties rule the vacuum and the clean-up of other Delta writers.

    Args:
        store: where the table is.
        path: of the table.
        keep_days: how long old versions are to be readable; the log is kept for 30 days at least.
    """
    import obstore
    from deltalake.exceptions import CommitFailedError

    table = store.open(path)
    wanted = {_FILES_KEPT: keep_days, _LOG_KEPT: max(_DEFAULT_DAYS[_LOG_KEPT], keep_days)}
    held = table.metadata().configuration
    changed = {
        key: f"interval {days} days"
        for key, days in wanted.items()
        if held.get(key, f"interval {_DEFAULT_DAYS[key]} days") != f"interval {days} days"
    }
    if changed:
        try:
            table.alter.set_table_properties(changed, raise_if_not_exists=False)
        except CommitFailedError:
            return  # another writer was quicker; the log is kept by the retention of before until the next time
        table = store.open(path)
    folder = "/".join([*path, LOG])
    names = [entry["path"] for batch in obstore.list(store.objects, folder) for entry in batch]
    checkpoints = _versions(_CHECKPOINT, (name.removeprefix("/".join(path) + "/") for name in names))
    if table.version() - max(checkpoints, default=0) >= _COMMITS_BETWEEN_CHECKPOINTS:
        table.create_checkpoint()
        table = store.open(path)
    table.cleanup_metadata()


def _oldest_retained(objects: Mapping[str, Any], newest: int, cutoff: dt.datetime) -> int:
    """The version that was current at a time, or the oldest later one that the log can still build."""
    commits = _versions(_COMMIT, objects)
    young = [version for version, name in commits.items() if objects[name]["last_modified"] >= cutoff]
    current = max(min(young) - 1, 0) if young else newest
    bases = [*_versions(_CHECKPOINT, objects), *([0] if 0 in commits else [])]
    return max(current, min(bases, default=newest))


def _needed(store: DeltaStore, path: Sequence[str], oldest: int, newest: int) -> set[str]:
    """Data files of all versions from one to another, relative to the table, not percent-encoded."""
    import pyarrow as pa

    live = pa.table(store.open(path, version=oldest).get_add_actions())
    with ThreadPoolExecutor(_LOG_READERS) as readers:
        later = readers.map(lambda n: _added(store, commit_file(path, n)), range(oldest + 1, newest + 1))
        return {unquote(file) for file in live["path"].to_pylist()}.union(*later)


def _added(store: DeltaStore, commit: str) -> set[str]:
    import obstore

    content = bytes(obstore.get(store.objects, commit).bytes())
    return {unquote(action[kind]["path"]) for action in actions(content) for kind in ("add", "cdc") if kind in action}


def _is_data(file: str) -> bool:
    """Whether a path is one that Delta's protocol lets a vacuum delete: hidden folders are other tools' own."""
    top = file.split("/")[0]
    return top == _CHANGE_FEED or "=" in top or not top.startswith(("_", "."))


def _folders_with_log(objects: Iterable[str]) -> tuple[str, ...]:
    """Folders below the table that are Delta tables themselves, each with a slash at its end."""
    inner = {name.partition(f"/{LOG}/")[0] + "/" for name in objects if f"/{LOG}/" in name}
    return tuple(sorted(inner))


def _versions(pattern: re.Pattern[str], names: Iterable[str]) -> dict[int, str]:
    return {int(found[1]): name for name in names if (found := pattern.fullmatch(name))}


def footprint(table: DeltaTable) -> tuple[int, int]:
    """Number and bytes of the files of a table's newest version."""
    import pyarrow as pa
    import pyarrow.compute as pc

    actions = pa.table(table.get_add_actions())
    return actions.num_rows, int(pc.sum(actions["size_bytes"]).as_py() or 0)
