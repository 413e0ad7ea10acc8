"""`medallion migrate`: a stored table gets the columns of its contract, by steps that a person names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from medallion.cli.output import count, plural, terminal
from medallion.cli.show import TableName

if TYPE_CHECKING:
    from deltalake import Schema

    from medallion.delta.migrate import Plan, Steps


def migrate(
    table: TableName,
    rename: Annotated[
        list[str] | None, typer.Option("--rename", metavar="OLD:NEW", help="A column that has another name now.")
    ] = None,
    drop: Annotated[
        list[str] | None, typer.Option("--drop", metavar="COLUMN", help="A column that is no longer wanted.")
    ] = None,
    retype: Annotated[
        list[str] | None,
        typer.Option(
            "--retype",
            metavar="COLUMN[:TYPE]",
            help="A column that gets the contract's type, if it holds every stored value exactly.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
) -> None:
    """Bring a table to the columns of its contract in one commit.

    New columns, wider types and another nullability need no option. Versions before stay readable with
    `medallion show TABLE --version N` until they are vacuumed.
    """
    from medallion.cli.lake import lake_of, tables_of
    from medallion.cli.selection import table_named
    from medallion.delta.migrate import migrate as migrate_table
    from medallion.delta.migrate import plan_migration
    from medallion.settings import Settings

    settings = Settings()
    found = table_named(table, tables_of(settings))
    store = lake_of(settings)
    declared = found.schema
    steps = _steps(found.label, rename or [], drop or [], retype or [], declared)
    if dry_run:
        plan = plan_migration(found.label, store.open(found.path), declared, found.schema_evolution, steps)
    else:
        plan = migrate_table(store, found.path, declared, found.schema_evolution, steps)
    _report(found.label, plan, dry_run)


def _steps(label: str, rename: list[str], drop: list[str], retype: list[str], declared: Schema) -> Steps:
    from medallion.delta.migrate import MigrationError, Steps
    from medallion.delta.schema import type_name

    names: dict[str, str] = {}
    for pair in rename:
        old, _, new = pair.partition(":")
        if not old or not new:
            raise MigrationError(f"{label}: --rename takes OLD:NEW, not {pair!r}")
        if old in names:
            raise MigrationError(f"{label}: --rename gives {old} two names, {names[old]} and {new}")
        names[old] = new
    types = {item.name: type_name(item).replace(" ", "") for item in declared.fields}
    columns = []
    for choice in retype:
        column, _, kind = choice.partition(":")
        if kind and types.get(column, kind) != kind.replace(" ", ""):
            raise MigrationError(
                f"{label}: --retype {choice}, but the contract says {column} is {types[column]}; change it there first"
            )
        columns.append(column)
    return Steps(names, tuple(drop), tuple(columns))


def _report(label: str, plan: Plan, dry_run: bool) -> None:
    from rich.markup import escape

    console = terminal()
    if not plan.sentences:
        console.print(f"[green]✓[/] {label} has the columns of its contract, nothing to do")
        return
    for sentence in plan.sentences:
        console.print(f"  {escape(sentence)}")
    rows = plan.table.count()
    how = f"{count(rows)} rows are written anew" if plan.rewrites else "no file is written"
    if dry_run:
        console.print(f"[bold]{label}[/] would change: {plural(len(plan.sentences), 'step')}, {how}")
        console.print("  [bright_black]Do it: the same command without --dry-run[/]")
        return
    version = plan.table.version()
    console.print(f"[green]✓[/] [bold]{label}[/] is at version {version}: {plural(len(plan.sentences), 'step')}, {how}")
    console.print(f"  [bright_black]As it was: medallion show {label} --version {version - 1}[/]")
