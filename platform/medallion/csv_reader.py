"""Reads landed CSV files as text: every value as it arrived, every line that is no CSV told apart, in bounded memory.

What a record is, `medallion.csv_grammar` says. Two files of the same name and batch, a file without a record, a header
that lacks a declared column: these are errors. Lines that are no CSV are rejects, and cost the other lines nothing.
"""

from __future__ import annotations

import codecs
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from medallion.csv_grammar import EXACT_BYTES, Block, CsvFormat, Grammar, Reject, join_blocks

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

__all__ = ["METADATA_COLUMNS", "CsvFileError", "CsvFormat", "CsvRead", "CsvSource", "read_csv"]

METADATA_COLUMNS = ("_ingested_at", "_source_file", "_source_row", "_row_hash", "_batch")
BLOCK_BYTES = 2 << 20
RECORD_BYTES = 4 << 20
REJECTED_CHARS = 64 << 20

_HEAD_BYTES = 64 << 10
_BOM = "\ufeff".encode()
_UNDECODABLE = "medallion-undecodable"


class CsvFileError(ValueError):
    """A whole file that can't be read as declared; the message names the file, the cause and the next step."""


@dataclass(frozen=True)
class CsvSource:
    """One local file: where it is, the name that its rows carry in ``_source_file``, and the batch it landed in."""

    path: Path
    name: str
    batch: str


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
    _check_names("the declared columns", columns)
    files = []
    for source in sources:
        with closing(_open(source, fmt, columns, record_bytes)) as opened:
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

        reopen = partial(_open, fmt=fmt, columns=columns, record_bytes=record_bytes)
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

    For each of the row's columns by name: the name's length, ``:``, the name, the value's length, ``:``, the value,
    where lengths are in bytes and a NULL's length is empty; a NULL in a column that isn't declared is left out. So NULL
    differs from ``''``, the file's column order doesn't matter, and a column that another file adds changes no hash.
    """
    parts = []
    for name, value in sorted(row.items()):
        if value is not None or name in columns:
            size = "" if value is None else len(value.encode())
            parts.append(f"{len(name.encode())}:{name}{size}:{value or ''}")
    return "".join(parts)


def _row_hash_sql(names: Sequence[str], columns: Sequence[str]) -> str:
    """Returns `row_hash_text`, hashed, as SQL over columns c0, c1, … that hold the values of ``names``."""
    parts = []
    for name, index in sorted((name, index) for index, name in enumerate(names)):
        label = f"'{len(name.encode())}:{name.replace(chr(39), chr(39) * 2)}'"
        separator = ", " if name in columns else " || "
        parts.append(separator.join((label, f"strlen(c{index})", "':'", f"c{index}")))
    return f"sha256(concat({', '.join(parts)})) as row_hash"


_Hashed = tuple[CsvSource, list[str], Block, "pa.Array"]


def _work(
    files: Sequence[tuple[CsvSource, list[str]]],
    reopen: Callable[[CsvSource], _Opened],
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


def _keep_undecodable(error: UnicodeError) -> tuple[str, int]:
    """Turns bytes without a meaning into lone surrogates, which are told from text as long as they aren't decoded."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error(_UNDECODABLE, _keep_undecodable)


class _Utf8File:
    """A file's bytes as UTF-8; what the declared encoding can't decode comes out as lone surrogates."""

    def __init__(self, path: Path, codec: str) -> None:
        self._file = path.open("rb")
        self._decoder = None if codec == "utf-8" else codecs.getincrementaldecoder(codec)(_UNDECODABLE)

    def read(self, size: int) -> bytes:
        """Returns some of what follows, empty only at the end."""
        while True:
            raw = self._file.read(size)
            if self._decoder is None:
                return raw
            text = self._decoder.decode(raw, not raw).encode("utf-8", "surrogatepass")
            if text or not raw:
                return text

    def close(self) -> None:
        self._file.close()


