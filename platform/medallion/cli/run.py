"""`medallion run`: plan, execute, show, sum up."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medallion.cli.output import complain, count, plural, print_json, screen

if TYPE_CHECKING:
    from dagster import PartitionsDefinition
    from rich.console import Console

    from medallion.cli.progress import RunOutcome, TableOutcome
    from medallion.planning import PlannedRun
    from medallion.runs import Platform
    from medallion.settings import Settings
    from medallion.tables import Table

Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Write Dagster's own log and whole stack traces.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else on stdout.")]

_WARNINGS_SHOWN = 8


def run(
    select: Annotated[
        list[str] | None,
        typer.Option(
            "--select",
            "-s",
            metavar="SELECTION",
            help="Tables, in Dagster's selection syntax: silver/olist/orders, 'group:olist_gold', "
            "'key:\"silver/olist/orders\"+'. Repeat it to add more. Default: all; with --partitions, those that have "
            "partitions and what is made from them.",
        ),
    ] = None,
    partitions: Annotated[
        str | None,
        typer.Option(
            "--partitions", "-p", metavar="A...B[,C]", help="Partition keys and ranges. Default: all that arrived."
        ),
    ] = None,
    changed: Annotated[
        bool,
        typer.Option(
            "--changed",
            help="Only what has changed: files that landed, rows of databases, and the tables that are stale for it.",
        ),
    ] = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Make tables: every asset and every partition for which something arrived, or those that are selected."""
    from medallion.settings import Settings

    if changed and partitions is not None:
        raise typer.BadParameter("--changed finds the partitions itself; leave --partitions out.")
    settings = Settings()
    prepare_logs(settings, verbose)
    result = RunResult()
    with screen() as console:
        shows = board(console, settings, as_json)
        with shows.shown():
            run_selection(settings, select or [], partitions, shows, result, changed=changed, verbose=verbose)
        report(result, console, settings, as_json=as_json, verbose=verbose)
    if as_json:
        print_json(result.document())
    if not result.success:
        raise typer.Exit(130 if result.interrupted else 1)


@dataclass
class RunResult:
    """All runs of one command."""

    runs: list[RunOutcome] = field(default_factory=list)
    planned: int = 0
    interrupted: bool = False
    began: float = field(default_factory=time.perf_counter)

    @property
    def success(self) -> bool:
        """Whether everything that was planned was made."""
        return len(self.runs) == self.planned and all(run.success for run in self.runs) and not self.interrupted

    @property
    def outcomes(self) -> list[TableOutcome]:
        """Tables of all runs; one that several runs made is there as often."""
        return [outcome for run in self.runs for outcome in run.tables.values()]

    @property
    def errors(self) -> list[dict[str, Any]]:
        """What went wrong, by table; errors of a run itself have no table."""
        errors: list[dict[str, Any]] = []
        for run in self.runs:
            for o in run.tables.values():
                if o.cause and not run.interrupted:
                    errors.append({"run_id": run.run_id, "table": o.table.label, "error": o.error, "next": _next(o)})
            if run.cause and not run.interrupted:
                known = None if run.cause.explained else "medallion doctor"
                errors.append({"run_id": run.run_id, "table": None, "error": run.cause.message, "next": known})
        return errors

    def document(self) -> dict[str, Any]:
        """For machines."""
        return {
            "success": self.success,
            "seconds": round(time.perf_counter() - self.began, 3),
            "assets": len({outcome.table.label for outcome in self.outcomes}),
            "rows": sum(outcome.rows_out or 0 for outcome in self.outcomes),
            "quarantined": sum(outcome.quarantined or 0 for outcome in self.outcomes),
            "checks": {
                "passed": sum(check.passed for outcome in self.outcomes for check in outcome.checks),
                "failed": sum(len(outcome.failed_checks) for outcome in self.outcomes),
                "blocking": sum(check.blocks for outcome in self.outcomes for check in outcome.failed_checks),
            },
            "runs": [run.document() for run in self.runs],
            "errors": self.errors,
        }


def prepare_logs(settings: Settings, verbose: bool) -> None:
    """Log warnings only, unless log lines are what was asked for."""
    from medallion.logs import configure_logs

    wanted = logging.INFO if verbose or settings.log == "json" else logging.WARNING
    configure_logs(settings.log, wanted)


def board(console: Console, settings: Settings, as_json: bool) -> Any:
    """What shows the progress: lines, log records, or nothing."""
    from medallion.cli.board import Lines, LogLines, Silence

    if settings.log == "json":
        return LogLines()
    return Silence() if as_json else Lines(console)


