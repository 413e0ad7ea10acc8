"""What a bronze table takes from its table of the source: everything, or what changed since."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandera.pyspark as pp
import pyarrow as pa
import pyspark.sql.types as T
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from medallion.contracts import Contract
from medallion.delta.store import scan
from medallion.extract import DELETED, Extract
from medallion.mirrored import Mirrored
from medallion.postgres.connection import Connection, connect
from medallion.postgres.database import Database
from medallion.postgres.errors import SourceError, SourceSchemaError, SourceUnavailableError, SourceValueError
from medallion.postgres.source import Source
from tests.fixtures.postgres import PASSWORD, Server

STARTED = dt.datetime(2022, 6, 1, 12, tzinfo=dt.UTC)
NOON = dt.datetime(2022, 5, 1, 12, tzinfo=dt.UTC)


class Rental(Mirrored):
    """A rental."""

    rental_id: T.IntegerType() = pp.Field()
    store: T.StringType() = pp.Field()
    amount: T.DecimalType(5, 2) = pp.Field(nullable=True)
    tags: T.ArrayType(T.StringType()) = pp.Field(nullable=True)
    last_update: T.TimestampType() = pp.Field(nullable=True)

    class Config:
        unique = ["rental_id", "store"]


class RentalWithNote(Rental):
    """A rental after its contract got another column."""

    note: T.StringType() = pp.Field(nullable=True)


CONTRACT, WIDER = Contract.of(Rental), Contract.of(RentalWithNote)


class Mirror:
    """A source table and its bronze table, kept by what extraction gives."""

    def __init__(self, postgres: Connection, url: str, folder: Path) -> None:
        self.postgres, self.url, self.folder = postgres, url, folder
        postgres.execute("drop table if exists rental")
        postgres.execute(
            "create table rental (rental_id int, store text, amount numeric(5,2), tags text[], note text, "
            "last_update timestamptz, primary key (rental_id, store))"
        )

    @property
    def current(self) -> DeltaTable | None:
        return DeltaTable(self.folder) if (self.folder / "_delta_log").exists() else None

    def put(
        self, number: int, at: dt.datetime | None, amount: str = "1.00", tags: str = "{a,NULL}", store: str = "x"
    ) -> None:
        moment = "null" if at is None else f"'{at.isoformat()}'"
        self.postgres.execute(
            f"insert into rental values ({number}, '{store}', {amount}, '{tags}', 'n', {moment}) on conflict "
            "(rental_id, store) do update set (amount, tags, last_update) = "
            "(excluded.amount, excluded.tags, excluded.last_update)"
        )

    def delete(self, number: int) -> None:
        self.postgres.execute(f"delete from rental where rental_id = {number}")

    def extract(self, contract: Contract = CONTRACT, **options: Any) -> tuple[Extract, pa.Table]:
        with Database("shop", self.url) as database:
            found = Source(database, "rental", contract, self.current, STARTED).table(**options)
            return found, found.batches.read_all()

    def update(self, **options: Any) -> dict[int, bool]:
        """Bring bronze up to date; the keys that were given, with whether they were deleted."""
        extract, rows = self.extract(**options)
        if extract.mode == "replace":
            kept = {(row["rental_id"], row["store"]): row for row in rows.to_pylist()}
            given = {key[0]: False for key in kept}
        else:
            kept = {(row["rental_id"], row["store"]): row for row in self.bronze()}
            given = {}
            for row in rows.to_pylist():
                key, gone = (row["rental_id"], row["store"]), row.pop(DELETED)
                assert key[0] not in given, "a key came twice"
                given[key[0]] = gone
                kept = {**{other: held for other, held in kept.items() if other != key}, **({} if gone else {key: row})}
        schema = pa.schema(CONTRACT.delta_schema())
        write_deltalake(self.folder, pa.Table.from_pylist(list(kept.values()), schema=schema), mode="overwrite")
        return given

    def bronze(self) -> list[dict[str, Any]]:
        table = self.current
        return [] if table is None else scan(table).read_all().to_pylist()

    def values(self) -> list[tuple[Any, ...]]:
        names = ["rental_id", "store", "amount", "tags", "last_update"]
        return sorted(tuple(row[name] for name in names) for row in self.bronze())

    def source_values(self) -> list[tuple[Any, ...]]:
        found = self.postgres.query(
            "select rental_id, store, amount::text as amount, tags, last_update from rental order by rental_id"
        ).to_pylist()
        return [tuple(Decimal(row[n]) if n == "amount" and row[n] else row[n] for n in row) for row in found]


@pytest.fixture(scope="module")
def postgres_url(postgres_server: Server) -> Iterator[str]:
    with postgres_server.database() as url:
        yield url


@pytest.fixture
def mirror(postgres: Connection, postgres_url: str, tmp_path: Path) -> Mirror:
    return Mirror(postgres, postgres_url, tmp_path / "bronze")


def test_the_first_run_takes_every_row_and_says_what_the_source_held(mirror: Mirror) -> None:
    for number in range(3):
        mirror.put(number, NOON)
    extract, rows = mirror.extract(watermark="last_update")
    assert extract.mode == "replace"
    assert (extract.rows_in_source, extract.sums_in_source) == (3, {"amount": Decimal("3.00")})
    assert rows.schema.names == list(CONTRACT.column_names)
    assert rows.schema.types == pa.schema(CONTRACT.delta_schema()).types
    assert rows.to_pylist()[0] == {
        "_ingested_at": STARTED,
        "_lsn": extract.metadata["source_position"],
        "rental_id": 0,
        "store": "x",
        "amount": Decimal("1.00"),
        "tags": ["a", None],
        "last_update": NOON,
    }
    assert extract.metadata["columns_not_taken"] == ["note"]


def test_an_empty_table_is_an_empty_extract(mirror: Mirror) -> None:
    extract, rows = mirror.extract(watermark="last_update")
    assert (extract.mode, rows.num_rows, extract.rows_in_source) == ("replace", 0, 0)
    assert extract.sums_in_source == {"amount": Decimal(0)}


@pytest.mark.parametrize("options", [{}, {"watermark": "last_update"}, {"watermark": "last_update", "deletes": False}])
def test_a_source_that_did_not_change_gives_no_rows(mirror: Mirror, options: dict[str, Any]) -> None:
    for number in range(3):
        mirror.put(number, NOON)
    mirror.put(4, None, "null")
    mirror.update(**options)
    extract, rows = mirror.extract(**options)
    assert (extract.mode, rows.num_rows) == ("merge", 0)
    assert rows.schema.names == [*CONTRACT.column_names, DELETED]


@pytest.mark.parametrize("options", [{}, {"watermark": "last_update"}])
def test_new_changed_and_deleted_rows_are_given_once_each(mirror: Mirror, options: dict[str, Any]) -> None:
    for number in range(6):
        mirror.put(number, NOON - dt.timedelta(hours=number))
    mirror.update(**options)
    mirror.put(1, NOON + dt.timedelta(minutes=1), "9.99")
    mirror.put(7, NOON + dt.timedelta(minutes=2))
    mirror.delete(2)
    assert mirror.update(**options) == {1: False, 7: False, 2: True}
    assert mirror.values() == mirror.source_values()
    assert mirror.update(**options) == {}


def test_a_row_that_was_committed_long_after_its_watermark_is_given(mirror: Mirror) -> None:
    mirror.put(1, NOON)
    mirror.put(2, NOON)
    mirror.update(watermark="last_update")
    mirror.put(3, NOON - dt.timedelta(days=9))
    mirror.put(2, NOON - dt.timedelta(days=8), "5.00")
    assert mirror.update(watermark="last_update") == {3: False, 2: False}
    assert mirror.values() == mirror.source_values()


def test_a_change_within_the_overlap_is_given_though_its_watermark_is_the_same(mirror: Mirror) -> None:
    mirror.put(1, NOON - dt.timedelta(minutes=9))
    mirror.put(2, NOON)
    mirror.update(watermark="last_update")
    mirror.put(1, NOON - dt.timedelta(minutes=9), "5.00")
    assert mirror.update(watermark="last_update", overlap=dt.timedelta(minutes=5)) == {}
    assert mirror.update(watermark="last_update") == {1: False}


def test_a_row_without_a_watermark_is_always_looked_at(mirror: Mirror) -> None:
    mirror.put(1, None)
    mirror.put(2, NOON)
    mirror.update(watermark="last_update")
    mirror.put(1, None, "5.00")
    assert mirror.update(watermark="last_update") == {1: False}


def test_a_watermark_in_the_future_hides_no_change(mirror: Mirror) -> None:
    now = dt.datetime.now(dt.UTC)
    mirror.put(1, now + dt.timedelta(days=9999))
    mirror.update(watermark="last_update", deletes=False)
    mirror.put(2, now)
    assert mirror.update(watermark="last_update", deletes=False) == {2: False}


def test_without_deletes_rows_stay_and_totals_are_not_compared(mirror: Mirror) -> None:
    mirror.put(1, NOON)
    mirror.put(2, NOON)
    mirror.update(watermark="last_update")
    mirror.delete(1)
    extract, rows = mirror.extract(watermark="last_update", deletes=False)
    assert rows.num_rows == 0
    assert (extract.rows_in_source, extract.sums_in_source) == (None, {})


def test_a_contract_with_another_column_takes_every_row_again(mirror: Mirror) -> None:
    mirror.put(1, NOON)
    mirror.update()
    extract, rows = mirror.extract(WIDER)
    assert (extract.mode, rows.column("note").to_pylist()) == ("replace", ["n"])


def test_a_bronze_table_with_its_columns_in_another_order_is_still_compared(mirror: Mirror) -> None:
    mirror.put(1, NOON)
    _, rows = mirror.extract()
    write_deltalake(mirror.folder, rows.select(list(reversed(rows.schema.names))))
    extract, rows = mirror.extract(watermark="last_update")
    assert (extract.mode, rows.num_rows) == ("merge", 0)


def test_many_late_keys_are_asked_for_in_parts(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medallion.postgres.update._KEYS_AT_ONCE", 7)
    mirror.put(0, NOON)
    mirror.update(watermark="last_update")
    mirror.postgres.execute(
        "insert into rental select x, 'it''s \"odd\", {NULL} \\ ', 1, '{}', 'n', '2000-01-01' "
        "from generate_series(1, 30) as x"
    )
    assert set(mirror.update(watermark="last_update")) == set(range(1, 31))
    assert mirror.values() == mirror.source_values()


_MOMENT = st.sampled_from([None, *(NOON + dt.timedelta(minutes=7 * step) for step in range(-4, 5))])
_CHANGE = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 6), _MOMENT, st.sampled_from(["1.00", "2.00", "null"])),
    st.tuples(st.just("delete"), st.integers(0, 6)),
    st.tuples(st.just("update")),
)


@settings(max_examples=8, deadline=None)
@given(changes=st.lists(_CHANGE, max_size=12), watermarked=st.booleans())
def test_bronze_equals_the_source_whatever_happened(
    session_mirror: Mirror, tmp_path_factory: pytest.TempPathFactory, changes: list[Any], watermarked: bool
) -> None:
    session_mirror.folder = tmp_path_factory.mktemp("bronze")
    session_mirror.postgres.execute("truncate rental")
    # A change is a new watermark: without one, a change outside of the overlap is not to be seen.
    options: dict[str, Any] = {"watermark": "last_update", "overlap": dt.timedelta(days=1)} if watermarked else {}
    for name, *arguments in [*changes, ("update",)]:
        getattr(session_mirror, name)(*arguments, **(options if name == "update" else {}))
    assert session_mirror.values() == session_mirror.source_values()
    assert session_mirror.update(**options) == {}


@pytest.fixture(scope="module")
def session_mirror(postgres_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    with postgres_server.database() as url, connect("test", url) as connection:
        yield Mirror(connection, url, tmp_path_factory.mktemp("bronze"))


def test_another_name_of_the_table_can_be_given(mirror: Mirror) -> None:
    mirror.put(1, NOON)
    with Database("shop", mirror.url) as database:
        extract = Source(database, "lease", CONTRACT, None, STARTED).table("public.rental")
        assert extract.batches.read_all().num_rows == 1


def test_a_missing_table_is_an_error_before_anything_is_read(mirror: Mirror) -> None:
    mirror.postgres.execute("drop table rental")
    with pytest.raises(SourceSchemaError, match="shop: there is no table 'rental' in its database"):
        mirror.extract()


def test_a_dropped_column_is_named_with_the_contract(mirror: Mirror) -> None:
    mirror.postgres.execute("alter table rental drop column amount")
    with pytest.raises(SourceSchemaError, match="table rental: the source has no column amount, which contract Rental"):
        mirror.extract()


def test_a_column_that_got_another_type_is_named_with_both(mirror: Mirror) -> None:
    mirror.postgres.execute("alter table rental alter column amount type double precision")
    with pytest.raises(SourceSchemaError, match=r"table rental: amount is double precision, not decimal128\(5, 2\)"):
        mirror.extract()


def test_a_missing_right_is_named_with_the_table(mirror: Mirror, postgres_server: Server) -> None:
    name = mirror.postgres.query("select current_database()::text as name").column("name")[0].as_py()
    mirror.url = postgres_server.locked_url(name, PASSWORD.replace("+", "%2B"))
    with pytest.raises(SourceSchemaError, match="table rental: permission denied for table rental; grant it"):
        mirror.extract()


def test_rows_that_a_policy_hides_are_not_taken_for_deleted(mirror: Mirror, postgres_server: Server) -> None:
    mirror.put(1, NOON)
    mirror.update()
    mirror.postgres.execute("alter table rental enable row level security")
    mirror.postgres.execute("grant select on rental to public")
    name = mirror.postgres.query("select current_database()::text as name").column("name")[0].as_py()
    mirror.url = postgres_server.locked_url(name, PASSWORD.replace("+", "%2B"))
    with pytest.raises(SourceSchemaError, match=r"row-level security policy .* would be taken for deleted"):
        mirror.extract()


def test_a_watermark_has_to_be_a_time_that_the_contract_has(mirror: Mirror) -> None:
    with pytest.raises(SourceSchemaError, match="watermark 'rental_id' is integer; name a date or timestamp"):
        mirror.extract(watermark="rental_id")
    with pytest.raises(SourceSchemaError, match="watermark 'note' is no column of its contract"):
        mirror.extract(watermark="note")


def test_a_value_that_does_not_fit_is_refused_with_column_and_key(mirror: Mirror) -> None:
    mirror.put(1, NOON)
    mirror.put(2, NOON, "'NaN'")
    with pytest.raises(SourceValueError, match=r"column amount: the value .* in the row with rental_id = 2, store = x"):
        mirror.extract()


def test_a_connection_that_is_lost_between_the_batches_is_told_as_such(mirror: Mirror) -> None:
    mirror.postgres.execute(
        "insert into rental select x, repeat('x', 300), 1, '{a}', 'n', now() from generate_series(1, 90000) as x"
    )
    with Database("shop", mirror.url) as database:
        extract = Source(database, "rental", CONTRACT, None, STARTED).table()
        assert extract.batches.read_next_batch().num_rows
        mirror.postgres.query(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where datname = current_database() and pid <> pg_backend_pid()"
        )
        with pytest.raises(SourceUnavailableError, match="shop, table rental: the connection was lost"):
            extract.batches.read_all()


def test_what_stops_a_comparison_is_told_as_the_source_told_it(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror.put(1, NOON)
    mirror.update()
    mirror.postgres.execute("insert into rental select x, 'y', 1, '{a}', 'n', now() from generate_series(1, 9) as x")
    with Database("shop", mirror.url) as database:
        extract = Source(database, "rental", CONTRACT, mirror.current, STARTED).table()

        def broken(*_: Any) -> Iterator[Any]:
            raise SourceError("the server is gone")
            yield

        monkeypatch.setattr(database, "stream", broken)
        with pytest.raises(SourceError, match="the server is gone"):
            extract.batches.read_all()


def test_keys_that_did_not_all_arrive_delete_nothing(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror.put(1, NOON)
    mirror.put(2, NOON)
    mirror.update()
    monkeypatch.setattr(Database, "stream", lambda *_: iter(()))
    with pytest.raises(SourceError, match="table rental: it has 2 rows, but 0 of their keys arrived"):
        mirror.extract()
