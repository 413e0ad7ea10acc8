"""Batches read ahead by a thread of their own, so that their source may use delta-rs while delta-rs writes them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import pyarrow as pa

_BATCHES = 2
_LOOKS_SECONDS = 0.1


class Ahead:
    """A reader's batches, a few of them ahead of whoever takes them.

    delta-rs takes batches on a thread of its own runtime, where neither a table can be scanned nor an exception of
    Python passes unchanged. Within the context, what went wrong in the source is raised instead of what delta-rs made
    of it.
    """

    def __init__(self, reader: pa.RecordBatchReader) -> None:
        self._reader = reader
        self._ready: queue.Queue[pa.RecordBatch | None] = queue.Queue(_BATCHES)
        self._stopped = threading.Event()
        self._thread = ThreadPoolExecutor(1, "read-ahead")

    def __enter__(self) -> Self:
        self._reading = self._thread.submit(self._read)
        return self

    def __exit__(self, _kind: object, raised: BaseException | None, _trace: object) -> None:
        self._stopped.set()
        self._thread.shutdown()
        error = self._reading.exception()
        if error is not None and raised is not error:
            raise error from None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The batches, once; the source's own error, if it fails."""
        while (batch := self._ready.get()) is not None:
            yield batch
        # Without its error the rows so far would look like all of them.
        self._reading.result()

    def _read(self) -> None:
        try:
            for batch in self._reader:
                if not self._put(batch):
                    return
        finally:
            self._put(None)

    def _put(self, batch: pa.RecordBatch | None) -> bool:
        while not self._stopped.is_set():
            try:
                self._ready.put(batch, timeout=_LOOKS_SECONDS)
            except queue.Full:
                continue
            return True
        return False
