"""A table whose columns change between two writes: what old rows read as, in every reader, and what is refused."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from deltalake import Field, Schema
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medallion.delta.schema import SchemaError, is_wider
from medallion.delta.store import DeltaStore, data_files
from medallion.engine.frames import read_delta
from medallion.partitions import WHOLE, SliceError
from tests.delta.conftest import Lake


@pytest.fixture
def local(tmp_path: Any) -> Lake:
    """A lake on local disk, for what the storage has no part in."""
    return Lake(DeltaStore(str(tmp_path / "lake")))


ADDED: dict[str, tuple[pa.DataType, Any]] = {
    "string": (pa.string(), ""),
    "long": (pa.int64(), 0),
    "integer": (pa.int32(), 0),
    "short": (pa.int16(), 0),
    "byte": (pa.int8(), 0),
    "double": (pa.float64(), 0.0),
    "float": (pa.float32(), 0.0),
    "boolean": (pa.bool_(), False),
    "binary": (pa.binary(), b""),
    "date": (pa.date32(), dt.date(1970, 1, 1)),
    "timestamp": (pa.timestamp("us", "UTC"), dt.datetime(1970, 1, 1, tzinfo=dt.UTC)),
    "timestamp_ntz": (pa.timestamp("us"), dt.datetime(1970, 1, 1)),
    "decimal": (pa.decimal128(12, 2), Decimal("0.00")),
    "array": (pa.list_(pa.int64()), []),
    "map": (pa.map_(pa.string(), pa.int64()), []),
    "struct": (pa.struct([("x", pa.int64())]), {"x": 0}),
}
"""Types with the value that a reader which confuses NULL with nothing would give."""

WIDENED: dict[str, tuple[pa.DataType, pa.DataType, list[Any]]] = {
    "byte to long": (pa.int8(), pa.int64(), [-128, 127, None]),
    "short to integer": (pa.int16(), pa.int32(), [-32768, 32767, None]),
    "integer to long": (pa.int32(), pa.int64(), [-(2**31), 2**31 - 1, None]),
    "float to double": (pa.float32(), pa.float64(), [1.5, float("-inf"), None]),
    "more digits": (pa.decimal128(4, 2), pa.decimal128(12, 2), [Decimal("99.99"), Decimal("-0.01"), None]),
    "finer digits": (pa.decimal128(4, 2), pa.decimal128(9, 4), [Decimal("99.99"), Decimal("-0.01"), None]),
}


def table(**columns: Any) -> pa.Table:
    """Rows with a partition column `day` of one value and the given columns."""
    length = len(next(iter(columns.values())))
    return pa.table({"day": ["01"] * length, **columns})


def on(day: str, rows: pa.Table) -> pa.Table:
    return rows.set_column(0, "day", pa.array([day] * rows.num_rows))


def readers(lake: Any, spark: Any) -> dict[str, list[dict[str, Any]]]:
    """The rows as everything that reads a lake returns them, by reader."""
    import duckdb
    import polars as pl

    from medallion.delta.frames import load

    stream = pa.RecordBatchReader.from_stream(lake.table.scan())  # noqa: F841 - DuckDB finds it by its name
    answer = duckdb.sql("SELECT * FROM stream")
    names = [column[0] for column in answer.description]
    found = {
        "delta-rs": pa.table(lake.table.scan()).to_pylist(),
        "polars": load(pl.DataFrame, lake.table, WHOLE, None).to_dicts(),
        "duckdb": [dict(zip(names, row, strict=True)) for row in answer.fetchall()],
        "engine": [row.asDict() for row in read_delta(spark, lake.store.uri(lake.path)).collect()],
    }
    return {reader: sorted(rows, key=lambda row: row["n"]) for reader, rows in found.items()}


class TestNewColumns:
    def test_old_rows_read_null_in_columns_of_every_type(self, lake: Any, days: Any, spark: Any) -> None:
        lake.write(table(n=[1]), days("01"), ("day",))
        wide = on("02", table(n=[2], **{name: pa.array([zero], kind) for name, (kind, zero) in ADDED.items()}))
        lake.write(wide, days("02"), ("day",), evolution="additive")
        for reader, (old, new) in readers(lake, spark).items():
            assert {name: old[name] for name in ADDED} == dict.fromkeys(ADDED), reader
            assert all(new[name] is not None for name in ADDED), reader
        assert pa.table(lake.table.scan()).num_rows == 2

    def test_old_rows_read_null_after_compaction(self, local: Any, spark: Any) -> None:
        local.write(table(n=[1]), mode="append")
        local.write(
            table(n=[2], **{name: pa.array([zero], kind) for name, (kind, zero) in ADDED.items()}),
            mode="append",
            evolution="additive",
        )
        local.table.optimize.compact()
        assert len(local.files()) == 1
        for reader, (old, new) in readers(local, spark).items():
            assert {name: old[name] for name in ADDED} == dict.fromkeys(ADDED), reader
            assert all(new[name] is not None for name in ADDED), reader

    def test_no_file_of_other_slices_changes(self, local: Any, days: Any) -> None:
        local.write(table(n=[1]), days("01"), ("day",))
        before = local.files()
        local.write(on("02", table(n=[2], note=["x"])), days("02"), ("day",), evolution="additive")
        assert before < local.files()

    def test_a_rewritten_slice_keeps_rows_without_the_column(self, local: Any, days: Any) -> None:
        local.write(table(n=[1]), mode="append")
        local.write(on("02", table(n=[2], note=["x"])), days("02"), evolution="additive")
        assert local.pairs() == [("01", 1, None), ("02", 2, "x")]

    def test_a_not_null_column_is_refused_beside_stored_rows(self, local: Any, days: Any) -> None:
        local.write(table(n=[1]), days("01"), ("day",))
        rows = on("02", table(n=[2], note=["x"]))
        contract = Schema([*local.table.schema().fields, Field("note", "string", nullable=False)])
        with pytest.raises(SchemaError, match=r"silver/shop/orders: new column note: string is NOT NULL.*nullable"):
            local.write(rows, days("02"), ("day",), schema=contract, evolution="additive")
        assert (local.version, local.pairs()) == (1, [("01", 1)])

    def test_a_not_null_column_enters_a_table_that_is_written_whole(self, local: Any) -> None:
        local.write(table(n=[1]))
        contract = Schema([*local.table.schema().fields, Field("note", "string", nullable=False)])
        local.write(table(n=[2], note=["x"]), schema=contract, evolution="additive")
        assert not local.table.schema().fields[2].nullable
        assert local.pairs() == [("01", 2, "x")]

    def test_rows_outside_of_the_slice_are_refused_before_the_table_changes(self, local: Any, days: Any) -> None:
        local.write(table(n=[1]), days("01"), ("day",))
        with pytest.raises(SliceError, match="outside of slice"):
            local.write(on("03", table(n=[2], note=["x"])), days("02"), ("day",), evolution="additive")
        assert local.version == 1

    def test_a_timestamp_without_zone_enters_a_table_that_is_replaced(self, local: Any, spark: Any) -> None:
        local.write(table(n=[1]))
        at = dt.datetime(2024, 1, 1)
        local.write(table(n=[2], at=pa.array([at], pa.timestamp("us"))), evolution="replace")
        assert {name: rows[0]["at"] for name, rows in readers(local, spark).items()} == dict.fromkeys(
            ("delta-rs", "polars", "duckdb", "engine"), at
        )


class TestWiderTypes:
    @pytest.mark.parametrize("name", WIDENED)
    def test_old_values_are_equal(self, tmp_path: Any, days: Any, spark: Any, name: str) -> None:
        lake = Lake(DeltaStore(str(tmp_path)))
        narrow, wide, values = WIDENED[name]
        lake.write(table(n=[0, 1, 2], x=pa.array(values, narrow)), days("01"), ("day",))
        lake.write(on("02", table(n=[3], x=pa.array(values[:1], wide))), days("02"), ("day",), evolution="additive")
        kept = pa.array([*values, values[0]], wide).to_pylist()
        for reader, rows in readers(lake, spark).items():
            assert [row["x"] for row in rows] == kept, reader
        assert lake.table.metadata().partition_columns == ["day"]

    def test_it_is_one_commit_that_names_the_change_and_one_with_the_rows(self, lake: Any, days: Any) -> None:
        lake.write(table(n=pa.array([1], pa.int32())), days("01"), ("day",))
        lake.write(
            on("02", table(n=[2**40])), days("02"), ("day",), evolution="additive", commit={"dagster/run_id": "r"}
        )
        rows, widened, *_ = lake.table.history()
        assert json.loads(widened["medallion/migration"]) == ["wider type of n: integer -> long"]
        assert (widened["dagster/run_id"], rows["dagster/run_id"]) == ("r", "r")
        assert "medallion/migration" not in rows
        assert lake.version == 3
        assert lake.pairs() == [("01", 1), ("02", 2**40)]

    def test_statistics_are_kept(self, local: Any, days: Any) -> None:
        local.write(table(n=pa.array([3, None, 1], pa.int32())), days("01"), ("day",))
        local.write(on("02", table(n=[2**40])), days("02"), ("day",), evolution="additive")
        found = {row["partition.day"]: row for row in pa.table(local.table.get_add_actions(flatten=True)).to_pylist()}
        assert (found["01"]["min.n"], found["01"]["max.n"], found["01"]["null_count.n"]) == (1, 3, 1)

    def test_the_old_version_stays_readable(self, local: Any, days: Any) -> None:
        local.write(table(n=pa.array([1], pa.int32())), days("01"), ("day",))
        local.write(on("02", table(n=[2**40])), days("02"), ("day",), evolution="additive")
        old = local.store.open(local.path, version=1)
        assert pa.table(old.scan())["n"].to_pylist() == [1]
        assert pa.table(old.scan()).schema.field("n").type == pa.int32()

    def test_a_table_that_is_written_whole_takes_the_type_in_the_same_commit(self, local: Any) -> None:
        local.write(table(n=pa.array([1], pa.int32())))
        local.write(table(n=[2**40]), evolution="additive")
        assert (local.version, local.pairs()) == (2, [("01", 2**40)])

    def test_a_merge_and_an_append_widen_too(self, local: Any) -> None:
        local.write(table(n=pa.array([1], pa.int32()), x=pa.array([1.5], pa.float32())))
        local.write(
            table(n=pa.array([1, 2], pa.int32()), x=[0.1, 0.2]), mode="merge", keys=("n",), evolution="additive"
        )
        local.write(table(n=[2**40], x=[0.3]), mode="append", evolution="additive")
        assert local.pairs() == [("01", 1, 0.1), ("01", 1099511627776, 0.3), ("01", 2, 0.2)]

    def test_another_write_during_the_rewrite_is_not_lost(self, lake: Any, days: Any, monkeypatch: Any) -> None:
        from medallion.delta import evolve as module

        lake.write(table(n=pa.array([1], pa.int32())), days("01"), ("day",))
        overwrite, others = module.overwrite, []

        def raced(*args: Any) -> Any:
            if not others:
                others.append(1)
                lake.write(on("03", table(n=pa.array([3], pa.int32()))), days("03"), ("day",))
            return overwrite(*args)

        monkeypatch.setattr(module, "overwrite", raced)
        lake.write(on("02", table(n=[2**40])), days("02"), ("day",), evolution="additive")
        assert lake.pairs() == [("01", 1), ("02", 2**40), ("03", 3)]


class TestNullability:
    def test_null_enters_a_column_that_became_nullable(self, local: Any, days: Any, spark: Any) -> None:
        strict = Schema([Field("day", "string"), Field("n", "long"), Field("x", "long", nullable=False)])
        local.write(table(n=[1], x=[1]), days("01"), ("day",), schema=strict)
        loose = Schema([Field("day", "string"), Field("n", "long"), Field("x", "long")])
        rows = on("02", table(n=[2], x=pa.array([None], pa.int64())))
        with pytest.raises(SchemaError, match="x becomes nullable"):
            local.write(rows, days("02"), ("day",), schema=loose)
        local.write(rows, days("02"), ("day",), schema=loose, evolution="additive")
        assert {tuple(row["x"] for row in found) for found in readers(local, spark).values()} == {(1, None)}

    @pytest.mark.parametrize("statistics", [True, False])
    def test_not_null_is_refused_if_a_null_is_stored(self, lake: Any, days: Any, statistics: bool) -> None:
        if not statistics:
            lake.store = DeltaStore(
                lake.store.root, lake.store.storage_options, {"delta.dataSkippingNumIndexedCols": "0"}
            )
        lake.write(table(n=[1, 2], x=[1, None]))
        strict = Schema([Field("day", "string"), Field("n", "long"), Field("x", "long", nullable=False)])
        with pytest.raises(SchemaError, match="x becomes NOT NULL, but 1 stored rows have NULL there"):
            lake.write(table(n=[3], x=[3]), mode="append", schema=strict, evolution="additive")
        assert lake.version == 1
        lake.write(table(n=[2], x=[2]))
        lake.write(table(n=[3], x=[3]), mode="append", schema=strict, evolution="additive")
        assert not lake.table.schema().fields[2].nullable

    def test_a_column_that_old_files_lack_holds_null(self, local: Any, days: Any) -> None:
        local.write(table(n=[1]), days("01"), ("day",))
        local.write(on("02", table(n=[2], x=[2])), days("02"), ("day",), evolution="additive")
        strict = Schema([Field("day", "string"), Field("n", "long"), Field("x", "long", nullable=False)])
        with pytest.raises(SchemaError, match="x becomes NOT NULL, but 1 stored rows have NULL there"):
            local.write(on("02", table(n=[2], x=[2])), days("02"), ("day",), schema=strict, evolution="additive")


KINDS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "string": (pa.string(), st.text(max_size=3)),
    "short": (pa.int16(), st.integers(-(2**15), 2**15 - 1)),
    "integer": (pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    "long": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "float": (pa.float32(), st.floats(width=32, allow_nan=False)),
    "double": (pa.float64(), st.floats(allow_nan=False)),
    "decimal(5,2)": (pa.decimal128(5, 2), st.decimals(-999, 999, places=2)),
    "decimal(9,3)": (pa.decimal128(9, 3), st.decimals(-999, 999, places=3)),
}


@st.composite
def columns_and_rows(draw: st.DrawFn) -> tuple[dict[str, str], list[dict[str, Any]]]:
    kinds = draw(st.dictionaries(st.sampled_from("abc"), st.sampled_from(sorted(KINDS)), min_size=1))
    rows = draw(
        st.lists(st.fixed_dictionaries({c: st.none() | KINDS[k][1] for c, k in kinds.items()}), min_size=1, max_size=3)
    )
    return kinds, rows


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(columns_and_rows(), columns_and_rows())
def test_a_write_is_refused_with_nothing_changed_or_old_rows_stay_equal(
    tmp_path_factory: Any, days: Any, old: Any, new: Any
) -> None:
    lake = Lake(DeltaStore(str(tmp_path_factory.mktemp("lake"))))
    (old_kinds, old_rows), (new_kinds, new_rows) = old, new

    def arrow(day: str, kinds: dict[str, str], rows: list[dict[str, Any]]) -> pa.Table:
        schema = pa.schema([("day", pa.string()), *[(name, KINDS[kind][0]) for name, kind in kinds.items()]])
        return pa.Table.from_pylist([{"day": day, **row} for row in rows], schema=schema)

    before = arrow("01", old_kinds, old_rows)
    lake.write(before, days("01"), ("day",))
    shared = old_kinds.keys() & new_kinds.keys()
    allowed = all(old_kinds[c] == new_kinds[c] or is_wider(old_kinds[c], new_kinds[c]) for c in shared)
    come = arrow("02", new_kinds, new_rows)
    if not allowed:
        with pytest.raises(SchemaError, match="changed type"):
            lake.write(come, days("02"), ("day",), evolution="additive")
        assert lake.version == 1
        return
    lake.write(come, days("02"), ("day",), evolution="additive")
    names = [item.name for item in lake.table.schema().fields]
    assert set(names) == {"day", *old_kinds, *new_kinds}
    everything = dict.fromkeys(names)
    expected = [{**everything, **row} for rows in (before, come) for row in rows.to_pylist()]
    assert sorted(lake.rows(), key=repr) == sorted(({n: row[n] for n in names} for row in expected), key=repr)
    assert sum(file.rows for file in data_files(lake.table, WHOLE)) == len(old_rows) + len(new_rows)
