"""All rows of a table with other columns, staged part by part, so that memory is bounded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from medallion.delta.recast import InexactError, recast
from medallion.delta.schema import SchemaError, type_name
from medallion.delta.staging import PASSED, Stage, write_stage
from medallion.delta.store import DeltaStore, column_types, data_files, scan
from medallion.partitions import WHOLE, Condition, parse_file_value
from medallion.sql import quoted

if TYPE_CHECKING:
    from deltalake import DeltaTable, Schema

# delta-rs holds a row group of every partition that it writes, and reads many files at once.
_ROWS_AT_ONCE = 1_000_000
_PARTITIONS_AT_ONCE = 100
_COMPARABLE = frozenset({"string", "byte", "short", "integer", "long", "date", "timestamp", "timestamp_ntz"})


def rewrite(
    store: DeltaStore, path: tuple[str, ...], table: DeltaTable, target: Schema, sources: Mapping[str, str]
) -> list[Stage]:
    """Stage the rows of a table with the columns of a schema, partitioned as it is.

    Args:
        store: where the table is.
        path: the table.
        table: the version to read.
        target: columns to write.
        sources: stored column by column of the target; a column without one becomes NULL.

    Returns:
        Stages that hold all rows together.

    Raises:
        SchemaError: a column's new type does not hold a stored value exactly, or rows could not be read.
    """
    from deltalake.exceptions import DeltaError

    stages: list[Stage] = []
    try:
        for predicate, rows in _parts(table):
            stage = _staged(store, path, table, target, sources, predicate)
            stages.append(stage)
            if stage.rows(PASSED) != rows:
                raise SchemaError(
                    f"{'/'.join(path)}: the log counts {rows} rows where {predicate or 'true'}, and its "
                    f" files have {stage.rows(PASSED)}; nothing was changed. Look at how they were written with: "
                    f"medallion history {'/'.join(path)}"
                )
    except (SchemaError, DeltaError, OSError):
        for stage in stages:
            stage.discard()
        raise
    return stages


def _parts(table: DeltaTable) -> Iterator[tuple[str | None, int]]:
    """Predicates that take every row once, each with how many the log counts."""
    columns = table.metadata().partition_columns
    types = column_types(table.schema())
    if not columns or not {types[column] for column in columns} <= _COMPARABLE:
        yield None, table.count()
        return
    rows: dict[tuple[str | None, ...], int] = {}
    for file in data_files(table, WHOLE):
        values = tuple(file.partition[column] for column in columns)
        rows[values] = rows.get(values, 0) + file.rows
    terms: list[str] = []
    held = 0
    for values, count in sorted(rows.items(), key=repr):
        if terms and (held + count > _ROWS_AT_ONCE or len(terms) == _PARTITIONS_AT_ONCE):
            yield " OR ".join(terms), held
            terms, held = [], 0
        equal = [_is(column, types[column], value) for column, value in zip(columns, values, strict=True)]
        terms.append("(" + " AND ".join(equal) + ")")
        held += count
    yield " OR ".join(terms), held


def _is(column: str, kind: str, text: str | None) -> str:
    value = parse_file_value(text, kind)
    if value is None:
        return f"{quoted(column)} IS NULL"
    return Condition(column, kind, (value,)).sql()


def _staged(
    store: DeltaStore,
    path: tuple[str, ...],
    table: DeltaTable,
    target: Schema,
    sources: Mapping[str, str],
    predicate: str | None,
) -> Stage:
    import pyarrow as pa
    from deltalake.exceptions import DeltaError

    from medallion.delta.frames import stage_writer
    from medallion.engine.frames import plain_types

    stored = {field.name: type_name(field) for field in table.schema().fields}
    types = {field.name: type_name(field) for field in target.fields}
    read = list(dict.fromkeys(sources.values()))
    retyped = {name for name, source in sources.items() if stored[source] != types[name]}
    schema = plain_types(pa.schema(target.to_arrow()).empty_table()).schema
    rows = scan(table, read or None, predicate)
    batches = recast(rows, schema, sources, retyped)
    writer = stage_writer(pa.RecordBatchReader.from_batches(schema, batches), store)
    folder = ""

    def write(uri: str, partition_by: Sequence[str]) -> None:
        nonlocal folder
        folder = uri.rsplit("/", 1)[-1]
        writer(uri, partition_by)

    try:
        return write_stage(store, path, table.metadata().partition_columns, write)
    except DeltaError:
        store.delete((*path, folder))
        raise
    except InexactError as error:
        store.delete((*path, folder))
        name = error.column
        column = sources[name].replace('"', '""')
        label = "/".join(path)
        raise SchemaError(
            f"{label}: {name}: {stored[sources[name]]} -> {types[name]}: {error}; look at them with: medallion "
            f"show {label} --sql 'select distinct \"{column}\" from {path[-1]}'; nothing was changed"
        ) from error
