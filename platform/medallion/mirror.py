"""What a mirror of a database's table will hold once an extract is published: its keys, its rows, its sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING

from medallion.delta.preconditions import count_keys
from medallion.delta.staging import PASSED, Stage
from medallion.delta.store import scan
from medallion.extract import DELETED, Extract

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable


@dataclass(frozen=True)
class Mirror:
    """A mirror after a write that is not published yet.

    Attributes:
        extract: what the source gave; its rows are staged.
        stage: where they are.
        current: the table as it is; None before its first write.
        key: columns of the key.
    """

    extract: Extract
    stage: Stage
    current: DeltaTable | None
    key: tuple[str, ...]

    @cached_property
    def repeated_keys(self) -> int:
        """Keys that more than one staged row has."""
        return count_keys(self._staged, self.key).repeated

    @cached_property
    def rows(self) -> int:
        """Rows that the mirror will have."""
        return int(self._after.num_rows)

    @cached_property
    def sums(self) -> dict[str, Decimal]:
        """Sum of each column that the source has summed."""
        import pyarrow.compute as pc

        return {name: pc.sum(self._after[name]).as_py() or Decimal(0) for name in self.extract.sums_in_source}

    @cached_property
    def _staged(self) -> pa.Table:
        merging = [DELETED] if self.extract.mode == "merge" else []
        return _read(self.stage.delta, [*self.key, *self.extract.sums_in_source, *merging])

    @cached_property
    def _after(self) -> pa.Table:
        """Keys and summed columns of all rows that there will be."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if self.extract.mode == "replace":
            return self._staged
        live = self._staged.filter(pc.invert(self._staged[DELETED])).drop_columns([DELETED])
        if self.current is None:
            return live
        stored = _read(self.current, [*self.key, *self.extract.sums_in_source])
        if not self.stage.rows(PASSED):
            return stored
        kept = stored.join(self._staged.select(list(self.key)), keys=list(self.key), join_type="left anti")
        return pa.concat_tables([kept.select(live.column_names), live], promote_options="permissive")


def _read(table: DeltaTable, columns: Sequence[str]) -> pa.Table:
    from medallion.engine.frames import plain_types

    return plain_types(scan(table, list(dict.fromkeys(columns))).read_all())
