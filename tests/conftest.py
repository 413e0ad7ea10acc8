"""Fixtures that every test folder uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fixtures.postgres import (  # noqa: F401
    debian_server,
    pagila_sample,
    pagila_url,
    postgres,
    postgres_server,
    postgres_url,
)

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def spark() -> SparkSession:
    """The session of the embedded engine; one per test process, stopped when the process ends."""
    from medallion.engine.resource import SparkEngine

    return SparkEngine().spark_session
