"""What the Olist contracts promise, beyond what their types say."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

import pandera.pyspark as pa
import pytest

from assets.olist.contracts import bronze, silver
from assets.olist.contracts.silver import LAT_RANGE, LNG_RANGE, STATES, STATUSES
from assets.olist.partitions import PURCHASE_MONTH
from medallion.contracts import Contract


def models(module: ModuleType) -> list[Any]:
    found = [
        value for value in vars(module).values() if inspect.isclass(value) and issubclass(value, pa.DataFrameModel)
    ]
    return [model for model in found if model.__module__ == module.__name__]


@pytest.mark.parametrize("model", [*models(bronze), *models(silver)], ids=lambda model: model.__name__)
def test_every_column_is_described(model: Any) -> None:
    contract = Contract.of(model)
    assert [column.name for column in contract.columns if not column.description] == []


@pytest.mark.parametrize("model", models(bronze), ids=lambda model: model.__name__)
def test_bronze_values_are_nullable_text(model: Any) -> None:
    landed = [column for column in Contract.of(model).columns if not column.name.startswith("_")]
    assert {(column.type.typeName(), column.nullable) for column in landed} == {("string", True)}


@pytest.mark.parametrize("model", models(silver), ids=lambda model: model.__name__)
def test_every_silver_table_has_a_key(model: Any) -> None:
    assert Contract.of(model).key


def test_addresses_and_free_text_are_personal_data() -> None:
    tagged = {
        (model.__name__, column.name) for model in models(silver) for column in Contract.of(model).columns if column.pii
    }
    assert tagged == {("Customer", "zip_prefix"), ("Customer", "city"), ("Review", "title"), ("Review", "message")}


def test_there_are_eight_order_states_and_27_federal_units() -> None:
    assert len(set(STATUSES)) == 8
    assert len(set(STATES)) == 27


@pytest.mark.parametrize(
    ("lat", "lng"),
    [(5.27, -60.21), (-33.75, -53.37), (-7.54, -73.98), (-7.15, -34.80), (-3.85, -32.42)],
    ids=["northernmost", "southernmost", "westernmost", "easternmost of the mainland", "Fernando de Noronha"],
)
def test_the_ends_of_brazil_are_inside_the_box(lat: float, lng: float) -> None:
    assert LAT_RANGE[0] <= lat <= LAT_RANGE[1]
    assert LNG_RANGE[0] <= lng <= LNG_RANGE[1]


@pytest.mark.parametrize(
    ("lat", "lng"),
    [(38.72, -9.14), (-34.60, -58.38), (25.76, -80.19), (0.0, 0.0), (-23.55, 46.63)],
    ids=["Lisbon", "Buenos Aires", "Miami", "null island", "a longitude without its sign"],
)
def test_other_places_are_outside_the_box(lat: float, lng: float) -> None:
    assert not (LAT_RANGE[0] <= lat <= LAT_RANGE[1] and LNG_RANGE[0] <= lng <= LNG_RANGE[1])


def test_the_months_are_those_of_the_public_dataset() -> None:
    keys = PURCHASE_MONTH.get_partition_keys()
    assert (keys[0], keys[-1], len(keys)) == ("2016-09", "2018-10", 26)
