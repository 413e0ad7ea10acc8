"""Checks of bronze tables that mirror a database's table: what is about to be published is what the source has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medallion.findings import Finding
from medallion.rules import Severity

if TYPE_CHECKING:
    from medallion.checks import CandidateView
    from medallion.mirror import Mirror

_NOT_COUNTED = Finding(True, {"compared": "no: captured changes follow a source that moves on"})


@dataclass(frozen=True)
class RowsMatchSource:
    """The mirror will have as many rows as the source had when it was read.

    It fails when an incremental extract has missed rows, such as those of a transaction that was open for longer than
    the overlap of its watermark and then changed its mind.
    """

    severity: Severity = "ERROR"
    name: str = "rows_match_source"
    reads: tuple[str, ...] = ()
    description: str = "rows of the mirror = rows of the source in the same snapshot"

    def evaluate(self, candidate: CandidateView) -> Finding:
        """Count the rows that there will be."""
        mirror = _mirror(candidate)
        if mirror.extract.rows_in_source is None:
            return _NOT_COUNTED
        metadata = {"rows": mirror.rows, "rows_in_source": mirror.extract.rows_in_source}
        return Finding(mirror.rows == mirror.extract.rows_in_source, metadata)


@dataclass(frozen=True)
class TotalsMatchSource:
    """Every decimal column of the mirror will add up to what it added up to in the source, to the last digit."""

    severity: Severity = "ERROR"
    name: str = "totals_match_source"
    reads: tuple[str, ...] = ()
    description: str = "sum of every decimal column = that of the source in the same snapshot"

    def evaluate(self, candidate: CandidateView) -> Finding:
        """Add up the rows that there will be."""
        mirror = _mirror(candidate)
        if mirror.extract.rows_in_source is None:
            return _NOT_COUNTED
        theirs, ours = mirror.extract.sums_in_source, mirror.sums
        differing = sorted(name for name, total in theirs.items() if ours[name] != total)
        metadata: dict[str, Any] = {name: str(ours[name]) for name in theirs}
        metadata |= {f"{name}_in_source": str(theirs[name]) for name in differing}
        return Finding(not differing, metadata)


def _mirror(candidate: CandidateView) -> Mirror:
    if candidate.mirror is None:
        raise ValueError(f"{candidate.name} mirrors no table of a database, so this check has nothing to compare")
    return candidate.mirror
