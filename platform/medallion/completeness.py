"""Table checks of what a candidate must hold: all that another table has, one row of a kind, every day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medallion.audit import SAMPLES
from medallion.findings import VALUES, Finding, by_partition, counted, may_show
from medallion.rules import Severity

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from medallion.checks import CandidateView


def _as_it_is(frame: DataFrame) -> DataFrame:
    return frame


@dataclass(frozen=True)
class Covers:
    """Every row of another table is in this one: the other direction of `References`.

    Of a table that is written by slices, those rows count that belong to the slice; the columns that decide it are
    among those that `rows` returns.

    Attributes:
        key: columns that name a row, in both tables.
        of: the other table, such as `silver/olist/orders`.
        rows: from the frame of the other table: the rows that must be here, with the columns of the key, and the
            partition columns if there are any.
        severity: `ERROR` blocks, `WARN` reports.
    """

    key: tuple[str, ...]
    of: str
    rows: Callable[[DataFrame], DataFrame] = _as_it_is
    severity: Severity = "ERROR"

    @property
    def name(self) -> str:
        """Unique within the table."""
        return f"covers_{self.of.rsplit('/', 1)[-1]}"

    @property
    def description(self) -> str:
        """The condition for people."""
        return f"every ({', '.join(self.key)}) of {self.of} is here"

    @property
    def reads(self) -> tuple[str, ...]:
        """The other table."""
        return (self.of,)

    def evaluate(self, candidate: CandidateView) -> Finding:
        """Anti-join the other table's rows of the slice with the candidate."""
        there = self.rows(candidate.read(self.of))
        if not candidate.selection.is_whole:
            there = candidate.selection.of(there)
        missing = there.join(candidate.frame.select(*self.key), list(self.key), "left_anti")
        count, metadata = counted(candidate, missing, self.key, "missing_rows")
        if not count or candidate.several is None:
            return Finding(not count, metadata)
        placed = missing.select(*self.key, candidate.several.values().alias(VALUES))
        return Finding(False, metadata, by_partition(candidate, placed, self.key, "missing_rows"))


@dataclass(frozen=True)
class NoOrphans:
    """Every value of a foreign key of another table exists in a third one.

    For a table that reads all slices of a fact: `References` of the fact looks at those that a run writes, and a
    dimension may lose a key that only other slices hold.

    Attributes:
        column: the foreign key; NULL refers to nothing and is allowed.
        of: the table that has it, such as `gold/olist/fact_orders`.
        to: the table that it refers to.
        severity: `ERROR` blocks, `WARN` reports.
    """

    column: str
    of: str
    to: str
    severity: Severity = "ERROR"

    @property
    def name(self) -> str:
        """Unique within the table."""
        return f"{self.of.rsplit('/', 1)[-1]}_{self.column}_in_{self.to.rsplit('/', 1)[-1]}"

    @property
    def description(self) -> str:
        """The condition for people."""
        return f"every {self.column} of {self.of}, whatever slices are written, exists in {self.to}"

    @property
    def reads(self) -> tuple[str, ...]:
        """Both tables."""
        return (self.of, self.to)

    def evaluate(self, candidate: CandidateView) -> Finding:
        """Anti-join the different values with the other table; none of the slices that are written is to blame."""
        from pyspark.sql import functions as F

        values = (
            candidate.read(self.of)
            .where(F.col(self.column).isNotNull())
            .groupBy(self.column)
            .agg(F.count(F.lit(1)).alias("_rows"))
        )
        orphans = values.join(candidate.read(self.to).select(self.column), self.column, "left_anti")
        count, metadata = counted(candidate, orphans, (self.column,), "orphans")
        return Finding(not count, metadata)


@dataclass(frozen=True)
class OneRow:
    """Not more than one row of each group fulfils a condition, or exactly one.

    Attributes:
        name: unique within the table.
        where: the condition, in Spark SQL.
        by: columns of the group; none for the whole candidate.
        required: a group of the candidate without such a row, or a candidate without any, fails as well.
        severity: `ERROR` blocks, `WARN` reports.
    """

    name: str
    where: str
    by: tuple[str, ...] = ()
    required: bool = False
    severity: Severity = "ERROR"
    reads: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        """The condition for people."""
        count = "exactly one row" if self.required else "at most one row"
        return f"{count} where {self.where}" + (f" of each ({', '.join(self.by)})" if self.by else "")

    def evaluate(self, candidate: CandidateView) -> Finding:
        """Count the rows of every group that fulfil the condition; a defect of a group is one of the whole write."""
        from pyspark.sql import functions as F

        rows = F.count(F.when(F.expr(self.where), F.lit(1)))
        groups = candidate.frame.groupBy(*self.by).agg(rows.alias("_rows"))
        wrong = groups.where((F.col("_rows") > 1) | (F.col("_rows") < int(self.required)))
        found = wrong.orderBy(*self.by).limit(SAMPLES).collect() if self.by else wrong.collect()
        if not found:
            return Finding(True, {"wrong_groups": 0})
        count = wrong.count() if len(found) == SAMPLES else len(found)
        metadata: dict[str, Any] = {"wrong_groups": count}
        if may_show(candidate, self.by):
            metadata["samples"] = [{**row.asDict(), "rows": row["_rows"]} for row in found]
        return Finding(False, metadata)


@dataclass(frozen=True)
class EveryDay:
    """A date column holds every day of a span, and no day outside of it.

    Attributes:
        column: the dates.
        first: the first day.
        last: the last one, included.
        severity: `ERROR` blocks, `WARN` reports.
    """

    column: str
    first: dt.date
    last: dt.date
    severity: Severity = "ERROR"
    name: str = "every_day_is_there"
    reads: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        """The condition for people."""
        return f"{self.column} holds every day from {self.first} to {self.last}, and no other"

    def evaluate(self, candidate: CandidateView) -> Finding:
        """Compare the number of different days and both ends with those of the span."""
        from pyspark.sql import functions as F

        day = F.col(self.column)
        first, last, days = candidate.frame.agg(F.min(day), F.max(day), F.count_distinct(day)).collect()[0]
        expected = (self.last - self.first).days + 1
        metadata = {"first": str(first), "last": str(last), "days": days, "days_expected": expected}
        return Finding((first, last, days) == (self.first, self.last, expected), metadata)
