"""Runs independent steps of one run side by side, in threads of the process that has the engine.

One step leaves the machine idle: Python works while the engine waits, and the other way round. Processes would need an
engine and its memory each. Dagster has no such executor, so this one is made of the parts of its in-process executor;
they are private, which the pinned version (1.13.27) makes safe and `tests/test_executor.py` compares.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event
from typing import TYPE_CHECKING, Any, cast

import dagster as dg
from dagster import _check as check
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.events import EngineEventData
from dagster._core.execution.api import ExecuteRunWithPlanIterable
from dagster._core.execution.compute_logs import create_compute_log_file_key
from dagster._core.execution.context_creation_job import PlanExecutionContextManager
from dagster._core.execution.plan.execute_plan import (
    _handle_compute_log_setup_error,
    _handle_compute_log_teardown_error,
    _trigger_hook,
    dagster_event_sequence_for_step,
)
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.execution.retries import RetryMode, get_retries_config
from dagster._core.executor.in_process import InProcessExecutor

if TYPE_CHECKING:
    from dagster._core.execution.context.system import (
        PlanExecutionContext,
        PlanOrchestrationContext,
        StepExecutionContext,
    )
    from dagster._core.execution.plan.plan import ExecutionPlan

_POLL_SECONDS = 0.1
"""How late an interrupt, the end of a retry's delay or a free pool may be noticed."""

_UNINTERRUPTIBLE = frozenset(
    {
        # The table is published, and the events that say so are stored in batches: the last one must come.
        dg.DagsterEventType.ASSET_MATERIALIZATION,
        dg.DagsterEventType.HANDLED_OUTPUT,
        dg.DagsterEventType.STEP_SUCCESS,
        dg.DagsterEventType.STEP_FAILURE,
        dg.DagsterEventType.STEP_UP_FOR_RETRY,
    }
)


@dataclass(eq=False)
class _Attempt:
    """One try of one step, in a thread."""

    context: StepExecutionContext
    events: list[dg.DagsterEvent] = field(default_factory=list)


_Queue = SimpleQueue[tuple[_Attempt, "dg.DagsterEvent | Future[None]"]]


class ThreadedExecutor(InProcessExecutor):
    """Dagster's in-process executor with several steps at a time; resources are made once and shared by all steps.

    A step that fails skips what depends on it, and the others go on. After an interrupt no step starts; those that run
    end at their next event that leaves nothing half said, which may be as late as the end of the engine's query.
    """

    def __init__(self, retries: RetryMode, max_concurrent: int) -> None:
        super().__init__(retries)
        self._max_concurrent = max_concurrent

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        """Execute the plan; events are stored when they happen and come out of here in that order, from one thread."""
        data = EngineEventData.in_process(os.getpid(), execution_plan.step_keys_to_execute)
        where = f"in process (pid: {os.getpid()}), up to {self._max_concurrent} at a time"
        yield dg.DagsterEvent.engine_event(plan_context, f"Executing steps {where}", data)
        yield from ExecuteRunWithPlanIterable(
            execution_plan=plan_context.execution_plan,
            iterator=partial(_run_steps, max_concurrent=self._max_concurrent),
            execution_context_manager=PlanExecutionContextManager(
                job=plan_context.job,
                retry_mode=plan_context.retry_mode,
                execution_plan=plan_context.execution_plan,
                run_config=plan_context.run_config,
                dagster_run=plan_context.dagster_run,
                instance=plan_context.instance,
                raise_on_error=plan_context.raise_on_error,
                output_capture=plan_context.output_capture,
                step_dependency_config=self.step_dependency_config,
            ),
        )
        yield dg.DagsterEvent.engine_event(plan_context, f"Finished steps {where}", data)


def _run_steps(
    job_context: PlanExecutionContext, execution_plan: ExecutionPlan, max_concurrent: int
) -> Iterator[dg.DagsterEvent]:
    keys = [step.key for step in execution_plan.get_steps_to_execute_in_topo_order()]
    logs = job_context.instance.compute_log_manager
    log_key = logs.build_log_key_for_run(job_context.run_id, create_compute_log_file_key())  # type: ignore[no-untyped-call]
    with InstanceConcurrencyContext(job_context.instance, job_context.dagster_run) as pools, ExitStack() as capture:
        try:
            # Output is captured by file descriptor, so for the whole process at once.
            captured = capture.enter_context(logs.capture_logs(log_key))
            yield dg.DagsterEvent.capture_logs(job_context, keys, log_key, captured)
        except OSError:
            yield from _handle_compute_log_setup_error(job_context, sys.exc_info())
        yield from _schedule(job_context, execution_plan, pools, max_concurrent)
        try:
            capture.close()
        except OSError:
            yield from _handle_compute_log_teardown_error(job_context, sys.exc_info())


