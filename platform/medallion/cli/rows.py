"""Rows on a console: as many columns as fit, and the names of those that do not."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table as Grid
from rich.text import Text

from medallion.cli.output import plural

if TYPE_CHECKING:
    from rich.console import Console

_WIDEST = 36
_GAP = 2
_NUMBERS = (int, float, Decimal)


def print_rows(console: Console, names: Sequence[str], rows: Sequence[Sequence[Any]], hint: str) -> None:
    """Print rows as a table.

    Args:
        console: where to; on a terminal, columns that do not fit are named below instead.
        names: column names.
        rows: values in the order of the names.
        hint: how to see the columns that do not fit.
    """
    cells = [[cell(value) for value in row] for row in rows]
    widths = [
        min(_WIDEST, max([len(name), *[len(row[index].plain) for row in cells]])) for index, name in enumerate(names)
    ]
    shown = _fitting(widths, console.width) if console.is_terminal else len(names)
    grid = Grid(box=None, header_style="bright_black", pad_edge=False, padding=(0, _GAP, 0, 0))
    for index, name in enumerate(names[:shown]):
        numeric = any(type(row[index]) in _NUMBERS for row in rows)
        grid.add_column(Text(name), no_wrap=True, justify="right" if numeric else "left", min_width=widths[index])
    for row in cells:
        grid.add_row(*[_cut(value, width) for value, width in zip(row[:shown], widths, strict=False)])
    console.print(grid)
    if shown < len(names):
        hidden = plural(len(names) - shown, "more column")
        console.print(f"[bright_black]{hidden}: {escape(', '.join(names[shown:]))}. {hint}[/]")


def cell(value: Any) -> Text:
    """A value as people read it."""
    if isinstance(value, Text):
        return value
    if value is None:
        return Text("null", style="bright_black")
    if isinstance(value, dt.datetime):
        text = value.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
        return Text(text.rstrip("0").rstrip(".") if "." in text else text)
    if isinstance(value, float):
        return Text(f"{value:.10g}")
    if isinstance(value, list):
        return Text(", ".join(cell(item).plain for item in value))
    return Text(str(value).replace("\n", "⏎"))


def _fitting(widths: Sequence[int], width: int) -> int:
    used = 0
    for number, column in enumerate(widths):
        used += column + _GAP
        if used > width and number:
            return number
    return len(widths)


def _cut(text: Text, width: int) -> Text:
    text.truncate(width, overflow="ellipsis")
    return text
