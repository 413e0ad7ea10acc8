"""The run as it happens: a line per finished table above a line for what is being made, or log lines."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table as Grid
from rich.text import Text

from medallion.cli.output import count, plural

if TYPE_CHECKING:
    from medallion.cli.progress import RunOutcome, TableOutcome

_MARKS = {
    "done": ("✓", "green"),
    "blocked": ("✗", "bold red"),
    "failed": ("✗", "bold red"),
    "skipped": ("○", "bright_black"),
    "running": ("…", "cyan"),
    "waiting": (" ", ""),
}
_WIDTHS = {"rows in": 9, "rows out": 9, "quarantined": 11, "checks": 6, "seconds": 7}
_log = logging.getLogger("medallion.run")


class Board(Protocol):
    """Shows the progress of runs."""

    def begin(self, run: RunOutcome, number: int, of: int) -> None:
        """A run starts."""

    def finished(self, run: RunOutcome, outcome: TableOutcome) -> None:
        """A table of the run is finished."""


class Lines:
    """Lines on a console; on a terminal, what is being made is told below them."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._label = 0
        self._run: RunOutcome | None = None
        self._spinner = Spinner("dots", style="cyan")

    @contextmanager
    def shown(self) -> Iterator[Lines]:
        """Keep the last line alive while runs go on."""
        if not self._console.is_terminal:
            yield self
            return
        with Live(self, console=self._console, refresh_per_second=12, transient=True):
            yield self

    def begin(self, run: RunOutcome, number: int, of: int) -> None:
        """Print what is about to run, and over what the columns stand."""
        self._run = run
        self._label = max(len(label) for label in run.tables)
        which = f"run {number} of {of}, " if of > 1 else ""
        self._console.print(f"[bold]{escape(run.label)}[/] [bright_black]{which}{plural(len(run.tables), 'table')}[/]")
        self._console.print(self._row(Text(" "), *[Text(name, style="bright_black") for name in ("table", *_WIDTHS)]))

    def finished(self, run: RunOutcome, outcome: TableOutcome) -> None:  # noqa: ARG002 - every board takes the run
        """Print a table's line."""
        self._console.print(self._line(outcome))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The last lines: what is being made, and how much is left."""
        run = self._run
        if run is None:
            yield Text("Loading definitions …", style="bright_black")
            return
        running = [outcome for outcome in run.tables.values() if outcome.state == "running"]
        done = sum(outcome.state in ("done", "blocked", "failed") for outcome in run.tables.values())
        lines = [self._line(outcome) for outcome in running]
        rest = f"{done} of {len(run.tables)} tables"
        moving = Grid.grid(padding=(0, 1))
        moving.add_row(self._spinner.render(console.get_time()), Text(rest, style="bright_black"))
        yield Group(*lines, moving)

    def _line(self, outcome: TableOutcome) -> Grid:
        mark, style = _MARKS[outcome.state]
        passed = sum(check.passed for check in outcome.checks)
        blocked = any(check.blocks for check in outcome.failed_checks)
        checks_style = "red" if blocked else "yellow" if outcome.failed_checks else ""
        known = outcome.state not in ("waiting", "skipped")
        return self._row(
            Text(mark, style=style),
            Text(outcome.table.label, style="" if known else "bright_black"),
            Text(count(outcome.rows_in) if outcome.rows_in is not None else "", style="bright_black"),
            Text(count(outcome.rows_out) if outcome.rows_out is not None else ""),
            Text(count(outcome.quarantined) if outcome.quarantined else "", style="yellow"),
            Text(f"{passed}/{len(outcome.checks)}" if outcome.checks else "", style=checks_style),
            Text(f"{outcome.elapsed:.2f}" if known else "skipped", style="bright_black"),
        )

    def _row(self, mark: Text, label: Text, *numbers: Text) -> Grid:
        grid = Grid.grid(padding=(0, 1))
        grid.add_column(width=1)
        grid.add_column(width=max(self._label, 5), no_wrap=True)
        shown = [(number, width) for number, width in zip(numbers, _WIDTHS.values(), strict=True)]
        if self._console.width < self._label + sum(_WIDTHS.values()) + len(_WIDTHS) + 3:
            del shown[0]  # the rows that came in are the least of what fits
        for _, width in shown:
            grid.add_column(width=width, justify="right", no_wrap=True)
        grid.add_row(mark, label, *[number for number, _ in shown])
        return grid


class LogLines:
    """Log records instead of lines: MEDALLION_LOG=json makes each a JSON object."""

    @contextmanager
    def shown(self) -> Iterator[LogLines]:
        """Nothing to keep alive."""
        yield self

    def begin(self, run: RunOutcome, number: int, of: int) -> None:
        """Log that a run starts."""
        _log.info("run %s of %s", number, of, extra={"partitions": run.label, "tables": len(run.tables)})

    def finished(self, run: RunOutcome, outcome: TableOutcome) -> None:
        """Log what became of a table."""
        facts = outcome.document()
        failed = [check["name"] for check in facts.pop("checks") if not check["passed"]]
        level = logging.ERROR if outcome.state in ("blocked", "failed") else logging.INFO
        extra = {**facts, "failed_checks": failed, "checks": len(outcome.checks), "partitions": run.label}
        _log.log(level, "%s %s", outcome.table.label, outcome.state, extra={**extra, "run_id": run.run_id})


class Silence:
    """Shows nothing, for `--json`."""

    @contextmanager
    def shown(self) -> Iterator[Silence]:
        """Nothing to keep alive."""
        yield self

    def begin(self, run: RunOutcome, number: int, of: int) -> None:
        """Show nothing."""

    def finished(self, run: RunOutcome, outcome: TableOutcome) -> None:
        """Show nothing."""