def run_selection(
    settings: Settings,
    selections: Sequence[str],
    partitions: str | None,
    shows: Any,
    result: RunResult,
    *,
    changed: bool = False,
    verbose: bool,
) -> None:
    """Plan a selection and execute it.

    Raises:
        SelectionError: there is nothing to run, or no run can cover it.
        PlatformError: the definitions can't be found.
    """
    from medallion.cli.selection import select
    from medallion.planning import touched_by_partitions
    from medallion.runs import load_platform

    platform = load_platform(settings)
    tables = select(platform, selections)
    if changed:
        execute_changed(platform, tables, shows, result, verbose=verbose)
        return
    if partitions is not None and not selections:
        tables = touched_by_partitions(tables)
    plan = plan_selection(platform, tables, partitions)
    execute_plan(platform, plan, shows, result, verbose=verbose)


def execute_changed(
    platform: Platform, tables: Sequence[Table], shows: Any, result: RunResult, *, verbose: bool
) -> None:
    """Make bronze of what is new, then what is stale for it; nothing more, if anything of bronze fails.

    Args:
        platform: the definitions.
        tables: what is selected, in the order of the graph.
        shows: shows the progress.
        result: gets the runs.
        verbose: whether Dagster's own log is written.
    """
    from medallion.arrived import landed_or_dated
    from medallion.cli.lake import lake_of
    from medallion.instance.home import open_instance
    from medallion.landing import Landing
    from medallion.landing_sensor import changed_slices
    from medallion.planning import arrived_keys, by_domain, plan_run
    from medallion.postgres.resource import Databases
    from medallion.stale import stale_tables

    landing = Landing(platform.settings.landing_uri, platform.settings.storage_options)
    with closing(Databases(home=str(platform.settings.home))) as databases:
        arrived = landed_or_dated(landing.slices, databases.database)
        with open_instance(platform.settings.home) as instance:
            plan = changed_slices(tables, landing, instance)
        for own in by_domain([table for table in tables if table.reads_source and databases.has(table.domain)]):
            plan += plan_run(own, ())
        execute_plan(platform, plan, shows, result, verbose=verbose)
        if not result.success:
            return
        store, plan = lake_of(platform.settings), []
        for own in by_domain([table for table in tables if table.layer != "bronze"]):
            keys = arrived_keys(own, platform.tables, arrived)
            stale, stale_keys = stale_tables(own, platform.tables, store, keys)
            plan += plan_run(stale, stale_keys)
    execute_plan(platform, plan, shows, result, verbose=verbose)


def plan_selection(platform: Platform, tables: Sequence[Table], partitions: str | None) -> list[PlannedRun]:
    """The runs that make some tables, domain by domain.

    Named partitions are one run, so that each table gets them in one commit or not at all. What has landed is one run
    per contiguous range, so that a bad range does not keep the others from being made.

    Args:
        platform: the definitions.
        tables: what is selected.
        partitions: the keys that a person named; None for all that have landed.

    Raises:
        SelectionError: a key does not exist, the tables have no partitions, or no run can cover them.
        LandingError: nothing has landed for any of them, and no database is known.
        SourceError: a database can't be asked what it has.
    """
    from medallion.arrived import landed_or_dated
    from medallion.landing import Landing, LandingError
    from medallion.planning import arrived_keys, by_domain, common_partitions, parse_keys, plan_run, plan_runs
    from medallion.postgres.resource import Databases

    domains = by_domain(tables)
    if partitions is not None:
        named = parse_keys(partitions, _named_partitions(domains))
        return [run for own in domains for run in plan_run(own, named)]
    landing = Landing(platform.settings.landing_uri, platform.settings.storage_options)
    plan: list[PlannedRun] = []
    empty: dict[str, str] = {}
    with closing(Databases(home=str(platform.settings.home))) as databases:
        arrived = landed_or_dated(landing.slices, databases.database)
        for own in domains:
            domain = own[0].domain
            if any(table.reads_source for table in own) and not databases.has(domain):
                empty[domain] = (
                    f"it has no database. Set {domain.upper()}_URL, or make one with `medallion generate {domain}`."
                )
                continue
            keys = arrived_keys(own, platform.tables, arrived)
            if common_partitions(own) is not None and not keys:
                empty[domain] = (
                    f"nothing has landed for it in {landing.root}. Land files with `medallion land {domain} PATH`, "
                    f"make some with `medallion generate {domain}`, or name partitions with --partitions."
                )
            else:
                plan += plan_runs(own, keys)
    if empty and not plan:
        raise LandingError("; ".join(f"{domain} can't be made: {reason}" for domain, reason in empty.items()))
    for domain, reason in empty.items():
        logging.getLogger("medallion.run").warning("%s is left out: %s", domain, reason)
    return plan


def _named_partitions(domains: Sequence[Sequence[Table]]) -> PartitionsDefinition[Any]:
    """The partitions that named keys are of."""
    from medallion.planning import SelectionError, common_partitions

    found = {own[0].domain: definition for own in domains if (definition := common_partitions(own)) is not None}
    if not found:
        raise SelectionError("None of the selected tables has partitions; leave --partitions out.")
    first, *others = found.values()
    if any(other != first for other in others):
        raise SelectionError(
            f"The domains {', '.join(found)} have different partitions, so --partitions needs one of them: "
            f"add for example --select 'key:\"*/{next(iter(found))}/*\"'."
        )
    return first


