"""The embedded engine: one Sail server inside this process, with bounded memory."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from medallion.engine.environment import scoped_environment

if TYPE_CHECKING:
    from pysail.spark import SparkConnectServer

DEFAULT_MEMORY_BYTES = 1 << 30
_MINIMUM_MEMORY_BYTES = 64 << 20
_SESSION_SECONDS = 7 * 24 * 3600


def server_environment(memory_bytes: int, spilling_joins: bool = False) -> dict[str, str]:
    """Return the `SAIL_*` settings that an embedded server is made with.

    Args:
        memory_bytes: Size in bytes of the pool that all queries of the process share; what doesn't fit spills to disk.
        spilling_joins: Join by sort and merge, which spills, instead of by hash table, which fails when it doesn't fit.

    Raises:
        ValueError: The pool is smaller than 64 MiB, where the fixed buffers of one query already don't fit.
    """
    if memory_bytes < _MINIMUM_MEMORY_BYTES:
        raise ValueError(
            f"engine memory is {memory_bytes} bytes, which is too little for one query; "
            f"set memory_bytes to at least {_MINIMUM_MEMORY_BYTES} (64 MiB)"
        )
    # Hash joins are the default because they took half the time: 1M x 1M rows 0.24 s against 0.51 s, 3M x 3M 0.95 s
    # against 1.8 s, and with 256 MiB both passed. Only their build side, the smaller table, has to fit.
    return {
        "SAIL_RUNTIME__MEMORY_POOL__TYPE": "fair",
        "SAIL_RUNTIME__MEMORY_POOL__FAIR__MAX_SIZE": str(memory_bytes),
        "SAIL_OPTIMIZER__PREFER_HASH_JOIN": "false" if spilling_joins else "true",
        "SAIL_SPARK__SESSION_TIMEOUT_SECS": str(_SESSION_SECONDS),
        # Half the default: writing 10 million rows of 12 columns in 24 partitions peaks at 1341 MiB and not 1548, and
        # takes as long.
        "SAIL_EXECUTION__BATCH_SIZE": "4096",
    }


class EmbeddedSail:
    """A Sail server on a free port of 127.0.0.1 that lives inside this process.

    It prevents the two ways in which an embedded engine takes a laptop down: a memory pool without a bound, and a
    session that the server drops after 15 idle minutes in the middle of a long run.
    """

    def __init__(self, memory_bytes: int = DEFAULT_MEMORY_BYTES, *, spilling_joins: bool = False) -> None:
        from pysail.spark import SparkConnectServer

        self.configuration = server_environment(memory_bytes, spilling_joins)
        # Sail's log writes INFO lines for every session to stderr; what matters reaches the client as an error.
        os.environ.setdefault("RUST_LOG", "warn,sail_common::actor=error")
        with scoped_environment(self.configuration):
            self._server: SparkConnectServer = SparkConnectServer("127.0.0.1", 0)
        self._server.start(background=True)

    @property
    def running(self) -> bool:
        """True until the server is stopped."""
        return bool(self._server.running)

    @property
    def url(self) -> str:
        """The `sc://127.0.0.1:port` address of the server.

        Raises:
            RuntimeError: The server was stopped.
        """
        address = self._server.listening_address
        if address is None:
            raise RuntimeError("the embedded engine was stopped; take a new one from embedded_sail()")
        return f"sc://{address[0]}:{address[1]}"

    def stop(self) -> None:
        """Stop the server; a second call does nothing. Sessions must be stopped before, or they wait for retries."""
        if self._server.running:
            self._server.stop()


_lock = threading.RLock()
_embedded: EmbeddedSail | None = None


def embedded_sail(memory_bytes: int = DEFAULT_MEMORY_BYTES, *, spilling_joins: bool = False) -> EmbeddedSail:
    """Return the one embedded server of this process, started on the first call.

    Args:
        memory_bytes: Size of its memory pool in bytes.
        spilling_joins: Joins that spill, at the price of speed.

    Raises:
        ValueError: The process already has an embedded server that is set otherwise: two memory pools would add up.
    """
    global _embedded
    with _lock:
        if _embedded is None or not _embedded.running:
            _embedded = EmbeddedSail(memory_bytes, spilling_joins=spilling_joins)
        wanted = server_environment(memory_bytes, spilling_joins)
        changed = sorted(name for name, value in wanted.items() if _embedded.configuration[name] != value)
        if changed:
            raise ValueError(
                "the embedded engine of this process runs with "
                + ", ".join(
                    f"{name}={_embedded.configuration[name]} (now asked for: {wanted[name]})" for name in changed
                )
                + "; give all SparkEngine resources of a process the same memory_bytes and spilling_joins"
            )
        return _embedded


def stop_embedded_sail() -> None:
    """Stop the embedded server of this process, if there is one."""
    global _embedded
    with _lock:
        if _embedded is not None:
            _embedded.stop()
            _embedded = None


def _forget_after_fork() -> None:
    # Only the forking thread survives in a child, so the server's threads and the lock's owner are gone there.
    global _embedded, _lock
    _embedded, _lock = None, threading.RLock()


os.register_at_fork(after_in_child=_forget_after_fork)
