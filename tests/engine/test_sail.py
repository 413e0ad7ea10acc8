"""The embedded Sail server."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from medallion.engine.sail import DEFAULT_MEMORY_BYTES, EmbeddedSail, embedded_sail, server_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import SparkSession


@pytest.fixture
def small() -> Iterator[SparkSession]:
    """A session on a server of its own whose pool is 128 MiB."""
    from pyspark.sql import SparkSession

    server = EmbeddedSail(128 << 20)
    session = SparkSession.builder.remote(server.url).create()
    yield session
    session.stop()
    server.stop()


def test_the_process_has_one_server(spark: SparkSession) -> None:
    assert embedded_sail() is embedded_sail()
    assert spark.client.host in embedded_sail().url


def test_another_memory_size_in_the_same_process_is_refused(spark: SparkSession) -> None:
    with pytest.raises(ValueError, match=f"MAX_SIZE={DEFAULT_MEMORY_BYTES}.*same memory_bytes"):
        embedded_sail(2 * DEFAULT_MEMORY_BYTES)


def test_a_pool_too_small_for_a_query_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 67108864"):
        server_environment(1000)


def test_the_settings_of_the_server_do_not_stay_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAIL_RUNTIME__MEMORY_POOL__TYPE", "unbounded")
    before = {name: value for name, value in os.environ.items() if name.startswith("SAIL_")}
    EmbeddedSail().stop()
    assert {name: value for name, value in os.environ.items() if name.startswith("SAIL_")} == before


def test_the_server_listens_on_the_loopback_address_only() -> None:
    server = EmbeddedSail()
    assert server.url.startswith("sc://127.0.0.1:")
    server.stop()


def test_a_stopped_server_has_no_address_and_may_be_stopped_again() -> None:
    server = EmbeddedSail()
    server.stop()
    server.stop()
    assert not server.running
    with pytest.raises(RuntimeError, match="was stopped"):
        _ = server.url


def test_a_sort_larger_than_the_pool_spills(small: SparkSession) -> None:
    # 3 million rows of 80 bytes are 240 MB, twice the pool.
    ranked = small.sql("""
        select max(r) from (select row_number() over (order by k) r, k
                            from (select sha2(cast(id as string), 256) k from range(3000000)))
    """)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert ranked.collect()[0][0] == 3_000_000
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    assert grown < 1 << 30


def test_a_query_on_a_server_that_is_gone_fails_after_three_retries() -> None:
    from pyspark.errors import PySparkException

    from medallion.engine import resource as engine_resource

    server = EmbeddedSail()
    session = engine_resource._connect(server.url, {})
    server.stop()
    start = time.monotonic()
    with pytest.warns(UserWarning, match="RETRIES_EXCEEDED"), pytest.raises(PySparkException, match="UNAVAILABLE"):
        session.range(1).count()
    # PySpark's own policy takes ten minutes; this is the difference between the two, not a speed.
    assert time.monotonic() - start < 60
    engine_resource._forget(session)


def test_a_forked_child_does_not_take_the_server_of_its_parent_for_its_own(spark: SparkSession) -> None:
    from medallion.engine import resource as engine_resource
    from medallion.engine import sail

    held = sail._embedded, dict(engine_resource._sessions)
    try:
        sail._forget_after_fork()
        engine_resource._forget_after_fork()
        assert sail._embedded is None
        assert engine_resource._sessions == {}
    finally:
        sail._embedded = held[0]
        engine_resource._sessions.update(held[1])


EXIT = """
from medallion.engine.resource import SparkEngine
frame = SparkEngine().spark_session.range(3)
assert frame.count() == 3
{rest}
"""


@pytest.mark.parametrize(
    "rest",
    ["", "from medallion.engine.resource import stop_sessions; stop_sessions(); stop_sessions()"],
    ids=["by itself", "after an explicit stop"],
)
def test_a_process_ends_cleanly_and_quietly(rest: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("RUST_LOG", None)
    code = EXIT.format(rest=rest)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
