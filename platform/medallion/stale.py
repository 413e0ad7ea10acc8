"""What an incremental run makes: the slices that no longer follow from what they were made of, as Delta logs tell."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from medallion.delta.commits import CODE_VERSION, PARTITIONS, POSITION_ONLY, SOURCES, WRITE_MODE
from medallion.updates import followed_inputs

if TYPE_CHECKING:
    from medallion.delta.store import DeltaStore
    from medallion.tables import Table

_COMMITS = 200
"""So far back the log is read: what was made before that counts as stale."""
_CARE = ("OPTIMIZE", "VACUUM START", "VACUUM END")
_WHOLE = ""


@dataclass(frozen=True)
class Made:
    """How a slice was last made.

    Attributes:
        version: of the table that the write made.
        code: code version of its declaration.
        sources: version of every table that was read, by label.
    """

    version: int
    code: str
    sources: Mapping[str, int]


@dataclass
class _Writes:
    """Newest version with other rows than the one before, the newest restore, and how each slice was last made."""

    newest: int = -1
    restored: int = -1
    slices: dict[str, Made] = field(default_factory=dict)


def stale_tables(
    tables: Sequence[Table], everything: Mapping[str, Table], store: DeltaStore, keys: Iterable[str]
) -> tuple[list[Table], list[str]]:
    """The tables to make again, and the partition keys for which any of them has to be.

    A slice is stale if it was never made, if its declaration has changed, or if a table that it follows has been
    written since or is stale itself. What a table follows is the same as for the updates sensor: with partitions, its
    inputs with partitions, if it has any. A merge that found nothing to change made no version, so its table is looked
    at once more the next time.

    Args:
        tables: in the order of the graph.
        everything: all declared tables by label.
        store: where they are.
        keys: the partition keys for which something arrived.
    """
    arrived = list(keys)
    writes: dict[str, _Writes] = {}
    stale: dict[str, set[str]] = {}

    def written(label: str) -> _Writes:
        if label not in writes:
            writes[label] = _writes(store, label)
        return writes[label]

    for table in tables:
        own = {_WHOLE} if table.partitions is None else {*arrived, *_emptied(table, everything, written)}
        found = {key for key in own if _is_stale(table, key, everything, written, stale)}
        if found:
            stale[table.label] = found
    return [table for table in tables if table.label in stale], sorted(set().union(*stale.values()) - {_WHOLE})


def _emptied(table: Table, everything: Mapping[str, Table], written: Callable[[str], _Writes]) -> set[str]:
    """Slices that a table of whole ones has: their rows may be gone from the source, and with them the slice."""
    inputs = followed_inputs(table, everything).values()
    if any(everything[label].partitions is not None for label in inputs):
        return set()
    return written(table.label).slices.keys() - {_WHOLE}


def _is_stale(
    table: Table,
    key: str,
    everything: Mapping[str, Table],
    written: Callable[[str], _Writes],
    stale: Mapping[str, set[str]],
) -> bool:
    made = written(table.label).slices.get(key)
    if made is None or made.code != table.version:
        return True
    for parameter, label in followed_inputs(table, everything).items():
        alike = key != _WHOLE and table.reads_alike(everything[label], parameter)
        if stale.get(label, set()) & {key} if alike else label in stale:
            return True
        source = written(label)
        last = source.slices.get(key) if alike else None
        if (max(last.version, source.restored) if last else source.newest) > made.sources.get(label, -1):
            return True
    return False


def _writes(store: DeltaStore, label: str) -> _Writes:
    table = store.find(label.split("/"))
    writes = _Writes()
    for commit in table.history(_COMMITS) if table is not None else []:
        if commit.get("operation") in _CARE or POSITION_ONLY in commit:
            continue
        writes.newest = max(writes.newest, commit["version"])
        if commit.get(WRITE_MODE) == "restore":
            writes.restored = max(writes.restored, commit["version"])
        if SOURCES in commit:
            made = Made(commit["version"], commit[CODE_VERSION], json.loads(commit[SOURCES]))
            for key in json.loads(commit[PARTITIONS]) or [_WHOLE]:
                writes.slices.setdefault(key, made)
    return writes
