"""Runs over several ranges: what is announced, made, and shown for each partition."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator

from medallion.instance.home import open_instance
from medallion.planning import plan_run
from medallion.run_partitions import announce_only, create_run, run_keys

DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-08")
SHOPS = dg.StaticPartitionsDefinition(["nl", "be", "de", "fr"])
GRID = dg.MultiPartitionsDefinition({"day": DAYS, "shop": SHOPS})
SOME = {
    "days": (DAYS, ["2024-01-01", "2024-01-02", "2024-01-05"]),
    "shops": (SHOPS, ["nl", "de", "fr"]),
    "grid": (GRID, ["2024-01-01|be", "2024-01-03|nl", "2024-01-03|fr"]),
}


class Announcing(dg.IOManager):
    """Stores nothing, and announces the keys of the run."""

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        announce_only(context, set(obj))

    def load_input(self, context: dg.InputContext) -> Any:
        raise NotImplementedError


def events(definition: dg.PartitionsDefinition[Any], breaks: bool) -> Any:
    @dg.asset(partitions_def=definition, check_specs=[dg.AssetCheckSpec("fine", asset="events")])
    def events(context: dg.AssetExecutionContext) -> Any:
        if breaks:
            raise ValueError("broken")
        yield dg.AssetCheckResult(check_name="fine", passed=True)
        yield dg.Output(run_keys(context.get_step_execution_context()))

    return events


@pytest.fixture
def instance(tmp_path: Path) -> Any:
    with open_instance(tmp_path) as found:
        yield found


@pytest.mark.parametrize("breaks", [False, True], ids=["a run that succeeds", "a run that fails"])
@pytest.mark.parametrize("kind", list(SOME))
def test_a_run_with_holes_changes_the_status_of_its_own_partitions_alone(
    instance: Any, kind: str, breaks: bool
) -> None:
    definition, keys = SOME[kind]
    asset = events(definition, breaks)
    table: Any = SimpleNamespace(key=asset.key, label="events", partitions=definition)
    (planned,) = plan_run([table], keys)
    defs = dg.Definitions([asset], resources={"io_manager": Announcing()}, executor=dg.in_process_executor)
    job = defs.get_implicit_global_asset_job_def()
    run = create_run(instance, job, definition, planned.tags)
    told = list(execute_run_iterator(InMemoryJob(job), run, instance))

    made = [event.partition for event in told if event.event_type_value == "ASSET_MATERIALIZATION"]
    assert sorted(made) == ([] if breaks else sorted(keys))
    status = instance.get_status_by_partition(asset.key, definition.get_partition_keys(), definition)
    wanted = "FAILED" if breaks else "MATERIALIZED"
    assert {key: found.value for key, found in status.items() if found} == dict.fromkeys(keys, wanted)
    assert announced(instance, run) == set(keys)
    assert planned.tags.items() <= instance.get_run_by_id(run.run_id).tags.items()


def announced(instance: Any, run: Any) -> set[str | None]:
    planned = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    return {record.partition_key for record in instance.get_records_for_run(run.run_id, of_type=planned).records}


def test_a_run_of_one_range_is_dagsters_own(instance: Any) -> None:
    asset = events(DAYS, breaks=False)
    table: Any = SimpleNamespace(key=asset.key, label="events", partitions=DAYS)
    (planned,) = plan_run([table], ["2024-01-02", "2024-01-03"])
    job = dg.Definitions([asset], resources={"io_manager": Announcing()}).get_implicit_global_asset_job_def()
    run = create_run(instance, job, DAYS, planned.tags)
    assert set(planned.tags) == {"dagster/asset_partition_range_start", "dagster/asset_partition_range_end"}
    assert announced(instance, run) == {"2024-01-02", "2024-01-03"}