def _schedule(
    job_context: PlanExecutionContext,
    execution_plan: ExecutionPlan,
    pools: InstanceConcurrencyContext,
    max_concurrent: int,
) -> Iterator[dg.DagsterEvent]:
    """Keep the threads busy with steps that are ready; all state is touched by the calling thread only."""
    queue: _Queue = SimpleQueue()
    stopping, errors, running = Event(), list[BaseException](), set[_Attempt]()
    with (
        execution_plan.start(
            retry_mode=job_context.retry_mode,
            instance_concurrency_context=pools,
            step_dependency_config=job_context.step_dependency_config,
        ) as active,
        ThreadPoolExecutor(max_concurrent, "step") as threads,
        ExitStack() as leaving,
    ):
        leaving.callback(stopping.set)  # before the pool waits for its threads, also when the caller closes this
        while running or not (stopping.is_set() or active.is_complete):
            if active.check_for_interrupts():
                active.mark_interrupted()
                stopping.set()
                message = "Interrupted: no further step starts, and those that run are ended."
                data = EngineEventData.interrupted([attempt.context.step.key for attempt in running])
                yield dg.DagsterEvent.engine_event(job_context, message, data)
            if not stopping.is_set():
                for step in active.get_steps_to_execute(limit=max_concurrent - len(running)):
                    attempt = _Attempt(job_context.for_step(step, active.get_known_state()))
                    running.add(attempt)
                    # A context of its own: Dagster keeps the current step in a context variable.
                    future = threads.submit(copy_context().run, _work, attempt, queue, stopping)
                    future.add_done_callback(partial(_report_end, attempt, queue))
                yield from active.concurrency_event_iterator(job_context)
                yield from active.plan_events_iterator(job_context)
            try:
                attempt, news = queue.get(timeout=_POLL_SECONDS)
            except Empty:
                continue
            if isinstance(news, dg.DagsterEvent):
                attempt.events.append(news)
                yield news
                continue
            running.remove(attempt)
            # Not before the thread is done: a retry or the next holder of the pool must not run beside it.
            for event in attempt.events:
                active.handle_event(event)
            if (error := news.exception()) is not None:
                errors.append(error)
                stopping.set()
            else:
                active.verify_complete(job_context, attempt.context.step.key)
                yield from active.plan_events_iterator(job_context)
                yield from _trigger_hook(attempt.context, attempt.events)
        if errors:
            raise errors[0]
        # Leaving with steps that never started raises DagsterExecutionInterruptedError.


def _work(attempt: _Attempt, queue: _Queue, stopping: Event) -> None:
    """Execute a step, unless the run is being stopped: then end it as Dagster ends an interrupted one."""
    events = cast("Generator[dg.DagsterEvent]", dagster_event_sequence_for_step(attempt.context))
    event = next(events, None)
    while event is not None:
        queue.put((attempt, event))
        if stopping.is_set() and event.event_type not in _UNINTERRUPTIBLE:
            event = events.throw(DagsterExecutionInterruptedError())
        else:
            event = next(events, None)


def _report_end(attempt: _Attempt, queue: _Queue, future: Future[None]) -> None:
    queue.put((attempt, future))


@dg.executor(
    name="threaded",
    config_schema={
        "max_concurrent": dg.Field(
            int, default_value=2, description="How many steps of a run may execute at a time in its process."
        ),
        "retries": get_retries_config(),  # type: ignore[no-untyped-call]
    },
)
def threaded_executor(init_context: dg.InitExecutorContext) -> ThreadedExecutor:
    """Execute the steps of a run in threads of its process."""
    config: Any = init_context.executor_config
    if config["max_concurrent"] < 1:
        raise ValueError("The run's execution.config.max_concurrent has to be 1 or more; leave it out for the default.")
    return ThreadedExecutor(check.not_none(RetryMode.from_config(config["retries"])), config["max_concurrent"])
