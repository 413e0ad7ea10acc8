"""The whole graph on a synthetic dataset against a hand-written DuckDB script: every gold table, row by row."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from assets.olist import gold
from medallion.graph import tables_in
from medallion.tables import Table

pytestmark = pytest.mark.integration

ORDERS, SEED = 2_000, 7
GOLD = {table.name: table for table in tables_in([gold])}
DEGREES = 1.5e-6
"""Coordinates are rounded to six decimals; a sum in another order may round the last one the other way."""


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The lake after one run of everything, and the folder of the script's Parquet files."""
    import dagster as dg

    from assets.olist.source import land
    from assets.olist.synthetic import generate
    from benchmarks.olist_duckdb import build
    from medallion.domains import declared_tables
    from medallion.graph import build_assets
    from medallion.landing import Landing
    from medallion.planning import RANGE_END, RANGE_START
    from medallion.settings import Settings
    from resources import build_resources

    home = tmp_path_factory.mktemp("oracle")
    generate(home / "csv", orders=ORDERS, seed=SEED)
    settings = Settings(home=home, lake=str(home / "lake"), landing=str(home / "landing"))
    land(home / "csv", Landing(settings.landing_uri))
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            build_assets(declared_tables("assets")),
            resources=build_resources(settings),
            instance=instance,
            tags={RANGE_START: "2016-09", RANGE_END: "2018-10"},
        )
    assert result.success
    build(home / "csv", home / "oracle")
    return home / "lake", home / "oracle"


@pytest.mark.parametrize("name", sorted(GOLD))
def test_a_gold_table_equals_the_hand_written_script_row_by_row(lake: tuple[Path, Path], name: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from deltalake import DeltaTable

    table, (root, oracle) = GOLD[name], lake
    ours = by_key(table, pa.table(DeltaTable(str(root.joinpath(*table.path))).scan()))
    theirs = by_key(table, pq.read_table(oracle / f"{name}.parquet"))
    assert ours
    assert ours.keys() - theirs.keys() == set()
    assert theirs.keys() - ours.keys() == set()
    assert [found for key, row in ours.items() for found in differences(key, row, theirs[key])] == []


def test_orders_in_quarantine_are_in_no_fact(lake: tuple[Path, Path]) -> None:
    from deltalake import DeltaTable

    from assets.olist.synthetic.plan import Plan

    rejected = sum(Plan.of(ORDERS).broken["orders"].values())
    assert DeltaTable(str(lake[0] / "gold" / "olist" / "fact_orders")).count() == ORDERS - rejected


def by_key(table: Table, rows: Any) -> dict[tuple[Any, ...], dict[str, Any]]:
    assert set(rows.column_names) == set(table.contract.column_names)
    found = {tuple(row[name] for name in table.contract.key): row for row in rows.to_pylist()}
    assert len(found) == rows.num_rows
    return found


def differences(key: tuple[Any, ...], ours: dict[str, Any], theirs: dict[str, Any]) -> list[Any]:
    return [(key, name, value, theirs[name]) for name, value in ours.items() if not same(name, value, theirs[name])]


def same(name: str, ours: Any, theirs: Any) -> bool:
    if not isinstance(ours, float) or theirs is None:
        return bool(ours == theirs)
    return math.isclose(ours, theirs, rel_tol=1e-9, abs_tol=DEGREES if name in ("latitude", "longitude") else 1e-9)
