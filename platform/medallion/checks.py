"""Table checks: what must be true of a whole candidate before it is published."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from medallion.audit import SAMPLES, RowAudit
from medallion.contracts import Contract
from medallion.findings import VALUES, Finding, by_partition, found_in, may_show
from medallion.partitions import Slice
from medallion.rules import Severity

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from medallion.mirror import Mirror
    from medallion.placement import Placement


@dataclass(frozen=True)
class CandidateView:
    """What a table check may look at.

    Attributes:
        name: the table, as messages name it.
        contract: its contract.
        load: reads the rows that would be published; checks use `frame`.
        audit: what the row rules found.
        selection: the slice being written.
        read: the published rows of another table by key such as `silver/olist/orders`; those of the same slice where
            that table is partitioned alike, else all.
        others: the published rows of this table outside of the slice; None if there are none.
        rows_in: rows of the first input in the slice; None where there is no countable input.
        history: row counts of earlier writes of the same slice, newest first.
        now: the time of the run, UTC.
        placement: tells the partition of a row; None for a table without partitions.
        rows_in_by_partition: `rows_in` by partition key; empty where the input is not partitioned alike.
        history_by_partition: `history` of each partition by itself, by partition key.
        mirror: of a table of a database, what it will hold; None for any other table.
    """

    name: str
    contract: Contract
    load: Callable[[], DataFrame]
    audit: RowAudit
    selection: Slice
    read: Callable[[str], DataFrame]
    others: Callable[[Sequence[str]], DataFrame | None]
    rows_in: int | None
    history: Sequence[int]
    now: dt.datetime
    placement: Placement | None = None
    rows_in_by_partition: Mapping[str, int] = field(default_factory=dict)
    history_by_partition: Mapping[str, Sequence[int]] = field(default_factory=dict)
    mirror: Mirror | None = None

    @cached_property
    def frame(self) -> DataFrame:
        """The rows that would be published; without a check that looks at them, no engine is needed."""
        return self.load()

    @property
    def several(self) -> Placement | None:
        """The placement, if the candidate has more than one partition."""
        return self.placement if self.placement is not None and len(self.placement.keys) > 1 else None


class TableCheck(Protocol):
    """A named condition on a candidate; each becomes one asset check."""

    @property
    def name(self) -> str:
        """Unique within the table."""

    @property
    def severity(self) -> Severity:
        """`ERROR` blocks the write, `WARN` reports."""

    @property
    def description(self) -> str:
        """The condition for people."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Other tables it reads, such as `silver/olist/products`; the asset depends on them."""

    def evaluate(self, candidate: CandidateView) -> Finding:
        """Look at the candidate; must not change anything.

        A finding that names no `partitions` holds for the whole write: if it blocks, it blocks every partition, also
        under `on_bad_partition="isolate"`.
        """


@dataclass(frozen=True)
class UniqueKey:
    """No key stands for two rows, neither in the candidate nor across the slices of the table."""

    key: tuple[str, ...]
    severity: Severity = "ERROR"
    name: str = "key_is_unique"
    reads: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        """The condition for people."""
        return f"({', '.join(self.key)}) is unique in the whole table"

    def evaluate(self, candidate: CandidateView) -> Finding:
        """Group the candidate's keys together with those of the other slices; those of a mirror need no engine."""
        if candidate.mirror is not None:
            repeated_keys = candidate.mirror.repeated_keys
            return Finding(not repeated_keys, {"repeated_keys": repeated_keys})
        from pyspark.sql import functions as F

        columns = [F.col(f"`{name}`") for name in self.key]
        keys = candidate.frame.select(*columns)
        others = candidate.others(self.key)
        if others is not None:
            keys = keys.unionByName(others.join(keys.distinct(), list(self.key), "left_semi"))
        repeated = keys.groupBy(*columns).agg(F.count(F.lit(1)).alias("_rows")).where(F.col("_rows") > 1)

        def placed(values: Column) -> DataFrame:
            """A repeated key once for every partition of the candidate that has it."""
            ours = candidate.frame.select(*columns, values)
            if others is not None:
                theirs = others.join(keys.distinct(), list(self.key), "left_semi")
                ours = ours.unionByName(theirs.withColumn(VALUES, F.lit(None).cast("string")))
            places = F.collect_set(VALUES).alias("_places")
            groups = ours.groupBy(*columns).agg(F.count(F.lit(1)).alias("_rows"), places).where(F.col("_rows") > 1)
            return groups.select(*columns, F.explode("_places").alias(VALUES))

        return found_in(candidate, repeated, self.key, "repeated_keys", placed)


