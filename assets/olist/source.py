"""Lands the public Olist files as a shop would export them: sales by month of purchase, the rest as snapshots."""

from __future__ import annotations

import io
import re
import shutil
import tempfile
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, cast

from medallion.landing import SNAPSHOT, Landing, LandingError

DOMAIN = "olist"
FILES: Mapping[str, str] = {
    "olist_orders_dataset.csv": "orders",
    "olist_order_items_dataset.csv": "order_items",
    "olist_order_payments_dataset.csv": "payments",
    "olist_order_reviews_dataset.csv": "reviews",
    "olist_customers_dataset.csv": "customers",
    "olist_products_dataset.csv": "products",
    "olist_sellers_dataset.csv": "sellers",
    "olist_geolocation_dataset.csv": "geolocation",
    "product_category_name_translation.csv": "category_translation",
}
"""The public files, as they are downloaded, and the tables they become."""

MONTHLY: Mapping[str, str] = {
    "orders": "order_id",
    "order_items": "order_id",
    "payments": "order_id",
    "reviews": "order_id",
    "customers": "customer_id",
}
"""The tables that land by month, and the column that says which order a row belongs to."""

_DATES = (
    "order_purchase_timestamp",
    "order_approved_at",
    "order_delivered_carrier_date",
    "order_delivered_customer_date",
    "order_estimated_delivery_date",
)
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "orders": ("order_id", "customer_id", "order_purchase_timestamp"),
    **{table: (key,) for table, key in MONTHLY.items() if table != "orders"},
    "products": ("product_id",),
    "sellers": ("seller_id",),
    "geolocation": ("geolocation_zip_code_prefix",),
    "category_translation": ("product_category_name",),
}
_MONTH = re.compile(rb"\s*(\d{4}-(?:0[1-9]|1[0-2]))-(?:0[1-9]|[12]\d|3[01])(?!\d)")
_FIELD = rb'(?:"(?:[^"]++|"")*+"|(?!")[^,\n]*+)'
_VALUE = re.compile(_FIELD)
_WHOLE = re.compile(_FIELD + rb"(?:," + _FIELD + rb")*+\r?\n?")
_OPEN = re.compile(rb"(?:" + _FIELD + rb',)*+"(?:[^"]++|"")*+')
_LONGEST_RECORD = 1 << 20
_REPORT_EVERY = 1 << 20
_BOM = b"\xef\xbb\xbf"

Progress = Callable[[str, int, int], None]
"""Called with (table, bytes done, bytes in all)."""


class SourceError(LandingError):
    """The nine files can't be landed as they are; the message names the file, the cause and the next step."""


@dataclass
class LandReport:
    """What a landing run did. Paths are relative to the landing root."""

    rows: dict[str, int] = field(default_factory=dict)
    """Monthly table -> records landed, now or before."""
    written: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    """Files that had the same content already."""
    bytes_written: int = 0
    dated_otherwise: int = 0
    """Orders without a readable purchase date: in the month of their next readable date."""
    undated: dict[str, int] = field(default_factory=dict)
    """Monthly table -> records whose order is unknown or has no readable date at all: in the latest month."""
    stale: list[str] = field(default_factory=list)
    """Slices that landed earlier and that this source has no rows for: left as they are."""


def land(source: Path, landing: Landing, progress: Progress | None = None) -> LandReport:
    """Copy the nine public files into the landing zone; run again, it writes only what differs.

    Orders, order items, payments, reviews and customers are split by the month of the order's purchase, the others land
    whole. Records are copied byte for byte, in their order, under the file's own header line; blank lines are left out.
    A month with orders gets a file of every monthly table, with the header alone where the table has no row.
    No record is dropped: an order without a readable purchase date lands in the month of its first other readable
    date (approval, carrier, delivery, estimate), and whatever has no month by then lands in the latest month, where
    the typed tables will put it in quarantine. The report counts both. Rows that repeat an order id stay together,
    in the month of the first.

    Nothing is written before all files are read and split; every file appears whole.

    Args:
        source: a folder or a zip file with the nine files, or a zip that has them in one folder.
        landing: where to.
        progress: called while files are read and written.

    Raises:
        SourceError: a file is missing, empty, twice there or lacks a column.
        LandingError: the landing zone can't be written.
    """
    tell = progress if progress is not None else _silent
    report = LandReport()
    with ExitStack() as stack:
        files = stack.enter_context(_open_source(source))
        headers = {table: _read_header(files, table) for table in FILES.values()}
        split = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="medallion-land-")))
        months, latest = _months_of_orders(files, headers["orders"], report)
        for table in MONTHLY:
            _split(files, table, headers[table], months[MONTHLY[table]], latest, split / table, report, tell)
        for table in FILES.values():
            if table in MONTHLY:
                _publish(landing, table, sorted((split / table).iterdir()), files.size(table), report, tell)
            else:
                with files.local(table) as whole:
                    _publish_one(landing, table, SNAPSHOT, whole, report)
                tell(table, files.size(table), files.size(table))
    return report


