"""What may change about a table's columns, and what is refused by name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from deltalake import Schema
    from deltalake.schema import Field

SchemaEvolution = Literal["strict", "additive", "replace"]


class SchemaError(ValueError):
    """Columns that a table may not take; nothing was written."""


def check_evolution(
    table: str, current: Schema, incoming: Schema, evolution: SchemaEvolution, whole: bool
) -> list[Field]:
    """Compare incoming columns with a table's.

    Args:
        table: its name, for messages.
        current: the table's schema.
        incoming: the schema of the rows to write.
        evolution: `strict` allows no difference, `additive` new nullable columns, `replace` anything.
        whole: whether the write replaces the whole table.

    Returns:
        Columns to add before writing; empty under `replace` of a whole table, which takes the incoming schema.

    Raises:
        SchemaError: a difference that the evolution mode refuses.
    """
    have = {field.name: field for field in current.fields}
    come = {field.name: field for field in incoming.fields}
    added = [field for name, field in come.items() if name not in have]
    missing = [name for name in have if name not in come]
    changed = [
        f"{name}: {type_name(have[name])} -> {type_name(field)}"
        for name, field in come.items()
        if name in have and type_name(field) != type_name(have[name])
    ]
    if evolution == "replace" and whole:
        return []
    problems = []
    if changed:
        problems.append(f"changed types {changed}")
    if missing and evolution != "additive":
        problems.append(f"missing columns {missing}")
    if added and evolution == "strict":
        problems.append(f"new columns {[field.name for field in added]}")
    if problems:
        advice = {
            "strict": "declare schema_evolution='additive' to add columns, or mend the transform",
            "additive": "types may not change and new columns must be nullable; mend the transform",
            "replace": "only a write of the whole table may drop or retype columns",
        }[evolution]
        raise SchemaError(f"{table}: {'; '.join(problems)}; {advice}")
    return added


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


def _without_nullability(kind: object) -> object:
    if isinstance(kind, dict):
        ignored = ("nullable", "containsNull", "valueContainsNull", "metadata")
        return {key: _without_nullability(value) for key, value in kind.items() if key not in ignored}
    return [_without_nullability(item) for item in kind] if isinstance(kind, list) else kind