@dataclass(frozen=True)
class References:
    """Every value of a foreign key exists in another table.

    Attributes:
        column: the foreign key of this table; NULL refers to nothing and is allowed.
        to: the other table, such as `silver/olist/products`.
        to_column: its column; the same name if not given.
        severity: `ERROR` blocks, `WARN` reports.
    """

    column: str
    to: str
    to_column: str | None = None
    severity: Severity = "ERROR"

    @property
    def name(self) -> str:
        """Unique within the table."""
        return f"{self.column}_in_{self.to.rsplit('/', 1)[-1]}"

    @property
    def description(self) -> str:
        """The condition for people."""
        return f"every {self.column} exists in {self.to}"

    @property
    def reads(self) -> tuple[str, ...]:
        """The referenced table."""
        return (self.to,)

    def evaluate(self, candidate: CandidateView) -> Finding:
        """Anti-join the distinct values with the other table."""
        from pyspark.sql import functions as F

        there = candidate.read(self.to).select(F.col(self.to_column or self.column).alias(self.column))
        here = candidate.frame.where(F.col(self.column).isNotNull())

        def unresolved(*more: Column) -> DataFrame:
            return here.select(self.column, *more).join(there, self.column, "left_anti")

        return found_in(candidate, unresolved(), (self.column,), "unresolved_rows", unresolved)


