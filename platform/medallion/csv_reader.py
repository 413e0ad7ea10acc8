"""Reads landed CSV files as text: every value as it arrived, every line that is no CSV told apart, in bounded memory.

What a record is, `medallion.csv_grammar` says. Two files of the same name and batch, a file without a record, a header
that lacks a declared column: these are errors. Lines that are no CSV are rejects, and cost the other lines nothing.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from medallion.csv_file import METADATA_COLUMNS, CsvFileError, CsvSource, OpenedCsv, check_names, open_csv
from medallion.csv_grammar import Block, CsvFormat, Reject

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

__all__ = ["METADATA_COLUMNS", "CsvFileError", "CsvFormat", "CsvRead", "CsvSource", "read_csv"]

BLOCK_BYTES = 2 << 20
RECORD_BYTES = 4 << 20
REJECTED_CHARS = 64 << 20


@dataclass
class _Rejects:
    found: list[tuple[str, Reject]] = field(default_factory=list)
    chars: int = 0
    complete: bool = False

    def add(self, source: CsvSource, rejects: Sequence[Reject]) -> None:
        self.found.extend((source.name, reject) for reject in rejects)
        self.chars += sum(len(reject.text) for reject in rejects)
        if self.chars > REJECTED_CHARS:
            reject = self.found[-1][1]
            raise CsvFileError(
                f"{source.path}: more than {REJECTED_CHARS:,} characters of lines that are no CSV, the last at line "
                f"{reject.line}: {reject.reason}; check the declared delimiter, quote and encoding"
            )


@dataclass
class CsvRead:
    """The rows of some files as a stream, and what was rejected once the stream is drained.

    Attributes:
        batches: The rows, file after file in the given order, each file's in its own order; can be read once.
        schema: The schema of ``batches``.
    """

    batches: pa.RecordBatchReader
    schema: pa.Schema
    _rejects: _Rejects = field(repr=False)

    def rejects(self) -> pa.Table:
        """Returns what is no CSV, in file order: source_file, line (physical, from 1), text, reason.

        ``text`` is the raw record without its line end, at most `csv_grammar.REJECT_TEXT_CHARS` characters; a byte that
        the declared encoding doesn't have is shown as ``\\xNN``.

        Raises:
            RuntimeError: ``batches`` isn't drained yet, so there may be more to come.
        """
        import pyarrow as pa

        if not self._rejects.complete:
            raise RuntimeError(
                "CsvRead.rejects() is known only after CsvRead.batches is read to its end; drain it first"
            )
        found = self._rejects.found
        return pa.table(
            {
                "source_file": pa.array([name for name, _ in found], pa.string()),
                "line": pa.array([reject.line for _, reject in found], pa.int64()),
                "text": pa.array([reject.text for _, reject in found], pa.string()),
                "reason": pa.array([reject.reason for _, reject in found], pa.string()),
            }
        )


def read_csv(
    sources: Sequence[CsvSource],
    columns: Sequence[str],
    fmt: CsvFormat,
    ingested_at: datetime,
    *,
    block_bytes: int = BLOCK_BYTES,
    record_bytes: int = RECORD_BYTES,
) -> CsvRead:
    """Opens CSV files, checks their headers, and streams their rows.

    The schema is the declared columns in their order, then the other columns of the files by first appearance (all
    string and nullable; NULL where a file lacks an extra column), then

    - ``_ingested_at`` timestamp[us, UTC]: ``ingested_at``;
    - ``_source_file`` string: the source's name;
    - ``_source_row`` int64: which record of its file this is, from 1; the header doesn't count, rejected ones do;
    - ``_row_hash`` string: see `row_hash_text`;
    - ``_batch`` string: the source's batch.

    Args:
        sources: At least one file.
        columns: Names that each file's header must have, in any order.
        fmt: How the files are written.
        ingested_at: An aware time stamp in UTC.
        block_bytes: How much is parsed at once; memory is a small multiple of it.
        record_bytes: What is longer is rejected; at least ``block_bytes``.

    Raises:
        CsvFileError: A file is absent, empty, has no record, or has a header that can't be used; names file and column.
            While the stream is read: a file changed, or so much is rejected that the format must be declared wrong.
        ValueError: An argument is not as described here.
    """
    import pyarrow as pa

    if ingested_at.utcoffset() != timedelta(0):
        raise ValueError(f"ingested_at={ingested_at.isoformat()} must be an aware time stamp in UTC")
    if not sources:
        raise ValueError(
            "read_csv needs at least one source; list the landed files first, and skip the run if there are none"
        )
    if len({(source.name, source.batch) for source in sources}) < len(sources):
        raise ValueError("read_csv got two sources with the same name and batch; their rows could not be told apart")
    if not columns or not block_bytes <= record_bytes:
        raise ValueError("read_csv needs declared columns, and record_bytes of at least block_bytes")
    check_names("the declared columns", columns)
    files = []
    for source in sources:
        with closing(open_csv(source, fmt, columns, record_bytes)) as opened:
            files.append((source, opened.names))
    names: dict[str, str] = {name.lower(): name for name in columns}
    for source, found in files:
        for name in found:
            if names.setdefault(name.lower(), name) != name:
                raise CsvFileError(
                    f"{source.path}: column {name!r} and column {names[name.lower()]!r} of another file or of the "
                    "declaration differ only in case, which a table can't hold; rename one where it is written"
                )
    schema = pa.schema(
        [
            *(pa.field(name, pa.string()) for name in names.values()),
            pa.field("_ingested_at", pa.timestamp("us", tz="UTC")),
            pa.field("_source_file", pa.string()),
            pa.field("_source_row", pa.int64()),
            pa.field("_row_hash", pa.string()),
            pa.field("_batch", pa.string()),
        ]
    )
    rejects = _Rejects()

    def stream() -> Iterator[pa.RecordBatch]:
        import duckdb

        reopen = partial(open_csv, fmt=fmt, columns=columns, record_bytes=record_bytes)
        base, current = 0, sources[0]
        # Blocks run side by side already, so each one's hashes are computed on the thread that parsed it.
        with (
            duckdb.connect(config={"threads": 1, "memory_limit": "512MB"}) as connection,
            closing(_in_order(_work(files, reopen, columns, block_bytes, record_bytes, connection))) as blocks,
        ):
            for source, found, block, hashes in blocks:
                base, current = (base if source == current else 0), source
                rejects.add(source, block.rejects)
                if count := len(block.ordinals):
                    by_name = dict(zip(found, block.columns, strict=True))
                    nulls = pa.nulls(count, pa.string())
                    data = [
                        *(by_name.get(name, nulls) for name in names.values()),
                        pa.repeat(pa.scalar(ingested_at, schema.field("_ingested_at").type), count),
                        pa.repeat(source.name, count),
                        pa.array(block.ordinals + base + 1, pa.int64()),
                        hashes,
                        pa.repeat(source.batch, count),
                    ]
                    yield pa.RecordBatch.from_arrays(data, schema=schema)
                base += block.records
        rejects.complete = True

    return CsvRead(pa.RecordBatchReader.from_batches(schema, stream()), schema, rejects)


def row_hash_text(row: dict[str, str | None], columns: Sequence[str]) -> str:
    """Returns the text whose SHA-256 (of its UTF-8, in hex) is a row's ``_row_hash``.

    For each declared column by name the value's length in bytes (nothing for a NULL), ``:`` and the value; then for
    each other column by name that is no NULL the name's length, ``:``, the name, the value's length, ``:``, the value.
    So NULL differs from ``''``, the file's column order doesn't matter, and a column that another file adds changes no
    hash. The names of declared columns would double what is hashed, and are the same for all rows of a table.
    """
    parts = []
    for name in sorted(columns):
        value = row[name]
        parts.append(f"{'' if value is None else len(value.encode())}:{value or ''}")
    for name, value in sorted(row.items()):
        if value is not None and name not in columns:
            parts.append(f"{len(name.encode())}:{name}{len(value.encode())}:{value}")
    return "".join(parts)


def _row_hash_sql(names: Sequence[str], columns: Sequence[str]) -> str:
    """Returns `row_hash_text`, hashed, as SQL over columns c0, c1, … that hold the values of ``names``."""
    places = {name: f"c{index}" for index, name in enumerate(names)}
    parts = [f"strlen({places[name]}), ':', {places[name]}" for name in sorted(columns)]
    for name in sorted(places.keys() - set(columns)):
        label = f"'{len(name.encode())}:{name.replace(chr(39), chr(39) * 2)}'"
        # NULL with || makes all of it NULL, which concat leaves out.
        parts.append(f"{label} || strlen({places[name]}) || ':' || {places[name]}")
    return f"sha256(concat({', '.join(parts)})) as row_hash"


_Hashed = tuple[CsvSource, list[str], Block, "pa.Array"]


def _work(
    files: Sequence[tuple[CsvSource, list[str]]],
    reopen: Callable[[CsvSource], OpenedCsv],
    columns: Sequence[str],
    block_bytes: int,
    record_bytes: int,
    connection: duckdb.DuckDBPyConnection,
) -> Iterator[Callable[[], _Hashed]]:
    """Yields what is to be done for each piece of each file, in order; the calls may run at the same time."""
    for source, names in files:
        with closing(reopen(source)) as opened:
            if opened.names != names:
                raise CsvFileError(f"{source.path}: changed while it was read; run again when its writer is done")
            sql = _row_hash_sql(names, columns)
            for parse in opened.blocks(block_bytes, record_bytes):
                yield partial(_hashed, source, names, parse, connection.cursor(), sql)


def _hashed(
    source: CsvSource,
    names: list[str],
    parse: Callable[[], Block],
    cursor: duckdb.DuckDBPyConnection,
    sql: str,
) -> _Hashed:
    import pyarrow as pa

    block = parse()
    table = pa.table(block.columns, names=[f"c{index}" for index in range(len(names))])
    with cursor:
        hashes = cursor.from_arrow(table).project(sql).to_arrow_table()
    return source, names, block, hashes.column(0).combine_chunks()


def _in_order(work: Iterator[Callable[[], _Hashed]]) -> Generator[_Hashed, None, None]:
    """Does the work on a few threads, not further ahead than that, and yields the results in the work's order."""
    workers = min(4, os.cpu_count() or 1)
    pending: deque[Future[_Hashed]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="csv") as pool:
        for call in work:
            pending.append(pool.submit(call))
            if len(pending) > workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
