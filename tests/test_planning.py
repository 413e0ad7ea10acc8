"""Planning: which runs cover a selection of tables and partition keys."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import dagster as dg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medallion.arrived import ArrivedKeys, landed
from medallion.planning import (
    RANGE_END,
    RANGE_START,
    RANGES,
    PlannedRun,
    SelectionError,
    arrived_keys,
    by_domain,
    common_partitions,
    keys_between,
    parse_keys,
    partitions_label,
    plan_run,
    plan_runs,
    tagged_ranges,
    touched_by_partitions,
    with_upstream,
)
from medallion.tables import Table

MONTHS = dg.MonthlyPartitionsDefinition(start_date="2017-01", end_date="2018-01", fmt="%Y-%m")
DAYS = dg.DailyPartitionsDefinition(start_date="2017-01-01", end_date="2017-02-01")
KEYS = MONTHS.get_partition_keys()
SHOPS = dg.StaticPartitionsDefinition(["nl", "be", "de", "fr"])
GRID = dg.MultiPartitionsDefinition({"month": MONTHS, "shop": SHOPS})
HOURS = dg.HourlyPartitionsDefinition("2024-10-27-00:00", end_date="2024-10-27-05:00", timezone="Europe/Berlin")
DEFINITIONS = {"months": MONTHS, "shops": SHOPS, "grid": GRID, "hours": HOURS}


def table(
    label: str,
    partitions: dg.PartitionsDefinition[Any] | None = MONTHS,
    reads: Sequence[str] = (),
    checked_against: Sequence[str] = (),
    reads_arrivals: bool = False,
) -> Table:
    """A stand-in with what planning looks at."""
    _, domain, name = label.split("/")
    inputs = {f"input_{n}": dg.AssetIn(key=dg.AssetKey(read.split("/"))) for n, read in enumerate(reads)}
    stand_in = SimpleNamespace(
        label=label,
        domain=domain,
        name=name,
        key=dg.AssetKey(label.split("/")),
        partitions=partitions,
        inputs=inputs,
        reads=frozenset(checked_against),
        reads_arrivals=reads_arrivals,
    )
    return cast(Table, stand_in)


def keys_of(run: PlannedRun) -> list[str]:
    first, last = KEYS.index(cast(str, run.first)), KEYS.index(cast(str, run.last))
    return KEYS[first : last + 1]


def test_a_hole_splits_a_selection_into_two_runs() -> None:
    runs = plan_runs([table("silver/shop/orders")], ["2017-05", "2017-01", "2017-02"])

    assert [run.label for run in runs] == ["2017-01...2017-02", "2017-05"]


def test_a_run_carries_dagsters_range_tags() -> None:
    (run,) = plan_runs([table("silver/shop/orders")], ["2017-03", "2017-04"])

    assert run.tags == {RANGE_START: "2017-03", RANGE_END: "2017-04"}
    assert run.assets == (dg.AssetKey(["silver", "shop", "orders"]),)


def test_a_range_run_with_its_tags_is_what_dagster_takes_for_these_keys() -> None:
    (run,) = plan_runs([table("silver/shop/orders")], KEYS[2:5])

    assert (
        MONTHS.get_partition_keys_in_range(dg.PartitionKeyRange(run.tags[RANGE_START], run.tags[RANGE_END]))
        == (KEYS[2:5])
    )


def test_tables_without_partitions_are_one_run_without_tags() -> None:
    (run,) = plan_runs([table("gold/shop/revenue", None)], [])

    assert (run.label, run.tags) == ("whole tables", {})


def test_tables_without_partitions_are_in_every_run_of_those_with() -> None:
    runs = plan_runs([table("silver/shop/orders"), table("gold/shop/revenue", None)], ["2017-01", "2017-03"])

    assert [len(run.assets) for run in runs] == [2, 2]


def test_a_change_of_partitions_touches_their_tables_and_what_is_made_from_them() -> None:
    monthly = table("silver/shop/orders")
    snapshot = table("silver/shop/products", None)
    summed = table("gold/shop/revenue", None, reads=["silver/shop/orders"])
    checked = table("gold/shop/products", None, reads=["silver/shop/products"], checked_against=["gold/shop/revenue"])
    assert touched_by_partitions([checked, summed, snapshot, monthly]) == [checked, summed, monthly]


def test_nothing_selected_is_no_run() -> None:
    assert plan_runs([], []) == []


def test_a_key_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(SelectionError, match=r"\['2016-01'\] do not exist; there are 2017-01\.\.\.2017-12"):
        plan_runs([table("silver/shop/orders")], ["2017-01", "2016-01"])


def test_tables_with_different_partitions_can_not_share_a_run() -> None:
    tables = [table("silver/shop/orders"), table("silver/shop/visits", DAYS)]

    with pytest.raises(SelectionError, match="silver/shop/orders and silver/shop/visits have different partitions"):
        common_partitions(tables)


def test_domains_are_planned_by_name() -> None:
    tables = [table("silver/web/visits", DAYS), table("silver/shop/orders"), table("bronze/web/visits", DAYS)]

    assert [[t.label for t in own] for own in by_domain(tables)] == [
        ["silver/shop/orders"],
        ["silver/web/visits", "bronze/web/visits"],
    ]


def test_a_domain_is_planned_after_the_one_it_reads() -> None:
    tables = [table("gold/ads/sales", reads=["silver/shop/orders"]), table("silver/shop/orders")]

    assert [own[0].domain for own in by_domain(tables)] == ["shop", "ads"]


def test_a_domain_that_is_not_selected_orders_nothing() -> None:
    tables = [table("gold/ads/sales", reads=["silver/shop/orders"]), table("silver/bank/cards")]

    assert [own[0].domain for own in by_domain(tables)] == ["ads", "bank"]


def test_domains_that_read_each_other_are_refused() -> None:
    tables = [
        table("gold/ads/sales", reads=["silver/shop/orders"]),
        table("silver/shop/orders", reads=["silver/ads/clicks"]),
        table("silver/ads/clicks"),
    ]

    with pytest.raises(SelectionError, match=r"\['ads', 'shop'\] read each other"):
        by_domain(tables)


@given(st.sets(st.sampled_from(KEYS)))
def test_the_runs_cover_exactly_the_selected_keys_by_ranges_that_do_not_touch(keys: set[str]) -> None:
    runs = plan_runs([table("silver/shop/orders")], keys)

    covered = [key for run in runs for key in keys_of(run)]
    assert covered == sorted(keys)
    gaps = [KEYS.index(keys_of(after)[0]) - KEYS.index(keys_of(before)[-1]) for before, after in pairwise(runs)]
    assert all(gap > 1 for gap in gaps)


@settings(deadline=None, max_examples=40)
@pytest.mark.parametrize("kind", list(DEFINITIONS))
@given(data=st.data())
def test_runs_cover_exactly_the_selection_alone_and_as_one(kind: str, data: st.DataObject) -> None:
    definition = DEFINITIONS[kind]
    known = [str(key) for key in definition.get_partition_keys()]
    keys = data.draw(st.sets(st.sampled_from(known), max_size=8))
    tables = [table("silver/shop/orders", definition)]

    runs = plan_runs(tables, keys)
    covered = [key for run in runs for key in keys_between(definition, cast(str, run.first), cast(str, run.last))]
    assert sorted(covered) == sorted(keys)

    one = plan_run(tables, keys)
    assert len(one) == bool(keys)
    ranges = tagged_ranges(one[0].tags) if one else []
    assert sorted(key for ends in ranges for key in keys_between(definition, *ends)) == sorted(keys)
    if one:
        assert keys <= set(keys_between(definition, one[0].tags[RANGE_START], one[0].tags[RANGE_END]))


def test_two_hours_that_the_clock_shows_alike_are_not_taken_for_each_other() -> None:
    hours = DEFINITIONS["hours"]
    second, last = "2024-10-27-02:00+0100", "2024-10-27-03:00"

    assert keys_between(hours, second, last) == [second, last]
    assert keys_between(hours, "2024-10-27-02:00", last) == ["2024-10-27-02:00", second, last]


def test_one_run_names_its_holes_by_the_ranges_beside_them() -> None:
    (run,) = plan_run([table("silver/shop/orders")], ["2017-05", "2017-01", "2017-02"])

    assert (run.tags[RANGE_START], run.tags[RANGE_END]) == ("2017-01", "2017-05")
    assert json.loads(run.tags[RANGES]) == [["2017-01", "2017-02"], ["2017-05", "2017-05"]]
    assert run.label == "2017-01...2017-02, 2017-05"


def test_one_run_without_holes_is_dagsters_own() -> None:
    (run,) = plan_run([table("silver/shop/orders")], ["2017-01", "2017-02"])

    assert run.tags == {RANGE_START: "2017-01", RANGE_END: "2017-02"}


def test_a_rectangle_of_a_grid_is_one_range() -> None:
    cells = [f"{month}|{shop}" for month in ("2017-01", "2017-02") for shop in ("be", "de", "nl")]
    (run,) = plan_runs([table("silver/shop/orders", GRID)], cells)

    assert run.label == "2017-01|nl...2017-02|de"


def test_neighbours_in_the_list_of_a_grid_that_are_no_rectangle_are_two_ranges() -> None:
    runs = plan_runs([table("silver/shop/orders", GRID)], ["2017-01|fr", "2017-02|nl"])

    assert [run.label for run in runs] == ["2017-01|fr", "2017-02|nl"]


def test_a_range_that_begins_with_the_second_of_two_equal_hours_leaves_the_first_out() -> None:
    hours = HOURS.get_partition_keys()

    assert keys_between(HOURS, hours[3], hours[4]) == hours[3:5]
    assert keys_between(HOURS, hours[3], hours[3]) == [hours[3]]
    assert keys_between(HOURS, hours[1], hours[2]) == hours[1:3]


@pytest.mark.parametrize(
    ("tags", "label"),
    [
        ({}, None),
        ({"dagster/partition": "2017-01"}, "2017-01"),
        ({RANGE_START: "2017-01", RANGE_END: "2017-03"}, "2017-01...2017-03"),
        ({RANGE_START: "a", RANGE_END: "d", RANGES: '[["a", "b"], ["d", "d"]]'}, "a...b, d"),
    ],
)
def test_the_tags_of_a_run_say_its_partitions(tags: dict[str, str], label: str | None) -> None:
    assert partitions_label(tags) == label


def test_a_key_with_commas_is_named_alone() -> None:
    shops = dg.StaticPartitionsDefinition(["a", "a,b", "b"])

    assert parse_keys("a,b", shops) == ["a,b"]
    assert parse_keys("a, b", shops) == ["a", "b"]


def test_a_range_of_a_grid_is_every_combination() -> None:
    assert parse_keys("2017-01|be...2017-02|de", GRID) == ["2017-01|be", "2017-01|de", "2017-02|be", "2017-02|de"]


def test_partitions_that_nobody_has_added_yet_are_none() -> None:
    with pytest.raises(SelectionError, match=r"\['a'\] do not exist; there are none yet"):
        plan_runs([table("silver/shop/orders", dg.StaticPartitionsDefinition([]))], ["a"])


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("2017-01", ["2017-01"]),
        ("2017-01...2017-03", ["2017-01", "2017-02", "2017-03"]),
        ("2017-01...2017-02, 2017-05", ["2017-01", "2017-02", "2017-05"]),
    ],
)
def test_keys_are_named_singly_by_range_or_both(text: str, keys: list[str]) -> None:
    assert parse_keys(text, MONTHS) == keys


@pytest.mark.parametrize("text", ["2016-01", "2017-01...2019-01", "", "2017-01,", "2017-01...2017-02...2017-03"])
def test_keys_that_do_not_exist_are_refused(text: str) -> None:
    with pytest.raises(SelectionError, match=r"does not exist; there are 2017-01\.\.\.2017-12"):
        parse_keys(text, MONTHS)


def test_a_range_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(SelectionError, match="ends before it starts"):
        parse_keys("2017-03...2017-01", MONTHS)
    with pytest.raises(SelectionError, match="ends before it starts"):
        parse_keys("2024-10-27-04:00...2024-10-27-03:00", HOURS)
    with pytest.raises(SelectionError, match="ends before it starts"):
        parse_keys("2017-01|de...2017-02|be", GRID)
    with pytest.raises(SelectionError, match="ends before it starts"):
        parse_keys("fr...nl", SHOPS)


def landing(slices: dict[str, list[str]]) -> ArrivedKeys:
    """A landing zone with these slices by `domain/table`."""
    return landed(lambda domain, name: slices.get(f"{domain}/{name}", []))


RAW = table("bronze/shop/orders", reads_arrivals=True)
GOODS = table("bronze/shop/goods", None, reads_arrivals=True)
ORDERS = table("silver/shop/orders", reads=["bronze/shop/orders", "bronze/shop/goods"])
SALES = table("gold/shop/sales", reads=["silver/shop/orders"])
ALL = {t.label: t for t in (RAW, GOODS, ORDERS, SALES)}


def test_the_arrived_keys_of_a_gold_table_are_those_of_the_files_it_stands_on() -> None:
    slices = landing({"shop/orders": ["2017-02", "2017-01"], "shop/goods": ["snapshot"]})

    assert arrived_keys([SALES], ALL, slices) == ["2017-01", "2017-02"]


def test_a_landed_folder_that_is_no_partition_is_left_out() -> None:
    assert arrived_keys([RAW], ALL, landing({"shop/orders": ["2017-01", "1999-01", "snapshot"]})) == ["2017-01"]


def test_tables_without_partitions_have_no_arrived_keys() -> None:
    assert arrived_keys([GOODS], ALL, landing({"shop/goods": ["snapshot"]})) == []


def test_upstream_is_also_what_the_checks_read() -> None:
    checked = table("silver/shop/items", checked_against=["silver/shop/orders"])

    assert [t.label for t in with_upstream([checked], {**ALL, checked.label: checked})][:2] == [
        "silver/shop/items",
        "silver/shop/orders",
    ]


def test_upstream_is_everything_a_table_is_made_from_once() -> None:
    assert {t.label for t in with_upstream([SALES, ORDERS], ALL)} == set(ALL)
