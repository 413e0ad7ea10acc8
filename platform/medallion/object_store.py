"""Objects under a root, on local disk or S3, by one interface."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_OPTIONS = {
    "AWS_ENDPOINT_URL": "endpoint",
    "AWS_ACCESS_KEY_ID": "access_key_id",
    "AWS_SECRET_ACCESS_KEY": "secret_access_key",
    "AWS_SESSION_TOKEN": "session_token",
    "AWS_REGION": "region",
    "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "virtual_hosted_style_request",
}


def open_store(uri: str, options: Mapping[str, str]) -> ObjectStore:
    """Open the objects below a root.

    Args:
        uri: a folder, which is made if it is not there, or s3://bucket/prefix.
        options: for S3, credentials and endpoint in delta-rs's names; those left out come from the environment, others
            are ignored.
    """
    from obstore.store import LocalStore, S3Store

    scheme, separator, address = uri.partition("://")
    if not separator or scheme == "file":
        # Without the clean-up an emptied `_delta_log` stays behind as a folder, and looks like a table.
        return LocalStore(prefix=Path(address if separator else uri), mkdir=True, automatic_cleanup=True)
    bucket, _, prefix = address.partition("/")
    allow_http = options.get("AWS_ALLOW_HTTP", "")
    config = {name: options[option] for option, name in _OPTIONS.items() if option in options}
    return S3Store(
        bucket,
        prefix=prefix or None,
        config=config,  # type: ignore[arg-type]
        client_options={"allow_http": allow_http.lower() in ("true", "1")},
        retry_config={"max_retries": 4, "retry_timeout": timedelta(seconds=30)},
    )


def delete_tree(store: ObjectStore, prefix: str) -> int:
    """Delete every object whose path starts with a folder; return how many."""
    import obstore

    paths = [entry["path"] for batch in obstore.list(store, prefix) for entry in batch]
    if paths:
        obstore.delete(store, paths)
    return len(paths)
