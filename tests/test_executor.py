"""Steps of one run side by side: what Dagster's in-process executor promises still holds."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator

from medallion.executor import threaded_executor
from medallion.instance.home import open_instance

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
PATIENCE = 10
"""Seconds after which a test that hangs fails; none takes as long."""

Event = dg.DagsterEventType


pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", "")
        patch.setenv("DAGSTER_EVENT_BATCH_SIZE", "3")
        with open_instance(Path(tmp_path_factory.mktemp("home"))) as opened:
            yield opened


def job_of(*ops: Any, executor: dg.ExecutorDefinition = threaded_executor) -> dg.JobDefinition:
    """A job of ops without inputs."""

    @dg.job(executor_def=executor)
    def made() -> None:
        for op in ops:
            op()

    return made


def started(
    job: dg.JobDefinition, instance: dg.DagsterInstance, config: dict[str, Any] | None = None, **tags: str
) -> tuple[str, Iterator[dg.DagsterEvent]]:
    """A run and its events, which happen as they are taken."""
    run = instance.create_run_for_job(job, run_config={**QUIET, **(config or {})}, tags=tags)
    return run.run_id, execute_run_iterator(InMemoryJob(job), run, instance)


def ran(job: dg.JobDefinition, instance: dg.DagsterInstance, config: dict[str, Any] | None = None) -> list[Any]:
    return list(started(job, instance, config)[1])


def steps(events: list[Any], kind: Event) -> list[str]:
    return [event.step_key for event in events if event.event_type == kind]


def status(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


class Counted:
    """How many bodies run at a time, at most."""

    def __init__(self) -> None:
        self.most = self._now = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        threading.Event().wait(0.02)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._now -= 1


def counted_ops(counted: Counted, pool: str | None = None) -> list[Any]:
    def op(name: str) -> Any:
        @dg.op(name=name, pool=pool)
        def body() -> None:
            with counted:
                pass

        return body

    return [op("one"), op("two"), op("three")]


def test_independent_steps_run_at_the_same_time_and_each_knows_its_own_context(instance: dg.DagsterInstance) -> None:
    barrier, names = threading.Barrier(2), {}

    def op(name: str) -> Any:
        @dg.op(name=name)
        def body() -> None:
            barrier.wait(PATIENCE)
            names[name] = dg.OpExecutionContext.get().op.name

        return body

    events = ran(job_of(op("left"), op("right")), instance)

    assert events[-1].event_type == Event.RUN_SUCCESS
    assert names == {"left": "left", "right": "right"}


def test_no_more_steps_run_at_a_time_than_configured(instance: dg.DagsterInstance) -> None:
    counted = Counted()

    events = ran(job_of(*counted_ops(counted)), instance, {"execution": {"config": {"max_concurrent": 1}}})

    assert events[-1].event_type == Event.RUN_SUCCESS
    assert counted.most == 1


def test_steps_of_one_pool_run_one_after_the_other(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagster._core.execution.plan.instance_concurrency_context.INITIAL_INTERVAL_VALUE", 0.01)
    counted = Counted()

    events = ran(job_of(*counted_ops(counted, pool="table")), instance)

    assert events[-1].event_type == Event.RUN_SUCCESS
    assert counted.most == 1
    assert instance.event_log_storage.get_concurrency_info("table").claimed_slots == []


def test_a_step_starts_after_those_it_depends_on(instance: dg.DagsterInstance) -> None:
    order: list[str] = []

    def op(name: str) -> Any:
        @dg.op(name=name, ins={"before": dg.In(dg.Nothing)})
        def body() -> None:
            order.append(name)

        return body

    @dg.op
    def first() -> None:
        order.append("first")

    @dg.job(executor_def=threaded_executor)
    def diamond() -> None:
        start = first()
        op("last")([op("left")(start), op("right")(start)])

    ran(diamond, instance)

    assert (order[0], {*order[1:3]}, order[3]) == ("first", {"left", "right"}, "last")


def test_too_few_threads_are_refused_with_the_name_of_the_setting(instance: dg.DagsterInstance) -> None:
    with pytest.raises(ValueError, match="max_concurrent"):
        ran(job_of(*counted_ops(Counted())), instance, {"execution": {"config": {"max_concurrent": 0}}})


def assets_of_every_fate(executor: dg.ExecutorDefinition) -> dg.JobDefinition:
    attempts: list[int] = []
    days = dg.StaticPartitionsDefinition(["1", "2", "3", "4", "5"])
    single = dg.BackfillPolicy.single_run()

    @dg.asset(partitions_def=days, backfill_policy=single, check_specs=[dg.AssetCheckSpec("good", asset="fine")])
    def fine() -> Iterator[Any]:
        yield dg.AssetCheckResult(check_name="good", passed=True)
        yield dg.MaterializeResult()

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=1))
    def flaky() -> None:
        attempts.append(1)
        if len(attempts) == 1:
            raise RuntimeError("once")

    @dg.asset
    def failing() -> None:
        raise dg.Failure("on purpose")

    @dg.asset(check_specs=[dg.AssetCheckSpec("bad", asset="blocked", blocking=True)], output_required=False)
    def blocked() -> Iterator[Any]:
        yield dg.AssetCheckResult(check_name="bad", passed=False)

    @dg.asset(deps=[fine], partitions_def=days, backfill_policy=single)
    def after_fine() -> None: ...

    @dg.asset(deps=[flaky])
    def after_flaky() -> None: ...

    @dg.asset(deps=[failing])
    def after_failing() -> None: ...

    @dg.asset(deps=[blocked])
    def after_blocked() -> None: ...

    @dg.asset(deps=[after_failing, after_fine])
    def after_both() -> None: ...

    made = [fine, flaky, failing, blocked, after_fine, after_flaky, after_failing, after_blocked, after_both]
    return dg.Definitions(assets=made, executor=executor).resolve_implicit_global_asset_job_def()


def test_a_run_has_the_events_that_it_has_in_process(instance: dg.DagsterInstance) -> None:
    def told_and_stored(executor: dg.ExecutorDefinition) -> list[Counter[tuple[Any, ...]]]:
        tags = {"dagster/asset_partition_range_start": "1", "dagster/asset_partition_range_end": "5"}
        run_id, events = started(assets_of_every_fate(executor), instance, **tags)
        told = list(events)
        stored = [entry.dagster_event for entry in instance.all_logs(run_id) if entry.dagster_event]
        assert status(instance, run_id) == dg.DagsterRunStatus.FAILURE
        return [
            Counter((e.event_type, e.step_key, str(e.asset_key), e.partition) for e in own) for own in (told, stored)
        ]

    threaded, in_process = told_and_stored(threaded_executor), told_and_stored(dg.in_process_executor)

    assert threaded == in_process
    assert threaded[0][Event.ASSET_MATERIALIZATION, "fine", str(dg.AssetKey("fine")), "5"] == 1
    assert [key for key in threaded[0] if key[:2] == (Event.STEP_RESTARTED, "flaky")]


def test_a_failed_step_keeps_only_what_depends_on_it_from_running(instance: dg.DagsterInstance) -> None:
    events = list(started(assets_of_every_fate(threaded_executor), instance)[1])

    assert not {"after_failing", "after_blocked", "after_both"} & {*steps(events, Event.STEP_START)}
    assert {"flaky", "after_flaky"} <= {*steps(events, Event.STEP_SUCCESS)}
    assert {*steps(events, Event.STEP_FAILURE)} >= {"failing", "blocked"}


def test_a_retry_waits_for_its_delay_and_for_the_end_of_the_attempt_before(instance: dg.DagsterInstance) -> None:
    counted, attempts = Counted(), []

    @dg.op(retry_policy=dg.RetryPolicy(max_retries=3, delay=0.01))
    def flaky() -> None:
        with counted:
            attempts.append(1)
            if len(attempts) < 3:
                raise RuntimeError("not yet")

    events = ran(job_of(flaky), instance)

    assert events[-1].event_type == Event.RUN_SUCCESS
    assert steps(events, Event.STEP_RESTARTED) == ["flaky", "flaky"]
    assert counted.most == 1


@pytest.mark.parametrize("executor", [threaded_executor, dg.in_process_executor], ids=["threaded", "in_process"])
@pytest.mark.parametrize(
    ("requested", "expected"), [(True, dg.DagsterRunStatus.CANCELED), (False, dg.DagsterRunStatus.FAILURE)]
)
def test_a_keyboard_interrupt_in_a_step_ends_the_run(
    instance: dg.DagsterInstance,
    executor: dg.ExecutorDefinition,
    requested: bool,
    expected: dg.DagsterRunStatus,
) -> None:
    @dg.op
    def first(context: dg.OpExecutionContext) -> None:
        if requested:
            instance.report_run_canceling(context.run)
        raise KeyboardInterrupt

    @dg.op(ins={"before": dg.In(dg.Nothing)})
    def second() -> None: ...

    @dg.job(executor_def=executor)
    def both() -> None:
        second(first())

    run_id, events = started(both, instance)
    told = list(events)

    assert status(instance, run_id) == expected
    assert steps(told, Event.STEP_START) == steps(told, Event.STEP_FAILURE) == ["first"]


class Recording(dg.IOManager):
    """Stores nothing, but knows what it was asked to store, after it has called back."""

    def __init__(self, before: Any = None) -> None:
        self.before, self.stored = before, list[str]()

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        if self.before:
            self.before(context.run_id)
        self.stored.append(context.step_key)

    def load_input(self, context: dg.InputContext) -> Any: ...


class Interruption:
    """A signal to this process, as Ctrl-C sends it, that returns when the executor has seen it."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance, self.seen = instance, threading.Event()

    def __call__(self, run_id: str) -> None:
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        self.instance.report_run_canceling(run)
        os.kill(os.getpid(), signal.SIGINT)
        assert self.seen.wait(PATIENCE)

    def watch(self, events: Iterator[dg.DagsterEvent]) -> list[dg.DagsterEvent]:
        told = []
        for event in events:
            told.append(event)
            if event.message and event.message.startswith("Interrupted"):
                self.seen.set()
        return told


