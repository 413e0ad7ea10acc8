"""What runs are needed: a selection of assets and partitions as one run per range that Dagster can name."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg

from medallion.partitions import boxes
from medallion.tables import Table, input_key

if TYPE_CHECKING:
    from medallion.arrived import ArrivedKeys

RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
RANGES = "medallion/partition_ranges"
"""Tag of a run over several ranges: a JSON list of `[first, last]`; Dagster's own two tags then span them all."""
TRIGGER = "medallion/trigger"
"""Tag of a run that says what started it: `landing`, `update` or `schedule`."""


_CLOCK_CHANGE = dt.timedelta(hours=2)


class SelectionError(ValueError):
    """A selection that no run can cover; the message says what there is to select."""


@dataclass(frozen=True)
class PlannedRun:
    """One run: its assets and, if any of them is partitioned, the first and last key of the range.

    Attributes:
        assets: what is made.
        first: first key of the range; of a grid, the corner with the first key of each dimension.
        last: last key of the range.
        ranges: if the run makes only parts of that range, first and last key of each part.
    """

    assets: tuple[dg.AssetKey, ...]
    first: str | None = None
    last: str | None = None
    ranges: tuple[tuple[str, str], ...] = ()

    @property
    def tags(self) -> dict[str, str]:
        """Dagster's tags of a range run, and ours if the range has holes."""
        if not self.first or not self.last:
            return {}
        holes = {RANGES: json.dumps([list(ends) for ends in self.ranges])} if self.ranges else {}
        return {RANGE_START: self.first, RANGE_END: self.last, **holes}

    @property
    def label(self) -> str:
        """The ranges as a person names them."""
        return partitions_label(self.tags) or "whole tables"


def plan_runs(tables: Sequence[Table], keys: Iterable[str]) -> list[PlannedRun]:
    """Cover a selection by runs of one range each, in the order of the partitions.

    A range means what it means to Dagster: of a grid, every combination of a range per dimension. Tables without
    partitions are made in every run, after the inputs they share with it: what a range needs from them is there, and
    after the last range they have seen everything.

    Args:
        tables: selected tables.
        keys: selected partition keys, in any order.

    Raises:
        SelectionError: the tables have different partitions, or a key is not one of theirs.
    """
    assets = tuple(table.key for table in tables)
    definition = common_partitions(tables)
    if definition is None:
        return [PlannedRun(assets)] if assets else []
    return [PlannedRun(assets, first, last) for first, last in _ranges(definition, keys)]


def plan_run(tables: Sequence[Table], keys: Iterable[str]) -> list[PlannedRun]:
    """Cover a selection by one run, with holes if need be; none if nothing is selected.

    Only runs that are executed here may have holes: Dagster's daemon announces every partition between the ends.

    Args:
        tables: selected tables.
        keys: selected partition keys, in any order.

    Raises:
        SelectionError: the tables have different partitions, or a key is not one of theirs.
    """
    runs = plan_runs(tables, keys)
    if len(runs) < 2:
        return runs
    ranges = tuple((run.first or "", run.last or "") for run in runs)
    definition = common_partitions(tables)
    if not isinstance(definition, dg.MultiPartitionsDefinition):
        return [PlannedRun(runs[0].assets, ranges[0][0], ranges[-1][1], ranges)]
    corners = [definition.get_partition_key_from_str(corner).keys_by_dimension for ends in ranges for corner in ends]
    first, last = {}, {}
    for dimension in definition.partitions_defs:
        order = list(dimension.partitions_def.get_partition_keys())
        positions = [order.index(corner[dimension.name]) for corner in corners]
        first[dimension.name], last[dimension.name] = order[min(positions)], order[max(positions)]
    return [PlannedRun(runs[0].assets, dg.MultiPartitionKey(first), dg.MultiPartitionKey(last), ranges)]


def tagged_ranges(tags: Mapping[str, str]) -> list[tuple[str, str]]:
    """First and last key of each range that a run with these tags makes; none for a run without partitions."""
    if RANGES in tags:
        return [(first, last) for first, last in json.loads(tags[RANGES])]
    key = tags.get("dagster/partition")
    if key is not None:
        return [(key, key)]
    return [(tags[RANGE_START], tags[RANGE_END])] if RANGE_START in tags and RANGE_END in tags else []