def split_records(lines: Iterable[bytes], columns: int) -> Iterator[bytes]:
    r"""Group physical lines into CSV records, bytes unchanged, so that a line break in quotes doesn't end a record.

    What is no CSV costs one line, never the rest of the file: when a quoted field doesn't close, closes in the middle
    of a field, or joins lines into a record of another width, its first line is a record by itself and the next line
    begins a new one.

    Args:
        lines: physical lines with their `\n`; the last may lack it.
        columns: how many fields a record that spans lines must have.

    Yields:
        Every byte of `lines`, in order.
    """
    source = iter(lines)
    ahead: deque[bytes] = deque()
    while line := ahead.popleft() if ahead else next(source, b""):
        if b'"' not in line or not _OPEN.fullmatch(line):
            yield line
            continue
        joined, taken = _joined(line, ahead, source, columns)
        for _ in range(taken):
            ahead.popleft()
        yield joined


def _joined(first: bytes, ahead: deque[bytes], source: Iterator[bytes], columns: int) -> tuple[bytes, int]:
    """The record that begins with `first`, whose last field is open, and how many lines of `ahead` it takes."""
    size, taken = len(first), 0
    parts = [first]
    while size <= _LONGEST_RECORD:
        if taken == len(ahead):
            following = next(source, b"")
            if not following:
                break
            ahead.append(following)
        part = ahead[taken]
        taken += 1
        size += len(part)
        parts.append(part)
        if b'"' not in part:
            continue
        text = b"".join(parts)
        if _WHOLE.fullmatch(text):
            return (text, taken) if len(_fields(text)) == columns else (first, 0)
        if not _OPEN.fullmatch(text):
            break
    return first, 0


def _fields(record: bytes, most: int = -1) -> list[bytes]:
    """The first values of a record, at least `most` (-1: all); of what is no CSV, as many as can be told."""
    if b'"' not in record:
        return record.rstrip(b"\r\n").split(b",", most)
    values = []
    position = 0
    while match := _VALUE.match(record, position):
        value = match[0]
        values.append(value[1:-1].replace(b'""', b'"') if value.startswith(b'"') else value.rstrip(b"\r\n"))
        position = match.end() + 1
        if record[match.end() : position] != b"," or len(values) == most:
            break
    return values


class _Source:
    """The nine files of a folder or an archive, by table."""

    def __init__(self, place: Path, members: Mapping[str, str], archive: zipfile.ZipFile | None) -> None:
        self._place, self._members, self._archive = place, members, archive

    def name(self, table: str) -> str:
        return f"{self._place}/{self._members[table]}"

    def size(self, table: str) -> int:
        if self._archive is not None:
            return self._archive.getinfo(self._members[table]).file_size
        return (self._place / self._members[table]).stat().st_size

    @contextmanager
    def open(self, table: str) -> Iterator[IO[bytes]]:
        if self._archive is None:
            with (self._place / self._members[table]).open("rb", buffering=_REPORT_EVERY) as file:
                yield file
            return
        try:
            with self._archive.open(self._members[table]) as member:
                # Its own line reader is several times slower.
                yield io.BufferedReader(cast(io.RawIOBase, member), _REPORT_EVERY)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise SourceError(f"{self.name(table)} is damaged: {error}. Download the archive again.") from error

    @contextmanager
    def local(self, table: str) -> Iterator[Path]:
        """The file as a path on disk: of an archive's file a copy, which is removed afterwards."""
        if self._archive is None:
            yield self._place / self._members[table]
            return
        with tempfile.TemporaryDirectory(prefix="medallion-land-") as folder, self.open(table) as packed:
            path = Path(folder) / f"{table}.csv"
            with path.open("wb") as file:
                shutil.copyfileobj(packed, file, _REPORT_EVERY)
            yield path


@contextmanager
def _open_source(place: Path) -> Iterator[_Source]:
    if place.is_dir():
        yield _Source(place, _members(place, [path.name for path in place.iterdir() if path.is_file()]), None)
    elif place.is_file() and zipfile.is_zipfile(place):
        with zipfile.ZipFile(place) as archive:
            names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
            yield _Source(place, _members(place, names), archive)
    else:
        fault = "is neither a folder nor a zip file" if place.exists() else "does not exist"
        raise SourceError(f"{place} {fault}. Give the folder or the zip file with the nine Olist files.")


