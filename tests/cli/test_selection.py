"""Names of tables: labels and short names in Dagster's selection syntax, and what comes near a wrong one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medallion.cli.selection import expand, table_named
from medallion.planning import SelectionError
from medallion.tables import Table

LABELS = ("bronze/shop/orders", "silver/shop/orders", "gold/shop/revenue", "gold/shop/fact_orders")
TABLES = {label: cast(Table, SimpleNamespace(label=label)) for label in LABELS}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("silver/shop/orders", 'key:"silver/shop/orders"'),
        ("revenue", 'key:"gold/shop/revenue"'),
        ("silver/shop/orders+", 'key:"silver/shop/orders"+'),
        ("+revenue", '+key:"gold/shop/revenue"'),
        ("2+revenue+1", '2+key:"gold/shop/revenue"+1'),
        ("revenue or fact_orders", 'key:"gold/shop/revenue" or key:"gold/shop/fact_orders"'),
        ("group:shop_gold", "group:shop_gold"),
        ('group:"shop_gold" and not revenue', 'group:"shop_gold" and not key:"gold/shop/revenue"'),
        ('key:"silver/shop/orders"+', 'key:"silver/shop/orders"+'),
        ("key:silver/shop/*", "key:silver/shop/*"),
        ("roots(revenue)", 'roots(key:"gold/shop/revenue")'),
        ("*", "*"),
    ],
)
def test_table_names_in_a_selection_become_keys(written: str, meant: str) -> None:
    assert expand(written, TABLES) == meant


@given(st.sampled_from(LABELS), st.sampled_from(["", "+"]), st.sampled_from(["", "+"]))
def test_dagster_reads_an_expanded_label_as_that_asset(label: str, before: str, after: str) -> None:
    import dagster as dg

    selection = dg.AssetSelection.from_string(expand(f"{before}{label}{after}", TABLES))

    assert label in str(selection)


def test_a_short_name_of_several_tables_asks_which() -> None:
    with pytest.raises(SelectionError, match="say which: bronze/shop/orders, silver/shop/orders"):
        table_named("orders", TABLES)


@pytest.mark.parametrize("wrong", ["gold/shop/revnue", "revnue", "silver/shop/revenue"])
def test_a_wrong_name_gets_the_near_one(wrong: str) -> None:
    with pytest.raises(SelectionError, match=r"Did you mean .*gold/shop/revenue"):
        table_named(wrong, TABLES)


def test_a_name_like_no_other_is_told_how_to_list_them() -> None:
    with pytest.raises(SelectionError, match=r"no table 'zzz'. List them with `medallion tables`"):
        table_named("zzz", TABLES)


def test_without_any_table_it_says_so() -> None:
    with pytest.raises(SelectionError, match="No domain declares one"):
        table_named("orders", {})
