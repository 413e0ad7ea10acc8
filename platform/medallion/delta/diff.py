"""Which rows differ between two versions of a table, in bounded memory."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote

from medallion.delta.protocol import COLUMN_MAPPING, DELETION_VECTORS, reader_features
from medallion.delta.schema import type_name
from medallion.delta.store import DeltaStore, scan
from medallion.sql import quoted

if TYPE_CHECKING:
    import duckdb
    import obstore
    import pyarrow as pa
    from deltalake import DeltaTable

MASKED = "•••"
_COPIES, _SIDE = "__copies", "__side"
_BATCH_ROWS = 32_768
_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT")
_FAMILIES = {**dict.fromkeys(_INTEGERS, "integer"), "FLOAT": "float", "DOUBLE": "float"}
_Meets = Callable[[str], str]


@dataclass(frozen=True)
class Difference:
    """One row that differs; values of personal data are masked.

    Attributes:
        kind: `added`, `removed` or `changed`.
        before: the row in the first version; None if it was added.
        after: the row in the second version; None if it was removed.
        columns: columns whose values differ; empty unless it was changed.
    """

    kind: Literal["added", "removed", "changed"]
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Diff:
    """How a version differs from another.

    Attributes:
        before: the version compared from.
        after: the version compared to.
        added: rows that only the second has; of equal rows, each copy counts.
        removed: rows that only the first has.
        changed: rows whose key both have once, with other values.
        columns_added: columns that only the second has.
        columns_removed: columns that only the first has.
        columns_retyped: columns of another type, as `name: old -> new`.
        files_shared: data files that both have and that were not read.
        files_read: data files that were.
        sample: some of the differences: changed rows first, then removed and added ones.
    """

    before: int
    after: int
    added: int
    removed: int
    changed: int
    columns_added: tuple[str, ...]
    columns_removed: tuple[str, ...]
    columns_retyped: tuple[str, ...]
    files_shared: int
    files_read: int
    sample: tuple[Difference, ...]


def diff(
    store: DeltaStore,
    path: Sequence[str],
    before: DeltaTable,
    after: DeltaTable,
    *,
    key: Sequence[str] = (),
    ignore: Collection[str] = (),
    masked: Collection[str] = (),
    rows: int = 20,
    memory: int = 1 << 30,
) -> Diff:
    """Compare two versions of a table.

    Files that both versions have are not read. Rows are compared by value: NULL equals NULL, NaN equals NaN, nested
    values by their parts; a column that a version lacks is NULL there. A row that moved to another file did not change.

    Args:
        store: where the table is.
        path: the table.
        before: one version of it.
        after: another one.
        key: columns that identify a row; without them, or where a key repeats, rows are only added and removed.
        ignore: columns that are not compared and not shown.
        masked: columns whose values the sample must not show.
        rows: size of the sample.
        memory: bytes that the comparison may hold before it spills to a temporary folder.
    """
    import duckdb

    shared, read = _files(before, after)
    with (
        tempfile.TemporaryDirectory(prefix="medallion-diff-") as folder,
        duckdb.connect(str(Path(folder) / "diff.duckdb"), config={"memory_limit": f"{memory}B"}) as database,
    ):
        database.execute("SET TimeZone = 'UTC'; SET preserve_insertion_order = false")
        for name, table in (("before", before), ("after", after)):
            reader = _reader(store, path, table, shared)  # noqa: F841 - DuckDB finds it by its name
            database.execute(f"CREATE TABLE {name}_rows AS SELECT * FROM reader")
        columns = _net_rows(database, ignore)
        identity = [column for column in key if column in columns]
        pairs = _pair(database, identity if len(identity) == len(key) else [])
        changed, added, removed = _counts(database)
        sample = [*_changed_rows(database, columns, pairs, rows)]
        sample += _single_rows(database, columns, pairs, "removed", rows - len(sample))
        sample += _single_rows(database, columns, pairs, "added", rows - len(sample))
    types = [{field.name: type_name(field) for field in table.schema().fields} for table in (before, after)]
    return Diff(
        before=before.version(),
        after=after.version(),
        added=added,
        removed=removed,
        changed=changed,
        columns_added=tuple(name for name in types[1] if name not in types[0]),
        columns_removed=tuple(name for name in types[0] if name not in types[1]),
        columns_retyped=tuple(
            f"{name}: {kind} -> {types[1][name]}" for name, kind in types[0].items() if types[1].get(name, kind) != kind
        ),
        files_shared=len(shared),
        files_read=read,
        sample=tuple(_mask(item, frozenset(masked)) for item in sample),
    )


def _files(before: DeltaTable, after: DeltaTable) -> tuple[frozenset[str], int]:
    """Paths of the files with the same rows in both versions, and how many files there are besides."""
    held = [{str(action["path"]) for action in _actions(table)} for table in (before, after)]
    # A file with a deletion vector may have other rows at another version.
    shared = frozenset() if not (_is_plain(before) and _is_plain(after)) else frozenset(held[0] & held[1])
    return shared, sum(len(paths - shared) for paths in held)


def _is_plain(table: DeltaTable) -> bool:
    """Whether the table's Parquet files can be read by themselves."""
    return not reader_features(table) & {DELETION_VECTORS, COLUMN_MAPPING}


