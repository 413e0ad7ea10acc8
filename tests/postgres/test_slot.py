"""A slot: what a server must allow, who holds it, what endangers it, and what its log has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from medallion.cli.doctor import _capture
from medallion.postgres.captured import captured_tables
from medallion.postgres.connection import connect
from medallion.postgres.pending import pending_changes
from medallion.postgres.slot import CaptureError, Slot, SlotBusyError, SlotState
from medallion.settings import Settings
from sensors.capture import capture_sensors, touched
from tests.fixtures.captured import DOMAIN, TABLES, Shop
from tests.fixtures.postgres import LOCKED, PASSWORD, Server

MIRRORS = captured_tables(TABLES.values(), DOMAIN)


@pytest.fixture
def shop(postgres_url: str, tmp_path: Path) -> Shop:
    shop = Shop(postgres_url, str(tmp_path / "lake"), {})
    shop.create()
    return shop


@pytest.fixture
def slot(shop: Shop) -> Iterator[Slot]:
    with connect(DOMAIN, shop.url) as connection:
        yield Slot(connection, shop.slot)


def state(retained: int = 0, status: str = "reserved", safe: int | None = None) -> SlotState:
    return SlotState("s", 1, 0, retained, status, safe)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (state(), None),
        (state(status="extended", retained=1 << 20, safe=1 << 40), None),
        (state(status="lost"), r"slot s is lost: .*medallion capture shop --reload.*pg_drop_replication_slot\('s'\)"),
        (state(status="unreserved"), "raise max_slot_wal_keep_size"),
        (state(safe=1 << 20), "slot s is lost after 1 MB more of log. Capture now"),
        (state(retained=5 << 30), r"keeps 5.4 GB of log for slot s, which fills its disk.*pg_drop_replication_slot"),
    ],
)
def test_a_slot_that_nobody_reads_is_a_problem_with_the_next_step(found: SlotState, told: str | None) -> None:
    problem = found.problem(DOMAIN)
    assert (problem is None) if told is None else re.search(told, problem or "")


def test_a_user_without_the_right_to_replicate_is_told(shop: Shop, postgres_server: Server, slot: Slot) -> None:
    name = shop.url.split("/")[3].split("?")[0]
    with connect(DOMAIN, postgres_server.locked_url(name, PASSWORD)) as connection:
        other = Slot(connection, "medallion_shop_other")
        shop.execute(f"grant create on database {name} to {LOCKED}")
        with pytest.raises(CaptureError, match=r"user of SHOP_URL may not make a replication slot; .*REPLICATION"):
            other.create()
    assert slot.state() is None


def test_a_lock_is_waited_for_and_then_named(shop: Shop, slot: Slot) -> None:
    with connect(DOMAIN, shop.url) as connection, Slot(connection, shop.slot).held():
        with (
            pytest.raises(
                SlotBusyError, match=r"another capture reads slot .* \(session \d+ of .*pg_terminate_backend"
            ),
            slot.held(patience=0.1),
        ):
            pass
        with slot.held(":process", patience=0):
            pass
    with slot.held(patience=0):
        pass


def test_a_snapshot_waits_for_transactions_that_wrote_before(shop: Shop, slot: Slot) -> None:
    with connect(DOMAIN, shop.url) as writer:
        writer.execute("begin")
        writer.execute("insert into thing (id) values (1)")
        with pytest.raises(CaptureError, match="a transaction that wrote before the capture began"):
            slot.settle(patience=0.2)
        writer.execute("commit")
    slot.settle(patience=5)


def test_pending_changes_name_their_tables_and_the_last_position(shop: Shop) -> None:
    def look() -> tuple[list[str], int]:
        found = pending_changes(DOMAIN, shop.url, shop.lake, MIRRORS)
        return sorted(table.name for table in found.tables), found.position

    assert look() == (["pair", "payment", "thing"], 0)
    shop.capture()
    assert look()[0] == []
    shop.execute("insert into thing (id) values (1)", "insert into payment values (1, '2024-03-03', 1)")
    first = look()
    assert first[0] == ["payment", "thing"]
    assert look() == first
    shop.execute("truncate pair, payment")
    names, position = look()
    assert names == ["pair", "payment", "thing"]
    assert position > first[1]
    shop.capture()
    assert look()[0] == []


def test_a_log_without_changes_for_bronze_does_not_pile_up(shop: Shop, slot: Slot) -> None:
    shop.capture()
    shop.execute("create table other (id int)", "insert into other select generate_series(1, 20000)")
    before = slot.state()
    assert before is not None
    assert before.behind > 1_000_000
    assert pending_changes(DOMAIN, shop.url, shop.lake, MIRRORS).tables == ()
    after = slot.state()
    assert after is not None
    assert after.behind < 100_000


def test_an_abandoned_slot_fails_the_look_and_the_doctor(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.capture()
    shop.execute("insert into thing (id, document) select i, repeat('x', 1000) from generate_series(1, 2000) i")
    monkeypatch.setattr("medallion.postgres.slot.RETAINED_BYTES", 1 << 20)
    with pytest.raises(CaptureError, match=rf"keeps 0.0 GB of log for slot {shop.slot}, which fills its disk"):
        pending_changes(DOMAIN, shop.url, shop.lake, MIRRORS)
    monkeypatch.setattr("medallion.cli.lake.tables_of", lambda _: TABLES)
    monkeypatch.setenv("SHOP_URL", shop.url)
    assert _capture(Settings()) == ("ok", "no database is captured (set PAGILA_CAPTURE=true, for example)")
    monkeypatch.setenv("SHOP_CAPTURE", "true")
    verdict, told = _capture(Settings())[:2]
    assert (verdict, shop.slot in told) == ("fail", True)
    monkeypatch.undo()


def test_the_sensor_asks_once_for_a_position_and_waits_for_the_run(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_URL", shop.url)
    job = dg.define_asset_job(DOMAIN)
    settings = Settings(lake=shop.lake)
    assert capture_sensors(list(TABLES.values()), {DOMAIN: job}, settings) == []
    monkeypatch.setenv("SHOP_CAPTURE", "true")
    (sensor,) = capture_sensors(list(TABLES.values()), {DOMAIN: job}, settings)
    shop.capture()
    with dg.instance_for_test() as instance:

        def tick() -> dg.RunRequest | dg.SkipReason:
            result = sensor(dg.build_sensor_context(instance))
            assert isinstance(result, dg.RunRequest | dg.SkipReason)
            return result

        assert str(tick().skip_message) == "the log has nothing for shop"  # type: ignore[union-attr]
        shop.execute("insert into thing (id) values (1)")
        first = tick()
        assert isinstance(first, dg.RunRequest)
        assert first.asset_selection == [dg.AssetKey(["bronze", DOMAIN, "thing"])]
        assert tick().run_key == first.run_key  # type: ignore[union-attr]
        instance.create_run_for_job(dg.job(name=DOMAIN)(lambda: None), tags=first.tags)
        assert "a run captures shop already" in str(tick().skip_message)  # type: ignore[union-attr]


def test_a_run_of_changes_stops_before_tables_with_partitions() -> None:
    from tests.fixtures.shop import bronze_orders, gold_revenue, silver_orders

    bronze, silver, gold = bronze_orders(), silver_orders(), gold_revenue()
    assert touched([bronze], [bronze, silver, gold]) == []
    assert touched([TABLES["bronze/shop/pair"]], [*TABLES.values(), bronze]) == [TABLES["bronze/shop/pair"]]
