"""The CSV reader by example: what is text, what is NULL, what is rejected, and which files are errors."""

from __future__ import annotations

import csv
import hashlib
import os
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pytest

from medallion.csv_grammar import REJECT_TEXT_CHARS
from medallion.csv_reader import METADATA_COLUMNS, CsvFileError, CsvFormat, CsvSource, read_csv, row_hash_text

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
OLIST = Path(os.environ.get("MEDALLION_OLIST_SAMPLE", Path(__file__).parents[2] / "shared/data/olist"))


class Landing:
    """A folder of files, read with columns a, b and c unless told otherwise."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def source(self, name: str, data: bytes | str) -> CsvSource:
        path = self.folder / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return CsvSource(path, name, "batch-1")

    def read(self, *files: bytes | str, columns=("a", "b", "c"), fmt=None, **options):
        sources = [self.source(f"{index}.csv", data) for index, data in enumerate(files)]
        return read_csv(sources, columns, fmt or CsvFormat(), NOW, **options)

    def rows(self, *files: bytes | str, columns=("a", "b", "c"), fmt=None, **options) -> list[tuple]:
        table = self.read(*files, columns=columns, fmt=fmt, **options).batches.read_all()
        return list(zip(*(table[name].to_pylist() for name in columns), strict=True))

    def rejects(self, *files: bytes | str, **options) -> list[tuple[int, str, str]]:
        result = self.read(*files, **options)
        result.batches.read_all()
        return [(row["line"], row["text"], row["reason"]) for row in result.rejects().to_pylist()]


@pytest.fixture
def landing(tmp_path) -> Landing:
    return Landing(tmp_path)


def test_the_schema_is_declared_columns_then_extra_ones_then_metadata(landing):
    schema = landing.read("x,b,a,c\n1,2,3,4\n", "c,b,a,y\n1,2,3,4\n").schema
    assert schema.names == ["a", "b", "c", "x", "y", *METADATA_COLUMNS]
    assert schema.field("y") == pa.field("y", pa.string())
    assert schema.field("_ingested_at").type == pa.timestamp("us", tz="UTC")
    assert schema.field("_source_row").type == pa.int64()


def test_a_row_carries_where_it_came_from(landing):
    rows = landing.read("a,b,c\n1,2,3\n4,5,6\n", "c,b,a\n7,8,9\n").batches.read_all().to_pylist()
    assert [(row["a"], row["_source_file"], row["_source_row"]) for row in rows] == [
        ("1", "0.csv", 1),
        ("4", "0.csv", 2),
        ("9", "1.csv", 1),
    ]
    assert {(row["_ingested_at"], row["_batch"]) for row in rows} == {(NOW, "batch-1")}


def test_values_stay_as_they_arrived(landing):
    assert landing.rows("a,b,c\n007, x ,1.50\nNULL,NaN,\ttrue\n") == [("007", " x ", "1.50"), ("NULL", "NaN", "\ttrue")]


def test_an_unquoted_empty_field_is_null_and_a_quoted_one_is_not(landing):
    assert landing.rows('a,b,c\n,"",\n') == [(None, "", None)]


def test_an_empty_field_at_the_very_end_is_null_even_after_a_quoted_one(landing):
    assert landing.rows('a,b,c\n1,"2",') == [("1", "2", None)]


def test_a_column_order_of_its_own_does_not_shift_values(landing):
    assert landing.rows("a,b,c\n1,2,3\n", "c,a,b\n3,1,2\n") == [("1", "2", "3")] * 2


def test_a_blank_line_does_not_shift_values(landing):
    assert landing.rows("\n\na,b,c\n\n1,2,3\n\r\n\n4,5,6\n\n\n") == [("1", "2", "3"), ("4", "5", "6")]


def test_a_line_break_in_quotes_belongs_to_the_value(landing):
    assert landing.rows('a,b,c\r\n1,"x\ny\r\n\nz",3\r\n4,5,6') == [("1", "x\ny\r\n\nz", "3"), ("4", "5", "6")]


def test_a_doubled_quote_is_one(landing):
    assert landing.rows('a,b,c\n"""x""","""",y"y\n') == [('"x"', '"', 'y"y')]


def test_a_lone_return_is_part_of_a_value_unless_it_ends_the_first_record(landing):
    assert landing.rows("a,b,c\n1,x\ry,3\r\n") == [("1", "x\ry", "3")]
    assert landing.rows('a,b,c\r1,"x\ry",3\r4,5,6\r') == [("1", "x\ry", "3"), ("4", "5", "6")]


