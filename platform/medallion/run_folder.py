"""What the processes of one run share: a folder that lives as long as the run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagster import DagsterRun


def run_folder(home: Path, run: DagsterRun | None) -> Path | None:
    """The folder that the processes of a run share; None for a run whose steps share a process.

    Args:
        home: folder of everything local, the `MEDALLION_HOME`.
        run: None outside of one.
    """
    folder = _path(home, run.run_id) if run else None
    return folder if folder is not None and folder.is_dir() else None


@contextmanager
def shared_run_folder(home: Path, run_id: str) -> Iterator[Path]:
    """Make the folder of a run before its first step starts, and remove it after the last one has ended."""
    folder = _path(home, run_id)
    folder.mkdir(parents=True, mode=0o700)
    try:
        yield folder
    finally:
        remove_run_folder(home, run_id)


def remove_run_folder(home: Path, run_id: str) -> None:
    """Remove the folder of a run that has ended, if it has one."""
    folder = _path(home, run_id)
    if folder.is_dir():
        shutil.rmtree(folder)


def _path(home: Path, run_id: str) -> Path:
    return home.expanduser().resolve() / "running" / f"{run_id}.shared"
