"""`medallion land`: a domain's files into the landing zone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from medallion.cli.output import count, plural, size, terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from medallion.settings import Settings

Domain = Annotated[str, typer.Argument(metavar="DOMAIN", help="The domain, such as olist.")]


class LandReport(Protocol):
    """What a domain's `source.land` tells; lists are of paths below the landing zone."""

    rows: Mapping[str, int]
    written: Sequence[str]
    unchanged: Sequence[str]
    bytes_written: int
    undated: Mapping[str, int]
    stale: Sequence[str]


def land(
    domain: Domain,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Folder or zip file with the source's files.")],
) -> None:
    """Copy a source's files into the landing zone; run again, it writes only what differs."""
    from medallion.settings import Settings

    land_into(Settings(), domain, path, terminal())


def land_into(settings: Settings, domain: str, path: Path, console: Console, note: str = "") -> None:
    """Land a source's files and tell what changed.

    Raises:
        DomainError: there is no such domain, or it has no source.
        LandingError: the files can't be landed.
    """
    from medallion.domains import domain_module
    from medallion.landing import Landing

    landing = Landing(settings.landing_uri, settings.storage_options)
    source = domain_module(settings.domains, domain, "source")
    console.print(f"[bold]Landing {domain}[/]{note} [bright_black]from {path} in {landing.root}[/]")
    with bars(console, size) as advance:
        report: LandReport = source.land(path, landing, advance)
    files = plural(len(report.written) + len(report.unchanged), "file")
    written = f"{count(len(report.written))} written ({size(report.bytes_written)})"
    console.print(f"[green]✓[/] {files} landed: {written}, {count(len(report.unchanged))} unchanged{note}")
    for table, rows in report.undated.items():
        console.print(f"[yellow]![/] {plural(rows, 'row')} of {table} without a date landed in the latest partition")
    if report.stale:
        shown = ", ".join(report.stale[:3]) + (" …" if len(report.stale) > 3 else "")
        console.print(
            f"[yellow]![/] {plural(len(report.stale), 'slice')} of an earlier landing left as they are: {shown}"
        )
    console.print("  [bright_black]Next: medallion run[/]")


@contextmanager
def bars(console: Console, written: Callable[[int], str]) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar per table, on a terminal only.

    Args:
        console: where to.
        written: writes an amount.
    """
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    columns: list[Any] = [
        TextColumn("  {task.description:<22}"),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[amount]:>10}"),
        TimeElapsedColumn(),
    ]
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        tasks: dict[str, TaskID] = {}

        def advance(table: str, done: int, total: int) -> None:
            if table not in tasks:
                tasks[table] = progress.add_task(table, amount="")
            progress.update(tasks[table], completed=done, total=total, amount=written(done))

        yield advance
