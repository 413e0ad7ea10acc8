"""Finds out, before the first write, whether an object store would let two writers win the same commit."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import TYPE_CHECKING

from medallion.storage_errors import StorageUnavailableError, storage_error

if TYPE_CHECKING:
    from obstore.store import ObjectStore

    from medallion.delta.store import DeltaStore

_FOLDER = ".medallion"
_ROUNDS = 3
_RACERS = 4
_BODY_BYTES = 16 << 10
"""Long enough that a server which looks first and writes then is seen in between."""
_NEEDED = (
    "Delta commits need an atomic conditional PUT (If-None-Match: *), as that of AWS S3 or versitygw from 2026-09 on. "
    "Use such a server, or set MEDALLION_LAKE to a folder; nothing was written"
)
_passed: set[tuple[str, frozenset[tuple[str, str]]]] = set()


class ConditionalPutError(RuntimeError):
    """The object store lets two writers win the same commit; the message names the root and the way out."""


def require_conditional_put(store: DeltaStore) -> None:
    """Let threads race for keys that only one of them may create; once per process and root, and not on local disk.

    Args:
        store: its root gets a few objects below `.medallion/`, which are deleted again.

    Raises:
        ConditionalPutError: a key was created twice, or the store refuses conditional PUT.
    """
    if "://" not in store.root or store.root.startswith("file://"):
        return
    known = (store.root, frozenset(store.storage_options.items()))
    if known in _passed:
        return
    _race(store)
    _passed.add(known)


def _race(store: DeltaStore) -> None:
    import obstore

    objects = store.objects
    keys = [f"{_FOLDER}/conditional-put-{uuid.uuid4().hex}" for _ in range(_ROUNDS + 1)]
    try:
        _require_condition(store, keys[0])
        with ThreadPoolExecutor(_RACERS) as pool:
            for key in keys[1:]:
                start = threading.Barrier(_RACERS)
                winners = sum(pool.map(_create, repeat(objects), repeat(key), range(_RACERS), repeat(start)))
                if winners > 1:
                    raise ConditionalPutError(
                        f"{store.root}: {winners} of {_RACERS} writers created the same object, so two could win the "
                        f"same commit and one of them would lose its rows. {_NEEDED}"
                    )
    except ConditionalPutError:
        obstore.delete(objects, keys)
        raise
    # After any other error the store does not answer, or refuses this as well.
    obstore.delete(objects, keys)


def _require_condition(store: DeltaStore, key: str) -> None:
    """Refuse a store on which one writer alone can't create a key, or can create it twice."""
    import obstore
    from obstore.exceptions import GenericError, NotSupportedError

    try:
        created = _create(store.objects, key, 0)
    except (GenericError, NotSupportedError, NotImplementedError) as error:
        if isinstance(storage_error(error), StorageUnavailableError):
            raise
        obstore.put(store.objects, key, b"")  # raises if it was not for the condition
        raise ConditionalPutError(f"{store.root}: the store refuses conditional PUT. {_NEEDED}") from error
    if not created:
        raise ConditionalPutError(f"{store.root}: the store refuses a new object as if it existed. {_NEEDED}")
    if _create(store.objects, key, 1):
        raise ConditionalPutError(
            f"{store.root}: the server ignores If-None-Match, so a writer would overwrite the commit of another one. "
            f"{_NEEDED}"
        )


def _create(objects: ObjectStore, key: str, racer: int, start: threading.Barrier | None = None) -> bool:
    """Whether this racer created the key."""
    import obstore
    from obstore.exceptions import AlreadyExistsError

    body = bytes([racer]) * _BODY_BYTES
    if start is not None:
        start.wait()
    try:
        obstore.put(objects, key, body, mode="create", use_multipart=False)
    except AlreadyExistsError:
        return False
    return True
