"""A Dagster partition selection as an exact set of rows: SQL for delta-rs, a Spark Column, a test for file values."""

from __future__ import annotations

import datetime as dt
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dagster import MultiPartitionKey, MultiPartitionsDefinition, PartitionsDefinition, TimeWindowPartitionsDefinition

from medallion.sql import literal, quoted

if TYPE_CHECKING:
    from dagster import TimeWindow
    from pyspark.sql import Column, DataFrame

Scalar = str | int | dt.date | dt.datetime
_INTEGERS = ("byte", "short", "integer", "long")
_TEMPORAL = ("date", "timestamp", "timestamp_ntz")


class SliceError(ValueError):
    """A slice that can't be expressed exactly on the table's columns."""


@dataclass(frozen=True)
class Dimension:
    """The selected part of one partition dimension: its keys and, for time, the windows they cover."""

    column: str
    keys: tuple[str, ...]
    windows: tuple[TimeWindow, ...] | None = None


@dataclass(frozen=True)
class Slice:
    """A union of boxes; each box fixes every dimension. No box selects nothing, `WHOLE` selects the table."""

    boxes: tuple[tuple[Dimension, ...], ...]
    keys: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """True if the slice is the whole table."""
        return self.boxes == ((),)

    @property
    def columns(self) -> frozenset[str]:
        """Columns that decide whether a row is in the slice."""
        return frozenset(dimension.column for box in self.boxes for dimension in box)

    @property
    def label(self) -> str:
        """The slice as a person names it: `table`, a key, or `first...last (n)`."""
        if self.is_whole:
            return "table"
        if len(self.keys) == 1:
            return self.keys[0]
        return f"{self.keys[0]}...{self.keys[-1]} ({len(self.keys)})" if self.keys else "nothing"

    def of(self, frame: DataFrame) -> DataFrame:
        """The rows of a Spark frame that are in the slice."""
        types = {item.name: str(item.dataType.jsonValue()) for item in frame.schema.fields}
        condition = self.bind(types).column_expression()
        return frame if condition is None else frame.where(condition)

    def bind(self, types: Mapping[str, str]) -> BoundSlice:
        """Resolve the slice against Delta column types.

        Args:
            types: Delta primitive type names by column.

        Raises:
            SliceError: a column is missing or its type can't hold the partition exactly.
        """
        return BoundSlice(tuple(tuple(_bind(dimension, types) for dimension in box) for box in self.boxes))


WHOLE = Slice(boxes=((),))


@dataclass(frozen=True)
class Condition:
    """One column is in a set of values, or in half-open intervals."""

    column: str
    type: str
    values: tuple[Scalar, ...] = ()
    intervals: tuple[tuple[Scalar, Scalar], ...] = ()

    def sql(self) -> str:
        """The condition in DataFusion SQL."""
        name = quoted(self.column)
        if self.intervals:
            terms = [f"({name} >= {_literal(low)} AND {name} < {_literal(high)})" for low, high in self.intervals]
            return terms[0] if len(terms) == 1 else "(" + " OR ".join(terms) + ")"
        return f"{name} IN ({', '.join(_literal(value) for value in self.values)})" if self.values else "FALSE"

    @property
    def _spark_type(self) -> str:
        return "long" if self.type in _INTEGERS else self.type

    def holds(self, value: Any) -> bool:
        """Whether a value of the column fulfils the condition; NULL never does."""
        if value is None:
            return False
        return value in self.values or any(low <= value < high for low, high in self.intervals)

    def column_expression(self) -> Column:
        """The condition as a Spark Column."""
        from pyspark.sql import functions as F

        def lit(value: Scalar) -> Column:
            # Moments as text: PySpark converts a naive datetime by the time zone of this machine.
            return F.lit(value if isinstance(value, int) else _text(value)).cast(self._spark_type)

        name = F.col("`" + self.column.replace("`", "``") + "`")
        if self.intervals:
            terms = [(name >= lit(low)) & (name < lit(high)) for low, high in self.intervals]
            return _any(terms)
        return name.isin(*self.values) if self.type == "string" else _any([name == lit(v) for v in self.values])


