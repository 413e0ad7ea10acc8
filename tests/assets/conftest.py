"""The transforms' tests run on both engines: what they promise is PySpark's meaning, not one engine's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from medallion.engine.resource import SparkEngine

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="session", params=["sail", pytest.param("spark", marks=[pytest.mark.spark, pytest.mark.slow])])
def spark(request: pytest.FixtureRequest) -> SparkSession:
    """A session of the embedded engine, then one of Apache Spark."""
    if request.param == "spark":
        return request.getfixturevalue("apache_spark")
    return SparkEngine().spark_session
