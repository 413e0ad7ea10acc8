"""Landing the nine Olist files: split by month of purchase, byte for byte, without losing a record."""

from __future__ import annotations

import csv
import io
import os
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.olist.source import FILES, MONTHLY, SourceError, land, split_records
from medallion.landing import Landing
from tests.fixtures.s3_server import s3_server

ORDERS = (
    "order_id,customer_id,order_status,order_purchase_timestamp,order_approved_at,order_estimated_delivery_date\n"
    "o1,c1,delivered,2017-01-05 10:00:00,2017-01-05 10:10:00,2017-02-01 00:00:00\n"
    "o2,c2,delivered,2017-02-05 10:00:00,2017-02-05 10:10:00,2017-03-01 00:00:00\n"
    "o3,c3,delivered,2017-01-31 23:59:59,2017-02-01 10:10:00,2017-03-01 00:00:00\n"
)
SMALL = {
    "orders": ORDERS,
    "order_items": "order_id,order_item_id,price\no2,1,9.90\no1,1,1.10\no1,2,001.50\no3,1,5\n",
    "payments": "order_id,payment_value\no1,2.60\no2,9.90\no3,5\n",
    "reviews": 'review_id,order_id,text\nr1,o1,"two\nlines, ""quoted"""\nr2,o2,\nr3,o3,""\n',
    "customers": "customer_id,zip\nc3,01000\nc2,02000\nc1,03000\n",
    "products": "product_id,n\np1,1\n",
    "sellers": "seller_id,n\ns1,1\n",
    "geolocation": "geolocation_zip_code_prefix,n\n01000,1\n",
    "category_translation": "\ufeffproduct_category_name,product_category_name_english\na,b\n",
}


def write_source(folder: Path, **changed: str | bytes) -> Path:
    folder.mkdir(exist_ok=True)
    for file, table in FILES.items():
        text = changed.get(table, SMALL[table])
        (folder / file).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(str(tmp_path / "landing"))


def landed(landing: Landing, table: str, slice_key: str) -> str:
    (file,) = landing.files("olist", table, slice_key)
    with landing.fetch(file) as path:
        return path.read_bytes().decode()


def test_rows_land_in_the_month_of_their_orders_purchase(tmp_path: Path, landing: Landing) -> None:
    land(write_source(tmp_path / "source"), landing)
    assert landing.slices("olist", "orders") == ["2017-01", "2017-02"]
    assert landed(landing, "order_items", "2017-01") == "order_id,order_item_id,price\no1,1,1.10\no1,2,001.50\no3,1,5\n"
    assert landed(landing, "order_items", "2017-02") == "order_id,order_item_id,price\no2,1,9.90\n"


def test_customers_land_in_the_month_of_the_order_they_placed(tmp_path: Path, landing: Landing) -> None:
    land(write_source(tmp_path / "source"), landing)
    assert landed(landing, "customers", "2017-01") == "customer_id,zip\nc3,01000\nc1,03000\n"


def test_the_other_tables_land_whole_with_every_byte(tmp_path: Path, landing: Landing) -> None:
    land(write_source(tmp_path / "source"), landing)
    assert landing.slices("olist", "products") == ["snapshot"]
    assert landed(landing, "category_translation", "snapshot") == SMALL["category_translation"]


def test_a_record_with_line_breaks_and_doubled_quotes_stays_one_record(tmp_path: Path, landing: Landing) -> None:
    land(write_source(tmp_path / "source"), landing)
    assert (
        landed(landing, "reviews", "2017-01") == 'review_id,order_id,text\nr1,o1,"two\nlines, ""quoted"""\nr3,o3,""\n'
    )


def test_quoted_keys_windows_line_ends_and_a_byte_order_mark_are_kept_and_understood(
    tmp_path: Path, landing: Landing
) -> None:
    payments = '\ufeff"order_id","payment_value"\r\n"o1",2.60\r\n"o2",9.90\r\n'
    land(write_source(tmp_path / "source", payments=payments), landing)
    assert landed(landing, "payments", "2017-01") == '\ufeff"order_id","payment_value"\r\n"o1",2.60\r\n'


