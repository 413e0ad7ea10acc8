"""The whole graph on a synthetic dataset, on disk and on S3, against a DuckDB script: every gold table, row by row."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assets.olist import gold
from medallion.delta.store import DeltaStore
from medallion.graph import tables_in
from medallion.settings import Settings
from medallion.tables import Table
from tests.fixtures.s3_process import s3_process

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ORDERS, SEED = 2_000, 7
GOLD = {table.name: table for table in tables_in([gold])}
DEGREES = 1.5e-6
"""Coordinates are rounded to six decimals; a sum in another order may round the last one the other way."""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the synthetic files, `csv`, and the script's Parquet files, `oracle`."""
    from assets.olist.synthetic import generate
    from benchmarks.olist_duckdb import build

    home = tmp_path_factory.mktemp("sources")
    generate(home / "csv", orders=ORDERS, seed=SEED)
    build(home / "csv", home / "oracle")
    return home


@pytest.fixture(scope="module", params=["local", "s3"])
def lake(
    request: pytest.FixtureRequest, sources: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DeltaStore]:
    """The lake after one run of everything; where it is comes from the environment alone."""
    from medallion.engine.storage import storage_environment

    home = tmp_path_factory.mktemp("lake")
    if request.param == "local":
        yield run_everything(sources / "csv", Settings(home=home))
        return
    with s3_process("oracle") as s3, storage_environment(s3.storage_options):
        root = f"s3://{s3.bucket}"
        yield run_everything(sources / "csv", Settings(home=home, lake=f"{root}/lake", landing=f"{root}/landing"))


def run_everything(csv: Path, settings: Settings) -> DeltaStore:
    """Land the files and make all tables in one run."""
    import dagster as dg

    from assets.olist.source import land
    from medallion.domains import declared_tables
    from medallion.graph import build_assets
    from medallion.landing import Landing
    from medallion.planning import RANGE_END, RANGE_START
    from resources import build_resources

    land(csv, Landing(settings.landing_uri, settings.storage_options))
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            build_assets([table for table in declared_tables("assets") if table.domain == "olist"]),
            resources=build_resources(settings),
            instance=instance,
            tags={RANGE_START: "2016-09", RANGE_END: "2018-10"},
        )
    assert result.success
    return DeltaStore(settings.lake_uri, settings.storage_options)


@pytest.mark.parametrize("name", sorted(GOLD))
def test_a_gold_table_equals_the_hand_written_script_row_by_row(lake: DeltaStore, sources: Path, name: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = GOLD[name]
    ours = by_key(table, pa.table(lake.open(table.path).scan()))
    theirs = by_key(table, pq.read_table(sources / "oracle" / f"{name}.parquet"))
    assert ours
    assert ours.keys() - theirs.keys() == set()
    assert theirs.keys() - ours.keys() == set()
    assert [found for key, row in ours.items() for found in differences(key, row, theirs[key])] == []


def test_orders_in_quarantine_are_in_no_fact(lake: DeltaStore) -> None:
    from assets.olist.synthetic.plan import Plan

    rejected = sum(Plan.of(ORDERS).broken["orders"].values())
    assert lake.open(("gold", "olist", "fact_orders")).count() == ORDERS - rejected


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
