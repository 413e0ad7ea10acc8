"""A table's quality score: five dimensions of 0 to 100 and their mean, plotted over time in the UI."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medallion.audit import RowAudit
from medallion.checks import Fresh, References, TableCheck, UniqueKey
from medallion.findings import Finding

if TYPE_CHECKING:
    from medallion.delta.staging import StagedFile


@dataclass(frozen=True)
class Quality:
    """Scores of one write, each 0 to 100.

    Attributes:
        completeness: share of values that are there, in the columns that the files have statistics of.
        validity: share of rows that keep every row rule.
        uniqueness: share of rows that are not repeats of another.
        consistency: share of references and balances that hold.
        timeliness: share of freshness checks that hold.
    """

    completeness: float
    validity: float
    uniqueness: float
    consistency: float
    timeliness: float

    @property
    def score(self) -> float:
        """Mean of the five."""
        return (self.completeness + self.validity + self.uniqueness + self.consistency + self.timeliness) / 5

    def metadata(self) -> dict[str, float]:
        """Numeric metadata entries, which the UI plots."""
        return {
            "quality/score": round(self.score, 3),
            "quality/completeness": round(self.completeness, 3),
            "quality/validity": round(self.validity, 3),
            "quality/uniqueness": round(self.uniqueness, 3),
            "quality/consistency": round(self.consistency, 3),
            "quality/timeliness": round(self.timeliness, 3),
        }


def assess(audit: RowAudit, null_counts: Mapping[str, int], findings: Sequence[tuple[TableCheck, Finding]]) -> Quality:
    """Score a candidate from what the audit has counted; reads no rows.

    Args:
        audit: outcome counts.
        null_counts: NULLs among the passed rows, by declared column.
        findings: the table checks and what they found.
    """
    values = audit.passed * len(null_counts)
    unique = [finding for check, finding in findings if isinstance(check, UniqueKey)]
    fresh = [finding.passed for check, finding in findings if isinstance(check, Fresh)]
    consistent = [_share(f) for c, f in findings if isinstance(c, References) or not isinstance(c, UniqueKey | Fresh)]
    distinct = audit.passed + audit.rejected
    return Quality(
        completeness=100 * (1 - sum(null_counts.values()) / values) if values else 100.0,
        validity=100 * (1 - audit.rejected_share),
        uniqueness=min([100 * (distinct / audit.total if audit.total else 1), *[100 * _share(f) for f in unique]]),
        consistency=100 * (sum(consistent) / len(consistent)) if consistent else 100.0,
        timeliness=100 * (sum(fresh) / len(fresh)) if fresh else 100.0,
    )


def null_counts(files: Iterable[StagedFile], names: Sequence[str]) -> dict[str, int]:
    """NULLs by column, of those columns that the staged files have statistics of (the first 32)."""
    counts: dict[str, int] = {}
    for file in files:
        nulls = json.loads(file.stats).get("nullCount", {})
        for name in names:
            if isinstance(nulls.get(name), int):
                counts[name] = counts.get(name, 0) + nulls[name]
    return counts


def _share(finding: Finding) -> float:
    """How much of the candidate keeps a condition: its ratio where it counted one, else all or nothing."""
    ratio = finding.metadata.get("ratio")
    if isinstance(ratio, float):
        return max(0.0, 1 - ratio)
    return 1.0 if finding.passed else 0.0
