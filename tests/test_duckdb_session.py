"""The DuckDB of a process: sessions apart from each other, nothing left behind, forks with one of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from medallion.duckdb_session import duckdb_session


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60).stdout


def test_a_session_sees_no_table_stream_or_setting_of_another() -> None:
    with duckdb_session() as one, duckdb_session() as other:
        one.execute("CREATE TEMP TABLE kept AS SELECT 1 AS a")
        one.register("rows", pa.table({"a": [1]}))
        one.execute("SET SESSION preserve_insertion_order = false")
        for name in ("kept", "rows"):
            with pytest.raises(duckdb.CatalogException, match=name):
                other.execute(f"SELECT * FROM {name}")
        assert other.execute("SELECT current_setting('preserve_insertion_order')").fetchall() == [(True,)]


def test_times_are_in_utc_whatever_the_machine_says() -> None:
    with duckdb_session() as session:
        assert session.execute("SELECT current_setting('TimeZone')").fetchall() == [("UTC",)]


def test_the_temporary_folder_is_private_and_goes_with_the_process() -> None:
    folder, mode = python(
        "import os; from medallion.duckdb_session import duckdb_session as s\n"
        "with s() as d: folder = d.execute(\"SELECT current_setting('temp_directory')\").fetchall()[0][0]\n"
        "print(folder, oct(os.stat(folder).st_mode & 0o777))"
    ).split()
    assert mode == "0o700"
    assert not Path(folder).exists()


def test_a_forked_process_opens_a_database_of_its_own_and_leaves_the_folder_of_its_parent() -> None:
    lines = python(
        "import os, sys; from medallion.duckdb_session import duckdb_session as s\n"
        "def folder():\n"
        "    with s() as d: return d.execute(\"SELECT current_setting('temp_directory')\").fetchall()[0][0]\n"
        "print(folder(), flush=True)\n"
        "if not os.fork(): print(folder(), flush=True); sys.exit()\n"
        "os.wait(); print(os.path.isdir(folder()))"
    ).split()
    assert len(set(lines[:2])) == 2
    assert lines[2] == "True"
    assert not any(Path(folder).exists() for folder in lines[:2])
