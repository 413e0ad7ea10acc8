"""What a domain's `generate` declares by its parameters, and that the command offers just that."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from medallion.domains import DomainError
from medallion.synthetic import synthetic_domains, synthetic_of

FILES = '''
def generate(target, orders=6, seed=1, progress=None):
    """Write orders.

    More of it."""
'''
DATABASE = '''
def generate(url, rentals: int = 9, seed: int = 1, progress=None):
    """Fill a database."""
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Makes a package of domains: name -> text of its synthetic module."""
    monkeypatch.syspath_prepend(tmp_path)
    root = tmp_path / "made_up_domains"

    def make(**domains: str | None) -> str:
        for name, text in domains.items():
            (root / name).mkdir(parents=True)
            for folder in (root, root / name):
                (folder / "__init__.py").touch()
            if text is not None:
                (root / name / "synthetic.py").write_text(text)
        return root.name

    yield make
    for name in [name for name in sys.modules if name.partition(".")[0] == root.name]:
        del sys.modules[name]


def test_the_first_parameter_says_what_is_made_and_the_other_how_much(package: Callable[..., str]) -> None:
    domains = package(shop=FILES, films=DATABASE, bare=None)

    assert synthetic_domains(domains) == ["films", "shop"]
    shop, films = synthetic_of(domains, "shop"), synthetic_of(domains, "films")
    assert (shop.makes, shop.size, shop.default, shop.summary) == ("files", "orders", 6, "Write orders.")
    assert (films.makes, films.size, films.default, films.summary) == ("database", "rentals", 9, "Fill a database.")


@pytest.mark.parametrize(
    "parameters",
    ["", "where, orders=1, seed=1", "target, seed=1", "url, orders=1, lines=2", "target, orders, seed=1"],
)
def test_a_generate_of_another_shape_is_refused_with_the_right_one(
    package: Callable[..., str], parameters: str
) -> None:
    domains = package(shop=f"def generate({parameters}): ...")
    with pytest.raises(DomainError, match=r"declare it as generate\(target, SIZE=number, seed=1, progress=None\)"):
        synthetic_of(domains, "shop")


def test_the_command_offers_the_options_of_the_domain(
    package: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from medallion.cli.app import app

    monkeypatch.setenv("MEDALLION_DOMAINS", package(shop=FILES, films=DATABASE))
    monkeypatch.setenv("COLUMNS", "120")

    def told(*arguments: str) -> str:
        return CliRunner().invoke(app, ["generate", *arguments]).output

    assert "films" in told("--help")
    assert "Write orders." in told("--help")
    assert "--orders" in told("shop", "--help")
    assert "--out" in told("shop", "--help")
    assert "--rentals" in told("films", "--help")
    assert "--out" not in told("films", "--help")
    assert "No such option" in told("films", "--orders", "3")
    assert "there is no domain 'nothing'; there are ['films', 'shop']" in told("nothing")
