"""Objects under a root, on local disk or S3, by one interface."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
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
_MOST_RETRIES = 1000
"""So many that the time decides: ten, as delta-rs has it, are over after two to five seconds."""
_patience: ContextVar[int | None] = ContextVar("_patience", default=None)


@contextmanager
def patience(seconds: int) -> Iterator[None]:
    """Repeat requests to stores that are opened in this block for so long, whatever the settings say."""
    token = _patience.set(seconds)
    try:
        yield
    finally:
        _patience.reset(token)


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
        retry_config={"max_retries": _MOST_RETRIES, "retry_timeout": timedelta(seconds=_retry_seconds())},
    )


def retry_options(uri: str) -> dict[str, str]:
    """How long requests to the store of a root are repeated, as options of delta-rs; none on local disk."""
    if not uri.startswith("s3"):
        return {}
    return {"max_retries": str(_MOST_RETRIES), "retry_timeout": f"{_retry_seconds()}s"}


def _retry_seconds() -> int:
    from medallion.settings import Settings

    asked = _patience.get()
    return Settings().storage_retry_seconds if asked is None else asked


def delete_tree(store: ObjectStore, prefix: str) -> int:
    """Delete every object whose path starts with a folder; return how many."""
    import obstore

    paths = [entry["path"] for batch in obstore.list(store, prefix) for entry in batch]
    if paths:
        obstore.delete(store, paths)
    return len(paths)
