"""Row rules on a frame before it is staged, and what the stage then says about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from medallion.contracts import Contract
from medallion.delta.scd2 import SNAPSHOT
from medallion.delta.staging import DUPLICATE, OUTCOME, PASSED, REJECTED, Stage
from medallion.rules import UNPARSED, RowRule

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame, SparkSession

    from medallion.placement import Placement

# Spark would leave the microseconds out.
_JSON = {"timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSS'Z'"}
ERRORS, WARNINGS, RAW, ROWS, BATCH = "_errors", "_warnings", "_raw", "_rows", "_batch"
_REJECTION = "_rejection"
_BETWEEN = "\n"  # of rule names, which are identifiers
SAMPLES = 5
_ROW = ""  # the rule that every rejected row breaks once: it counts the rows themselves


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
        slices: the same by partition key, for a table with partitions.
    """

    passed: int
    rejected: int
    duplicates: int
    merged: int
    broken: Mapping[str, RuleCount] = field(default_factory=dict)
    slices: Mapping[str, RowAudit] = field(default_factory=dict)

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
        df: rows of a transform; may carry `_unparsed`, `_raw`, `_rows`, `_batch`, `_snapshot_at` and the `latest_by`
            columns besides the contract's.
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
    rules = [rule for rule in contract.rules if rule.severity == "ERROR"]
    errors = _broken(rules, unparsed)
    if unparsed is not None:
        errors = F.concat(unparsed, errors)
    raw = F.col(RAW) if RAW in carried else F.struct(*[F.col(f"`{name}`") for name in contract.column_names])
    # Nearly every row is kept: one condition, evaluated once, is all it costs then. The rest is computed for rejected
    # rows alone, and before the sort of a deduplication, which would otherwise carry the raw values of every row.
    rejection = F.struct(_joined(errors).alias(ERRORS), F.to_json(raw, _JSON).alias(RAW))
    annotated = df.withColumn(_REJECTION, F.when(~_kept(rules, unparsed), rejection))
    rejected = F.col(_REJECTION).isNotNull()
    outcome = F.when(rejected, F.lit(REJECTED))
    if latest_by:
        tie = F.xxhash64(*[F.col(f"`{name}`") for name in contract.column_names])
        # Kept rows come first. The engine's planner fails on a condition as a sort key.
        order = [
            F.when(rejected, F.lit(1)).otherwise(F.lit(0)).asc(),
            *[F.col(f"`{name}`").desc_nulls_last() for name in latest_by],
            tie.asc(),
        ]
        window = Window.partitionBy(*_contest(contract)).orderBy(*order)
        annotated = annotated.withColumn("_rank", F.row_number().over(window))
        outcome = outcome.when(F.col("_rank") > 1, F.lit(DUPLICATE))
    extra = [F.col(f"{_REJECTION}.{name}").alias(name) for name in (RAW, ERRORS)]
    if BATCH in carried and BATCH not in contract.column_names:
        extra.append(F.when(rejected, F.col(BATCH)).alias(BATCH))
    extra += [F.col(name) for name in (ROWS, SNAPSHOT) if name in carried]
    if warned := [rule for rule in contract.rules if rule.severity == "WARN"]:
        extra.append(F.when(~_kept(warned, None), _joined(_broken(warned, None))).alias(WARNINGS))
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


def broken_rules(names: Column) -> Column:
    """The rules of `_errors` or `_warnings` as an array."""
    from pyspark.sql import functions as F

    return F.split(names, _BETWEEN)


def _joined(rules: Column) -> Column:
    """As one text: a list column costs each file and each row that keeps the rules more than a text does."""
    from pyspark.sql import functions as F

    return F.array_join(rules, _BETWEEN)


def _kept(rules: Sequence[RowRule], unparsed: Column | None) -> Column:
    """Whether a row breaks no rule; never NULL."""
    from pyspark.sql import functions as F

    kept = F.lit(True) if unparsed is None else F.size(unparsed) == 0
    for rule in rules:
        if rule.kept is not None:
            kept = kept & rule.kept()
    # False with anything is false; what is left is NULL only where no rule was broken.
    return F.coalesce(kept, F.lit(True))


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


def audit_rows(stage: Stage, contract: Contract, spark: SparkSession, placement: Placement | None = None) -> RowAudit:
    """Count the outcomes of a stage; its log has most of the answer, rows are read only where a rule was broken.

    Args:
        stage: annotated rows.
        contract: the rules that were applied.
        spark: reads the stage.
        placement: the partitions to count on their own; None for a table without partitions.
    """
    columns = {item.name for item in stage.schema.fields}
    counts: list[_Count] = []
    if stage.rows(REJECTED):
        counts += _count(stage, contract, spark, ERRORS, REJECTED, placement)
    if WARNINGS in columns:
        counts += _count(stage, contract, spark, WARNINGS, PASSED, placement)
    merged = _merged(stage, spark, placement) if ROWS in columns else {}
    return _audit(stage, stage.rows(REJECTED), counts, merged, placement)


