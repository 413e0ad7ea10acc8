"""The nine bronze tables take the public files as they are."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from assets.olist import bronze
from assets.olist.source import FILES, MONTHLY
from medallion.arrivals import SNAPSHOT, Arrivals
from medallion.csv_reader import CsvFileError
from medallion.graph import tables_in
from medallion.landing import Landing
from medallion.tables import Table

TABLES = {table.name: table for table in tables_in([bronze])}
PUBLIC_COLUMNS = {
    "orders": "order_id,customer_id,order_status,order_purchase_timestamp,order_approved_at,"
    "order_delivered_carrier_date,order_delivered_customer_date,order_estimated_delivery_date",
    "order_items": "order_id,order_item_id,product_id,seller_id,shipping_limit_date,price,freight_value",
    "payments": "order_id,payment_sequential,payment_type,payment_installments,payment_value",
    "reviews": "review_id,order_id,review_score,review_comment_title,review_comment_message,review_creation_date,"
    "review_answer_timestamp",
    "customers": "customer_id,customer_unique_id,customer_zip_code_prefix,customer_city,customer_state",
    "products": "product_id,product_category_name,product_name_lenght,product_description_lenght,product_photos_qty,"
    "product_weight_g,product_length_cm,product_height_cm,product_width_cm",
    "sellers": "seller_id,seller_zip_code_prefix,seller_city,seller_state",
    "geolocation": "geolocation_zip_code_prefix,geolocation_lat,geolocation_lng,geolocation_city,geolocation_state",
    "category_translation": "product_category_name,product_category_name_english",
}
MONTH = "2017-03"


def arrivals(folder: Path, table: Table, text: str) -> Arrivals:
    slice_key = MONTH if table.partitions else SNAPSHOT
    file = folder / "olist" / table.name / slice_key / f"{table.name}.csv"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    now = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    return Arrivals(Landing(str(folder)), "olist", table.name, [slice_key], table.landed_columns, now)


def test_each_public_file_is_a_table() -> None:
    assert set(TABLES) == set(FILES.values())


@pytest.mark.parametrize("name", TABLES)
def test_a_table_declares_the_columns_of_its_file_as_they_are_spelled(name: str) -> None:
    assert ",".join(TABLES[name].landed_columns) == PUBLIC_COLUMNS[name]


def test_the_tables_that_land_by_month_are_partitioned() -> None:
    assert {name for name, table in TABLES.items() if table.partitions is not None} == set(MONTHLY)


@pytest.mark.parametrize("name", TABLES)
def test_values_arrive_as_they_were(name: str, tmp_path: Path) -> None:
    table = TABLES[name]
    values = [f" {position:03} " for position, _ in enumerate(table.landed_columns)]
    with arrivals(tmp_path, table, f"{PUBLIC_COLUMNS[name]}\n{','.join(values)}\n").opened() as landed:
        (row,) = table(landed).batches.read_all().to_pylist()
    assert [row[column] for column in table.landed_columns] == values


@pytest.mark.parametrize("name", sorted(set(MONTHLY) - {"orders"}))
def test_a_month_without_rows_is_an_empty_slice(name: str, tmp_path: Path) -> None:
    with arrivals(tmp_path, TABLES[name], f"{PUBLIC_COLUMNS[name]}\n").opened() as landed:
        assert TABLES[name](landed).batches.read_all().num_rows == 0


@pytest.mark.parametrize("name", sorted(set(FILES.values()) - set(MONTHLY) | {"orders"}))
def test_orders_and_snapshots_must_have_rows(name: str, tmp_path: Path) -> None:
    with (
        arrivals(tmp_path, TABLES[name], f"{PUBLIC_COLUMNS[name]}\n").opened() as landed,
        pytest.raises(CsvFileError, match="no record"),
    ):
        TABLES[name](landed).batches.read_all()
