"""What the CSV reader promises for any table, any line that is no CSV, any bytes, and wherever its blocks are cut."""

from __future__ import annotations

import csv
import hashlib
import io
import tempfile
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from medallion.csv_file import open_csv
from medallion.csv_reader import CsvFormat, CsvSource, read_csv, row_hash_text

pytestmark = pytest.mark.slow

NOW = datetime(2026, 1, 2, tzinfo=UTC)
COLUMNS = ["a", "b", "c"]
TINY = st.integers(1, 24)
LARGE = 1 << 16

values = st.text(st.sampled_from(list('ab ,"\n\r;é€😀\0\t01')), max_size=6)
single_line_values = st.text(st.sampled_from(list("ab ;é€😀\t01")), max_size=6)
rows = st.lists(st.tuples(values, values, values), min_size=1, max_size=12)
line_ends = st.sampled_from(["\n", "\r\n"])


def read(files: Sequence[bytes], block_bytes: int, fmt: CsvFormat | None = None):
    """Returns all rows as dicts and all rejects as (line, text, reason)."""
    with tempfile.TemporaryDirectory() as folder:
        sources = []
        for index, data in enumerate(files):
            path = Path(folder) / f"{index}.csv"
            path.write_bytes(data)
            sources.append(CsvSource(path, f"{index}.csv", "batch"))
        result = read_csv(sources, COLUMNS, fmt or CsvFormat(), NOW, block_bytes=block_bytes, record_bytes=LARGE)
        table = result.batches.read_all()
        found = result.rejects().to_pylist()
    return table.to_pylist(), [(row["line"], row["text"], row["reason"]) for row in found]


def cut(data: bytes, block_bytes: int, record_bytes: int = LARGE, columns: Sequence[str] = COLUMNS):
    """Returns one file's rows as (ordinal, value, …) and its rejects as (line, text, reason), without hashing."""
    rows, rejects, records = [], [], 0
    # What Arrow refuses is halved down to this size, so small files are halved too.
    with patch("medallion.csv_grammar.EXACT_BYTES", 8), tempfile.NamedTemporaryFile(suffix=".csv") as file:
        file.write(data)
        file.flush()
        with closing(open_csv(CsvSource(Path(file.name), "", ""), CsvFormat(), columns, record_bytes)) as opened:
            for parse in opened.blocks(block_bytes, record_bytes):
                block = parse()
                values = [column.to_pylist() for column in block.columns]
                ordinals = [records + int(ordinal) + 1 for ordinal in block.ordinals]
                rows += zip(ordinals, *values, strict=True)
                rejects += [(reject.line, reject.text, reject.reason) for reject in block.rejects]
                records += block.records
    return rows, rejects


def written(value: str | None, quoted: bool) -> str:
    """One field as CSV; a value that needs its quotes gets them."""
    if value is None:
        return ""
    if quoted or value == "" or any(character in value for character in ',"\n\r'):
        return '"' + value.replace('"', '""') + '"'
    return value


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, list[dict[str, str | None]]]:
    """A well-formed file with its columns in any order, blank lines, any quoting; and its rows."""
    end = draw(line_ends)
    order = draw(st.permutations(COLUMNS))
    table = [
        dict(zip(COLUMNS, row, strict=True))
        for row in draw(st.lists(st.tuples(*[st.none() | values] * 3), min_size=1, max_size=8))
    ]
    blank = st.integers(0, 2).map(lambda count: end * count)
    text = draw(st.sampled_from(["", "\ufeff"])) + draw(blank) + ",".join(order) + end
    for row in table:
        text += draw(blank) + ",".join(written(row[name], draw(st.booleans())) for name in order) + end
    if draw(st.booleans()) and not text.endswith(end * 2):
        text = text.removesuffix(end)
    return text.encode(), table


@settings(deadline=None, max_examples=40)
@given(st.lists(files(), min_size=1, max_size=3), TINY)
def test_every_value_of_every_file_arrives_in_its_column(written_files, block_bytes):
    found, rejects = read([data for data, _ in written_files], block_bytes)
    assert rejects == []
    expected = [
        {**row, "_source_file": f"{index}.csv", "_source_row": ordinal}
        for index, (_, table) in enumerate(written_files)
        for ordinal, row in enumerate(table, 1)
    ]
    names = [*COLUMNS, "_source_file", "_source_row"]
    assert [{name: row[name] for name in names} for row in found] == expected


@settings(deadline=None, max_examples=40)
@given(st.lists(files(), min_size=1, max_size=2), TINY)
def test_a_row_hash_depends_on_the_values_alone(written_files, block_bytes):
    found, _ = read([data for data, _ in written_files], block_bytes)
    for row in found:
        text = row_hash_text({name: row[name] for name in COLUMNS}, COLUMNS)
        assert row["_row_hash"] == hashlib.sha256(text.encode()).hexdigest()


row_values = st.fixed_dictionaries(
    {"a": st.none() | values, "z": st.none() | values},
    optional={name: st.none() | values for name in ("b", "ab", "1:a")},
)


@settings(deadline=None)
@given(row_values, row_values)
@example({"a": None, "z": ""}, {"a": "", "z": None})
@example({"a": "x", "z": "1:b1:y"}, {"a": "x", "z": "", "b": "y"})
@example({"a": "1:", "z": None}, {"a": "", "z": ":"})
def test_different_rows_are_hashed_from_different_texts(left, right):
    declared = ["z", "a"]

    def known(row):
        return {name: value for name, value in row.items() if value is not None or name in declared}

    same = row_hash_text(left, declared) == row_hash_text(right, declared)
    assert same == (known(left) == known(right))


