"""DAGSTER_HOME is generated once, kept up to date, and left alone as soon as somebody edits it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from medallion.instance import home as home_module
from medallion.instance.event_log import PooledSqliteEventLogStorage
from medallion.instance.home import dagster_home, ensure_home, open_instance, run_environment


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set and delete, so that monkeypatch restores whatever open_instance leaves."""
    for name in ("DAGSTER_HOME", "DAGSTER_EVENT_BATCH_SIZE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_a_home_is_created_with_the_settings_that_the_platform_needs(tmp_path: Path) -> None:
    folder = ensure_home(tmp_path / "new home: with 'signs'")
    settings = yaml.safe_load((folder / "dagster.yaml").read_text())

    assert folder == tmp_path / "new home: with 'signs'" / "dagster"
    assert settings["telemetry"] == settings["nux"] == {"enabled": False}
    assert settings["concurrency"]["pools"] == {"default_limit": 1, "granularity": "op"}
    assert settings["event_log_storage"]["config"] == {"base_dir": str(folder / "history" / "runs")}


def test_an_existing_home_is_not_written_again(tmp_path: Path) -> None:
    path = ensure_home(tmp_path) / "dagster.yaml"
    before = path.stat()
    ensure_home(tmp_path)

    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert [file.name for file in path.parent.iterdir()] == ["dagster.yaml"]


def test_an_outdated_file_of_ours_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    current = home_module._YAML
    monkeypatch.setattr(home_module, "_YAML", "telemetry: {{enabled: false}}\n")
    ensure_home(tmp_path)
    monkeypatch.setattr(home_module, "_YAML", current)
    path = ensure_home(tmp_path) / "dagster.yaml"

    assert "run_queue" in path.read_text()


def test_a_moved_home_gets_paths_of_its_new_place(tmp_path: Path) -> None:
    ensure_home(tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")

    assert str(tmp_path / "old") not in (ensure_home(tmp_path / "new") / "dagster.yaml").read_text()


@pytest.mark.parametrize("edit", [lambda text: text + "# mine\n", lambda text: "telemetry: {enabled: false}\n"])
def test_a_file_that_somebody_edited_stays(tmp_path: Path, edit) -> None:
    path = ensure_home(tmp_path) / "dagster.yaml"
    path.write_text(edit(path.read_text()))
    before = path.read_text()
    ensure_home(tmp_path)

    assert path.read_text() == before


def test_the_instance_of_a_home_uses_our_event_log_and_settings(tmp_path: Path) -> None:
    with open_instance(tmp_path) as instance:
        assert isinstance(instance.event_log_storage, PooledSqliteEventLogStorage)
        assert instance.root_directory == str(dagster_home(tmp_path))
        assert instance.run_coordinator.dequeue_interval_seconds == 1
        assert instance.run_retries_enabled
        assert instance.run_retries_max_retries == 0
        assert not instance.telemetry_enabled

    assert os.environ["DAGSTER_HOME"] == str(dagster_home(tmp_path))
    assert os.environ["DAGSTER_EVENT_BATCH_SIZE"] == "200"


def test_a_chosen_batch_size_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "7")

    assert run_environment(tmp_path)["DAGSTER_EVENT_BATCH_SIZE"] == "7"


def test_child_processes_share_the_home_and_may_write_byte_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.chdir(tmp_path)
    environment = run_environment(Path("relative"))

    assert environment["DAGSTER_HOME"] == str(tmp_path / "relative" / "dagster")
    assert environment["MEDALLION_HOME"] == str(tmp_path / "relative")
    assert "PYTHONDONTWRITEBYTECODE" not in environment
