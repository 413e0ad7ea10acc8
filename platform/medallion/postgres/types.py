"""How a column of PostgreSQL becomes one of its table's contract: in SQL, from the driver's Arrow, and from text.

What the source has          what the contract may say
bool                         boolean
smallint, integer, bigint    byte, short, integer, long, decimal (a value that doesn't fit is an error)
oid                          long
real, double precision       float (real only), double
numeric                      decimal, exactly: a value with more digits, NaN or Infinity is an error
date                         date, from year 1 to 9999; infinity is an error
timestamp with time zone     timestamp: the same instant; infinity is an error
timestamp                    timestamp_ntz, or timestamp, whose instant is then the wall clock read as UTC
bytea                        binary
an array of these            array of these, with one dimension
text, varchar, name          string
char(n)                      string without the blanks at its end: they are padding, which no comparison sees
enum, uuid, json, tsvector, inet, time, interval, money, ranges, composites and everything else
                             string: the text that the server shows, in a session with UTC, ISO dates and hex bytea
anything                     string: the same text
A domain is what it is made of. Nothing is rounded, cut or replaced by NULL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medallion.sql import quoted

if TYPE_CHECKING:
    import pyarrow as pa

_TEXTS = frozenset({"text", "varchar", "bpchar", "name"})
_WHOLE = {"int2": 16, "int4": 32, "int8": 64, "oid": 33}
_FIRST, _END = "0001-01-01", "10000-01-01"


class CastError(ValueError):
    """A text of the source that is no value of the contract's type; the message shows neither."""


@dataclass(frozen=True)
class SourceColumn:
    """A column of a table of PostgreSQL.

    Attributes:
        name: of the column.
        type: as SQL writes it, such as `numeric(5,2)` or `mpaa_rating`.
        base: internal name of the type under all domains, of an array's elements; such as `int4`, `bpchar`.
        dimensions: 1 for an array, 0 for any other; more for an array of a domain of arrays.
        scale: digits after the point of a numeric; None if it has no limit.
    """

    name: str
    type: str
    base: str
    dimensions: int = 0
    scale: int | None = None


@dataclass(frozen=True)
class Reading:
    """How one column is taken.

    Attributes:
        column: of the source.
        target: its Arrow type in the contract.
        select: SQL expression of the value.
        unfit: SQL condition that holds for values that the target can't hold; None if it holds all.
    """

    column: SourceColumn
    target: pa.DataType
    select: str
    unfit: str | None

    @property
    def assumes_utc(self) -> bool:
        """Whether a time stamp without a time zone is taken for UTC."""
        return self.column.base == "timestamp" and getattr(self.target, "tz", None) is not None

    def cast(self, values: Any) -> Any:
        """Values as the driver gives them, as an array of the target.

        Raises:
            pyarrow.ArrowInvalid: a value doesn't fit.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        plain = _plain(values)
        if plain.type == self.target:
            return plain
        if self.assumes_utc and plain.type == pa.timestamp("us"):
            return pc.assume_timezone(plain, "UTC")
        return plain.cast(self.target)

    def from_text(self, texts: pa.StringArray) -> Any:
        """Texts as the server's output functions write them, as an array of the target.

        It gives what `cast` gives of the same values.

        Raises:
            CastError: a text is no value of the target.
        """
        import pyarrow as pa

        try:
            if self.column.dimensions and pa.types.is_list(self.target):
                return _list_from_text(texts, self.column.base, self.target)
            return _from_text(texts, self.column.base, self.target)
        except (pa.ArrowException, ValueError) as error:
            raise CastError(f"a value of type {self.column.type} doesn't fit {self.target}") from error


def read_as(column: SourceColumn, target: pa.DataType) -> Reading | None:
    """How a column is taken as a type; None if it can't be."""
    import pyarrow as pa

    name = quoted(column.name)
    if pa.types.is_string(target):
        return Reading(column, target, _as_text(name, column), None)
    if column.dimensions == 0:
        if not _holds(column.base, target):
            return None
        return Reading(column, target, _native(name, column.base), _unfit(name, column, target))
    if column.dimensions > 1 or not pa.types.is_list(target):
        return None
    return _array(name, column, target)


def _holds(base: str, target: pa.DataType) -> bool:
    import pyarrow.types as types

    if types.is_boolean(target):
        return base == "bool"
    if types.is_integer(target):
        return base in ("int2", "int4", "int8") or (base == "oid" and target.bit_width == 64)
    if types.is_floating(target):
        return base == "float4" or (base == "float8" and target.bit_width == 64)
    if types.is_decimal(target):
        return base in ("numeric", "int2", "int4", "int8")
    if types.is_date(target):
        return base == "date"
    if types.is_timestamp(target):
        return base == "timestamp" or (base == "timestamptz" and target.tz is not None)
    return bool(types.is_binary(target)) and base == "bytea"


def _native(name: str, base: str) -> str:
    # The driver has no unsigned type for it.
    return f"{name}::int8" if base == "oid" else name


