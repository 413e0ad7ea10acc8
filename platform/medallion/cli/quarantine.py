"""`medallion quarantine`: rejected rows by rule, row by row, and once more through the same path."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medallion.cli.output import count, listing, plural, screen, terminal
from medallion.cli.run import RunResult, Verbose, board, execute_plan, prepare_logs, report
from medallion.cli.show import Limit, TableName

if TYPE_CHECKING:
    from rich.text import Text

    from medallion.delta.store import DeltaStore
    from medallion.tables import Table

app = typer.Typer(no_args_is_help=True, help="Rejected rows: list them, look at them, give them another try.")

_SLICES_SHOWN = 3


class ReplayError(ValueError):
    """Rows that can't be replayed; the message says why and what to do instead."""


@app.command("list")
def list_rules() -> None:
    """Count the rows in quarantine by table and broken rule."""
    from medallion.cli.lake import lake_of, tables_of
    from medallion.settings import Settings

    settings = Settings()
    store = lake_of(settings)
    console = terminal()
    grid = listing(["table", "rule"], ["rows"], ["slices", "last run"])
    total = 0
    for table in tables_of(settings).values():
        label = table.label
        for rule, rows, slices, run_id in _by_rule(store, table):
            grid.add_row(label, rule, count(rows), _shortened(slices), run_id.split("-")[0])
            label = ""
        total += _rows(store, table)
    if not total:
        console.print(f"[green]✓[/] Quarantine is empty [bright_black]in {settings.lake_uri}[/]")
        return
    console.print(grid)
    console.print(f"\n[bold]{plural(total, 'row')}[/] in quarantine; one that breaks several rules counts for each")
    console.print(
        "  [bright_black]Look at them: medallion quarantine show TABLE  ·  "
        "try them again: medallion quarantine replay TABLE[/]"
    )


@app.command("show")
def show_rows(
    table: TableName,
    rule: Annotated[str | None, typer.Option("--rule", "-r", help="Only rows that break this rule.")] = None,
    partition: Annotated[str | None, typer.Option("--partition", "-p", help="Only rows of this slice.")] = None,
    limit: Limit = 20,
) -> None:
    """Show rejected rows as they arrived, each with the rules it broke and where it came from."""
    from rich.text import Text

    from medallion.cli.lake import lake_of, tables_of
    from medallion.cli.selection import table_named
    from medallion.settings import Settings

    settings = Settings()
    found = table_named(table, tables_of(settings))
    rows = [
        row
        for row in _rejected(lake_of(settings), found, ("slice", "rules", "raw", "source_file", "source_row"))
        if (rule is None or rule in row["rules"]) and (partition is None or row["slice"] == partition)
    ]
    console = terminal()
    rows.sort(key=lambda row: (row["slice"], row["source_file"] or "", row["source_row"] or 0))
    for row in rows[:limit]:
        origin = f"{row['source_file']}, record {row['source_row']}" if row["source_file"] else ""
        heading = Text.assemble((", ".join(row["rules"]), "red"), (f"  {row['slice']}  {origin}", "bright_black"))
        console.print(heading)
        console.print(_raw(row["raw"], row["rules"]))
    narrowed = "" if rule is None and partition is None else " that match"
    console.print(f"[bright_black]{count(min(limit, len(rows)))} of {plural(len(rows), 'rejected row')}{narrowed}[/]")


