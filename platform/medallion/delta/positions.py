"""How far a table has the log of its source, as its commits say it: application transactions of a slot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from medallion.delta.commits import POSITION_ONLY

if TYPE_CHECKING:
    from deltalake import DeltaTable

NEVER = 0
"""Position of a table that is to be loaded whole."""


def read_position(table: DeltaTable, name: str) -> int | None:
    """The position that the newest commit with one says; None for a table that has none, or is to be loaded whole."""
    return table.transaction_version(name) or None


def forget_position(table: DeltaTable, name: str) -> None:
    """Say that a table is to be loaded whole; its rows stay until then."""
    record_positions(table, {name: NEVER}, {})


def record_positions(table: DeltaTable, positions: Mapping[str, int], metadata: Mapping[str, Any]) -> None:
    """Say how far a table has the log, in a commit that changes no row.

    Args:
        table: to commit to.
        positions: by name.
        metadata: what the commit says besides.
    """
    from deltalake import CommitProperties, Transaction

    table.create_write_transaction(
        [],
        mode="append",
        schema=table.schema(),
        partition_by=table.metadata().partition_columns,
        commit_properties=CommitProperties(
            custom_metadata={**metadata, POSITION_ONLY: "true"},
            app_transactions=[Transaction(name, position, None) for name, position in positions.items()],
        ),
    )
