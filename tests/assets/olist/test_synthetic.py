"""The synthetic dataset: its planned sizes, the same bytes for the same seed, its dirt and its chosen broken rows."""

from __future__ import annotations

import csv
import datetime
import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.olist.source import FILES
from assets.olist.synthetic import MARKER, SyntheticError, SyntheticReport, generate, shop
from assets.olist.synthetic.places import ABROAD, STATES
from assets.olist.synthetic.plan import FEWEST, Plan, shares
from assets.olist.synthetic.words import CATEGORIES, UNTRANSLATED

FULL = {
    "orders": 99_441,
    "order_items": 112_650,
    "payments": 103_886,
    "reviews": 99_224,
    "customers": 99_441,
    "products": 32_951,
    "sellers": 3_095,
    "geolocation": 1_000_163,
    "category_translation": 71,
}
Rows = dict[str, list[dict[str, str]]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[SyntheticReport, Rows]:
    folder = tmp_path_factory.mktemp("synthetic")
    report = generate(folder, orders=2_000, seed=7)
    rows = {}
    for file, table in FILES.items():
        with (folder / file).open(newline="", encoding="utf-8") as opened:
            rows[table] = list(csv.DictReader(opened, strict=True))
    return report, rows


@pytest.fixture(scope="module")
def report(made: tuple[SyntheticReport, Rows]) -> SyntheticReport:
    return made[0]


@pytest.fixture(scope="module")
def rows(made: tuple[SyntheticReport, Rows]) -> Rows:
    return made[1]


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def moment(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


def test_the_plan_at_full_size_has_the_public_row_counts() -> None:
    plan = Plan.of(99_441)
    assert (plan.items, plan.payments, plan.reviews) == (112_650, 103_886, 99_224)
    assert (plan.people, plan.products, plan.sellers, plan.geolocation) == (96_096, 32_951, 3_095, 1_000_163)
    assert plan.statuses["delivered"] == 96_478
    assert len(CATEGORIES) == 71


@given(st.integers(FEWEST, 3_000_000))
def test_a_plan_of_any_size_is_one_that_can_be_drawn(orders: int) -> None:
    plan = Plan.of(orders)
    assert sum(plan.months) == sum(plan.statuses.values()) == orders
    assert min(plan.months) >= 1
    assert min(plan.statuses.values()) >= 1
    assert plan.sellers <= plan.products <= orders - plan.orders_without_items <= plan.items
    assert plan.postcodes <= plan.geolocation - plan.geolocation_duplicates
    assert plan.orders_without_items <= sum(plan.statuses[s] for s in ("canceled", "unavailable", "created")) - 1
    assert plan.payments_not_defined <= plan.orders_without_items
    assert 0 < plan.orders_reviewed_twice <= orders - plan.orders_without_review
    assert sum(plan.broken["orders"].values()) < plan.statuses["delivered"] - len(plan.months)


def test_a_larger_shop_has_the_postcodes_of_the_public_one() -> None:
    codes = shop.postcodes(Plan.of(3_000_000), np.random.default_rng(1))
    assert codes.mapped == Plan.of(99_441).postcodes == sum(len(rows) for rows in codes.by_state)
    assert len(np.unique(codes.number)) == len(codes.number) > codes.mapped


def test_a_larger_shop_has_no_more_points_abroad_as_each_spoils_one_of_its_postcodes() -> None:
    larger, public = Plan.of(3_000_000).broken["geolocation"], Plan.of(99_441).broken["geolocation"]
    assert larger == public == {"outside_brazil": 42}


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=30), st.integers(0, 100_000))
def test_shares_add_up_and_none_is_empty(weights: list[int], more: int) -> None:
    parts = shares(len(weights) + more, tuple(weights))
    assert sum(parts) == len(weights) + more
    assert min(parts) >= 1


def test_every_file_of_the_full_size_has_the_public_row_count(tmp_path: Path) -> None:
    report = generate(tmp_path)
    assert report.rows == FULL
    lines = {table: (tmp_path / file).read_bytes().count(b"\n") - 1 for file, table in FILES.items()}
    assert {**lines, "reviews": 0} == {**FULL, "reviews": 0}


def test_the_report_counts_the_rows_that_are_there(report: SyntheticReport, rows: Rows) -> None:
    assert report.rows == {table: len(found) for table, found in rows.items()}
    assert report.rows == {table: max(71 if table.startswith("cat") else 1, round(count * 2_000 / 99_441))
                           for table, count in FULL.items()}  # fmt: skip


def test_a_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        generate(tmp_path / name, orders=300, seed=seed)
    first, again, other = (digests(tmp_path / name) for name in "abc")
    assert first == again
    assert {name for name in first if first[name] == other[name]} == {"product_category_name_translation.csv"}


