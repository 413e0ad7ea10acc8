"""`medallion migrate`: a stored table gets the columns of its contract."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, Field, Schema, write_deltalake

REVENUE = "gold/shop/revenue"


class Stored:
    """The gold table as an older contract had it: `income` for `revenue`, narrower, and a column that is gone."""

    def __init__(self, shop: Any) -> None:
        self.call: Callable[..., Any] = shop.call
        self.uri = str(Path(shop.environment["MEDALLION_HOME"]) / "lake" / REVENUE)
        kinds = {"month": "date", "income": "decimal(12,2)", "orders": "long"}
        schema = Schema([Field(name, kind, nullable=name == "orders") for name, kind in kinds.items()])
        rows = {"month": [dt.date(2017, 1, 1)], "income": [Decimal("7.50")], "orders": [3]}
        table = pa.table(rows, schema=pa.schema(schema.to_arrow()))
        write_deltalake(self.uri, table, mode="overwrite", schema_mode="overwrite")
        self.version = DeltaTable(self.uri).version()

    @property
    def delta(self) -> DeltaTable:
        return DeltaTable(self.uri)


@pytest.fixture
def stored(shop: Any) -> Stored:
    return Stored(shop)


STEPS = ("--rename", "income:revenue", "--drop", "orders")


def test_a_dry_run_lists_the_steps_and_takes_none(stored: Stored) -> None:
    result = stored.call("migrate", REVENUE, *STEPS, "--dry-run")
    assert result.exit_code == 0
    assert [line.strip() for line in result.stdout.splitlines()] == [
        "income is renamed revenue",
        "wider type of revenue: decimal(12,2) -> decimal(18,2)",
        "missing column orders: long",
        f"{REVENUE} would change: 3 steps, 1 rows are written anew",
        "Do it: the same command without --dry-run",
    ]
    assert stored.delta.version() == stored.version


def test_the_steps_are_taken_once(stored: Stored) -> None:
    result = stored.call("migrate", "revenue", *STEPS)
    assert result.exit_code == 0
    assert f"✓ {REVENUE} is at version {stored.version + 1}: 3 steps" in result.stdout
    assert f"medallion show {REVENUE} --version {stored.version}" in result.stdout
    assert pa.table(stored.delta.scan()).to_pylist() == [{"month": dt.date(2017, 1, 1), "revenue": Decimal("7.50")}]
    assert len(json.loads(stored.delta.history(1)[0]["medallion/migration"])) == 3

    again = stored.call("migrate", "revenue", *STEPS)
    assert (again.exit_code, again.stdout.strip()) == (0, f"✓ {REVENUE} has the columns of its contract, nothing to do")
    assert stored.delta.version() == stored.version + 1


def test_the_old_version_is_shown_with_its_columns(stored: Stored) -> None:
    stored.call("migrate", REVENUE, *STEPS)
    assert "income" in stored.call("show", REVENUE, "--version", str(stored.version)).stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "missing column income: decimal(12,2): --drop income, or --rename income:NEW"),
        (("--rename", "income"), "--rename takes OLD:NEW, not 'income'"),
        (("--rename", "income:revenue", "--rename", "income:orders"), "gives income two names, revenue and orders"),
        (("--retype", "revenue:double"), "but the contract says revenue is decimal(18,2)"),
        (("--rename", "sales:revenue"), "there is no column sales to rename"),
    ],
)
def test_what_can_not_be_done_is_one_line_and_changes_nothing(
    stored: Stored, options: tuple[str, ...], message: str
) -> None:
    result = stored.call("migrate", REVENUE, *options)
    assert result.exit_code == 1
    assert message in result.stderr.replace("\n", " ")
    assert stored.delta.version() == stored.version


def test_a_table_that_was_never_made_says_how(stored: Stored) -> None:
    result = stored.call("migrate", "bronze/shop/orders")
    assert result.exit_code == 1
    assert "medallion run -s +bronze/shop/orders" in result.stderr.replace("\n", " ")
