"""Explicit steps that bring a stored table to the columns of its contract, in one commit."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from medallion.delta.evolve import MIGRATION, evolve, rewrites
from medallion.delta.schema import ColumnChange, SchemaError, SchemaEvolution, evolved, schema_changes, with_extras

if TYPE_CHECKING:
    from deltalake import DeltaTable, Schema

    from medallion.delta.store import DeltaStore

_ATTEMPTS = 3
_FLAGS = {
    "removed": "--drop {column}, or --rename {column}:NEW if it has another name now",
    "retyped": "--retype {column}",
}


class MigrationError(ValueError):
    """Steps that can't be taken; nothing was changed."""


@dataclass(frozen=True)
class Steps:
    """What a person allows beyond what keeps every value where it is.

    Attributes:
        rename: new name by stored name.
        drop: columns to leave out.
        retype: columns to give the contract's type, if it holds every stored value exactly.
    """

    rename: Mapping[str, str] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    retype: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """How a table gets its contract's columns.

    Attributes:
        table: the version that the plan was made for.
        target: its columns afterwards.
        renamed: stored name by new name.
        changes: all other differences.
    """

    table: DeltaTable
    target: Schema
    renamed: Mapping[str, str]
    changes: tuple[ColumnChange, ...]

    @property
    def sentences(self) -> list[str]:
        """The steps for people; none if the table has the contract's columns."""
        return [*[f"{old} is renamed {new}" for new, old in self.renamed.items()], *map(str, self.changes)]

    @property
    def rewrites(self) -> bool:
        """Whether the rows are written anew, which new columns and another nullability don't need."""
        return rewrites(self.changes, self.renamed) and self.table.count() > 0


def plan_migration(name: str, table: DeltaTable, declared: Schema, evolution: SchemaEvolution, steps: Steps) -> Plan:
    """Compare a table with its contract after the steps; steps that were taken before are no difference.

    Args:
        name: the table, for messages.
        table: as it is.
        declared: the contract's columns, all of which it has afterwards.
        evolution: under `additive` the table keeps columns that came with data and are in no contract.
        steps: what a person allows.

    Raises:
        MigrationError: a step names a column that is not there or is a partition column, or the table would still
            differ from the contract; names each column and the step that it takes.
    """
    current = table.schema()
    partition_by = table.metadata().partition_columns
    _require_possible(name, current, declared, steps, partition_by)
    stored = {item.name for item in current.fields}
    rename = {old: new for old, new in steps.rename.items() if old in stored}
    named = _renamed(current, rename)
    wanted = with_extras(declared, _without(named, steps.drop)) if evolution == "additive" else declared
    changes = schema_changes(named, wanted)
    if missing := [change for change in changes if not _allowed(change, steps)]:
        listing = "; ".join(f"{change}: {_FLAGS[change.kind].format(column=change.column)}" for change in missing)
        raise MigrationError(f"{name} would still differ from its contract; add to the command: {listing}")
    for change in changes:
        if change.kind in ("widened", "retyped") and change.column in partition_by:
            raise MigrationError(
                f"{name}: {change}, but it is a partition column, whose values are names of folders; write the table "
                "anew under another name"
            )
    target = evolved(_without(named, steps.drop), wanted)
    return Plan(table, target, {new: old for old, new in rename.items()}, changes)


def migrate(store: DeltaStore, path: Sequence[str], declared: Schema, evolution: SchemaEvolution, steps: Steps) -> Plan:
    """Take the steps in one commit, whose metadata lists them; the versions before stay readable.

    Args:
        store: where the table is.
        path: the table.
        declared: the contract's columns.
        evolution: what the table's runs may change about its columns.
        steps: what a person allows.

    Returns:
        What was done; its `table` is as new as the commit. It has no sentences if there was nothing to do.

    Raises:
        TableMissingError: the table was never written.
        MigrationError: a step can't be taken.
        SchemaError: the stored rows do not allow it, or other writers changed the table three times in between.
    """
    from deltalake.exceptions import CommitFailedError

    name = "/".join(path)
    for attempt in range(_ATTEMPTS):
        plan = plan_migration(name, store.open(path), declared, evolution, steps)
        if not plan.sentences:
            return plan
        metadata = {MIGRATION: json.dumps(plan.sentences)}
        try:
            evolve(store, path, plan.table, plan.target, plan.changes, metadata, plan.renamed)
        except CommitFailedError as error:
            if attempt + 1 == _ATTEMPTS:
                raise SchemaError(
                    f"{name}: other writers changed the table during each of {_ATTEMPTS} attempts; stop its runs and "
                    "sensors, then migrate again; nothing was changed"
                ) from error
            continue
        return plan
    raise AssertionError("unreachable")


def _require_possible(
    name: str, current: Schema, declared: Schema, steps: Steps, partition_by: Collection[str]
) -> None:
    stored, wanted = {item.name for item in current.fields}, {item.name for item in declared.fields}
    for problem in _problems(stored, wanted, steps, partition_by):
        raise MigrationError(f"{name}: {problem}; nothing was changed")


def _problems(stored: set[str], wanted: set[str], steps: Steps, partition_by: Collection[str]) -> Iterator[str]:
    for column in [*steps.rename, *steps.drop]:
        if column in partition_by:
            yield f"partition column {column} can't be renamed or dropped; write the table anew under another name"
    for old, new in steps.rename.items():
        if old not in stored and new not in stored:
            yield f"there is no column {old} to rename; the table has {sorted(stored)}"
        if old in stored and new in stored:
            yield f"{old} can't be renamed {new}, which the table has already"
        if new not in wanted:
            yield f"{old} is to be renamed {new}, which is no column of the contract; rename it there first"
    if len(set(steps.rename.values())) < len(steps.rename):
        yield f"two columns are to have one name: {sorted(steps.rename.values())}"
    for column in steps.drop:
        if column in wanted:
            yield f"{column} is to be dropped, but the contract has it; remove it there first"
        if column in steps.rename:
            yield f"{column} is to be dropped and renamed; choose one"
    for column in steps.retype:
        if column not in wanted:
            yield f"{column} is to be retyped, but the contract, which gives the type, has no such column"


def _allowed(change: ColumnChange, steps: Steps) -> bool:
    if change.kind == "removed":
        return change.column in steps.drop
    return change.kind != "retyped" or change.column in steps.retype


def _renamed(schema: Schema, rename: Mapping[str, str]) -> Schema:
    from deltalake import Field, Schema

    return Schema(
        [
            Field(rename.get(item.name, item.name), item.type, nullable=item.nullable, metadata=item.metadata)
            for item in schema.fields
        ]
    )


def _without(schema: Schema, names: Collection[str]) -> Schema:
    from deltalake import Schema

    return Schema([item for item in schema.fields if item.name not in names])