@settings(deadline=None)
@given(rows, st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]), line_ends, TINY)
def test_what_the_csv_module_writes_is_read_back(table, quoting, end, block_bytes):
    if quoting == csv.QUOTE_MINIMAL:
        # The module leaves a lone return unquoted, which makes it a part of the line end that follows.
        table = [tuple(value.replace("\r", "") for value in row) for row in table]
    text = io.StringIO()
    csv.writer(text, quoting=quoting, lineterminator=end).writerows([COLUMNS, *table])
    found, rejects = cut(text.getvalue().encode(), block_bytes)
    assert rejects == []
    assert [tuple(value or "" for value in values) for _, *values in found] == table


anything = st.lists(
    st.sampled_from([b"a", b"b", b",", b",", b'"', b'"', b"\n", b"\n", b"\r\n", "é".encode()]), max_size=40
)


@settings(deadline=None, max_examples=400)
@given(anything, TINY)
@example([b'"', b"a", b"\n", b'"', b"\r\n"], 3)
def test_whatever_the_csv_module_accepts_has_the_same_fields(pieces, block_bytes):
    body = b"".join(pieces)
    try:
        oracle = list(csv.reader(io.StringIO(body.decode(), newline=""), strict=True))
    except csv.Error:
        return
    good = [record for record in oracle if len(record) == 3]
    if not any(oracle):
        return
    found, rejects = cut(b"a,b,c\n" + body, block_bytes)
    assert [[value or "" for value in values] for _, *values in found] == good
    assert len(rejects) == sum(1 for record in oracle if record and len(record) != 3)


bytes_of_any_kind = st.lists(
    st.sampled_from(
        [b"a", b"b,", b",", b",,", b'"', b'""', b',"', b'",', b"\n", b"\n", b"\r", b"\r\n", b"\xff", "é".encode()]
    ),
    min_size=1,
    max_size=60,
).map(b"".join)


@settings(deadline=None, max_examples=600)
@given(bytes_of_any_kind, st.sampled_from([b"a,b,c\n", b"a,b,c\r\n", b"a,b,c\r", b"x\n"]), TINY, st.integers(24, 40))
def test_where_blocks_are_cut_changes_nothing(body, header, block_bytes, record_bytes):
    if not body.strip(b"\r\n"):
        return
    columns = COLUMNS if header != b"x\n" else ["x"]
    one = cut(header + body, 1, record_bytes, columns)
    assert cut(header + body, block_bytes, record_bytes, columns) == one
    if not any("bytes" in reason for _, _, reason in one[1]):
        assert cut(header + body, LARGE, LARGE, columns) == one


@settings(deadline=None, max_examples=300)
@given(bytes_of_any_kind, TINY)
def test_every_record_is_either_a_row_or_a_reject(body, block_bytes):
    if not body.strip(b"\r\n"):
        return
    found, rejects = cut(b"a,b,c\n" + body, block_bytes)
    ordinals = [ordinal for ordinal, *_ in found]
    assert ordinals == sorted(set(ordinals))
    assert max(ordinals, default=0) <= len(found) + len(rejects)
    characters = "".join(value or "" for _, *values in found for value in values)
    shown = "".join(text for _, text, _ in rejects)
    for letter in "abé":
        assert body.decode("utf-8", "replace").count(letter) == (characters + shown).count(letter)


bad_lines = st.sampled_from(
    [
        ("x,y", "expected 3 fields, found 2"),
        ("x,y,z,", "expected 3 fields, found 4"),
        ('"x"y,1,2', "text after the closing quote of field 1"),
        ('1,"x" ,2', "text after the closing quote of field 2"),
        (" ", "expected 3 fields, found 1"),
        ('""', "expected 3 fields, found 1"),
    ]
)


@st.composite
def spoiled(draw: st.DrawFn):
    """A file with bad lines among good ones; its good rows with their ordinals, and its rejects."""
    end = draw(line_ends)
    lines, good, bad, physical = ["a,b,c"], [], [], 2
    for ordinal in range(1, draw(st.integers(2, 13))):
        if draw(st.booleans()):
            row = draw(st.tuples(values, values, values))
            line = ",".join(written(value, True) for value in row)
            good.append((ordinal, *row))
        else:
            line, reason = draw(bad_lines)
            bad.append((physical, line, reason))
        lines.append(line)
        physical += line.count("\n") + 1
    return end.join(lines) + end, good, bad


@settings(deadline=None)
@given(spoiled(), TINY)
def test_bad_lines_are_told_by_line_and_cost_no_other_line(file, block_bytes):
    text, good, bad = file
    found, rejects = cut(text.encode(), block_bytes)
    assert rejects == bad
    assert found == good


@settings(deadline=None)
@given(
    st.lists(st.tuples(single_line_values, single_line_values), min_size=2, max_size=8),
    st.integers(0, 7),
    TINY,
    line_ends,
)
def test_a_quote_that_is_never_closed_costs_its_own_line(table, position, block_bytes, end):
    position %= len(table)
    lines = [f"x,{left},{right}" for left, right in table]
    lines[position] = 'x,"' + lines[position][2:]
    found, rejects = cut(end.join(["a,b,c", *lines]).encode(), block_bytes)
    assert rejects == [(position + 2, lines[position], "the quote of field 2 is not closed within the file")]
    others = [row for index, row in enumerate(table) if index != position]
    assert [(left or "", right or "") for _, _, left, right in found] == others


@settings(deadline=None, max_examples=40)
@given(rows, st.sampled_from(["utf-16", "utf-16-le", "utf-16-be", "utf-8"]), TINY)
def test_every_encoding_gives_the_same_text(table, encoding, block_bytes):
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([COLUMNS, *table])
    found, rejects = read([text.getvalue().encode(encoding)], block_bytes, CsvFormat(encoding=encoding))
    assert rejects == []
    assert [tuple(row[name] for name in COLUMNS) for row in found] == table
