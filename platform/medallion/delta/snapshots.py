"""The tables as a run reads them: one version of each, opened once however many steps and checks read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from medallion.delta.store import DeltaStore

if TYPE_CHECKING:
    from deltalake import DeltaTable


@dataclass(frozen=True)
class Snapshots(DeltaStore):
    """A store whose tables stay at the version that was read first, until the run itself writes them.

    Opening a table costs milliseconds on disk and several round trips on an object store, and a step with its checks
    opens the same few tables a dozen times.
    """

    _opened: dict[tuple[str, ...], DeltaTable] = field(default_factory=dict, init=False, repr=False, compare=False)

    def find(self, path: Sequence[str], version: int | None = None) -> DeltaTable | None:
        """The table as it was when it was first found; a named version is opened each time."""
        key = tuple(path)
        if version is not None:
            return super().find(path, version)
        if key not in self._opened:
            table = super().find(path)
            if table is None:
                return None
            self._opened[key] = table
        return self._opened[key]

    def forget(self, path: Sequence[str]) -> None:
        """Open the table anew when it is read again."""
        self._opened.pop(tuple(path), None)
