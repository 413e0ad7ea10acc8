"""`medallion doctor`: what this machine and its settings lack, each with the next step."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

import typer
from rich.markup import escape

from medallion.cli.output import explanation, plural, print_json, size, terminal
from medallion.cli.run import Json
from medallion.storage_errors import storage_error

if TYPE_CHECKING:
    from obstore.store import ObjectStore

    from medallion.settings import Settings

Verdict = Literal["ok", "warn", "fail"]
_PYTHON = (3, 11)
_LITTLE_BYTES = 2_000_000_000
_PATIENCE_SECONDS = 2
"""Several examinations ask the object store; a server that is down is not to be waited for by each."""
_MARKS = {"ok": "[green]✓[/]", "warn": "[yellow]![/]", "fail": "[bold red]✗[/]"}


@dataclass(frozen=True)
class Finding:
    """What one examination found.

    Attributes:
        name: what was examined.
        verdict: `ok`, `warn` (works, but look at it) or `fail`.
        detail: what was found.
        next: what to do; empty if nothing.
    """

    name: str
    verdict: Verdict
    detail: str
    next: str = ""


def doctor(as_json: Json = False) -> None:
    """Check Python, packages, engine, storage, disk, port and definitions; exit code 1 if something fails."""
    from medallion.object_store import patience
    from medallion.settings import Settings

    settings = Settings()
    console = terminal()
    findings = []
    for name, examine in _EXAMINATIONS.items():
        with patience(_PATIENCE_SECONDS):
            finding = _examined(name, examine, settings)
        findings.append(finding)
        if not as_json:
            console.print(f"{_MARKS[finding.verdict]} [bold]{name:<12}[/] {escape(finding.detail)}")
            if finding.next:
                console.print(f"  {'':<12} [bright_black]→ {escape(finding.next)}[/]")
    failed = sum(finding.verdict == "fail" for finding in findings)
    warned = sum(finding.verdict == "warn" for finding in findings)
    if as_json:
        print_json({"healthy": not failed, "findings": [asdict(finding) for finding in findings]})
    else:
        console.print(f"\n[bold]{plural(failed, 'failure')}, {plural(warned, 'warning')}[/]")
    if failed:
        raise typer.Exit(1)


class _Noted:
    """An examination that ends with an error has found something: the error."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    def __enter__(self) -> _Noted:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if isinstance(error, Exception):
            self.error = error
        return self.error is not None


Facts = tuple[Verdict, str] | tuple[Verdict, str, str]
Examination = Callable[["Settings"], Facts]


def _examined(name: str, examine: Examination, settings: Settings) -> Finding:
    with _Noted() as noted:
        return Finding(name, *examine(settings))
    assert noted.error is not None
    if (refusal := storage_error(noted.error)) is not None:
        return Finding(name, "fail", refusal.problem, refusal.advice)
    known = explanation(noted.error)
    return Finding(name, "fail", known or f"{type(noted.error).__name__}: {noted.error}", _ADVICE.get(name, ""))


def _python(_: Settings) -> Facts:
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] == _PYTHON:
        return "ok", version
    return "fail", f"{version}, but 3.11 is needed", "make setup PYTHON=/path/to/python3.11"


def _packages(_: Settings) -> Facts:
    from importlib import metadata

    from packaging.requirements import Requirement

    wrong, number = [], 0
    for text in metadata.requires("medallion") or []:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        number += 1
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} is {version}, wanted {requirement.specifier}")
    if wrong:
        return "fail", "; ".join(wrong), "make setup installs the locked versions"
    return "ok", f"all {number} requirements are installed in their versions"


def _definitions(settings: Settings) -> Facts:
    from medallion.runs import load_platform

    platform = load_platform(settings)
    assets = len(list(platform.repository.asset_graph.materializable_asset_keys))
    if not platform.tables:
        return "warn", "no domain declares a table", f"add a domain below {settings.domains}/"
    domains = sorted({table.domain for table in platform.tables.values()})
    return "ok", f"{plural(assets, 'asset')} of {plural(len(domains), 'domain')}: {', '.join(domains)}"


def _engine(settings: Settings) -> Facts:
    import time

    from medallion.engine.resource import SparkEngine

    began = time.perf_counter()
    engine = SparkEngine.from_settings(settings)
    answer = engine.spark_session.sql("SELECT 1 + 1").collect()[0][0]
    what = "sail, embedded" if settings.engine == "sail" else settings.engine.split(";")[0]
    if answer != 2:
        return "fail", f"{what}: 1 + 1 = {answer}", "check what MEDALLION_ENGINE points at"
    return "ok", f"{what}, answered in {time.perf_counter() - began:.1f} s"


def _lake(settings: Settings) -> Facts:
    import obstore

    store, name = _probe(settings.lake_uri, settings)
    obstore.put(store, name, b"")
    obstore.delete(store, name)
    return "ok", f"{settings.lake_uri} can be written"