def test_a_byte_order_mark_is_no_part_of_the_first_name(landing):
    assert landing.rows(b'\xef\xbb\xbf"a",b,c\n1,2,3\n') == [("1", "2", "3")]


def test_another_delimiter_and_quote_can_be_declared(landing):
    fmt = CsvFormat(delimiter="|", quote="'")
    assert landing.rows("a|b|c\n'x|y'|\"|,\n", fmt=fmt) == [("x|y", '"', ",")]


def test_without_a_header_fields_are_the_declared_columns(landing):
    assert landing.rows("1,2,3\n\n4,5,6", fmt=CsvFormat(header=False)) == [("1", "2", "3"), ("4", "5", "6")]
    assert landing.rejects("1,2\n4,5,6", fmt=CsvFormat(header=False)) == [(1, "1,2", "expected 3 fields, found 2")]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-16-le", "utf-16-be", "UTF8"])
def test_a_declared_encoding_is_decoded(landing, encoding):
    text = "a,b,c\nação,é,\n".encode(encoding)
    assert landing.rows(text, fmt=CsvFormat(encoding=encoding)) == [("ação", "é", None)]


def test_one_column_has_values_but_no_blank_ones(landing):
    assert landing.rows('a\n1\n\n""\n 2\n', columns=["a"]) == [("1",), ("",), (" 2",)]


def test_a_column_that_a_file_lacks_is_null_there(landing):
    table = landing.read("a,b,c,x\n1,2,3,4\n", "a,b,c\n5,6,7\n").batches.read_all()
    assert table["x"].to_pylist() == ["4", None]


def test_rejects_have_the_physical_line_and_the_raw_text(landing):
    data = 'a,b,c\n1,"x\ny",3\n\n4,5\n6,7,8,"9\n0"\n1,2,3\n'
    assert landing.rejects(data) == [
        (5, "4,5", "expected 3 fields, found 2"),
        (6, '6,7,8,"9\n0"', "expected 3 fields, found 4"),
    ]
    assert landing.rows(data) == [("1", "x\ny", "3"), ("1", "2", "3")]


def test_a_rejected_record_keeps_its_ordinal(landing):
    table = landing.read("a,b,c\n1,2,3\nbad\n4,5,6\n").batches.read_all()
    assert table["_source_row"].to_pylist() == [1, 3]


def test_a_stray_quote_costs_its_own_line_only(landing):
    data = 'a,b,c\n1,"open,3\n4,5,6\n7,"8",9\n'
    assert landing.rejects(data) == [(2, '1,"open,3', "text after the closing quote of field 2")]
    assert landing.rows(data) == [("4", "5", "6"), ("7", "8", "9")]


def test_a_quote_open_at_the_end_of_the_file_is_rejected(landing):
    data = 'a,b,c\n1,2,3\n4,5,"6\n7,8,9\n'
    assert landing.rejects(data) == [(3, '4,5,"6', "the quote of field 3 is not closed within the file")]
    assert landing.rows(data) == [("1", "2", "3"), ("7", "8", "9")]


def test_bytes_outside_of_the_encoding_reject_their_record_and_are_shown(landing):
    data = b'a,b,c\n1,"\xff\n",3\n4,5,6\n'
    assert landing.rejects(data) == [(2, '1,"\\xff\n",3', "bytes that are not utf-8")]
    assert landing.rows(data) == [("4", "5", "6")]


@pytest.mark.parametrize(
    ("encoding", "bad", "shown"),
    [("utf-16-le", b"\x00\xd8", "\\x00\\xd8"), ("cp1252", b"\x81", "\\x81")],
)
def test_undecodable_bytes_of_other_encodings_are_rejected_too(landing, encoding, bad, shown):
    data = "a,b,c\n1,2,3\n4,é,".encode(encoding) + bad + "\n7,8,9\n".encode(encoding)
    fmt = CsvFormat(encoding=encoding)
    assert landing.rejects(data, fmt=fmt) == [(3, f"4,é,{shown}", f"bytes that are not {encoding}")]
    assert landing.rows(data, fmt=fmt) == [("1", "2", "3"), ("7", "8", "9")]


def test_a_record_over_the_limit_is_rejected_with_the_start_of_its_text(landing):
    data = "a,b,c\n1,2,3\n" + "x" * 300_000 + "\n4,5,6\n"
    limits = {"block_bytes": 1_000, "record_bytes": 5_000}
    assert landing.rejects(data, **limits) == [(3, "x" * REJECT_TEXT_CHARS, "longer than 5,000 bytes")]
    assert landing.rows(data, **limits) == [("1", "2", "3"), ("4", "5", "6")]