def test_the_smallest_dataset_has_all_months_statuses_and_broken_rules(tmp_path: Path) -> None:
    report = generate(tmp_path, orders=FEWEST, seed=3)
    with (tmp_path / "olist_orders_dataset.csv").open(newline="") as file:
        orders = list(csv.DictReader(file))
    assert len({row["order_purchase_timestamp"][:7] for row in orders if "-" in row["order_purchase_timestamp"]}) == 26
    assert len({row["order_status"] for row in orders}) == 9
    assert all(count >= 2 for rules in report.broken.values() for count in rules.values())


def test_the_months_follow_each_other_from_2016_09_to_2018_10_for_every_monthly_table(rows: Rows) -> None:
    month = {
        r["order_id"]: r["order_purchase_timestamp"][:7]
        for r in rows["orders"]
        if "/" not in r["order_purchase_timestamp"]
    }
    expected = {f"{2016 + n // 12}-{n % 12 + 1:02}" for n in range(8, 34)}
    assert set(month.values()) == expected
    for table in ("order_items", "payments", "reviews"):
        assert {month[row["order_id"]] for row in rows[table] if row["order_id"] in month} == expected, table


def test_every_broken_row_breaks_the_rule_that_the_report_names(report: SyntheticReport, rows: Rows) -> None:
    known = {"delivered", "shipped", "canceled", "unavailable", "invoiced", "processing", "created", "approved"}
    orders = rows["orders"]
    dated = [row for row in orders if "/" not in row["order_purchase_timestamp"]]
    found = {
        "orders": {
            "purchase_date_in_another_format": len(orders) - len(dated),
            "unknown_status": sum(row["order_status"] not in known for row in orders),
            "delivered_before_purchase": sum(
                "" < row["order_delivered_customer_date"] < row["order_purchase_timestamp"] for row in dated
            ),
        },
        "order_items": {"negative_price": sum(float(row["price"]) < 0 for row in rows["order_items"])},
        "payments": {"value_not_a_number": sum(row["payment_value"].startswith("R$ ") for row in rows["payments"])},
        "reviews": {
            "score_out_of_range": sum(row["review_score"] == "9" for row in rows["reviews"]),
            "score_not_a_number": sum(row["review_score"] == "five" for row in rows["reviews"]),
        },
        "geolocation": {
            "outside_brazil": sum(
                not (
                    -33.75 <= float(row["geolocation_lat"]) <= 5.28
                    and -73.99 <= float(row["geolocation_lng"]) <= -34.79
                )
                for row in rows["geolocation"]
            )
        },
    }
    assert found == report.broken


def test_times_of_sound_orders_follow_each_other(rows: Rows, report: SyntheticReport) -> None:
    wrong = 0
    for row in rows["orders"]:
        steps = [row["order_purchase_timestamp"], row["order_approved_at"], row["order_delivered_carrier_date"],
                 row["order_delivered_customer_date"]]  # fmt: skip
        present = [moment(step) for step in steps if step and "/" not in step]
        wrong += present != sorted(present)
    assert wrong == report.broken["orders"]["delivered_before_purchase"]


def test_keys_are_unique_and_every_reference_has_its_row(rows: Rows) -> None:
    def keys(table: str, *names: str) -> set[tuple[str, ...]]:
        found = [tuple(row[name] for name in names) for row in rows[table]]
        assert len(set(found)) == len(found), (table, names)
        return set(found)

    orders = keys("orders", "order_id")
    assert keys("customers", "customer_id") == keys("orders", "customer_id")
    keys("order_items", "order_id", "order_item_id")
    keys("payments", "order_id", "payment_sequential")
    keys("reviews", "review_id", "order_id")
    for table in ("order_items", "payments", "reviews"):
        assert {(row["order_id"],) for row in rows[table]} <= orders
    assert {(row["product_id"],) for row in rows["order_items"]} == keys("products", "product_id")
    assert {(row["seller_id"],) for row in rows["order_items"]} == keys("sellers", "seller_id")


def test_items_of_an_order_are_numbered_from_one(rows: Rows) -> None:
    numbers: dict[str, list[int]] = {}
    for row in rows["order_items"]:
        numbers.setdefault(row["order_id"], []).append(int(row["order_item_id"]))
    assert all(found == list(range(1, len(found) + 1)) for found in numbers.values())


def test_payments_add_up_to_price_and_freight_for_nearly_all_orders(rows: Rows) -> None:
    due: Counter[str] = Counter()
    for row in rows["order_items"]:
        due[row["order_id"]] += abs(round(float(row["price"]) * 100)) + round(float(row["freight_value"]) * 100)
    paid: Counter[str] = Counter()
    for row in rows["payments"]:
        paid[row["order_id"]] += round(float(row["payment_value"].removeprefix("R$ ")) * 100)
    assert sum(due[order] != paid[order] for order in due) < 0.01 * len(due)


