"""What may change about a table's columns, and what is refused by name."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from deltalake import Schema
    from deltalake.schema import Field

SchemaEvolution = Literal["strict", "additive", "replace"]
ChangeKind = Literal["added", "removed", "widened", "retyped", "nullable", "required"]

EXTRA = "medallion/extra"
"""Field metadata that marks a column which came with the data and is in no contract."""

_WIDER = {
    "byte": ("short", "integer", "long"),
    "short": ("integer", "long"),
    "integer": ("long",),
    "float": ("double",),
}
_DECIMAL = re.compile(r"decimal\((\d+),\s*(\d+)\)")
_ADVICE = {
    "strict": "mend the transform, declare schema_evolution='additive' for new columns and wider types, or change the "
    "table with: medallion migrate",
    "additive": "additive evolution takes new columns and wider types (integers, float to double, decimals that keep "
    "their digits) of columns that are no partition; mend the transform, or change the table with: medallion migrate",
    "replace": "only a write of the whole table may drop or retype columns, or take new ones, under 'replace'",
}


class SchemaError(ValueError):
    """Columns that a table may not take; nothing was written."""


@dataclass(frozen=True)
class ColumnChange:
    """One difference between the columns of a table and those it is to have.

    Attributes:
        kind: `widened` keeps every value as it is, `retyped` may not; `nullable` and `required` say what the column
            becomes.
        column: its name.
        old: type in the table; None for a new column.
        new: type it is to have; None for a column that goes.
    """

    kind: ChangeKind
    column: str
    old: str | None
    new: str | None

    def __str__(self) -> str:
        return {
            "added": f"new column {self.column}: {self.new}",
            "removed": f"missing column {self.column}: {self.old}",
            "widened": f"wider type of {self.column}: {self.old} -> {self.new}",
            "retyped": f"changed type of {self.column}: {self.old} -> {self.new}",
            "nullable": f"{self.column} becomes nullable",
            "required": f"{self.column} becomes NOT NULL",
        }[self.kind]


def schema_changes(current: Schema, incoming: Schema) -> tuple[ColumnChange, ...]:
    """The differences between a table's columns and others, in the order of the table; the order itself is none."""
    come = {field.name: field for field in incoming.fields}
    known = {field.name for field in current.fields}
    changes = [change for field in current.fields for change in _changes_of(field, come.get(field.name))]
    added = [ColumnChange("added", name, None, type_name(field)) for name, field in come.items() if name not in known]
    return (*changes, *added)


def check_evolution(
    table: str,
    current: Schema,
    incoming: Schema,
    evolution: SchemaEvolution,
    whole: bool,
    partition_by: Collection[str] = (),
) -> tuple[ColumnChange, ...]:
    """Compare incoming columns with a table's.

    Args:
        table: its name, for messages.
        current: the table's schema.
        incoming: the schema of the rows to write.
        evolution: `strict` allows no difference; `additive` new columns, wider types, another nullability, and
            nullable columns that did not come; `replace` anything, if the whole table is written.
        whole: whether the write replaces the whole table.
        partition_by: columns that the table is physically partitioned by, whose type never changes in place.

    Returns:
        What has to change about the table before the rows enter it. Whether the stored rows allow it is checked
        where it is applied.

    Raises:
        SchemaError: a difference that the evolution mode refuses.
    """
    changes = schema_changes(current, incoming)
    if evolution == "replace" and whole:
        return changes
    stored = {field.name.lower(): field.name for field in current.fields}
    for change in changes:
        if change.kind == "added" and (other := stored.get(change.column.lower())) is not None:
            raise SchemaError(
                f"{table}: {change} differs from the column {other} in case only; use one name, or rename the stored "
                "column with: medallion migrate; nothing was written"
            )
    nullable = {field.name for field in current.fields if field.nullable}
    absent = {change.column for change in changes if change.kind == "removed" and change.column in nullable}
    if evolution == "additive":
        changes = tuple(change for change in changes if change.column not in absent)
    refused = [change for change in changes if evolution != "additive" or not _additive(change, partition_by)]
    if refused:
        raise SchemaError(f"{table}: {_listed(refused)}; {_ADVICE[evolution]}; nothing was written")
    return changes


