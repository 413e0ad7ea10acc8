"""What landed for the slice of a bronze table, as its transform sees it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from medallion.quarantine import UNPARTITIONED

if TYPE_CHECKING:
    from medallion.csv_reader import CsvRead
    from medallion.landing import Landing

SNAPSHOT = "snapshot"
"""The landing folder of a table without partitions."""
INGESTED_AT, SOURCE_FILE, SOURCE_ROW, ROW_HASH = "_ingested_at", "_source_file", "_source_row", "_row_hash"


@dataclass
class Arrivals:
    """The landed files of the slices that a bronze run covers.

    Attributes:
        landing: the landing zone.
        domain: folder of the domain.
        table: folder of the table.
        slices: partition keys, or `snapshot`.
        columns: the columns that the table's contract declares and the files must have.
        ingested_at: time of the run, UTC.
    """

    landing: Landing
    domain: str
    table: str
    slices: Sequence[str]
    columns: Sequence[str]
    ingested_at: dt.datetime
    _open: ExitStack = field(default_factory=ExitStack)

    def csv(
        self,
        *,
        delimiter: str = ",",
        quote: str = '"',
        encoding: str = "utf-8",
        header: bool = True,
        may_be_empty: bool = False,
    ) -> CsvRead:
        """All files as text rows with their origin; lines that are no CSV are kept apart.

        Args:
            delimiter: one character between fields.
            quote: one character around fields, doubled inside them.
            encoding: utf-8, latin-1, cp1252 or a form of utf-16.
            header: whether the first record names the columns; without it they come in the contract's order.
            may_be_empty: whether a file may have a header and no record.

        Raises:
            LandingError: nothing landed for one of the slices.
            CsvFileError: a file is empty or lacks a declared column.
        """
        from medallion.csv_reader import CsvFormat, CsvSource, read_csv

        form = CsvFormat(delimiter, quote, encoding, header, may_be_empty)
        sources = []
        for name in self.slices:
            for file in self.landing.files(self.domain, self.table, name):
                path = self._open.enter_context(self.landing.fetch(file))
                sources.append(CsvSource(path=path, name=file.path, batch=name))
        return read_csv(sources, self.columns, form, self.ingested_at)

    def slice_of_file(self, source_file: str) -> str:
        """The slice that a landed file belongs to, for quarantine."""
        folder = source_file.split("/")[-2]
        return UNPARTITIONED if folder == SNAPSHOT else folder

    @contextmanager
    def opened(self) -> Iterator[Arrivals]:
        """Keep fetched files until the rows are staged, then let go of them."""
        with self._open:
            yield self
