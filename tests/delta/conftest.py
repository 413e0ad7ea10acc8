"""A lake in a temporary folder, written to without Dagster."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, Schema

from medallion.delta.frames import frame_types, stage_writer
from medallion.delta.publish import Published, Write, publish
from medallion.delta.staging import Stage, write_stage
from medallion.delta.store import DeltaStore, data_files
from medallion.partitions import WHOLE, Dimension, Slice

if TYPE_CHECKING:
    from medallion.delta.publish import WriteMode

ORDERS = ("silver", "shop", "orders")


class Lake:
    """One table, `silver/shop/orders`, and short ways to write and look at it."""

    path = ORDERS

    def __init__(self, store: DeltaStore) -> None:
        self.store = store

    def stage(self, frame: Any, partition_by: Sequence[str] = ()) -> Stage:
        return write_stage(self.store, self.path, partition_by, stage_writer(frame, self.store))

    def write(
        self,
        frame: Any,
        selection: Slice = WHOLE,
        partition_by: Sequence[str] = (),
        mode: WriteMode = "replace",
        schema: Schema | None = None,
        **options: Any,
    ) -> Published:
        stage = self.stage(frame, partition_by)
        staged = {item.name: item for item in stage.schema.fields}
        schema = schema or Schema([staged[name] for name in frame_types(frame)])
        published = publish(Write(stage, selection, schema, tuple(partition_by), mode, **options))
        stage.discard(keep=published.kept)
        return published

    @property
    def table(self) -> DeltaTable:
        return self.store.open(self.path)

    @property
    def version(self) -> int:
        return self.table.version()

    def rows(self) -> list[dict[str, Any]]:
        return sorted(pa.table(self.table.scan()).to_pylist(), key=repr)

    def pairs(self) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in self.rows()]

    def files(self, selection: Slice = WHOLE) -> set[str]:
        return {file.path for file in data_files(self.table, selection)}

    @property
    def commit(self) -> dict[str, Any]:
        return self.table.history(1)[0]


def days(*keys: str, column: str = "day") -> Slice:
    """The slice of some keys of a string column."""
    return Slice(((Dimension(column, keys),),), keys=keys)


def rows(*pairs: tuple[str | None, int | None]) -> pa.Table:
    """Rows of (day, amount)."""
    schema = pa.schema([("day", pa.string()), ("amount", pa.int64())])
    return pa.Table.from_pylist([{"day": day, "amount": amount} for day, amount in pairs], schema=schema)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(DeltaStore(str(tmp_path / "lake")))


@pytest.fixture(name="days")
def days_fixture() -> Any:
    return days


@pytest.fixture(name="rows")
def rows_fixture() -> Any:
    return rows
