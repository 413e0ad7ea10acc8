"""Objects under a root, on local disk or S3, by one interface."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from obstore.store import ObjectStore


def open_store(uri: str, options: Mapping[str, str]) -> ObjectStore:
    """Open the objects below a root.

    Args:
        uri: a folder, which is made if it is not there, or an object store URL such as s3://bucket/prefix.
        options: credentials and endpoint in delta-rs's names; unused for a folder.
    """
    from obstore.store import LocalStore, from_url

    if "://" not in uri:
        return LocalStore(prefix=Path(uri), mkdir=True)
    config: dict[str, Any] = {key.lower(): value for key, value in options.items() if key != "AWS_ALLOW_HTTP"}
    allow_http = options.get("AWS_ALLOW_HTTP", "").lower() == "true"
    store: ObjectStore = from_url(uri, config=config, client_options={"allow_http": allow_http})
    return store


def delete_tree(store: ObjectStore, prefix: str) -> int:
    """Delete every object whose path starts with a folder; return how many."""
    import obstore

    paths = [entry["path"] for batch in obstore.list(store, prefix) for entry in batch]
    if paths:
        obstore.delete(store, paths)
    return len(paths)
