"""`medallion generate DOMAIN`: made-up data of a domain, as files that are landed or as rows of its database."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from medallion.cli.domain import bars, land_into
from medallion.cli.output import count, plural, terminal

if TYPE_CHECKING:
    from rich.console import Console

    from medallion.settings import Settings
    from medallion.synthetic import Synthetic, SyntheticReport


class _Domains(TyperGroup):
    """A sub-command per domain that can be made up, with the options that its own `generate` takes."""

    def list_commands(self, _: Any) -> list[str]:
        from medallion.settings import Settings
        from medallion.synthetic import synthetic_domains

        return synthetic_domains(Settings().domains)

    def get_command(self, _: Any, cmd_name: str) -> Any:
        from medallion.settings import Settings
        from medallion.synthetic import synthetic_of

        settings = Settings()
        return _command(settings, cmd_name, synthetic_of(settings.domains, cmd_name))


app = typer.Typer(
    cls=_Domains, no_args_is_help=True, help="Make up a dataset: files that are landed, or a database that is filled."
)


@app.callback()
def _group() -> None:
    """Typer makes a group of sub-commands only of an app with a callback."""


def _command(settings: Settings, domain: str, synthetic: Synthetic) -> Any:
    """The sub-command of a domain."""
    # Defaults, not annotations: the option's name is known only now.
    size = typer.Option(
        synthetic.default, f"--{synthetic.size}", help=f"Number of {synthetic.size}; the default is the real dataset's."
    )
    seed = typer.Option(1, "--seed", help="Same seed, same data.")
    folder = typer.Option(None, "--out", metavar="DIR", help="Folder of the files. Default: <home>/synthetic/DOMAIN")

    def files(size: int = size, seed: int = seed, out: Path | None = folder) -> None:
        target = out or settings.home / "synthetic" / domain
        console = terminal()
        made = _made(console, domain, synthetic, target, f"in {target}", size, seed)
        _tell(console, synthetic, made, "file", size)
        land_into(settings, domain, target, console, note=" [bright_black](synthetic data)[/]")

    def database(size: int = size, seed: int = seed) -> None:
        url, place = _database(settings, domain)
        console = terminal()
        made = _made(console, domain, synthetic, url, f"in {place}", size, seed)
        _tell(console, synthetic, made, "table", size)
        console.print("  [bright_black]Next: medallion run[/]")

    command = typer.Typer(add_completion=False)
    command.command(domain, help=synthetic.summary)(files if synthetic.makes == "files" else database)
    return typer.main.get_command(command)


def _made(
    console: Console, domain: str, synthetic: Synthetic, target: Any, place: str, size: int, seed: int
) -> SyntheticReport:
    console.print(f"[bold]Generating synthetic {domain}[/] [bright_black]{place}; every row is made up[/]")
    with bars(console, count) as advance:
        make = partial(synthetic.generate, target, seed=seed, progress=advance)
        return make(**{synthetic.size: size})


def _tell(console: Console, synthetic: Synthetic, made: SyntheticReport, container: str, size: int) -> None:
    broken = sum(sum(rules.values()) for rules in made.broken.values())
    console.print(
        f"[green]✓[/] {count(sum(made.rows.values()))} synthetic rows in {plural(len(made.rows), container)}"
        f" [bright_black](seed {made.seed}, {count(size)} {synthetic.size}"
        f"{f', {count(broken)} rows broken on purpose' if made.broken else ''})[/]"
    )


def _database(settings: Settings, domain: str) -> tuple[str, str]:
    """URL of the domain's database, which is the embedded one if none is named, and what to call it."""
    from medallion.postgres import embedded
    from medallion.postgres.errors import url_setting

    url = settings.database_url(domain)
    if url is not None:
        return url.get_secret_value(), f"the database of {url_setting(domain)}"
    return embedded.create(settings.home), f"the embedded PostgreSQL at {settings.home / 'postgres'}"
