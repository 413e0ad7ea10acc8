"""A bad partition is kept apart from good ones on an object store as on local disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from medallion.tables import Table
from tests.fixtures.s3_server import S3
from tests.fixtures.shop import MONTHS, Shop, bronze_orders, silver_orders

pytestmark = pytest.mark.slow

SILVER = "silver/shop/orders"
KEYS = ["2024-01", "2024-02", "2024-03"]


def published(shop: Shop) -> list[str]:
    return [row["order_id"] for row in shop.rows(SILVER)]


def isolating() -> Table:
    return silver_orders(on_bad_partition="isolate")


def test_the_good_partitions_are_published_the_bad_one_keeps_its_rows_and_is_mended_alone(
    tmp_path: Path, s3: S3
) -> None:
    shop = Shop(tmp_path, f"s3://{s3.bucket}/{tmp_path.name}", s3.storage_options)
    for month, order in zip(KEYS, "abc", strict=True):
        shop.land(month, f"{order}0,1,,")
    assert shop.run(bronze_orders(), isolating(), span=(KEYS[0], KEYS[-1])).success
    shop.land("2024-01", "a1,1,,")
    shop.land("2024-02", "b1,1,,", "x,dear,,", "y,dear,,")
    version = shop.version(SILVER)
    assert not shop.run(bronze_orders(), isolating(), span=(KEYS[0], KEYS[-1])).success

    assert (published(shop), shop.version(SILVER)) == (["a1", "b0", "c0"], version + 1)
    statuses = shop.instance.get_status_by_partition(isolating().key, KEYS, MONTHS) or {}
    assert [status.value for status in statuses.values() if status] == ["MATERIALIZED", "FAILED", "MATERIALIZED"]

    shop.land("2024-02", "b2,1,,")
    assert shop.run(bronze_orders(), isolating(), key="2024-02").success
    assert published(shop) == ["a1", "b2", "c0"]
