"""Apache Spark's driver: how it is configured, that it ends with the process, and who may use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from medallion.engine.spark import driver_configuration
from tests.fixtures.apache_spark import require_spark, spark_environment

JARS = [Path("/jars/a.jar"), Path("/jars/b.jar")]


def configuration(master: str = "local[*]", memory: int = 1 << 30, **options: Any) -> dict[str, str]:
    return driver_configuration(master, memory, {}, JARS, **options)


def test_on_one_machine_jars_are_on_the_class_path_and_not_copied() -> None:
    assert configuration()["spark.driver.extraClassPath"] == "/jars/a.jar:/jars/b.jar"
    assert "spark.jars" not in configuration()


def test_a_cluster_gets_the_jars_from_the_driver_unless_it_has_them() -> None:
    assert configuration("spark://host:7077")["spark.jars"] == "/jars/a.jar,/jars/b.jar"
    has_them = configuration("spark://host:7077", everywhere=True)
    assert has_them["spark.executor.extraClassPath"] == "/jars/a.jar:/jars/b.jar"
    assert "spark.jars" not in has_them


def test_only_a_driver_for_this_machine_is_bound_to_loopback() -> None:
    assert configuration()["spark.driver.bindAddress"] == "127.0.0.1"
    assert "spark.driver.bindAddress" not in configuration("spark://host:7077")


def test_the_memory_of_the_engine_is_the_drivers_heap_of_at_least_1_gib() -> None:
    assert configuration(memory=3 << 30)["spark.driver.memory"] == "3072m"
    assert configuration(memory=64 << 20)["spark.driver.memory"] == "1024m"


def test_credentials_reach_the_driver_as_hadoop_options() -> None:
    found = driver_configuration("local[*]", 1 << 30, {"AWS_SECRET_ACCESS_KEY": "hush"}, JARS)
    assert found["spark.hadoop.fs.s3a.secret.key"] == "hush"


@pytest.mark.spark
@pytest.mark.integration
@pytest.mark.slow
def test_a_driver_shows_no_secret_wants_its_token_and_ends_with_a_process_that_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret := 'hush=\\"hush')
    script = (
        "import json, time\n"
        "from medallion.engine.resource import SparkEngine\n"
        "from medallion.engine import spark\n"
        "session = SparkEngine(profile='spark').spark_session\n"
        "told = [session.range(3).count(), spark._driver.port, session.conf.get('spark.hadoop.fs.s3a.secret.key')]\n"
        "print(json.dumps([*told, spark._driver._token]), flush=True)\n"
        "time.sleep(600)\n"
    )
    with killed_at_last(script, tmp_path) as process:
        assert process.stdout is not None
        rows, port, key, token = json.loads(process.stdout.readline())
        assert (rows, key) == (3, secret)
        (jvm,) = children(process.pid)
        command = Path(f"/proc/{jvm}/cmdline").read_text()
        assert token not in command
        assert "hush" not in command
        assert "UNAUTHENTICATED" in refusal(port)
    deadline = time.monotonic() + 60
    while Path(f"/proc/{jvm}").exists() and state(jvm) != "Z" and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not Path(f"/proc/{jvm}").exists() or state(jvm) == "Z"


@pytest.mark.spark
@pytest.mark.integration
@pytest.mark.slow
def test_a_driver_that_died_is_replaced_and_a_forked_child_leaves_it_alone(tmp_path: Path) -> None:
    script = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "from medallion.engine.resource import SparkEngine\n"
        "SparkEngine().spark_session.range(1).count()\n"
        "engine = SparkEngine(profile='spark')\n"
        "print(engine.spark_session.range(3).count())\n"
        "from medallion.engine import spark\n"
        "if (child := os.fork()) == 0:\n"
        "    spark.stop_spark_driver()\n"
        "    os._exit(0 if spark._driver is None else 1)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "print(engine.spark_session.range(4).count())\n"
        "(jvm,) = Path(f'/proc/{os.getpid()}/task/{os.getpid()}/children').read_text().split()\n"
        "os.kill(int(jvm), signal.SIGKILL)\n"
        "print(SparkEngine(profile='spark').spark_session.range(5).count())\n"
    )
    with killed_at_last(script, tmp_path) as process:
        output, _ = process.communicate(timeout=300)
        assert output.split() == ["3", "4", "5"]
        assert process.returncode == 0


@contextmanager
def killed_at_last(script: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that computes on Apache Spark, until it is killed."""
    require_spark()
    environment = {**os.environ, **spark_environment(folder), "PYTHONPATH": "platform"}
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def refusal(port: int) -> str:
    """What a client without the token is told."""
    import grpc
    from pyspark.sql.connect.proto import base_pb2, base_pb2_grpc

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = base_pb2_grpc.SparkConnectServiceStub(channel)  # type: ignore[no-untyped-call]
        request = base_pb2.ConfigRequest(session_id="00112233-4455-6677-8899-aabbccddeeff")
        with pytest.raises(grpc.RpcError) as refused:
            stub.Config(request, timeout=30)
        return str(refused.value)


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
