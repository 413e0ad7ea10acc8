"""How the steps of a run are executed: in the run's own process, or each in one of its own on a shared engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.in_process import InProcessExecutor
from dagster._core.executor.multiprocess import MultiprocessExecutor

from medallion.graph import DATABASES
from medallion.instance.heartbeat import heartbeat
from medallion.run_folder import shared_run_folder
from medallion.settings import Settings

if TYPE_CHECKING:
    from dagster._core.execution.context.system import PlanOrchestrationContext
    from dagster._core.execution.plan.plan import ExecutionPlan

_PRELOADED = [
    "dagster._core.storage.runs",
    "dagster._core.storage.schedules",
    "dagster._core.workspace.context",
    "deltalake",
    "duckdb",
    "medallion.instance.event_log",
    "obstore",
    "pyspark.sql.connect.session",
    "upath",
]
"""What nearly every step imports; none starts a thread before it is used, so processes can be forked from them."""


def run_executor(settings: Settings) -> dg.ExecutorDefinition:
    """The executor of all jobs.

    Args:
        settings: which one, and of how many steps at a time; the module of the definitions is loaded once per run, by
            the process that the steps are forked from.
    """
    if settings.executor == "in_process":
        return dg.ExecutorDefinition(
            name="in_process", executor_creation_fn=lambda _: InOneProcess(retries=RetryMode.ENABLED)
        )
    return dg.ExecutorDefinition(
        name="multiprocess",
        requirements=dg.multiple_process_executor_requirements(),
        executor_creation_fn=lambda _: InSeveralProcesses(
            settings.home,
            retries=RetryMode.ENABLED,
            max_concurrent=settings.executor_steps,
            start_method="forkserver",
            explicit_forkserver_preload=[settings.definitions, *_PRELOADED],
        ),
    )


class InOneProcess(InProcessExecutor):
    """Dagster's in-process executor, which keeps the pool of a step that is interrupted between two of its events."""

    def execute(self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan) -> Iterator[Any]:
        """Execute the steps of a run one after the other."""
        instance = plan_context.instance
        with heartbeat(instance, plan_context.run_id):
            try:
                yield from super().execute(plan_context, execution_plan)
            finally:
                instance.event_log_storage.free_concurrency_slots_for_run(plan_context.run_id)


class InSeveralProcesses(MultiprocessExecutor):
    """Dagster's multiprocess executor, whose steps agree on what they read.

    Steps in processes of their own would each take a snapshot of a source database, and each the newest version of a
    table. Here the run's process exports one snapshot of every database that the run reads, and the steps pin versions
    in a folder of the run. The slot of a captured database can be held by one process only: a run that reads such a
    database is executed in one.
    """

    def __init__(self, home: Path, **options: Any) -> None:
        super().__init__(**options)
        self._home = home

    def execute(self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan) -> Iterator[Any]:
        """Execute the steps of a run, several at a time."""
        from medallion.postgres.moment import exported_moment
        from medallion.postgres.resource import source_url

        domains = _databases_read(plan_context, execution_plan)
        if captured := [domain for domain in domains if Settings().captures(domain)]:
            plan_context.log.info(f"The log of {captured} is read by one process, so all steps of this run share one.")
            yield from InOneProcess(retries=self.retries).execute(plan_context, execution_plan)
            return
        with ExitStack() as stack:
            stack.enter_context(heartbeat(plan_context.instance, plan_context.run_id))
            folder = stack.enter_context(shared_run_folder(self._home, plan_context.run_id))
            for domain in domains:
                stack.enter_context(exported_moment(domain, source_url(self._home, domain), folder))
            yield from super().execute(plan_context, execution_plan)


def _databases_read(plan_context: PlanOrchestrationContext, plan: ExecutionPlan) -> list[str]:
    """The domains of the steps that read a database."""
    job = plan_context.job.get_definition()
    found = set()
    for step in plan.steps:
        definition: Any = job.get_node(step.node_handle).definition
        if step.key in plan.step_keys_to_execute and DATABASES in definition.required_resource_keys:
            keys = [output.properties.asset_key for output in step.step_outputs]
            found |= {key.path[1] for key in keys if key is not None}
    return sorted(found)
