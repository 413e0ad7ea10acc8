"""The fifteen bronze tables declare the base tables of the source."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from assets.pagila import bronze
from assets.pagila.partitions import MONTH
from medallion.graph import tables_in

TABLES = {table.name: table for table in tables_in([bronze])}
COLUMNS = {
    "actor": "actor_id first_name last_name last_update",
    "address": "address_id address address2 district city_id postal_code phone last_update",
    "category": "category_id name last_update",
    "city": "city_id city country_id last_update",
    "country": "country_id country last_update",
    "customer": "customer_id store_id first_name last_name email address_id activebool create_date last_update active",
    "film": "film_id title description release_year language_id original_language_id rental_duration rental_rate "
    "length replacement_cost rating last_update special_features fulltext",
    "film_actor": "actor_id film_id last_update",
    "film_category": "film_id category_id last_update",
    "inventory": "inventory_id film_id store_id last_update",
    "language": "language_id name last_update",
    "payment": "payment_id customer_id staff_id rental_id amount payment_date",
    "rental": "rental_id rental_date inventory_id customer_id return_date staff_id last_update",
    "staff": "staff_id first_name last_name address_id email store_id active username password last_update picture",
    "store": "store_id manager_staff_id address_id last_update",
}
"""Columns of the base tables by the schema of the sample database, in its order."""
KEYS = {
    "film_actor": ("actor_id", "film_id"),
    "film_category": ("film_id", "category_id"),
    "payment": ("payment_date", "payment_id"),
}
"""Primary keys of several columns; the others are `<table>_id`."""
PII = {
    "address": {"address", "address2", "postal_code", "phone"},
    "customer": {"first_name", "last_name", "email"},
    "staff": {"first_name", "last_name", "email", "username", "password", "picture"},
}


class Asked:
    """Takes note of how a transform asks for its table."""

    def table(self, name: str | None = None, **options: Any) -> Any:
        return name, options


def test_each_base_table_is_mirrored() -> None:
    assert set(TABLES) == set(COLUMNS)


@pytest.mark.parametrize("name", COLUMNS)
def test_a_mirror_has_the_columns_the_key_and_the_personal_data_of_its_table(name: str) -> None:
    contract = TABLES[name].contract
    assert contract.column_names == ("_ingested_at", "_lsn", *COLUMNS[name].split())
    assert contract.key == KEYS.get(name, (f"{name}_id",))
    assert {column.name for column in contract.columns if column.pii} == PII.get(name, set())
    assert all(column.description for column in contract.columns)


@pytest.mark.parametrize("name", COLUMNS)
def test_a_table_is_read_by_its_time_of_change_if_it_has_one(name: str) -> None:
    table, options = TABLES[name](Asked())
    assert table is None
    assert options == ({"watermark": "last_update"} if "last_update" in COLUMNS[name] else {})


def test_rentals_and_payments_say_which_months_there_are() -> None:
    assert {name: table.event_time for name, table in TABLES.items() if table.event_time} == {
        "rental": "rental_date",
        "payment": "payment_date",
    }


def test_the_months_go_from_the_oldest_sample_to_the_one_that_has_begun() -> None:
    months = MONTH.get_partition_keys(current_time=dt.datetime(2024, 3, 1, tzinfo=dt.UTC))
    assert (months[0], months[-1]) == ("2005-01", "2024-03")