def test_the_dirt_of_the_real_dataset_is_there_as_reported(report: SyntheticReport, rows: Rows) -> None:
    bought = {row["order_id"] for row in rows["order_items"]}
    reviews = rows["reviews"]
    category = Counter(row["product_category_name"] for row in rows["products"])
    mapped = {row["geolocation_zip_code_prefix"] for row in rows["geolocation"]}
    reviewed = Counter(row["order_id"] for row in reviews)
    paid = Counter(row["order_id"] for row in rows["payments"])
    found = {
        "orders without items": len(rows["orders"]) - len(bought),
        "orders without a delivery date": sum(not row["order_delivered_customer_date"] for row in rows["orders"]),
        "orders without a payment": len(rows["orders"]) - len(paid),
        "orders paid in several parts": sum(parts > 1 for parts in paid.values()),
        "orders without a review": len(rows["orders"]) - len(reviewed),
        "orders reviewed twice": sum(times == 2 for times in reviewed.values()),
        "reviews with the id of another order's review": len(reviews) - len({row["review_id"] for row in reviews}),
        "customers at a postcode without a point": sum(
            row["customer_zip_code_prefix"] not in mapped for row in rows["customers"]
        ),
        "orders of returning customers": len(rows["customers"])
        - len({r["customer_unique_id"] for r in rows["customers"]}),
        "products without a category": category[""],
        "products of a category without translation": sum(category[name] for name in UNTRANSLATED),
        "exact duplicate geolocation rows": len(rows["geolocation"])
        - len({tuple(r.values()) for r in rows["geolocation"]}),
    }
    assert found == report.dirt
    assert {row["payment_type"] for row in rows["payments"]} == {
        "credit_card",
        "boleto",
        "debit_card",
        "voucher",
        "not_defined",
    }
    assert any("\n" in row["review_comment_message"] for row in reviews)
    assert any('"' in row["review_comment_message"] for row in reviews)


def test_postcodes_keep_their_leading_zeros_and_belong_to_their_state(rows: Rows) -> None:
    ranges = {state.code: (state.first, state.last) for state in STATES}
    for table, prefix in (("customers", "customer"), ("sellers", "seller"), ("geolocation", "geolocation")):
        for row in rows[table]:
            code = row[f"{prefix}_zip_code_prefix"]
            first, last = ranges[row[f"{prefix}_state"]]
            assert len(code) == 5
            assert first <= int(code) <= last
    assert any(row["customer_zip_code_prefix"].startswith("0") for row in rows["customers"])


def test_a_city_abroad_is_outside_of_brazils_bounding_box() -> None:
    for city in ABROAD:
        assert not (-34.25 <= city.latitude <= 5.78 and -74.49 <= city.longitude <= -34.29)


def test_the_folder_says_that_it_is_synthetic(tmp_path: Path) -> None:
    generate(tmp_path, orders=100, seed=5)
    text = (tmp_path / MARKER).read_text()
    assert text.startswith("SYNTHETIC DATA.")
    assert "medallion generate olist --orders 100 --seed 5" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*FILES, MARKER])


def test_real_files_are_never_overwritten(tmp_path: Path) -> None:
    real = tmp_path / "olist_orders_dataset.csv"
    real.write_text("real")
    with pytest.raises(SyntheticError, match=r"holds olist_orders_dataset\.csv and no SYNTHETIC\.txt"):
        generate(tmp_path, orders=100)
    assert real.read_text() == "real"


def test_an_earlier_synthetic_dataset_is_replaced(tmp_path: Path) -> None:
    generate(tmp_path, orders=200, seed=1)
    generate(tmp_path, orders=100, seed=1)
    generate(tmp_path / "fresh", orders=100, seed=1)
    fresh = digests(tmp_path / "fresh")
    assert {name: digest for name, digest in digests_of_files(tmp_path).items() if name in fresh} == fresh


def digests_of_files(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


def test_a_failed_generation_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail(table: str, done: int, total: int) -> None:
        if table == "payments":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path, orders=100, progress=fail)
    assert list(tmp_path.iterdir()) == []


def test_progress_of_every_table_ends_at_its_rows(tmp_path: Path) -> None:
    last: dict[str, tuple[int, int]] = {}
    report = generate(tmp_path, orders=100, progress=lambda table, done, total: last.update({table: (done, total)}))
    assert last == {table: (count, count) for table, count in report.rows.items()}


@pytest.mark.parametrize(("orders", "seed", "fault"), [(FEWEST - 1, 1, "--orders is 99"), (100, -1, "--seed is -1")])
def test_what_can_not_be_generated_is_refused_by_its_option(tmp_path: Path, orders: int, seed: int, fault: str) -> None:
    with pytest.raises(SyntheticError, match=fault):
        generate(tmp_path / "new", orders=orders, seed=seed)
    assert not (tmp_path / "new").exists()
