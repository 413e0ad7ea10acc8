"""The jars of Apache Spark: found when they were fetched for these coordinates, else what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from medallion.engine.jars import SparkSetupError, default_folder, fetch, fetched, require_java

PACKAGES = ("io.example:delta:1.0", "io.example:s3:2.0")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder into which `PACKAGES` were resolved."""
    (tmp_path / "jars").mkdir()
    (tmp_path / "jars" / "delta.jar").touch()
    (tmp_path / "packages").write_text(",".join(PACKAGES) + "\ndelta.jar")
    return tmp_path


@pytest.fixture
def java(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Java that says the version that the test writes into `version`."""
    home = tmp_path_factory.mktemp("java")
    (home / "bin").mkdir()
    program = home / "bin" / "java"
    program.write_text(f'#!/bin/sh\ncat "{home}/version" >&2\n')
    program.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(home))
    return home / "version"


def test_jars_that_are_there_need_neither_java_nor_a_repository(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    assert fetch(folder, PACKAGES) == [folder / "jars" / "delta.jar"]


def test_jars_of_other_coordinates_do_not_count(folder: Path) -> None:
    assert fetched(folder, ["io.example:delta:1.1"]) == []


def test_a_jar_that_was_deleted_is_noticed(folder: Path) -> None:
    (folder / "jars" / "delta.jar").unlink()
    assert fetched(folder, PACKAGES) == []


def test_a_missing_java_is_said_with_the_engine_that_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SparkSetupError, match=r"there is no java on the PATH.*openjdk-17.*MEDALLION_ENGINE=sail"):
        require_java()


def test_a_java_home_without_java_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    with pytest.raises(SparkSetupError, match="JAVA_HOME is /nowhere"):
        require_java()


@pytest.mark.parametrize("text", ['openjdk version "17.0.15" 2025-04-15', 'openjdk version "25" 2025-09-16'])
def test_java_17_and_newer_will_do(java: Path, text: str) -> None:
    java.write_text(text)
    require_java()


@pytest.mark.parametrize("text", ['openjdk version "11.0.2" 2019-01-15', 'java version "1.8.0_401"'])
def test_an_old_java_is_refused(java: Path, text: str) -> None:
    java.write_text(text)
    with pytest.raises(SparkSetupError, match=r"needs Java 17 or newer, and .* is 1"):
        require_java()


def test_the_jars_are_in_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert default_folder() == Path("/cache/medallion/jars")


@pytest.mark.spark
@pytest.mark.integration
@pytest.mark.slow
def test_coordinates_that_no_repository_has_are_named_and_the_folder_stays_as_it_was(folder: Path) -> None:
    with pytest.raises(SparkSetupError, match=r"io\.medallion\.nowhere:nothing:1\.0 could not be resolved.*not found"):
        fetch(folder, ["io.medallion.nowhere:nothing:1.0"])
    assert fetched(folder, ["io.medallion.nowhere:nothing:1.0"]) == []
    assert fetched(folder, PACKAGES) == [folder / "jars" / "delta.jar"]
    assert {path.name for path in folder.iterdir()} == {"jars", "packages", "lock"}


@pytest.mark.spark
@pytest.mark.integration
@pytest.mark.slow
def test_jars_of_other_coordinates_take_the_place_of_those_that_were_there(folder: Path) -> None:
    jars = fetch(folder, ["org.wildfly.openssl:wildfly-openssl:2.2.5.Final"])
    assert [jar.name for jar in jars] == ["org.wildfly.openssl_wildfly-openssl-2.2.5.Final.jar"]
    assert fetched(folder, ["org.wildfly.openssl:wildfly-openssl:2.2.5.Final"]) == jars
    assert fetched(folder, PACKAGES) == []
    assert list((folder / "jars").iterdir()) == jars
    assert {path.name for path in folder.iterdir()} == {"jars", "packages", "lock"}
