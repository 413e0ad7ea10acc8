"""Updates travel down the graph: which slices of a table an update of its inputs makes stale, and the runs for them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from dagster._core.asset_graph_view.entity_subset import EntitySubset
from dagster._core.definitions.assets.graph.asset_graph import executable_in_same_run

from medallion.planning import plan_runs
from medallion.tables import Table, input_key

SENSOR_SECONDS = 10
"""How often updates are looked for."""


def on_update(table: Table, tables: Mapping[str, Table]) -> dg.AutomationCondition[Any] | None:
    """When a slice is made again: an input has a new version of it, and everything above has come to rest.

    Dagster's `eager` can't do this: it looks only at the latest partition, waits for every partition of an input to
    exist, and builds a table between the updates of two of its inputs. Here
    - any slice counts, not only the latest one;
    - a slice waits for what it reads, not for slices that never arrived;
    - an update in a run that makes the table as well asks for nothing;
    - a table waits while anything above it is being made or about to be, so one arrival makes it once, not once per
      path, and no fact is checked against a dimension that is a step behind;
    - a table with partitions whose inputs have none is made again in all slices that were made before, and in the
      latest one;
    - a table with partitions follows its inputs with partitions. New rows in a table that it reads whole (a
      dimension) don't rebuild all its months; the daily run does that.

    Args:
        table: the table to make.
        tables: all declared tables by label.

    Returns:
        The condition; None for a table without inputs, which a landing sensor starts.
    """
    if not table.inputs:
        return None
    followed = [tables[label].key for label in followed_inputs(table, tables).values()]
    updated = dg.AutomationCondition.any_deps_updated().allow(dg.AssetSelection.assets(*followed))
    present = dg.AutomationCondition.all_deps_match(
        ~dg.AutomationCondition.missing() | dg.AutomationCondition.will_be_requested()
    )
    condition = (
        updated.since_last_handled().with_label("an input was updated")
        & present.with_label("all inputs exist")
        & ~UpstreamPending()
        & ~dg.AutomationCondition.in_progress()
    )
    if table.partitions is not None and all(tables["/".join(key.path)].partitions is None for key in followed):
        # Any slice may have changed, but most of what a definition names will never have rows.
        made = ~dg.AutomationCondition.missing() | dg.AutomationCondition.in_latest_time_window()
        condition = condition & made.with_label("made before, or the latest")
    return condition.with_label("inputs updated")


def followed_inputs(table: Table, tables: Mapping[str, Table]) -> dict[str, str]:
    """Labels of the inputs whose updates make a table stale, by parameter.

    Args:
        table: the table.
        tables: all declared tables by label.
    """
    inputs = {parameter: "/".join(input_key(asset_in).path) for parameter, asset_in in table.inputs.items()}
    leading = {name: label for name, label in inputs.items() if tables[label].partitions is not None}
    return leading if table.partitions is not None and leading else inputs


class UpstreamPending(dg.AutomationCondition[dg.AssetKey]):
    """True for slices that something further up, however far, will still change.

    That is a slice in a run or backfill that has not made it yet, or one requested in this tick that can't be made in
    the same run as the table.
    """

    @property
    def name(self) -> str:
        """As the UI shows it."""
        return "upstream_pending"

    @property
    def description(self) -> str:
        """As the UI shows it."""
        return "Something upstream is being made, or about to be"

    async def evaluate(  # type: ignore[override]
        self, context: dg.AutomationContext[dg.AssetKey]
    ) -> dg.AutomationResult[dg.AssetKey]:
        """Walk up from the table, once over every ancestor."""
        pending, _ = await _pending(context, context.key, {})
        return dg.AutomationResult(context, context.candidate_subset.compute_intersection(pending))


_Subset = EntitySubset[dg.AssetKey]


async def _pending(
    context: dg.AutomationContext[dg.AssetKey], key: dg.AssetKey, known: dict[dg.AssetKey, tuple[_Subset, _Subset]]
) -> tuple[_Subset, _Subset]:
    """Slices of a table that must wait, and those whose ancestors are requested in a run that can make them too."""
    if key in known:
        return known[key]
    view, graph = context.asset_graph_view, context.asset_graph
    wait, joined = view.get_empty_subset(key=key), view.get_empty_subset(key=key)
    for parent in sorted(graph.get(key).parent_keys - {key}):
        parent_waits, parent_joined = await _pending(context, parent, known)
        everything = view.get_full_subset(key=parent)
        running = await view.compute_run_in_progress_subset(key=parent, from_subset=everything)
        filled = await view.compute_backfill_in_progress_subset(key=parent, from_subset=everything)
        requested = context.request_subsets_by_key.get(parent) or view.get_empty_subset(key=parent)
        parent_joined = parent_joined.compute_union(requested)
        parent_waits = parent_waits.compute_union(running).compute_union(filled)
        if executable_in_same_run(graph, key, parent):
            joined = joined.compute_union(parent_joined.compute_mapped_subset(key, direction="down"))
        else:
            parent_waits = parent_waits.compute_union(parent_joined)
        wait = wait.compute_union(parent_waits.compute_mapped_subset(key, direction="down"))
    known[key] = (wait, joined)
    return known[key]


class UpdatesSensor(dg.AutomationConditionSensorDefinition):
    """Evaluates every table's condition and asks for one run per contiguous range of slices.

    Dagster's own sensor asks for one run per partition, or for a backfill, which its daemon looks at every 30 seconds.

    Args:
        tables: all declared tables.
        name: of the sensor.
        run_tags: put on every run.
        default_status: whether it runs before anybody has said so.
    """

    def __init__(
        self,
        tables: Sequence[Table],
        name: str,
        run_tags: Mapping[str, str],
        default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.RUNNING,
    ) -> None:
        self._tables = tables
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)
            super().__init__(
                name=name,
                target=dg.AssetSelection.assets(*[table.key for table in tables]),
                run_tags=run_tags,
                default_status=default_status,
                minimum_interval_seconds=SENSOR_SECONDS,
                description="Carries new and changed slices down to gold, one run per contiguous range.",
                emit_backfills=False,
                # Conditions of our own can only be evaluated where our code is.
                use_user_code_server=True,
            )

    def with_attributes(self, **_attributes: Any) -> UpdatesSensor:
        """A copy; Dagster's own would be a plain automation sensor."""
        return UpdatesSensor(self._tables, self.name, self.run_tags, self.default_status)

    def evaluate_tick(self, context: dg.SensorEvaluationContext) -> Any:
        """Evaluate the conditions, then join runs of neighbouring slices."""
        from dagster_shared.record import copy

        tick = super().evaluate_tick(context)
        return copy(tick, run_requests=join_requests(tick.run_requests or [], self._tables, self.run_tags))


def join_requests(
    requests: Sequence[dg.RunRequest], tables: Sequence[Table], run_tags: Mapping[str, str]
) -> list[dg.RunRequest]:
    """Turn runs of single slices into runs of contiguous ranges, each of the same tables.

    Args:
        requests: of unpartitioned tables, or of tables and one partition key.
        tables: all declared tables.
        run_tags: put on every run.
    """
    slices: dict[frozenset[dg.AssetKey], list[str]] = {}
    joined: list[dg.RunRequest] = []
    for request in requests:
        if request.partition_key is None:
            joined.append(request)
        else:
            slices.setdefault(frozenset(request.asset_selection or ()), []).append(request.partition_key)
    for assets, keys in slices.items():
        for run in plan_runs([table for table in tables if table.key in assets], keys):
            joined.append(dg.RunRequest(asset_selection=list(run.assets), tags={**run_tags, **run.tags}))
    return joined
