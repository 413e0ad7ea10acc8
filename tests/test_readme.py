"""The README's example of a new domain, executed as it stands there."""

import importlib
import re
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from medallion.delta.store import DeltaStore
from medallion.domains import declared_tables
from medallion.graph import build_assets
from medallion.quarantine import quarantine_path
from medallion.settings import Settings
from resources import build_resources

README = Path(__file__).parents[1] / "README.md"


@pytest.fixture
def example() -> str:
    return next(block for block in re.findall(r"```python\n(.*?)```", README.read_text(), re.S) if "@silver" in block)


def test_the_example_has_fewer_than_40_lines(example: str) -> None:
    assert len(example.splitlines()) < 40


def test_the_example_makes_its_tables(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    domain = tmp_path / "readme_assets" / "support"
    domain.mkdir(parents=True)
    (domain.parent / "__init__.py").touch()
    (domain / "__init__.py").touch()
    for name, code in re.findall(r"# assets/support/(\w+\.py)\n(.*?)(?=# assets/|\Z)", example, re.S):
        (domain / name).write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
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
