"""Apache Spark's driver: how it is configured, that it ends with the process, and who may use it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
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
def test_the_driver_ends_with_a_process_that_was_killed_and_wants_its_token(tmp_path: Path) -> None:
    require_spark()
    script = (
        "import json, sys, time\n"
        "from medallion.engine.resource import SparkEngine\n"
        "from medallion.engine import spark\n"
        "session = SparkEngine(profile='spark').spark_session\n"
        "print(json.dumps([session.range(3).count(), spark._driver.port]), flush=True)\n"
        "time.sleep(600)\n"
    )
    environment = {**os.environ, **spark_environment(tmp_path), "PYTHONPATH": "platform"}
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment, text=True)
    assert process.stdout is not None
    try:
        rows, port = json.loads(process.stdout.readline())
        assert rows == 3
        (jvm,) = children(process.pid)
        assert "UNAUTHENTICATED" in refusal(port)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    deadline = time.monotonic() + 60
    while Path(f"/proc/{jvm}").exists() and state(jvm) != "Z" and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not Path(f"/proc/{jvm}").exists() or state(jvm) == "Z"


@pytest.mark.spark
@pytest.mark.integration
@pytest.mark.slow
def test_a_driver_that_died_is_replaced_and_a_forked_child_leaves_it_alone(tmp_path: Path) -> None:
    require_spark()
    script = (
        "import os, signal, sys\n"
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
    environment = {**os.environ, **spark_environment(tmp_path), "PYTHONPATH": "platform"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout.split() == ["3", "4", "5"], done.stderr[-3000:]
    assert done.returncode == 0


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
