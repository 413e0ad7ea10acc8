"""The change data feed: which rows each version inserted, updated and deleted, for tables that declare it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from medallion.delta.protocol import UnsupportedTableError

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

    from medallion.delta.store import DeltaStore

PROPERTIES: Mapping[str, str] = {"delta.enableChangeDataFeed": "true"}
"""Delta properties of a table that keeps a feed."""
CHANGE_TYPE, COMMIT_VERSION, COMMIT_TIMESTAMP = "_change_type", "_commit_version", "_commit_timestamp"


class ChangeFeedError(LookupError):
    """Versions whose changes the table did not keep; the message says from when on it does."""


def require_properties(name: str, table: DeltaTable, properties: Mapping[str, str]) -> None:
    """Give a table the properties that its declaration asks for, by a commit of their own if it lacks some.

    Raises:
        UnsupportedTableError: the table was made without them and can't be given them safely.
    """
    stored = table.metadata().configuration
    lacking = {key: value for key, value in properties.items() if stored.get(key) != value}
    if not lacking:
        return
    if table.protocol().reader_features is not None:
        # delta-rs 1.6.6 would add variantType to the features every reader must know, which some then refuse.
        raise UnsupportedTableError(
            f"{name} was made without {', '.join(f'{key}={value}' for key, value in lacking.items())} and has named "
            "Delta features (it holds timestamps without a zone), so the property can't be added to it; nothing was "
            "written. Move the table away and make it anew, or take change_feed=True from its declaration"
        )
    table.alter.set_table_properties(dict(lacking))
    table.update_incremental()


def read_changes(store: DeltaStore, path: Sequence[str], first: int, last: int | None = None) -> pa.RecordBatchReader:
    """Stream the changed rows of some versions.

    Args:
        store: where the table is.
        path: the table.
        first: first version whose changes are wanted.
        last: last one; None for the newest.

    Returns:
        The table's columns, then `_change_type` (insert, update_preimage, update_postimage, delete),
        `_commit_version` and `_commit_timestamp`.

    Raises:
        TableMissingError: it was never written.
        VersionMissingError: the log no longer has the first version.
        ChangeFeedError: the table keeps no feed, or did not yet; the versions are not there.
    """
    import pyarrow as pa
    from deltalake.exceptions import DeltaError

    name = "/".join(path)
    table = store.open(path)
    newest = table.version()
    last = newest if last is None else last
    if not 0 <= first <= last <= newest:
        raise ChangeFeedError(f"{name} has no versions {first} to {last}; the newest is {newest}")
    if not _keeps_feed(table):
        raise ChangeFeedError(
            f"{name} keeps no change data feed; declare change_feed=True on it and write it once, or compare versions "
            f"with: medallion diff {name} {first} {last}"
        )
    # delta-rs notices a missing feed only if the property was changed by one of the versions.
    early = None if _keeps_feed(store.open(path, first)) else "it began to keep one later"
    try:
        feed = None if early else table.load_cdf(first, last)
    except DeltaError as error:
        if "does not have change data enabled" not in str(error):
            raise
        early = str(error)
    if feed is None:
        raise ChangeFeedError(
            f"{name} has no change data feed from version {first} on ({early}); begin at a later version, or compare "
            f"versions with: medallion diff {name} {first} {last}"
        )
    reader = pa.RecordBatchReader.from_stream(feed)
    ours = (CHANGE_TYPE, COMMIT_VERSION, COMMIT_TIMESTAMP)
    names = [name for name in (field.name for field in table.schema().fields) if name in reader.schema.names]
    schema = pa.schema([reader.schema.field(name) for name in (*names, *ours)])
    return pa.RecordBatchReader.from_batches(schema, (batch.select([*names, *ours]) for batch in reader))


def _keeps_feed(table: DeltaTable) -> bool:
    stored = table.metadata().configuration
    return all(stored.get(key) == value for key, value in PROPERTIES.items())
