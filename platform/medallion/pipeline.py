"""How one table is made: transform, stage, audit; check results first, then the candidate for the IO manager."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import dagster as dg

from medallion.arrivals import ROW_HASH, Arrivals
from medallion.audit import BATCH, RAW, annotate, audit_extract, audit_lines, audit_rows, has_repeats
from medallion.candidate import Candidate, Staged
from medallion.checks import TableCheck
from medallion.delta.commits import commit_metadata, transactions
from medallion.delta.frames import is_spark_type, stage_writer, streamed
from medallion.delta.history import changed_at
from medallion.delta.publish import Write
from medallion.delta.scd2 import SNAPSHOT
from medallion.delta.schema import SchemaError, check_declared, extra_column, with_extras
from medallion.delta.staging import OUTCOME, PASSED, Stage, write_stage
from medallion.delta.store import TableMissingError, column_types
from medallion.extract import Extract
from medallion.faults import Fault, fault
from medallion.findings import Finding
from medallion.materialization import counts, partition_metadata, whole_metadata
from medallion.mirror import Mirror
from medallion.partitions import Slice
from medallion.placement import Placement, keys_without_rows
from medallion.quarantine import NO_CSV, UNPARTITIONED, line_rejects, staged_rejects
from medallion.schema_check import compare_columns
from medallion.table_run import TableRun
from medallion.tables import input_key
from medallion.verdict import Verdict, judge

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame, SparkSession


@dataclass(frozen=True)
class Making(TableRun):
    """One write of one table.

    Attributes:
        made: the partition keys of an asset that were ever made, empty ones included.
        run_id: the run.
    """

    made: Callable[[dg.AssetKey], Collection[str]]
    run_id: str

    def run(
        self, inputs: Mapping[str, Any], origin: Any
    ) -> Iterator[dg.AssetCheckResult | Verdict | dg.Output[Candidate]]:
        """Make the candidate; nothing is visible before every blocking check has passed.

        Args:
            inputs: frames by parameter of the transform.
            origin: of a table that reads no other one, where its rows come from: the landing zone, the database, or
                what has been extracted from it already.

        Yields:
            What the contract changes, what the checks say, then the candidate: unless one blocks, all of it, and under
            `isolate` the partitions that none speaks against, if there are any.
        """
        began = time.perf_counter()
        yield from compare_columns(self.table, self.storage.snapshots.find(self.table.path), self.selection)
        self._require_inputs()
        with ExitStack() as stack:
            staged = self._stage(inputs, origin, stack)
        verdict = remaining = self._judge(staged)
        making, kept = self, staged
        while remaining.blocked and (good := self._isolated(remaining, kept)):
            if kept is not staged:
                kept.stage.discard()
            making = replace(self, keys=good)
            kept = making._only(staged, self.keys)
            # Without the bad partitions a key may repeat one of the rows that they keep.
            remaining = making._judge(kept)
            verdict = verdict.also(remaining)
        yield verdict
        if remaining.blocked:
            if kept is not staged:
                kept.stage.discard()
            return
        fault(Fault.AFTER_AUDIT, self.table.path)
        yield dg.Output(making._candidate(kept, remaining, verdict.bad, began))

    def _require_inputs(self) -> None:
        """Refuse to read a partition that was never made: it would look like one without rows."""
        for parameter, asset_in in self.table.inputs.items():
            source = self.tables["/".join(input_key(asset_in).path)]
            keys = self.input_keys(parameter) if source.partitions is not None else None
            if not keys:
                continue
            bare = keys_without_rows(self.storage.snapshots, source, keys)
            made = self.made(source.key) if bare else ()
            if missing := [key for key in bare if key not in made]:
                raise TableMissingError(
                    f"{self.table.label} reads partitions {missing[:5]} of {source.label}, which were never made; make "
                    f"them with: medallion run -s {source.label} -p {missing[0]}...{missing[-1]}"
                )

    def _stage(self, inputs: Mapping[str, Any], origin: Any, stack: ExitStack) -> Staged:
        table = self.table
        if table.reads_source:
            return self._stage_extract(origin)
        if table.reads_arrivals:
            slices = self.keys or ("snapshot",)
            arrivals = Arrivals(origin, table.domain, table.name, slices, table.landed_columns, self.started)
            result = table.transform(stack.enter_context(arrivals.opened()))
            if hasattr(result, "rejects"):
                return self._stage_arrivals(result, arrivals)
        else:
            given = {"selection": self.selection} if table.reads_selection else {}
            result = table.transform(**self._with_raw(inputs), **given)
        if not is_spark_type(type(result)):
            result = self._as_spark(result, stack)
        stage = self._stage_frame(self._declared(result))
        check_declared(table.label, table.contract.incoming.delta_schema(), stage.schema)
        return self._audited(stage)

    def _stage_frame(self, frame: DataFrame) -> Stage:
        """Stage a transform's rows with their outcomes.

        Few tables get the same key twice, and to sort all rows for the latest of each costs more than to write them.
        So unless the table's last write had such keys, they are looked for among the rows that are staged.
        """
        contract, latest_by = self.table.contract.incoming, self.table.latest_by
        if latest_by and self.had_duplicates:
            return self._write(annotate(frame, contract, latest_by))
        stage = self._write(annotate(frame, contract))
        if latest_by and has_repeats(self.passed(stage), contract):
            stage.discard()
            return self._write(annotate(frame, contract, latest_by))
        return stage

    def _stage_extract(self, origin: Any) -> Staged:
        """Stage rows as they stream from a database; its own rules have judged them."""
        table = self.table
        current = self.storage.snapshots.find(table.path)
        extract = origin
        if not isinstance(extract, Extract):
            from medallion.postgres.source import Source

            extract = table.transform(Source(origin, table.name, table.contract, current, self.started))
        stage = self._write(extract.batches)
        check_declared(table.label, table.contract.delta_schema(), stage.schema)
        return Staged(
            stage, None, audit_extract(stage), None, mirror=Mirror(extract, stage, current, table.contract.key)
        )

    def _stage_arrivals(self, read: Any, arrivals: Arrivals) -> Staged:
        """Stage text rows as they stream from the files; the lines that are no CSV are known at the end of it."""
        stage = self._write(read.batches)
        check_declared(self.table.label, self.table.contract.delta_schema(), stage.schema)
        return self._audited_lines(stage, read.rejects(), arrivals.slice_of_file)

    def _with_raw(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The primary input's rows carry themselves as `_raw`, so that quarantine can keep what arrived.

        Those of a mirror are all there are: for a history that closes absent keys they carry the moment of that too.
        """
        from pyspark.sql import functions as F

        frames = dict(inputs)
        if self.table.primary is not None:
            parameter, _ = self.table.primary
            frame = frames[parameter]
            if is_spark_type(type(frame)):
                moment = self._mirrored_at()
                snapshot = {} if moment is None else {SNAPSHOT: F.lit(moment)}
                # The hash follows from the values, and is as wide as they are.
                arrived = [F.col(f"`{name}`") for name in frame.columns if name != ROW_HASH]
                frames[parameter] = frame.withColumns({RAW: F.struct(*arrived), **snapshot})
        return frames

    def _mirrored_at(self) -> dt.datetime | None:
        """Since when the mirrors that a history is made from hold what they hold; None if it needs no such moment.

        Not the newest of what their rows say: a row that is deleted takes its moment along.
        """
        if self.table.absent != "close":
            return None
        inputs = [self.tables["/".join(input_key(asset_in).path)] for asset_in in self.table.inputs.values()]
        store = self.storage.snapshots
        mirrors = [item.path for item in inputs if item.reads_source]
        return max((changed_at(store, path, store.open(path).version()) for path in mirrors), default=None)

    def _as_spark(self, frame: Any, stack: ExitStack) -> DataFrame:
        """A pyarrow or polars result as a Spark frame, so that one implementation of the rules serves all."""
        from medallion.engine.frames import read_delta

        stage = write_stage(self.storage.store, self.table.path, (), stage_writer(streamed(frame), self.storage.store))
        stack.callback(stage.discard)
        return read_delta(self.spark, stage.uri).drop(OUTCOME)

    def _declared(self, frame: DataFrame) -> DataFrame:
        """The frame, if it has the contract's columns; otherwise the engine would fail on some expression of a rule."""
        wanted = [*self.table.contract.incoming.column_names, *([SNAPSHOT] if self.table.absent == "close" else [])]
        missing = [name for name in wanted if name not in frame.columns]
        if missing:
            raise SchemaError(
                f"{self.table.label}: the transform does not return the columns {missing} of its contract "
                f"{self.table.contract.name}; it returns {frame.columns}"
            )
        return frame

    def _write(self, frame: Any) -> Stage:
        partition_by = tuple(self.table.partition_columns.values())
        return write_stage(self.storage.store, self.table.path, partition_by, stage_writer(frame, self.storage.store))

    def _audited(self, stage: Stage) -> Staged:
        """Count annotated rows."""
        placement = self._placement(stage)
        placed = placement.labels(stage) if placement else {}
        rejected = staged_rejects(stage, self.table.path, self._slices, placed, self.run_id, self.spark)
        return Staged(stage, placement, audit_rows(stage, self.table.contract, self.spark, placement), rejected)

    def _audited_lines(self, stage: Stage, lines: pa.Table, slice_of_file: Callable[[str], str]) -> Staged:
        """Count text rows."""
        placement = self._placement(stage)
        audit = audit_lines(stage, NO_CSV, lines, slice_of_file, placement)
        rejected = line_rejects(lines, self.table.path, self._slices, slice_of_file, self.run_id)
        return Staged(stage, placement, audit, rejected, lines, slice_of_file)

    @property
    def _slices(self) -> tuple[str, ...]:
        """The slices as quarantine names them."""
        return self.keys or (UNPARTITIONED,)

    def _placement(self, stage: Stage) -> Placement | None:
        return Placement(self.table, self.keys, column_types(stage.schema)) if self.keys else None

    def _judge(self, staged: Staged) -> Verdict:
        return judge(self.table, self.keys, staged.stage.uri, staged.audit, self._findings(staged))

    def _findings(self, staged: Staged) -> list[tuple[TableCheck, Finding]]:
        if not self.table.checks:
            return []
        view = self.view(staged)
        return [(check, check.evaluate(view)) for check in self.table.checks]

    def _isolated(self, verdict: Verdict, staged: Staged) -> tuple[str, ...]:
        """The partitions to publish without the others."""
        if self.table.on_bad_partition == "block" or staged.placement is None:
            return ()
        return () if staged.placement.has_strays(staged.stage) else verdict.good

    def _only(self, staged: Staged, keys: tuple[str, ...]) -> Staged:
        """A stage of the rows of this write's partitions alone, from one of more; the other stays for inspection."""
        from pyspark.sql import functions as F

        from medallion.engine.frames import read_delta

        types = column_types(staged.stage.schema)
        frame = read_delta(self.spark, staged.stage.uri)
        ours, theirs = [_holds(self.table.select(some), types) for some in (self.keys, keys)]
        # A rejected row may have no partition: quarantine has it with its batch, or else with the first.
        kept = ours | (~theirs if self.keys[0] == keys[0] else F.lit(False))
        if BATCH in frame.columns:
            batch = F.col(BATCH)
            kept = F.when(F.coalesce(batch.isin(*keys), F.lit(False)), batch.isin(*self.keys)).otherwise(kept)
        stage = self._write(frame.where(kept))
        if staged.lines is None or staged.slice_of_file is None:
            return self._audited(stage)
        ours_of = [staged.slice_of_file(name) in self.keys for name in staged.lines["source_file"].to_pylist()]
        return self._audited_lines(stage, staged.lines.filter(ours_of), staged.slice_of_file)

    def _candidate(
        self, staged: Staged, verdict: Verdict, bad: Mapping[str, tuple[str, ...]], began: float
    ) -> Candidate:
        stage, audit, table = staged.stage, staged.audit, self.table
        extract = staged.mirror.extract if staged.mirror else None
        write = Write(
            stage=stage,
            selection=self.selection,
            schema=self._schema(stage),
            partition_by=tuple(table.partition_columns.values()),
            mode=extract.mode if extract else table.mode,
            keys=table.contract.key,
            history=table.history,
            evolution=table.schema_evolution,
            transactions=transactions(table.mode, table.label, self.root_run_id, self.keys),
            positions=extract.positions if extract else {},
            commit=commit_metadata(
                table.label, self.run_id, self.keys, table.version, counts(audit), self._source_versions()
            ),
            properties=table.properties,
            spark=self._merging_session,
        )
        rows_in, by_partition = self.rows_in
        # Of an input that is partitioned otherwise, the count would be told as that of every partition.
        told = rows_in if by_partition or len(self.keys) < 2 else None
        metadata = whole_metadata(verdict, audit, stage.select(PASSED), told)
        if extract is not None:
            metadata |= extract.metadata
        files = staged.placement.files(stage, PASSED) if staged.placement else {}
        partitions = partition_metadata(verdict, audit, files, by_partition)
        return Candidate(write, staged.rejected, time.perf_counter() - began, metadata, partitions, bad)

    def _schema(self, stage: Stage) -> Any:
        """The contract's columns, and under an open contract those that came besides."""
        declared = self.table.schema
        if self.table.schema_evolution == "strict":
            return declared
        from deltalake import Schema

        known = {item.name for item in declared.fields}
        came = [
            extra_column(item)
            for item in stage.schema.fields
            if item.name not in known and not item.name.startswith("_")
        ]
        schema = Schema([*declared.fields, *came])
        current = self.storage.snapshots.find(self.table.path) if self.table.schema_evolution == "additive" else None
        # A file without an extra column that earlier files had leaves it NULL; the table keeps it.
        return schema if current is None else with_extras(schema, current.schema())

    def _source_versions(self) -> dict[str, int]:
        """The version of every table that was read, as this run saw it."""
        found = {label: self.storage.snapshots.find(label.split("/")) for label in self.table.all_reads}
        return {label: opened.version() for label, opened in found.items() if opened is not None}

    @property
    def _merging_session(self) -> Callable[[], SparkSession] | None:
        """What merges, if the table is declared so and an engine is there that has executors."""
        engine = self.storage.engine
        return (lambda: engine.spark_session) if self.table.merge_in == "engine" and not engine.embedded else None


def _holds(selection: Slice, types: Mapping[str, str]) -> Column:
    from pyspark.sql import functions as F

    condition = selection.bind(types).column_expression()
    return F.lit(True) if condition is None else F.coalesce(condition, F.lit(False))
