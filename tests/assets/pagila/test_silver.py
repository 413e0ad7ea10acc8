"""What the silver transforms make of the mirrors' rows, which rows they reject, and that every check can fail."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from assets.pagila import silver
from medallion.audit import ERRORS, RAW, WARNINGS, RowAudit, annotate
from medallion.checks import Balances, CandidateView, References, RowCountInBounds, RowsReconcile, TableCheck, UniqueKey
from medallion.delta.staging import OUTCOME, PASSED, REJECTED
from medallion.graph import tables_in
from medallion.partitions import WHOLE
from medallion.tables import Table
from tests.fixtures.pagila_mirrors import CHANGED, READ

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Row = dict[str, Any]
Mirror = Callable[..., "DataFrame"]
Frames = dict[str, list[Row]]

TABLES = {table.name: table for table in tables_in([silver])}
FUTURE = READ + dt.timedelta(days=2)
TOMORROW = READ + dt.timedelta(hours=14)
"""In the earliest time zone it is the moment of READ by the clock on the wall."""
LATER = CHANGED + dt.timedelta(days=1)

BESIDE: Frames = {
    "city": [
        {},
        {"city_id": 2, "country_id": 9},
        {"city_id": 3, "country_id": 3, "last_update": None},
        {"city_id": 4, "city": " "},
    ],
    "country": [{}, {"country_id": 3, "last_update": None}],
    "language": [{}, {"language_id": 2, "last_update": None}],
}
"""Rows of the other inputs that a defect below refers to."""
DEFECTS: list[tuple[str, str, Row]] = [
    ("address", "address_id_gt", {"address_id": 0}),
    ("address", "address_id_not_null", {"address_id": None}),
    ("address", "address_not_null", {"address": "  "}),
    ("address", "city_not_null", {"city_id": 4}),
    ("address", "country_not_null", {"city_id": 2}),
    ("address", "updated_at_not_null", {"city_id": 3, "last_update": None}),
    ("address", "updated_at_has_happened", {"last_update": FUTURE}),
    ("staff", "staff_id_gt", {"staff_id": -1}),
    ("staff", "staff_id_not_null", {"staff_id": None}),
    ("staff", "first_name_not_null", {"first_name": ""}),
    ("staff", "last_name_not_null", {"last_name": None}),
    ("staff", "email_looks_like_one", {"email": "ada at example.org"}),
    ("staff", "store_id_not_null", {"store_id": None}),
    ("staff", "address_id_not_null", {"address_id": None}),
    ("staff", "username_not_null", {"username": " "}),
    ("staff", "is_active_not_null", {"active": None}),
    ("staff", "updated_at_not_null", {"last_update": None}),
    ("staff", "updated_at_has_happened", {"last_update": FUTURE}),
    ("store", "store_id_gt", {"store_id": 0}),
    ("store", "store_id_not_null", {"store_id": None}),
    ("store", "manager_staff_id_not_null", {"manager_staff_id": None}),
    ("store", "address_id_not_null", {"address_id": None}),
    ("store", "updated_at_not_null", {"last_update": None}),
    ("store", "updated_at_has_happened", {"last_update": FUTURE}),
    ("customer", "customer_id_gt", {"customer_id": 0}),
    ("customer", "customer_id_not_null", {"customer_id": None}),
    ("customer", "store_id_not_null", {"store_id": None}),
    ("customer", "first_name_not_null", {"first_name": " "}),
    ("customer", "last_name_not_null", {"last_name": None}),
    ("customer", "email_looks_like_one", {"email": "ada@localhost"}),
    ("customer", "address_id_not_null", {"address_id": None}),
    ("customer", "is_active_not_null", {"activebool": None}),
    ("customer", "created_on_not_null", {"create_date": None}),
    ("customer", "created_on_has_happened", {"create_date": FUTURE.date() + dt.timedelta(days=1)}),
    ("customer", "valid_from_not_null", {"create_date": None, "last_update": None}),
    ("customer", "valid_from_has_happened", {"last_update": FUTURE}),
    ("film", "film_id_gt", {"film_id": 0}),
    ("film", "film_id_not_null", {"film_id": None}),
    ("film", "title_not_null", {"title": ""}),
    ("film", "release_year_in_range", {"release_year": 1900}),
    ("film", "language_not_null", {"language_id": 9}),
    ("film", "rental_duration_days_not_null", {"rental_duration": None}),
    ("film", "rental_duration_days_ge", {"rental_duration": 0}),
    ("film", "rental_rate_not_null", {"rental_rate": None}),
    ("film", "rental_rate_ge", {"rental_rate": Decimal("-0.01")}),
    ("film", "length_minutes_gt", {"length": 0}),
    ("film", "replacement_cost_not_null", {"replacement_cost": None}),
    ("film", "replacement_cost_ge", {"replacement_cost": Decimal("-1.00")}),
    ("film", "rating_isin", {"rating": "PG-12"}),
    ("film", "valid_from_not_null", {"language_id": 2, "last_update": None}),
    ("film", "valid_from_has_happened", {"last_update": FUTURE}),
    ("inventory", "inventory_id_gt", {"inventory_id": 0}),
    ("inventory", "inventory_id_not_null", {"inventory_id": None}),
    ("inventory", "film_id_not_null", {"film_id": None}),
    ("inventory", "store_id_not_null", {"store_id": None}),
    ("inventory", "updated_at_not_null", {"last_update": None}),
    ("inventory", "updated_at_has_happened", {"last_update": FUTURE}),
    ("rental", "rental_id_gt", {"rental_id": 0}),
    ("rental", "rental_id_not_null", {"rental_id": None}),
    ("rental", "rented_at_not_null", {"rental_date": None}),
    ("rental", "inventory_id_not_null", {"inventory_id": None}),
    ("rental", "customer_id_not_null", {"customer_id": None}),
    ("rental", "staff_id_not_null", {"staff_id": None}),
    ("rental", "updated_at_not_null", {"last_update": None}),
    ("rental", "updated_at_has_happened", {"last_update": FUTURE}),
    ("rental", "returned_not_before_rented", {"return_date": CHANGED - dt.timedelta(microseconds=1)}),
    ("rental", "rented_at_has_happened", {"rental_date": FUTURE, "return_date": None}),
    ("rental", "returned_at_has_happened", {"return_date": FUTURE}),
    ("payment", "payment_id_not_null", {"payment_id": None}),
    ("payment", "customer_id_not_null", {"customer_id": None}),
    ("payment", "staff_id_not_null", {"staff_id": None}),
    ("payment", "amount_not_null", {"amount": None}),
    ("payment", "amount_is_no_refund", {"amount": Decimal("-2.99")}),
    ("payment", "paid_at_not_null", {"payment_date": None}),
    ("payment", "paid_at_has_happened", {"payment_date": FUTURE}),
]
MADE = {("film", "categories_not_null"), ("film", "actors_not_null")}
"""Rules about what the transform makes, which no row of a mirror can break."""
ALSO = {("customer", "valid_from_not_null"): ["created_on_not_null"]}
"""What else a defect breaks."""
SOUND: list[tuple[str, Row]] = [
    ("address", {"district": "", "postal_code": None, "phone": ""}),
    ("address", {"last_update": TOMORROW}),
    ("staff", {"email": None, "active": False}),
    ("customer", {"email": None, "active": None, "last_update": None}),
    ("film", {"rating": None, "release_year": None, "length": None, "special_features": None, "description": None}),
    ("film", {"rental_rate": Decimal("0.00"), "release_year": 2155}),
    ("rental", {"return_date": None}),
    ("rental", {"return_date": CHANGED}),
    ("payment", {"rental_id": None, "amount": Decimal("0.00")}),
]
"""Rows that look odd and are right."""


def made(mirror: Mirror, table: str, *changes: Row, **beside: list[Row]) -> DataFrame:
    """What the transform of a table returns, its other inputs being `beside`, else what `BESIDE` has, else good."""
    declared, frames = TABLES[table], {}
    for number, (parameter, asset_in) in enumerate(declared.inputs.items()):
        layer, _, name = asset_in.key.path
        rows = list(changes) if number == 0 else beside.get(name, BESIDE.get(name, [{}]))
        frames[parameter] = mirror(name, *rows) if layer == "bronze" else made(mirror, name, *rows)
        if number and layer == "bronze":
            frames[parameter] = frames[parameter].drop("_raw", "_snapshot_at")
    frame: DataFrame = declared(**frames)
    return frame


def outcomes(table: str, frame: DataFrame) -> list[Row]:
    rows = [row.asDict() for row in annotate(frame, TABLES[table].contract.incoming).collect()]
    named = (ERRORS, WARNINGS)
    return [{**row, **{name: row[name].split("\n") if row.get(name) else [] for name in named}} for row in rows]


def published(mirror: Mirror, table: str, *changes: Row, **beside: list[Row]) -> list[Row]:
    return [row for row in outcomes(table, made(mirror, table, *changes, **beside)) if row[OUTCOME] == PASSED]


def numbered(table: str, changes: list[Row]) -> list[Row]:
    """Rows of different keys, so that it can be told what became of each."""
    key = next(name for name in TABLES[table].contract.incoming.key if name.endswith("_id"))
    return [{key: number, **change, "_lsn": number} for number, change in enumerate(changes, 101)]


@cache
def judged(mirror: Mirror, table: str) -> dict[int, Row]:
    """Outcome of every defect and every odd row of a table, by its number; one query for all of them."""
    changes = [change for name, _, change in DEFECTS if name == table] + [row for name, row in SOUND if name == table]
    rows = outcomes(table, made(mirror, table, *numbered(table, changes)))
    key = next(name for name in TABLES[table].contract.incoming.key if name.endswith("_id"))
    return {json.loads(row[RAW])["_lsn"] if row[RAW] else row[key]: row for row in rows}


@pytest.mark.parametrize(("table", "rule", "change"), DEFECTS, ids=[f"{table}-{rule}" for table, rule, _ in DEFECTS])
def test_a_row_that_breaks_a_rule_is_caught(mirror: Mirror, table: str, rule: str, change: Row) -> None:
    number = 101 + [item for item in DEFECTS if item[0] == table].index((table, rule, change))
    row = judged(mirror, table)[number]
    (severity,) = [found.severity for found in TABLES[table].contract.rules if found.name == rule]
    if severity == "WARN":
        assert (row[OUTCOME], row[ERRORS], row[WARNINGS]) == (PASSED, [], [rule])
    else:
        assert (row[OUTCOME], sorted(row[ERRORS])) == (REJECTED, sorted([rule, *ALSO.get((table, rule), [])]))


@pytest.mark.parametrize(("table", "change"), SOUND, ids=[f"{table}-{'-'.join(row)}" for table, row in SOUND])
def test_an_odd_row_that_is_right_is_kept(mirror: Mirror, table: str, change: Row) -> None:
    defects = sum(name == table for name, _, _ in DEFECTS)
    number = 101 + defects + [row for name, row in SOUND if name == table].index(change)
    row = judged(mirror, table)[number]
    assert (row[OUTCOME], row[ERRORS], row[WARNINGS]) == (PASSED, [], [])


def test_every_rule_has_a_defect_that_breaks_it() -> None:
    declared = {(table.name, rule.name) for table in TABLES.values() for rule in table.contract.rules}
    assert {(table, rule) for table, rule, _ in DEFECTS} | MADE == declared


@pytest.mark.parametrize("column", ["categories", "actors"])
def test_a_film_whose_lists_the_transform_forgets_is_rejected(mirror: Mirror, column: str) -> None:
    from pyspark.sql import functions as F

    frame = made(mirror, "film", {}).withColumn(column, F.lit(None).cast("array<string>"))
    (row,) = outcomes("film", frame)
    assert row[ERRORS] == [f"{column}_not_null"]


CHECKS = [(table, check) for table in TABLES.values() for check in table.checks]


@pytest.mark.parametrize(("table", "check"), CHECKS, ids=[f"{table.name}-{check.name}" for table, check in CHECKS])
def test_every_check_of_a_table_passes_and_can_fail(mirror: Mirror, table: Table, check: TableCheck) -> None:
    good = candidate(mirror, table)
    assert check.evaluate(good).passed
    assert not check.evaluate(spoilt(mirror, good, check)).passed


def candidate(mirror: Mirror, table: Table) -> CandidateView:
    frame = made(mirror, table.name, {}).select(*table.contract.incoming.column_names)

    def read(label: str) -> DataFrame:
        layer, _, name = label.split("/")
        return mirror(name, {}) if layer == "bronze" else made(mirror, name, {})

    return CandidateView(
        name=table.label,
        contract=table.contract.incoming,
        load=lambda: frame,
        audit=RowAudit(1, 0, 0, 0),
        selection=WHOLE,
        read=read,
        others=lambda _: None,
        rows_in=1,
        history=(1, 1, 1),
        now=READ,
    )


def spoilt(mirror: Mirror, good: CandidateView, check: TableCheck) -> CandidateView:
    """The candidate with the defect in it that the check is there for."""
    from pyspark.sql import functions as F

    frame = good.load()
    if isinstance(check, UniqueKey):
        return replace(good, load=lambda: frame.unionByName(frame))
    if isinstance(check, RowsReconcile):
        return replace(good, rows_in=2)
    if isinstance(check, RowCountInBounds):
        return replace(good, history=(9, 9, 9))
    if isinstance(check, References):
        return replace(good, load=lambda: frame.withColumn(check.column, F.lit(999)))
    assert isinstance(check, Balances)
    return replace(good, load=lambda: frame.withColumn("amount", F.col("amount") - F.lit(Decimal("0.01"))))


def test_a_payment_in_quarantine_does_not_unbalance_the_others(mirror: Mirror) -> None:
    rejecting = {rule.name for rule in TABLES["payment"].contract.rules if rule.severity == "ERROR"}
    changes = [change for name, rule, change in DEFECTS if name == "payment" and rule in rejecting]
    # The mirror's key is never NULL.
    raw = mirror("payment", {}, *[change for change in changes if change.get("payment_id", 1)])
    good = candidate(mirror, TABLES["payment"])
    assert silver.AMOUNT_BALANCES.evaluate(replace(good, read=lambda _: raw)).passed


def test_an_address_has_its_city_and_country_and_no_empty_texts(mirror: Mirror) -> None:
    (row,) = published(mirror, "address", {"address": " 47 Mill Lane "})
    assert (row["address"], row["city"], row["country"]) == ("47 Mill Lane", "Lethbridge", "Canada")
    assert (row["address2"], row["postal_code"]) == (None, None)


def test_an_address_changes_when_its_city_is_renamed(mirror: Mirror) -> None:
    (row,) = published(mirror, "address", {}, city=[{"city": "Kingston", "last_update": LATER}])
    assert (row["city"], utc(row["updated_at"])) == ("Kingston", LATER)


def test_staff_have_neither_password_nor_photograph_not_even_in_quarantine(mirror: Mirror) -> None:
    rows = outcomes("staff", made(mirror, "staff", {}, {"staff_id": 2, "username": ""}))
    (kept,), (rejected,) = ([row for row in rows if row[OUTCOME] == outcome] for outcome in (PASSED, REJECTED))
    assert kept["email"] == "ada.byron@example.org"
    arrived = json.loads(rejected[RAW])
    assert arrived["first_name"] == "Ada"
    assert not {"password", "picture"} & {*arrived, *kept}


def test_a_store_whose_address_is_in_quarantine_is_kept(mirror: Mirror) -> None:
    (row,) = published(mirror, "store", {}, address=[{"address_id": 2}])
    assert (row["store_id"], row["city"], row["country"]) == (1, None, None)


@pytest.mark.parametrize(
    ("activebool", "active", "is_active"),
    [(True, 1, True), (True, 0, False), (False, 1, False), (True, None, True), (False, None, False)],
)
def test_a_customer_is_active_if_no_flag_says_otherwise(
    mirror: Mirror, activebool: bool, active: int | None, is_active: bool
) -> None:
    (row,) = published(mirror, "customer", {"activebool": activebool, "active": active})
    assert row["is_active"] is is_active


def test_a_version_of_a_customer_begins_with_the_last_change_or_on_the_day_of_entry(mirror: Mirror) -> None:
    changed, entered = sorted(
        published(mirror, "customer", {}, {"customer_id": 2, "last_update": None}), key=lambda row: row["customer_id"]
    )
    assert utc(changed["valid_from"]) == CHANGED
    assert utc(entered["valid_from"]) == dt.datetime(2024, 2, 14, tzinfo=dt.UTC)
    assert changed["email"] == "ada.byron@example.org"


def test_a_film_lists_its_categories_and_actors_in_order(mirror: Mirror) -> None:
    (row,) = published(
        mirror,
        "film",
        {"original_language_id": 2},
        language=[{}, {"language_id": 2, "name": "French"}],
        actor=[{}, {"actor_id": 2, "first_name": " ADA "}, {"actor_id": 3}],
        film_actor=[{"actor_id": 3}, {}, {"actor_id": 2}, {"actor_id": 2, "film_id": 2}],
        category=[{}, {"category_id": 2, "name": "Action"}],
        film_category=[{}, {"category_id": 2}],
    )
    assert row["actors"] == ["ADA CAGE", "ZERO CAGE", "ZERO CAGE"]
    assert row["categories"] == ["Action", "Drama"]
    assert (row["language"], row["original_language"]) == ("English", "French")
    assert (row["rental_duration_days"], row["length_minutes"]) == (6, 86)


def test_a_film_without_actors_and_categories_has_empty_lists(mirror: Mirror) -> None:
    (row,) = published(mirror, "film", {"film_id": 7})
    assert (row["actors"], row["categories"]) == ([], [])


@pytest.mark.parametrize(
    "part", ["language", "category", "film_category", "actor", "film_actor"], ids=lambda part: f"{part} changed"
)
def test_a_version_of_a_film_begins_when_any_of_its_parts_changed(mirror: Mirror, part: str) -> None:
    (row,) = published(mirror, "film", {}, **{part: [{"last_update": LATER}]})
    assert utc(row["valid_from"]) == LATER


def test_a_payment_keeps_its_cents_and_its_instant(mirror: Mirror) -> None:
    moment = CHANGED + dt.timedelta(microseconds=876_354)
    (row,) = published(mirror, "payment", {"amount": Decimal("11.99"), "payment_date": moment})
    assert (row["amount"], utc(row["paid_at"])) == (Decimal("11.99"), moment)


def utc(moment: dt.datetime) -> dt.datetime:
    """The session's time zone is UTC, and Spark gives moments without one."""
    return moment.replace(tzinfo=dt.UTC)
