"""One table in one run: the slice it writes, what was there before, and what its checks get to see."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from medallion.candidate import Staged
from medallion.checks import CandidateView
from medallion.delta.commits import transactions
from medallion.delta.frames import read_spark
from medallion.delta.io_manager import LakeStorage
from medallion.delta.publish import row_count
from medallion.delta.staging import OUTCOME, PASSED, Stage
from medallion.delta.store import column_types, data_files
from medallion.materialization import recorded_duplicates, recorded_rows
from medallion.partitions import WHOLE, Slice
from medallion.placement import rows_by_key
from medallion.tables import Table

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_COMMITS = 20


@dataclass(frozen=True)
class TableRun:
    """One table in one run, before and beside what is made of it.

    Attributes:
        table: what is made.
        tables: all declared tables by label, for checks that read others.
        storage: the run's IO manager.
        keys: the partition keys that are written; empty for a table without partitions.
        input_keys: partition keys that an input parameter reads; None for the whole table.
        root_run_id: the run that this one re-executes, or itself; what it appended is neither appended again nor held
            against these rows.
        started: time of the run, UTC.
    """

    table: Table
    tables: Mapping[str, Table]
    storage: LakeStorage
    keys: tuple[str, ...]
    input_keys: Callable[[str], Sequence[str] | None]
    root_run_id: str
    started: dt.datetime

    @property
    def selection(self) -> Slice:
        """The slice that is written."""
        return self.table.select(self.keys)

    @cached_property
    def spark(self) -> SparkSession:
        """The engine's session; whether it lives is asked once, and not for every query of the table."""
        return self.storage.engine.spark_session

    def view(self, staged: Staged) -> CandidateView:
        """The write's rows as table checks look at them; those of other tables are read when a check asks for them."""
        several = len(self.keys) > 1
        rows_in, by_partition = self.rows_in
        history = recorded_rows(self._commits, self.keys)
        return CandidateView(
            name=self.table.label,
            contract=self.table.contract.incoming,
            load=lambda: self.passed(staged.stage),
            audit=staged.audit,
            selection=self.selection,
            read=self._read,
            others=self._others,
            rows_in=rows_in,
            history=() if several else next(iter(history.values())),
            now=self.started,
            placement=staged.placement,
            rows_in_by_partition=by_partition,
            history_by_partition=history,
            mirror=staged.mirror,
        )

    @cached_property
    def rows_in(self) -> tuple[int | None, dict[str, int]]:
        """Rows of the primary input that the run reads, as a whole and by partition, from its Delta log.

        By partition only where the input has the same ones; None and nothing where no input can be counted.
        """
        if self.table.primary is None:
            return None, {}
        parameter, key = self.table.primary
        source = self.tables["/".join(key.path)]
        if not self.table.reads_alike(source, parameter):
            keys = self.input_keys(parameter) if source.partitions is not None else None
            return row_count(self.storage.snapshots, source.path, WHOLE if keys is None else source.select(keys)), {}
        rows = rows_by_key(self.storage.snapshots, source, self.keys)
        return sum(rows.values()), rows

    @property
    def had_duplicates(self) -> bool:
        """Whether the last write of the table merged rows of one key or left some of them out."""
        return recorded_duplicates(self._commits) > 0

    @cached_property
    def _commits(self) -> list[dict[str, Any]]:
        """What the latest writes of the table said of themselves, newest first."""
        table = self.storage.snapshots.find(self.table.path)
        return table.history(_COMMITS) if table is not None else []

    def passed(self, stage: Stage) -> DataFrame:
        """The staged rows that would be published."""
        from pyspark.sql import functions as F

        from medallion.engine.frames import read_delta

        names = [F.col(f"`{name}`") for name in self.table.contract.incoming.column_names]
        frame = read_delta(self.spark, stage.uri, 0)
        return frame.where(F.col(OUTCOME) == PASSED).select(*names)

    def _read(self, label: str) -> DataFrame:
        """Rows of another table, those of the same slice where it has the same partitions."""
        other = self.tables.get(label)
        alike = other is not None and self.keys and other.partitions == self.table.partitions
        selection = other.select(self.keys) if other is not None and alike else WHOLE
        return read_spark(self.spark, self.storage.snapshots, label.split("/"), selection)

    def _others(self, columns: Sequence[str]) -> DataFrame | None:
        """Rows of the table outside of the slice, if there are any."""
        from pyspark.sql import functions as F

        selection = self.selection
        if selection.is_whole and self.table.mode == "replace":
            return None
        store = self.storage.snapshots
        table = store.find(self.table.path)
        if table is None or (self.table.mode != "replace" and not table.count()):
            return None
        if self.table.mode in ("merge", "scd2"):
            return None  # the key decides which row it replaces
        once = transactions(self.table.mode, self.table.label, self.root_run_id, self.keys)
        if any(table.transaction_version(name) is not None for name in once):
            return None  # the run that this one re-executes has committed these very rows
        bound = selection.bind(column_types(table.schema()))
        if self.table.mode == "replace":
            inside = {file.path for file in data_files(table, selection)}
            if all(file.path in inside for file in data_files(table, WHOLE)):
                return None
        frame = read_spark(self.spark, store, self.table.path)
        condition = bound.column_expression()
        if condition is not None and self.table.mode == "replace":
            frame = frame.where(~F.coalesce(condition, F.lit(False)))
        return frame.select(*[f"`{name}`" for name in columns])
