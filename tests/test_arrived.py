"""Which partitions there are to make: what landed, and the time that a database has rows of."""

import datetime as dt
from types import SimpleNamespace
from typing import Any

import dagster as dg

from medallion.arrived import landed_or_dated

MONTHS = dg.MonthlyPartitionsDefinition(start_date="2024-01", end_date="2024-12", fmt="%Y-%m")
RENTAL: Any = SimpleNamespace(domain="films", name="rental", event_time="rented", reads_arrivals=False)
ORDERS: Any = SimpleNamespace(domain="shop", name="orders", event_time=None, reads_arrivals=True, partitions=MONTHS)


def arrived(table: Any, *days: dt.date, definition: Any = MONTHS) -> list[str]:
    asked = {("rental", "rented"): days}
    database: Any = SimpleNamespace(event_days=lambda name, column: asked[name, column])
    return sorted(landed_or_dated(lambda *_: ["2024-07"], lambda _: database)(table, definition))


def test_a_database_gives_every_month_from_its_first_to_its_last_row() -> None:
    assert arrived(RENTAL, dt.date(2024, 5, 31), dt.date(2024, 2, 1)) == ["2024-02", "2024-03", "2024-04", "2024-05"]


def test_rows_outside_of_the_definition_are_no_partitions() -> None:
    assert arrived(RENTAL, dt.date(1999, 1, 1), dt.date(2024, 2, 1), dt.date(2030, 1, 1)) == ["2024-02"]


def test_an_empty_database_gives_none() -> None:
    assert arrived(RENTAL) == []


def test_files_give_the_slices_they_landed_in() -> None:
    assert arrived(ORDERS) == ["2024-07"]


def test_only_partitions_of_time_come_from_a_database() -> None:
    shops = dg.StaticPartitionsDefinition(["nl", "be"])

    assert arrived(RENTAL, dt.date(2024, 2, 1), definition=shops) == []
