"""What a commit says about the write and the run that made it, and the names that make an append happen once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medallion.delta.store import DeltaStore

RUN_ID, ASSET_KEY, CODE_VERSION = "dagster/run_id", "dagster/asset_key", "dagster/code_version"
PARTITIONS = "dagster/partitions"
"""The partition keys that a commit wrote, as a JSON list; empty for a table without partitions."""
AUDIT = "medallion/audit"
"""The counts of the write as JSON: rows, quarantined, duplicates; of several partitions those of each as well."""
SOURCES = "medallion/sources"
"""The Delta version of every table that a write read, by label, as JSON; its checks' tables included."""
POSITION_ONLY = "medallion/position_only"
"""Says of a commit that it changed no row: only how far the source was read."""
WRITE_ID = "medallion/write"
"""The stage that a commit published, by which a writer knows its own commit again."""
WRITE_MODE = "medallion/mode"
"""How rows came in, which Delta's own operation does not say: files that enter by reference are a WRITE."""


def transactions(mode: str, table: str, run_id: str, keys: Sequence[str]) -> tuple[str, ...]:
    """Names that make an append happen once per run and partition; a re-execution goes by the id of its root run."""
    if mode != "append":
        return ()
    return tuple(f"medallion:{table}:{run_id}:{key}" for key in keys or ("table",))


def commit_metadata(
    table: str,
    run_id: str,
    keys: Sequence[str],
    code_version: str | None,
    audit: Mapping[str, Any] | None = None,
    sources: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """What a commit says about the run that made it, and about what that run read."""
    return {
        RUN_ID: run_id,
        ASSET_KEY: table,
        PARTITIONS: json.dumps(list(keys)),
        CODE_VERSION: code_version or "",
        AUDIT: json.dumps(audit or {}, sort_keys=True),
        SOURCES: json.dumps(sources or {}, sort_keys=True),
    }


def own_commit(store: DeltaStore, path: Sequence[str], since: int, write_id: str) -> dict[str, Any] | None:
    """The commit of a write, if one after a version is its: its answer may have got lost.

    Args:
        store: where the table is.
        path: the table.
        since: the version that the write was built on.
        write_id: what the write put under `WRITE_ID`.
    """
    newest = store.open(path)
    newer = newest.version() - since
    commits = newest.history(newer) if newer else []
    return next((commit for commit in commits if commit.get(WRITE_ID) == write_id), None)
