"""What runs are needed: a selection of assets and partitions as one run per contiguous range."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from medallion.tables import Table, input_key

RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
TRIGGER = "medallion/trigger"
"""Tag of a run that says what started it: `landing`, `update` or `schedule`."""


Slices = Callable[[str, str], Iterable[str]]
"""Gives the landed slices of a domain's table."""


class SelectionError(ValueError):
    """A selection that no run can cover; the message says what there is to select."""


@dataclass(frozen=True)
class PlannedRun:
    """One run: its assets and, if any of them is partitioned, the first and last key of the range."""

    assets: tuple[dg.AssetKey, ...]
    first: str | None = None
    last: str | None = None

    @property
    def tags(self) -> dict[str, str]:
        """Dagster's tags of a range run."""
        return {RANGE_START: self.first, RANGE_END: self.last} if self.first and self.last else {}

    @property
    def label(self) -> str:
        """The range as a person names it."""
        if not self.first:
            return "whole tables"
        return self.first if self.first == self.last else f"{self.first}...{self.last}"


def plan_runs(tables: Sequence[Table], keys: Iterable[str]) -> list[PlannedRun]:
    """Cover a selection by runs, in the order of the partitions.

    Tables without partitions are made in every run, after the inputs they share with it: what a range needs from them
    is there, and after the last range they have seen everything.

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
    known = list(definition.get_partition_keys())
    positions = {key: position for position, key in enumerate(known)}
    wanted = set(keys)
    if unknown := sorted(wanted - positions.keys()):
        raise SelectionError(f"partitions {unknown[:5]} do not exist; there are {known[0]}...{known[-1]}")
    ranges: list[list[int]] = []
    for position in sorted(positions[key] for key in wanted):
        if ranges and ranges[-1][1] == position - 1:
            ranges[-1][1] = position
        else:
            ranges.append([position, position])
    return [PlannedRun(assets, known[first], known[last]) for first, last in ranges]


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

    Raises:
        SelectionError: a key does not exist.
    """
    known = list(definition.get_partition_keys())
    keys: list[str] = []
    for part in (part.strip() for part in text.split(",")):
        first, _, last = part.partition("...")
        for key in (first, last or first):
            if key not in known:
                raise SelectionError(f"partition {key!r} does not exist; there are {known[0]}...{known[-1]}")
        start, end = known.index(first), known.index(last or first)
        if end < start:
            raise SelectionError(f"{part!r} ends before it starts")
        keys.extend(known[start : end + 1])
    return keys


def landed_keys(tables: Sequence[Table], everything: Mapping[str, Table], slices: Slices) -> list[str]:
    """Partition keys that have landed for the bronze tables that a selection stands on.

    Args:
        tables: selected tables.
        everything: all declared tables by label.
        slices: asked for the slices that have landed for a domain's table, such as `Landing.slices`.

    Raises:
        SelectionError: the selected tables have different partitions.
    """
    definition = common_partitions(tables)
    if definition is None:
        return []
    known = set(definition.get_partition_keys())
    sources = [table for table in with_upstream(tables, everything) if table.reads_arrivals]
    landed: set[str] = set()
    for table in sources:
        if table.partitions == definition:
            landed.update(slices(table.domain, table.name))
    return sorted(landed & known)


def touched_by_partitions(tables: Sequence[Table]) -> list[Table]:
    """The tables that a change of some partitions touches: the partitioned ones and all that are made from them."""
    touched = {table.label for table in tables if table.partitions is not None}
    above = {
        table.label: {"/".join(input_key(asset_in).path) for asset_in in table.inputs.values()} | table.reads
        for table in tables
    }
    while True:
        below = {label for label, sources in above.items() if label not in touched and touched & sources}
        if not below:
            return [table for table in tables if table.label in touched]
        touched |= below


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
