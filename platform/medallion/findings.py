"""What a table check found: how many rows break it, whose keys, and in which partitions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from medallion.audit import SAMPLES

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from medallion.checks import CandidateView

VALUES = "_values"
"""The column of a row's partition values, as `Placement.values` gives them."""


@dataclass(frozen=True)
class Finding:
    """What a table check found.

    Attributes:
        passed: whether the candidate keeps the condition.
        metadata: counts, ratios and sample keys, for the asset check's page.
        partitions: what it found in each partition that does not keep the condition, by partition key. Empty for one
            that fails if the check can't tell: then no partition of the write is known to be good.
    """

    passed: bool
    metadata: Mapping[str, Any] = field(default_factory=dict)
    partitions: Mapping[str, Finding] = field(default_factory=dict)


def may_show(candidate: CandidateView, columns: Sequence[str]) -> bool:
    """Whether none of some columns is personal data."""
    return not {column.name for column in candidate.contract.columns if column.pii} & set(columns)


def counted(candidate: CandidateView, broken: DataFrame, key: Sequence[str], label: str) -> tuple[int, dict[str, Any]]:
    """How many rows are broken, with up to five of their keys for the check's page, none of which is personal data.

    Args:
        candidate: whose contract tells what is personal data.
        broken: the rows.
        key: columns that name them.
        label: name of their count.
    """
    count = _count(broken)
    metadata: dict[str, Any] = {label: count}
    if count and may_show(candidate, key):
        metadata["samples"] = _samples(broken, key)
    return count, metadata


def _count(rows: DataFrame) -> int:
    from pyspark.sql import functions as F

    return int(rows.agg(F.count(F.lit(1))).collect()[0][0])


def _samples(rows: DataFrame, key: Sequence[str]) -> list[dict[str, Any]]:
    found = rows.select(*key).distinct().orderBy(*key).limit(SAMPLES).collect()
    return [row.asDict() for row in found]


def _first_samples(findings: Iterable[Finding], key: Sequence[str]) -> list[dict[str, Any]]:
    """Samples of a whole from those of its partitions, each of which has its first ones."""
    known = {tuple(sample[name] for name in key) for found in findings for sample in found.metadata["samples"]}
    # NULL comes first, as the engine orders.
    ordered = sorted(known, key=lambda values: [(value is not None, value) for value in values])
    return [dict(zip(key, values, strict=True)) for values in ordered[:SAMPLES]]


def found_in(
    candidate: CandidateView,
    broken: DataFrame,
    key: Sequence[str],
    label: str,
    placed: Callable[[Column], DataFrame],
) -> Finding:
    """What broken rows of a candidate amount to, in all and in each of its partitions.

    Args:
        candidate: whose rows they are.
        broken: the rows.
        key: columns that name them.
        label: name of their count.
        placed: given a column, the same rows with it; asked only if there are any, as it costs another query.
    """
    count, rows = _count(broken), candidate.audit.passed
    metadata: dict[str, Any] = {label: count, "ratio": count / rows if rows else 0.0}
    if not count:
        return Finding(True, metadata)
    partitions = {}
    if candidate.several is not None:
        found = placed(candidate.several.values().alias(VALUES))
        partitions = by_partition(candidate, found, key, label)
    if may_show(candidate, key):
        first = _first_samples(partitions.values(), key) if partitions else _samples(broken, key)
        metadata["samples"] = first
    return Finding(False, metadata, partitions)


def by_partition(candidate: CandidateView, broken: DataFrame, key: Sequence[str], label: str) -> dict[str, Finding]:
    """Broken rows, which carry their partition's values, counted by partition; empty if one belongs to none."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    placement = candidate.placement
    assert placement is not None
    names = [F.col(f"`{name}`") for name in key]
    place = Window.partitionBy(VALUES)
    ranked = (
        broken.groupBy(VALUES, *names)
        .agg(F.count(F.lit(1)).alias("_rows"))
        .select("*", F.sum("_rows").over(place).alias("_total"), F.row_number().over(place.orderBy(*names)).alias("_n"))
    )
    rows = ranked.where(F.col("_n") <= SAMPLES).orderBy(*names).collect()
    keys = placement.keys_of({row[VALUES] for row in rows})
    counts: dict[str, int] = {}
    samples: dict[str, list[Any]] = {}
    for row in rows:
        partition = keys[row[VALUES]]
        if partition is None:
            return {}
        counts[partition] = counts.get(partition, 0) + (row["_total"] if row["_n"] == 1 else 0)
        samples.setdefault(partition, []).append({name: row[name] for name in key})
    shown = may_show(candidate, key)
    found = {}
    for partition, count in counts.items():
        passed = candidate.audit.slices[partition].passed
        metadata: dict[str, Any] = {label: count, "ratio": count / passed if passed else 0.0}
        found[partition] = Finding(False, {**metadata, **({"samples": samples[partition][:SAMPLES]} if shown else {})})
    return found
