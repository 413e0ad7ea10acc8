"""Files that land start runs of just their slices, once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import dagster as dg
import pandera.pyspark as pa
import pyspark.sql.types as T
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medallion.landed import LandedByBatch
from medallion.landing import Landing
from medallion.landing_sensor import LANDED, Arrived, Cursor, landed_fingerprints, landing_sensor, sense_arrivals
from medallion.layers import bronze
from medallion.tables import Table
from tests.fixtures.s3_server import s3_server

MONTHS = dg.MonthlyPartitionsDefinition(start_date="2017-01", end_date="2018-01", fmt="%Y-%m")
KEYS = MONTHS.get_partition_keys()


class Text(pa.DataFrameModel):
    """A snapshot."""

    name: T.StringType() = pa.Field(nullable=True, description="Name.")


def _tables() -> list[Table]:
    @bronze(contract=LandedByBatch, partitions=MONTHS, domain="shop")
    def orders(arrivals: Any) -> Any:
        """Orders."""

    @bronze(contract=LandedByBatch, partitions=MONTHS, domain="shop")
    def payments(arrivals: Any) -> Any:
        """Payments."""

    @bronze(contract=Text, domain="shop")
    def products(arrivals: Any) -> Any:
        """Products."""

    return [orders, payments, products]


TABLES = _tables()
Listing = dict[tuple[str, str], str]


def nothing_made(table: Table, slice_key: str) -> str | None:
    return None


def sense(landed: Listing, cursor: Cursor | None = None, batch: int = 20) -> Arrived:
    return sense_arrivals(TABLES, landed, cursor or Cursor(), nothing_made, batch)


def said(arrived: Arrived) -> list[str]:
    return [f"{run.label}: {', '.join(key.path[-1] for key in run.assets)}" for _, run in arrived.runs]


def listing(table: str, *months: str, stamp: str = "a") -> Listing:
    return {(table, month): stamp for month in months}


def test_tables_that_landed_for_the_same_months_share_a_run_per_contiguous_range() -> None:
    landed = {
        **listing("orders", "2017-01", "2017-02", "2017-03", "2017-06"),
        **listing("payments", "2017-01", "2017-02", "2017-06"),
    }

    assert said(sense(landed)) == [
        "2017-01...2017-02: orders, payments",
        "2017-06: orders, payments",
        "2017-03: orders",
    ]


def test_a_snapshot_has_a_run_of_its_own_and_comes_first() -> None:
    landed = {**listing("orders", "2017-01"), ("products", "snapshot"): "a"}

    assert said(sense(landed)) == ["whole tables: products", "2017-01: orders"]


def test_a_tick_that_sees_the_same_files_again_starts_nothing() -> None:
    landed = {**listing("orders", "2017-01"), ("products", "snapshot"): "a"}

    again = sense(landed, sense(landed).cursor)

    assert not again.runs
    assert again.cursor == sense(landed).cursor


def test_a_changed_file_runs_its_slice_again_and_no_other() -> None:
    before = listing("orders", "2017-01", "2017-02", "2017-03")

    after = sense(before | {("orders", "2017-02"): "b"}, sense(before).cursor)

    assert said(after) == ["2017-02: orders"]


def test_a_tick_that_is_repeated_after_a_crash_asks_for_the_same_run_keys() -> None:
    landed = {**listing("orders", "2017-01", "2017-02"), ("products", "snapshot"): "a"}

    assert [key for key, _ in sense(landed).runs] == [key for key, _ in sense(landed).runs]


def test_run_keys_differ_by_content_and_when_a_file_changes_back() -> None:
    first, second = listing("orders", "2017-01", stamp="a"), listing("orders", "2017-01", stamp="b")
    keys = set()
    cursor = Cursor()
    for landed in (first, second, first, second):
        arrived = sense(landed, cursor)
        cursor = arrived.cursor
        keys |= {key for key, _ in arrived.runs}

    assert len(keys) == 4


def test_a_batch_is_bounded_and_the_cursor_covers_only_what_was_started() -> None:
    landed = listing("orders", *KEYS[:5]) | listing("payments", *KEYS[:5])

    one = sense(landed, batch=2)
    two = sense(landed, one.cursor, batch=2)
    three = sense(landed, two.cursor, batch=2)

    assert [said(tick) for tick in (one, two, three)] == [
        ["2017-01...2017-02: orders, payments"],
        ["2017-03...2017-04: orders, payments"],
        ["2017-05: orders, payments"],
    ]
    assert [tick.waiting for tick in (one, two, three)] == [3, 1, 0]
    assert set(one.cursor.slices) == {"orders/2017-01", "orders/2017-02", "payments/2017-01", "payments/2017-02"}


def test_a_slice_that_was_made_from_these_files_is_taken_as_done() -> None:
    landed = listing("orders", "2017-01", "2017-02")

    arrived = sense_arrivals(
        TABLES, landed, Cursor(), lambda table, key: "a" if key == "2017-01" else "older", batch=20
    )

    assert said(arrived) == ["2017-02: orders"]
    assert set(arrived.cursor.slices) == {"orders/2017-01", "orders/2017-02"}


def test_slices_already_made_do_not_use_up_the_batch() -> None:
    landed = listing("orders", *KEYS[:6])

    arrived = sense_arrivals(TABLES, landed, Cursor(), lambda _, key: "a" if key < "2017-05" else None, batch=1)

    assert said(arrived) == ["2017-05: orders"]
    assert arrived.waiting == 1


def test_removed_files_are_named_once_and_start_nothing() -> None:
    cursor = sense(listing("orders", "2017-01", "2017-02")).cursor

    arrived = sense(listing("orders", "2017-01"), cursor)
    again = sense(listing("orders", "2017-01"), arrived.cursor)

    assert arrived.removed == ["orders/2017-02"]
    assert not arrived.runs
    assert not again.removed


def test_files_that_come_back_run_again() -> None:
    landed = listing("orders", "2017-01")
    gone = sense({}, sense(landed).cursor)

    assert said(sense(landed, gone.cursor)) == ["2017-01: orders"]


def test_what_no_table_has_is_named_once_and_runs_when_it_is_declared() -> None:
    landed = {("orders", "2031-01"): "a", ("refunds", "2017-01"): "a", ("products", "2017-01"): "a"}

    arrived = sense(landed)
    again = sense(landed, arrived.cursor)

    assert not arrived.runs
    assert arrived.passed_over == ["orders/2031-01", "products/2017-01", "refunds/2017-01"]
    assert not again.passed_over
    assert again.cursor.passed_over == ("orders/2031-01", "products/2017-01", "refunds/2017-01")
    assert not again.cursor.slices


def test_a_cursor_survives_being_stored() -> None:
    cursor = Cursor(3, {"orders/2017-01": "a"}, ("refunds/2017-01",))

    assert Cursor.parse(cursor.dump()) == cursor


@pytest.mark.parametrize("text", ["no json", "[]", '{"tick": 1}', "7"])
def test_a_foreign_cursor_is_an_error_that_says_what_to_do(text: str) -> None:
    with pytest.raises(ValueError, match="reset it on the sensor's page"):
        Cursor.parse(text)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.dictionaries(
            st.tuples(st.sampled_from(["orders", "payments"]), st.sampled_from(KEYS)), st.sampled_from("abc")
        ),
        max_size=5,
    ),
    st.integers(1, 4),
)
def test_every_version_of_every_slice_runs_exactly_once_however_ticks_and_changes_fall(
    listings: list[Listing], batch: int
) -> None:
    cursor = Cursor()
    keys: list[str] = []
    for landed in listings:
        before = dict(cursor.slices)
        expected = {item for item, stamp in landed.items() if before.get("/".join(item)) != stamp}
        started: list[tuple[str, str]] = []
        while True:
            arrived = sense(landed, cursor, batch)
            cursor = arrived.cursor
            for key, run in arrived.runs:
                keys.append(key)
                assert run.first is not None
                assert run.last is not None
                months = MONTHS.get_partition_keys_in_range(dg.PartitionKeyRange(run.first, run.last))
                started += [(asset.path[-1], month) for asset in run.assets for month in months]
            if not arrived.waiting:
                break
        assert sorted(started) == sorted(expected)
    assert len(keys) == len(set(keys))


class Zone:
    """A landing zone on disk, its sensor, and an instance that remembers."""

    def __init__(self, root: str, options: dict[str, str] | None = None) -> None:
        self.landing = Landing(root, options)
        self.instance = dg.DagsterInstance.ephemeral()
        job = dg.define_asset_job("shop", selection=dg.AssetSelection.assets(*[table.key for table in TABLES]))
        self.sensor = landing_sensor("shop", TABLES, job)
        self.cursor: str | None = None

    def land(self, table: str, slice_key: str, text: str) -> None:
        with self.landing.write("shop", table, slice_key, f"{table}.csv") as file:
            file.write(text.encode())

    def tick(self) -> Any:
        with dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, resources={"landing": self.landing}
        ) as context:
            data = self.sensor.evaluate_tick(context)
        self.cursor = data.cursor
        return data


@pytest.fixture
def zone(tmp_path: Path) -> Zone:
    """An empty one."""
    return Zone(str(tmp_path))


def test_the_sensor_turns_files_into_range_runs_of_the_domains_job(zone: Zone) -> None:
    zone.land("orders", "2017-01", "a\n1\n")
    zone.land("orders", "2017-02", "a\n1\n")

    (request,) = zone.tick().run_requests

    assert [key.to_user_string() for key in request.asset_selection] == ["bronze/shop/orders"]
    assert request.tags["dagster/asset_partition_range_start"] == "2017-01"
    assert request.tags["dagster/asset_partition_range_end"] == "2017-02"
    assert request.tags["medallion/trigger"] == "landing"
    assert request.run_key.startswith("1:2017-01...2017-02:")
    assert zone.sensor.job_name == "shop"


def test_the_sensor_says_why_it_starts_nothing(zone: Zone) -> None:
    assert zone.tick().skip_message == "nothing new in shop: 0 slices are as they were"
    zone.land("refunds", "2017-01", "a\n1\n")

    skipped = zone.tick()

    assert "no bronze table has such a slice: refunds/2017-01" in skipped.skip_message


def test_a_slice_made_by_hand_after_landing_is_not_run_by_the_sensor(zone: Zone) -> None:
    zone.land("orders", "2017-01", "a\n1\n")
    zone.land("products", "snapshot", "a\n1\n")
    stamps = zone.landing.scan("shop")
    zone.instance.report_runless_asset_event(
        dg.AssetMaterialization(TABLES[0].key, partition="2017-01", metadata={LANDED: stamps["orders", "2017-01"]})
    )
    zone.instance.report_runless_asset_event(
        dg.AssetMaterialization(TABLES[2].key, metadata={LANDED: "an older version"})
    )

    (request,) = zone.tick().run_requests

    assert [key.path[-1] for key in request.asset_selection] == ["products"]


def test_a_rewritten_file_runs_again(zone: Zone) -> None:
    zone.land("orders", "2017-01", "a\n1\n")
    first = zone.tick().run_requests
    zone.land("orders", "2017-01", "a\n2\n")
    os.utime(Path(zone.landing.root) / "shop/orders/2017-01/orders.csv", (1, 1))

    second = zone.tick().run_requests

    assert len(first) == len(second) == 1
    assert first[0].run_key != second[0].run_key


def test_the_fingerprints_of_a_table_are_those_of_its_own_files(zone: Zone) -> None:
    zone.land("orders", "2017-01", "a\n1\n")
    zone.land("payments", "2017-02", "a\n1\n")

    assert landed_fingerprints(TABLES[0], zone.landing) == {"2017-01": zone.landing.scan("shop")["orders", "2017-01"]}


def test_a_file_that_lands_on_s3_runs_its_slice_and_no_other() -> None:
    with s3_server("test-landing-sensor") as server:
        zone = Zone(f"s3://{server.bucket}/landing", server.storage_options)
        zone.land("orders", "2017-01", "a\n1\n")
        zone.land("payments", "2017-01", "a\n1\n")
        zone.tick()
        zone.land("orders", "2017-02", "a\n1\n")
        (request,) = zone.tick().run_requests
        again = zone.tick()

    assert [key.path[-1] for key in request.asset_selection] == ["orders"]
    assert request.tags["dagster/asset_partition_range_start"] == "2017-02"
    assert request.tags["dagster/asset_partition_range_end"] == "2017-02"
    assert not again.run_requests
