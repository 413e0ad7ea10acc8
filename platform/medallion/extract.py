"""What a bronze run takes from a table of a database: all its rows, or what changed and which keys are gone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pyarrow as pa

DELETED = "_deleted"
"""Column of staged rows: true where the source has no row of that key any more."""


@dataclass
class Extract:
    """Rows of one source table, as of one moment.

    Attributes:
        batches: the columns of the table's contract, in its order and with its types; under `merge` also `_deleted`,
            which is true for keys that are gone (the other columns of such a row may be NULL).
        mode: `replace`, all rows of the source table; `merge`, what changed, one row per key.
        rows_in_source: rows that the source table had at that moment; None where nobody counted.
        sums_in_source: sum of each decimal column at that moment.
        positions: how far the source's log was read, by name; the commit carries them as application transactions.
        metadata: what the materialization tells besides.
    """

    batches: pa.RecordBatchReader
    mode: Literal["replace", "merge"]
    rows_in_source: int | None = None
    sums_in_source: Mapping[str, Decimal] = field(default_factory=dict)
    positions: Mapping[str, int] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
