"""How far a table has the log of its source, as its commits say it: application transactions of a slot."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deltalake import DeltaTable

NEVER = 0
"""Position of a table that is to be loaded whole."""


def read_position(table: DeltaTable, name: str) -> int | None:
    """The position that the newest commit with one says; None for a table that has none, or is to be loaded whole."""
    return table.transaction_version(name) or None


def forget_position(table: DeltaTable, name: str) -> None:
    """Say that a table is to be loaded whole, in a commit without rows; its rows stay until then."""
    from deltalake import CommitProperties, Transaction

    table.create_write_transaction(
        [],
        mode="append",
        schema=table.schema(),
        partition_by=table.metadata().partition_columns,
        commit_properties=CommitProperties(app_transactions=[Transaction(name, NEVER, None)]),
    )
