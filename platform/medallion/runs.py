"""Planned runs executed in this process, as normal runs of the instance that Dagster's UI shows."""

from __future__ import annotations

import fcntl
import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from medallion.domains import declared_tables
from medallion.planning import PlannedRun, common_partitions, tagged_ranges
from medallion.run_folder import remove_run_folder
from medallion.run_partitions import create_run
from medallion.settings import Settings
from medallion.tables import Table

if TYPE_CHECKING:
    from dagster._core.definitions.job_definition import JobDefinition
    from dagster._core.definitions.repository_definition import RepositoryDefinition
    from dagster._core.remote_origin import RemoteJobOrigin

_LOST = "medallion/lost"
"""Tag of a run whose process was killed."""
_RECENT = 50
"""So many runs are looked through for the last one of the same tables."""
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class PlatformError(LookupError):
    """The definitions or a job of theirs can't be found; the message says where they were looked for."""


@dataclass(frozen=True)
class Platform:
    """The loaded definitions and the tables they are made of.

    Attributes:
        settings: of this environment.
        tables: all declared tables by label.
        definitions: Dagster's definitions.
    """

    settings: Settings
    tables: Mapping[str, Table]
    definitions: dg.Definitions

    @cached_property
    def repository(self) -> RepositoryDefinition:
        """The definitions with all jobs resolved."""
        return self.definitions.get_repository_def()


def load_platform(settings: Settings) -> Platform:
    """Import the definitions that the settings name.

    Raises:
        PlatformError: there is no such module, or it has no `defs`.
    """
    name = settings.definitions
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.split(".")[0] and error.name != name:
            raise
        raise PlatformError(
            f"There is no module {name!r} here. Run from the repository's folder, or set MEDALLION_DEFINITIONS."
        ) from error
    definitions = getattr(module, "defs", None)
    if not isinstance(definitions, dg.Definitions):
        raise PlatformError(f"Module {name!r} has no Dagster definitions named `defs`. Set MEDALLION_DEFINITIONS.")
    return Platform(settings, {table.label: table for table in declared_tables(settings.domains)}, definitions)


def job_for(platform: Platform, tables: Sequence[Table]) -> JobDefinition:
    """The job whose run makes some tables: their domain's, if it has one that covers them, else Dagster's asset job.

    Raises:
        PlatformError: no job holds all of them.
    """
    keys = {table.key for table in tables}
    domains = {table.domain for table in tables}
    repository = platform.repository
    if len(domains) == 1 and repository.has_job(domain := next(iter(domains))):
        job = repository.get_job(domain)
        if keys <= set(job.asset_layer.executable_asset_keys):
            return job
    implicit = repository.get_implicit_job_def_for_assets(keys)
    if implicit is None:
        raise PlatformError(f"No job makes all of {sorted(table.label for table in tables)}. Select them separately.")
    return implicit


def execute(
    platform: Platform, instance: dg.DagsterInstance, planned: PlannedRun, *, verbose: bool = False
) -> Iterator[tuple[str, dg.DagsterEvent]]:
    """Execute a planned run in this process and give its events as they happen.

    The run is stored with the code location of the workspace file, so the UI links it like one that it launched. If the
    last run of the same tables and partitions was killed, this one is its re-execution: what that one appended before
    it died is not appended again.

    Args:
        platform: the definitions.
        instance: where runs are kept; a persistent one.
        planned: assets and partitions.
        verbose: whether Dagster writes its events to stderr as well, and what the code of the run prints is shown here
            and not only on the run's page.

    Yields:
        The run's id with every event of it, as it happens.
    """
    from dagster._core.execution.api import execute_run_iterator

    tables = [platform.tables["/".join(key.path)] for key in planned.assets]
    job = job_for(platform, tables)
    keys = set(planned.assets)
    selection = None if keys == set(job.asset_layer.executable_asset_keys) else keys
    lost = _lost_run(instance, job.name, selection, planned)
    run = create_run(
        instance,
        job,
        common_partitions(tables),
        {**job.run_tags, **planned.tags},
        run_config=None if verbose else _QUIET,
        parent_run_id=lost.run_id if lost else None,
        root_run_id=(lost.root_run_id or lost.run_id) if lost else None,
        asset_selection=selection,
        remote_job_origin=_origin(platform.settings, job.name),
    )
    if not verbose:
        _capture_into_files(instance)
    with _announced(platform.settings.home, run.run_id):
        for event in execute_run_iterator(_loadable(platform.settings, job), run, instance):
            yield run.run_id, event


