"""Rows that are staged and audited, on their way from a transform to the IO manager."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from medallion.audit import RowAudit
from medallion.delta.publish import Write
from medallion.delta.staging import Stage
from medallion.quarantine import Rejected

if TYPE_CHECKING:
    import pyarrow as pa

    from medallion.mirror import Mirror
    from medallion.placement import Placement


@dataclass(frozen=True)
class Staged:
    """Rows that are staged and counted.

    Attributes:
        stage: where they are.
        placement: tells their partitions; None for a table without.
        audit: counts by outcome, rule and partition.
        rejected: rows for quarantine; None for an extract, which has no rules.
        lines: of landed files, those that are no record; None for a table that reads other tables.
        slice_of_file: the slice that a landed file belongs to.
        mirror: of an extract from a database, what the table will hold.
    """

    stage: Stage
    placement: Placement | None
    audit: RowAudit
    rejected: Rejected | None
    lines: pa.Table | None = None
    slice_of_file: Callable[[str], str] | None = None
    mirror: Mirror | None = None


@dataclass(frozen=True)
class Candidate:
    """What the IO manager publishes when every blocking check has passed.

    Attributes:
        write: the stage and how it enters the table.
        rejected: rows for quarantine, which replace those of the same slice; None for a table without rules.
        seconds: time spent on transform, stage and audit.
        metadata: numbers that belong to the materialization, such as the quality score.
        partitions: numbers of each partition, which take the place of `metadata` for it, by partition key.
        bad: the partitions that were left out, with the checks they do not keep, by partition key.
    """

    write: Write
    rejected: Rejected | None
    seconds: float
    metadata: Mapping[str, Any] = field(default_factory=dict)
    partitions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    bad: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
