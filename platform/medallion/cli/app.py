"""The `medallion` command: its sub-commands, and how their errors reach a person."""

from __future__ import annotations

import atexit
import gc
import os
import sys
import threading
import warnings
from contextlib import suppress
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from medallion.cli import generate, jars, quarantine
from medallion.cli.capture import capture
from medallion.cli.diff import changes, diff
from medallion.cli.doctor import doctor
from medallion.cli.domain import land
from medallion.cli.history import history, restore
from medallion.cli.maintain import maintain, unarchive
from medallion.cli.migrate import migrate
from medallion.cli.output import Explained
from medallion.cli.run import run
from medallion.cli.show import show
from medallion.cli.tables import tables
from medallion.cli.ui import ui


class _Commands(TyperGroup):
    """Every command's errors, explained in one place."""

    def invoke(self, ctx: Any) -> Any:
        with Explained():
            return super().invoke(ctx)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="A medallion lakehouse: land files, make tables, look at them.",
)
app.command("land")(land)
app.add_typer(generate.app, name="generate")
app.command("run")(run)
app.command("capture")(capture)
app.command("tables")(tables)
app.command("show")(show)
app.command("history")(history)
app.command("diff")(diff)
app.command("changes")(changes)
app.command("restore")(restore)
app.add_typer(quarantine.app, name="quarantine")
app.command("migrate")(migrate)
app.command("ui")(ui)
app.add_typer(jars.app, name="jars")
app.command("maintain")(maintain)
app.command("unarchive")(unarchive)
app.command("doctor")(doctor)


def main() -> None:
    """Entry point of the console script."""
    folder = os.getcwd()  # noqa: PTH109 - sys.path holds text
    if folder not in sys.path:
        # Domains, resources and definitions are the project's, not the wheel's.
        sys.path.insert(0, folder)
    # Start-up makes half a million objects that stay; looking through them a thousand times takes 0.8 s of a short run.
    gc.set_threshold(50_000, 20, 20)
    # Libraries' deprecation notes are for whoever maintains this, not for whoever runs it.
    warnings.simplefilter("ignore")
    try:
        app(prog_name="medallion")
    except SystemExit as ended:
        if isinstance(ended.code, int):
            _leave(ended.code)
        raise


def _leave(code: int) -> NoReturn:
    """End the process as multiprocessing ends its own: in order, but without Python's look through all that is left.

    That takes 1.3 s after a run, and whatever has to be stopped or removed is registered with atexit.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    with suppress(BrokenPipeError):
        sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
