"""`medallion tables`: every table with its size, its version and how much of what landed it holds."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from medallion.cli.output import count, listing, plural, size, terminal

if TYPE_CHECKING:
    from rich.text import Text

_LAYER_STYLES = {"bronze": "orange4", "silver": "grey62", "gold": "gold3"}


def tables() -> None:
    """List all tables: rows, size, version, last write, partitions made of those landed, rows in quarantine."""
    from rich.text import Text

    from medallion.cli.lake import lake_of, landed_by_table, landed_for, quarantined, table_state, tables_of
    from medallion.landing import Landing
    from medallion.settings import Settings

    settings = Settings()
    declared = tables_of(settings)
    store = lake_of(settings)
    landed = landed_by_table(Landing(settings.landing_uri, settings.storage_options), declared)
    console = terminal()
    now = dt.datetime.now(dt.UTC)
    grid = listing(["table"], ["rows", "size", "version", "last write", "partitions", "quarantined"])
    total_rows = total_size = missing = 0
    before = None
    for table in declared.values():
        if before not in (None, table.group):
            grid.add_row()
        before = table.group
        state = table_state(store, table)
        label = Text.assemble((table.layer, _LAYER_STYLES[table.layer]), f"/{table.domain}/{table.name}")
        keys = landed_for(table, declared, landed)
        rejected = sum(quarantined(store, table).values())
        if state is None:
            missing += 1
            grid.add_row(label, Text("not made yet", style="bright_black"), "", "", "", _share(table, 0, len(keys)), "")
            continue
        total_rows, total_size = total_rows + state.rows, total_size + state.size
        grid.add_row(
            label,
            count(state.rows),
            size(state.size),
            str(state.version),
            ago(now - state.written),
            _share(table, state.made, len(keys)),
            Text(count(rejected) if rejected else "", style="yellow"),
        )
    console.print(grid)
    console.print(
        f"\n[bold]{plural(len(declared), 'table')}[/], {count(total_rows)} rows, {size(total_size)}"
        f" [bright_black]in {settings.lake_uri}[/]"
    )
    if missing:
        hint = "medallion run" if any(landed.values()) else "medallion land DOMAIN PATH, then medallion run"
        console.print(f"  [bright_black]{plural(missing, 'table')} not made yet: {hint}[/]")


def ago(age: dt.timedelta) -> str:
    """A time that has passed: `now`, `5 min ago`, `3 h ago`, `2 days ago`."""
    seconds = age.total_seconds()
    if seconds < 60:
        return "now"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min ago"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.0f} h ago"
    return f"{seconds / 86400:.0f} days ago"


def _share(table: object, made: int, landed: int) -> str | Text:
    from rich.text import Text

    if getattr(table, "partitions", None) is None:
        return ""
    return Text(f"{made}/{landed}", style="" if made >= landed else "yellow")
