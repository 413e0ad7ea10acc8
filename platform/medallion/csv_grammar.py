"""Cuts the bytes of a CSV file into records, exactly, and tells what is no CSV; knows no files and no table.

The grammar is RFC 4180 with four answers to what it leaves open:

- an unquoted empty field is NULL, a quoted empty one is ``''``; a quote inside an unquoted field is part of the value;
- a record ends with ``\\n`` or ``\\r\\n``, and a lone ``\\r`` is part of the value; only in a file whose first record
  ends with a lone ``\\r`` does every ``\\r`` and every ``\\n`` end one. Blank lines are no records;
- a record with the wrong number of fields, or with bytes that the encoding doesn't have, is rejected whole;
- a record whose quotes are wrong (never closed, or text after the closing one) says nothing about where it ends, so its
  first line alone is rejected and reading goes on at the next line: a stray quote can't swallow the rest of the file.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

EXACT_BYTES = 16 << 10
REJECT_TEXT_CHARS = 4_000

_ENCODINGS = ("utf-8", "iso8859-1", "cp1252", "utf-16", "utf-16-le", "utf-16-be")
_SHOWN = {0xDC00 + byte: f"\\x{byte:02x}" for byte in range(256)}


@dataclass(frozen=True)
class CsvFormat:
    """How a source writes its files.

    Attributes:
        delimiter: One ASCII character between fields.
        quote: One ASCII character around fields; doubled inside them.
        encoding: utf-8, latin-1, cp1252, utf-16 (with a byte order mark), utf-16-le or utf-16-be, or an alias of one.
        header: Whether the first record names the columns. Without it, fields are the declared columns in their order.
        may_be_empty: Whether a file may hold a header and no record; otherwise that is an error.

    Raises:
        ValueError: A setting is outside of what is listed here.
    """

    delimiter: str = ","
    quote: str = '"'
    encoding: str = "utf-8"
    header: bool = True
    may_be_empty: bool = False

    def __post_init__(self) -> None:
        for name, value in (("delimiter", self.delimiter), ("quote", self.quote)):
            if len(value) != 1 or not value.isascii() or value in "\r\n\0":
                raise ValueError(f"CsvFormat.{name}={value!r} must be one ASCII character that ends no line")
        if self.delimiter == self.quote:
            raise ValueError(f"CsvFormat.delimiter and CsvFormat.quote are both {self.quote!r}; they must differ")
        try:
            known = self.codec in _ENCODINGS
        except LookupError:
            known = False
        if not known:
            raise ValueError(
                f"CsvFormat.encoding={self.encoding!r} is not one of utf-8, latin-1, cp1252, utf-16, utf-16-le, "
                "utf-16-be; declare one of these, or convert the files before they land"
            )

    @property
    def codec(self) -> str:
        """The encoding's name in Python's registry, the same for all of its aliases."""
        return codecs.lookup(self.encoding).name


@dataclass(frozen=True)
class Reject:
    """What is no CSV: its physical line (from 1), its raw text (bounded), and what is wrong with it."""

    line: int
    text: str
    reason: str


@dataclass
class Block:
    """Some consecutive records: the good ones' values by column, and which of the ``records`` they are (from 0)."""

    columns: list[pa.Array]
    ordinals: np.ndarray
    records: int
    rejects: list[Reject]


def join_blocks(blocks: Sequence[Block]) -> Block:
    """Returns one block of the records of consecutive ones."""
    import numpy as np
    import pyarrow as pa

    if len(blocks) == 1:
        return blocks[0]
    starts = accumulate((block.records for block in blocks), initial=0)
    return Block(
        [pa.concat_arrays(arrays) for arrays in zip(*(block.columns for block in blocks), strict=True)],
        np.concatenate([block.ordinals + start for block, start in zip(blocks, starts, strict=False)]),
        sum(block.records for block in blocks),
        [reject for block in blocks for reject in block.rejects],
    )


