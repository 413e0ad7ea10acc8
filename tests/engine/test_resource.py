"""The SparkEngine resource."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from medallion.engine import resource as engine_resource
from medallion.engine.resource import SparkEngine, is_alive
from medallion.engine.sail import EmbeddedSail

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import SparkSession


@pytest.fixture
def second_server() -> Iterator[EmbeddedSail]:
    server = EmbeddedSail()
    yield server
    for key, (url, session) in list(engine_resource._sessions.items()):
        if server.running and url == server.url:
            session.stop()
            del engine_resource._sessions[key]
    server.stop()


def test_all_resources_of_a_process_share_one_session(spark: SparkSession) -> None:
    assert SparkEngine().spark_session is spark
    assert SparkEngine(profile=" sail ").spark_session is spark


def test_the_session_is_utc_and_ansi(spark: SparkSession) -> None:
    assert spark.conf.get("spark.sql.session.timeZone") == "UTC"
    assert spark.conf.get("spark.sql.ansi.enabled") == "true"
    assert spark.sql("select cast(timestamp'2024-01-01 10:00:00' as string) t").collect()[0].t == "2024-01-01 10:00:00"


def test_runs_of_one_process_share_the_session_after_each_teardown(spark: SparkSession) -> None:
    seen: list[object] = []

    @dg.asset
    def counted(engine: SparkEngine) -> int:
        seen.append(engine.spark_session)
        return int(engine.spark_session.range(3).count())

    for _ in range(2):
        assert dg.materialize([counted], resources={"engine": SparkEngine()}).success
    assert seen == [spark, spark]


def test_making_the_resource_starts_nothing() -> None:
    code = (
        "import sys; from medallion.engine.resource import SparkEngine, _sessions; SparkEngine();"
        "print(sorted({'pysail', 'pandas', 'pyarrow', 'grpc', 'deltalake'} & set(sys.modules)), _sessions)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout == "[] {}\n", done.stderr


def test_spark_configuration_may_be_nested_and_gets_a_session_of_its_own(spark: SparkSession) -> None:
    other = SparkEngine(spark_config={"spark": {"sql": {"session": {"timeZone": "America/Sao_Paulo"}}}}).spark_session
    assert other is not spark
    assert other.conf.get("spark.sql.session.timeZone") == "America/Sao_Paulo"
    assert other.sql("select unix_timestamp('1970-01-01 00:00:00') s").collect()[0].s == 3 * 3600
    assert spark.conf.get("spark.sql.session.timeZone") == "UTC"


def test_an_address_in_the_spark_configuration_is_refused() -> None:
    with pytest.raises(ValueError, match=r"spark\.remote.*profile \(MEDALLION_ENGINE\)"):
        _ = SparkEngine(spark_config={"spark.remote": "sc://host"}).spark_session


def test_a_wrong_profile_is_refused() -> None:
    with pytest.raises(ValueError, match="MEDALLION_ENGINE is 'duckdb'"):
        _ = SparkEngine(profile="duckdb").spark_session


def test_a_connect_address_uses_that_server(spark: SparkSession, second_server: EmbeddedSail) -> None:
    engine = SparkEngine(profile=second_server.url)
    assert engine.spark_session is not spark
    assert engine.spark_session is engine.spark_session
    assert engine.spark_session.sql("select timestamp_seconds(0) t").collect()[0].t == datetime(1970, 1, 1)


def test_a_connect_server_does_not_get_the_object_store_options(second_server: EmbeddedSail) -> None:
    before = dict(os.environ)
    _ = SparkEngine(profile=second_server.url, storage_options={"AWS_ACCESS_KEY_ID": "k"}).spark_session
    assert dict(os.environ) == before


def test_a_session_that_the_server_dropped_is_replaced(second_server: EmbeddedSail) -> None:
    engine = SparkEngine(profile=second_server.url)
    dropped = engine.spark_session
    dropped.client.release_session()
    assert not is_alive(dropped)
    assert engine.spark_session is not dropped
    assert engine.spark_session.range(2).count() == 2


def test_a_stopped_session_is_replaced(second_server: EmbeddedSail) -> None:
    engine = SparkEngine(profile=second_server.url)
    engine.spark_session.stop()
    assert engine.spark_session.range(2).count() == 2


def test_a_spark_context_is_refused_with_the_reason() -> None:
    with pytest.raises(NotImplementedError, match="has no SparkContext; use spark_session"):
        _ = SparkEngine().spark_context


def test_every_field_has_a_description_that_is_a_sentence() -> None:
    for name, field in SparkEngine.model_fields.items():
        assert (field.description or "").endswith("."), name
