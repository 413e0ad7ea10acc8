"""What the silver transforms make of raw rows, and which rows they send to quarantine."""

from __future__ import annotations

import datetime as dt
import os
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.olist import bronze, silver
from assets.olist.source import land
from assets.olist.synthetic import generate
from medallion.audit import ERRORS, ROWS, WARNINGS, annotate
from medallion.delta.staging import DUPLICATE, OUTCOME, PASSED, REJECTED
from medallion.graph import build_assets, tables_in
from medallion.landing import Landing
from medallion.planning import plan_runs
from medallion.settings import Settings
from medallion.tables import Table
from resources import build_resources

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Row = dict[str, Any]
GOOD: dict[str, Row] = {
    "orders": {
        "order_id": "o1",
        "customer_id": "c1",
        "order_status": "delivered",
        "order_purchase_timestamp": "2017-03-01 10:00:00",
        "order_approved_at": "2017-03-01 11:30:00",
        "order_delivered_carrier_date": "2017-03-02 10:00:00",
        "order_delivered_customer_date": "2017-03-05 22:00:00",
        "order_estimated_delivery_date": "2017-03-08 00:00:00",
    },
    "customers": {
        "customer_id": "c1",
        "customer_unique_id": "u1",
        "customer_zip_code_prefix": "01000",
        "customer_city": "sao paulo",
        "customer_state": "SP",
    },
    "order_items": {
        "order_id": "o1",
        "order_item_id": "1",
        "product_id": "p1",
        "seller_id": "s1",
        "shipping_limit_date": "2017-03-03 10:00:00",
        "price": "10.5",
        "freight_value": "1",
    },
    "payments": {
        "order_id": "o1",
        "payment_sequential": "1",
        "payment_type": "voucher",
        "payment_installments": "0",
        "payment_value": "0.00",
    },
    "reviews": {
        "review_id": "r1",
        "order_id": "o1",
        "review_score": "5",
        "review_comment_title": "",
        "review_comment_message": " good ",
        "review_creation_date": "2017-03-06 00:00:00",
        "review_answer_timestamp": "2017-03-07 08:00:00",
    },
    "products": {
        "product_id": "p1",
        "product_category_name": "bebes",
        "product_name_lenght": "40",
        "product_description_lenght": "100",
        "product_photos_qty": "1",
        "product_weight_g": "0",
        "product_length_cm": "10",
        "product_height_cm": "11",
        "product_width_cm": "12",
    },
    "category_translation": {"product_category_name": "bebes", "product_category_name_english": "baby"},
    "sellers": {
        "seller_id": "s1",
        "seller_zip_code_prefix": "04001",
        "seller_city": "sao paulo",
        "seller_state": "SP",
    },
    "geolocation": {
        "geolocation_zip_code_prefix": "01000",
        "geolocation_lat": "-23.5",
        "geolocation_lng": "-46.6",
        "geolocation_city": "sao paulo",
        "geolocation_state": "SP",
    },
}


def raw(spark: SparkSession, table: str, *changes: Row, batch: str = "2017-03") -> DataFrame:
    """Landed rows like the good one, except for what each of `changes` says."""
    columns = [*GOOD[table], "_source_file", "_source_row", "_batch"]
    rows = []
    for number, change in enumerate(changes, 1):
        row = {**GOOD[table], "_source_file": "f.csv", "_source_row": number, "_batch": batch, **change}
        rows.append(tuple(row[name] for name in columns))
    types = ", ".join(f"{name} {'bigint' if name == '_source_row' else 'string'}" for name in columns)
    return spark.createDataFrame(rows, types)


def with_raw(frame: DataFrame) -> DataFrame:
    from pyspark.sql import functions as F

    return frame.withColumn("_raw", F.struct(*frame.columns))


def outcomes(table: Table, frame: DataFrame) -> list[Row]:
    rows = [row.asDict() for row in annotate(frame, table.contract.incoming, table.latest_by).collect()]
    named = (ERRORS, WARNINGS)
    return [{**row, **{name: row[name].split("\n") if row.get(name) else [] for name in named}} for row in rows]


def published(table: Table, frame: DataFrame) -> list[Row]:
    return [row for row in outcomes(table, frame) if row[OUTCOME] == PASSED]


