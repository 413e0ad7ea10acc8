"""Rows that are staged and audited, on their way from a transform to the IO manager."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from medallion.delta.publish import Write
from medallion.quarantine import Rejected


@dataclass(frozen=True)
class Candidate:
    """What the IO manager publishes when every blocking check has passed.

    Attributes:
        write: the stage and how it enters the table.
        rejected: rows for quarantine, which replace those of the same slice; None for a table without rules.
        seconds: time spent on transform, stage and audit.
        metadata: numbers that belong to the materialization, such as the quality score.
        partition_rows: passed rows by partition key.
    """

    write: Write
    rejected: Rejected | None
    seconds: float
    metadata: Mapping[str, Any] = field(default_factory=dict)
    partition_rows: Mapping[str, int] = field(default_factory=dict)