def _lost_run(
    instance: dg.DagsterInstance, job_name: str, selection: set[dg.AssetKey] | None, planned: PlannedRun
) -> dg.DagsterRun | None:
    """The last run of the same tables and partitions, if its process was killed."""
    filters = dg.RunsFilter(job_name=job_name, tags=dict(planned.tags))
    for run in instance.get_runs(filters, limit=_RECENT):
        if run.asset_selection == selection and tagged_ranges(run.tags) == tagged_ranges(planned.tags):
            return run if _LOST in run.tags else None
    return None


def close_lost_runs(instance: dg.DagsterInstance, home: Path) -> list[str]:
    """Mark runs as failed whose process was killed, and give back the pools they held.

    Without this, the next run of the same table would wait for them for ever.

    Returns:
        Ids of the runs that were closed.
    """
    closed = []
    for path in sorted(_running(home).glob("*.run")):
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            run = instance.get_run_by_id(path.stem)
            if run is not None:
                if not run.is_finished:
                    instance.report_run_failed(run, "The process of this run ended before the run did.")
                    closed.append(run.run_id)
                if not run.is_success:
                    # Run monitoring may have marked it as failed already.
                    instance.add_run_tags(run.run_id, {_LOST: "true"})
                instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
                remove_run_folder(home, run.run_id)
            path.unlink(missing_ok=True)
    return closed


@contextmanager
def _announced(home: Path, run_id: str) -> Iterator[None]:
    """Hold a lock for as long as this process lives; the kernel lets go of it however the process ends."""
    folder = _running(home)
    folder.mkdir(parents=True, exist_ok=True)
    path, hidden = folder / f"{run_id}.run", folder / f"{run_id}.tmp"
    with hidden.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        hidden.rename(path)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _running(home: Path) -> Path:
    return home.expanduser().resolve() / "running"


def _capture_into_files(instance: dg.DagsterInstance) -> None:
    """Keep what a run prints in the files of its page, without the four processes that also mirror it to a terminal.

    The stock capture starts two `tail` and two Python processes per run; Ctrl-C makes the latter print stack traces.
    """
    from dagster._core.execution.compute_logs import redirect_to_file
    from dagster._core.storage.compute_log_manager import CapturedLogContext, ComputeIOType
    from dagster._core.storage.local_compute_log_manager import IO_TYPE_EXTENSION, LocalComputeLogManager
    from dagster._utils import ensure_file, touch_file

    manager = instance.compute_log_manager
    if not isinstance(manager, LocalComputeLogManager):
        return

    @contextmanager
    def capture_logs(log_key: Sequence[str]) -> Iterator[CapturedLogContext]:
        paths = [
            manager.get_captured_local_path(log_key, IO_TYPE_EXTENSION[kind])
            for kind in (ComputeIOType.STDOUT, ComputeIOType.STDERR)
        ]
        for path in paths:
            ensure_file(path)
        with redirect_to_file(sys.stdout, paths[0]), redirect_to_file(sys.stderr, paths[1]):
            yield CapturedLogContext(log_key)
        touch_file(manager.complete_artifact_path(log_key))  # type: ignore[no-untyped-call]

    manager.capture_logs = capture_logs  # type: ignore[method-assign]


def _loadable(settings: Settings, job: JobDefinition) -> Any:
    """The job as Dagster executes it: as it is, or so that other processes can load it too."""
    from dagster._core.definitions.job_base import InMemoryJob
    from dagster._core.definitions.reconstruct import ReconstructableRepository

    if settings.executor == "in_process":
        return InMemoryJob(job)
    return ReconstructableRepository.for_module(settings.definitions, "defs", str(Path.cwd())).get_reconstructable_job(
        job.name
    )


def _origin(settings: Settings, job_name: str) -> RemoteJobOrigin | None:
    """Where the web server finds the job: the location of the workspace file that loads the same definitions."""
    from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
    from dagster._core.remote_origin import ManagedGrpcPythonEnvCodeLocationOrigin, RemoteRepositoryOrigin
    from dagster._core.workspace.load_target import WorkspaceFileTarget

    if not settings.workspace.is_file():
        return None
    for origin in WorkspaceFileTarget([str(settings.workspace)]).create_origins():
        if isinstance(origin, ManagedGrpcPythonEnvCodeLocationOrigin):
            target = origin.loadable_target_origin
            if settings.definitions in (target.module_name, target.package_name):
                return RemoteRepositoryOrigin(origin, SINGLETON_REPOSITORY_NAME).get_job_origin(job_name)
    return None
