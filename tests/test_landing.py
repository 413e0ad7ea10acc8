"""The landing zone: the same behaviour on local disk and on S3, and nothing half-written ever visible."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from medallion.landing import LandedFile, Landing, LandingError
from medallion.storage_errors import StorageError
from tests.fixtures.s3_server import S3, s3_server


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    with s3_server("test-landing") as server:
        yield server


@pytest.fixture(params=["local", "s3"])
def landing(request: pytest.FixtureRequest, tmp_path: Path) -> Landing:
    if request.param == "local":
        return Landing(str(tmp_path / "landing"))
    server: S3 = request.getfixturevalue("s3")
    return Landing(f"s3://{server.bucket}/{request.node.name}", server.storage_options)


class HalfWritten:
    """Content that fails after its first bytes."""

    def __iter__(self) -> Iterator[bytes]:
        yield b"half"
        raise ZeroDivisionError


def put(landing: Landing, table: str, slice_key: str, name: str, content: bytes | HalfWritten) -> None:
    with landing.write("shop", table, slice_key, name) as file:
        file.writelines([content] if isinstance(content, bytes) else content)


def content(landing: Landing, file: LandedFile) -> bytes:
    with landing.fetch(file) as path:
        return path.read_bytes()


def test_an_empty_landing_zone_has_no_slices(landing: Landing) -> None:
    assert landing.slices("shop", "orders") == []
    assert landing.scan("shop") == {}


def test_looking_at_an_absent_local_root_does_not_create_it(tmp_path: Path) -> None:
    landing = Landing(str(tmp_path / "absent"))
    landing.scan("shop")
    assert not landing.holds("shop", "orders", "2017-01", "orders.csv", Path(__file__))
    assert not (tmp_path / "absent").exists()


def test_what_is_written_is_listed_and_fetched_unchanged(landing: Landing) -> None:
    written = b'id,"a\r\n"\n1,\xff\n'
    put(landing, "orders", "2017-01", "orders.csv", written)
    (file,) = landing.files("shop", "orders", "2017-01")
    assert (file.path, file.size) == ("shop/orders/2017-01/orders.csv", len(written))
    assert content(landing, file) == written


def test_slices_and_files_are_sorted(landing: Landing) -> None:
    for slice_key, name in (("2017-02", "a.csv"), ("2017-01", "b.csv"), ("2017-01", "a.csv")):
        put(landing, "orders", slice_key, name, b"x")
    assert landing.slices("shop", "orders") == ["2017-01", "2017-02"]
    assert [f.path.rsplit("/", 1)[1] for f in landing.files("shop", "orders", "2017-01")] == ["a.csv", "b.csv"]


def test_a_slice_is_not_confused_with_one_whose_key_begins_alike(landing: Landing) -> None:
    put(landing, "orders", "2017-1", "a.csv", b"x")
    put(landing, "orders", "2017-10", "a.csv", b"x")
    put(landing, "orders_old", "2017-1", "a.csv", b"x")
    assert [file.path for file in landing.files("shop", "orders", "2017-1")] == ["shop/orders/2017-1/a.csv"]


@pytest.mark.parametrize("key", ["2017-01-01-05:00", "br|2017-01", "são paulo", "k=v", "50%", "a#b", "a?b"])
def test_any_partition_key_without_a_slash_names_a_slice(landing: Landing, key: str) -> None:
    put(landing, "orders", key, "orders.csv", b"x")
    assert landing.slices("shop", "orders") == [key]
    assert content(landing, landing.files("shop", "orders", key)[0]) == b"x"


@pytest.mark.parametrize("key", ["", "..", "a/b", ".hidden", "_temporary", "a\\b"])
def test_a_key_that_would_leave_its_folder_or_be_passed_over_is_refused(landing: Landing, key: str) -> None:
    with pytest.raises(LandingError, match="can't be a part"):
        put(landing, "orders", key, "orders.csv", b"x")


def test_an_absent_slice_is_an_error_that_names_the_place_and_the_command(landing: Landing) -> None:
    put(landing, "orders", "2017-01", "orders.csv", b"x")
    with pytest.raises(LandingError) as error:
        landing.files("shop", "orders", "2017-02")
    assert f"{landing.root}/shop/orders/2017-02" in str(error.value)
    assert "It has 2017-01." in str(error.value)
    assert "medallion land shop PATH" in str(error.value)


def test_a_failed_write_leaves_nothing_behind(landing: Landing) -> None:
    put(landing, "orders", "2017-01", "orders.csv", b"old")
    for key in ("2017-01", "2017-02"):
        with pytest.raises(ZeroDivisionError):
            put(landing, "orders", key, "orders.csv", HalfWritten())
    assert landing.slices("shop", "orders") == ["2017-01"]
    assert content(landing, landing.files("shop", "orders", "2017-01")[0]) == b"old"
    if landing.is_local:
        assert [p.name for p in Path(landing.root).rglob("*") if p.is_file()] == ["orders.csv"]


def test_a_file_is_invisible_until_it_is_whole(landing: Landing) -> None:
    with landing.write("shop", "orders", "2017-01", "orders.csv") as file:
        file.write(b"first half")
        file.flush()
        assert landing.slices("shop", "orders") == []
    assert landing.slices("shop", "orders") == ["2017-01"]


@pytest.mark.parametrize("name", [".orders.csv.swp", "_SUCCESS", "orders.csv.tmp", "orders.csv.part", "orders.csv~"])
def test_unfinished_files_of_other_writers_are_passed_over(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "shop/orders/2017-01"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(b"x")
    assert Landing(str(tmp_path)).scan("shop") == {}


def test_files_below_a_hidden_folder_or_outside_of_a_slice_are_passed_over(tmp_path: Path) -> None:
    for path in ("shop/orders/2017-01/_temporary/0/a.csv", "shop/orders/a.csv", "shop/README", "shop/.x/2017-01/a.csv"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"x")
    assert Landing(str(tmp_path)).scan("shop") == {}


def test_the_scan_changes_just_where_a_file_was_added_replaced_or_removed(landing: Landing) -> None:
    for key in ("2017-01", "2017-02", "2017-03"):
        put(landing, "orders", key, "a.csv", b"1")
    before = landing.scan("shop")
    assert landing.scan("shop") == before
    put(landing, "orders", "2017-02", "a.csv", b"2")
    put(landing, "orders", "2017-03", "b.csv", b"1")
    after = landing.scan("shop")
    changed = {slice_key for (_, slice_key), stamp in after.items() if before[("orders", slice_key)] != stamp}
    assert changed == {"2017-02", "2017-03"}


def test_the_scan_of_one_table_lists_nothing_of_the_others(landing: Landing) -> None:
    for table in ("orders", "orders_old", "payments"):
        put(landing, table, "2017-01", "a.csv", b"1")
    whole = landing.scan("shop")

    assert landing.scan("shop", "orders") == {("orders", "2017-01"): whole["orders", "2017-01"]}
    assert landing.scan("shop", "refunds") == {}


def test_a_file_replaced_between_listing_and_reading_is_not_read_as_the_old_one(landing: Landing) -> None:
    put(landing, "orders", "2017-01", "orders.csv", b"old")
    (file,) = landing.files("shop", "orders", "2017-01")
    put(landing, "orders", "2017-01", "orders.csv", b"newer")
    with pytest.raises(LandingError, match="was replaced after it was listed"):
        content(landing, file)


def test_a_file_that_is_gone_is_an_error_that_names_it(landing: Landing) -> None:
    put(landing, "orders", "2017-01", "orders.csv", b"old")
    ghost = LandedFile("shop/orders/2017-01/ghost.csv", 1, '"x"')
    with pytest.raises(LandingError, match=r"ghost\.csv is gone"):
        content(landing, ghost)


def test_a_fetched_copy_is_removed_and_a_local_file_is_not(landing: Landing) -> None:
    put(landing, "orders", "2017-01", "orders.csv", b"x")
    with landing.fetch(landing.files("shop", "orders", "2017-01")[0]) as path:
        assert path.name == "orders.csv"
    assert path.exists() == landing.is_local


def test_holds_compares_content_and_not_names_or_sizes(landing: Landing, tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    ours.write_bytes(b"abc")
    assert not landing.holds("shop", "orders", "2017-01", "orders.csv", ours)
    put(landing, "orders", "2017-01", "orders.csv", b"abc")
    assert landing.holds("shop", "orders", "2017-01", "orders.csv", ours)
    ours.write_bytes(b"abd")
    assert not landing.holds("shop", "orders", "2017-01", "orders.csv", ours)
    ours.write_bytes(b"abcd")
    assert not landing.holds("shop", "orders", "2017-01", "orders.csv", ours)


def test_a_large_object_in_parts_has_an_etag_that_is_no_md5_and_is_compared_by_content(s3: S3, tmp_path: Path) -> None:
    landing = Landing(f"s3://{s3.bucket}/large", s3.storage_options)
    ours = tmp_path / "ours"
    ours.write_bytes(b"0123456789" * 600_000)
    put(landing, "orders", "2017-01", "orders.csv", ours.read_bytes())
    assert landing.files("shop", "orders", "2017-01")[0].fingerprint.strip('"').endswith("-2")
    assert landing.holds("shop", "orders", "2017-01", "orders.csv", ours)
    ours.write_bytes(b"0123456789" * 599_999 + b"012345678X")
    assert not landing.holds("shop", "orders", "2017-01", "orders.csv", ours)


def test_an_absent_bucket_is_an_error_in_one_line_that_names_it(s3: S3) -> None:
    landing = Landing("s3://no-such-bucket/landing", s3.storage_options)
    with pytest.raises(StorageError, match=r"GET .*/no-such-bucket \(.*landing/shop/\): the bucket is not") as error:
        landing.scan("shop")
    assert "\n" not in str(error.value)
    with pytest.raises(StorageError, match=r"PUT .*/no-such-bucket/landing/shop/orders/.*: the bucket is not there"):
        put(landing, "orders", "2017-01", "orders.csv", b"x")


def test_another_store_is_refused_by_name() -> None:
    with pytest.raises(LandingError, match=r"gs://bucket/landing is neither"):
        Landing("gs://bucket/landing")


def test_the_secret_key_is_not_shown() -> None:
    assert "hidden" not in repr(Landing("s3://bucket/x", {"AWS_SECRET_ACCESS_KEY": "hidden"}))


def test_a_file_url_is_a_local_root(tmp_path: Path) -> None:
    put(Landing(f"file://{tmp_path}"), "orders", "2017-01", "orders.csv", b"x")
    assert Landing(str(tmp_path) + os.sep).slices("shop", "orders") == ["2017-01"]