def keys_between(definition: dg.PartitionsDefinition[Any], first: str, last: str) -> list[str]:
    """The partition keys of a range, both ends included; none if it ends before it starts.

    Of a grid, every combination of a range per dimension. Dagster's own `get_partition_keys_in_range` adds the first of
    two hours that the clock shows alike to the second, and may leave it out as the end of a range.

    Raises:
        SelectionError: an end does not exist.
    """
    if isinstance(definition, dg.MultiPartitionsDefinition):
        ends = [definition.get_partition_key_from_str(key).keys_by_dimension for key in (first, last)]
        names = [dimension.name for dimension in definition.partitions_defs]
        sides = [
            keys_between(dimension.partitions_def, *[end[dimension.name] for end in ends])
            for dimension in definition.partitions_defs
        ]
        return [dg.MultiPartitionKey(dict(zip(names, cell, strict=True))) for cell in itertools.product(*sides)]
    if isinstance(definition, dg.TimeWindowPartitionsDefinition):
        low, high = (definition.time_window_for_partition_key(key) for key in (first, last))
        if low.start.timestamp() > high.start.timestamp():
            return []
        # In UTC: Dagster remembers answers by the window, and the two hours that the clock shows alike are equal there.
        start, beyond = low.start.astimezone(dt.UTC), high.end.astimezone(dt.UTC) + _CLOCK_CHANGE
        found = list(definition.get_partition_keys_in_time_window(dg.TimeWindow(start, beyond)))
    else:
        found = list(definition.get_partition_keys())
    if unknown := [key for key in (first, last) if key not in found]:
        raise SelectionError(f"partitions {unknown} do not exist; there are {_span(found)}")
    return found[found.index(first) : found.index(last) + 1]


def partitions_label(tags: Mapping[str, str]) -> str | None:
    """The partitions of a run as a person names them, such as `A...B, C`; None for a run without partitions."""
    ranges = tagged_ranges(tags)
    return ", ".join(first if first == last else f"{first}...{last}" for first, last in ranges) or None


def _ranges(definition: dg.PartitionsDefinition[Any], keys: Iterable[str]) -> list[tuple[str, str]]:
    """First and last key of ranges that hold exactly these keys."""
    known = list(definition.get_partition_keys())
    wanted = set(keys)
    if unknown := sorted(wanted.difference(known)):
        raise SelectionError(f"partitions {unknown[:5]} do not exist; there are {_span(known)}")
    if not isinstance(definition, dg.MultiPartitionsDefinition):
        return _contiguous(known, wanted)
    names = [dimension.name for dimension in definition.partitions_defs]
    orders = [list(dimension.partitions_def.get_partition_keys()) for dimension in definition.partitions_defs]
    cells = [definition.get_partition_key_from_str(key).keys_by_dimension for key in sorted(wanted)]
    found = []
    for box in boxes([tuple(cell[name] for name in names) for cell in cells]):
        sides = [_contiguous(order, side) for order, side in zip(orders, box, strict=True)]
        for ends in itertools.product(*sides):
            first = {name: low for name, (low, _) in zip(names, ends, strict=True)}
            last = {name: high for name, (_, high) in zip(names, ends, strict=True)}
            found.append((str(dg.MultiPartitionKey(first)), str(dg.MultiPartitionKey(last))))
    return sorted(found)


def _span(known: Sequence[str]) -> str:
    return f"{known[0]}...{known[-1]}" if known else "none yet"


def _contiguous(order: Sequence[str], wanted: Iterable[str]) -> list[tuple[str, str]]:
    """First and last of each stretch of neighbours."""
    positions = {key: position for position, key in enumerate(order)}
    stretches: list[list[int]] = []
    for position in sorted(positions[key] for key in wanted):
        if stretches and stretches[-1][1] == position - 1:
            stretches[-1][1] = position
        else:
            stretches.append([position, position])
    return [(order[first], order[last]) for first, last in stretches]