def _members(place: Path, names: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in sorted(names):
        table = FILES.get(PurePosixPath(name).name)
        if table is None:
            continue
        if table in found:
            raise SourceError(f"{place} has both {found[table]} and {name}. Keep the one that is meant.")
        found[table] = name
    missing = [file for file, table in FILES.items() if table not in found]
    if missing:
        there = ", ".join(sorted(names)[:20]) or "nothing"
        raise SourceError(
            f"{place} lacks {', '.join(missing)}; it has {there}. All nine files of the public dataset are needed,"
            " under their public names."
        )
    return found


@dataclass(frozen=True)
class _Header:
    line: bytes
    names: list[str]


def _read_header(files: _Source, table: str) -> _Header:
    with files.open(table) as file:
        line = file.readline()
        has_rows = any(not following.isspace() for following in file)
    names = [value.decode("utf-8", "replace").strip() for value in _fields(line.removeprefix(_BOM))]
    missing = [name for name in _NEEDED[table] if name not in names]
    if not line.strip():
        raise SourceError(f"{files.name(table)} is empty. Download it again.")
    if missing:
        raise SourceError(f"{files.name(table)} lacks the columns {', '.join(missing)}; it has {', '.join(names)}.")
    if not has_rows:
        raise SourceError(f"{files.name(table)} has a header and no rows. Download it again.")
    return _Header(line, names)


def _records(files: _Source, table: str, header: _Header) -> Iterator[bytes]:
    with files.open(table) as file:
        file.readline()
        yield from (record for record in split_records(file, len(header.names)) if not record.isspace())


def _months_of_orders(files: _Source, header: _Header, report: LandReport) -> tuple[dict[str, dict[bytes, str]], str]:
    """The month of every order that has one, by order id and by customer id, and the latest month of all."""
    order, customer = header.names.index("order_id"), header.names.index("customer_id")
    dates = [header.names.index(name) for name in _DATES if name in header.names]
    by_order: dict[bytes, str] = {}
    by_customer: dict[bytes, str] = {}
    known: dict[bytes, str] = {}
    for record in _records(files, "orders", header):
        values = _fields(record)
        if len(values) <= max(order, customer):
            continue
        found = [_MONTH.match(values[index]) for index in dates if index < len(values)]
        readable = [match for match in found if match]
        if not readable:
            continue
        month = known.setdefault(readable[0][1], readable[0][1].decode())
        report.dated_otherwise += found[0] is None
        by_order.setdefault(values[order].strip(), month)
        by_customer.setdefault(values[customer].strip(), month)
    if not known:
        raise SourceError(
            f"{files.name('orders')} has no order with a date like 2017-07-09 21:57:05: no file can be split by month."
        )
    return {"order_id": by_order, "customer_id": by_customer}, max(known.values())


def _split(
    files: _Source,
    table: str,
    header: _Header,
    months: Mapping[bytes, str],
    latest: str,
    folder: Path,
    report: LandReport,
    tell: Progress,
) -> None:
    """Write one file per month into `folder`, named after the month."""
    folder.mkdir()
    key, total = header.names.index(MONTHLY[table]), files.size(table)
    rows = undated = done = reported = 0
    line_end = b"" if header.line.endswith(b"\n") else b"\n"
    with ExitStack() as stack:
        outputs: dict[str, IO[bytes]] = {}
        for record in _records(files, table, header):
            values = _fields(record, key + 1)
            month = months.get(values[key].strip()) if key < len(values) else None
            rows += 1
            if month is None:
                undated += 1
                month = latest
            output = outputs.get(month)
            if output is None:
                output = stack.enter_context((folder / month).open("wb", buffering=1 << 17))
                outputs[month] = output
                output.write(header.line + line_end)
            output.write(record)
            done += len(record)
            if done - reported >= _REPORT_EVERY:
                reported = done
                tell(table, done // 2, total)
    # A month with orders but, say, no review is exported as the header alone; an absent file is a failed export.
    for month in set(months.values()) - outputs.keys():
        (folder / month).write_bytes(header.line + line_end)
    report.rows[table] = rows
    if undated:
        report.undated[table] = undated


def _publish(
    landing: Landing, table: str, months: Sequence[Path], total: int, report: LandReport, tell: Progress
) -> None:
    """Land the split files of a table, and name the slices that landed earlier and are no more."""
    done = total // 2
    for path in months:
        _publish_one(landing, table, path.name, path, report)
        done += path.stat().st_size // 2
        tell(table, min(done, total), total)
    tell(table, total, total)
    now = {path.name for path in months}
    report.stale += [f"{DOMAIN}/{table}/{key}" for key in landing.slices(DOMAIN, table) if key not in now]


def _publish_one(landing: Landing, table: str, slice_key: str, content: Path, report: LandReport) -> None:
    name = f"{table}.csv"
    path = f"{DOMAIN}/{table}/{slice_key}/{name}"
    if landing.holds(DOMAIN, table, slice_key, name, content):
        report.unchanged.append(path)
        return
    with content.open("rb") as source, landing.write(DOMAIN, table, slice_key, name) as target:
        shutil.copyfileobj(source, target, _REPORT_EVERY)
    report.written.append(path)
    report.bytes_written += content.stat().st_size


def _silent(table: str, done: int, total: int) -> None:
    """Report no progress."""
