"""`medallion diff` and `medallion changes`: which rows differ between two versions, and what a change feed recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medallion.cli.history import Json
from medallion.cli.output import count, plural, print_json, terminal
from medallion.cli.show import Limit, TableName

if TYPE_CHECKING:
    from rich.text import Text

    from medallion.delta.diff import Diff, Difference
    from medallion.tables import Table

_SIGNS = {
    "removed": ("-", "red"),
    "delete": ("-", "red"),
    "update_preimage": ("<", "yellow"),
    "added": ("+", "green"),
    "insert": ("+", "green"),
    "update_postimage": (">", "yellow"),
    "changed": ("~", "yellow"),
}
"""How each kind of difference is marked, in the order in which those of one version are listed."""


def diff(
    table: TableName,
    before: Annotated[int, typer.Argument(metavar="A", min=0, help="Version to compare from.")],
    after: Annotated[
        int | None, typer.Argument(metavar="[B]", min=0, help="Version to compare to. Default: the newest.")
    ] = None,
    rows: Annotated[int, typer.Option("--rows", "-n", min=0, help="Rows to show.")] = 20,
    ignore: Annotated[
        list[str] | None, typer.Option("--ignore", metavar="COLUMN", help="Do not compare this column. Repeatable.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare two versions of a table: rows added, removed and changed; personal data is masked."""
    from medallion.cli.lake import lake_of, tables_of
    from medallion.cli.selection import table_named
    from medallion.delta.diff import diff as compare
    from medallion.settings import Settings

    settings = Settings()
    store = lake_of(settings)
    found = table_named(table, tables_of(settings))
    old, new = store.open(found.path, before), store.open(found.path, after)
    present = {field.name for version in (old, new) for field in version.schema().fields}
    if unknown := sorted(set(ignore or ()) - present):
        raise typer.BadParameter(f"{found.label} has no column {unknown[0]}; it has {', '.join(sorted(present))}.")
    result = compare(
        store,
        found.path,
        old,
        new,
        key=found.contract.key,
        ignore=ignore or (),
        masked=_masked(found, present),
        rows=rows,
        memory=settings.engine_memory,
    )
    if as_json:
        print_json(_document(found, result))
        return
    _print(found, result)


def changes(
    table: TableName,
    first: Annotated[int, typer.Argument(metavar="FROM", min=0, help="First version whose changes are shown.")],
    last: Annotated[
        int | None, typer.Argument(metavar="[TO]", min=0, help="Last version. Default: the newest.")
    ] = None,
    limit: Limit = 20,
    as_json: Json = False,
) -> None:
    """Show what the change data feed of a table recorded; personal data is masked."""
    from rich.text import Text

    from medallion.cli.lake import lake_of, tables_of
    from medallion.cli.rows import print_rows
    from medallion.cli.selection import table_named
    from medallion.delta.change_feed import CHANGE_TYPE, COMMIT_TIMESTAMP, COMMIT_VERSION, read_changes
    from medallion.settings import Settings

    settings = Settings()
    found = table_named(table, tables_of(settings))
    masked = _masked(found, ())
    shown: list[dict[str, Any]] = []
    counts: dict[str, int] = {}
    for batch in read_changes(lake_of(settings), found.path, first, last):
        for kind in batch[CHANGE_TYPE].to_pylist():
            counts[kind] = counts.get(kind, 0) + 1
        shown += [_hidden(row, masked) for row in batch.slice(0, limit - len(shown)).to_pylist()]
    key = (COMMIT_VERSION, *found.contract.key)
    shown.sort(
        key=lambda row: ([(row[name] is not None, row[name]) for name in key], list(_SIGNS).index(row[CHANGE_TYPE]))
    )
    if as_json:
        print_json({"table": found.label, "first": first, "last": last, "counts": counts, "changes": shown})
        return
    ours = (COMMIT_VERSION, CHANGE_TYPE)
    names = [name for name in (shown[0] if shown else {}) if name not in (*ours, COMMIT_TIMESTAMP)]
    cells = [[row[COMMIT_VERSION], _sign(row[CHANGE_TYPE]), *[row[name] for name in names]] for row in shown]
    console = terminal()
    console.print(f"[bold]{found.label}[/] [bright_black]changes since version {first}[/]")
    if shown:
        print_rows(console, ["version", "", *names], cells, f"See all: medallion changes {found.label} {first} --json")
    summary = ", ".join(f"{count(number)} {kind}" for kind, number in sorted(counts.items()))
    console.print(Text(summary or "no row changed", style="bright_black"))


def _masked(table: Table, present: Sequence[str] | set[str]) -> set[str]:
    """Personal data, and columns that the contract does not know: nobody has said that they are not."""
    declared = {column.name for column in table.contract.columns}
    return {column.name for column in table.contract.columns if column.pii} | (set(present) - declared)


def _hidden(row: Mapping[str, Any], masked: set[str]) -> dict[str, Any]:
    from medallion.delta.diff import MASKED

    return {name: MASKED if name in masked and value is not None else value for name, value in row.items()}


def _print(table: Table, result: Diff) -> None:
    from medallion.cli.rows import print_rows

    console = terminal()
    console.print(f"[bold]{table.label}[/] [bright_black]version {result.before} → {result.after}[/]")
    for label, columns in (
        ("new columns", result.columns_added),
        ("columns gone", result.columns_removed),
        ("other types", result.columns_retyped),
    ):
        if columns:
            console.print(f"[yellow]{label}[/] {', '.join(columns)}", markup=True)
    if result.sample:
        rows = [item.after or item.before or {} for item in result.sample]
        key = [name for name in table.contract.key if name in rows[0]]
        touched = {name for item in result.sample for name in item.columns}
        rest = [name for name in rows[0] if name not in key]
        # What changed stands beside the key, where a narrow terminal shows it.
        names = [*key, *sorted(rest, key=lambda name: (name not in touched, name.startswith("_")))]
        cells = [[_sign(item.kind), *[_cell(item, name) for name in names]] for item in result.sample]
        hint = f"See all: medallion diff {table.label} {result.before} {result.after} --json"
        print_rows(console, ["", *names], cells, hint)
    same = not (result.added or result.removed or result.changed)
    console.print(
        "[green]✓[/] no row differs"
        if same
        else f"[green]+{count(result.added)}[/] added  [red]-{count(result.removed)}[/] removed  "
        f"[yellow]~{count(result.changed)}[/] changed"
    )
    console.print(
        f"[bright_black]{plural(result.files_read, 'file')} read, {result.files_shared} in both versions left out[/]"
    )


def _sign(kind: str) -> Text:
    from rich.text import Text

    sign, style = _SIGNS.get(kind, (kind, ""))
    return Text(sign, style=style)


def _cell(item: Difference, name: str) -> Any:
    from rich.text import Text

    from medallion.cli.rows import cell

    row = item.after if item.after is not None else item.before or {}
    if name not in item.columns or item.before is None:
        return row[name]
    old, new = cell(item.before[name]), cell(row[name])
    return Text.assemble((old.plain, "red"), " → ", (new.plain, "green"))


def _document(table: Table, result: Diff) -> dict[str, Any]:
    return {
        "table": table.label,
        "before": result.before,
        "after": result.after,
        "added": result.added,
        "removed": result.removed,
        "changed": result.changed,
        "columns": {
            "added": list(result.columns_added),
            "removed": list(result.columns_removed),
            "retyped": list(result.columns_retyped),
        },
        "files": {"read": result.files_read, "shared": result.files_shared},
        "rows": [
            {"kind": item.kind, "before": item.before, "after": item.after, "columns": list(item.columns)}
            for item in result.sample
        ],
    }
