"""The domains of a project, and what is said when there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from medallion.domains import DomainError, domain_module, domain_names


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to run from; what it holds can be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def package(folder: Path, text: str = "") -> None:
    folder.mkdir()
    (folder / "__init__.py").write_text(text)


def test_domains_are_the_packages_by_name(project: Path) -> None:
    for name in ("places_a", "places_a/web", "places_a/shop"):
        package(project / name)
    (project / "places_a" / "notes.py").write_text("")

    assert domain_names("places_a") == ["shop", "web"]


def test_outside_of_a_project_the_error_says_where_it_looked_and_what_to_do(project: Path) -> None:
    with pytest.raises(DomainError) as caught:
        domain_names("places_b.inner")

    assert f"There is no package 'places_b.inner' in {project}" in str(caught.value)
    assert "set MEDALLION_DOMAINS" in str(caught.value)


def test_a_module_that_a_project_lacks_is_no_missing_project(project: Path) -> None:
    package(project / "places_c", "import places_that_are_not_installed")

    with pytest.raises(ModuleNotFoundError, match="places_that_are_not_installed"):
        domain_names("places_c")


def test_a_file_is_no_package_of_domains(project: Path) -> None:
    (project / "places_d.py").write_text("")

    with pytest.raises(DomainError, match=r"places_d\.py, not a package of domains"):
        domain_names("places_d")


def test_a_domain_that_lacks_a_part_is_named(project: Path) -> None:
    package(project / "places_e")
    package(project / "places_e" / "shop")

    with pytest.raises(DomainError, match="domain 'shop' has no synthetic module"):
        domain_module("places_e", "shop", "synthetic")