def _as_text(name: str, column: SourceColumn) -> str:
    if column.dimensions == 0 and column.base in _TEXTS:
        return f"{name}::text"
    # A cast to text may differ from what the server shows (inet, boolean); format() and the log do not.
    return f"case when {name} is distinct from null then format('%s', {name}) end"


def _unfit(name: str, column: SourceColumn, target: pa.DataType) -> str | None:
    import pyarrow.types as types

    if types.is_date(target) or types.is_timestamp(target):
        return f"({name} < '{_FIRST}' or {name} >= '{_END}')"
    if types.is_integer(target) and target.bit_width < _WHOLE[column.base]:
        limit = 1 << (target.bit_width - 1)
        return f"{name} not between {-limit} and {limit - 1}"
    if types.is_decimal(target):
        # NaN is greater than every number.
        too_large = f"abs({name}::numeric) >= 1e{target.precision - target.scale}::numeric"
        if column.base == "numeric" and (column.scale is None or column.scale > target.scale):
            return f"({too_large} or {name} <> round({name}, {target.scale}))"
        return f"({too_large})"
    return None


def _array(name: str, column: SourceColumn, target: pa.ListType) -> Reading | None:
    import pyarrow as pa

    element = SourceColumn("e", column.type, column.base, 0, column.scale)
    inner = read_as(element, target.value_type)
    if inner is None:
        return None
    # The driver would flatten an array of several dimensions.
    unfit = f"array_ndims({name}) > 1"
    if inner.unfit is not None:
        unfit = f"({unfit} or exists (select from unnest({name}) as elements(e) where {inner.unfit}))"
    if pa.types.is_string(target.value_type) and column.base not in ("text", "varchar"):
        elements = f"select {inner.select} from unnest({name}) with ordinality as elements(e, i) order by i"
        return Reading(column, target, f"case when {name} is not null then array({elements}) end", unfit)
    plain = "int8" if column.base == "oid" else column.base
    return Reading(column, target, f"{name}::{plain}[]", unfit)


def _plain(values: Any) -> Any:
    """Without the driver's extension types, which hold numerics as text."""
    import pyarrow as pa

    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if isinstance(values, pa.ExtensionArray):
        return values.storage
    if pa.types.is_list(values.type) and isinstance(values.type.value_type, pa.BaseExtensionType):
        if values.offset:
            values = pa.concat_arrays([values, values.slice(0, 0)])
        return pa.ListArray.from_arrays(values.offsets, _plain(values.values), mask=values.is_null())
    return values


def _from_text(texts: pa.StringArray, base: str, target: pa.DataType) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as types

    if types.is_string(target):
        return pc.utf8_rtrim(texts, " ") if base == "bpchar" else texts
    if types.is_boolean(target):
        return pc.equal(texts, "t")
    if types.is_timestamp(target):
        # A server in a session with UTC writes 2022-01-31 09:00:00.5+00; a date BC or infinity is no number to Arrow.
        wall = pc.replace_substring_regex(texts, r"\+00$", "") if base == "timestamptz" else texts
        naive = wall.cast(pa.timestamp("us"))
        return naive if target.tz is None else pc.assume_timezone(naive, "UTC")
    if types.is_binary(target):
        return pa.array([None if text is None else bytes.fromhex(text[2:]) for text in texts.to_pylist()], target)
    return texts.cast(target)


def _list_from_text(texts: pa.StringArray, base: str, target: pa.ListType) -> Any:
    import pyarrow as pa

    parsed: dict[str, list[str | None]] = {}
    offsets, elements = [0], []
    for text in texts.to_pylist():
        if text is not None:
            if text not in parsed:
                parsed[text] = elements_of(text)
            elements.extend(parsed[text])
        offsets.append(len(elements))
    values = _from_text(pa.array(elements, pa.string()), base, target.value_type)
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, mask=texts.is_null())
    return lists.cast(target)


def elements_of(text: str) -> list[str | None]:
    """The elements of an array of one dimension as PostgreSQL writes it, such as `{a,"b c",NULL}`.

    Raises:
        CastError: it has more dimensions.
    """
    body = text[text.index("{") + 1 : -1]
    if not body:
        return []
    if '"' not in body and "{" not in body:
        return [None if part == "NULL" else part for part in body.split(",")]
    elements: list[str | None] = []
    read = _Quoted(body)
    while True:
        elements.append(read.element())
        if read.at >= len(body):
            return elements
        read.at += 1


class _Quoted:
    """Reads an array's elements one after the other where some are in quotes."""

    def __init__(self, body: str) -> None:
        self.body, self.at = body, 0

    def element(self) -> str | None:
        if self.body[self.at] == "{":
            raise CastError("an array of several dimensions")
        return self._quoted() if self.body[self.at] == '"' else self._bare()

    def _quoted(self) -> str:
        parts, self.at = [], self.at + 1
        while self.body[self.at] != '"':
            self.at += self.body[self.at] == "\\"
            parts.append(self.body[self.at])
            self.at += 1
        self.at += 1
        return "".join(parts)

    def _bare(self) -> str | None:
        end = self.body.find(",", self.at)
        end = len(self.body) if end < 0 else end
        text, self.at = self.body[self.at : end], end
        return None if text == "NULL" else text
