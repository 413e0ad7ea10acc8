"""Columns of CSV text, made from numbers a whole column at a time, and a writer that joins them into a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Columns = dict[str, pa.StringArray]
_HEX = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
_WRITE_ROWS = 100_000
_SPECIAL = '[",\\r\\n]'


def hex_ids(rng: np.random.Generator, count: int) -> pa.StringArray:
    """`count` random ids of 32 lower-case hexadecimal digits."""
    raw = rng.integers(0, 256, size=(count, 16), dtype=np.uint8)
    text = np.empty((count, 32), dtype=np.uint8)
    text[:, 0::2] = _HEX[raw >> 4]
    text[:, 1::2] = _HEX[raw & 15]
    return _fixed_width(text)


def _fixed_width(text: NDArray[np.uint8]) -> pa.StringArray:
    count, width = text.shape
    offsets = np.arange(count + 1, dtype=np.int32) * np.int32(width)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(text)))


def padded(values: Ints, width: int) -> pa.StringArray:
    """Whole numbers with leading zeros, as postcodes have them."""
    text = np.empty((len(values), width), dtype=np.uint8)
    rest = np.asarray(values, dtype=np.int64)
    for position in range(width - 1, -1, -1):
        text[:, position] = 48 + rest % 10
        rest = rest // 10
    return _fixed_width(text)


def whole(values: Ints, missing: Flags | None = None) -> pa.StringArray:
    """Whole numbers; empty where `missing`."""
    return pa.array(values, mask=missing).cast(pa.string())


def money(cents: Ints) -> pa.StringArray:
    """Amounts of at least 0 in cents, as units with two decimals."""
    return pc.binary_join_element_wise(whole(cents // 100), padded(cents % 100, 2), ".")


def moments(seconds: Ints, missing: Flags | None = None) -> pa.StringArray:
    """Seconds since 1970 as `2017-07-09 21:57:05`; empty where `missing`."""
    return pa.array(seconds, mask=missing).cast(pa.timestamp("s")).cast(pa.string())


def degrees(values: NDArray[np.float64]) -> pa.StringArray:
    """Coordinates with all their digits; nudged away from 0 so that none needs an exponent."""
    return pa.array(np.where(np.abs(values) < 1e-3, values + 2e-3, values)).cast(pa.string())


def pick(words: list[str] | tuple[str, ...], indices: Ints, missing: Flags | None = None) -> pa.StringArray:
    """The words at the indices; empty where `missing`."""
    return pa.array(words, pa.string()).take(pa.array(indices, mask=missing))


def replaced(column: pa.StringArray, rows: Ints, texts: pa.StringArray | list[str]) -> pa.StringArray:
    """The column with other texts at these distinct rows."""
    mask = np.zeros(len(column), dtype=bool)
    mask[rows] = True
    order = np.argsort(rows, kind="stable")
    return pc.replace_with_mask(column, pa.array(mask), pa.array(texts, pa.string()).take(pa.array(order)))


def quoted(column: pa.StringArray) -> pa.StringArray:
    """Free text in quotes where CSV needs them, inner quotes doubled."""
    inner = pc.replace_substring(column, '"', '""')
    return pc.if_else(
        pc.match_substring_regex(column, _SPECIAL), pc.binary_join_element_wise('"', inner, '"', ""), column
    )


def shuffled(columns: Columns, rng: np.random.Generator) -> Columns:
    """The same rows in a random order."""
    order = pa.array(rng.permutation(len(next(iter(columns.values())))))
    return {name: column.take(order) for name, column in columns.items()}


def write_csv(path: Path, columns: Mapping[str, Any], advance: Callable[[int, int], None]) -> int:
    """Write text columns of equal length as one CSV file with a header and `\\n` line ends; null is an empty field.

    Args:
        path: the file; overwritten.
        columns: header name -> text that is already quoted where it has to be.
        advance: called with (rows written, rows in all).

    Returns:
        The number of rows, header not counted.
    """
    arrays = list(columns.values())
    count = len(arrays[0])
    with path.open("wb") as file:
        file.write((",".join(columns) + "\n").encode())
        for start in range(0, count, _WRITE_ROWS):
            parts = [array.slice(start, _WRITE_ROWS) for array in arrays]
            rows = pc.binary_join_element_wise(*parts, ",", null_handling="replace", null_replacement="")
            lines = pc.binary_join_element_wise(rows, "\n", "")
            file.write(memoryview(lines.buffers()[2]))
            advance(min(start + _WRITE_ROWS, count), count)
    return count
