"""Where rejected rows go: with raw values and reasons, replaced by slice, never doubled."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest

from medallion.delta.store import DeltaStore
from medallion.quarantine import NO_CSV, Rejected, line_rejects, quarantine_path, replace_slices, schema
from tests.fixtures.shop import Shop, bronze_orders, silver_orders

TABLE = ("silver", "shop", "orders")


def rejected(*slices: str, rows: int = 1, layer: str = "silver", run_id: str = "r1") -> Rejected:
    records = [
        {
            **{"layer": layer, "slice": name, "rules": ["x_ge"], "raw": "{}", "source_file": None, "source_row": None},
            **{"run_id": run_id, "quarantined_at": dt.datetime(2024, 1, 1, tzinfo=dt.UTC)},
        }
        for name in slices
        for _ in range(rows)
    ]
    frame = lambda: pyarrow.Table.from_pylist(records, schema=schema())  # noqa: E731
    return Rejected((layer, "shop", "orders"), slices, len(records), frame, run_id)


@pytest.fixture
def store(tmp_path: Path) -> DeltaStore:
    return DeltaStore(str(tmp_path / "lake"))


def held(store: DeltaStore) -> list[tuple[str, str, str]]:
    rows = pyarrow.table(store.open(quarantine_path(TABLE)).scan()).to_pylist()
    return sorted((row["layer"], row["slice"], row["run_id"]) for row in rows)


class TestReplacing:
    def test_layers_of_a_table_share_one_quarantine(self) -> None:
        assert (
            quarantine_path(TABLE) == quarantine_path(("bronze", "shop", "orders")) == ("quarantine", "shop", "orders")
        )

    def test_the_rows_of_a_slice_are_replaced_and_not_doubled(self, store: DeltaStore) -> None:
        replace_slices(store, rejected("2024-01", "2024-02", rows=2))
        replace_slices(store, rejected("2024-01", run_id="r2"))
        assert held(store) == [("silver", "2024-01", "r2"), *[("silver", "2024-02", "r1")] * 2]

    def test_a_clean_run_empties_its_slices_only(self, store: DeltaStore) -> None:
        replace_slices(store, rejected("2024-01", "2024-02"))
        assert replace_slices(store, rejected("2024-01", rows=0)) == 0
        assert held(store) == [("silver", "2024-02", "r1")]

    def test_a_layer_leaves_the_rows_of_another_alone(self, store: DeltaStore) -> None:
        replace_slices(store, rejected("2024-01", layer="bronze"))
        replace_slices(store, rejected("2024-01"))
        replace_slices(store, rejected("2024-01", rows=0))
        assert held(store) == [("bronze", "2024-01", "r1")]

    def test_nothing_rejected_makes_no_table_and_no_commit(self, store: DeltaStore) -> None:
        replace_slices(store, rejected("2024-01", rows=0))
        assert store.find(quarantine_path(TABLE)) is None
        replace_slices(store, rejected("2024-01"))
        version = store.open(quarantine_path(TABLE)).version()
        replace_slices(store, rejected("2024-02", rows=0))
        assert store.open(quarantine_path(TABLE)).version() == version

    @pytest.mark.parametrize("name", ["a b", "l'eau", "100%", "ü/日", "a|b"])
    def test_slices_with_special_characters_are_replaced(self, store: DeltaStore, name: str) -> None:
        replace_slices(store, rejected(name, "other"))
        replace_slices(store, rejected(name, run_id="r2"))
        assert held(store) == sorted([("silver", name, "r2"), ("silver", "other", "r1")])

    def test_the_commit_names_the_run(self, store: DeltaStore) -> None:
        replace_slices(store, rejected("2024-01"))
        commit = store.open(quarantine_path(TABLE)).history(1)[0]
        assert (commit["dagster/run_id"], commit["dagster/asset_key"]) == ("r1", "silver/shop/orders")


def test_lines_that_are_no_records_keep_file_line_and_text() -> None:
    lines = pyarrow.Table.from_pylist(
        [{"source_file": "shop/orders/2024-01/o.csv", "line": 7, "text": 'a,"b', "reason": "open quote"}]
    )
    found = line_rejects(lines, ("bronze", "shop", "orders"), ("2024-01",), lambda file: file.split("/")[2], "r1")
    (row,) = found.frame().to_pylist()
    assert found.rows == 1
    assert (row["layer"], row["slice"], row["rules"], row["raw"]) == ("bronze", "2024-01", [NO_CSV], 'a,"b')
    assert (row["source_file"], row["source_row"], row["run_id"]) == ("shop/orders/2024-01/o.csv", 7, "r1")


class TestRuns:
    def rejects(self, shop: Shop) -> list[dict[str, Any]]:
        return shop.rows("quarantine/shop/orders")

    def test_a_rejected_row_keeps_its_raw_values_reasons_origin_and_run(self, tmp_path: Path) -> None:
        shop = Shop(tmp_path)
        shop.land("2024-01", "a,1,2024-01-01 00:00:00,a@x", ' b ,"1,5",yesterday,no mail')
        result = shop.run(bronze_orders(), silver_orders(), key="2024-01")
        (row,) = self.rejects(shop)
        raw = json.loads(row["raw"])
        assert {key: raw[key] for key in ("order_id", "price", "placed", "email")} == {
            **{"order_id": " b ", "price": "1,5"},
            **{"placed": "yesterday", "email": "no mail"},
        }
        assert row["rules"] == ["price_parses", "placed_parses", "email_str_contains"]
        assert (row["layer"], row["slice"], row["run_id"]) == ("silver", "2024-01", result.run_id)
        assert (row["source_file"], row["source_row"]) == ("shop/orders/2024-01/orders.csv", 2)
        assert row["quarantined_at"].tzinfo is not None

    def test_a_range_puts_every_row_into_its_own_slice(self, tmp_path: Path) -> None:
        shop = Shop(tmp_path)
        for month in ("2024-01", "2024-02"):
            shop.land(month, f"g{month},1,,", f"b{month},x,,")
        shop.run(bronze_orders(), silver_orders(), span=("2024-01", "2024-02"))
        assert [row["slice"] for row in self.rejects(shop)] == ["2024-01", "2024-02"]

    def test_a_mended_source_leaves_quarantine(self, tmp_path: Path) -> None:
        shop = Shop(tmp_path)
        tables = (bronze_orders(), silver_orders())
        for month in ("2024-01", "2024-02"):
            shop.land(month, f"g{month},1,,", f"b{month},x,,")
        shop.run(*tables, span=("2024-01", "2024-02"))
        shop.land("2024-01", "g2024-01,1,,", "b2024-01,2,,")
        shop.run(*tables, key="2024-01")
        assert [row["slice"] for row in self.rejects(shop)] == ["2024-02"]
        assert len(shop.rows("silver/shop/orders")) == 3