def _actions(table: DeltaTable) -> list[dict[str, Any]]:
    import pyarrow as pa

    actions: list[dict[str, Any]] = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    return actions


def _reader(store: DeltaStore, path: Sequence[str], table: DeltaTable, shared: Collection[str]) -> pa.RecordBatchReader:
    """The rows of a version that are not in shared files."""
    import pyarrow as pa

    if not _is_plain(table):
        return scan(table)
    schema = pa.schema(table.schema().to_arrow())
    actions = [action for action in _actions(table) if action["path"] not in shared]
    return pa.RecordBatchReader.from_batches(schema, _batches(store, path, schema, actions))


def _batches(
    store: DeltaStore, path: Sequence[str], schema: pa.Schema, actions: Sequence[Mapping[str, Any]]
) -> Iterator[pa.RecordBatch]:
    import obstore
    import pyarrow as pa
    import pyarrow.parquet as pq

    for action in actions:
        stored = obstore.open_reader(store.objects, "/".join([*path, unquote(action["path"])]))
        with _File(stored) as readable, pq.ParquetFile(readable) as file:
            for batch in file.iter_batches(_BATCH_ROWS, use_threads=False):
                columns = []
                for field in schema:
                    if (name := f"partition.{field.name}") in action:
                        columns.append(pa.repeat(pa.scalar(action[name], field.type), batch.num_rows))
                    elif field.name in batch.schema.names:
                        columns.append(batch.column(field.name).cast(field.type))
                    else:
                        columns.append(pa.nulls(batch.num_rows, field.type))
                yield pa.RecordBatch.from_arrays(columns, schema=schema)


