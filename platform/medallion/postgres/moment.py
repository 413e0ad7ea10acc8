"""One snapshot of a source database for all processes of a run."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from medallion.postgres.database import Database


@dataclass(frozen=True)
class Moment:
    """When a source is read.

    Attributes:
        snapshot: name that the server gave the snapshot; it lives as long as the transaction that exported it.
        position: of the write-ahead log, as `Database.position`.
        now: the server's clock, UTC.
    """

    snapshot: str
    position: int
    now: dt.datetime

    @classmethod
    def find(cls, folder: Path | None, domain: str) -> Moment | None:
        """What the run's process has exported for a domain; None for a run in one process, or that reads it nowhere."""
        path = None if folder is None else _path(folder, domain)
        if path is None or not path.exists():
            return None
        held = json.loads(path.read_text())
        return cls(held["snapshot"], held["position"], dt.datetime.fromisoformat(held["now"]))


@contextmanager
def exported_moment(domain: str, url: str, folder: Path) -> Iterator[None]:
    """Take a snapshot of a database, tell it to the processes of the run, and keep it until they have ended.

    Args:
        domain: whose database it is.
        url: of the database.
        folder: of the run.

    Raises:
        SourceError: the database can't be read; no step has begun.
    """
    with closing(Database(domain, url)) as database:
        held = {"position": database.position, "now": database.now.isoformat(), "snapshot": database.export()}
        _path(folder, domain).write_text(json.dumps(held))
        yield


def _path(folder: Path, domain: str) -> Path:
    return folder / f"{domain}.snapshot"
