"""The entry point of a container gives way to the command, which finds the instance of the home."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path


def launched(home: Path, *command: str, **options: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "MEDALLION_HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1", **options}
    return subprocess.run(
        [sys.executable, "-m", "medallion.instance.launch", *command],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_command_is_executed_in_place_with_the_environment_of_the_home(tmp_path: Path) -> None:
    script = "echo $DAGSTER_HOME $DAGSTER_EVENT_BATCH_SIZE ${PYTHONDONTWRITEBYTECODE-may write}; kill -s TERM $$"
    done = launched(tmp_path, "/bin/sh", "-c", script)

    assert done.stdout.split(maxsplit=2) == [str(tmp_path / "dagster"), "200", "may write\n"]
    assert (tmp_path / "dagster" / "dagster.yaml").exists()
    # It was killed itself, and not a child of something that goes on.
    assert done.returncode == -signal.SIGTERM


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = launched(tmp_path, "no-such-program")

    assert done.returncode == 1
    assert "there is no program no-such-program in" in done.stderr


def test_without_a_command_it_says_how_it_is_used(tmp_path: Path) -> None:
    assert launched(tmp_path).stderr.startswith("usage: python -m medallion.instance.launch COMMAND")
