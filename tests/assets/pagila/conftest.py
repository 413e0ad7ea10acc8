"""Frames of the Pagila mirrors for transforms that run without a lake."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.fixtures.pagila_mirrors import MIRRORS, READ, row_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@pytest.fixture(scope="session")
def mirror(spark: SparkSession) -> Callable[..., DataFrame]:
    """Gives the frame of a mirror as a transform gets its first input: one row per change of the good row."""
    from pyspark.sql import functions as F
    from pyspark.sql.types import StructField, StructType

    def frame(table: str, *changes: dict[str, Any]) -> DataFrame:
        columns = MIRRORS[table].contract.columns
        # Without NOT NULL, so that a key can be missing.
        schema = StructType([StructField(column.name, column.type, nullable=True) for column in columns])
        rows = [tuple(row_of(table, change).values()) for change in changes]
        return spark.createDataFrame(rows, schema).withColumns({"_raw": F.struct("*"), "_snapshot_at": F.lit(READ)})

    return frame