def execute_plan(
    platform: Platform, plan: Sequence[PlannedRun], shows: Any, result: RunResult, *, verbose: bool
) -> None:
    """Execute planned runs one after the other; one that fails does not keep the others' partitions from being made."""
    from dagster import DagsterExecutionInterruptedError

    from medallion.cli.progress import RunOutcome
    from medallion.instance.home import open_instance
    from medallion.runs import close_lost_runs, execute

    # By default SIGTERM ends Python at once, and the run would look alive.
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    result.planned += len(plan)
    with open_instance(platform.settings.home) as instance:
        close_lost_runs(instance, platform.settings.home)
        for number, planned in enumerate(plan, start=1):
            tables = [platform.tables["/".join(key.path)] for key in planned.assets]
            outcome = RunOutcome(planned.label, tables)
            result.runs.append(outcome)
            shows.begin(outcome, number, len(plan))
            try:
                for run_id, event in execute(platform, instance, planned, verbose=verbose):
                    outcome.run_id = run_id
                    finished = outcome.see(event)
                    if finished is not None:
                        shows.finished(outcome, finished)
            except (KeyboardInterrupt, DagsterExecutionInterruptedError):
                result.interrupted = True
            finally:
                outcome.end()
            for skipped in outcome.tables.values():
                if skipped.state == "skipped":
                    shows.finished(outcome, skipped)
            result.interrupted |= outcome.interrupted
            if result.interrupted:
                return


def report(result: RunResult, console: Console, settings: Settings, *, as_json: bool, verbose: bool) -> None:
    """Sum up on the console, and tell each error with the next step on stderr."""
    if settings.log == "json":
        _log_summary(result)
        return
    if not as_json:
        _summary(result, console)
    for error in result.errors:
        where = f"{error['table']}: " if error["table"] else ""
        complain(f"{where}{error['error']}" + (f"\n  Next: {error['next']}" if error["next"] else ""))
    if verbose:
        causes = [outcome.cause for outcome in result.outcomes] + [run.cause for run in result.runs]
        for cause in causes:
            if cause is not None and cause.trace:
                complain(cause.trace)
    if result.interrupted:
        complain("Interrupted. What was being written is not published; run it again.")


def _log_summary(result: RunResult) -> None:
    log = logging.getLogger("medallion.run")
    for error in result.errors:
        log.error(error["error"], extra=error)
    totals = {key: value for key, value in result.document().items() if key not in ("runs", "errors")}
    log.info("finished", extra={**totals, "interrupted": result.interrupted})


def _summary(result: RunResult, console: Console) -> None:
    totals = result.document()
    failed = totals["checks"]["blocking"]
    warned = [
        (run, outcome, check)
        for run in result.runs
        for outcome in run.tables.values()
        for check in outcome.failed_checks
        if not check.blocks and not check.quarantines
    ]
    for run, outcome, check in warned[:_WARNINGS_SHOWN]:
        which = f" [bright_black]{run.label}[/]" if len(result.runs) > 1 else ""
        console.print(f"[yellow]![/] {outcome.table.label} {check.name}: {check.summary}{which}")
    if len(warned) > _WARNINGS_SHOWN:
        console.print(
            f"[yellow]![/] … and {plural(len(warned) - _WARNINGS_SHOWN, 'more warning')}; medallion ui has all"
        )
    made = sum(outcome.state == "done" for outcome in result.outcomes)
    mark = "[bold green]✓[/]" if result.success else "[bold red]✗[/]"
    parts = [
        _made(made, len(result.outcomes)) + (f" in {len(result.runs)} runs" if len(result.runs) > 1 else ""),
        f"{count(totals['rows'])} rows",
        f"{count(totals['quarantined'])} quarantined",
        f"{plural(failed, 'failed check')}" + (f", {plural(len(warned), 'warning')}" if warned else ""),
        f"{totals['seconds']:.1f} s",
    ]
    console.print(f"{mark} [bold]{parts[0]}[/], {', '.join(parts[1:])}")
    looks = ["medallion tables", *(["medallion quarantine list"] if totals["quarantined"] else []), "medallion ui"]
    console.print(f"  [bright_black]Look at it with: {'  ·  '.join(looks)}[/]")


def _made(made: int, of: int) -> str:
    return f"{plural(made, 'table')} made" if made == of else f"{made} of {plural(of, 'table')} made"


def _next(outcome: TableOutcome) -> str | None:
    if outcome.cause and outcome.cause.explained:
        return None
    label = outcome.table.label
    if outcome.state == "blocked":
        return f"medallion show {label} --candidate"
    return f"medallion run -s {label} --verbose, which shows the whole trace; medallion ui has the run"