def _commits(settings: Settings) -> Facts:
    from medallion.cli.lake import lake_of
    from medallion.delta.conditional_put import require_conditional_put

    require_conditional_put(lake_of(settings))
    return "ok", f"only one of several writers wins a commit below {settings.lake_uri}"


def _landing(settings: Settings) -> Facts:
    import obstore
    from obstore.exceptions import PermissionDeniedError

    from medallion.domains import domain_names
    from medallion.landing import Landing

    landing = Landing(settings.landing_uri, settings.storage_options)
    domains = domain_names(settings.domains)
    slices = sum(len(landing.scan(domain)) for domain in domains)
    store, name = _probe(settings.landing_uri, settings)
    try:
        obstore.put(store, name, b"")
    except PermissionDeniedError:
        # Runs only read it, and a deployed platform should have no more rights than that.
        found = f"{landing.root} can be read, not written; {plural(slices, 'slice')} landed"
        return "warn", found, "nothing, if files are landed by another user"
    obstore.delete(store, name)
    if not slices:
        domain = domains[0] if domains else "DOMAIN"
        return "warn", f"{landing.root} can be written, but nothing has landed", f"medallion land {domain} PATH"
    return "ok", f"{landing.root} can be written; {plural(slices, 'slice')} landed"


def _probe(uri: str, settings: Settings) -> tuple[ObjectStore, str]:
    """A place, and the name of an object of this process's own in it."""
    import os

    from medallion.object_store import open_store

    return open_store(uri, settings.storage_options), f".doctor-{os.getpid()}"


def _capture(settings: Settings) -> Facts:
    from medallion.cli.lake import tables_of
    from medallion.postgres.pending import slots_of
    from medallion.postgres.resource import source_url

    mirrored = sorted({table.domain for table in tables_of(settings).values() if table.reads_source})
    told, problems = [], []
    for domain in filter(settings.captures, mirrored):
        states, wrong = slots_of(domain, source_url(settings.home, domain))
        problems += wrong
        told += [f"{state.name} is {size(state.behind)} of log behind" for state in states]
        if not states:
            told.append(f"{domain} is not captured yet")
    if problems:
        return "fail", "; ".join(problems)
    return "ok", "; ".join(told) or "no database is captured (set PAGILA_CAPTURE=true, for example)"


def _candidates(settings: Settings) -> Facts:
    from medallion.cli.lake import candidates, lake_of, tables_of

    store = lake_of(settings)
    paths = [path for path in store.tables() if path[0] != "quarantine"]
    paths += [table.path for table in tables_of(settings).values() if table.path not in paths]
    left = {"/".join(path): len(candidates(store, path)) for path in paths}
    found = {label: number for label, number in left.items() if number}
    if not found:
        return "ok", "no blocked write left one"
    told = ", ".join(f"{label} ({number})" for label, number in sorted(found.items())[:3])
    number = plural(sum(found.values()), "candidate")
    return "warn", f"{number} of blocked writes: {told}", f"medallion show {min(found)} --candidate"


def _instance(settings: Settings) -> Facts:
    from medallion.instance.home import open_instance

    with open_instance(settings.home) as instance:
        runs = instance.get_runs_count()
    return "ok", f"{settings.home.expanduser().resolve()} with {plural(runs, 'run')}"


def _disk(settings: Settings) -> Facts:
    folder = settings.home.expanduser().resolve()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < _LITTLE_BYTES:
        return "warn", f"{size(free)} free at {folder}", "make room, or set MEDALLION_HOME to another disk"
    return "ok", f"{size(free)} free at {folder}"


def _port(settings: Settings) -> Facts:
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", settings.port))
        except OSError as error:
            advice = "stop what listens there if that is not medallion ui, or set MEDALLION_PORT"
            return "warn", f"127.0.0.1:{settings.port} can't be used ({error.strerror})", advice
    return "ok", f"127.0.0.1:{settings.port} is free for medallion ui"


def _workspace(settings: Settings) -> Facts:
    path = Path(settings.workspace)
    if path.is_file():
        return "ok", str(path)
    return "fail", f"{path} does not exist", "run from the repository's folder, or set MEDALLION_WORKSPACE"


_EXAMINATIONS: dict[str, Examination] = {
    "python": _python,
    "packages": _packages,
    "definitions": _definitions,
    "workspace": _workspace,
    "engine": _engine,
    "lake": _lake,
    "commits": _commits,
    "landing": _landing,
    "capture": _capture,
    "candidates": _candidates,
    "instance": _instance,
    "disk": _disk,
    "port": _port,
}
_ADVICE = {
    "definitions": "run from the repository's folder; medallion run --verbose shows the whole trace",
    "engine": "set MEDALLION_ENGINE to sail, or to the sc:// address of a server that runs",
    "lake": "check MEDALLION_LAKE and the AWS_* variables",
    "commits": "use a server with an atomic conditional PUT, or set MEDALLION_LAKE to a folder",
    "landing": "check MEDALLION_LANDING and the AWS_* variables",
    "instance": "check MEDALLION_HOME, and dagster/dagster.yaml below it if you edited it",
}