@app.command("replay")
def replay(
    table: TableName,
    partitions: Annotated[
        str | None,
        typer.Option("--partitions", "-p", metavar="A...B[,C]", help="Only these slices. Default: all with such rows."),
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Make the slices again that have rejected rows; those that now pass enter the table."""
    from medallion.cli.lake import lake_of, quarantined
    from medallion.cli.selection import table_named
    from medallion.planning import plan_runs
    from medallion.quarantine import UNPARTITIONED
    from medallion.runs import load_platform
    from medallion.settings import Settings

    settings = Settings()
    prepare_logs(settings, verbose)
    platform = load_platform(settings)
    found = table_named(table, platform.tables)
    _require_replayable(found)
    store = lake_of(settings)
    before = _chosen(quarantined(store, found), found, partitions)
    result = RunResult()
    with screen() as console:
        if not before:
            console.print(f"[green]✓[/] {found.label} has no rejected rows{' there' if partitions else ''}.")
            return
        keys = [key for key in before if key != UNPARTITIONED]
        shows = board(console, settings, as_json=False)
        with shows.shown():
            execute_plan(platform, plan_runs([found], keys), shows, result, verbose=verbose)
        report(result, console, settings, as_json=False, verbose=verbose)
        after = sum(rows for key, rows in quarantined(store, found).items() if key in before)
        passed = max(sum(before.values()) - after, 0)
        if result.success:
            console.print(f"[bold]{plural(passed, 'row')} passed now, {count(after)} remain in quarantine[/]")
            for hint in _hints(found, platform.tables, keys, passed, after):
                console.print(f"  [bright_black]{hint}[/]")
    if not result.success:
        raise typer.Exit(130 if result.interrupted else 1)


def _require_replayable(table: Table) -> None:
    if table.mode == "append":
        raise ReplayError(
            f"{table.label} is appended to: making a slice again would add its rows a second time. Fix the source and "
            "land it as a new slice instead."
        )


def _chosen(rejected: Mapping[str, int], table: Table, partitions: str | None) -> dict[str, int]:
    """Rejected rows by slice, of the slices that a person named."""
    from medallion.planning import SelectionError, parse_keys

    if partitions is None:
        return dict(rejected)
    if table.partitions is None:
        raise SelectionError(f"{table.label} has no partitions; leave --partitions out.")
    keys = parse_keys(partitions, table.partitions)
    return {key: rows for key, rows in rejected.items() if key in keys}


def _hints(table: Table, tables: Mapping[str, Table], keys: Sequence[str], passed: int, after: int) -> Iterator[str]:
    from medallion.tables import input_key

    where = f" -p {','.join(keys)}" if keys else ""
    readers = [t for t in tables.values() if any(input_key(i) == table.key for i in t.inputs.values())]
    if passed and readers:
        yield f"Carry them on to what is made from it: medallion run -s '{table.label}+'{where}"
    if after and not table.reads_arrivals:
        yield f"If the source was fixed, land it and read it again: medallion run -s '+{table.label}'{where}"


def _rejected(store: DeltaStore, table: Table, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The rejected rows of a table."""
    from medallion.delta.store import scan
    from medallion.quarantine import quarantine_path

    delta = store.find(quarantine_path(table.path))
    if delta is None:
        return []
    reader = scan(delta, columns, f"layer = '{table.layer}'")
    return [row for batch in reader for row in batch.to_pylist()]


def _rows(store: DeltaStore, table: Table) -> int:
    from medallion.cli.lake import quarantined

    return sum(quarantined(store, table).values())


def _by_rule(store: DeltaStore, table: Table) -> list[tuple[str, int, list[str], str]]:
    """Rule, rows, slices and the run that wrote last, most rows first."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in _rejected(store, table, ("slice", "rules", "run_id", "quarantined_at")):
        for rule in row["rules"]:
            rows.setdefault(rule, []).append(row)
    found = [
        (
            rule,
            len(broken),
            sorted({row["slice"] for row in broken}),
            max(broken, key=lambda row: row["quarantined_at"])["run_id"],
        )
        for rule, broken in rows.items()
    ]
    return sorted(found, key=lambda entry: (-entry[1], entry[0]))


def _shortened(slices: Sequence[str]) -> str:
    if len(slices) <= _SLICES_SHOWN:
        return ", ".join(slices)
    return f"{slices[0]} … {slices[-1]} ({len(slices)})"


def _raw(raw: str | None, rules: Sequence[str]) -> Text:
    """The row as it arrived; the values that the broken rules are about stand out."""
    from rich.text import Text

    text = Text("  ")
    try:
        values = json.loads(raw or "")
    except ValueError:
        return text.append(raw or "", style="red")
    if not isinstance(values, dict):
        return text.append(raw or "", style="red")
    for name, value in values.items():
        if not name.startswith("_"):
            shown = "null" if value is None else str(value).replace("\n", "⏎")
            about = any(rule.startswith(f"{name}_") for rule in rules)
            text.append(f"{name}=", style="bright_black").append(shown, style="bold red" if about else "").append("  ")
    return text
