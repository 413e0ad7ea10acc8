"""Fixtures that every test folder uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture
def spark() -> SparkSession:
    """The session of the embedded engine: one per test process, made anew if a test stopped it."""
    from medallion.engine.resource import SparkEngine

    return SparkEngine().spark_session
