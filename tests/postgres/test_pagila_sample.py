"""The public sample database in a server of the system: what extraction takes from it."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from assets.pagila.contracts import bronze as contracts
from medallion.contracts import Contract
from medallion.extract import Extract
from medallion.postgres.database import Database
from medallion.postgres.source import Source

pytestmark = pytest.mark.integration

STARTED = dt.datetime(2022, 9, 1, tzinfo=dt.UTC)
ROWS = {
    "actor": 200,
    "address": 603,
    "category": 16,
    "city": 600,
    "country": 109,
    "customer": 599,
    "film": 1000,
    "film_actor": 5462,
    "film_category": 1000,
    "inventory": 4581,
    "language": 6,
    "payment": 16049,
    "rental": 16044,
    "staff": 2,
    "store": 2,
}


def read(database: Database, name: str) -> tuple[Extract, pa.Table]:
    model = getattr(contracts, "".join(part.capitalize() for part in name.split("_")))
    extract = Source(database, name, Contract.of(model), None, STARTED).table()
    return extract, extract.batches.read_all()


def test_every_table_arrives_with_all_its_rows_and_the_total_to_the_cent(pagila_url: str) -> None:
    with Database("pagila", pagila_url) as database:
        tables = {name: read(database, name) for name in ROWS}
        days = database.event_days("payment", "payment_date")
    assert {name: rows.num_rows for name, (_, rows) in tables.items()} == ROWS
    assert {name: extract.rows_in_source for name, (extract, _) in tables.items()} == ROWS
    extract, payments = tables["payment"]
    assert extract.sums_in_source["amount"] == Decimal("67416.51")
    assert pc.sum(payments.column("amount")).as_py() == Decimal("67416.51")
    assert {extract.metadata["source_position"] for extract, _ in tables.values()} == {
        extract.metadata["source_position"]
    }
    assert days[0] >= dt.date(2022, 1, 1)
    assert days == sorted(set(days))


def test_the_types_that_need_a_rule_arrive_as_the_contract_has_them(pagila_url: str) -> None:
    with Database("pagila", pagila_url) as database:
        _, film = read(database, "film")
        _, staff = read(database, "staff")
    first = next(row for row in film.to_pylist() if row["film_id"] == 1)
    assert first["rating"] == "PG"
    assert first["release_year"] == 2006
    assert first["special_features"] == ["Deleted Scenes", "Behind the Scenes"]
    assert first["rental_rate"] == Decimal("0.99")
    assert first["last_update"].tzinfo is not None
    assert staff.num_rows == 2
