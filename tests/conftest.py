"""Fixtures that every test folder uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fixtures.apache_spark import require_spark, spark_environment
from tests.fixtures.object_store import server_path
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


def pytest_report_header() -> str:
    """Which S3 server the tests on one have, as without the real one they take another."""
    real = server_path()
    return f"S3 server: {real.name if real.is_file() else 'moto, as scripts/object_store.sh has not run'}"


@pytest.fixture(scope="session")
def spark() -> SparkSession:
    """The session of the embedded engine; one per test process, stopped when the process ends."""
    from medallion.engine.resource import SparkEngine

    return SparkEngine().spark_session


@pytest.fixture(scope="session")
def apache_spark(tmp_path_factory: pytest.TempPathFactory) -> SparkSession:
    """The session of a local Apache Spark; one per test process, stopped when the process ends."""
    require_spark()
    from medallion.engine.resource import SparkEngine

    with pytest.MonkeyPatch.context() as patch:
        # The JVM takes them when it starts.
        for name, value in spark_environment(tmp_path_factory.mktemp("spark")).items():
            patch.setenv(name, value)
        return SparkEngine(profile="spark").spark_session
