"""`medallion history` and `medallion restore`: what each version of a table did, and the way back to one."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from medallion.cli.output import count, listing, plural, print_json, terminal
from medallion.cli.show import TableName

if TYPE_CHECKING:
    from rich.text import Text

    from medallion.delta.history import Commit
    from medallion.delta.restore import Restoration

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else on stdout.")]
_PARTITIONS_SHOWN = 2
_OPERATION_STYLES = {"restore": "yellow", "create": "bright_black", "compact": "bright_black"}


def history(
    table: TableName,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Versions to list, the newest first.")] = 20,
    as_json: Json = False,
) -> None:
    """List the versions of a table: when, what, by which run, and how many rows and files came and went."""
    from rich.text import Text

    from medallion.cli.lake import lake_of, tables_of
    from medallion.cli.selection import table_named
    from medallion.delta.history import commits
    from medallion.settings import Settings

    settings = Settings()
    found = table_named(table, tables_of(settings))
    versions = commits(lake_of(settings), found.path, limit)
    if as_json:
        print_json({"table": found.label, "versions": [_document(commit) for commit in versions]})
        return
    console = terminal()
    grid = listing(["version", "time (UTC)", "operation"], ["rows", "in", "out", "files"], ["run", "partitions"])
    grid.columns[0].justify = "right"
    for commit in versions:
        grid.add_row(
            str(commit.version),
            f"{commit.time:%Y-%m-%d %H:%M:%S}",
            _operation(commit),
            count(commit.rows),
            _signed("+", commit.rows_added, commit.files_added, "green"),
            _signed("-", commit.rows_removed, commit.files_removed, "red"),
            _files(commit),
            Text(commit.run_id.split("-")[0], style="bright_black"),
            _partitions(commit.partitions),
        )
    console.print(f"[bold]{found.label}[/] [bright_black]{settings.lake_uri}[/]")
    console.print(grid)
    if versions and versions[-1].version:
        more = f"older ones: medallion history {found.label} --limit {limit * 5}"
        reason = more if len(versions) == limit else "the log of older ones was cleaned up"
        console.print(f"[bright_black]{plural(len(versions), 'version')}; {reason}[/]")


def restore(
    table: TableName,
    version: Annotated[int | None, typer.Option("--version", min=0, help="Delta version to go back to.")] = None,
    at: Annotated[
        str | None,
        typer.Option(
            "--at", metavar="TIME", help="Go back to the version of this time, ISO 8601; UTC if it has no zone."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Bring a table back to one of its versions, by one more version; nothing of its history is lost."""
    from medallion.cli.lake import lake_of, tables_of
    from medallion.cli.selection import table_named
    from medallion.delta.history import version_at
    from medallion.delta.restore import last_restore, plan_restore
    from medallion.delta.restore import restore as carry_out
    from medallion.instance.home import open_instance
    from medallion.restored import is_reported, report_restore
    from medallion.settings import Settings

    if (version is None) == (at is None):
        raise typer.BadParameter("Say which version to go back to: either --version or --at.")
    moment = None if at is None else _moment(at)
    settings = Settings()
    store = lake_of(settings)
    found = table_named(table, tables_of(settings))
    if found.reads_source and settings.captures(found.domain):
        # Its position in the source's log would say that the changes which are undone have been read.
        raise typer.BadParameter(
            f"{found.label} follows its database by change capture, and would not come back to it after a restore. "
            f"Load it anew with: medallion capture {found.domain} --reload"
        )
    target = version_at(store, found.path, moment) if moment is not None else version
    assert target is not None
    plan = plan_restore(store, found.path, target)
    console = terminal()
    if plan.changes_nothing:
        # A restore that was killed after its commit has not told Dagster.
        with open_instance(settings.home) as instance:
            if (done := last_restore(store, found.path)) and not is_reported(instance, found, plan.version):
                report_restore(instance, store, found, done, store.open(found.path))
        console.print(f"[green]✓[/] {found.label} holds the rows of version {plan.target} already")
        return
    console.print(f"[bold]{found.label}[/] from version {plan.version} back to version {plan.target}")
    console.print(f"  {escape(_effect(plan))}")
    if not yes:
        typer.confirm("Restore it?", abort=True)
    restored = carry_out(store, plan)
    with open_instance(settings.home) as instance:
        report_restore(instance, store, found, plan, restored)
    console.print(
        f"[green]✓[/] {found.label} is version {restored.version()} now, with the {plural(plan.rows_after, 'row')} of "
        f"version {plan.target}"
    )
    console.print(f"  [bright_black]Undo it: medallion restore {found.label} --version {plan.version}[/]")
    console.print(
        f"  [bright_black]Make what is made from it: medallion run -s '{found.label}+ and not {found.label}'[/]"
    )


def _moment(text: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"--at is {text!r}; write a time such as 2024-05-01T12:00 or 2024-05-01.") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _effect(plan: Restoration) -> str:
    parts = [
        f"{count(plan.rows_before)} rows now, {count(plan.rows_after)} after",
        f"files: {len(plan.files_in)} come back, {len(plan.files_out)} leave",
    ]
    values = [", ".join(f"{name}={value}" for name, value in raw.items()) for raw in plan.partitions if raw]
    if values:
        more = f" and {len(values) - 5} more" if len(values) > 5 else ""
        parts.append(f"partitions {'; '.join(sorted(values)[:5])}{more}")
    if plan.columns_in or plan.columns_out:
        came, went = ", ".join(plan.columns_in) or "none", ", ".join(plan.columns_out) or "none"
        parts.append(f"columns that come back: {came}; that leave: {went}")
    return "\n  ".join(parts)


def _operation(commit: Commit) -> Text:
    from rich.text import Text

    from medallion.delta.restore import RESTORED

    text = Text(commit.operation, style=_OPERATION_STYLES.get(commit.operation, ""))
    if target := commit.details.get(RESTORED):
        text.append(f" to {target}")
    return text


def _signed(sign: str, rows: int | None, files: int, style: str) -> Text:
    from rich.text import Text

    if not files:
        return Text("")
    return Text(f"{sign}{count(rows)}" if rows is not None else count(rows), style=style)


def _files(commit: Commit) -> str:
    parts = [f"+{commit.files_added}" if commit.files_added else "", f"-{commit.files_removed}"]
    return " ".join(part for part in parts if part and part != "-0")


def _partitions(keys: tuple[str, ...]) -> str:
    if len(keys) <= _PARTITIONS_SHOWN:
        return ", ".join(keys)
    return f"{keys[0]} … {keys[-1]} ({len(keys)})"


def _document(commit: Commit) -> dict[str, object]:
    return {
        "version": commit.version,
        "time": commit.time.isoformat(),
        "operation": commit.operation,
        "run_id": commit.run_id or None,
        "partitions": list(commit.partitions),
        "rows": commit.rows,
        "rows_added": commit.rows_added,
        "rows_removed": commit.rows_removed,
        "files_added": commit.files_added,
        "files_removed": commit.files_removed,
        "details": dict(commit.details),
    }
