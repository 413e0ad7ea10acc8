"""Change capture brings bronze to where the source is: every kind of change, every type, once, or not at all."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from medallion.extract import Extract
from medallion.layers import bronze
from medallion.postgres.capture import Capture
from medallion.postgres.connection import connect
from medallion.postgres.errors import SourceSchemaError, SourceValueError
from medallion.postgres.slot import CaptureError, ChangesLostError, Slot, SlotBusyError, positions_name, slot_name
from medallion.postgres.source import Source
from tests.fixtures.captured import DOMAIN, TABLES, Later, Shop, WiderPair
from tests.fixtures.postgres import Server

NOW = dt.datetime.now(dt.UTC)
ROWS = (
    "insert into thing values (1, 'a', 1.50, '2024-01-01 10:00:00.123456+02', '2024-02-29', true, "
    "array['x', 'y, \"z\"', null, 'NULL', ''], '\\x00ff', 'good', 1999, 'ab', 0.1, repeat('long ', 2000))",
    "insert into thing (id) values (2), (3), (4)",
    "insert into thing (id, tags, code, rate, name) values (5, '{}', '    ', 'NaN', E'tab\\t, \"quote\" and \\\\ é ')",
    "insert into pair values (1, 1, 'a'), (1, 2, 'b'), (2, 1, null)",
    "insert into payment values (1, '2024-01-01', 1.10), (2, '2024-03-01', 2.20)",
)

pytestmark = pytest.mark.slow


@pytest.fixture
def shop(postgres_url: str, tmp_path: Path) -> Shop:
    """Three tables with a few rows, not captured yet."""
    shop = Shop(postgres_url, str(tmp_path / "lake"), {})
    shop.create()
    shop.execute(*ROWS)
    return shop


@pytest.fixture
def captured(shop: Shop) -> Shop:
    """The same, loaded, with a slot."""
    shop.capture()
    return shop


@pytest.fixture(scope="module")
def one_shop(postgres_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with postgres_server.database() as url:
        shop = Shop(url, str(tmp_path_factory.mktemp("shop") / "lake"), {})
        shop.create()
        shop.capture()
        yield shop


@pytest.fixture
def steady(one_shop: Shop) -> Shop:
    """A captured shop with the same few rows in every test."""
    one_shop.execute("truncate thing, pair, payment", *ROWS)
    one_shop.capture()
    return one_shop


@pytest.fixture
def capture(captured: Shop) -> Iterator[Capture]:
    """A capture of the shop, ready to read."""
    with connect(DOMAIN, captured.url) as connection:
        tables = {table.name: table.path for table in TABLES.values()}
        opened = Capture(Slot(connection, captured.slot), captured.store, tables)
        opened.prepare()
        yield opened


def version(shop: Shop, name: str) -> int:
    return shop.store.open(("bronze", DOMAIN, name)).version()


def test_a_first_capture_loads_all_tables_whole(shop: Shop) -> None:
    done = shop.capture()
    assert {name: (item.operation, item.changes) for name, item in done.items()} == {
        "thing": ("replace", 5),
        "pair": ("replace", 3),
        "payment": ("replace", 2),
    }
    shop.assert_equal()
    assert shop.state().behind < 1000


def test_rows_of_the_log_are_those_an_extraction_gives_for_every_type(steady: Shop) -> None:
    steady.execute("delete from thing", *ROWS[:3])
    done = steady.capture()
    assert list(done) == ["thing"]
    steady.assert_equal()
    first = steady.bronze("thing")[0]
    assert first["tags"] == ["x", 'y, "z"', None, "NULL", ""]
    assert (first["mood"], first["made"], first["photo"], first["ok"]) == ("good", 1999, b"\x00\xff", True)


@pytest.mark.parametrize(
    "statements",
    [
        ("insert into thing (id, name) values (9, 'new')",),
        ("update thing set name = 'other', ok = false where id = 1",),
        ("delete from thing where id = 3",),
        ("update thing set id = 100 where id = 1",),
        ("delete from thing where id = 1", "insert into thing (id) values (1)"),
        ("insert into thing (id) values (7)", "update thing set id = 8 where id = 7", "delete from thing where id = 8"),
        ("update thing set id = 99 where id = 1; update thing set id = 1 where id = 2; "
         "update thing set id = 2 where id = 99",),
        ("truncate thing",),
        ("truncate thing, pair", "insert into thing (id, name) values (1, 'after')"),
        ("insert into thing (id) values (70)", "truncate thing", "insert into thing (id) values (71)",
         "update thing set id = 72 where id = 71"),
        ("update pair set left_id = left_id + 10 where right_id = 1",),
        ("update payment set paid_at = '2024-05-05', amount = 3 where payment_id = 1",),
        ("truncate payment", "insert into payment values (3, '2023-01-01', 1)"),
    ],
    ids=lambda statements: "; ".join(statements),
)  # fmt: skip
def test_bronze_follows(steady: Shop, statements: tuple[str, ...]) -> None:
    for statement in statements:
        parts = statement.split("; ")
        steady.execute(*(["begin", *parts, "commit"] if len(parts) > 1 else parts))
    steady.capture()
    steady.assert_equal()


@pytest.mark.parametrize(
    "statements",
    [
        ("update thing set name = 'other' where id = 1",),
        ("update thing set document = repeat('new ', 2000) where id = 1", "update thing set name = 'x' where id = 1"),
        ("update thing set id = 50 where id = 1",),
        ("update thing set id = 50 where id = 1", "update thing set id = 51, name = 'x' where id = 50",
         "update thing set price = 7 where id = 51"),
        ("update thing set document = repeat('new ', 2000) where id = 1", "update thing set id = 50 where id = 1"),
        ("update thing set id = 50 where id = 1", "insert into thing (id, document) values (1, repeat('b', 9000))",
         "update thing set id = 52 where id = 1"),
        ("insert into thing (id, document) values (60, repeat('c', 9000))", "update thing set name = 'x' where id = 60",
         "update thing set id = 61 where id = 60"),
        ("update thing set name = 'x' where id = 1", "delete from thing where id = 1"),
        ("insert into thing (id, document) values (60, repeat('c', 9000))", "delete from thing where id = 60",
         "update thing set id = 60 where id = 1", "update thing set id = 61 where id = 60"),
        ("insert into thing (id, document) values (60, repeat('c', 9000))", "delete from thing where id = 60",
         "update thing set id = 60 where id = 1", "update thing set name = 'x' where id = 60"),
    ],
    ids=lambda statements: "; ".join(statements),
)  # fmt: skip
def test_a_large_value_that_the_log_leaves_out_stays(steady: Shop, statements: tuple[str, ...]) -> None:
    steady.execute(*statements)
    steady.capture()
    steady.assert_equal()


def test_more_changes_than_a_merge_can_hold_write_the_table_anew(captured: Shop, monkeypatch: Any) -> None:
    monkeypatch.setattr("medallion.postgres.capture.MERGED_ROWS", 1)
    captured.execute(
        "update thing set name = 'x' where id in (1, 2)",
        "update thing set id = 50 where id = 1",
        "delete from thing where id = 3",
        "insert into pair values (8, 8, 'one change')",
    )
    done = captured.capture()
    assert {name: item.operation for name, item in done.items()} == {"thing": "replace", "pair": "merge"}
    captured.assert_equal()


def test_replica_identity_full_gives_the_same(captured: Shop) -> None:
    captured.execute(
        "alter table thing replica identity full",
        "update thing set name = 'x'",
        "update thing set id = 50 where id = 1",
        "delete from thing where id = 2",
    )
    captured.capture()
    captured.assert_equal()


def test_debians_server_gives_the_same(debian_server: Server, tmp_path: Path) -> None:
    with debian_server.database() as url:
        shop = Shop(url, str(tmp_path / "lake"), {})
        shop.create()
        shop.execute(*ROWS)
        shop.capture()
        shop.execute("update thing set id = id + 10, name = 'x'", "truncate pair", "delete from payment")
        done = shop.capture()
        assert {name: item.operation for name, item in done.items()} == {
            "thing": "merge",
            "pair": "replace",
            "payment": "merge",
        }
        shop.assert_equal()


def test_a_change_is_committed_once_with_its_position(captured: Shop) -> None:
    captured.execute("update thing set name = 'x'", "update thing set name = 'y'")
    done = captured.capture()
    assert done["thing"].metrics["rows_updated"] == 5
    table = captured.store.open(("bronze", DOMAIN, "thing"))
    with connect(DOMAIN, captured.url) as connection:
        oid = connection.query("select 'thing'::regclass::oid::bigint as oid")["oid"][0].as_py()
    position = table.transaction_version(positions_name(captured.slot, oid))
    assert position is not None
    assert position <= captured.state().confirmed
    before = version(captured, "thing")
    assert captured.capture() == {}
    assert version(captured, "thing") == before


def test_changes_that_are_read_again_are_skipped(captured: Shop, capture: Capture, monkeypatch: Any) -> None:
    captured.execute("insert into pair values (5, 5, 'x')")
    monkeypatch.setattr(Slot, "advance", lambda *_: None)
    captured.capture()
    before = version(captured, "pair")
    captured.execute("insert into pair values (6, 6, 'x')")
    batch = capture.read()
    assert batch.spool.tables[capture.published["pair"].oid].rows == 2
    captured.capture()
    assert version(captured, "pair") == before + 1
    captured.assert_equal()


def test_the_slot_waits_for_tables_that_were_not_committed(captured: Shop, capture: Capture) -> None:
    captured.execute("insert into thing (id) values (8)", "insert into pair values (5, 5, 'x')")
    start = capture.slot.state().confirmed
    batch = capture.read()
    follower = captured.follower()
    pair = TABLES["bronze/shop/pair"]
    extract = capture.extract(batch, "pair", pair.contract, captured.store.open(pair.path), NOW)
    assert extract is not None
    follower._publish(pair, extract, NOW, None)
    target = capture.advance(batch)
    assert start <= target < batch.end
    assert set(captured.capture()) == {"thing"}
    captured.assert_equal()


def test_what_a_load_has_already_is_replayed_to_the_same_rows(
    shop: Shop, capture_before_load: Callable[[], None]
) -> None:
    capture_before_load()
    shop.capture()
    shop.assert_equal()


@pytest.fixture
def capture_before_load(shop: Shop, monkeypatch: Any) -> Callable[[], None]:
    """Change all tables after the log was read and before the snapshot that loads them is taken."""

    def load() -> None:
        read = Capture.read

        def and_then_change(self: Capture, limit: int | None = None) -> Any:
            batch = read(self, limit)
            monkeypatch.setattr(Capture, "read", read)
            shop.execute(
                "insert into thing (id, document) values (50, repeat('d', 9000))",
                "update thing set name = 'x' where id = 50",
                "update thing set id = 51 where id = 50",
                "update thing set id = 60 where id = 1",
                "delete from thing where id = 2",
                "truncate pair",
                "insert into pair values (4, 4, 'x')",
                "update payment set paid_at = '2024-04-01' where payment_id = 1",
            )
            return batch

        monkeypatch.setattr(Capture, "read", and_then_change)
        shop.capture()

    return load


def test_a_table_that_is_declared_later_is_loaded_while_the_others_go_on(captured: Shop) -> None:
    captured.execute("create table later (id int primary key, name text)", "insert into later values (1, 'a')")

    def later(source: Source) -> Extract:
        """The table as the source has it."""
        return source.table()

    mirror = bronze(contract=Later, domain=DOMAIN)(later)
    captured.execute("update thing set name = 'x'")
    done = captured.capture(tables={**TABLES, mirror.label: mirror})
    assert {name: item.operation for name, item in done.items()} == {"thing": "merge", "later": "replace"}
    captured.execute("update later set name = 'b'")
    done = captured.capture(tables={**TABLES, mirror.label: mirror})
    assert done["later"].operation == "merge"
    assert captured.bronze("later") == [{"id": 1, "name": "b"}]


def test_a_lost_slot_is_told_and_nothing_is_written_until_a_reload(captured: Shop) -> None:
    before = version(captured, "thing")
    captured.execute(f"select pg_drop_replication_slot('{captured.slot}')", "delete from thing where id = 1")
    with pytest.raises(ChangesLostError, match=r"no slot medallion_shop_.*medallion capture shop --reload"):
        captured.capture()
    assert version(captured, "thing") == before
    assert set(captured.capture(reload=True)) == {"thing", "pair", "payment"}
    captured.assert_equal()
    captured.execute("update thing set name = 'x'")
    assert set(captured.capture()) == {"thing"}
    captured.assert_equal()


def test_a_table_taken_out_of_the_publication_is_told(captured: Shop) -> None:
    captured.execute(f"alter publication {captured.slot} drop table thing", "delete from thing where id = 1")
    with pytest.raises(ChangesLostError, match="does not have these tables any more: changes of thing may be lost"):
        captured.capture()


def test_a_table_that_was_made_again_is_loaded_again(captured: Shop) -> None:
    captured.execute(
        "drop table pair",
        "create table pair (left_id int, right_id int, note text, primary key (left_id, right_id))",
        "insert into pair values (7, 7, 'new')",
    )
    assert captured.capture()["pair"].operation == "replace"
    captured.assert_equal()


def test_a_column_that_the_contract_gains_makes_the_table_load_again(captured: Shop) -> None:
    captured.execute("alter table pair add column more text default 'm'")

    def pair(source: Source) -> Extract:
        """The table as the source has it."""
        return source.table()

    wider = bronze(contract=WiderPair, domain=DOMAIN, schema_evolution="additive")(pair)
    done = captured.capture(tables={**TABLES, wider.label: wider})
    assert done["pair"].operation == "replace"
    assert {row["more"] for row in captured.bronze("pair")} == {"m"}


def test_a_column_that_is_dropped_is_an_error_that_names_it(captured: Shop) -> None:
    captured.execute("alter table pair drop column note", "insert into pair values (8, 8)")
    with pytest.raises(SourceSchemaError, match="table pair: the source has no column note"):
        captured.capture()


def test_columns_that_the_contract_does_not_name_are_left_alone(captured: Shop) -> None:
    captured.execute(
        "insert into pair values (7, 7, 'x')",
        "alter table pair add column more int default 3",
        "insert into pair values (8, 8, 'y')",
    )
    captured.capture()
    captured.assert_equal()


def test_a_value_that_the_contract_cannot_hold_names_its_row_and_writes_nothing(captured: Shop) -> None:
    before = version(captured, "thing")
    captured.execute("insert into thing (id, price) values (77, 'NaN')")
    with pytest.raises(SourceValueError, match=r"table thing, column price: .*the row with id = 77"):
        captured.capture()
    assert version(captured, "thing") == before
    captured.execute("update thing set price = 1 where id = 77")
    captured.capture()
    captured.assert_equal()


def test_a_table_without_a_key_is_refused_before_the_source_would_refuse_its_own_updates(shop: Shop) -> None:
    shop.execute("alter table pair drop constraint pair_pkey")
    with pytest.raises(CaptureError, match=r"tables \['pair'\] have no primary key"):
        shop.capture()
    shop.execute("update pair set note = 'still possible'")
    shop.execute("create unique index on pair (left_id, right_id)", "alter table pair replica identity full")
    shop.capture()
    shop.execute("update pair set note = 'x', left_id = left_id + 10", "delete from pair where right_id = 2")
    shop.capture()
    shop.assert_equal()


def test_a_second_process_is_told_that_one_captures(captured: Shop, monkeypatch: Any) -> None:
    monkeypatch.setattr("medallion.postgres.follow.ENDING_SECONDS", 0.1)
    with (
        captured.follower().opened(),
        pytest.raises(SlotBusyError, match=r"another capture reads slot medallion_shop_\w+ \(session \d+ of"),
    ):
        captured.capture()


def test_lakes_do_not_share_a_slot(captured: Shop, tmp_path: Path) -> None:
    other = Shop(captured.url, str(tmp_path / "other"), {})
    other.capture()
    captured.execute("insert into thing (id) values (9)")
    assert slot_name(DOMAIN, captured.lake) != slot_name(DOMAIN, other.lake)
    assert set(captured.capture()) == set(other.capture()) == {"thing"}
    captured.assert_equal()
    other.assert_equal()


def test_a_materialization_tells_rows_position_and_lag(captured: Shop) -> None:
    instance = dg.DagsterInstance.ephemeral()
    captured.execute("update thing set name = 'x'")
    follower = captured.follower(instance=instance)
    with follower.opened() as capture:
        list(follower.catch_up(capture))
    event = instance.get_latest_materialization_event(dg.AssetKey(["bronze", DOMAIN, "thing"]))
    assert event is not None
    assert event.asset_materialization is not None
    metadata = {name: value.value for name, value in event.asset_materialization.metadata.items()}
    assert metadata["dagster/row_count"] == 5
    assert metadata["source_changes"] == 5
    assert metadata["source_position"] <= captured.state().confirmed
    assert metadata["lag_seconds"] >= 0
    assert metadata["lag_bytes"] > 0


def test_a_table_that_was_undeclared_for_a_while_asks_for_a_reload(captured: Shop) -> None:
    fewer = {label: table for label, table in TABLES.items() if not label.endswith("pair")}
    captured.execute("update pair set note = 'missed'")
    captured.capture(tables=fewer)

    with pytest.raises(ChangesLostError, match=r"does not have these tables any more: changes of pair.*--reload"):
        captured.capture()


def test_changes_of_columns_that_bronze_does_not_take_do_not_hold_the_slot(captured: Shop) -> None:
    captured.execute("update pair set note = note")
    captured.capture()

    confirmed = captured.state().confirmed
    captured.execute("update pair set note = note")
    captured.capture()

    assert captured.state().confirmed > confirmed
