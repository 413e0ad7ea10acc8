"""Row rules on a frame before it is staged, and what the stage then says about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from medallion.contracts import Contract
from medallion.delta.staging import DUPLICATE, OUTCOME, PASSED, REJECTED, Stage
from medallion.rules import UNPARSED, RowRule

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

ERRORS, WARNINGS, RAW, ROWS, BATCH = "_errors", "_warnings", "_raw", "_rows", "_batch"
SAMPLES = 5


@dataclass(frozen=True)
class RuleCount:
    """How many rows broke a rule, and up to five of their keys."""

    rows: int
    samples: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class RowAudit:
    """What the row rules found in a stage.

    Attributes:
        passed: rows to be published.
        rejected: rows for quarantine.
        duplicates: rows that lost to a later row of the same key.
        merged: source rows that the transform itself merged into others (`_rows` minus one, summed).
        broken: counts by rule name, broken rules only.
    """

    passed: int
    rejected: int
    duplicates: int
    merged: int
    broken: Mapping[str, RuleCount] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Rows the transform returned."""
        return self.passed + self.rejected + self.duplicates

    @property
    def rejected_share(self) -> float:
        """Rejected rows as a share of all, 0 for none."""
        return self.rejected / self.total if self.total else 0.0


def annotate(df: DataFrame, contract: Contract, latest_by: Sequence[str] = ()) -> DataFrame:
    """Give every row its outcome: `passed`, `rejected` with the rules it broke, or `duplicate`.

    Args:
        df: rows of a transform; may carry `_unparsed`, `_raw`, `_rows`, `_batch` and the `latest_by` columns besides
            the contract's.
        contract: the rules, and the key that `latest_by` deduplicates on.
        latest_by: columns that say which row of a key is the latest, most significant first; the greatest wins, and
            a hash of the row decides between equals. Rejected rows never win. Empty: no deduplication.

    Returns:
        The contract's columns, then the outcome and what a rejected row needs in quarantine.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    carried = set(df.columns)
    unparsed = F.col(UNPARSED) if UNPARSED in carried else None
    errors = _broken([rule for rule in contract.rules if rule.severity == "ERROR"], unparsed)
    if unparsed is not None:
        errors = F.concat(unparsed, errors)
    rejected = F.size(F.col(ERRORS)) > 0
    raw = F.col(RAW) if RAW in carried else F.struct(*[F.col(f"`{name}`") for name in contract.column_names])
    # Before the sort of a deduplication, which would otherwise carry the raw values of every row.
    annotated = df.withColumn(ERRORS, errors).withColumn(RAW, F.when(rejected, F.to_json(raw)))
    outcome = F.when(rejected, F.lit(REJECTED))
    if latest_by:
        tie = F.xxhash64(*[F.col(f"`{name}`") for name in contract.column_names])
        # Rows without an error come first. The engine's planner fails on the comparison `rejected` as a sort key.
        order = [F.size(F.col(ERRORS)).asc(), *[F.col(f"`{name}`").desc_nulls_last() for name in latest_by], tie.asc()]
        window = Window.partitionBy(*_contest(contract)).orderBy(*order)
        annotated = annotated.withColumn("_rank", F.row_number().over(window))
        outcome = outcome.when(F.col("_rank") > 1, F.lit(DUPLICATE))
    extra = [F.col(RAW), F.col(ERRORS)]
    if BATCH in carried and BATCH not in contract.column_names:
        extra.append(F.when(rejected, F.col(BATCH)).alias(BATCH))
    extra += [F.col(ROWS)] if ROWS in carried else []
    if warned := [rule for rule in contract.rules if rule.severity == "WARN"]:
        extra.append(_broken(warned, None).alias(WARNINGS))
    columns = [F.col(f"`{name}`") for name in contract.column_names]
    return annotated.select(*columns, outcome.otherwise(F.lit(PASSED)).alias(OUTCOME), *extra)


def has_repeats(df: DataFrame, contract: Contract) -> bool:
    """Whether any key stands for several rows; much cheaper to ask than to sort rows that need no deduplication."""
    from pyspark.sql import functions as F

    repeated = df.groupBy(*_contest(contract)).agg(F.count(F.lit(1)).alias("_rows")).where(F.col("_rows") > 1)
    return bool(repeated.limit(1).collect())


def _contest(contract: Contract) -> list[Column]:
    """What versions of a row share: the key, and the slice, so that runs of one slice or of many agree."""
    from pyspark.sql import functions as F

    names = dict.fromkeys([*contract.key, *contract.partition_columns.values()])
    return [F.col(f"`{name}`") for name in names]


def _broken(rules: Sequence[RowRule], unparsed: Column | None) -> Column:
    """The names of the rules that a row breaks."""
    from pyspark.sql import functions as F

    names = []
    for rule in rules:
        if rule.kept is None:
            continue
        broken = ~F.coalesce(rule.kept(), F.lit(True))
        if unparsed is not None and rule.name == f"{rule.column}_not_null":
            # A value that did not parse was there; saying it is missing as well would mislead.
            broken = broken & ~F.array_contains(unparsed, f"{rule.column}_parses")
        names.append(F.when(broken, F.lit(rule.name)))
    return F.filter(F.array(*names), lambda name: name.isNotNull()) if names else F.array().cast("array<string>")


def audit_rows(stage: Stage, contract: Contract, spark: SparkSession) -> RowAudit:
    """Count the outcomes of a stage; its log has most of the answer, rows are read only where a rule was broken."""
    columns = {item.name for item in stage.schema.fields}
    rejected = stage.rows(REJECTED)
    broken: dict[str, RuleCount] = {}
    if rejected:
        broken |= _count(stage, contract, spark, ERRORS, f"{OUTCOME} = '{REJECTED}'")
    if WARNINGS in columns:
        broken |= _count(stage, contract, spark, WARNINGS, f"{OUTCOME} = '{PASSED}'")
    return RowAudit(
        passed=stage.rows(PASSED),
        rejected=rejected,
        duplicates=stage.rows(DUPLICATE),
        merged=_merged(stage, spark) if ROWS in columns else 0,
        broken=broken,
    )


def _count(stage: Stage, contract: Contract, spark: SparkSession, names: str, where: str) -> dict[str, RuleCount]:
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    from medallion.engine.frames import read_delta

    key = [F.col(f"`{name}`") for name in contract.sample_columns]
    rows = read_delta(spark, stage.uri).where(where).select(F.explode(names).alias("_rule"), *key)
    by_rule = Window.partitionBy("_rule")
    ranked = rows.select(
        "*",
        F.count(F.lit(1)).over(by_rule).alias("_count"),
        F.row_number().over(by_rule.orderBy(*(key or [F.lit(1)]))).alias("_n"),
    )
    found: dict[str, RuleCount] = {}
    for row in ranked.where(F.col("_n") <= SAMPLES).orderBy("_rule", "_n").collect():
        sample = {name: row[name] for name in contract.sample_columns}
        before = found.get(row["_rule"])
        samples = (*(before.samples if before else ()), *([sample] if sample else []))
        found[row["_rule"]] = RuleCount(row["_count"], samples)
    return found


def _merged(stage: Stage, spark: SparkSession) -> int:
    from pyspark.sql import functions as F

    from medallion.engine.frames import read_delta

    total = read_delta(spark, stage.uri).agg(F.sum(F.coalesce(F.col(ROWS), F.lit(1)) - 1)).collect()[0][0]
    return int(total or 0)
