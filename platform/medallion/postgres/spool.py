"""Changes between the log and the lake: on disk per table, then the last one of each key."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medallion.postgres.pgoutput import Changes, Relation, Truncation
from medallion.sql import literal, quoted

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    import pyarrow.parquet as pq

    from medallion.postgres.pgoutput import Numbers

MEMORY_BYTES = 128 << 20
"""What the compaction of a table may hold; it goes to disk for more."""
BATCH_ROWS = 65_536
_ORDER, _LSN, _DELETED = "_order", "_lsn", "_deleted"


@dataclass
class _Layout:
    """Changes of one table with the same columns."""

    relation: Relation
    path: Path
    writer: pq.ParquetWriter
    partial: set[str] = field(default_factory=set)


@dataclass
class TableChanges:
    """What the log has for one table.

    Attributes:
        rows: changed rows, repeated keys counted.
        first: position of the oldest change.
        last: position of the newest change.
        truncations: order and position of each.
    """

    rows: int = 0
    first: int = 0
    last: int = 0
    truncations: list[tuple[int, int]] = field(default_factory=list)
    layouts: list[_Layout] = field(default_factory=list)
    moved: bool = False

    @property
    def relation(self) -> Relation:
        """The newest description of the table."""
        return self.layouts[-1].relation

    @property
    def files(self) -> list[tuple[Relation, Path]]:
        """The columns and the file of each layout, in order."""
        return [(layout.relation, layout.path) for layout in self.layouts]

    def partial(self, columns: Sequence[str]) -> list[str]:
        """Columns whose value some change leaves out: it stayed the same, or the table did not have it yet."""
        found = set[str]()
        for layout in self.layouts:
            found |= layout.partial | (set(columns) - {column.name for column in layout.relation.columns})
        return [column for column in columns if column in found]

    def note(self, lsns: Sequence[int] | Numbers) -> None:
        """Count positions of changes, oldest first."""
        if len(lsns):
            self.first = min(self.first or int(lsns[0]), int(lsns[0]))
            self.last = max(self.last, int(lsns[-1]))


class Spool:
    """A folder with a file per table and layout; it is removed when the spool is closed."""

    def __init__(self) -> None:
        """Make the folder."""
        self.folder = Path(tempfile.mkdtemp(prefix="medallion-capture-"))
        self.tables: dict[int, TableChanges] = {}

    @cached_property
    def database(self) -> duckdb.DuckDBPyConnection:
        """A database for compactions, which goes to disk for what is larger than its memory; take a cursor each."""
        import duckdb

        opened = duckdb.connect(
            config={
                "memory_limit": f"{MEMORY_BYTES >> 20}MB",
                "temp_directory": str(self.folder / "duckdb"),
                "threads": 2,
                "preserve_insertion_order": False,
            }
        )
        opened.execute("set global TimeZone = 'UTC'")
        return opened

    def add(self, change: Changes | Truncation) -> None:
        """Keep changes until their table takes them."""
        table = self.tables.setdefault(change.relation.oid, TableChanges())
        if isinstance(change, Truncation):
            table.truncations.append((change.order, change.lsn))
            table.note([change.lsn])
            self._layout(table, change.relation)
            return
        layout = self._layout(table, change.relation)
        names = [column.name for column in change.relation.columns]
        same = {name for name, unchanged in zip(names, change.unchanged, strict=True) if unchanged is not None}
        layout.partial |= same
        # An update that changes the key comes as two rows, the second one at an odd place.
        table.moved |= bool(same) and bool(change.order[0] % 2)
        table.rows += len(change.order)
        table.note(change.lsn)
        layout.writer.write_batch(_batch(change))

    def seal(self) -> None:
        """End all files, so that they can be read."""
        for table in self.tables.values():
            for layout in table.layouts:
                layout.writer.close()

    def close(self) -> None:
        """Remove everything."""
        if "database" in vars(self):
            self.database.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _layout(self, table: TableChanges, relation: Relation) -> _Layout:
        import pyarrow.parquet as pq

        if not table.layouts or table.layouts[-1].relation != relation:
            path = self.folder / f"{relation.oid}-{len(table.layouts)}.parquet"
            table.layouts.append(_Layout(relation, path, pq.ParquetWriter(path, _schema(relation), compression="lz4")))
        return table.layouts[-1]


@dataclass(frozen=True)
class Compaction:
    """The last change of each key of a table.

    Attributes:
        spool: where its changes are.
        table: what there is of them.
        columns: names of the columns to give, as the source has them.
        key: which of them identify a row.
        after: position up to which changes are taken already.
    """

    spool: Spool
    table: TableChanges
    columns: tuple[str, ...]
    key: tuple[str, ...]
    after: int

    @property
    def truncated(self) -> int | None:
        """Order of the last truncation; what came before it is void."""
        return max((order for order, lsn in self.table.truncations if lsn >= self.after), default=None)

    @property
    def partial(self) -> list[str]:
        """Columns that may lack their value."""
        return self.table.partial(self.columns)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """`_lsn`, `_deleted` and the columns as texts, and if some of these are partial, what is known of each row.

        `~name` says that the log does not have the value of a column; `~` that bronze does not have it under the key of
        the row either, as the row is another one; `@name` repeats the key.
        """
        with self.spool.database.cursor() as connection:
            connection.execute(f"create temp {'table' if self.table.moved else 'view'} changes as {self._changes()}")
            if self.table.moved:
                self._follow_keys(connection)
            yield from connection.sql(self._result()).to_arrow_reader(BATCH_ROWS)

    def _changes(self) -> str:
        """All rows that count, of all layouts, under the names of the columns."""
        selects = []
        for relation, path in self.table.files:
            known = {column.name: number for number, column in enumerate(relation.columns)}
            kept = [
                (f"c{known[name]}" if name in known else "null::varchar") + f" as {quoted(name)}"
                for name in self.columns
            ]
            same = [
                (f"u{known[name]}" if name in known else "true") + f" as {quoted('~' + name)}" for name in self.partial
            ]
            listed = ", ".join([_ORDER, _LSN, _DELETED, *kept, *same])
            after = f" and {_ORDER} > {self.truncated}" if self.truncated is not None else ""
            source = f"read_parquet({literal(str(path))})"
            selects.append(f"select {listed} from {source} where {_LSN} >= {self.after}{after}")
        return " union all ".join(selects)

    def _result(self) -> str:
        key = ", ".join(quoted(name) for name in self.key)
        last = f"select max({_ORDER}) as {_ORDER} from changes group by {key}"
        chosen = f"(select * from changes semi join ({last}) using ({_ORDER})) l"
        listed = [f"l.{_LSN}", f"l.{_DELETED}"]
        marks, joins = [], []
        for name in self.columns:
            if name not in self.partial:
                listed.append(f"l.{quoted(name)}")
                continue
            mark, seen, value = quoted("~" + name), quoted("k" + name), quoted("v" + name)
            # What was known of a row before its key was deleted is of another row.
            joins.append(
                f"left join (select {key}, max({_ORDER}) filter (not {mark} and not {_DELETED}) as newest, "
                f"coalesce(max({_ORDER}) filter ({_DELETED}), -1) as gone from changes group by {key}) {seen} "
                f"on {self._alike('l', seen)} "
                f"left join changes {value} on {value}.{_ORDER} = {seen}.newest and {seen}.newest > {seen}.gone"
            )
            listed.append(f"case when l.{mark} then {value}.{quoted(name)} else l.{quoted(name)} end as {quoted(name)}")
            marks.append(f"(l.{mark} and not l.{_DELETED} and {value}.{_ORDER} is null) as {mark}")
        if marks:
            joins.append(
                f"left join (select {key}, bool_or({_DELETED} or {_ORDER} % 2 = 1) as other from changes "
                f"group by {key}) o on {self._alike('l', 'o')}"
            )
            marks += ['o.other as "~"', *[f"l.{quoted(name)} as {quoted('@' + name)}" for name in self.key]]
        return f"select {', '.join([*listed, *marks])} from {chosen} {' '.join(joins)}"

    def _alike(self, left: str, right: str) -> str:
        return " and ".join(f"{left}.{quoted(name)} = {right}.{quoted(name)}" for name in self.key)

    def _follow_keys(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Give rows whose key changed the large values that they had under the old one, in the order of the log."""
        marks = [quoted("~" + name) for name in self.partial]
        old = ", ".join(f"o.{quoted(name)}" for name in self.key)
        moves = connection.sql(
            f"select n.{_ORDER}, {old} from changes n join changes o on o.{_ORDER} = n.{_ORDER} - 1 "
            f"where n.{_ORDER} % 2 = 1 and ({' or '.join(f'n.{mark}' for mark in marks)}) order by 1"
        ).fetchall()
        matches = " and ".join(f"{quoted(name)} = ?" for name in self.key)
        for order, *cells in moves:
            for name, mark in zip(self.partial, marks, strict=True):
                connection.execute(
                    f"update changes set {quoted(name)} = f.v, {mark} = false from (select {quoted(name)} as v, "
                    f"{_DELETED} as gone from changes where {matches} and {_ORDER} < {order - 1} "
                    f"and (not {mark} or {_DELETED}) order by {_ORDER} desc limit 1) f "
                    f"where {_ORDER} = {order} and {mark} and not f.gone",
                    cells,
                )


def _batch(change: Changes) -> pa.RecordBatch:
    import numpy as np
    import pyarrow as pa

    nothing = np.zeros(len(change.order), bool)
    return pa.RecordBatch.from_arrays(
        [
            pa.array(change.order),
            pa.array(change.lsn),
            pa.array(change.deleted),
            *change.values,
            *[pa.array(nothing if unchanged is None else unchanged) for unchanged in change.unchanged],
        ],
        schema=_schema(change.relation),
    )


def _schema(relation: Relation) -> Any:
    import pyarrow as pa

    numbers = range(len(relation.columns))
    return pa.schema(
        [
            (_ORDER, pa.int64()),
            (_LSN, pa.int64()),
            (_DELETED, pa.bool_()),
            *[(f"c{number}", pa.string()) for number in numbers],
            *[(f"u{number}", pa.bool_()) for number in numbers],
        ]
    )