@pytest.mark.parametrize("bad", ["1,2", '1,"2"3,4', '1,"2,3', "1,2,\udcff"])
def test_a_few_bad_lines_in_a_large_file_are_found_where_they_are(landing, bad):
    lines = [f'{number},"x\ny",{number % 7}' for number in range(20_000)]
    for position in (0, 9_000, 19_999):
        lines[position] = bad
    data = "\n".join(["a,b,c", *lines]).encode("utf-8", "surrogateescape")
    expected = [(str(number), "x\ny", str(number % 7)) for number in range(20_000) if number not in (0, 9_000, 19_999)]
    options = {"block_bytes": 100_000}
    assert landing.rows(data, **options) == expected
    # A record takes two lines, except for the bad ones.
    assert [line for line, _, _ in landing.rejects(data, **options)] == [2, 2 + 17_999, 2 + 2 * 19_999 - 2]


def test_rejects_of_all_files_name_their_file(landing):
    result = landing.read("a,b,c\nbad\n", "a,b,c\n1,2,3\nworse\n")
    assert result.batches.read_all().num_rows == 1
    assert result.rejects().select(["source_file", "line"]).to_pylist() == [
        {"source_file": "0.csv", "line": 2},
        {"source_file": "1.csv", "line": 3},
    ]


def test_rejects_are_not_told_before_the_stream_is_drained(landing):
    result = landing.read("a,b,c\nbad\n1,2,3\n")
    with pytest.raises(RuntimeError, match="drain it first"):
        result.rejects()


def test_a_stream_that_is_left_halfway_leaves_nothing_open(landing):
    result = landing.read("a,b,c\n" + "1,2,3\n" * 1_000, block_bytes=100, record_bytes=200)
    assert result.batches.read_next_batch().num_rows
    del result
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("csv")]


def test_more_rejects_than_memory_should_hold_are_an_error(landing, monkeypatch):
    monkeypatch.setattr("medallion.csv_reader.REJECTED_CHARS", 100)
    with pytest.raises(
        CsvFileError, match=r"0\.csv: more than 100 characters .* expected 3 fields, found 1; check the"
    ):
        landing.rows("a,b,c\n" + "bad\n" * 50)


def test_the_row_hash_is_the_sha256_of_its_text(landing):
    table = landing.read('c,a,x\'"y,b\né,,z,""\n').batches.read_all()
    text = ":0:2:é4:x'\"y1:z"
    assert row_hash_text({"a": None, "b": "", "c": "é", "x'\"y": "z"}, ["a", "b", "c"]) == text
    # The header's quote is in an unquoted name, so the name has it too.
    assert table["_row_hash"].to_pylist() == [hashlib.sha256(text.encode()).hexdigest()]


def test_the_row_hash_tells_null_from_empty_and_ignores_column_order(landing):
    table = landing.read('a,b,c\n,2,3\n"",2,3\n', "c,b,a\n3,2,\n").batches.read_all()
    null, empty, moved = table["_row_hash"].to_pylist()
    assert null != empty
    assert null == moved


def test_a_column_that_another_file_adds_does_not_change_a_row_hash(landing):
    alone = landing.read("a,b,c\n1,2,3\n").batches.read_all()["_row_hash"][0]
    table = landing.read("a,b,c\n1,2,3\n", "a,b,c,x\n1,2,3,\n1,2,3,4\n").batches.read_all()
    same, null_extra, other = table["_row_hash"]
    assert same == null_extra == alone
    assert other != alone


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", r"0\.csv: is empty"),
        ("\n\r\n", r"0\.csv: is empty"),
        ("a,b,c\n", r"0\.csv: has a header and no record"),
        ("a,b,c", r"0\.csv: has a header and no record"),
        ("a,b,c\n\n\r\n", r"0\.csv: has a header and no record"),
        ("a,x,A\n1,2,3\n", r"0\.csv: the header: column 3, 'A', is named as another"),
        ("a,b,b\n1,2,3\n", r"0\.csv: the header: column 3, 'b', is named as another"),
        ("a,b,_batch\n1,2,3\n", r"0\.csv: the header: column 3, '_batch', is named as"),
        ("a,b,c,\n1,2,3,\n", r"0\.csv: the header: column 4 is named ''"),
        ("a;b;c\n1;2;3\n", r"0\.csv: declared columns \['a', 'b', 'c'\] are missing; the header has \['a;b;c'\]"),
        ("a, b,c\n1,2,3\n", r"0\.csv: declared columns \['b'\] are missing; the header has \['a', ' b', 'c'\]"),
        ('"a"x,b,c\n1,2,3\n', r"0\.csv: the header is no CSV: text after the closing quote of field 1"),
        ('a,"b,c\n1,2,3\n', r"0\.csv: the header is no CSV: the quote of field 2 is not closed"),
        (b"a,b,\xff\n1,2,3\n", r"0\.csv: the header has bytes that are not utf-8"),
    ],
)
def test_a_file_that_can_not_be_used_is_an_error_before_anything_is_read(landing, data, message):
    with pytest.raises(CsvFileError, match=message):
        landing.read(data)


