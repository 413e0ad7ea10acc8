"""`medallion jars`: what Apache Spark needs beside its own jars, for this machine and for those without access."""

from __future__ import annotations

import typer

from medallion.cli.run import Json

app = typer.Typer(no_args_is_help=True, help="The jars of Apache Spark's Delta Lake and object store.")


@app.callback()
def _jars() -> None:
    """A group, so that its one command keeps its name."""


@app.command("fetch")
def fetch_jars(as_json: Json = False) -> None:
    """Resolve MEDALLION_SPARK_PACKAGES from Maven repositories into MEDALLION_SPARK_JARS; quick if they are there."""
    from medallion.cli.output import plural, print_json, size, terminal
    from medallion.engine.jars import default_folder, fetch
    from medallion.settings import Settings

    settings = Settings()
    folder = settings.spark_jars or default_folder()
    packages = settings.spark_packages.split(",")
    console = terminal()
    if not as_json:
        console.print(f"[bright_black]Resolving {', '.join(packages)} …[/]")
    jars = fetch(folder, packages)
    total = sum(jar.stat().st_size for jar in jars)
    if as_json:
        print_json({"folder": str(folder), "packages": packages, "jars": [jar.name for jar in jars], "bytes": total})
        return
    console.print(f"[green]✓[/] {plural(len(jars), 'jar')}, {size(total)}, in {folder}", highlight=False)
