"""What a table check found: how many rows break it, whose keys, and in which partitions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
    from pyspark.sql import functions as F

    count = broken.agg(F.count(F.lit(1))).collect()[0][0]
    metadata: dict[str, Any] = {label: count}
    if count and may_show(candidate, key):
        samples = broken.select(*key).distinct().orderBy(*key).limit(SAMPLES).collect()
        metadata["samples"] = [row.asDict() for row in samples]
    return count, metadata


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
    count, metadata = counted(candidate, broken, key, label)
    rows = candidate.audit.passed
    metadata = {label: count, "ratio": count / rows if rows else 0.0, **metadata}
    if not count or candidate.several is None:
        return Finding(not count, metadata)
    found = placed(candidate.several.values().alias(VALUES))
    return Finding(False, metadata, by_partition(candidate, found, key, label))


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
