"""Data files that delta-rs writes: compressed, in groups that fit into memory."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import write_deltalake

from medallion.delta.parquet import writer_properties


def test_files_are_compressed_and_their_groups_are_bounded(tmp_path: Path) -> None:
    rows = pa.table({"n": range(250_000)})
    write_deltalake(str(tmp_path), rows.to_reader(), writer_properties=writer_properties())
    (file,) = tmp_path.glob("*.parquet")
    footer = pq.ParquetFile(file).metadata
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    assert [group.num_rows for group in groups] == [100_000, 100_000, 50_000]
    assert {group.column(0).compression for group in groups} == {"ZSTD"}


def test_only_columns_without_repeated_values_have_no_dictionary(tmp_path: Path) -> None:
    rows = pa.table({name: ["x", "y"] for name in ("_row_hash", "_source_row", "status")})
    write_deltalake(str(tmp_path), rows.to_reader(), writer_properties=writer_properties())
    (file,) = tmp_path.glob("*.parquet")
    group = pq.ParquetFile(file).metadata.row_group(0)
    columns = {group.column(n).path_in_schema: group.column(n).has_dictionary_page for n in range(3)}
    assert columns == {"_row_hash": False, "_source_row": False, "status": True}