def interrupted_job(storage: Recording, interruption: Interruption | None) -> dg.JobDefinition:
    @dg.asset(
        partitions_def=dg.StaticPartitionsDefinition(["1", "2", "3", "4"]),
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def early(context: dg.AssetExecutionContext) -> int:
        if interruption:
            interruption(context.run.run_id)
        return 1

    @dg.asset(deps=[early])
    def late() -> int:
        return 2

    definitions = dg.Definitions(assets=[early, late], resources={"io_manager": storage}, executor=threaded_executor)
    return definitions.resolve_implicit_global_asset_job_def()


RANGE = {"dagster/asset_partition_range_start": "1", "dagster/asset_partition_range_end": "4"}


def test_an_interrupt_ends_a_running_step_before_it_stores_anything(instance: dg.DagsterInstance) -> None:
    interruption, storage = Interruption(instance), Recording()

    run_id, events = started(interrupted_job(storage, interruption), instance, **RANGE)
    told = interruption.watch(events)

    assert status(instance, run_id) == dg.DagsterRunStatus.CANCELED
    assert storage.stored == []
    assert steps(told, Event.STEP_START) == steps(told, Event.STEP_FAILURE) == ["early"]


def test_an_interrupt_while_a_step_stores_lets_it_say_what_it_stored(instance: dg.DagsterInstance) -> None:
    interruption = Interruption(instance)
    storage = Recording(before=interruption)

    run_id, events = started(interrupted_job(storage, None), instance, **RANGE)
    told = interruption.watch(events)

    assert status(instance, run_id) == dg.DagsterRunStatus.CANCELED
    assert storage.stored == steps(told, Event.STEP_SUCCESS) == ["early"]
    made = [e.dagster_event.partition for e in instance.all_logs(run_id, of_type=Event.ASSET_MATERIALIZATION)]
    assert made == ["1", "2", "3", "4"]


def test_a_caller_that_stops_listening_waits_for_the_running_steps(instance: dg.DagsterInstance) -> None:
    ended: list[str] = []

    @dg.op
    def slow() -> None:
        threading.Event().wait(0.05)
        ended.append("slow")

    _, events = started(job_of(slow), instance)
    assert any(event.event_type == Event.STEP_START for event in events)
    events.close()  # type: ignore[attr-defined]

    assert ended == ["slow"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("step_")]
