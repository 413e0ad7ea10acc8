"""A mirror's checks: what is about to be published is what the source had, or it is not published."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandera.pyspark as pa_model
import pyarrow as pa
import pyspark.sql.types as T
import pytest

from medallion.candidate import Candidate
from medallion.delta.publish import publish
from medallion.delta.snapshots import Snapshots
from medallion.delta.store import DeltaStore
from medallion.extract import DELETED, Extract
from medallion.layers import bronze
from medallion.mirrored import Mirrored
from medallion.pipeline import Making
from medallion.tables import DeclarationError, Table
from medallion.verdict import Verdict

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class Bill(Mirrored):
    """A bill."""

    id: T.LongType() = pa_model.Field()
    amount: T.DecimalType(9, 2) = pa_model.Field(nullable=True)

    class Config:
        unique = ["id"]


@bronze(contract=Bill, domain="shop")
def bill(source: Any) -> Extract:
    """Bills."""
    raise NotImplementedError


def extract(mode: str, rows: dict[int, str | None], *, in_source: dict[int, str] | None = None) -> Extract:
    """Rows by id, None for a key that is gone, of a source that holds others besides."""
    merging = mode == "merge"
    columns = {
        "id": pa.array(rows, pa.int64()),
        "amount": pa.array([Decimal(v) if v is not None else None for v in rows.values()], pa.decimal128(9, 2)),
        "_ingested_at": pa.array([NOW] * len(rows), pa.timestamp("us", "UTC")),
        "_lsn": pa.array([1] * len(rows), pa.int64()),
        **({DELETED: pa.array([v is None for v in rows.values()])} if merging else {}),
    }
    told = in_source if in_source is not None else {key: v for key, v in rows.items() if v is not None}
    total = sum((Decimal(v) for v in told.values()), Decimal(0))
    return Extract(pa.table(columns).to_reader(), mode, len(told), {"amount": total})


@pytest.fixture
def make(tmp_path: Path) -> Any:
    """Make the table from an extract, without Dagster and without an engine; gives the failed checks."""
    store = DeltaStore(str(tmp_path))
    storage: Any = SimpleNamespace(store=store, snapshots=Snapshots(store.root), engine=None)

    def run(given: Extract) -> dict[str, Any]:
        storage.snapshots.forget(bill.path)
        making = Making(
            table=bill,
            tables={bill.label: bill},
            storage=storage,
            keys=(),
            input_keys=lambda _: [],
            made=lambda _: (),
            run_id="run",
            root_run_id="run",
            started=NOW,
        )
        failed: dict[str, Any] = {}
        for event in making.run({}, given):
            if isinstance(event, Verdict):
                failed = {r.name: dict(r.finding.metadata) for r in event.rulings if not r.finding.passed}
            elif not hasattr(event, "check_name"):
                candidate: Candidate = event.value
                publish(candidate.write)
        return failed

    def amounts() -> dict[int, Decimal]:
        rows = pa.table(store.open(bill.path).scan(columns=["id", "amount"]).read_all())
        return dict(zip(rows["id"].to_pylist(), rows["amount"].to_pylist(), strict=True))

    return SimpleNamespace(run=run, amounts=amounts, store=store)


def test_all_rows_then_changes_make_what_the_source_has(make: Any) -> None:
    assert make.run(extract("replace", {1: "1.10", 2: "2.20", 3: "3.30"})) == {}
    assert make.run(extract("merge", {1: None, 2: "2.50"}, in_source={2: "2.50", 3: "3.30"})) == {}

    assert make.amounts() == {2: Decimal("2.50"), 3: Decimal("3.30")}


def test_a_row_that_an_extract_missed_blocks_it(make: Any) -> None:
    make.run(extract("replace", {1: "1.00"}))

    failed = make.run(extract("merge", {2: "2.00"}, in_source={1: "1.00", 2: "2.00", 3: "0.00"}))

    assert failed == {"rows_match_source": {"rows": 2, "rows_in_source": 3}}
    assert make.amounts() == {1: Decimal("1.00")}


def test_a_change_that_an_extract_missed_blocks_it(make: Any) -> None:
    make.run(extract("replace", {1: "1.00"}))

    failed = make.run(extract("merge", {2: "2.00"}, in_source={1: "1.01", 2: "2.00"}))

    assert failed == {"totals_match_source": {"amount": "3.00", "amount_in_source": "3.01"}}
    assert make.amounts() == {1: Decimal("1.00")}


def test_rows_that_share_a_key_block_an_extract(make: Any) -> None:
    rows = extract("replace", {1: "1.00"})
    table = rows.batches.read_all()
    twice = Extract(pa.concat_tables([table, table]).to_reader(), "replace", 2, {"amount": Decimal("2.00")})

    assert make.run(twice) == {"key_is_unique": {"repeated_keys": 1}}
    assert make.store.find(bill.path) is None


def test_captured_changes_are_not_compared_with_a_source_that_moves_on(make: Any) -> None:
    make.run(extract("replace", {1: "1.00"}))
    captured = extract("merge", {2: "2.00"})
    captured.rows_in_source = None

    assert make.run(captured) == {}
    assert make.amounts() == {1: Decimal("1.00"), 2: Decimal("2.00")}


def test_a_mirror_without_a_key_can_not_be_declared() -> None:
    class Keyless(Mirrored):
        """No key."""

        id: T.LongType() = pa_model.Field(nullable=True)

    with pytest.raises(DeclarationError, match="name the source's primary key in"):
        bronze(contract=Keyless, domain="shop")(lambda source: source)


def test_a_mirror_with_rules_of_its_own_can_not_be_declared() -> None:
    class Ruled(Bill):
        """A rule."""

        amount: T.DecimalType(9, 2) = pa_model.Field(ge=0, nullable=True)

    with pytest.raises(DeclarationError, match=r"rules \['amount_ge'\].*put the rules into silver"):
        bronze(contract=Ruled, domain="shop")(lambda source: source)


def test_event_time_names_a_column_of_the_contract() -> None:
    with pytest.raises(DeclarationError, match="event_time 'billed' is no column"):
        bronze(contract=Bill, domain="shop", event_time="billed")(lambda source: source)


def test_event_time_is_for_mirrors() -> None:
    def parsed(raw_bill: Any) -> Any:
        return raw_bill

    with pytest.raises(DeclarationError, match="event_time is for tables that read a database"):
        Table("silver", "shop", "parsed", parsed, Bill, {}, event_time="amount").validate()
