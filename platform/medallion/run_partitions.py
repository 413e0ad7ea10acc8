"""Which partitions a run makes and reads: exactly those of its ranges, where Dagster takes all between two ends."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from medallion.planning import RANGES, keys_between, tagged_ranges

if TYPE_CHECKING:
    from dagster._core.definitions.job_definition import JobDefinition
    from dagster._core.definitions.partitions.subset import PartitionsSubset


def run_keys(step: Any) -> list[str]:
    """The partition keys that a step makes; none for an asset without partitions.

    Args:
        step: Dagster's step execution context.
    """
    definition = step.entity_partitions_def
    return [] if definition is None else _keys(definition, step.dagster_run.tags, step.instance)


def read_keys(step: Any, parameter: str) -> list[str]:
    """The partition keys that a step reads of an input, by the input's partition mapping.

    A table that reads itself does not read the partitions that the run is about to replace: their rows are those of an
    earlier run, so that making the same range twice would give two results.

    Args:
        step: Dagster's step execution context.
        parameter: name of the input, whose asset has partitions; Dagster has refused keys that do not exist before.
    """
    from dagster._core.definitions.partitions.context import partition_loading_context
    from dagster._core.definitions.partitions.utils import infer_partition_mapping

    layer, own = step.job_def.asset_layer, step.entity_partitions_def
    upstream = layer.get_asset_key_for_node_input(step.node_handle, parameter)
    definition = layer.get(upstream).partitions_def
    keys = run_keys(step)
    with partition_loading_context(dynamic_partitions_store=step.instance):
        declared = step.assets_def.get_partition_mapping_for_dep(upstream) if step.assets_def is not None else None
        mapping = infer_partition_mapping(declared, own, definition)
        mapped = mapping.get_upstream_mapped_partitions_result_for_partitions(
            own.subset_with_partition_keys(keys) if own is not None else None, own, definition
        )
        found = list(mapped.partitions_subset.get_partition_keys())
    own_keys = set(keys) if step.assets_def is not None and upstream in step.assets_def.keys else ()
    return [key for key in found if key not in own_keys]


def announce_only(context: dg.OutputContext, keys: Collection[str]) -> None:
    """Let Dagster record a materialization for exactly these partitions of an output, not for all of the run's range.

    Args:
        context: of the output that was just stored.
        keys: the partition keys that were written.
    """
    definition = context.asset_partitions_def
    if set(context.asset_partition_keys) == set(keys):
        return
    exact = keys
    if isinstance(definition, dg.MultiPartitionsDefinition):
        exact = [definition.get_partition_key_from_str(key) for key in keys]
    # Dagster reads it back for its events; there is no public way to store other keys than those of the range.
    context._asset_partitions_subset = definition.subset_with_partition_keys(exact)


def create_run(
    instance: dg.DagsterInstance,
    job: JobDefinition,
    definition: dg.PartitionsDefinition[Any] | None,
    tags: Mapping[str, str],
    **options: Any,
) -> dg.DagsterRun:
    """Store a run that announces exactly the partitions of its ranges, so that no other is shown as failed.

    Args:
        instance: where runs are kept.
        job: what runs.
        definition: the partitions of its assets, if any has some.
        tags: of the run, those of its ranges included.
        options: others of `DagsterInstance.create_run_for_job`.
    """
    from dagster._core.instance.runs.run_domain import RunDomain

    if definition is None or RANGES not in tags:
        return instance.create_run_for_job(job, tags=tags, **options)
    exact = definition.subset_with_partition_keys(str(key) for key in _keys(definition, tags, instance))

    class ExactRuns(RunDomain):
        def _log_asset_planned_events(self, dagster_run: Any, *args: Any) -> None:
            super()._log_asset_planned_events(_Announced(dagster_run, exact), *args)  # type: ignore[arg-type]

    return ExactRuns(instance).create_run_for_job(job, tags=tags, **options)


class _Announced:
    """A run as Dagster's announcement sees it; the real one can only hold time windows, and between two ends all."""

    def __init__(self, run: dg.DagsterRun, exact: PartitionsSubset) -> None:
        self._run = run
        self._exact = exact

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run, name)

    def get_resolved_partitions_subset_for_events(self, definition: Any) -> PartitionsSubset | None:
        return None if definition is None else self._exact


def _keys(definition: dg.PartitionsDefinition[Any], tags: Mapping[str, str], instance: dg.DagsterInstance) -> list[str]:
    from dagster._core.definitions.partitions.context import partition_loading_context

    with partition_loading_context(dynamic_partitions_store=instance):
        return [key for first, last in tagged_ranges(tags) for key in keys_between(definition, first, last)]