def audit_lines(
    stage: Stage, rule: str, lines: pa.Table, slice_of: Callable[[str], str], placement: Placement | None
) -> RowAudit:
    """Count text rows of landed files, none of which has rules but to be a record of its file.

    Args:
        stage: the records.
        rule: the name of that rule.
        lines: those that are no record: columns source_file and line.
        slice_of: the slice that a source file belongs to.
        placement: the partitions to count on their own; None for a table without partitions.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for line in lines.select(["source_file", "line"]).to_pylist():
        sample = {"file": line["source_file"], "line": line["line"]}
        found.setdefault(slice_of(line["source_file"]), []).append(sample)
    counts = [_Count(name, key, len(bad), bad[:SAMPLES]) for key, bad in found.items() for name in (_ROW, rule)]
    return _audit(stage, lines.num_rows, counts, {}, placement)


def audit_extract(stage: Stage) -> RowAudit:
    """Count what a source gave: no row of it is judged."""
    return RowAudit(stage.rows(PASSED), 0, 0, 0, {})


@dataclass(frozen=True)
class _Count:
    """How many rows of a slice broke a rule; the slice is empty for a table without partitions."""

    rule: str
    slice: str
    rows: int
    samples: Sequence[Mapping[str, Any]]


def _audit(
    stage: Stage, rejected: int, counts: Sequence[_Count], merged: Mapping[str, int], placement: Placement | None
) -> RowAudit:
    whole = RowAudit(stage.rows(PASSED), rejected, stage.rows(DUPLICATE), sum(merged.values()), _by_rule(counts))
    if placement is None:
        return whole
    if len(placement.keys) == 1:
        return replace(whole, slices={placement.keys[0]: whole})
    passed, duplicates = placement.rows(stage, PASSED), placement.rows(stage, DUPLICATE)
    slices = {}
    for key in placement.keys:
        own = [count for count in counts if count.slice == key]
        rows = sum(count.rows for count in own if count.rule == _ROW)
        slices[key] = RowAudit(passed[key], rows, duplicates[key], merged.get(key, 0), _by_rule(own))
    return replace(whole, slices=slices)


def _by_rule(counts: Sequence[_Count]) -> dict[str, RuleCount]:
    found: dict[str, RuleCount] = {}
    for count in counts:
        if count.rule != _ROW:
            before = found.get(count.rule, RuleCount(0))
            found[count.rule] = RuleCount(before.rows + count.rows, (*before.samples, *count.samples)[:SAMPLES])
    return found


def _count(
    stage: Stage, contract: Contract, spark: SparkSession, names: str, outcome: str, placement: Placement | None
) -> list[_Count]:
    """Rows by rule and slice, in one query: samples come in the order of their keys."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    from medallion.engine.frames import read_delta

    key = [F.col(f"`{name}`") for name in contract.sample_columns]
    frame = read_delta(spark, stage.uri).where((F.col(OUTCOME) == outcome) & F.col(names).isNotNull())
    place = _place(frame, placement)
    rules = broken_rules(F.col(names))
    if place and outcome == REJECTED:
        rules = F.concat(F.array(F.lit(_ROW)), rules)
    rows = frame.select(F.explode(rules).alias("_rule"), *place, *key)
    group = Window.partitionBy("_rule", *[name for name in (_VALUES, _FROM) if place])
    ranked = rows.select(
        "*",
        F.count(F.lit(1)).over(group).alias("_count"),
        F.row_number().over(group.orderBy(*(key or [F.lit(1)]))).alias("_n"),
    )
    found = ranked.where(F.col("_n") <= SAMPLES).orderBy("_rule", *key, "_n").collect()
    slices = _slices(found, placement)
    counts = []
    for row, name in zip(found, slices, strict=True):
        sample = [{column: row[column] for column in contract.sample_columns}] if key else []
        counts.append(_Count(row["_rule"], name, row["_count"] if row["_n"] == 1 else 0, sample))
    return counts


_VALUES, _FROM = "_values", "_from"


def _place(frame: DataFrame, placement: Placement | None) -> list[Column]:
    """What tells the slice of a row, where there are several."""
    from pyspark.sql import functions as F

    if placement is None or len(placement.keys) == 1:
        return []
    batch = F.col(BATCH) if BATCH in frame.columns else F.lit(None)
    return [placement.values().alias(_VALUES), batch.cast("string").alias(_FROM)]


def _slices(rows: Sequence[Any], placement: Placement | None) -> list[str]:
    """The slice of each row that has what `_place` selects."""
    if placement is None or len(placement.keys) == 1:
        return [placement.keys[0] if placement else ""] * len(rows)
    keys = placement.keys_of({row[_VALUES] for row in rows})
    return [placement.slice_of(keys[row[_VALUES]], row[_FROM]) for row in rows]


def _merged(stage: Stage, spark: SparkSession, placement: Placement | None) -> dict[str, int]:
    """Source rows that the transform merged into others, by slice."""
    from pyspark.sql import functions as F

    from medallion.engine.frames import read_delta

    frame = read_delta(spark, stage.uri)
    place = _place(frame, placement)
    merged = F.sum(F.coalesce(F.col(ROWS), F.lit(1)) - 1).alias("_merged")
    rows = frame.select(*place, ROWS).groupBy(*[name for name in (_VALUES, _FROM) if place]).agg(merged).collect()
    total: dict[str, int] = {}
    for row, name in zip(rows, _slices(rows, placement), strict=True):
        total[name] = total.get(name, 0) + int(row["_merged"] or 0)
    return total
