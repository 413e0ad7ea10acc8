"""What all commands print with: the two consoles, numbers and sizes as people read them, and errors as one line."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid
from rich.text import Text

if TYPE_CHECKING:
    from pydantic import ValidationError

PLAIN_WIDTH = 2000
"""Columns of output that no terminal bounds: nothing is cut that a file or a pipe could take."""

_SELECTING = "medallion.planning"


def terminal() -> Console:
    """The console on stdout, as it is now."""
    return Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False, soft_wrap=False)


def complaints() -> Console:
    """The console on stderr, as it is now."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def complain(message: str) -> None:
    """Print an error: what, and the next step."""
    complaints().print(f"[bold red]✗[/] {escape(message)}")


def listing(left: Sequence[str], right: Sequence[str] = (), last: Sequence[str] = ()) -> Grid:
    """A table without lines, as all commands print them.

    Args:
        left: names of the first columns, which hold text.
        right: names of the next columns, which hold numbers.
        last: names of the last columns, which hold text.
    """
    grid = Grid(box=None, header_style="bright_black", pad_edge=False, padding=(0, 2, 0, 0))
    for names, justify in ((left, "left"), (right, "right"), (last, "left")):
        for name in names:
            grid.add_column(Text(name), justify=justify, no_wrap=True)  # type: ignore[arg-type]
    return grid


def print_json(document: Any) -> None:
    """Print one JSON document on stdout, and nothing else."""
    sys.stdout.write(json.dumps(document, indent=2, default=str, ensure_ascii=False) + "\n")


def count(number: int | None) -> str:
    """A number of rows: `12,345`; unknown is a dash."""
    return "–" if number is None else f"{number:,}"  # noqa: RUF001 - a dash is what it is


def size(number: int) -> str:
    """A number of bytes: `12.3 MB`."""
    amount, unit = float(number), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 999.5:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.0f} {unit}" if unit == "B" or amount >= 99.95 else f"{amount:.1f} {unit}"


def plural(number: int, noun: str) -> str:
    """A counted noun: `1 run`, `2 runs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@contextmanager
def screen() -> Iterator[Console]:
    """A console of its own on the real stdout, while file descriptor 1 goes to stderr.

    Dagster captures the descriptors of a run for its page, and transforms may print: neither may mix with the progress
    lines or with a JSON document.
    """
    try:
        descriptor = sys.stdout.fileno()
    except OSError:  # a stream without a descriptor, as in tests
        yield terminal()
        return
    sys.stdout.flush()
    kept = os.dup(descriptor)
    os.dup2(sys.stderr.fileno(), descriptor)
    try:
        with os.fdopen(os.dup(kept), "w", encoding="utf-8") as file:
            yield Console(file=file, width=None if file.isatty() else PLAIN_WIDTH, highlight=False)
    finally:
        sys.stdout.flush()
        os.dup2(kept, descriptor)
        os.close(kept)


class Explained:
    """Turns an error that was written for people into one line; any other keeps its stack trace.

    The exit code is 2 if what was asked for can't be, as for options that do not exist, else 1.
    """

    def __enter__(self) -> Explained:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception) and (message := explanation(error)) is not None:
            complain(message)
            raise typer.Exit(2 if type(error).__module__ == _SELECTING else 1) from error


def explanation(error: Exception) -> str | None:
    """The line for people; None for an error that was not written for them.

    Errors that the platform and its domains define say what, why and the next step. Those of storage say what and
    where. Everything else is a mistake in a program, which its trace helps to find.
    """
    from pydantic import ValidationError

    from medallion.settings import Settings
    from medallion.storage_errors import storage_error

    if isinstance(error, ValidationError) and error.title == Settings.__name__:
        return _settings_message(error)
    if (refusal := storage_error(error)) is not None:
        return str(refusal)
    module = type(error).__module__
    if module.startswith(("medallion.", f"{Settings().domains}.")):
        return str(error)
    if isinstance(error, OSError) or module.startswith(("obstore", "deltalake", "_internal")):
        return f"{_in_one_line(str(error))}. Find out more with: medallion doctor"
    return None


def _in_one_line(message: str) -> str:
    """A storage error without colours, tree and the debug output that repeats its first paragraph."""
    plain = re.sub(r"\x1b\[[0-9;]*m|↳", "", message.split("Debug source:")[0])
    return " ".join(plain.split()).rstrip(".")


def _settings_message(error: ValidationError) -> str:
    faults = []
    for fault in error.errors(include_url=False, include_input=False):
        name = "_".join(str(part) for part in fault["loc"]).upper()
        name = name if name.startswith(("AWS_", "MEDALLION_")) else f"MEDALLION_{name}"
        faults.append(f"{name}: {fault['msg']}" if fault["loc"] else fault["msg"].removeprefix("Value error, "))
    return f"The settings are not valid: {'; '.join(faults)}. Change these environment variables."
