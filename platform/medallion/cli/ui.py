"""`medallion ui`: Dagster's web server and daemon."""

from __future__ import annotations

import typer


def ui() -> None:
    """Serve Dagster's UI on 127.0.0.1 until Ctrl-C."""
    from medallion.cli.output import terminal
    from medallion.instance.server import serve
    from medallion.settings import Settings

    settings = Settings()
    console = terminal()
    console.print("[bright_black]Starting Dagster …[/]")

    def told(line: str) -> None:
        console.print(line, markup=False)

    code = serve(settings.home, settings.workspace, settings.port, report=told, log_format=settings.log)
    if code:
        raise typer.Exit(code)
