"""The asset check that shows what a contract changes about the columns of its stored table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg

from medallion.delta.schema import ColumnChange, check_contract, schema_changes, with_extras

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from medallion.partitions import Slice
    from medallion.tables import Table

SCHEMA_CHANGE = "schema_change"
_TITLES = {
    "added": ("added",),
    "removed": ("removed",),
    "retyped": ("widened", "retyped"),
    "nullability": ("nullable", "required"),
}


def schema_change_spec(table: Table) -> dg.AssetCheckSpec:
    """The check's declaration; it warns and never blocks."""
    return dg.AssetCheckSpec(
        SCHEMA_CHANGE, asset=table.key, description="the contract has the columns that the table was stored with"
    )


def compare_columns(table: Table, stored: DeltaTable | None, selection: Slice) -> Iterator[dg.AssetCheckResult]:
    """Compare a table as it is stored with its contract, before any row is made.

    Args:
        table: with the contract.
        stored: None before the first write, which is no change.
        selection: the slice that is to be written.

    Yields:
        The result, whose metadata lists the columns by what happens to them.

    Raises:
        SchemaError: after the result, if the write may not change the table so.
    """
    declared = table.schema
    evolution = table.schema_evolution
    changes: tuple[ColumnChange, ...] = ()
    if stored is not None:
        known = with_extras(declared, stored.schema()) if evolution == "additive" else declared
        changes = schema_changes(stored.schema(), known)
    listed = {title: [_said(change) for change in changes if change.kind in kinds] for title, kinds in _TITLES.items()}
    yield dg.AssetCheckResult(
        check_name=SCHEMA_CHANGE,
        asset_key=table.key,
        passed=not changes,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={title: ", ".join(said) for title, said in listed.items() if said},
    )
    if stored is not None and changes:
        whole = selection.is_whole and table.mode == "replace"
        physical = stored.metadata().partition_columns
        check_contract(table.label, stored.schema(), declared, evolution, whole, physical)


def _said(change: ColumnChange) -> str:
    types = " -> ".join(kind for kind in (change.old, change.new) if kind is not None)
    return str(change) if change.kind in ("nullable", "required") else f"{change.column}: {types}"