@dataclass(frozen=True)
class BoundSlice:
    """A slice whose conditions are typed like the table's columns."""

    boxes: tuple[tuple[Condition, ...], ...]

    def sql(self) -> str | None:
        """The predicate in DataFusion SQL; None for the whole table."""
        if self.boxes == ((),):
            return None
        terms = [" AND ".join(condition.sql() for condition in box) for box in self.boxes]
        if not terms:
            return "FALSE"
        return terms[0] if len(terms) == 1 else " OR ".join(f"({term})" for term in terms)

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether a row (or file) with these column values is in the slice."""
        return any(all(condition.holds(values[condition.column]) for condition in box) for box in self.boxes)

    def column_expression(self) -> Column | None:
        """The predicate as a Spark Column; None for the whole table."""
        from pyspark.sql import functions as F

        if self.boxes == ((),):
            return None
        terms = []
        for box in self.boxes:
            term = box[0].column_expression()
            for condition in box[1:]:
                term = term & condition.column_expression()
            terms.append(term)
        return _any(terms) if terms else F.lit(False)


def slice_of(
    definition: PartitionsDefinition[Any] | None, keys: Iterable[str], columns: str | Mapping[str, str]
) -> Slice:
    """The slice that a selection of partition keys covers.

    Args:
        definition: the asset's partitions; None selects the whole table.
        keys: selected partition keys, in any order.
        columns: the table's partition column, or one per dimension of a multi-partition.

    Raises:
        SliceError: a dimension has no column.
    """
    if definition is None:
        return WHOLE
    if not isinstance(definition, MultiPartitionsDefinition):
        if not isinstance(columns, str):
            if len(columns) != 1:
                raise SliceError(f"one partition dimension needs one column, got {sorted(columns)}")
            columns = next(iter(columns.values()))
        ordered = tuple(_in_order(definition, keys))
        return Slice(boxes=((_dimension(definition, ordered, columns),),) if ordered else (), keys=ordered)

    names = [dimension.name for dimension in definition.partitions_defs]
    if isinstance(columns, str) or set(columns) != set(names):
        raise SliceError(f"partition dimensions {names} need one column each, got {columns!r}")
    selected = {_multi_key(definition, key) for key in keys}
    covered = []
    for groups in boxes([tuple(key.keys_by_dimension[name] for name in names) for key in selected]):
        box = []
        for dimension, group in zip(definition.partitions_defs, groups, strict=True):
            ordered = tuple(_in_order(dimension.partitions_def, group))
            box.append(_dimension(dimension.partitions_def, ordered, columns[dimension.name]))
        covered.append(tuple(box))
    return Slice(boxes=tuple(covered), keys=tuple(sorted(str(key) for key in selected)))


def boxes(points: Sequence[tuple[str, ...]]) -> list[tuple[tuple[str, ...], ...]]:
    """Cover points exactly by boxes: points that share all but the last coordinate, then equal rests, are one box."""
    if not points:
        return []
    if len(points[0]) == 1:
        return [(tuple(sorted({point[0] for point in points})),)]
    rests: dict[str, set[tuple[str, ...]]] = {}
    for first, *rest in points:
        rests.setdefault(first, set()).add(tuple(rest))
    alike: dict[frozenset[tuple[str, ...]], list[str]] = {}
    for first, rest_set in sorted(rests.items()):
        alike.setdefault(frozenset(rest_set), []).append(first)
    return [(tuple(firsts), *box) for rest_set, firsts in alike.items() for box in boxes(sorted(rest_set))]


def _in_order(definition: PartitionsDefinition[Any], keys: Iterable[str]) -> list[str]:
    """Keys without repeats: by time where there is time, else by text (Dagster hands static ranges in set order)."""
    unique = sorted(set(keys))
    if isinstance(definition, TimeWindowPartitionsDefinition):
        unique.sort(key=lambda key: definition.time_window_for_partition_key(key).start.timestamp())
    return unique


def _dimension(definition: PartitionsDefinition[Any], keys: tuple[str, ...], column: str) -> Dimension:
    if not isinstance(definition, TimeWindowPartitionsDefinition):
        return Dimension(column, keys)
    from dagster import TimeWindow

    merged: list[TimeWindow] = []
    for window in (definition.time_window_for_partition_key(key) for key in keys):
        # As instants: the two hours that a clock shows twice are equal as wall time.
        if merged and merged[-1].end.timestamp() == window.start.timestamp():
            merged[-1] = TimeWindow(merged[-1].start, window.end)
        else:
            merged.append(window)
    return Dimension(column, keys, tuple(merged))


def _multi_key(definition: MultiPartitionsDefinition, key: str) -> MultiPartitionKey:
    return key if isinstance(key, MultiPartitionKey) else definition.get_partition_key_from_str(key)


def _bind(dimension: Dimension, types: Mapping[str, str]) -> Condition:
    column, kind = dimension.column, types.get(dimension.column)
    if kind is None:
        raise SliceError(f"partition column {column!r} is not a column of the table, which has {sorted(types)}")
    try:
        if kind == "string":
            return Condition(column, kind, values=dimension.keys)
        if kind in _INTEGERS:
            return Condition(column, kind, values=tuple(_integer(key) for key in dimension.keys))
        if kind in _TEMPORAL and dimension.windows is not None:
            bounds = [(_instant(w.start, kind), _instant(w.end, kind)) for w in dimension.windows]
            return Condition(column, kind, intervals=tuple(bounds))
        if kind == "date":
            return Condition(column, kind, values=tuple(dt.date.fromisoformat(key) for key in dimension.keys))
    except ValueError as error:
        raise SliceError(f"partition column {column!r} is {kind}, which can't hold the partition: {error}") from error
    raise SliceError(f"partition keys {list(dimension.keys[:3])} can't be compared with {kind} column {column!r}")


def _integer(key: str) -> int:
    # int() would take "1_000" and " 1" as well, so that two keys could stand for the same rows.
    if re.fullmatch(r"-?[0-9]+", key) is None:
        raise ValueError(f"{key!r} is no integer")
    return int(key)


def _instant(moment: dt.datetime, kind: str) -> Scalar:
    """A window bound as the column stores it; the window is aware, in the partition definition's time zone."""
    if kind == "timestamp":
        return moment.astimezone(dt.UTC)
    wall = moment.replace(tzinfo=None)
    if kind == "timestamp_ntz":
        if moment.fold:
            raise ValueError(f"clocks go back at {moment.isoformat()} and read {wall} twice; use a timestamp column")
        return wall
    if wall.time() != dt.time(0):
        raise ValueError(f"{moment.isoformat()} is not midnight; use a timestamp column")
    return wall.date()


def _literal(value: Scalar) -> str:
    return str(value) if isinstance(value, int) else literal(_text(value))


def _text(value: str | dt.date | dt.datetime) -> str:
    if isinstance(value, dt.datetime):
        return value.replace(tzinfo=None).isoformat() + ("Z" if value.tzinfo else "")
    return value.isoformat() if isinstance(value, dt.date) else value


def _any(terms: Sequence[Column]) -> Column:
    from pyspark.sql import functions as F

    result = terms[0] if terms else F.lit(False)
    for term in itertools.islice(terms, 1, None):
        result = result | term
    return result


def parse_file_value(text: str | None, kind: str) -> Scalar | None:
    """A partition value of the Delta log as the Python value a `Condition` compares.

    Args:
        text: the value as the log writes it; None and, by Delta's protocol, the empty text are SQL NULL.
        kind: Delta primitive type name of the column.
    """
    if not text:
        return None
    if kind in _INTEGERS:
        return int(text)
    if kind == "date":
        return dt.date.fromisoformat(text)
    if kind == "timestamp_ntz":
        return dt.datetime.fromisoformat(text)
    if kind == "timestamp":
        moment = dt.datetime.fromisoformat(text.replace("Z", "+00:00"))
        return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return text
