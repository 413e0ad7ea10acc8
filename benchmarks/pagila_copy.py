"""Pagila's tables copied to Delta as they are, by ADBC and delta-rs: nothing checked, nothing made of them."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
from deltalake import write_deltalake

from medallion.postgres.connection import connect

TABLES = (
    *("actor", "address", "category", "city", "country", "customer", "film", "film_actor", "film_category"),
    *("inventory", "language", "payment", "rental", "staff", "store"),
)
_COLUMNS = {
    "film": "film_id, title, rental_rate::text, rating::text, special_features, last_update",
    "payment": "payment_id, customer_id, staff_id, rental_id, amount::text, payment_date",
}
"""What delta-rs takes as the driver gives it."""


def main(url: str, folder: Path) -> None:
    """Copy all tables.

    Args:
        url: of the database.
        folder: where the Delta tables go.
    """
    with connect("pagila", url) as connection:
        for name in TABLES:
            rows = connection.query(f"select {_COLUMNS.get(name, '*')} from {name}")
            write_deltalake(folder / name, pa.RecordBatchReader.from_batches(rows.schema, rows.to_batches()))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