def errors(table: Table, frame: DataFrame) -> list[str]:
    (row,) = outcomes(table, frame)
    assert row[OUTCOME] == (REJECTED if row[ERRORS] else PASSED)
    return list(row[ERRORS])


def order(spark: SparkSession, **change: Any) -> DataFrame:
    frame: DataFrame = silver.orders(raw(spark, "orders", change), raw(spark, "customers", {}))
    return frame


def place(spark: SparkSession, *changes: Row) -> DataFrame:
    prefixed = [{f"geolocation_{name}": value for name, value in change.items()} for change in changes]
    frame: DataFrame = silver.geolocation(with_raw(raw(spark, "geolocation", *prefixed)))
    return frame


def test_an_order_has_typed_times_and_measures(spark: SparkSession) -> None:
    (row,) = published(silver.orders, order(spark))
    assert row["purchased_at"].replace(tzinfo=None) == dt.datetime(2017, 3, 1, 10)
    assert row["purchase_month"] == dt.date(2017, 3, 1)
    assert row["customer_unique_id"] == "u1"
    assert (row["delivery_days"], row["approval_hours"]) == (4.5, 1.5)
    assert (row["delay_days"], row["is_delayed"]) == (-3, False)


@pytest.mark.parametrize(
    ("delivered", "delay", "is_delayed"),
    [("2017-03-08 23:59:59", 0, False), ("2017-03-09 00:00:00", 1, True), ("", None, None)],
    ids=["on the promised day", "the day after", "not delivered"],
)
def test_an_order_is_delayed_when_the_promised_day_is_over(
    spark: SparkSession, delivered: str, delay: int | None, is_delayed: bool | None
) -> None:
    (row,) = published(silver.orders, order(spark, order_delivered_customer_date=delivered))
    assert (row["delay_days"], row["is_delayed"]) == (delay, is_delayed)


def test_an_order_without_a_landed_customer_is_kept(spark: SparkSession) -> None:
    (row,) = published(silver.orders, order(spark, customer_id="c9"))
    assert row["customer_unique_id"] is None


def test_a_customer_that_landed_twice_does_not_multiply_the_order(spark: SparkSession) -> None:
    customers = raw(spark, "customers", {}, {"customer_city": "campinas"})
    assert silver.orders(raw(spark, "orders", {}), customers).count() == 1


def test_a_customer_of_another_month_is_not_the_orders(spark: SparkSession) -> None:
    customers = raw(spark, "customers", {"customer_unique_id": "u9"}, batch="2017-02")
    (row,) = published(silver.orders, silver.orders(raw(spark, "orders", {}), customers))
    assert row["customer_unique_id"] is None


