"""What the materializations of a write say: the numbers of the whole, and of each partition its own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from medallion.audit import RowAudit
from medallion.delta.commits import AUDIT, PARTITIONS
from medallion.quality import Quality, assess, null_counts
from medallion.verdict import Verdict

if TYPE_CHECKING:
    from medallion.delta.staging import StagedFile


def counts(audit: RowAudit) -> dict[str, Any]:
    """What a commit records of an audit; of a write of several partitions for each of them as well."""
    numbers = {"rows": audit.passed, "quarantined": audit.rejected, "duplicates": audit.duplicates + audit.merged}
    if len(audit.slices) < 2:
        return numbers
    return {**numbers, "partitions": {key: counts(part) for key, part in audit.slices.items()}}


def recorded_rows(commits: Iterable[Mapping[str, Any]], keys: Sequence[str]) -> dict[str, list[int]]:
    """Row counts that earlier commits recorded, in their order, by partition key.

    Args:
        commits: of the published table, as delta-rs tells its history.
        keys: partition keys; none for a table without partitions, whose counts come under an empty key.
    """
    found: dict[str, list[int]] = {key: [] for key in keys or ("",)}
    for commit in commits:
        audit = json.loads(commit.get(AUDIT, "{}"))
        several = audit.get("partitions", {})
        for key, rows in found.items():
            if key in several:
                rows.append(several[key]["rows"])
            elif "rows" in audit and commit.get(PARTITIONS) == json.dumps([key] if key else []):
                rows.append(audit["rows"])
    return found


def recorded_duplicates(commits: Iterable[Mapping[str, Any]]) -> int:
    """Rows that the first audited one of commits recorded as left out or merged, as others had their keys."""
    audits = (json.loads(commit.get(AUDIT, "{}")) for commit in commits)
    return next((int(audit["duplicates"]) for audit in audits if "duplicates" in audit), 0)


def whole_metadata(
    verdict: Verdict, audit: RowAudit, files: Sequence[StagedFile], rows_in: int | None
) -> dict[str, Any]:
    """Numbers of the whole write.

    Args:
        verdict: what the checks found.
        audit: the counts.
        files: those to be published.
        rows_in: rows of the input; None if they can't be counted.
    """
    findings = [(check, verdict.of(check.name)) for check in verdict.table.checks]
    return _numbers(audit, assess(audit, null_counts(files, _counted(verdict)), findings), rows_in)


def partition_metadata(
    verdict: Verdict, audit: RowAudit, files: Mapping[str, Sequence[StagedFile]], rows_in: Mapping[str, int]
) -> dict[str, dict[str, Any]]:
    """Numbers of each partition by its key, which take the place of those of the whole.

    They go with the materialization that Dagster records for the partition anyway: an event for each check of each
    partition would cost a range run of 26 months more than all of its tables.

    Args:
        verdict: what the checks found.
        audit: the counts.
        files: those to be published, by partition key.
        rows_in: rows of the input by partition key, where they can be counted.
    """
    told = {}
    for key, part in audit.slices.items():
        failed = verdict.failed(key)
        own: dict[str, Any] = {"dagster/partition_row_count": part.passed, "checks_failed": len(failed)}
        if failed:
            plain = {name: _plain(finding.metadata) for name, finding in failed.items()}
            own["failed_checks"] = dg.MetadataValue.json(plain)
        if len(audit.slices) > 1:
            findings = verdict.findings(verdict.table.checks, key)
            quality = assess(part, null_counts(files.get(key, ()), _counted(verdict)), findings)
            own |= {"rows_written": part.passed, **_numbers(part, quality, rows_in.get(key))}
        told[key] = own
    return told


def _numbers(audit: RowAudit, quality: Quality, rows_in: int | None) -> dict[str, Any]:
    told: dict[str, Any] = {
        **quality.metadata(),
        "rows_quarantined": audit.rejected,
        "rows_deduplicated": audit.duplicates + audit.merged,
    }
    return told if rows_in is None else {**told, "rows_in": rows_in}


def _counted(verdict: Verdict) -> list[str]:
    """Columns whose NULLs the data files count: partition columns are not in them."""
    partitioned = verdict.table.partition_columns.values()
    return [name for name in verdict.table.contract.column_names if name not in partitioned]


def _plain(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value if isinstance(value, int | float) else str(value) for name, value in metadata.items()}
