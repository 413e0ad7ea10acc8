"""Explicit steps from the columns a table has to those of its contract."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from deltalake import Field, Schema

from medallion.delta.migrate import MigrationError, Steps, migrate, plan_migration
from medallion.delta.protocol import UnsupportedTableError
from medallion.delta.schema import EXTRA, SchemaError, SchemaEvolution
from medallion.delta.store import DeltaStore, TableMissingError
from medallion.engine.frames import read_delta
from tests.delta.conftest import Lake

DAY = Field("day", "string", nullable=True)


@pytest.fixture
def local(tmp_path: Any) -> Lake:
    """A lake on local disk, for what the storage has no part in."""
    return Lake(DeltaStore(str(tmp_path / "lake")))


def declared(**columns: str) -> Schema:
    return Schema([DAY, *[Field(name, kind, nullable=True) for name, kind in columns.items()]])


def steps(rename: dict[str, str] | None = None, drop: tuple[str, ...] = (), retype: tuple[str, ...] = ()) -> Steps:
    return Steps(rename or {}, drop, retype)


def change(lake: Lake, schema: Schema, taken: Steps | None = None, evolution: SchemaEvolution = "strict") -> list[str]:
    return migrate(lake.store, lake.path, schema, evolution, taken or Steps()).sentences


def orders(days: Any, lake: Lake) -> None:
    """Two days of rows, partitioned."""
    for day in ("01", "02"):
        rows = pa.table({"day": [day] * 2, "n": [1, 2], "price": [1.5, None], "note": ["x", "ü"]})
        lake.write(rows, days(day), ("day",))


def objects(lake: Lake) -> set[str]:
    return {entry["path"] for entry in lake.store.objects.list().collect()}


NOW = {"n": "long", "total": "double", "note": "string"}


class TestSteps:
    def test_a_rename_keeps_rows_partitions_statistics_and_old_versions(self, lake: Any, days: Any, spark: Any) -> None:
        orders(days, lake)
        before = lake.table.version()
        done = change(lake, declared(**NOW), steps({"price": "total"}))
        assert done == ["price is renamed total"]
        assert lake.version == before + 1
        expected = [
            {"day": d, "n": n, "total": t, "note": x}
            for d in ("01", "02")
            for n, t, x in [(1, 1.5, "x"), (2, None, "ü")]
        ]
        assert lake.rows() == expected
        frame = read_delta(spark, lake.store.uri(lake.path))
        assert sorted((row.asDict() for row in frame.collect()), key=repr) == expected
        assert lake.table.metadata().partition_columns == ["day"]
        files = pa.table(lake.table.get_add_actions(flatten=True)).to_pylist()
        assert [(f["min.total"], f["max.total"], f["null_count.total"], f["num_records"]) for f in files] == [
            (1.5, 1.5, 1, 2)
        ] * 2
        old = pa.table(lake.store.open(lake.path, before).scan())
        assert old.column_names == ["day", "n", "price", "note"]
        assert json.loads(lake.commit["medallion/migration"]) == done

    def test_all_steps_are_one_commit(self, local: Any, days: Any) -> None:
        orders(days, local)
        wanted = Schema([*declared(total="decimal(9,2)", added="date").fields, Field("n", "string", nullable=False)])
        done = change(local, wanted, steps({"price": "total"}, ("note",), ("total", "n")))
        assert done == [
            "price is renamed total",
            "changed type of n: long -> string",
            "n becomes NOT NULL",
            "changed type of total: double -> decimal(9,2)",
            "missing column note: string",
            "new column added: date",
        ]
        assert local.version == 3
        assert local.rows()[0] == {"day": "01", "n": "1", "total": Decimal("1.50"), "added": None}
        assert not next(field for field in local.table.schema().fields if field.name == "n").nullable

    def test_taking_them_again_changes_nothing(self, local: Any, days: Any) -> None:
        orders(days, local)
        taken = steps({"price": "total"}, ("note",), ("n",))
        assert change(local, declared(n="string", total="double"), taken)
        assert change(local, declared(n="string", total="double"), taken) == []
        assert local.version == 3

    def test_new_columns_and_nullability_write_no_file(self, local: Any, days: Any) -> None:
        orders(days, local)
        before = local.files()
        wanted = Schema(
            [*declared(price="double", note="string", added="long").fields, Field("n", "long", nullable=False)]
        )
        plan = migrate(local.store, local.path, wanted, "strict", Steps())
        assert (plan.rewrites, plan.sentences) == (False, ["n becomes NOT NULL", "new column added: long"])
        assert local.files() == before
        assert local.version == 3

    def test_a_table_without_rows_changes_by_its_metadata(self, local: Any) -> None:
        local.write(pa.table({"day": pa.array([], pa.string()), "n": pa.array([], pa.int32())}))
        change(local, declared(m="long"), steps({"n": "m"}))
        assert [field.name for field in local.table.schema().fields] == ["day", "m"]

    @pytest.mark.parametrize(
        "values",
        [
            ["a'b", 'say "x"', "100%", "ü=1/2", None],
            [1, -2, None],
            [dt.date(2024, 1, 31), None],
            [dt.datetime(2024, 1, 31, 1, 2, 3), None],
            [dt.datetime(2024, 1, 31, 1, 2, 3, tzinfo=dt.UTC), None],
            [True, False, None],
            [1.5, None],
        ],
    )
    def test_a_table_is_rewritten_part_by_part(self, local: Any, monkeypatch: Any, values: list[Any]) -> None:
        from medallion.delta import rewrite

        monkeypatch.setattr(rewrite, "_ROWS_AT_ONCE", 2)
        rows = pa.table({"key": values * 2, "n": list(range(2 * len(values)))})
        local.write(rows, partition_by=("key",))
        kind = local.table.schema().fields[0]
        change(local, Schema([kind, Field("m", "long")]), steps({"n": "m"}))
        assert local.version == 2
        expected = [{"key": row["key"], "m": row["n"]} for row in rows.to_pylist()]
        assert local.rows() == sorted(expected, key=repr)
        assert not [entry for entry in objects(local) if "stage-" in entry and "_delta_log" in entry]

    def test_a_new_column_may_have_the_name_that_another_has_lost(self, local: Any, days: Any) -> None:
        orders(days, local)
        wanted = declared(n="long", total="double", note="string", price="double")
        assert change(local, wanted, steps({"price": "total"})) == [
            "price is renamed total",
            "new column price: double",
        ]
        assert [(row["total"], row["price"]) for row in local.rows()] == [(1.5, None), (None, None)] * 2

    @pytest.mark.parametrize("taken", [steps({"note": "Note"}), steps(drop=("note",))])
    def test_a_name_may_change_its_case(self, local: Any, days: Any, taken: Steps) -> None:
        orders(days, local)
        change(local, declared(n="long", price="double", Note="string"), taken)
        assert [row["Note"] for row in local.rows()] == (["x", "ü"] if taken.rename else [None, None]) * 2

    def test_a_plan_changes_nothing(self, local: Any, days: Any) -> None:
        orders(days, local)
        plan = plan_migration("t", local.table, declared(**NOW), "strict", steps({"price": "total"}))
        assert plan.rewrites
        assert local.version == 2

    def test_columns_that_came_with_data_stay_unless_they_are_dropped(self, local: Any) -> None:
        schema = Schema([*declared(n="long").fields, Field("gift", "string", metadata={EXTRA: "true"})])
        local.write(pa.table({"day": ["01"], "n": [1], "gift": ["x"]}), schema=schema)
        assert change(local, declared(n="long"), evolution="additive") == []
        with pytest.raises(MigrationError, match="missing column gift: string: --drop gift"):
            change(local, declared(n="long"), evolution="strict")
        assert change(local, declared(n="long"), steps(drop=("gift",)), "additive") == ["missing column gift: string"]
        assert local.rows() == [{"day": "01", "n": 1}]


class TestExactness:
    @pytest.mark.parametrize(
        ("values", "kind", "expected"),
        [
            (["1", "-2", None], "long", [1, -2, None]),
            (["1.50", None], "decimal(9,2)", [Decimal("1.50"), None]),
            (["2024-01-31", None], "date", [dt.date(2024, 1, 31), None]),
            ([1.0, float("nan"), None], "float", [1.0, float("nan"), None]),
            ([1.0, -2.0], "integer", [1, -2]),
            ([2**31 - 1, None], "integer", [2**31 - 1, None]),
            ([Decimal("1.20")], "decimal(9,1)", [Decimal("1.2")]),
            ([dt.datetime(2024, 1, 31)], "date", [dt.date(2024, 1, 31)]),
            ([dt.date(2024, 1, 31), None], "timestamp_ntz", [dt.datetime(2024, 1, 31), None]),
            ([True, None], "string", ["true", None]),
        ],
    )
    def test_a_value_that_is_the_same_in_the_new_type_is_kept(
        self, local: Any, values: list[Any], kind: str, expected: list[Any]
    ) -> None:
        local.write(pa.table({"day": ["01"] * len(values), "x": values}))
        change(local, declared(x=kind), steps(retype=("x",)))
        assert repr(pa.table(local.table.scan())["x"].to_pylist()) == repr(expected)

    @pytest.mark.parametrize(
        ("values", "kind"),
        [
            (["1", "x"], "long"),
            (["1.555"], "decimal(9,2)"),
            ([1.5], "long"),
            ([0.1], "float"),
            ([2**31], "integer"),
            ([2**53 + 1], "double"),
            ([Decimal("1.23")], "decimal(9,1)"),
            ([dt.datetime(2024, 1, 31, 12)], "date"),
            ([[1]], "string"),
        ],
    )
    def test_any_other_is_refused_with_nothing_changed(self, local: Any, values: list[Any], kind: str) -> None:
        local.write(pa.table({"day": ["01"] * len(values), "x": values}))
        before = objects(local)
        with pytest.raises(SchemaError, match=r"silver/shop/orders: x: .* does not hold exactly; .*medallion show"):
            change(local, declared(x=kind), steps(retype=("x",)))
        assert local.version == 1
        assert objects(local) == before

    def test_a_message_shows_no_value(self, local: Any) -> None:
        local.write(pa.table({"day": ["01"], "x": ["secret@home"]}))
        with pytest.raises(SchemaError) as caught:
            change(local, declared(x="long"), steps(retype=("x",)))
        assert "secret@home" not in str(caught.value)


class TestRefusals:
    @pytest.mark.parametrize(
        ("schema", "taken", "message"),
        [
            (
                declared(n="long", note="string"),
                steps(),
                r"missing column price: double: --drop price, or --rename price:NEW",
            ),
            (
                declared(n="string", price="double", note="string"),
                steps(),
                r"changed type of n: long -> string: --retype n",
            ),
            (declared(**NOW), steps({"cost": "total"}), r"there is no column cost to rename; the table has"),
            (declared(**NOW), steps({"price": "sum"}), r"to be renamed sum, which is no column of the contract"),
            (declared(**NOW), steps({"note": "n"}), r"note can't be renamed n, which the table has already"),
            (declared(**NOW), steps({"price": "total", "n": "total"}), r"two columns are to have one name"),
            (declared(**NOW), steps({"price": "total"}, ("n",)), r"n is to be dropped, but the contract has it"),
            (declared(n="long"), steps({"day": "n"}), r"partition column day can't be renamed or dropped"),
            (declared(n="long"), steps(drop=("day",)), r"partition column day can't be renamed or dropped"),
            (declared(n="long"), steps(retype=("x",)), r"x is to be retyped, but the contract"),
        ],
    )
    def test_a_step_that_can_not_be_taken_says_why(
        self, local: Any, days: Any, schema: Schema, taken: Steps, message: str
    ) -> None:
        orders(days, local)
        with pytest.raises(MigrationError, match=message):
            change(local, schema, taken)
        assert local.version == 2

    def test_a_partition_column_keeps_its_type(self, local: Any) -> None:
        local.write(pa.table({"n": pa.array([1], pa.int32()), "x": [1]}), partition_by=("n",))
        wanted = Schema([Field("n", "long"), Field("x", "long")])
        with pytest.raises(MigrationError, match=r"wider type of n: integer -> long, but it is a partition column"):
            change(local, wanted)

    def test_a_null_refuses_not_null_under_another_name_too(self, local: Any, days: Any) -> None:
        orders(days, local)
        wanted = Schema([*declared(n="long", note="string").fields, Field("total", "double", nullable=False)])
        with pytest.raises(SchemaError, match="total becomes NOT NULL, but 2 stored rows have NULL there"):
            change(local, wanted, steps({"price": "total"}))

    def test_a_table_that_was_never_written_says_so(self, local: Any) -> None:
        with pytest.raises(TableMissingError, match="medallion run"):
            change(local, declared(n="long"))

    def test_a_constraint_of_another_writer_is_not_lost(self, local: Any, days: Any) -> None:
        orders(days, local)
        local.table.alter.add_constraint({"few": "n < 10"})
        with pytest.raises(UnsupportedTableError, match="checkConstraints"):
            change(local, declared(**NOW), steps({"price": "total"}))


_KILLED = """
import os, signal, sys
from deltalake import Field, Schema
from medallion.delta import evolve
from medallion.delta.migrate import Steps, migrate
from medallion.delta.store import DeltaStore

when, root = sys.argv[1:]
commit = evolve.overwrite

def killed(*arguments):
    if when == "after":
        commit(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)

evolve.overwrite = killed
columns = {"day": "string", "n": "long", "total": "double", "note": "string"}
schema = Schema([Field(name, kind) for name, kind in columns.items()])
migrate(DeltaStore(root), ("silver", "shop", "orders"), schema, "strict", Steps({"price": "total"}))
"""


@pytest.mark.parametrize(("when", "version"), [("before", 2), ("after", 3)])
def test_a_migration_that_is_killed_is_done_or_not_begun(local: Any, days: Any, when: str, version: int) -> None:
    orders(days, local)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    code = subprocess.run(
        [sys.executable, "-c", _KILLED, when, local.store.root], env=environment, check=False
    ).returncode
    assert code == -signal.SIGKILL
    assert local.version == version
    assert len(local.rows()) == 4
    change(local, declared(**NOW), steps({"price": "total"}))
    assert local.version == 3
    assert [row["total"] for row in local.rows()] == [1.5, None, 1.5, None]
