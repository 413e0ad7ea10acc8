"""How the command's process ends: with its exit code, after whatever was registered, and quietly in a closed pipe."""

from __future__ import annotations

import subprocess
import sys

import pytest

ENDING = """
import atexit, sys
atexit.register(print, "in order")
from medallion.cli.app import main
sys.argv = ["medallion", *sys.argv[1:]]
main()
"""


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["tables", "--nothing"], 2)])
def test_what_is_registered_for_the_end_is_done_and_the_exit_code_stays(arguments: list[str], code: int) -> None:
    ended = subprocess.run([sys.executable, "-c", ENDING, *arguments], capture_output=True, text=True, timeout=60)
    assert ended.returncode == code
    assert ended.stdout.endswith("in order\n")


def test_a_reader_that_goes_away_is_no_error() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", ENDING, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    process.wait(60)
