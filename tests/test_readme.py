"""The examples of the documentation, executed as they stand there."""

import importlib
import re
from decimal import Decimal
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from medallion.delta.store import DeltaStore
from medallion.domains import declared_tables
from medallion.graph import build_assets
from medallion.postgres.connection import Connection
from medallion.quarantine import quarantine_path
from medallion.settings import Settings
from resources import build_resources

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"


@pytest.fixture
def example() -> str:
    return next(block for block in re.findall(r"```python\n(.*?)```", README.read_text(), re.S) if "@silver" in block)


def test_the_example_has_fewer_than_40_lines(example: str) -> None:
    assert len(example.splitlines()) < 40


def test_the_example_makes_its_tables(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(example, tmp_path / "readme_assets", monkeypatch)
    landed = tmp_path / "home" / "landing" / "support" / "tickets" / "snapshot"
    landed.mkdir(parents=True)
    (landed / "tickets.csv").write_text(
        "id,opened,status\n1,2026-01-02 03:04:05,open\n2,2026-01-03 00:00:00,lost\n1,2026-01-02 03:04:05,closed\n"
    )

    assets = build_assets(declared_tables("readme_assets"))
    result = dg.materialize(assets, resources=build_resources(Settings(home=tmp_path / "home")))

    assert result.success
    store = DeltaStore(str(tmp_path / "home" / "lake"))
    tickets = pa.table(store.open(("silver", "support", "tickets")).scan(columns=["id", "status"])).to_pylist()
    assert tickets == [{"id": 1, "status": "closed"}]
    rejected = pa.table(store.open(quarantine_path(("silver", "support", "tickets"))).scan()).to_pylist()
    assert [row["rules"] for row in rejected] == [["status_isin"]]
    assert '"status":"lost"' in rejected[0]["raw"]


def test_a_table_of_a_database_takes_a_contract_and_one_declaration(
    postgres: Connection, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "docs" / "adding-a-source.md").read_text()
    (example,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.S) if "Mirrored" in block]
    declare(example, tmp_path / "documented_assets", monkeypatch)
    monkeypatch.setenv("SHOP_URL", postgres_url)
    postgres.execute(
        "create table payment (payment_id bigint primary key, amount numeric(9, 2), paid_at timestamptz, "
        "changed_at timestamptz)"
    )
    postgres.execute("insert into payment values (1, 1.10, now(), now()), (2, 2.20, now(), now())")

    assets = build_assets(declared_tables("documented_assets"))
    result = dg.materialize(assets, resources=build_resources(Settings(home=tmp_path / "home")))

    assert result.success
    payments = DeltaStore(str(tmp_path / "home" / "lake")).open(("bronze", "shop", "payment"))
    assert sorted(pa.table(payments.scan(columns=["amount"]))["amount"].to_pylist()) == [
        Decimal("1.10"),
        Decimal("2.20"),
    ]


def declare(example: str, package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write an example's modules, each of which begins with its path, below a package that can be imported."""
    for domain, name, code in re.findall(r"# assets/(\w+)/(\w+\.py)\n(.*?)(?=# assets/|\Z)", example, re.S):
        folder = package / domain
        folder.mkdir(parents=True, exist_ok=True)
        for module in (package, folder):
            (module / "__init__.py").touch()
        (folder / name).write_text(code)
    monkeypatch.syspath_prepend(str(package.parent))
    importlib.invalidate_caches()