def test_bytes_that_are_no_utf8_land_as_they_are(tmp_path: Path, landing: Landing) -> None:
    land(write_source(tmp_path / "source", customers=b'customer_id,city\nc1,"s\xe3o"\nc2,x\nc3,x\n'), landing)
    (file,) = landing.files("olist", "customers", "2017-01")
    with landing.fetch(file) as path:
        assert path.read_bytes() == b'customer_id,city\nc1,"s\xe3o"\nc3,x\n'


def test_a_second_run_writes_nothing(tmp_path: Path, landing: Landing) -> None:
    source = write_source(tmp_path / "source")
    first = land(source, landing)
    before = landing.scan("olist")
    second = land(source, landing)
    assert second.written == []
    assert second.bytes_written == 0
    assert second.unchanged == first.written
    assert landing.scan("olist") == before


def test_a_changed_row_rewrites_just_its_month(tmp_path: Path, landing: Landing) -> None:
    land(write_source(tmp_path / "source"), landing)
    report = land(write_source(tmp_path / "source", payments=SMALL["payments"].replace("9.90", "9.91")), landing)
    assert report.written == ["olist/payments/2017-02/payments.csv"]


def test_a_run_that_was_killed_is_completed_by_the_next(
    tmp_path: Path, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_source(tmp_path / "source")
    write, calls = landing.write, Counter[str]()

    def die_at_the_fourth(*where: str):  # type: ignore[no-untyped-def]
        calls["write"] += 1
        if calls["write"] == 4:
            raise KeyboardInterrupt
        return write(*where)

    monkeypatch.setattr(landing, "write", die_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        land(source, landing)
    monkeypatch.undo()
    report = land(source, landing)
    assert len(report.unchanged) == 3
    assert len(report.unchanged) + len(report.written) == 5 * 2 + 4


def test_an_order_without_a_readable_purchase_date_lands_with_the_month_of_its_next_date(
    tmp_path: Path, landing: Landing
) -> None:
    orders = ORDERS.replace("2017-01-05 10:00:00", "05/01/2017 10:00")
    report = land(write_source(tmp_path / "source", orders=orders), landing)
    assert "o1,c1,delivered,05/01/2017 10:00," in landed(landing, "orders", "2017-01")
    assert "o1,1,1.10" in landed(landing, "order_items", "2017-01")
    assert (report.dated_otherwise, report.undated) == (1, {})


def test_rows_without_any_month_land_in_the_latest_and_are_counted(tmp_path: Path, landing: Landing) -> None:
    orders = ORDERS + "o4,c4,created,,,\ntorn\n"
    items = SMALL["order_items"] + "nobody,1,7\no4,1,8\n"
    report = land(write_source(tmp_path / "source", orders=orders, order_items=items), landing)
    assert landed(landing, "orders", "2017-02").endswith("o4,c4,created,,,\ntorn\n")
    assert landed(landing, "order_items", "2017-02").endswith("nobody,1,7\no4,1,8\n")
    assert report.undated == {"orders": 2, "order_items": 2}


def test_a_month_that_is_no_more_is_reported_and_left(tmp_path: Path, landing: Landing) -> None:
    land(write_source(tmp_path / "source"), landing)
    report = land(write_source(tmp_path / "source", orders=ORDERS.replace("2017-02-05", "2017-01-06")), landing)
    assert report.stale == [f"olist/{table}/2017-02" for table in MONTHLY]
    assert landing.slices("olist", "orders") == ["2017-01", "2017-02"]


def test_blank_lines_are_left_out_and_nothing_else_is(tmp_path: Path, landing: Landing) -> None:
    payments = "order_id,payment_value\n\no1,2.60\n\r\no2,9.90\n\n\no3,5"
    report = land(write_source(tmp_path / "source", payments=payments), landing)
    assert landed(landing, "payments", "2017-01") == "order_id,payment_value\no1,2.60\no3,5"
    assert report.rows["payments"] == 3


def test_a_quote_that_never_closes_costs_one_line_and_not_the_rest(tmp_path: Path, landing: Landing) -> None:
    reviews = 'review_id,order_id,text\nr1,o1,"open\nr2,o2,"closed"\nr3,o3,plain\n'
    report = land(write_source(tmp_path / "source", reviews=reviews), landing)
    assert landed(landing, "reviews", "2017-01") == 'review_id,order_id,text\nr1,o1,"open\nr3,o3,plain\n'
    assert report.rows["reviews"] == 3


@pytest.mark.parametrize("inside", ["", "olist/"])
def test_a_zip_lands_the_same_as_its_folder(tmp_path: Path, inside: str) -> None:
    source = write_source(tmp_path / "source")
    archive = tmp_path / "archive.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for file in source.iterdir():
            packed.write(file, inside + file.name)
        packed.writestr("__MACOSX/._olist_orders_dataset.csv", "x")
    one, two = Landing(str(tmp_path / "one")), Landing(str(tmp_path / "two"))
    land(source, one)
    assert land(archive, two).rows == land(source, one).rows
    for table, key in one.scan("olist"):
        assert landed(one, table, key) == landed(two, table, key)


def test_the_landing_zone_may_be_on_s3(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source")
    with s3_server("test-olist-source") as server:
        remote = Landing(f"s3://{server.bucket}/landing", server.storage_options)
        assert len(land(source, remote).written) == 14
        assert land(source, remote).written == []
        assert landed(remote, "customers", "2017-01") == "customer_id,zip\nc3,01000\nc1,03000\n"


def test_a_missing_file_is_named_with_what_was_found(tmp_path: Path, landing: Landing) -> None:
    source = write_source(tmp_path / "source")
    (source / "olist_sellers_dataset.csv").rename(source / "sellers.csv")
    with pytest.raises(SourceError, match=r"lacks olist_sellers_dataset\.csv; it has .*, sellers\.csv"):
        land(source, landing)


def test_a_missing_column_is_named_with_the_file_and_nothing_lands(tmp_path: Path, landing: Landing) -> None:
    source = write_source(tmp_path / "source", payments="order,payment_value\no1,1\n")
    with pytest.raises(
        SourceError, match=r"olist_order_payments_dataset\.csv lacks the columns order_id; it has order,"
    ):
        land(source, landing)
    assert landing.scan("olist") == {}


@pytest.mark.parametrize(
    ("text", "fault"), [("", "is empty"), ("seller_id,n\n", "no rows"), ("seller_id,n\n\n", "no rows")]
)
def test_a_file_without_rows_is_an_error(tmp_path: Path, landing: Landing, text: str, fault: str) -> None:
    with pytest.raises(SourceError, match=rf"olist_sellers_dataset\.csv .*{fault}"):
        land(write_source(tmp_path / "source", sellers=text), landing)


def test_orders_without_any_date_are_an_error(tmp_path: Path, landing: Landing) -> None:
    with pytest.raises(SourceError, match="no order with a date"):
        land(write_source(tmp_path / "source", orders=ORDERS.splitlines()[0] + "\no1,c1,x,1/2/17,,\n"), landing)


def test_a_file_twice_in_an_archive_is_an_error(tmp_path: Path, landing: Landing) -> None:
    archive = tmp_path / "archive.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for folder in ("a", "b"):
            packed.writestr(f"{folder}/olist_orders_dataset.csv", "x")
    with pytest.raises(SourceError, match=r"both a/olist_orders_dataset\.csv and b/olist_orders_dataset\.csv"):
        land(archive, landing)


def test_a_damaged_archive_is_an_error_that_names_the_file(tmp_path: Path, landing: Landing) -> None:
    source = write_source(tmp_path / "source")
    archive = tmp_path / "archive.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for file in source.iterdir():
            packed.write(file, file.name)
    archive.write_bytes(archive.read_bytes().replace(b"s1,1", b"s1,2"))
    with pytest.raises(SourceError, match=r"olist_sellers_dataset\.csv is damaged"):
        land(archive, landing)
    assert landing.scan("olist") == {}


def test_a_very_long_text_does_not_hide_the_order_of_its_row(tmp_path: Path, landing: Landing) -> None:
    reviews = 'review_id,text,order_id\nr1,"' + "long\n" * 100_000 + '",o1\nr2,x,o2\n'
    report = land(write_source(tmp_path / "source", reviews=reviews), landing)
    assert report.undated == {}
    assert len(landed(landing, "reviews", "2017-01")) > 500_000


@pytest.mark.parametrize(("name", "fault"), [("absent", "does not exist"), ("text", "neither a folder nor a zip")])
def test_a_path_that_is_no_source_is_an_error(tmp_path: Path, landing: Landing, name: str, fault: str) -> None:
    (tmp_path / "text").write_text("x")
    with pytest.raises(SourceError, match=fault):
        land(tmp_path / name, landing)


def test_progress_of_every_table_ends_at_its_size(tmp_path: Path, landing: Landing) -> None:
    calls: list[tuple[str, int, int]] = []
    land(write_source(tmp_path / "source"), landing, lambda *call: calls.append(call))
    last = {table: (done, total) for table, done, total in calls}
    assert set(last) == set(FILES.values())
    assert all(done == total > 0 for done, total in last.values())


values = st.lists(st.sampled_from(["a", "b ", ",", '"', "\n", "\r\n", ";", "é"]), max_size=6).map("".join)


@given(st.lists(st.lists(values, min_size=3, max_size=3), max_size=12), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_records_are_split_where_the_csv_module_splits_them(table: list[list[str]], end: str, everything: bool) -> None:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator=end, quoting=csv.QUOTE_ALL if everything else csv.QUOTE_MINIMAL)
    writer.writerows(table)
    records = list(split_records(io.BytesIO(file.getvalue().encode()), columns=3))
    assert [next(csv.reader(io.StringIO(record.decode(), newline=""))) for record in records] == table


@given(st.binary(max_size=80) | st.text(alphabet='a,"\n', max_size=60).map(str.encode), st.integers(1, 4))
def test_no_byte_is_lost_whatever_the_file_holds(content: bytes, columns: int) -> None:
    records = list(split_records(io.BytesIO(content), columns))
    assert b"".join(records) == content
    assert all(b"\n" not in record[:-1] or b'"' in record for record in records)


@given(
    st.lists(st.lists(st.text(alphabet='ab,"\n', max_size=4), min_size=3, max_size=3), min_size=1, max_size=8),
    st.integers(0, 8),
)
def test_a_torn_line_leaves_every_record_before_it_and_all_plain_ones_after_it_whole(
    table: list[list[str]], where: int
) -> None:
    lines = []
    for row in table:
        file = io.StringIO()
        csv.writer(file, lineterminator="\n").writerow(row)
        lines.append(file.getvalue().encode())
    where = min(where, len(lines))
    plain = [b"x,y,z\n"] * 3
    content = b"".join([*lines[:where], b'1,2,"torn\n', *plain])
    assert list(split_records(io.BytesIO(content), 3)) == [*lines[:where], b'1,2,"torn\n', *plain]


SAMPLE = Path(os.environ.get("MEDALLION_OLIST_SAMPLE", Path(__file__).parents[4] / "shared/data/olist"))


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="the real sample is not here; MEDALLION_OLIST_SAMPLE names its folder")
def test_every_record_of_the_real_sample_lands_once(landing: Landing) -> None:
    report = land(SAMPLE, landing)
    assert (report.undated, report.dated_otherwise) == ({}, 0)
    for file, table in FILES.items():
        with (SAMPLE / file).open(newline="") as original:
            expected = Counter(map(tuple, csv.reader(original)))
        found: Counter[tuple[str, ...]] = Counter()
        for key in landing.slices("olist", table):
            found += Counter(map(tuple, csv.reader(io.StringIO(landed(landing, table, key), newline=""))))
        header = next(iter(expected))
        found[header] = 1
        assert found == expected, table
