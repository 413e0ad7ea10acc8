"""Where tables are: opens, counts and lists the Delta tables below one root."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from medallion.delta.log import LOG
from medallion.delta.protocol import UnsupportedTableError, deleted_rows, require_readable, unreadable
from medallion.object_store import delete_tree, open_store, retry_options
from medallion.partitions import Slice, parse_file_value

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable, Schema
    from obstore.store import ObjectStore


class TableMissingError(LookupError):
    """A table that was never written; the message names it and says how to make it."""


class VersionMissingError(LookupError):
    """A version that a table never had, or whose log is gone; the message says which there are."""


@dataclass(frozen=True)
class DataFile:
    """One live data file of a table.

    Attributes:
        path: relative to the table, not percent-encoded.
        size: bytes.
        recorded: live records in the file; None if the writer kept no statistics.
        partition: raw partition values of the Delta log by column.
        null_count: NULLs by column, where the writer kept statistics.
        modified: when it was written, milliseconds since the epoch.
    """

    path: str
    size: int
    recorded: int | None
    partition: Mapping[str, str | None]
    null_count: Mapping[str, int]
    modified: int

    @property
    def rows(self) -> int:
        """Live records in the file.

        Raises:
            UnsupportedTableError: the writer kept no statistics, so that the log can't tell.
        """
        if self.recorded is None:
            raise UnsupportedTableError(
                f"the data file {self.path} has no row count in its table's log, because another writer kept no "
                "statistics; write it anew with statistics (numRecords), for example by OPTIMIZE where it was made"
            )
        return self.recorded


@dataclass(frozen=True)
class DeltaStore:
    """The tables below a root on local disk or an object store.

    Attributes:
        root: folder or URL without a trailing slash.
        storage_options: delta-rs options of the object store.
        table_config: Delta properties that new tables are created with.
    """

    root: str
    storage_options: Mapping[str, str] = field(default_factory=dict)
    table_config: Mapping[str, str] = field(default_factory=dict)

    def uri(self, path: Sequence[str]) -> str:
        """Location of a table, such as `<root>/silver/olist/orders`."""
        return "/".join([self.root, *path])

    @cached_property
    def options(self) -> dict[str, str]:
        """What delta-rs is given with every table: the storage options, and how long requests are repeated."""
        return {**retry_options(self.root), **self.storage_options}

    @cached_property
    def objects(self) -> ObjectStore:
        """The raw objects below the root."""
        return open_store(self.root, self.storage_options)

    def find(self, path: Sequence[str], version: int | None = None) -> DeltaTable | None:
        """The table, or None if there is none yet; any other failure is raised.

        Raises:
            VersionMissingError: the table has no such version.
            UnsupportedTableError: another writer gave it a feature that can't be read here.
        """
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError, TableNotFoundError

        name = "/".join(path)
        try:
            table = DeltaTable(self.uri(path), version=version, storage_options=self.options)
        except TableNotFoundError as error:
            # delta-rs says so also of a version that is older than what is left of the log.
            if version is not None and (newest := self.find(path)) is not None:
                raise _no_version(name, version, newest) from error
            return None
        except DeltaError as error:
            if (refused := unreadable(name, error)) is not None:
                raise refused from error
            if version is not None and "LogSegment" in str(error) and (newest := self.find(path)) is not None:
                raise _no_version(name, version, newest) from error
            raise
        require_readable(name, table)
        return table

    def open(self, path: Sequence[str], version: int | None = None) -> DeltaTable:
        """The table.

        Raises:
            TableMissingError: it was never written.
            VersionMissingError: the table has no such version.
            UnsupportedTableError: another writer gave it a feature that can't be read here.
        """
        table = self.find(path, version)
        if table is None:
            name = "/".join(path)
            raise TableMissingError(
                f"{name} has no data at {self.uri(path)}; make it, and what it is made from, with: "
                f"medallion run -s +{name}"
            )
        return table

    def tables(self, prefix: str = "") -> list[tuple[str, ...]]:
        """Paths of all tables below a prefix, sorted; a table is a folder with a Delta log that is no stage."""
        import obstore

        found = set()
        pending = [prefix.strip("/")]
        while pending:
            folder = pending.pop()
            listing = obstore.list_with_delimiter(self.objects, folder or None)
            children = [str(child) for child in listing["common_prefixes"]]
            if any(child.rsplit("/", 1)[-1] == LOG for child in children):
                found.add(tuple(folder.split("/")))
            else:
                pending.extend(children)
        return sorted(found)

    def delete(self, path: Sequence[str]) -> int:
        """Delete all objects below a path; return how many."""
        return delete_tree(self.objects, "/".join(path))


def _no_version(name: str, version: int, newest: DeltaTable) -> VersionMissingError:
    known = [commit["version"] for commit in newest.history()]
    oldest = f"its log begins at {min(known)} and its" if known and version < newest.version() else "its"
    return VersionMissingError(
        f"{name} has no version {version}; {oldest} newest is {newest.version()}. See: medallion history {name}"
    )


def column_types(schema: Schema) -> dict[str, str]:
    """Delta type names by column; nested types by their kind."""
    return {item.name: str(getattr(item.type, "type", item.type)) for item in schema.fields}


def data_files(table: DeltaTable, selection: Slice) -> list[DataFile]:
    """The live files of a slice that is aligned with the table's physical partitions.

    Raises:
        SliceError: the slice's columns are not among the table's columns.
        ValueError: the slice cuts through files.
    """
    import pyarrow as pa

    columns = table.metadata().partition_columns
    if not selection.columns <= set(columns):
        raise ValueError(f"slice columns {sorted(selection.columns)} are not the physical partitions {columns}")
    types = column_types(table.schema())
    bound = selection.bind(types)
    rows: list[dict[str, Any]] = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    hidden = {unquote(uri): rows for uri, rows in deleted_rows(table).items()}
    files = []
    for row in rows:
        raw = {column: _text(row.get(f"partition.{column}")) for column in columns}
        if bound.holds({column: parse_file_value(value, types[column]) for column, value in raw.items()}):
            nulls = {key.removeprefix("null_count."): n for key, n in row.items() if key.startswith("null_count.")}
            # The log has paths as URIs; delta-rs encodes those it is given, so an encoded one would name no file.
            path, recorded = unquote(row["path"]), row["num_records"]
            if recorded is not None and hidden:
                recorded -= hidden.get(f"{unquote(table.table_uri).rstrip('/')}/{path}", 0)
            files.append(DataFile(path, row["size_bytes"], recorded, raw, nulls, row["modification_time"]))
    return files


def scan(table: DeltaTable, columns: Sequence[str] | None = None, predicate: str | None = None) -> pa.RecordBatchReader:
    """Stream a table as Arrow batches.

    Args:
        table: at the version to read.
        columns: their names; None for all.
        predicate: condition in DataFusion SQL that rows must fulfil.
    """
    import pyarrow as pa

    return pa.RecordBatchReader.from_stream(
        table.scan(columns=list(columns) if columns is not None else None, predicate=predicate)
    )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
