"""DuckDB for what this process computes itself: one database with a memory limit, and a session of it for each use."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import threading
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

_MEMORY = "1GB"

_lock = threading.Lock()
_database: duckdb.DuckDBPyConnection | None = None
_inherited: list[duckdb.DuckDBPyConnection | None] = []
"""What a forked process got from its parent: it has lost its threads, and closing it would wait for them."""


def duckdb_session() -> duckdb.DuckDBPyConnection:
    """A session whose temporary tables, registered streams and settings no other one sees; times are in UTC.

    What does not fit into the memory of the database spills to a private temporary folder. To open a database takes
    30 ms, which is longer than most uses, so it stays open until the process ends.

    Returns:
        The session: a context manager, which forgets it at the end.
    """
    return _opened().cursor()


def _opened() -> duckdb.DuckDBPyConnection:
    global _database
    import duckdb

    with _lock:
        if _database is None:
            folder = tempfile.mkdtemp(prefix="medallion-duckdb-")
            _database = duckdb.connect(config={"memory_limit": _MEMORY, "temp_directory": folder})
            _database.execute("SET GLOBAL TimeZone = 'UTC'")
            atexit.register(partial(_close, folder, os.getpid()))
        return _database


def _close(folder: str, owner: int) -> None:
    global _database
    if os.getpid() != owner:
        return
    with _lock:
        if _database is not None:
            _database.close()
            _database = None
    shutil.rmtree(folder, ignore_errors=True)


def _forget_after_fork() -> None:
    global _database, _lock
    _lock = threading.Lock()
    _inherited.append(_database)
    _database = None


os.register_at_fork(after_in_child=_forget_after_fork)
