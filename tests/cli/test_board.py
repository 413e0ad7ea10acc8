"""The lines of a run: what is told of a table, what is being made, and what a narrow terminal leaves out."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace
from typing import cast

import pytest
from rich.console import Console

from medallion.cli.board import Lines
from medallion.cli.progress import Cause, CheckOutcome, RunOutcome, TableOutcome, cause_of
from medallion.cli.run import RunResult, report
from medallion.settings import Settings
from medallion.tables import Table


def table(label: str) -> Table:
    return cast(Table, SimpleNamespace(label=label))


def check(name: str, *, passed: bool = False, blocks: bool = False, quarantines: bool = False) -> CheckOutcome:
    return CheckOutcome(name, passed, blocks, quarantines, {"rows": 1234, "ratio": 0.123456, "samples": [{"id": "a"}]})


@pytest.fixture
def run() -> RunOutcome:
    return RunOutcome("2017-01", [table("silver/shop/orders"), table("gold/shop/revenue")])


def console(width: int = 100, terminal: bool = True) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=terminal, highlight=False)


def text_of(console: Console) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", cast(io.StringIO, console.file).getvalue())


def done(run: RunOutcome) -> TableOutcome:
    outcome = run.tables["silver/shop/orders"]
    outcome.state, outcome.rows_in, outcome.rows_out, outcome.quarantined, outcome.seconds = "done", 9000, 8000, 7, 1.25
    outcome.checks = [check("a", passed=True), check("b", quarantines=True)]
    return outcome


def test_a_line_tells_rows_quarantine_checks_and_seconds(run: RunOutcome) -> None:
    to = console()
    lines = Lines(to)
    lines.begin(run, 1, 1)
    lines.finished(run, done(run))

    assert text_of(to).splitlines()[-1].split() == ["✓", "silver/shop/orders", "9,000", "8,000", "7", "1/2", "1.25"]


def test_a_narrow_terminal_leaves_out_the_rows_in_and_keeps_the_rest(run: RunOutcome) -> None:
    to = console(width=60)
    lines = Lines(to)
    lines.begin(run, 1, 1)
    lines.finished(run, done(run))

    assert "rows in" not in text_of(to)
    assert text_of(to).splitlines()[-1].split() == ["✓", "silver/shop/orders", "8,000", "7", "1/2", "1.25"]


def test_below_the_lines_is_what_is_being_made_and_how_much_is_done(run: RunOutcome) -> None:
    to = console()
    lines = Lines(to)
    to.print(lines)
    lines.begin(run, 1, 2)
    done(run)
    run.tables["gold/shop/revenue"].state = "running"
    to.print(lines)

    text = text_of(to)
    assert "Loading definitions" in text
    assert "run 1 of 2, 2 tables" in text
    assert "… gold/shop/revenue" in text
    assert "1 of 2 tables" in text


def test_a_terminal_gets_a_live_line_and_a_file_does_not(run: RunOutcome) -> None:
    for terminal in (True, False):
        to = console(terminal=terminal)
        with Lines(to).shown():
            pass
        assert ("Loading" in text_of(to)) is terminal


def test_what_never_began_is_skipped_and_what_did_not_end_has_failed(run: RunOutcome) -> None:
    run.tables["silver/shop/orders"].state = "running"
    run.end()

    assert [outcome.state for outcome in run.tables.values()] == ["failed", "skipped"]


def reported(run: RunOutcome, capsys: pytest.CaptureFixture[str]) -> str:
    result = RunResult(runs=[run], planned=1)
    to = console(terminal=False)
    report(result, to, Settings(), as_json=False, verbose=False)
    return text_of(to) + capsys.readouterr().err


def test_a_warning_is_told_and_a_quarantined_row_is_not_told_twice(
    run: RunOutcome, capsys: pytest.CaptureFixture[str]
) -> None:
    done(run).checks.append(check("odd"))

    text = reported(run, capsys)

    assert "! silver/shop/orders odd: rows 1,234, ratio 0.1235" in text
    assert " b: " not in text
    assert "0 failed checks, 1 warning" in text


def test_many_warnings_are_counted(run: RunOutcome, capsys: pytest.CaptureFixture[str]) -> None:
    done(run).checks = [check(f"odd_{n}") for n in range(10)]

    assert "… and 2 more warnings" in reported(run, capsys)


def test_the_error_of_a_run_without_a_failed_table_is_told(run: RunOutcome, capsys: pytest.CaptureFixture[str]) -> None:
    run.cause = Cause("no memory")

    text = reported(run, capsys)
    assert "✗ no memory" in text
    assert "Next: medallion doctor" in text


def error(message: str, name: str, cause: object = None) -> object:
    return SimpleNamespace(message=message, cls_name=name, cause=cause, to_string=lambda: f"trace of {name}")


@pytest.mark.parametrize(
    ("raised", "message", "explained"),
    [
        (error("ValueError: shut\n", "ValueError"), "ValueError: shut", False),
        (error("medallion.landing.LandingError: Nothing: land it\n", "LandingError"), "Nothing: land it", True),
        (error("shop_domains.x.ShopError: shut\n", "ShopError"), "shut", True),
        (error("something else\n", "ValueError"), "something else", False),
    ],
)
def test_the_cause_is_the_error_below_dagsters_own(raised: object, message: str, explained: bool) -> None:
    wrapped = error("dagster.X: failed", "DagsterExecutionStepExecutionError", raised)

    cause = cause_of(wrapped, "shop_domains")

    assert (cause.message, cause.explained) == (message, explained)
    assert cause.trace == "trace of DagsterExecutionStepExecutionError"
