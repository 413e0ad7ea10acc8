"""NumPy columns as Arrow columns of the types that PostgreSQL takes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from medallion.draw import Ints

DAY = 86_400


def ints(values: Ints) -> pa.Array:
    """An integer column."""
    return pa.array(values.astype(np.int32))


def smallints(values: Ints) -> pa.Array:
    """A smallint column."""
    return pa.array(values.astype(np.int16))


def moments(seconds: Ints, known: NDArray[np.bool_] | None = None) -> pa.Array:
    """A timestamptz column.

    Args:
        seconds: since 1970-01-01 UTC.
        known: where there is a moment; elsewhere it is NULL.
    """
    absent = None if known is None else ~known
    return pa.array(seconds * 1_000_000, pa.int64(), mask=absent).cast(pa.timestamp("us", "UTC"))


def same_moment(moment: dt.date, rows: int) -> pa.Array:
    """A timestamptz column with noon of one day in all rows."""
    noon = dt.datetime.combine(moment, dt.time(12), tzinfo=dt.UTC)
    return moments(np.full(rows, int(noon.timestamp()), dtype=np.int64))


def days(since_1970: Ints) -> pa.Array:
    """A date column."""
    return pa.array(since_1970.astype(np.int32)).cast(pa.date32())


def money(cents: Ints, precision: int) -> pa.Array:
    """A numeric(precision, 2) column, exact: no float is involved."""
    low_and_high = np.stack([cents, cents >> 63], axis=1).astype("<i8")
    return pa.Array.from_buffers(pa.decimal128(precision, 2), len(cents), [None, pa.py_buffer(low_and_high.tobytes())])


def words(choices: Sequence[str], numbers: Ints) -> pa.Array:
    """A text column: the word of each number."""
    return pa.array(choices, pa.string()).take(pa.array(numbers))