@dataclass(frozen=True)
class RowCountInBounds:
    """The slice's row count stays within a factor of the median of its earlier counts.

    Attributes:
        lowest: smallest allowed multiple of the median.
        highest: largest allowed multiple of the median.
        least_history: how many earlier writes of the slice there must be before it is judged.
        severity: `ERROR` blocks, `WARN` reports.
    """

    lowest: float = 0.5
    highest: float = 2.0
    least_history: int = 3
    severity: Severity = "WARN"
    name: str = "row_count_in_bounds"
    reads: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        """The condition for people."""
        return f"rows are {self.lowest} to {self.highest} times the median of the slice's last writes"

    def evaluate(self, candidate: CandidateView) -> Finding:
        """Compare with the slice's history, once there is enough of it; every partition with its own."""
        if candidate.several is None:
            return self._judge(candidate.audit.passed, candidate.history)
        found = {
            key: self._judge(audit.passed, candidate.history_by_partition.get(key, ()))
            for key, audit in candidate.audit.slices.items()
        }
        broken = {key: finding for key, finding in found.items() if not finding.passed}
        metadata = {"rows": candidate.audit.passed, "partitions_out_of_bounds": len(broken)}
        return Finding(not broken, metadata, broken)

    def _judge(self, rows: int, history: Sequence[int]) -> Finding:
        if len(history) < self.least_history:
            return Finding(passed=True, metadata={"rows": rows, "earlier_writes": len(history)})
        median = sorted(history)[len(history) // 2]
        passed = self.lowest * median <= rows <= self.highest * median
        return Finding(passed, {"rows": rows, "median_before": median})


@dataclass(frozen=True)
class Fresh:
    """The newest value of a time column is not older than a limit.

    Attributes:
        column: a timestamp or date column.
        within: the allowed age at the time of the run.
        severity: `ERROR` blocks, `WARN` reports.
    """

    column: str
    within: dt.timedelta
    severity: Severity = "WARN"
    name: str = "is_fresh"
    reads: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        """The condition for people."""
        return f"the newest {self.column} is at most {self.within} old"

    def evaluate(self, candidate: CandidateView) -> Finding:
        """Compare the column's maximum with the time of the run; old partitions are old, so no partition is judged."""
        from pyspark.sql import functions as F

        newest = candidate.frame.agg(F.unix_timestamp(F.max(self.column).cast("timestamp"))).collect()[0][0]
        if newest is None:
            return Finding(passed=False, metadata={"newest": "none"})
        age = candidate.now.timestamp() - newest
        newest_text = dt.datetime.fromtimestamp(newest, dt.UTC).isoformat()
        return Finding(age <= self.within.total_seconds(), {"newest": newest_text, "age_hours": age / 3600})


@dataclass(frozen=True)
class Balances:
    """An amount per group equals the same amount computed from other tables, to the cent.

    Attributes:
        name: unique within the table.
        by: columns of the group, on both sides.
        ours: from the candidate: a frame of the group columns and `amount`.
        sources: the published tables that `theirs` is computed from.
        theirs: from the frames of `sources`, in their order: the same as `ours`.
        description: the condition for people.
        severity: `ERROR` blocks, `WARN` reports.
    """

    name: str
    by: tuple[str, ...]
    ours: Callable[[DataFrame], DataFrame]
    sources: tuple[str, ...]
    theirs: Callable[..., DataFrame]
    description: str
    severity: Severity = "ERROR"

    @property
    def reads(self) -> tuple[str, ...]:
        """The tables it compares with."""
        return self.sources

    def evaluate(self, candidate: CandidateView) -> Finding:
        """Join both sides on the group and compare."""
        from pyspark.sql import functions as F

        ours = self.ours(candidate.frame).select(*self.by, F.col("amount").alias("_ours"))
        theirs = self.theirs(*map(candidate.read, self.sources)).select(*self.by, F.col("amount").alias("_theirs"))
        if candidate.selection.columns and candidate.selection.columns <= set(self.by):
            # Sources that are not partitioned alike also tell amounts of slices that this write leaves alone.
            theirs = candidate.selection.of(theirs)
        both = ours.join(theirs, list(self.by), "full")
        zero = F.lit(0).cast("decimal(18,2)")
        differs = F.coalesce(F.col("_ours"), zero) != F.coalesce(F.col("_theirs"), zero)
        groups, wrong, total = both.agg(
            F.count(F.lit(1)), F.count(F.when(differs, F.lit(1))), F.sum(F.coalesce(F.col("_ours"), zero))
        ).collect()[0]
        metadata: dict[str, Any] = {"groups": groups, "differing_groups": wrong, "total": str(total)}
        if not wrong:
            return Finding(True, metadata)
        if may_show(candidate, self.by):
            rows = both.where(differs).orderBy(*self.by).limit(SAMPLES).collect()
            metadata["samples"] = [{key: str(value) for key, value in row.asDict().items()} for row in rows]
        if candidate.several is None or not set(candidate.several.columns) <= set(self.by):
            return Finding(False, metadata)
        broken = both.where(differs).select(*self.by, candidate.several.values().alias(VALUES))
        return Finding(False, metadata, by_partition(candidate, broken, self.by, "differing_groups"))


@dataclass(frozen=True)
class RowsReconcile:
    """Every source row is published, in quarantine, or counted as a duplicate."""

    severity: Severity = "ERROR"
    name: str = "rows_reconcile"
    reads: tuple[str, ...] = ()
    description: str = "rows in = rows out + quarantined + deduplicated"

    def evaluate(self, candidate: CandidateView) -> Finding:
        """Compare the input's row count with the outcomes; the input is counted from its Delta log.

        Where the input is partitioned like the table, the counts of every partition have to agree: a row that changed
        its partition on the way would be lost by the next run of either partition alone.
        """
        whole = self._judge(candidate.rows_in, candidate.audit)
        if candidate.several is None or not candidate.rows_in_by_partition:
            return whole
        found = {
            key: self._judge(candidate.rows_in_by_partition.get(key, 0), audit)
            for key, audit in candidate.audit.slices.items()
        }
        broken = {key: finding for key, finding in found.items() if not finding.passed}
        # Rows that no partition can account for are nobody's fault in particular.
        return Finding(whole.passed and not broken, whole.metadata, broken)

    def _judge(self, rows_in: int | None, audit: RowAudit) -> Finding:
        metadata = {
            "rows_in": rows_in,
            "rows_out": audit.passed,
            "quarantined": audit.rejected,
            "deduplicated": audit.duplicates + audit.merged,
        }
        return Finding(rows_in == audit.total + audit.merged, metadata)