def check_contract(
    table: str,
    current: Schema,
    declared: Schema,
    evolution: SchemaEvolution,
    whole: bool,
    partition_by: Collection[str] = (),
) -> None:
    """Refuse, before any row is made, what a contract may not change about its table.

    Args:
        table: its name, for messages.
        current: the table's schema.
        declared: the contract's.
        evolution: as for `check_evolution`.
        whole: whether the write replaces the whole table.
        partition_by: the table's physical partition columns.

    Raises:
        SchemaError: a difference that the mode refuses. Under `additive` also a stored column that left the contract:
            it may have been renamed, which no comparison can tell.
    """
    if evolution == "additive":
        declared = with_extras(declared, current)
        gone = [change for change in schema_changes(current, declared) if change.kind == "removed"]
        if gone:
            raise SchemaError(
                f"{table}: the contract differs from the table: {_listed(gone)}; say what became of it with: "
                f"medallion migrate {table} --rename {gone[0].column}:NEW or --drop {gone[0].column}; nothing was "
                "written"
            )
    name = f"{table}: the contract differs from the table"
    check_evolution(name, current, declared, evolution, whole, partition_by)


def with_extras(declared: Schema, current: Schema) -> Schema:
    """A contract's columns and the table's columns that came with data and are in no contract."""
    from deltalake import Schema

    names = {field.name for field in declared.fields}
    extras = [field for field in current.fields if field.name not in names and (field.metadata or {}).get(EXTRA)]
    return Schema([*declared.fields, *extras])


def extra_column(field: Field) -> Field:
    """A column that came with data, as the table keeps it: nullable, and marked as none of the contract's."""
    from deltalake import Field

    return Field(field.name, field.type, nullable=True, metadata={**(field.metadata or {}), EXTRA: "true"})


def evolved(current: Schema, incoming: Schema) -> Schema:
    """A table's columns in their order, as the incoming ones define them, then the new ones."""
    from deltalake import Schema

    come = {field.name: field for field in incoming.fields}
    known = {field.name for field in current.fields}
    kept = [come.get(field.name, field) for field in current.fields]
    return Schema([*kept, *[field for name, field in come.items() if name not in known]])


def check_declared(table: str, declared: Schema, produced: Schema) -> None:
    """Compare the columns that a transform produced with its contract.

    Raises:
        SchemaError: columns are missing or of another type; names each with both types.
    """
    come = {field.name: field for field in produced.fields}
    missing = [field.name for field in declared.fields if field.name not in come]
    changed = [
        f"{field.name} is {type_name(come[field.name])}, the contract says {type_name(field)}"
        for field in declared.fields
        if field.name in come and type_name(come[field.name]) != type_name(field)
    ]
    if missing or changed:
        problems = ([f"missing columns {missing}"] if missing else []) + changed
        raise SchemaError(f"{table}: the transform does not keep its contract: {'; '.join(problems)}")


def type_name(field: Field) -> str:
    """A column's type as text, nullability of nested parts left out (engines infer it differently)."""
    kind = json.loads(field.to_json())["type"]
    return kind if isinstance(kind, str) else json.dumps(_without_nullability(kind), sort_keys=True)


def is_wider(old: str, new: str) -> bool:
    """Whether a Delta type holds every value of another exactly, as the same kind of number."""
    if new in _WIDER.get(old, ()):
        return True
    before, after = _DECIMAL.fullmatch(old), _DECIMAL.fullmatch(new)
    if before is None or after is None or old == new:
        return False
    (precision, scale), (wider, finer) = map(int, before.groups()), map(int, after.groups())
    return finer >= scale and wider - finer >= precision - scale


def _changes_of(field: Field, incoming: Field | None) -> list[ColumnChange]:
    old = type_name(field)
    if incoming is None:
        return [ColumnChange("removed", field.name, old, None)]
    new = type_name(incoming)
    changes = []
    if type_name(field) != type_name(incoming):
        changes.append(ColumnChange("widened" if is_wider(old, new) else "retyped", field.name, old, new))
    if field.nullable != incoming.nullable:
        kind: ChangeKind = "nullable" if incoming.nullable else "required"
        changes.append(ColumnChange(kind, field.name, old, new))
    return changes


def _additive(change: ColumnChange, partition_by: Collection[str]) -> bool:
    if change.kind in ("nullable", "required"):
        return True
    return change.kind in ("added", "widened") and change.column not in partition_by


def _listed(changes: Sequence[ColumnChange]) -> str:
    return "; ".join(str(change) for change in changes)


def _type_of(field: Field) -> str:
    """A column's type for people: `long`, `decimal(12,2)`, a nested one as its JSON."""
    return type_name(field)


def _without_nullability(kind: Any) -> Any:
    if isinstance(kind, dict):
        ignored = ("nullable", "containsNull", "valueContainsNull", "metadata")
        return {key: _without_nullability(value) for key, value in kind.items() if key not in ignored}
    return [_without_nullability(item) for item in kind] if isinstance(kind, list) else kind
