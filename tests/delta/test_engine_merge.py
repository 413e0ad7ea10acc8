"""How a merge on Spark finds the files of a table in its clone's log."""

from __future__ import annotations

import pytest

from medallion.delta.engine_merge import _below


@pytest.mark.parametrize(
    ("root", "logged"),
    [
        ("/lake", "file:/lake"),
        ("/lake", "file:///lake"),
        ("/lake", "/lake"),
        ("/la ke/a#b?c", "file:/la%20ke/a%23b%3Fc"),
        ("s3://bucket/lake", "s3a://bucket/lake"),
        ("s3://bucket/a#b", "s3a://bucket/a%23b"),
    ],
)
def test_a_file_is_named_relative_to_its_table_however_the_address_is_written(root: str, logged: str) -> None:
    assert _below(f"{root}/silver/x", f"{logged}/silver/x/month=a%2520b/part-0.parquet") == "month=a%20b/part-0.parquet"