def test_blank_lines_longer_than_a_read_do_not_hide_that_there_is_a_record(landing):
    assert landing.rows("a,b,c\n" + "\n" * 200_000 + "1,2,3\n") == [("1", "2", "3")]


def test_an_absent_file_is_an_error(tmp_path):
    with pytest.raises(CsvFileError, match=r"gone\.csv: no such file"):
        read_csv([CsvSource(tmp_path / "gone.csv", "gone", "b")], ["a"], CsvFormat(), NOW)


def test_utf_16_without_a_byte_order_mark_is_an_error(landing):
    with pytest.raises(CsvFileError, match="declare the encoding as utf-16-le or utf-16-be"):
        landing.read("a,b,c\n1,2,3\n".encode("utf-16-le"), fmt=CsvFormat(encoding="utf-16"))


def test_columns_of_two_files_that_differ_in_case_are_an_error(landing):
    with pytest.raises(CsvFileError, match=r"1\.csv: column 'X' and column 'x' of another file"):
        landing.read("a,b,c,x\n1,2,3,4\n", "a,b,c,X\n1,2,3,4\n")


def test_a_file_that_changes_while_it_is_read_is_an_error(landing):
    result = landing.read("a,b,c\n1,2,3\n")
    landing.source("0.csv", "a,b,c,d\n1,2,3,4\n")
    with pytest.raises(CsvFileError, match=r"0\.csv: changed while it was read"):
        result.batches.read_all()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"delimiter": ""}, "CsvFormat.delimiter=''"),
        ({"delimiter": "||"}, "CsvFormat.delimiter='||'"),
        ({"quote": "\n"}, "CsvFormat.quote="),
        ({"quote": "«"}, "CsvFormat.quote="),
        ({"delimiter": '"'}, "they must differ"),
        ({"encoding": "utf-7"}, "CsvFormat.encoding='utf-7' is not one of utf-8"),
        ({"encoding": "klingon"}, "CsvFormat.encoding='klingon' is not one of utf-8"),
    ],
)
def test_a_format_that_can_not_be_read_is_an_error(setting, message):
    with pytest.raises(ValueError, match=message.replace("|", r"\|")):
        CsvFormat(**setting)


def test_arguments_that_make_no_sense_are_errors(landing):
    source = landing.source("x.csv", "a\n1\n")
    fmt = CsvFormat()
    with pytest.raises(ValueError, match="at least one source"):
        read_csv([], ["a"], fmt, NOW)
    with pytest.raises(ValueError, match="the same name and batch"):
        read_csv([source, source], ["a"], fmt, NOW)
    with pytest.raises(ValueError, match="needs declared columns"):
        read_csv([source], [], fmt, NOW)
    with pytest.raises(ValueError, match="the declared columns: column 2, 'A'"):
        read_csv([source], ["a", "A"], fmt, NOW)
    with pytest.raises(ValueError, match="record_bytes of at least block_bytes"):
        read_csv([source], ["a"], fmt, NOW, block_bytes=2, record_bytes=1)
    for moment in (datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1)))):
        with pytest.raises(ValueError, match="must be an aware time stamp in UTC"):
            read_csv([source], ["a"], fmt, moment)


@pytest.mark.skipif(not OLIST.is_dir(), reason="the Olist sample is not here; set MEDALLION_OLIST_SAMPLE to its folder")
def test_every_olist_file_reads_as_the_csv_module_reads_it():
    paths = sorted(OLIST.glob("*.csv"))
    assert len(paths) == 9
    for path in paths:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *expected = csv.reader(file, strict=True)
        result = read_csv([CsvSource(path, path.name, "b")], header, CsvFormat(), NOW, block_bytes=100_000)
        table = result.batches.read_all()
        found = zip(*(table[name].to_pylist() for name in header), strict=True)
        assert [[value or "" for value in row] for row in found] == expected
        assert result.rejects().num_rows == 0
