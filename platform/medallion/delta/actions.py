"""Data files as a commit names them when they enter a table by reference, and when they leave it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from medallion.delta.staging import StagedFile
from medallion.delta.store import DataFile

if TYPE_CHECKING:
    from deltalake.transaction import AddAction, RemoveAction


def add_actions(files: Iterable[StagedFile], folder: str, partition_by: Sequence[str]) -> list[AddAction]:
    """Staged files that enter a table.

    Args:
        files: of the stage.
        folder: the stage, below the table.
        partition_by: physical partition columns of the table.
    """
    from deltalake.transaction import AddAction

    return [
        AddAction(
            path=f"{folder}/{file.path}",
            size=file.size,
            partition_values={column: file.partition[column] for column in partition_by},
            modification_time=file.modified,
            data_change=True,
            stats=file.stats,
        )
        for file in files
    ]


def remove_actions(files: Iterable[DataFile]) -> list[RemoveAction]:
    """Live files that leave a table; the files themselves stay for older versions."""
    from deltalake.transaction import RemoveAction

    now = int(time.time() * 1000)
    return [
        RemoveAction(
            path=file.path,
            data_change=True,
            deletion_timestamp=now,
            size=file.size,
            partition_values=dict(file.partition),
        )
        for file in files
    ]