def common_partitions(tables: Sequence[Table]) -> dg.PartitionsDefinition[Any] | None:
    """The partitions that the partitioned ones among some tables share; None if none is partitioned.

    Raises:
        SelectionError: they differ.
    """
    found: list[tuple[dg.PartitionsDefinition[Any], list[str]]] = []
    for table in tables:
        if table.partitions is not None:
            labels = next((labels for definition, labels in found if definition == table.partitions), None)
            if labels is None:
                found.append((table.partitions, labels := []))
            labels.append(table.label)
    if len(found) > 1:
        groups = " and ".join(", ".join(sorted(labels)) for _, labels in found)
        raise SelectionError(f"{groups} have different partitions and can't share a run; select them separately")
    return found[0][0] if found else None


def by_domain(tables: Sequence[Table]) -> list[list[Table]]:
    """Tables by domain: a domain after those that it reads, by name where that leaves a choice.

    Domains may have different partitions, so each is planned on its own.

    Raises:
        SelectionError: domains read each other, so none can be made whole before the other.
    """
    domains: dict[str, list[Table]] = {}
    for table in tables:
        domains.setdefault(table.domain, []).append(table)
    selected = {table.label: table.domain for table in tables}
    reads = {
        domain: {selected[label] for table in own for label in _read_by(table) if label in selected} - {domain}
        for domain, own in domains.items()
    }
    ordered: list[str] = []
    while len(ordered) < len(domains):
        ready = sorted(domain for domain in domains.keys() - set(ordered) if reads[domain] <= set(ordered))
        if not ready:
            left = sorted(domains.keys() - set(ordered))
            raise SelectionError(f"the domains {left} read each other; select the tables of one layer at a time")
        ordered.append(ready[0])
    return [domains[domain] for domain in ordered]


def parse_keys(text: str, definition: dg.PartitionsDefinition[Any]) -> list[str]:
    """Partition keys named by a person: `A`, `A...B` or several of these with commas.

    A range of a grid is every combination of a range per dimension. A key that has commas of its own is named alone.

    Raises:
        SelectionError: a key does not exist.
    """
    known = [str(key) for key in definition.get_partition_keys()]
    if text in known:
        return [text]
    keys: list[str] = []
    for part in (part.strip() for part in text.split(",")):
        if part in known:
            keys.append(part)
            continue
        first, _, last = part.partition("...")
        for key in (first, last or first):
            if key not in known:
                raise SelectionError(f"partition {key!r} does not exist; there are {_span(known)}")
        between = keys_between(definition, first, last)
        if not between:
            raise SelectionError(f"{part!r} ends before it starts")
        keys.extend(str(key) for key in between)
    return keys


def arrived_keys(tables: Sequence[Table], everything: Mapping[str, Table], arrived: ArrivedKeys) -> list[str]:
    """Partition keys for which something arrived in the bronze tables that a selection stands on.

    Args:
        tables: selected tables.
        everything: all declared tables by label.
        arrived: tells what arrived for a bronze table.

    Raises:
        SelectionError: the selected tables have different partitions.
    """
    definition = common_partitions(tables)
    if definition is None:
        return []
    known = set(definition.get_partition_keys())
    keys = {key for table in with_upstream(tables, everything) for key in arrived(table, definition)}
    return sorted(keys & known)


def touched_by_partitions(tables: Sequence[Table]) -> list[Table]:
    """The tables that a change of some partitions touches: the partitioned ones and all that are made from them."""
    return below([table for table in tables if table.partitions is not None], tables)


def below(changed: Iterable[Table], tables: Sequence[Table]) -> list[Table]:
    """Changed tables and all that are made from them, in the order of `tables`."""
    touched = {table.label for table in changed}
    above = {table.label: set(_read_by(table)) for table in tables}
    while True:
        more = {label for label, sources in above.items() if label not in touched and touched & sources}
        if not more:
            return [table for table in tables if table.label in touched]
        touched |= more


def with_upstream(tables: Iterable[Table], everything: Mapping[str, Table]) -> list[Table]:
    """Tables and all that they are made from."""
    found: dict[str, Table] = {}
    pending = list(tables)
    while pending:
        table = pending.pop()
        if table.label not in found:
            found[table.label] = table
            pending.extend(everything[label] for label in _read_by(table))
    return list(found.values())


def _read_by(table: Table) -> list[str]:
    """Labels of what a table is made from and of what its checks read."""
    return ["/".join(input_key(asset_in).path) for asset_in in table.inputs.values()] + list(table.reads)