class Grammar:
    """Reads records out of bytes: `parse` is quick and needs a `boundary`, `read` is exact everywhere and needs none.

    Bytes are UTF-8; one that the file's encoding doesn't have is a lone surrogate, U+DC00 + byte, which is no UTF-8.

    Args:
        fmt: Delimiter, quote and encoding; the encoding is only named in reasons.
        width: How many fields a record has.
        line_ends: ``b"\\n"``, or ``b"\\r\\n"`` where each of the two ends a line.
        record_bytes: What is longer, line end included, is rejected.
    """

    def __init__(self, fmt: CsvFormat, width: int, line_ends: bytes, record_bytes: int) -> None:
        self._fmt, self._width, self._line_ends, self._record_bytes = fmt, width, line_ends, record_bytes
        self._plain_lines = line_ends == b"\n"
        self._delimiter, self._quote = fmt.delimiter.encode(), fmt.quote.encode()
        delimiter, quote = re.escape(self._delimiter), re.escape(self._quote)
        if self._plain_lines:
            end, plain = rb"\r?\n|\r?\Z", rb"[^%b\r\n]*+(?:\r(?!\n|\Z)[^%b\r\n]*+)*+" % (delimiter, delimiter)
        else:
            end, plain = rb"\r\n|[\r\n]|\Z", rb"[^%b\r\n]*+" % delimiter
        closed = rb"%b((?:[^%b]++|%b%b)*+)%b" % (quote, quote, quote, quote, quote)
        self._field = re.compile(rb"(?:%b|((?!%b)%b))(%b|%b)" % (closed, quote, plain, delimiter, end))
        self._closed = re.compile(closed)
        self._line = re.compile(rb"[^%b]*+[%b]?" % (line_ends, line_ends))

    def record(self, data: bytes, at: int) -> tuple[list[bytes | None], int, bytes] | str:
        """Returns the record at ``at`` as raw values, where the next one starts, and its line end; or what is wrong."""
        stop = min(len(data), at + self._record_bytes)
        line_end = data.find(b"\n", at, stop) if self._plain_lines else -1
        if line_end >= 0 and data.find(self._quote, at, line_end) < 0:
            line = data[at:line_end].removesuffix(b"\r")
            return [value or None for value in line.split(self._delimiter)], line_end + 1, b"\n"
        values: list[bytes | None] = []
        position = at
        while found := self._field.match(data, position, stop):
            quoted, plain, end = found.groups()
            position = found.end()
            values.append((plain or None) if quoted is None else quoted.replace(self._quote * 2, self._quote))
            if end != self._delimiter:
                if position == stop < len(data) and not self.ends_line(end):
                    return f"longer than {self._record_bytes:,} bytes"
                return values, position, end
        if self._closed.match(data, position, stop):
            return f"text after the closing quote of field {len(values) + 1}"
        within = f"{self._record_bytes:,} bytes" if stop < len(data) else "the file"
        return f"the quote of field {len(values) + 1} is not closed within {within}"

    def ends_line(self, data: bytes) -> bool:
        """Returns whether ``data`` ends with a line end."""
        return bool(data) and data[-1] in self._line_ends

    def next_line(self, data: bytes, at: int) -> int:
        """Returns where the physical line at ``at`` ends, its line end included."""
        found = self._line.match(data, at)
        return found.end() if found else len(data)

    def lines(self, data: bytes, start: int, end: int) -> int:
        """Returns how many physical lines end in a piece of ``data``."""
        others = 0 if self._plain_lines else data.count(b"\r", start, end)
        return data.count(b"\n", start, end) + others

    def read(self, data: bytes, at: int, stop: int, line: int) -> tuple[Block, int]:
        """Reads the records that start at ``at`` and before ``stop``, exactly.

        Args:
            data: Bytes up to at least ``record_bytes`` + 2 behind ``stop``, or up to the file's end.
            at: Where a record starts.
            stop: Where no record starts any more.
            line: The physical line at ``at``.

        Returns:
            The block, and where the next record starts.
        """
        import numpy as np
        import pyarrow as pa

        columns: list[list[str | None]] = [[] for _ in range(self._width)]
        ordinals: list[int] = []
        rejects: list[Reject] = []
        records = 0
        while at < stop:
            record = self.record(data, at)
            reason = record if isinstance(record, str) else ""
            values, end = ([], self.next_line(data, at)) if isinstance(record, str) else record[:2]
            if values != [None]:
                if not reason and len(values) != self._width:
                    reason = f"expected {self._width} fields, found {len(values)}"
                if not reason:
                    try:
                        texts = [None if value is None else value.decode() for value in values]
                    except UnicodeDecodeError:
                        reason = f"bytes that are not {self._fmt.encoding}"
                if reason:
                    rejects.append(Reject(line, self._shown(data[at:end]), reason))
                else:
                    ordinals.append(records)
                    for column, text in zip(columns, texts, strict=True):
                        column.append(text)
                records += 1
            line, at = line + self.lines(data, at, end), end
        arrays = [pa.array(column, pa.string()) for column in columns]
        return Block(arrays, np.array(ordinals, dtype=np.int64), records, rejects), at

    def parse(self, data: bytes, line: int) -> Block:
        """Reads whole records whose quotes `boundary` found in place; gives what `read` gives, ten times quicker."""
        import numpy as np
        import pyarrow as pa
        from pyarrow import csv

        # Arrow ends a record at a lone return, whatever the file's line ends are.
        if not self._plain_lines or data.count(b"\r") == data.count(b"\r\n"):
            names = [str(index) for index in range(self._width)]
            try:
                # Without a last line end, Arrow takes an empty last field for a quoted one if the field before it is.
                table = csv.read_csv(
                    pa.py_buffer(data if self.ends_line(data) else data + b"\n"),
                    csv.ReadOptions(use_threads=False, block_size=len(data) + 2, column_names=names),
                    csv.ParseOptions(
                        delimiter=self._fmt.delimiter, quote_char=self._fmt.quote, newlines_in_values=True
                    ),
                    csv.ConvertOptions(
                        column_types=dict.fromkeys(names, pa.string()),
                        null_values=[""],
                        strings_can_be_null=True,
                        quoted_strings_can_be_null=False,
                    ),
                )
            except pa.ArrowInvalid:
                # Arrow doesn't say where the ragged line or the wrong byte is: look for it in ever smaller pieces.
                pass
            else:
                count = table.num_rows
                return Block([column.combine_chunks() for column in table.columns], np.arange(count), count, [])
        cut = self.boundary(data[: len(data) // 2], last=False) if len(data) > EXACT_BYTES else 0
        if not cut:
            return self.read(data, 0, len(data), line)[0]
        left, right = self.parse(data[:cut], line), self.parse(data[cut:], line + self.lines(data, 0, cut))
        return join_blocks([left, right])

    def boundary(self, window: bytes, last: bool) -> int | None:
        """Returns the length of the whole records, all their quotes in place, that ``window`` starts with.

        Quotes are in place if they alternate between one that opens, after a delimiter or a line end, and one that
        closes, before a delimiter or a line end; a doubled quote is one that closes and one that opens, side by side.

        Args:
            window: Bytes from the start of a record on.
            last: Whether the file ends with the window.

        Returns:
            0 if the first record may end behind the window, None if its quotes are wrong.
        """
        import numpy as np

        octets = np.frombuffer(window + b"\n\n", np.uint8)
        quotes = np.flatnonzero(octets == self._quote[0])
        around = np.zeros(256, dtype=bool)
        around[list(self._delimiter + self._quote + self._line_ends)] = True
        opening, closing = quotes[0::2], quotes[1::2]
        before = around[octets[opening - 1]]
        following = octets[closing + 1]
        after = around[following] | ((following == ord("\r")) & (octets[closing + 2] == ord("\n")))
        wrong = [2 * int(np.argmin(sides)) for sides in (before, after) if not sides.all()]
        if last and quotes.size % 2:
            wrong.append(quotes.size - 1)
        if last and not wrong:
            return len(window)
        stop = len(window)
        if wrong:
            stop, quotes = int(quotes[min(wrong)]), quotes[: min(wrong)]
        while (end := max(window.rfind(bytes([line_end]), 0, stop) for line_end in self._line_ends)) >= 0:
            inside = int(np.searchsorted(quotes, end))
            if inside % 2 == 0:
                return end + 1
            stop = int(quotes[inside - 1])
        return None if wrong else 0

    def _shown(self, raw: bytes) -> str:
        raw = raw.rstrip(b"\r\n")
        most = 4 * REJECT_TEXT_CHARS
        errors = "surrogateescape" if self._fmt.codec == "utf-8" else "surrogatepass"
        text = codecs.getincrementaldecoder("utf-8")(errors).decode(raw[:most], len(raw) <= most)
        return text.translate(_SHOWN)[:REJECT_TEXT_CHARS]
