"""Changes between the log and the lake: on disk per table, then the last one of each key."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medallion.postgres.pgoutput import Changes, Relation, Truncation
from medallion.sql import literal, quoted

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    import pyarrow.parquet as pq

MEMORY_BYTES = 256 << 20
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

    def note(self, lsns: Sequence[int]) -> None:
        """Count positions of changes, oldest first."""
        if len(lsns):
            self.first = min(self.first or int(lsns[0]), int(lsns[0]))
            self.last = max(self.last, int(lsns[-1]))


class Spool:
    """A folder with a file per table and layout; it is removed when the spool is closed."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="medallion-capture-"))
        self.tables: dict[int, TableChanges] = {}

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
        table: its changes.
        folder: for what does not fit into memory.
        columns: names of the columns to give, as the source has them.
        key: which of them identify a row.
        after: position up to which changes are taken already.
    """

    table: TableChanges
    folder: Path
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
        """`_lsn`, `_deleted`, the columns as texts, and if some are partial, for each of these whether it has no value.

        The mark is `~name`. With marks comes the key by which the lake knows the row, `@name`: another one than the
        row's own if the key has changed.
        """
        with open_duckdb(self.folder) as connection:
            connection.execute(f"create {'table' if self.table.moved else 'view'} changes as {self._changes()}")
            before = self._follow_keys(connection) if self.table.moved else {}
            keys = ", ".join(f"{quoted(side + name)} varchar" for side in ("", "@") for name in self.key)
            connection.execute(f"create table moved ({keys})")
            if before:
                marks = ", ".join(["?"] * 2 * len(self.key))
                connection.executemany(f"insert into moved values ({marks})", [[*new, *old] for new, old in before.items()])
            yield from connection.execute(self._result()).to_arrow_reader(BATCH_ROWS)

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
            mark, order, value = quoted("~" + name), quoted("k" + name), quoted("v" + name)
            # An insert gives every value, so whatever is known of a key is newer than its last deletion.
            joins.append(
                f"left join (select {key}, max({_ORDER}) as newest from changes where not {mark} and not {_DELETED} "
                f"group by {key}) {order} on {self._alike('l', order)} "
                f"left join changes {value} on {value}.{_ORDER} = {order}.newest"
            )
            listed.append(f"case when l.{mark} then {value}.{quoted(name)} else l.{quoted(name)} end as {quoted(name)}")
            marks.append(f"(l.{mark} and not l.{_DELETED} and {order}.newest is null) as {mark}")
        if marks:
            joins.append(f"left join moved m on {self._alike('l', 'm')}")
            marks += [f"coalesce(m.{quoted('@' + name)}, l.{quoted(name)}) as {quoted('@' + name)}" for name in self.key]
        return f"select {', '.join([*listed, *marks])} from {chosen} {' '.join(joins)}"

    def _alike(self, left: str, right: str) -> str:
        return " and ".join(f"{left}.{quoted(name)} = {right}.{quoted(name)}" for name in self.key)

    def _follow_keys(self, connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, ...], tuple[str, ...]]:
        """Give rows whose key changed the large values that they had under the old one, in the order of the log.

        Returns:
            For rows that the batch does not have such a value of, the key that the lake knows them by.
        """
        marks = [quoted("~" + name) for name in self.partial]
        keys = [f"{side}.{quoted(name)}" for side in ("n", "o") for name in self.key]
        moves = connection.execute(
            f"select n.{_ORDER}, {', '.join(keys)} from changes n join changes o on o.{_ORDER} = n.{_ORDER} - 1 "
            f"where n.{_ORDER} % 2 = 1 and ({' or '.join(f'n.{mark}' for mark in marks)}) order by 1"
        ).fetchall()
        matches = " and ".join(f"{quoted(name)} = ?" for name in self.key)
        before: dict[tuple[str, ...], tuple[str, ...]] = {}
        for order, *cells in moves:
            new, old = tuple(cells[: len(self.key)]), tuple(cells[len(self.key) :])
            before[new] = before.pop(old, old)
            for name, mark in zip(self.partial, marks, strict=True):
                connection.execute(
                    f"update changes set {quoted(name)} = f.v, {mark} = false from (select {quoted(name)} as v from "
                    f"changes where {matches} and {_ORDER} < {order - 1} and not {mark} and not {_DELETED} "
                    f"order by {_ORDER} desc limit 1) f where {_ORDER} = {order} and {mark}",
                    list(old),
                )
        return before


def open_duckdb(folder: Path) -> duckdb.DuckDBPyConnection:
    """A database in memory that goes to disk, in a folder, for what is larger."""
    import duckdb

    opened = duckdb.connect(
        config={"memory_limit": f"{MEMORY_BYTES >> 20}MB", "temp_directory": str(folder / "duckdb"), "threads": 2}
    )
    opened.execute("set TimeZone = 'UTC'; set preserve_insertion_order = false")
    return opened


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
