"""The statements that write an event, compiled by SQLAlchemy once and not for every event."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as db
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Connection, CursorResult

_OF_CHECK = ("asset_key", "check_name", "run_id", "partition")
_OF_EVALUATION = (
    "execution_status",
    "evaluation_event",
    "evaluation_event_timestamp",
    "evaluation_event_storage_id",
    "materialization_event_storage_id",
)


class Statement:
    """A statement of SQLite whose parameters are given by name.

    Building and compiling one costs 0.3 ms, about ten times as much as SQLite takes to execute it.
    """

    def __init__(self, statement: Any, columns: Sequence[str]) -> None:
        compiled = statement.compile(dialect=sqlite.dialect(), column_keys=list(columns))
        self._sql = str(compiled)
        self._names: tuple[str, ...] = tuple(compiled.positiontup)

    def execute(self, connection: Connection, row: Mapping[str, Any]) -> CursorResult[Any]:
        """Execute it with the values of a row.

        Args:
            connection: to a shard, inside a transaction.
            row: values by column, as SQLite stores them: no type of SQLAlchemy converts them, see `sqlite_time`.
        """
        return connection.exec_driver_sql(self._sql, tuple([row[name] for name in self._names]))


def sqlite_time(moment: datetime) -> str:
    """A naive time stamp as SQLAlchemy writes it: Python's own adapter leaves out microseconds that are zero."""
    return f"{moment:%Y-%m-%d %H:%M:%S.%f}"


INSERT_EVENT = Statement(
    SqlEventLogStorageTable.insert(), [column.name for column in SqlEventLogStorageTable.columns if column.name != "id"]
)
"""An event in the shard of its run or in the index; `lastrowid` is its id."""

INSERT_CHECK = Statement(AssetCheckExecutionsTable.insert(), (*_OF_CHECK, *_OF_EVALUATION))
"""A check's execution."""

UPDATE_CHECK = Statement(
    AssetCheckExecutionsTable.update().where(
        db.and_(*(AssetCheckExecutionsTable.c[name].is_not_distinct_from(db.bindparam(name)) for name in _OF_CHECK))
    ),
    _OF_EVALUATION,
)
"""The result of a check that was planned; `rowcount` is 0 if it was not."""
