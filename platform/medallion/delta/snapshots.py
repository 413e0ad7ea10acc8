"""The tables as a run reads them: one version of each, opened once however many steps and checks read it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING
from urllib.parse import quote

from medallion.delta.store import DeltaStore

if TYPE_CHECKING:
    from deltalake import DeltaTable


@dataclass(frozen=True)
class Snapshots(DeltaStore):
    """A store whose tables stay at the version that was read first, until the run itself writes them.

    Opening a table costs milliseconds on disk and several round trips on an object store, and a step with its checks
    opens the same few tables a dozen times.

    Attributes:
        pins: the folder in which the processes of a run tell each other the versions that they read; None for a run in
            one process.
    """

    pins: Path | None = None
    _opened: dict[tuple[str, ...], DeltaTable] = field(default_factory=dict, init=False, repr=False, compare=False)

    def find(self, path: Sequence[str], version: int | None = None) -> DeltaTable | None:
        """The table as it was when it was first found; a named version is opened each time."""
        key = tuple(path)
        if version is not None:
            return super().find(path, version)
        if key not in self._opened:
            table = super().find(path) if self.pins is None else self._pinned(key)
            if table is None:
                return None
            self._opened[key] = table
        return self._opened[key]

    def forget(self, path: Sequence[str]) -> None:
        """Open the table anew when it is read again."""
        self._opened.pop(tuple(path), None)
        if self.pins is not None:
            self._pin(path).unlink(missing_ok=True)

    def _pinned(self, path: Sequence[str]) -> DeltaTable | None:
        """The table at the version that the first process of the run has read."""
        pin = self._pin(path)
        while True:
            with contextlib.suppress(FileNotFoundError):
                return super().find(path, int(pin.read_text()))
            table = super().find(path)
            if table is None:
                return None
            # Another process sees the whole pin or none, and the first one stays.
            with NamedTemporaryFile("w", dir=pin.parent) as hidden, contextlib.suppress(FileExistsError):
                hidden.write(str(table.version()))
                hidden.flush()
                os.link(hidden.name, pin)
                return table

    def _pin(self, path: Sequence[str]) -> Path:
        assert self.pins is not None
        return self.pins / quote("/".join(path), safe="")
