"""The server of a medallion home, and the resource that finds a domain's database."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from medallion.postgres.connection import connect
from medallion.postgres.embedded import data_folder, embedded_url, is_created
from medallion.postgres.errors import SourceUnavailableError
from medallion.postgres.resource import Databases

_ROOT = Path(__file__).parents[2]
_USE = """
import sys, time
from pathlib import Path
from medallion.postgres.embedded import create
print(create(Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


def use(home: Path) -> subprocess.Popen[str]:
    """A process that uses the server of a home until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _USE, str(home)],
        env={**os.environ, "PYTHONPATH": str(_ROOT / "platform")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("postgresql://")
    return process


def end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    process.wait(timeout=60)


def runs(home: Path) -> bool:
    return (data_folder(home) / "postmaster.pid").exists()


@pytest.fixture
def home() -> Iterator[Path]:
    """A home with a short path, as a socket's has to be."""
    folder = Path(tempfile.mkdtemp(prefix="medallion-home-"))
    yield folder
    shutil.rmtree(folder)


def test_a_home_without_a_server_has_no_url(home: Path) -> None:
    assert embedded_url(home) is None
    assert not is_created(home)
    assert list(home.iterdir()) == []


@pytest.mark.slow
def test_the_server_stops_with_the_last_process_that_uses_it_even_if_another_was_killed(home: Path) -> None:
    first = use(home)
    second = use(home)
    assert is_created(home)
    end(first)
    assert runs(home)
    second.send_signal(signal.SIGKILL)
    second.wait(timeout=60)
    assert runs(home)
    third = use(home)
    end(third)
    deadline = time.monotonic() + 60
    while runs(home) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not runs(home)


@pytest.mark.slow
def test_the_server_keeps_what_capture_needs_and_its_data(home: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from medallion.postgres.embedded import create, embedded_url\n"
        "from medallion.postgres.connection import connect\n"
        "connection = connect('shop', create(Path(sys.argv[1])))\n"
        "print(connection.query(\"select current_setting('wal_level') as level\").column('level')[0].as_py())\n"
        "connection.execute('create table if not exists kept (id int)')\n"
        "connection.execute('insert into kept values (1)')\n"
        "print(connection.query('select count(*)::int4 as rows from kept').column('rows')[0].as_py())\n"
    )
    told = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script, str(home)],
            env={**os.environ, "PYTHONPATH": str(_ROOT / "platform")},
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout.split()
        for _ in range(2)
    ]
    assert told == [["logical", "1"], ["logical", "2"]]


def test_a_run_has_one_database_which_is_closed_when_it_ends(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SHOP_URL", postgres_url)
    seen = []

    @dg.asset
    def first(databases: Databases) -> None:
        seen.append(databases.database("shop"))
        assert seen[-1].query("select 1 as one").column("one").to_pylist() == [1]

    @dg.asset(deps=[first])
    def second(databases: Databases) -> None:
        seen.append(databases.database("shop"))

    assert dg.materialize([first, second], resources={"databases": Databases(home=str(tmp_path))}).success
    assert seen[0] is seen[1]
    with connect("test", postgres_url) as connection:
        others = "select count(*)::int4 as n from pg_stat_activity where datname = current_database()"
        assert connection.query(others).column("n").to_pylist() == [1]


def test_a_domain_without_a_database_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SHOP_URL", raising=False)
    databases = Databases(home=str(tmp_path))
    assert not databases.has("shop")
    with pytest.raises(SourceUnavailableError, match=r"set SHOP_URL to .* or make a synthetic one with: medallion gen"):
        databases.database("shop")
