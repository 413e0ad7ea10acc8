"""The sample database in a real server, mirrored and conformed: every row, and what changes afterwards."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from assets.pagila import bronze, silver
from medallion.graph import build_assets, tables_in
from medallion.postgres.connection import connect
from medallion.postgres.resource import Databases
from medallion.settings import Settings
from resources import build_resources
from tests.fixtures.pagila_silver import sample

TABLES = tables_in([bronze, silver])
ROWS = {
    "bronze": {
        "actor": 200,
        "address": 603,
        "category": 16,
        "city": 600,
        "country": 109,
        "customer": 599,
        "film": 1_000,
        "film_actor": 5_462,
        "film_category": 1_000,
        "inventory": 4_581,
        "language": 6,
        "payment": 16_049,
        "rental": 16_044,
        "staff": 2,
        "store": 2,
    },
    "silver": {
        "address": 603,
        "customer": 599,
        "film": 1_000,
        "inventory": 4_581,
        "payment": 16_049,
        "rental": 16_044,
        "staff": 2,
        "store": 2,
    },
}
"""The figures of the public sample database."""


@pytest.fixture
def home(tmp_path: Path, pagila_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PAGILA_URL", pagila_url)
    return tmp_path


def run(home: Path) -> set[str]:
    """Bring bronze and silver up to date; the checks that failed."""
    resources = {**build_resources(Settings(home=home)), "databases": Databases(home=str(home))}
    result = dg.materialize(build_assets(TABLES), resources=resources, instance=dg.DagsterInstance.ephemeral())
    assert result.success
    checks = result.get_asset_check_evaluations()
    return {f"{check.asset_key.path[-1]}.{check.check_name}" for check in checks if not check.passed}


def stored(home: Path, layer: str, table: str, *columns: str) -> pa.Table:
    delta = DeltaTable(str(home / "lake" / layer / "pagila" / table))
    return pa.table(delta.scan(columns=list(columns) or None))


def in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: [str(value) for value in row.values()])


def as_silver(column: str, value: Any) -> Any:
    """A value of the source: silver has no empty texts, and e-mail addresses in lower case."""
    return value.lower() if column == "email" else value or None if isinstance(value, str) else value


@pytest.mark.slow
@pytest.mark.integration
def test_the_sample_is_mirrored_and_conformed_row_by_row_and_follows_its_source(home: Path, pagila_url: str) -> None:
    assert run(home) == set()
    for layer, tables in ROWS.items():
        assert {name: stored(home, layer, name).num_rows for name in tables} == tables
    amounts = [row["amount"] for row in stored(home, "silver", "payment", "amount").to_pylist()]
    assert sum(amounts) == Decimal("67416.51")
    with connect("pagila", pagila_url) as connection:
        for name, expected in sample(connection).items():
            columns = expected.column_names
            rows = [{column: as_silver(column, row[column]) for column in columns} for row in expected.to_pylist()]
            assert in_order(stored(home, "silver", name, *columns).to_pylist()) == in_order(rows)
        staff = stored(home, "bronze", "staff", "staff_id", "password", "picture").to_pylist()
        assert [len(row["picture"] or b"") for row in staff] == [8, 0]

        connection.execute("update customer set last_name = 'KING', active = 0 where customer_id = 7")
        connection.execute("delete from film_actor where film_id = 1 and actor_id = 1")
        connection.execute("delete from payment where payment_id = 31970")
        connection.execute("update payment set amount = amount + 1 where payment_id = 31971")
        assert run(home) == set()
        assert [name for name, _ in versions(home, 7)] == ["MILLER", "KING"]
        assert stored(home, "silver", "payment").num_rows == 16_048


def versions(home: Path, customer: int) -> list[tuple[str, Any]]:
    """Last name and end of the versions of a customer."""
    rows = stored(home, "silver", "customer", "customer_id", "last_name", "valid_from", "valid_to").to_pylist()
    mine = sorted((row for row in rows if row["customer_id"] == customer), key=lambda row: row["valid_from"])
    return [(row["last_name"], row["valid_to"]) for row in mine]