class _File(io.RawIOBase):
    """A stored object as pyarrow wants a file to be: reads ranges, so a large file is never held."""

    def __init__(self, stored: obstore.ReadableFile) -> None:
        self._stored = stored

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to an offset."""
        return self._stored.seek(offset, whence)

    def tell(self) -> int:
        """The offset."""
        return self._stored.tell()

    def read(self, size: int = -1) -> bytes:
        """Bytes from the offset on."""
        return bytes(self._stored.read(size) if size >= 0 else self._stored.readall())


def _net_rows(database: duckdb.DuckDBPyConnection, ignore: Collection[str]) -> list[str]:
    """Make the table `net`: each distinct row with how many copies more the second version has of it.

    Returns:
        The compared columns, those of the second version first.
    """
    types = [
        {str(row[0]): str(row[1]) for row in database.execute(f"DESCRIBE {name}_rows").fetchall()}
        for name in ("after", "before")
    ]
    names = [name for name in {**types[0], **types[1]} if name not in ignore]
    # Types without a common one that keeps every value are compared as text.
    as_text = {name for name in names if not _comparable(*(kinds.get(name) for kinds in types))}
    sides = []
    for kinds, version, side in ((types[0], "after", 1), (types[1], "before", -1)):
        own = [(name, quoted(name)) for name in names if name in kinds]
        selected = [f"CAST({column} AS VARCHAR) AS {column}" if name in as_text else column for name, column in own]
        sides.append(f"SELECT {', '.join([*selected, f'{side} AS {_SIDE}'])} FROM {version}_rows")
    listed = ", ".join(map(quoted, names))
    database.execute(
        f"CREATE TABLE net AS SELECT {listed}, sum({_SIDE})::BIGINT AS {_COPIES} "
        f"FROM ({' UNION ALL BY NAME '.join(sides)}) GROUP BY {listed} HAVING sum({_SIDE}) <> 0"
        if names
        else f"CREATE TABLE net AS SELECT 0::BIGINT AS {_COPIES} WHERE false"
    )
    return names


def _comparable(one: str | None, other: str | None) -> bool:
    if one is None or other is None or one == other:
        return True
    families = {_FAMILIES.get(kind, "decimal" if kind.startswith("DECIMAL") else kind) for kind in (one, other)}
    return len(families) == 1


def _pair(database: duckdb.DuckDBPyConnection, key: Sequence[str]) -> _Meets:
    """Make the table `pairs` of the keys that one removed and one added row have.

    Returns:
        The condition under which a row of an alias has one of these keys.
    """
    if not key:
        database.execute("CREATE TABLE pairs AS SELECT 1 AS none WHERE false")
        return lambda alias: "false"  # noqa: ARG005
    listed = ", ".join(map(quoted, key))
    database.execute(
        f"CREATE TABLE pairs AS SELECT {listed} FROM net GROUP BY {listed} "
        f"HAVING count(*) = 2 AND min({_COPIES}) = -1 AND max({_COPIES}) = 1"
    )
    return lambda alias: " AND ".join(f"pairs.{quoted(c)} IS NOT DISTINCT FROM {alias}.{quoted(c)}" for c in key)


def _counts(database: duckdb.DuckDBPyConnection) -> tuple[int, int, int]:
    answer = database.execute(
        f"SELECT (SELECT count(*) FROM pairs), coalesce(sum({_COPIES}) FILTER ({_COPIES} > 0), 0)::BIGINT, "
        f"coalesce(-sum({_COPIES}) FILTER ({_COPIES} < 0), 0)::BIGINT FROM net"
    ).fetchall()
    changed, added, removed = answer[0]
    return changed, added - changed, removed - changed


def _changed_rows(
    database: duckdb.DuckDBPyConnection, columns: Sequence[str], pairs: _Meets, limit: int
) -> Iterator[Difference]:
    if limit < 1:
        return
    old = ", ".join(f"o.{quoted(column)} AS {quoted(f'o.{column}')}" for column in columns)
    new = ", ".join(f"n.{quoted(column)} AS {quoted(f'n.{column}')}" for column in columns)
    differs = ", ".join(f"o.{quoted(c)} IS DISTINCT FROM n.{quoted(c)} AS {quoted(f'd.{c}')}" for c in columns)
    found = database.sql(
        f"SELECT {old}, {new}, {differs} FROM pairs JOIN net o ON {pairs('o')} AND o.{_COPIES} < 0 "
        f"JOIN net n ON {pairs('n')} AND n.{_COPIES} > 0 ORDER BY pairs LIMIT {limit}"
    )
    for row in found.to_arrow_table().to_pylist():
        before, after = ({c: row[f"{side}.{c}"] for c in columns} for side in "on")
        yield Difference("changed", before, after, tuple(c for c in columns if row[f"d.{c}"]))


def _single_rows(
    database: duckdb.DuckDBPyConnection,
    columns: Sequence[str],
    pairs: _Meets,
    kind: Literal["added", "removed"],
    limit: int,
) -> Iterator[Difference]:
    if limit < 1 or not columns:
        return
    listed = ", ".join(map(quoted, columns))
    found = database.sql(
        f"SELECT {listed}, abs({_COPIES}) AS {_COPIES} FROM net WHERE {_COPIES} {'>' if kind == 'added' else '<'} 0 "
        f"AND NOT EXISTS (SELECT 1 FROM pairs WHERE {pairs('net')}) ORDER BY {listed} LIMIT {limit}"
    )
    for row in found.to_arrow_table().to_pylist():
        for _ in range(min(row.pop(_COPIES), limit)):
            yield Difference(kind, row if kind == "removed" else None, row if kind == "added" else None)
            limit -= 1


def _mask(item: Difference, masked: frozenset[str]) -> Difference:
    def hide(row: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        if row is None:
            return None
        return {name: MASKED if name in masked and value is not None else value for name, value in row.items()}

    return Difference(item.kind, hide(item.before), hide(item.after), item.columns)
