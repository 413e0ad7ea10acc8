"""`medallion maintain` and `unarchive`: tables made smaller and faster without a change of rows, line by line."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medallion.cli.output import complain, count, explanation, listing, plural, print_json, size, terminal
from medallion.cli.run import Json
from medallion.cli.show import TableName

if TYPE_CHECKING:
    from rich.table import Table as Grid
    from rich.text import Text

    from medallion.delta.maintenance import Maintained
    from medallion.delta.store import DeltaStore
    from medallion.settings import Settings
    from medallion.upkeep import Upkeep


def maintain(
    selections: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TABLE]...",
            help="Tables, in Dagster's selection syntax: silver/olist/orders, 'group:olist_gold'. Default: all.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing; say what would be done.")] = False,
    as_json: Json = False,
) -> None:
    """Sweep what killed runs left, archive, compact or z-order, and delete files that no retained version needs."""
    from medallion.cli.lake import lake_of
    from medallion.cli.run import prepare_logs
    from medallion.cli.selection import select
    from medallion.runs import load_platform
    from medallion.settings import Settings
    from medallion.upkeep import upkeep_of

    settings = Settings()
    prepare_logs(settings, verbose=False)
    platform = load_platform(settings)
    targets = upkeep_of(select(platform, selections or []), platform.tables.values())
    done, failed = _maintain_all(targets, lake_of(settings), settings, dry_run)
    if as_json:
        documents = [dataclasses.asdict(result) for result in done]
        print_json({"success": not failed, "dry_run": dry_run, "tables": documents, "errors": failed})
    else:
        _report(done, dry_run)
        for name, message in failed.items():
            complain(f"{name}: {message}")
    if failed:
        raise typer.Exit(1)


def unarchive(
    table: TableName,
    partitions: Annotated[
        str | None,
        typer.Option("--partitions", "-p", metavar="A...B[,C]", help="Only these slices. Default: all in the archive."),
    ] = None,
) -> None:
    """Bring archived rows of a table back, but for partitions that have rows in it again."""
    from medallion.cli.lake import lake_of, tables_of
    from medallion.cli.selection import table_named
    from medallion.delta.archive import ArchiveError
    from medallion.delta.archive import unarchive as bring_back
    from medallion.partitions import WHOLE
    from medallion.planning import SelectionError, parse_keys
    from medallion.settings import Settings

    settings = Settings()
    found = table_named(table, tables_of(settings))
    selection = WHOLE
    if partitions is not None:
        if found.partitions is None:
            raise SelectionError(f"{found.label} has no partitions; leave --partitions out.")
        selection = found.select(parse_keys(partitions, found.partitions))
    moved = bring_back(lake_of(settings), found.path, selection)
    if moved.lost:
        raise ArchiveError(
            f"{found.label}: {plural(moved.rows, 'row')} came back, but another process changed the archive meanwhile "
            "and still has them; run it again"
        )
    console = terminal()
    if not moved.rows:
        which = "" if selection.is_whole else f" slice {selection.label}"
        console.print(f"[green]✓[/] The archive has no rows of {found.label}{which} that the table lacks.")
        return
    console.print(f"[green]✓[/] {found.label}: {plural(moved.rows, 'row')} of {plural(len(moved.slices), 'slice')}")
    if settings.archive_uri is not None:
        console.print("  [bright_black]The next maintenance archives them again; make what reads them before it.[/]")


def _maintain_all(
    targets: list[Upkeep], store: DeltaStore, settings: Settings, dry_run: bool
) -> tuple[list[Maintained], dict[str, str]]:
    """The results, and the errors of tables that could not be maintained; one does not hold up the others."""
    from deltalake.exceptions import DeltaError
    from obstore.exceptions import BaseError

    done, failed = [], {}
    now = dt.datetime.now(dt.UTC)
    for target in targets:
        try:
            result = target.run(store, now, settings.archive_uri, dry_run=dry_run)
        except (RuntimeError, ValueError, LookupError, OSError, DeltaError, BaseError) as error:
            message = explanation(error)
            if message is None:
                raise
            failed[target.name] = message
            continue
        if result is not None:
            done.append(result)
    return done, failed


def _report(done: list[Maintained], dry_run: bool) -> None:
    console = terminal()
    if not done:
        console.print("No table was made yet: medallion run")
        return
    grid = listing(["table"], ["files", "size", "versions", "freed"], ["done"])
    for result in done:
        _line(grid, result)
    console.print(grid)
    freed = sum(result.bytes_freed for result in done)
    what = "would be maintained" if dry_run else "maintained"
    console.print(f"\n[bold]{plural(len(done), 'table')}[/] {what}, {size(freed)} {'to free' if dry_run else 'freed'}")


def _line(grid: Grid, result: Maintained) -> None:
    from rich.text import Text

    changed = result.files_after != result.files_before
    files = f"{count(result.files_before)} → {count(result.files_after)}" if changed else count(result.files_after)
    grid.add_row(
        result.table,
        files,
        size(result.size),
        count(result.versions),
        size(result.bytes_freed) if result.bytes_freed else "",
        _done(result) if not result.notes else Text.assemble(_done(result), (f" {'; '.join(result.notes)}", "yellow")),
    )


def _done(result: Maintained) -> str | Text:
    parts: list[Any] = [
        (result.stages, "abandoned stage", "swept"),
        (len(result.archived), "slice", "archived"),
        (result.compacted, "slice", "compacted"),
        (result.ordered, "slice", "z-ordered"),
        (result.files_deleted, "old file", "deleted"),
    ]
    return ", ".join(f"{plural(number, noun)} {verb}" for number, noun, verb in parts if number)
