"""What each version of a table did: from its Delta log, and from what our commits say about their run."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from medallion.delta.commits import PARTITIONS, RUN_ID, WRITE_MODE
from medallion.delta.log import actions, commit_file
from medallion.delta.store import DeltaStore, VersionMissingError, data_files
from medallion.partitions import WHOLE

if TYPE_CHECKING:
    from deltalake import DeltaTable

_VERBS = {"create table": "create", "optimize": "compact", "set tblproperties": "set properties"}


@dataclass(frozen=True)
class Commit:
    """One version of a table.

    Attributes:
        version: Delta version.
        time: when it was committed, UTC.
        operation: `replace`, `append`, `merge`, `restore`, `compact`, `create`, or Delta's own name for it.
        run_id: the Dagster run that made it; empty for any other writer.
        partitions: partition keys that the run wrote.
        files_added: data files that entered.
        files_removed: data files that left.
        rows_added: rows in the files that entered; None if their writer kept no statistics.
        rows_removed: rows in the files that left; None if the log does not go back to their statistics.
        rows: rows of the table at this version; None as above.
        details: custom metadata of the commit.
    """

    version: int
    time: dt.datetime
    operation: str
    run_id: str
    partitions: tuple[str, ...]
    files_added: int
    files_removed: int
    rows_added: int | None
    rows_removed: int | None
    rows: int | None
    details: Mapping[str, Any]


@dataclass(frozen=True)
class _Entry:
    """One commit file of the log."""

    version: int
    time: dt.datetime
    info: Mapping[str, Any]
    adds: Sequence[Mapping[str, Any]]
    removes: Sequence[Mapping[str, Any]]


def commits(store: DeltaStore, path: Sequence[str], limit: int) -> list[Commit]:
    """The newest versions of a table, newest first; fewer than asked for if the log does not go back so far.

    Reads one commit file per version, and the state before the oldest of them.

    Raises:
        TableMissingError: it was never written.
    """
    newest = store.open(path)
    entries: list[_Entry] = []
    for entry in _entries(store, path, newest.version()):
        entries.append(entry)
        if len(entries) == limit:
            break
    if not entries:
        return []
    live = _before(store, path, entries[-1].version)
    history = []
    for entry in reversed(entries):
        removed = [None if live is None else live.pop(unquote(item["path"]), None) for item in entry.removes]
        added = {unquote(item["path"]): _rows(item) for item in entry.adds}
        if live is not None:
            live.update(added)
        history.append(
            Commit(
                version=entry.version,
                time=entry.time,
                operation=_operation(entry),
                run_id=str(entry.info.get(RUN_ID) or ""),
                partitions=_partitions(entry.info.get(PARTITIONS)),
                files_added=len(entry.adds),
                files_removed=len(entry.removes),
                rows_added=_total(added.values()),
                rows_removed=_total(removed),
                rows=None if live is None else _total(live.values()),
                details={key: value for key, value in entry.info.items() if "/" in key},
            )
        )
    return history[::-1]


def version_at(store: DeltaStore, path: Sequence[str], moment: dt.datetime) -> int:
    """The newest version that was committed at a moment or before it.

    Args:
        store: where the table is.
        path: the table.
        moment: with a time zone.

    Raises:
        TableMissingError: it was never written.
        VersionMissingError: the table, or what is left of its log, is younger.
    """
    oldest = None
    for entry in _entries(store, path, store.open(path).version()):
        if entry.time <= moment:
            return entry.version
        oldest = entry
    name = "/".join(path)
    since = f"; its oldest known version {oldest.version} is of {oldest.time:%Y-%m-%d %H:%M:%S} UTC" if oldest else ""
    raise VersionMissingError(
        f"{name} has no version at {moment.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S} UTC{since}. "
        f"See: medallion history {name}"
    )


def changed_at(store: DeltaStore, path: Sequence[str], version: int) -> dt.datetime:
    """When the rows of a version were committed: by itself, or by the one before it that maintenance left alone.

    If the log does not go back that far, the oldest moment of which it knows that they were the same.

    Raises:
        VersionMissingError: the table has no such version any more.
    """
    time = None
    for entry in _entries(store, path, version):
        time = entry.time
        if any(item.get("dataChange", True) for item in (*entry.adds, *entry.removes)):
            break
    if time is None:
        raise VersionMissingError(f"{'/'.join(path)} has no log of version {version}")
    return time


def _entries(store: DeltaStore, path: Sequence[str], newest: int) -> Iterator[_Entry]:
    """The commit files of the log, newest first, until one was cleaned up."""
    import obstore

    for version in range(newest, -1, -1):
        try:
            answer = obstore.get(store.objects, commit_file(path, version))
        except FileNotFoundError:
            return
        done = actions(bytes(answer.bytes()))
        info: dict[str, Any] = next((action["commitInfo"] for action in done if "commitInfo" in action), {})
        stamp = info.get("timestamp")
        # Other writers may leave commitInfo out; Delta takes the file's own time then.
        time = dt.datetime.fromtimestamp(stamp / 1000, dt.UTC) if stamp is not None else answer.meta["last_modified"]
        adds = [action["add"] for action in done if "add" in action]
        removes = [action["remove"] for action in done if "remove" in action]
        yield _Entry(version, time, info, adds, removes)


def _before(store: DeltaStore, path: Sequence[str], version: int) -> dict[str, int | None] | None:
    """Rows by file just before a version; None if the log does not go back that far."""
    if version == 0:
        return {}
    try:
        table: DeltaTable = store.open(path, version - 1)
    except VersionMissingError:
        return None
    return {file.path: file.recorded for file in data_files(table, WHOLE)}


def _rows(add: Mapping[str, Any]) -> int | None:
    stats = json.loads(add["stats"]) if add.get("stats") else {}
    rows: int | None = stats.get("numRecords")
    hidden: int = (add.get("deletionVector") or {}).get("cardinality", 0)
    return None if rows is None else rows - hidden


def _total(counts: Any) -> int | None:
    known = list(counts)
    return None if None in known else sum(known)


def _operation(entry: _Entry) -> str:
    if mode := entry.info.get(WRITE_MODE):
        return str(mode)
    name = str(entry.info.get("operation") or "unknown").lower()
    if name == "write":
        how = (entry.info.get("operationParameters") or {}).get("mode", "")
        return "replace" if entry.removes or str(how).lower() == "overwrite" else "append"
    return _VERBS.get(name, name)


def _partitions(stored: Any) -> tuple[str, ...]:
    """Keys as a commit holds them: a JSON list."""
    return tuple(json.loads(stored)) if isinstance(stored, str) and stored.startswith("[") else ()
