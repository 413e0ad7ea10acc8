"""`medallion capture`: follow a database's log into bronze, until Ctrl-C or once."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medallion.cli.domain import Domain
from medallion.cli.output import complain, plural, terminal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from medallion.postgres.follow import Committed, Follower

_RETRY_SECONDS = (1.0, 30.0)
"""Shortest and longest wait before a server that went away is asked again."""


def capture(
    domain: Domain,
    once: Annotated[bool, typer.Option("--once", help="Catch up with the log and end.")] = False,
    reload: Annotated[
        bool, typer.Option("--reload", help="Load every table whole first: after the slot was lost or dropped.")
    ] = False,
) -> None:
    """Follow the log of a domain's database: changes are in bronze within a second or two."""
    from medallion.cli.run import prepare_logs
    from medallion.instance.home import open_instance
    from medallion.settings import Settings

    settings = Settings()
    prepare_logs(settings, verbose=False)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        # A batch that has begun is committed; the next one is not begun.
        signal.signal(number, lambda *_: stop.set())
    with open_instance(settings.home) as instance:
        _capture(_follower(settings, domain, instance), terminal(), stop, once=once, reload=reload)


def _follower(settings: Any, domain: str, instance: Any) -> Follower:
    from medallion.cli.lake import lake_of, tables_of
    from medallion.delta.conditional_put import require_conditional_put
    from medallion.domains import DomainError
    from medallion.engine.resource import SparkEngine
    from medallion.postgres.follow import Follower
    from medallion.postgres.resource import source_url

    tables = tables_of(settings)
    if not any(table.reads_source for table in tables.values() if table.domain == domain):
        mirrored = sorted({table.domain for table in tables.values() if table.reads_source})
        raise DomainError(f"domain {domain!r} has no table of a database to capture; {mirrored or 'none'} have")
    store = lake_of(settings)
    require_conditional_put(store)
    engine = SparkEngine.from_settings(settings)
    return Follower(domain, source_url(settings.home, domain), tables, store, engine, instance)


def _capture(follower: Follower, console: Console, stop: threading.Event, *, once: bool, reload: bool) -> None:
    from medallion.postgres.errors import SourceUnavailableError

    wait = _RETRY_SECONDS[0]
    while not stop.is_set():
        try:
            with follower.opened(reload=reload) as capture:
                reload = False
                console.print(f"[bold]Capturing {follower.domain}[/] [bright_black]by slot {capture.slot.name}[/]")
                _tell(console, follower.catch_up(capture))
                wait = _RETRY_SECONDS[0]
                if once:
                    return
                console.print("[bright_black]bronze is where the log is; Ctrl-C ends[/]")
                _tell(console, follower.follow(capture, stop))
        except SourceUnavailableError as error:
            if once:
                raise
            complain(f"{error}; trying again in {wait:.0f} s")
            stop.wait(wait)
            wait = min(2 * wait, _RETRY_SECONDS[1])


def _tell(console: Console, committed: Iterable[Committed]) -> None:
    for done in committed:
        what = "rows loaded" if done.lag_seconds is None else plural(done.changes, "change")
        number = f"{done.changes:,} {what}" if done.lag_seconds is None else what
        counts = ", ".join(
            f"{count:,} {name.removeprefix('rows_')}"
            for name, count in done.metrics.items()
            if name.startswith("rows_") and count
        )
        lag = "" if done.lag_seconds is None else f", {done.lag_seconds:.2f} s after the first"
        console.print(f"[green]✓[/] {done.table.label}: {number} [bright_black]({counts or 'nothing differs'}{lag})[/]")
