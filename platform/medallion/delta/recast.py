"""A stream of rows with other columns: renamed, left out, NULL where new, and of another type where that is exact."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


class InexactError(ValueError):
    """A column has values that another type does not hold."""

    def __init__(self, column: str) -> None:
        super().__init__(f"column {column} has values that its new type does not hold exactly")
        self.column = column


def recast(
    rows: pa.RecordBatchReader, schema: pa.Schema, sources: Mapping[str, str], retyped: Collection[str]
) -> Iterator[pa.RecordBatch]:
    """Give every batch the columns of a schema.

    Args:
        rows: what there is.
        schema: what there is to be, in plain types.
        sources: column of the rows by column of the schema; a column without one becomes NULL.
        retyped: columns of the schema whose type differs.

    Raises:
        InexactError: a value is not the same in the new type.
    """
    import pyarrow as pa

    from medallion.engine.frames import plain_types

    for batch in rows:
        table = plain_types(pa.Table.from_batches([batch]))
        columns = []
        for field in schema:
            source = sources.get(field.name)
            if source is None:
                columns.append(pa.nulls(table.num_rows, field.type))
                continue
            values = _exactly(table[source], field.type) if field.name in retyped else table[source].cast(field.type)
            if values is None:
                raise InexactError(field.name)
            columns.append(values)
        yield from pa.Table.from_arrays(columns, schema=schema).to_batches()


def _exactly(values: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray | None:
    """Values in another type, or None if any differs there: text has to parse, others to come back as they were."""
    import pyarrow as pa

    try:
        cast = values.cast(kind)
        if pa.types.is_string(values.type) or _equal(cast.cast(values.type), values):
            return cast
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        pass
    return None


def _equal(left: Any, right: Any) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_floating(right.type):
        return bool(left.equals(right))
    same = pc.or_(pc.equal(left, right), pc.and_(pc.is_nan(left), pc.is_nan(right)))
    return bool(left.is_null().equals(right.is_null()) and pc.all(same, min_count=0).as_py())