@dataclass
class _Opened:
    """A file behind its header: the columns it names, the bytes read so far, and the physical line they start with."""

    file: _Utf8File
    names: list[str]
    grammar: Grammar
    data: bytes
    line: int

    def close(self) -> None:
        self.file.close()

    def blocks(self, block_bytes: int, record_bytes: int) -> Iterator[Callable[[], Block]]:
        """Yields what gives the block of each piece of the file, in order; the calls may run at the same time."""
        pieces: list[Callable[[], Block]] = []
        size = 0
        for piece, length in self._pieces(block_bytes, record_bytes):
            pieces.append(piece)
            size += length
            if size >= block_bytes // 2:
                yield partial(_parse, pieces)
                pieces, size = [], 0
        if pieces:
            yield partial(_parse, pieces)

    def _pieces(self, block_bytes: int, record_bytes: int) -> Iterator[tuple[Callable[[], Block], int]]:
        grammar, data, at, line, ended = self.grammar, self.data, 0, self.line, False
        reach = record_bytes
        while at < len(data) or not ended:
            if not ended and len(data) - at < reach:
                chunk = self.file.read(min(block_bytes, reach - (len(data) - at)))
                data, at, ended = data[at:] + chunk, 0, not chunk
            window = data[at : at + reach]
            cut = grammar.boundary(window, last=ended and at + len(window) == len(data))
            if cut:
                yield partial(grammar.parse, window[:cut], line), cut
                line, at = line + grammar.lines(window, 0, cut), at + cut
                reach = record_bytes
            elif cut == 0 and reach < record_bytes:
                reach = record_bytes
            elif cut is None or len(window) == record_bytes:
                # Quotes hide where records end: the exact grammar must see as much as a record may have.
                stop = min(EXACT_BYTES, block_bytes)
                reach = min(8 * stop, record_bytes)
                while not ended and len(data) - at < stop + record_bytes + 2:
                    chunk = self.file.read(block_bytes)
                    data, at, ended = data[at:] + chunk, 0, not chunk
                block, end = grammar.read(data, at, min(at + stop, len(data)), line)
                yield partial(join_blocks, [block]), end - at
                line, at = line + grammar.lines(data, at, end), end
                within_line = at == len(data) and not grammar.ends_line(data)
                while within_line and not ended:
                    data = self.file.read(block_bytes)
                    at = grammar.next_line(data, 0)
                    line, ended = line + grammar.lines(data, 0, at), not data
                    within_line = not grammar.ends_line(data[:at])


def _parse(pieces: Sequence[Callable[[], Block]]) -> Block:
    return join_blocks([piece() for piece in pieces])


def _open(source: CsvSource, fmt: CsvFormat, columns: Sequence[str], record_bytes: int) -> _Opened:
    """Opens a file, reads its header, and makes sure that a record follows; the result must be closed."""
    if not source.path.is_file():
        raise CsvFileError(f"{source.path}: no such file; it must land before it can be read")
    with source.path.open("rb") as raw:
        if fmt.codec == "utf-16" and raw.read(2) not in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, b""):
            raise CsvFileError(f"{source.path}: no byte order mark; declare the encoding as utf-16-le or utf-16-be")
    file = _Utf8File(source.path, fmt.codec)
    try:
        return _behind_header(file, source.path, fmt, columns, record_bytes)
    except CsvFileError:
        file.close()
        raise


def _behind_header(file: _Utf8File, path: Path, fmt: CsvFormat, columns: Sequence[str], record_bytes: int) -> _Opened:
    grammar = Grammar(fmt, 0, b"\r\n", record_bytes)
    data, ended, records = b"", False, b""
    while not ended and not records.strip(b"\r\n") and len(data) <= 2 * record_bytes:
        chunk = file.read(_HEAD_BYTES)
        data, ended = data + chunk, not chunk
        body = data.removeprefix(_BOM).lstrip(b"\r\n")
        first = grammar.record(body, 0)
        # A record that ends with the bytes read so far may have more to come.
        if isinstance(first, tuple) and (first[1] < len(body) or ended):
            records = body[first[1] :] if fmt.header else body
    if not body:
        raise CsvFileError(f"{path}: is empty ({len(data)} bytes of blank lines); deliver it again, or remove it")
    line_ends = b"\n" if isinstance(first, str) or first[2] != b"\r" else b"\r\n"
    names = list(columns)
    if fmt.header:
        if isinstance(first, str):
            raise CsvFileError(
                f"{path}: the header is no CSV: {first}; check the declared delimiter, quote and encoding"
            )
        try:
            names = [(value or b"").decode() for value in first[0]]
        except UnicodeDecodeError as error:
            raise CsvFileError(
                f"{path}: the header has bytes that are not {fmt.encoding}; declare its encoding"
            ) from error
        _check_names(f"{path}: the header", names)
        if missing := [name for name in columns if name not in names]:
            raise CsvFileError(
                f"{path}: declared columns {missing} are missing; the header has {names}. Deliver the file again, or "
                "change the declared columns, delimiter or encoding"
            )
        if not records.strip(b"\r\n"):
            raise CsvFileError(f"{path}: has a header and no record; deliver it again, or remove it")
    else:
        records = body
    grammar = Grammar(fmt, len(names), line_ends, record_bytes)
    return _Opened(file, names, grammar, records, 1 + grammar.lines(data, 0, len(data) - len(records)))


def _check_names(where: str, names: Sequence[str]) -> None:
    """Raises if a table can't have these columns beside ours; names are the same whatever their case."""
    taken = set(METADATA_COLUMNS)
    for position, name in enumerate(names, 1):
        if not name or "\0" in name:
            raise CsvFileError(f"{where}: column {position} is named {name!r}; give it a name")
        if name.lower() in taken:
            raise CsvFileError(
                f"{where}: column {position}, {name!r}, is named as another or as one of {METADATA_COLUMNS}"
            )
        taken.add(name.lower())