@pytest.mark.parametrize(
    ("change", "rules"),
    [
        ({"order_purchase_timestamp": "01/03/2017 10:00"}, ["purchased_at_parses"]),
        ({"order_purchase_timestamp": ""}, ["purchased_at_not_null"]),
        ({"order_purchase_timestamp": "2017-02-28 23:59:59"}, ["purchased_in_its_month"]),
        ({"order_status": "lost"}, ["status_isin"]),
        ({"order_approved_at": "2017-03-01 09:59:59"}, ["approved_not_before_purchase"]),
        (
            {"order_delivered_carrier_date": "", "order_delivered_customer_date": "2017-03-01 09:00:00"},
            ["delivered_not_before_purchase"],
        ),
        ({"order_estimated_delivery_date": "2017-03-08"}, ["estimated_delivery_at_parses"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_an_order_that_contradicts_itself_is_rejected(spark: SparkSession, change: Row, rules: list[str]) -> None:
    assert errors(silver.orders, order(spark, **change)) == rules


@pytest.mark.parametrize(
    ("change", "rules"),
    [
        ({"order_delivered_carrier_date": "2017-03-01 09:00:00"}, ["carrier_not_before_purchase"]),
        ({"order_delivered_carrier_date": "2017-03-06 00:00:00"}, ["delivered_not_before_carrier"]),
        ({"order_delivered_customer_date": ""}, ["delivered_has_a_date"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_an_oddity_of_the_real_data_is_reported_and_kept(spark: SparkSession, change: Row, rules: list[str]) -> None:
    (row,) = outcomes(silver.orders, order(spark, **change))
    assert (row[OUTCOME], row[WARNINGS]) == (PASSED, rules)


@pytest.mark.parametrize(
    ("table", "change", "rules"),
    [
        ("order_items", {"price": "-1.00"}, ["price_ge"]),
        ("order_items", {"price": "1.005"}, ["price_parses"]),
        ("order_items", {"order_item_id": "1.0"}, ["order_item_id_parses"]),
        ("payments", {"payment_type": "cash"}, ["payment_type_isin"]),
        ("payments", {"payment_value": "n/a"}, ["value_parses"]),
        ("payments", {"payment_installments": "-1"}, ["installments_ge"]),
        ("reviews", {"review_score": "6"}, ["score_in_range"]),
        ("reviews", {"review_score": "five"}, ["score_parses"]),
        ("reviews", {"review_answer_timestamp": "2017-03-05 00:00:00"}, ["answered_not_before_created"]),
        ("sellers", {"seller_zip_code_prefix": "4001"}, ["zip_prefix_str_matches"]),
        ("sellers", {"seller_state": "XX"}, ["state_isin"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_a_value_out_of_its_domain_is_rejected(spark: SparkSession, table: str, change: Row, rules: list[str]) -> None:
    declared: Table = getattr(silver, table)
    assert errors(declared, declared(raw(spark, table, change))) == rules


def test_money_is_exact(spark: SparkSession) -> None:
    (row,) = published(silver.order_items, silver.order_items(raw(spark, "order_items", {"price": " 0.10 "})))
    assert (row["price"], row["freight"]) == (Decimal("0.10"), Decimal("1.00"))


def test_a_payment_of_nothing_in_no_instalment_is_valid(spark: SparkSession) -> None:
    assert errors(silver.payments, silver.payments(raw(spark, "payments", {}))) == []


def test_review_texts_are_trimmed_and_empty_ones_are_null(spark: SparkSession) -> None:
    (row,) = published(silver.reviews, silver.reviews(raw(spark, "reviews", {})))
    assert (row["title"], row["message"]) == (None, "good")


def test_one_review_may_cover_several_orders(spark: SparkSession) -> None:
    frame = silver.reviews(raw(spark, "reviews", {}, {"order_id": "o2"}))
    assert len(published(silver.reviews, frame)) == 2


def test_the_last_answer_of_a_review_wins_wherever_it_landed(spark: SparkSession) -> None:
    late, early = {"review_score": "1", "review_answer_timestamp": "2017-03-09 00:00:00"}, {}
    rows = outcomes(silver.reviews, silver.reviews(raw(spark, "reviews", late, early)))
    assert sorted((row["score"], row[OUTCOME]) for row in rows) == [(1, PASSED), (5, DUPLICATE)]


def test_of_a_repeated_row_the_one_that_landed_last_wins(spark: SparkSession) -> None:
    first, second = {"price": "1.00"}, {"price": "2.00"}
    (row,) = published(silver.order_items, silver.order_items(raw(spark, "order_items", first, second)))
    assert row["price"] == Decimal("2.00")


def test_every_purchase_says_where_its_customer_lives_and_one_without_order_waits(spark: SparkSession) -> None:
    orders = silver.orders(
        raw(
            spark,
            "orders",
            {"order_id": "o1", "customer_id": "c1", "order_purchase_timestamp": "2017-03-01 10:30:00"},
            {"order_id": "o2", "customer_id": "c2", "order_purchase_timestamp": "2017-03-01 10:00:00"},
        ),
        raw(spark, "customers", {}),
    )
    customers = raw(
        spark,
        "customers",
        {"customer_id": "c1", "customer_city": "latest"},
        {"customer_id": "c2", "customer_city": "earlier"},
        {"customer_id": "c3", "customer_city": "without a valid order"},
    )
    rows = outcomes(silver.customers, silver.customers(customers, orders))
    assert sorted((row["city"], row["valid_from"] and row["valid_from"].minute, row[ERRORS]) for row in rows) == [
        ("earlier", 0, []),
        ("latest", 30, []),
        ("without a valid order", None, ["valid_from_not_null"]),
    ]


def test_of_two_addresses_at_one_moment_the_greater_customer_id_counts(spark: SparkSession) -> None:
    orders = [{"order_id": f"o{number}", "customer_id": f"c{number}"} for number in (1, 2)]
    homes = [{"customer_id": "c2", "customer_city": "santos"}, {"customer_id": "c1", "customer_city": "osasco"}]
    customers = raw(spark, "customers", *homes)
    made = silver.orders(raw(spark, "orders", *orders), customers)
    (row,) = published(silver.customers, silver.customers(customers, made))
    assert row["city"] == "santos"


@pytest.mark.parametrize(
    ("category", "english"), [("bebes", "baby"), (" bebes ", "baby"), ("pc_gamer", "pc_gamer"), ("", "unknown")]
)
def test_an_untranslated_category_falls_back_as_declared(spark: SparkSession, category: str, english: str) -> None:
    products = raw(spark, "products", {"product_category_name": category})
    frame = silver.products(products, raw(spark, "category_translation", {}))
    (row,) = published(silver.products, frame)
    assert row["category_english"] == english


def test_a_category_that_is_translated_twice_does_not_multiply_its_products(spark: SparkSession) -> None:
    translations = raw(spark, "category_translation", {}, {"product_category_name_english": "babies"})
    (row,) = published(silver.products, silver.products(raw(spark, "products", {}), translations))
    assert row["category_english"] == "babies"


def test_a_zip_prefix_keeps_its_leading_zeros(spark: SparkSession) -> None:
    (row,) = published(silver.sellers, silver.sellers(raw(spark, "sellers", {})))
    assert row["zip_prefix"] == "04001"


@pytest.mark.parametrize("city", ["São  Paulo", "SAO PAULO", " sao paulo "])
def test_spellings_of_a_city_become_one(spark: SparkSession, city: str) -> None:
    (row,) = published(silver.sellers, silver.sellers(raw(spark, "sellers", {"seller_city": city})))
    assert row["city"] == "sao paulo"


def test_the_points_of_a_zip_prefix_become_their_middle(spark: SparkSession) -> None:
    (row,) = outcomes(silver.geolocation, place(spark, {"lat": "-23.1", "lng": "-46.0"}, {"lat": "-23.2"}, {}))
    assert (row["zip_prefix"], row["lat"], row["lng"]) == ("01000", -23.266667, -46.4)
    assert (row["points"], row[ROWS], row[OUTCOME]) == (3, 3, PASSED)


def test_a_place_takes_the_name_that_most_points_give_it_in_any_spelling(spark: SparkSession) -> None:
    names = [
        {"city": "osasco"},
        {"city": "osasco"},
        {"city": "são paulo"},
        {"city": "sao paulo"},
        {"city": "SAO PAULO"},
    ]
    (row,) = outcomes(silver.geolocation, place(spark, *names))
    assert (row["city"], row["state"]) == ("sao paulo", "SP")


def test_of_two_names_that_are_as_frequent_the_first_in_order_wins(spark: SparkSession) -> None:
    (row,) = outcomes(silver.geolocation, place(spark, {"city": "osasco"}, {"city": "barueri"}))
    assert row["city"] == "barueri"


@pytest.mark.parametrize(
    ("change", "rules"),
    [
        ({"lat": "38.7", "lng": "-9.1"}, ["lat_in_range", "lng_in_range"]),
        ({"lat": "north"}, ["lat_parses"]),
        ({"lng": ""}, ["lng_not_null"]),
        ({"zip_code_prefix": "1000"}, ["zip_prefix_str_matches"]),
        ({"state": "sp"}, ["state_isin"]),
        ({"city": " "}, ["city_not_null"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_a_point_that_breaks_a_rule_goes_to_quarantine_alone(
    spark: SparkSession, change: Row, rules: list[str]
) -> None:
    rows = outcomes(silver.geolocation, place(spark, {}, change, {}))
    (kept,) = [row for row in rows if row[OUTCOME] == PASSED]
    (rejected,) = [row for row in rows if row[OUTCOME] == REJECTED]
    assert (kept["points"], kept["lat"], kept["lng"]) == (2, -23.5, -46.6)
    assert rejected[ERRORS] == rules
    assert '"_source_row":2' in rejected["_raw"]


_TEXTS = st.fixed_dictionaries(
    {
        "zip_code_prefix": st.sampled_from(["01000", "02000", "2000", ""]),
        "lat": st.sampled_from(["-23.5", "-33.7600000001", "5.28", "NaN", "inf", "x", "", "-2e1"]),
        "lng": st.sampled_from(["-46.6", "-32.3", "-32.2999999999", "46.6", ""]),
        "city": st.sampled_from(["são paulo", "sao paulo", "", " "]),
        "state": st.sampled_from(["SP", "RJ", "??"]),
    }
)


@settings(max_examples=15, deadline=None)
@given(points=st.lists(_TEXTS, min_size=1, max_size=12))
def test_every_point_is_merged_once_or_rejected_once(spark: SparkSession, points: list[Row]) -> None:
    rows = outcomes(silver.geolocation, place(spark, *points))
    assert sum(row[ROWS] for row in rows) == len(points)
    kept = [row["zip_prefix"] for row in rows if row[OUTCOME] == PASSED]
    assert len(kept) == len(set(kept))
    assert all(row[ROWS] == 1 for row in rows if row[OUTCOME] == REJECTED)


def sample() -> Path:
    """The real sample, where a developer has one."""
    return Path(os.environ.get("MEDALLION_OLIST_SAMPLE", Path(__file__).parents[3] / "../shared/data/olist"))


def materialized(source: Path, home: Path) -> set[str]:
    """Land a source and make bronze and silver of all its months; the names of the checks that failed."""
    landing = Landing(str(home / "landing"))
    land(source, landing)
    tables = tables_in([bronze, silver])
    assets, resources = build_assets(tables), build_resources(Settings(home=home))
    failed: set[str] = set()
    for planned in plan_runs(tables, landing.slices("olist", "orders")):
        instance = dg.DagsterInstance.ephemeral()
        result = dg.materialize(assets, resources=resources, instance=instance, tags=planned.tags)
        failed |= {check.check_name for check in result.get_asset_check_evaluations() if not check.passed}
    return failed


def quarantined(home: Path, table: str) -> Counter[str]:
    import pyarrow as pa
    from deltalake import DeltaTable

    path = home / "lake" / "quarantine" / "olist" / table
    if not DeltaTable.is_deltatable(str(path)):
        return Counter()
    rows = pa.table(DeltaTable(str(path)).scan(columns=["layer", "rules"])).to_pylist()
    return Counter(rule for row in rows if row["layer"] == "silver" for rule in row["rules"])


@pytest.mark.integration
@pytest.mark.slow
def test_the_synthetic_dataset_loses_just_its_broken_rows(tmp_path: Path) -> None:
    report = generate(tmp_path / "source", orders=1_000, seed=3)
    failed = materialized(tmp_path / "source", tmp_path)
    assert "rows_reconcile" not in failed
    broken = report.broken
    assert quarantined(tmp_path, "orders") == {
        "purchased_at_parses": broken["orders"]["purchase_date_in_another_format"],
        "status_isin": broken["orders"]["unknown_status"],
        "delivered_not_before_purchase": broken["orders"]["delivered_before_purchase"],
    }
    assert quarantined(tmp_path, "order_items") == {"price_ge": broken["order_items"]["negative_price"]}
    assert quarantined(tmp_path, "payments") == {"value_parses": broken["payments"]["value_not_a_number"]}
    assert quarantined(tmp_path, "reviews") == {
        "score_in_range": broken["reviews"]["score_out_of_range"],
        "score_parses": broken["reviews"]["score_not_a_number"],
    }
    assert quarantined(tmp_path, "customers") == {"valid_from_not_null": sum(broken["orders"].values())}
    for table in ("products", "sellers"):
        assert quarantined(tmp_path, table) == {}


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.skipif(not sample().is_dir(), reason="the real sample is not here; set MEDALLION_OLIST_SAMPLE")
def test_the_real_sample_loses_just_its_points_outside_of_brazil(tmp_path: Path) -> None:
    failed = materialized(sample(), tmp_path)
    assert not {name for name in failed if name.endswith(("reconcile", "in_orders", "in_products", "in_sellers"))}
    tables = ("orders", "order_items", "payments", "reviews", "customers", "products", "sellers")
    assert {table: quarantined(tmp_path, table) for table in tables} == {table: Counter() for table in tables}
    assert set(quarantined(tmp_path, "geolocation")) == {"lat_in_range", "lng_in_range"}
