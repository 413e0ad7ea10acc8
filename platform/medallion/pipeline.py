"""How one table is made: transform, stage, audit; check results first, then the candidate for the IO manager."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg

from medallion.arrivals import Arrivals
from medallion.audit import RAW, RowAudit, RuleCount, annotate, audit_rows, has_repeats
from medallion.candidate import Candidate
from medallion.checks import CandidateView, Finding, TableCheck
from medallion.delta.frames import is_spark_type, read_spark, stage_writer, streamed
from medallion.delta.io_manager import LakeStorage, commit_metadata, transactions
from medallion.delta.publish import Write, row_count
from medallion.delta.schema import check_declared
from medallion.delta.staging import OUTCOME, PASSED, Stage, write_stage
from medallion.delta.store import TableMissingError, column_types, data_files
from medallion.partitions import WHOLE, Slice
from medallion.placement import keys_without_rows, partition_label, place
from medallion.quality import assess
from medallion.quarantine import NO_CSV, UNPARTITIONED, Rejected, line_rejects, staged_rejects
from medallion.tables import Table, input_key

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

REJECTED_SHARE = "rejected_share"
_HISTORY = 20


@dataclass(frozen=True)
class Making:
    """One write of one table.

    Attributes:
        table: what is made.
        tables: all declared tables by label, for checks that read others.
        storage: the run's IO manager.
        keys: selected partition keys; empty for a table without partitions.
        input_keys: partition keys that an input parameter reads; None for the whole table.
        made: the partition keys of an asset that were ever made, empty ones included.
        run_id: the run.
        started: time of the run, UTC.
    """

    table: Table
    tables: Mapping[str, Table]
    storage: LakeStorage
    keys: tuple[str, ...]
    input_keys: Callable[[str], Sequence[str] | None]
    made: Callable[[dg.AssetKey], Collection[str]]
    run_id: str
    started: dt.datetime

    @property
    def selection(self) -> Slice:
        """The slice that is written."""
        return self.table.select(self.keys)

    @property
    def _slices(self) -> tuple[str, ...]:
        """The slices as quarantine names them."""
        return self.keys or (UNPARTITIONED,)

    def run(self, inputs: Mapping[str, Any], landing: Any) -> Iterator[dg.AssetCheckResult | dg.Output[Candidate]]:
        """Make the candidate; nothing is visible before every blocking check has passed.

        Args:
            inputs: frames by parameter of the transform.
            landing: the landing zone, for a table that reads arrivals.

        Yields:
            The result of every check, then, unless one blocks, the candidate.
        """
        began = time.perf_counter()
        self._require_inputs()
        with ExitStack() as stack:
            stage, audit, rejected = self._stage(inputs, landing, stack)
        findings = self._findings(stage, audit)
        yield from self._rule_results(audit)
        blocked = audit.rejected_share > self.table.max_rejected
        yield self._share_result(stage, audit)
        for check, finding in findings:
            blocks = check.severity == "ERROR" and not finding.passed
            blocked |= blocks
            where = {"candidate": stage.uri} if blocks else {}
            yield _result(check.name, finding.passed, check.severity, {**finding.metadata, **where})
        if blocked:
            return
        quality = assess(audit, _null_counts(stage, self.table), findings)
        counts = {"rows": audit.passed, "quarantined": audit.rejected, "duplicates": audit.duplicates + audit.merged}
        rows = self._partition_rows(stage)
        write = Write(
            stage=stage,
            selection=self.selection,
            schema=self._schema(stage),
            partition_by=tuple(self.table.partition_columns.values()),
            mode=self.table.mode,
            keys=self.table.contract.key,
            evolution=self.table.schema_evolution,
            transactions=transactions(self.table.mode, self.table.label, self.run_id, self.keys),
            commit=commit_metadata(self.table.label, self.run_id, self.keys, self.table.version, counts),
        )
        metadata = {**quality.metadata(), "rows_quarantined": audit.rejected, "rows_deduplicated": counts["duplicates"]}
        rows_in = self._rows_in()
        if rows_in is not None:
            metadata["rows_in"] = rows_in
        seconds = time.perf_counter() - began
        yield dg.Output(Candidate(write, rejected, seconds, metadata, rows))

    def _require_inputs(self) -> None:
        """Refuse to read a partition that was never made: it would look like one without rows."""
        for parameter, asset_in in self.table.inputs.items():
            source = self.tables["/".join(input_key(asset_in).path)]
            keys = self.input_keys(parameter) if source.partitions is not None else None
            if not keys:
                continue
            bare = keys_without_rows(self.storage.store, source, keys)
            made = self.made(source.key) if bare else ()
            if missing := [key for key in bare if key not in made]:
                raise TableMissingError(
                    f"{self.table.label} reads partitions {missing[:5]} of {source.label}, which were never made; make "
                    f"them with: medallion run -s {source.label} -p {missing[0]}...{missing[-1]}"
                )

    def _stage(self, inputs: Mapping[str, Any], landing: Any, stack: ExitStack) -> tuple[Stage, RowAudit, Rejected]:
        table = self.table
        if table.reads_arrivals:
            slices = self.keys or ("snapshot",)
            arrivals = Arrivals(landing, table.domain, table.name, slices, table.landed_columns, self.started)
            result = table.transform(stack.enter_context(arrivals.opened()))
            if hasattr(result, "rejects"):
                return self._stage_arrivals(result, arrivals)
        else:
            result = table.transform(**self._with_raw(inputs))
        if not is_spark_type(type(result)):
            result = self._as_spark(result, stack)
        frame = self._declared(result)
        contested = bool(table.latest_by) and has_repeats(frame, table.contract)
        stage = self._write(annotate(frame, table.contract, table.latest_by if contested else ()))
        check_declared(table.label, table.contract.delta_schema(), stage.schema)
        placed = self._placed(stage)
        spark = self.storage.engine.spark_session
        rejected = staged_rejects(stage, table.path, self._slices, placed, self.run_id, spark)
        return stage, audit_rows(stage, table.contract, spark), rejected

    def _stage_arrivals(self, read: Any, arrivals: Arrivals) -> tuple[Stage, RowAudit, Rejected]:
        """Stage text rows as they stream from the files; the lines that are no CSV are known at the end of it."""
        stage = self._write(read.batches)
        check_declared(self.table.label, self.table.contract.delta_schema(), stage.schema)
        rejects = read.rejects()
        broken = {}
        if rejects.num_rows:
            samples = tuple({"file": r["source_file"], "line": r["line"]} for r in rejects.slice(0, 5).to_pylist())
            broken = {NO_CSV: RuleCount(rejects.num_rows, samples)}
        audit = RowAudit(stage.rows(PASSED), rejects.num_rows, duplicates=0, merged=0, broken=broken)
        rejected = line_rejects(rejects, self.table.path, self._slices, arrivals.slice_of_file, self.run_id)
        return stage, audit, rejected

    def _write(self, frame: Any) -> Stage:
        partition_by = tuple(self.table.partition_columns.values())
        return write_stage(self.storage.store, self.table.path, partition_by, stage_writer(frame, self.storage.store))

    def _as_spark(self, frame: Any, stack: ExitStack) -> DataFrame:
        """A pyarrow or polars result as a Spark frame, so that one implementation of the rules serves all."""
        from medallion.engine.frames import read_delta

        stage = write_stage(self.storage.store, self.table.path, (), stage_writer(streamed(frame), self.storage.store))
        stack.callback(stage.discard)
        return read_delta(self.storage.engine.spark_session, stage.uri).drop(OUTCOME)

    def _declared(self, frame: DataFrame) -> DataFrame:
        """The frame, if it has the contract's columns; otherwise the engine would fail on some expression of a rule."""
        missing = [name for name in self.table.contract.column_names if name not in frame.columns]
        if missing:
            from medallion.delta.schema import SchemaError

            raise SchemaError(
                f"{self.table.label}: the transform does not return the columns {missing} of its contract "
                f"{self.table.contract.name}; it returns {frame.columns}"
            )
        return frame

    def _with_raw(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The primary input's rows carry themselves as `_raw`, so that quarantine can keep what arrived."""
        from pyspark.sql import functions as F

        frames = dict(inputs)
        if self.table.primary is not None:
            parameter, _ = self.table.primary
            frame = frames[parameter]
            if is_spark_type(type(frame)):
                frames[parameter] = frame.withColumn(RAW, F.struct(*[f"`{name}`" for name in frame.columns]))
        return frames

    def _schema(self, stage: Stage) -> Any:
        """The contract's columns, and under an open contract those that came besides."""
        declared = self.table.contract.delta_schema()
        if self.table.schema_evolution == "strict":
            return declared
        from deltalake import Field, Schema

        known = {item.name for item in declared.fields}
        extra = [
            Field(item.name, item.type, nullable=True)
            for item in stage.schema.fields
            if item.name not in known and not item.name.startswith("_")
        ]
        current = self.storage.store.find(self.table.path)
        # A file without an extra column that earlier files had leaves it NULL; the table keeps it.
        came = known | {item.name for item in extra}
        kept = [item for item in current.schema().fields if item.name not in came] if current is not None else []
        return Schema([*declared.fields, *kept, *extra])

    def _findings(self, stage: Stage, audit: RowAudit) -> list[tuple[TableCheck, Finding]]:
        if not self.table.checks:
            return []
        view = self._view(stage, audit)
        return [(check, check.evaluate(view)) for check in self.table.checks]

    def _view(self, stage: Stage, audit: RowAudit) -> CandidateView:
        from pyspark.sql import functions as F

        from medallion.engine.frames import read_delta

        spark = self.storage.engine.spark_session
        names = [F.col(f"`{name}`") for name in self.table.contract.column_names]
        frame = read_delta(spark, stage.uri, 0).where(F.col(OUTCOME) == PASSED).select(*names)
        return CandidateView(
            name=self.table.label,
            contract=self.table.contract,
            frame=frame,
            audit=audit,
            selection=self.selection,
            read=self._read,
            others=self._others,
            rows_in=self._rows_in(),
            history=self._history(),
            now=self.started,
        )

    def _read(self, label: str) -> DataFrame:
        other = self.tables.get(label)
        alike = other is not None and self.keys and other.partitions == self.table.partitions
        selection = other.select(self.keys) if other is not None and alike else WHOLE
        return read_spark(self.storage.engine.spark_session, self.storage.store, label.split("/"), selection)

    def _others(self, columns: Sequence[str]) -> DataFrame | None:
        """Rows of the table outside of the slice, if there are any."""
        from pyspark.sql import functions as F

        if self.selection.is_whole and self.table.mode == "replace":
            return None
        store = self.storage.store
        table = store.find(self.table.path)
        if table is None or (self.table.mode != "replace" and not table.count()):
            return None
        if self.table.mode == "merge":
            return None  # the key decides which row it replaces
        bound = self.selection.bind(column_types(table.schema()))
        if self.table.mode == "replace":
            inside = {file.path for file in data_files(table, self.selection)}
            if all(file.path in inside for file in data_files(table, WHOLE)):
                return None
        frame = read_spark(self.storage.engine.spark_session, store, self.table.path)
        condition = bound.column_expression()
        if condition is not None and self.table.mode == "replace":
            frame = frame.where(~F.coalesce(condition, F.lit(False)))
        return frame.select(*[f"`{name}`" for name in columns])

    def _rows_in(self) -> int | None:
        """Rows of the primary input in the slice that the run reads, from its Delta log."""
        if self.table.primary is None:
            return None
        parameter, key = self.table.primary
        source = self.tables["/".join(key.path)]
        keys = self.input_keys(parameter) if source.partitions is not None else None
        selection = WHOLE if keys is None else source.select(keys)
        return row_count(self.storage.store, source.path, selection)

    def _history(self) -> list[int]:
        """Row counts that earlier commits recorded for the same slice, newest first."""
        import json

        table = self.storage.store.find(self.table.path)
        counts = []
        for commit in table.history(_HISTORY) if table is not None else []:
            if commit.get("dagster/partitions") == ",".join(self.keys) and "medallion/audit" in commit:
                counts.append(json.loads(commit["medallion/audit"]).get("rows", 0))
        return counts

    def _placed(self, stage: Stage) -> dict[str, str]:
        """Partition key by the raw partition values of the staged files."""
        return place(self.table, self.keys, (file.partition for file in stage.files), column_types(stage.schema))

    def _partition_rows(self, stage: Stage) -> dict[str, int]:
        """Passed rows by partition key."""
        columns = list(self.table.partition_columns.values())
        placed = self._placed(stage)
        rows = dict.fromkeys(self.keys, 0)
        for file in stage.select(PASSED):
            key = placed.get(partition_label(columns, file.partition))
            if key is not None:
                rows[key] += file.rows
        return rows

    def _rule_results(self, audit: RowAudit) -> Iterator[dg.AssetCheckResult]:
        for name, _ in rule_checks(self.table):
            count = audit.broken.get(name, RuleCount(0))
            metadata: dict[str, Any] = {"rows": count.rows, "ratio": count.rows / audit.total if audit.total else 0.0}
            if count.samples:
                metadata["samples"] = [dict(sample) for sample in count.samples]
            # A row that breaks a rule is in quarantine, not in the table: worth a look, no reason to stop.
            yield _result(name, not count.rows, "WARN", metadata)

    def _share_result(self, stage: Stage, audit: RowAudit) -> dg.AssetCheckResult:
        passed = audit.rejected_share <= self.table.max_rejected
        metadata: dict[str, Any] = {
            "rejected": audit.rejected,
            "ratio": audit.rejected_share,
            "allowed": self.table.max_rejected,
        }
        if not passed:
            worst = max(audit.broken, key=lambda name: audit.broken[name].rows)
            found = "; ".join(
                " ".join(f"{column} {value}" for column, value in sample.items())
                for sample in audit.broken[worst].samples
            )
            metadata["mostly"] = worst + (f", such as {found}" if found else "")
            metadata["candidate"] = stage.uri
        return _result(REJECTED_SHARE, passed, "ERROR", metadata)


def rule_checks(table: Table) -> list[tuple[str, str]]:
    """Name and description of the checks that stand for row rules."""
    rules = [(rule.name, rule.description) for rule in table.contract.rules]
    if table.reads_arrivals:
        rules.insert(0, (NO_CSV, "every line of the landed files is a CSV record"))
    return rules


def check_specs(table: Table) -> list[dg.AssetCheckSpec]:
    """Every asset check of a table; those of severity ERROR on the whole table block."""
    specs = [dg.AssetCheckSpec(name, asset=table.key, description=text) for name, text in rule_checks(table)]
    limit = f"at most {table.max_rejected:.1%} of the rows break a rule"
    specs.append(dg.AssetCheckSpec(REJECTED_SHARE, asset=table.key, blocking=True, description=limit))
    for check in table.checks:
        blocking = check.severity == "ERROR"
        specs.append(dg.AssetCheckSpec(check.name, asset=table.key, blocking=blocking, description=check.description))
    return specs


def _result(name: str, passed: bool, severity: str, metadata: Mapping[str, Any]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=name,
        passed=bool(passed),
        severity=dg.AssetCheckSeverity(severity),
        metadata={key: _shown(value) for key, value in metadata.items()},
    )


def _shown(value: Any) -> Any:
    if isinstance(value, list | dict):
        return dg.MetadataValue.json([{k: str(v) for k, v in item.items()} for item in value])
    return "unknown" if value is None else value


def _null_counts(stage: Stage, table: Table) -> dict[str, int]:
    """NULLs of the passed rows by declared column, of those that the staged files have statistics of (the first 32)."""
    import json

    names = [name for name in table.contract.column_names if name not in table.partition_columns.values()]
    counts: dict[str, int] = {}
    for file in stage.select(PASSED):
        nulls = json.loads(file.stats).get("nullCount", {})
        for name in names:
            if isinstance(nulls.get(name), int):
                counts[name] = counts.get(name, 0) + nulls[name]
    return counts
