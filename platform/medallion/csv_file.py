"""Opens one landed CSV file: decodes it to UTF-8, reads its header, and cuts the rest into pieces to parse."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from medallion.csv_grammar import EXACT_BYTES, Block, CsvFormat, Grammar, join_blocks

METADATA_COLUMNS = ("_ingested_at", "_source_file", "_source_row", "_row_hash", "_batch")

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


def _keep_undecodable(error: UnicodeError) -> tuple[str, int]:
    """Turns bytes without a meaning into lone surrogates, which are told from text as long as they aren't decoded."""
    assert isinstance(error, UnicodeDecodeError)
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
class OpenedCsv:
    """A file behind its header: the columns it names, the bytes read so far, and the physical line they start with."""

    file: _Utf8File
    names: list[str]
    grammar: Grammar
    data: bytes
    line: int

    def close(self) -> None:
        """Closes the file; its pieces can still be parsed."""
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


def open_csv(source: CsvSource, fmt: CsvFormat, columns: Sequence[str], record_bytes: int) -> OpenedCsv:
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


def _behind_header(file: _Utf8File, path: Path, fmt: CsvFormat, columns: Sequence[str], record_bytes: int) -> OpenedCsv:
    grammar = Grammar(fmt, 0, b"\r\n", record_bytes)
    data, ended, records = b"", False, b""
    first: tuple[list[bytes | None], int, bytes] | str = ""
    while not ended and not records.strip(b"\r\n") and (isinstance(first, tuple) or len(data) <= record_bytes):
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
        check_names(f"{path}: the header", names)
        if missing := [name for name in columns if name not in names]:
            raise CsvFileError(
                f"{path}: declared columns {missing} are missing; the header has {names}. Deliver the file again, or "
                "change the declared columns, delimiter or encoding"
            )
        if not fmt.may_be_empty and not records.strip(b"\r\n"):
            raise CsvFileError(f"{path}: has a header and no record; deliver it again, or remove it")
    else:
        records = body
    grammar = Grammar(fmt, len(names), line_ends, record_bytes)
    return OpenedCsv(file, names, grammar, records, 1 + grammar.lines(data, 0, len(data) - len(records)))


def check_names(where: str, names: Sequence[str]) -> None:
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
