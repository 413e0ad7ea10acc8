"""The check that shows what a contract changes about its table, and refusals before any row is made."""

from pathlib import Path
from typing import Any

import pandera.pyspark as pa
import pyarrow
import pyspark.sql.types as T
import pytest
from pyspark.sql import DataFrame

from medallion.engine.frames import from_arrow
from medallion.layers import silver
from tests.fixtures.shop import Shop, checks, materialized

ITEMS = "silver/shop/items"


class Item(pa.DataFrameModel):
    """An item."""

    id: T.StringType() = pa.Field()
    price: T.IntegerType() = pa.Field(nullable=True)


class Wider(pa.DataFrameModel):
    """An item with a note, and a wider price."""

    id: T.StringType() = pa.Field()
    price: T.LongType() = pa.Field(nullable=True)
    note: T.StringType() = pa.Field(nullable=True)


class Renamed(pa.DataFrameModel):
    """An item whose price is called otherwise."""

    id: T.StringType() = pa.Field(nullable=True)
    cost: T.IntegerType() = pa.Field(nullable=True)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.fixture
def items(spark: Any) -> Any:
    def declare(contract: Any, made: list[int] | None = None, **declaration: Any) -> Any:
        kinds = {"id": pyarrow.string(), "note": pyarrow.string()}
        wide = {"price": pyarrow.int64() if contract is Wider else pyarrow.int32(), "cost": pyarrow.int32()}
        names = list(contract.to_schema().columns)

        def items() -> DataFrame:
            """One item."""
            (made if made is not None else []).append(1)
            schema = pyarrow.schema([(name, {**kinds, **wide}[name]) for name in names])
            row = {"id": "a", "price": 1, "cost": 1, "note": "n"}
            return from_arrow(spark, pyarrow.Table.from_pylist([{n: row[n] for n in names}], schema=schema))

        return silver(contract=contract, domain="shop", **declaration)(items)

    return declare


def test_a_contract_that_did_not_change_passes(shop: Shop, items: Any) -> None:
    for _ in range(2):
        found = checks(shop.run(items(Item)), ITEMS)["schema_change"]
        assert (found.passed, found.severity.value, dict(found.metadata)) == (True, "WARN", {})


def test_an_allowed_change_warns_once_and_lists_the_columns(shop: Shop, items: Any) -> None:
    shop.run(items(Item))
    result = shop.run(items(Wider, schema_evolution="additive"))
    found = checks(result, ITEMS)["schema_change"]
    assert (found.passed, found.severity.value) == (False, "WARN")
    assert {name: value.value for name, value in found.metadata.items()} == {
        "added": "note: string",
        "retyped": "price: integer -> long",
    }
    assert materialized(result) == {ITEMS}
    assert checks(shop.run(items(Wider, schema_evolution="additive")), ITEMS)["schema_change"].passed


def test_a_refused_change_is_shown_and_fails_before_any_row_is_made(shop: Shop, items: Any) -> None:
    shop.run(items(Item))
    made: list[int] = []
    result = shop.run(items(Renamed, made, schema_evolution="additive"))
    assert not result.success
    assert (made, shop.version(ITEMS), materialized(result)) == ([], 1, set())
    found = checks(result, ITEMS)["schema_change"]
    assert {name: value.value for name, value in found.metadata.items()} == {
        "added": "cost: integer",
        "removed": "price: integer",
        "nullability": "id becomes nullable",
    }
    error = result.filter_events(lambda event: event.is_step_failure)[0].step_failure_data.error
    assert "missing column price: integer" in str(error)
    assert "medallion migrate silver/shop/items --rename price:NEW or --drop price" in str(error)


def test_a_strict_table_names_every_difference_and_both_ways_out(shop: Shop, items: Any) -> None:
    shop.run(items(Item))
    result = shop.run(items(Wider))
    error = str(result.filter_events(lambda event: event.is_step_failure)[0].step_failure_data.error)
    assert "wider type of price: integer -> long; new column note: string" in error
    assert "schema_evolution='additive'" in error
    assert "medallion migrate" in error
    assert shop.version(ITEMS) == 1


def test_a_table_that_is_replaced_whole_takes_another_contract(shop: Shop, items: Any) -> None:
    shop.run(items(Item))
    assert shop.run(items(Renamed, schema_evolution="replace")).success
    assert shop.rows(ITEMS) == [{"id": "a", "cost": 1}]
