"""What is printed: numbers, sizes, rows that fit, and errors as one line or with their trace."""

from __future__ import annotations

import datetime as dt
import io
import os
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rich.console import Console

from medallion.cli.output import Explained, count, explanation, plural, screen, size
from medallion.cli.rows import cell, print_rows
from medallion.cli.tables import ago
from medallion.domains import DomainError, domain_names
from medallion.landing import LandingError
from medallion.planning import SelectionError
from medallion.settings import Settings


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (12_345, "12.3 kB"), (999_600, "1.0 MB"), (123_456_789, "123 MB")],
)
def test_sizes_have_three_digits(number: int, text: str) -> None:
    assert size(number) == text


@given(st.integers(min_value=0, max_value=10**15))
def test_a_size_is_never_wider_than_its_column(number: int) -> None:
    assert len(size(number)) <= 7


def test_numbers_have_thousands_and_nouns_their_plural() -> None:
    assert (count(1_000_163), count(None)) == ("1,000,163", "–")  # noqa: RUF001
    assert (plural(1, "row"), plural(2, "row"), plural(0, "row")) == ("1 row", "2 rows", "0 rows")


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (dt.timedelta(seconds=5), "now"),
        (dt.timedelta(minutes=5), "5 min ago"),
        (dt.timedelta(hours=30), "30 h ago"),
        (dt.timedelta(days=3), "3 days ago"),
    ],
)
def test_ages_are_told_in_one_unit(age: dt.timedelta, text: str) -> None:
    assert ago(age) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (Decimal("1.50"), "1.50"),
        (0.1 + 0.2, "0.3"),
        (dt.datetime(2017, 1, 2, 3, 4, 5, tzinfo=dt.UTC), "2017-01-02 03:04:05"),
        (dt.datetime(2017, 1, 2, 3, 4, 5, 60_000), "2017-01-02 03:04:05.06"),
        (dt.date(2017, 1, 2), "2017-01-02"),
        (["a", None], "a, null"),
        ("two\nlines", "two⏎lines"),
        (True, "True"),
    ],
)
def test_values_read_as_people_write_them(value: object, text: str) -> None:
    assert cell(value).plain == text


def printed(width: int | None, names: list[str], rows: list[list[object]]) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width or 1000, force_terminal=width is not None, highlight=False)
    print_rows(console, names, rows, "Choose.")
    return re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())


def test_columns_that_do_not_fit_a_terminal_are_named_below() -> None:
    text = printed(40, ["a", "b", "c"], [["x" * 15, "y" * 15, "z" * 15]])

    assert "y" * 15 in text
    assert "z" * 15 not in text
    assert "1 more column: c. Choose." in text


def test_a_file_gets_all_columns() -> None:
    assert "z" * 15 in printed(None, ["a", "b", "c"], [["x" * 15, "y" * 15, "z" * 15]])


def test_a_long_value_is_cut_with_an_ellipsis() -> None:
    assert "…" in printed(60, ["a"], [["x" * 50]])


def test_an_error_written_for_people_is_its_message() -> None:
    assert explanation(LandingError("no files; land some")) == "no files; land some"


def test_a_mistake_in_a_program_has_no_explanation() -> None:
    assert explanation(KeyError("rows")) is None


def test_a_storage_error_is_one_line_without_colours() -> None:
    text = explanation(OSError("Generic S3 error\n   \x1b[31m↳\x1b[0m  refused\n\nDebug source:\nRetry { secret }"))

    assert text == "Generic S3 error refused. Find out more with: medallion doctor"


def test_a_missing_project_is_told_where_to_go() -> None:
    with pytest.raises(DomainError) as caught:
        domain_names("no_such_project")

    text = explanation(caught.value)
    assert text is not None
    assert "Run from the project's folder" in text


def test_a_missing_module_of_a_project_keeps_its_trace() -> None:
    assert explanation(ModuleNotFoundError("No module named 'assets'", name="assets")) is None


def test_a_wrong_setting_is_told_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDALLION_ENGINE_MEMORY", "hunter2")
    with pytest.raises(ValidationError) as caught:
        Settings()

    text = explanation(caught.value)
    assert text is not None
    assert text.startswith("The settings are not valid: MEDALLION_ENGINE_MEMORY: ")
    assert "hunter2" not in text


def test_a_lake_in_a_folder_that_the_engine_would_rename_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MEDALLION_HOME", str(tmp_path / "my lake"))
    with pytest.raises(ValidationError) as caught:
        Settings()

    text = explanation(caught.value)
    assert text is not None
    assert text.startswith(f"The settings are not valid: the lake can't be in {tmp_path / 'my lake' / 'lake'}: ")


@pytest.mark.parametrize(("error", "code"), [(SelectionError("which?"), 2), (LandingError("none"), 1)])
def test_what_was_asked_wrongly_is_exit_code_2(error: Exception, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught, Explained():
        raise error

    assert caught.value.exit_code == code
    assert capsys.readouterr().err == f"✗ {error}\n"


def test_a_mistake_in_a_program_keeps_its_trace() -> None:
    with pytest.raises(KeyError), Explained():
        raise KeyError("rows")


def test_what_code_prints_during_a_run_goes_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    with screen() as console:
        os.write(sys.stdout.fileno(), b"from a library\n")
        console.print("a table is done")
    os.write(sys.stdout.fileno(), b"afterwards\n")

    captured = capfd.readouterr()
    assert "a table is done" in captured.out
    assert "afterwards" in captured.out
    assert "from a library" not in captured.out
    assert "from a library" in captured.err


def test_help_imports_no_engine_and_no_dagster() -> None:
    heavy = {"dagster", "pyspark", "deltalake", "duckdb", "pyarrow", "pandas", "pydantic"}
    program = f"import sys; import medallion.cli.app; print(sorted({heavy} & set(sys.modules)))"
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )

    assert answer.stdout.strip() == "[]"
