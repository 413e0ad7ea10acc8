"""Apache Spark for this process: a driver JVM with a Spark Connect endpoint, on this machine or on a cluster."""

from __future__ import annotations

import os
import secrets
import threading
from typing import TYPE_CHECKING, Any

from medallion.engine.environment import scoped_environment
from medallion.engine.jars import default_folder, fetch, require_java
from medallion.engine.storage import hadoop_options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

NO_DEBUGGING = "spark.python.sql.dataFrameDebugging.enabled"
"""Looks up the caller's line for every column expression, which nobody of ours reads."""
_LEAST_DRIVER_BYTES = 1 << 30
_CLASS_PATHS = ("spark.driver.extraClassPath", "spark.executor.extraClassPath")


def driver_configuration(
    master: str,
    memory_bytes: int,
    storage_options: Mapping[str, str],
    jars: Sequence[Path],
    *,
    everywhere: bool = False,
) -> dict[str, str]:
    """Spark's configuration, as a driver is started with it.

    Args:
        master: `local[*]` or `spark://host:port`.
        memory_bytes: heap of the driver, which on one machine computes too; at least 1 GiB is taken.
        storage_options: options of the object store in delta-rs's names.
        jars: files that driver and executors load.
        everywhere: the jars are at the same path on every worker, so that executors need not fetch them from here.
    """
    local = master.startswith("local")
    files = [str(jar) for jar in jars]
    # Every executor copies all of spark.jars for every session, and the object store's client alone is 700 MB.
    shipped = {"spark.jars": ",".join(files)} if not (local or everywhere) else {}
    found = {} if shipped else dict.fromkeys(_CLASS_PATHS, ":".join(files))
    return {
        "spark.master": master,
        "spark.app.name": "medallion",
        "spark.driver.memory": f"{max(memory_bytes, _LEAST_DRIVER_BYTES) >> 20}m",
        **shipped,
        **found,
        "spark.plugins": "org.apache.spark.sql.connect.SparkConnectPlugin",
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        # One file per table partition and task would be hundreds; this shuffles rows of one partition together.
        "spark.databricks.delta.optimizeWrite.enabled": "true",
        # Stages are private to one write, so Delta's guard of several writers is not needed for them.
        "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
        # Hadoop repeats a request that is refused for minutes; what passes by itself is retried with the step.
        "spark.hadoop.fs.s3a.attempts.maximum": "3",
        "spark.hadoop.fs.s3a.retry.limit": "3",
        "spark.hadoop.fs.s3a.connection.establish.timeout": "5s",
        "spark.sql.session.timeZone": "UTC",
        NO_DEBUGGING: "false",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
        **({"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"} if local else {}),
        # The defaults are made for clusters: 200 and 50 tasks of nothing take longer than a small table.
        **({"spark.sql.shuffle.partitions": "8", "spark.databricks.delta.snapshotPartitions": "2"} if local else {}),
        **{f"spark.hadoop.{name}": value for name, value in hadoop_options(storage_options).items()},
    }


class SparkDriver:
    """The one driver of a process, whose JVM ends with the process however that ends.

    It prevents orphaned drivers: PySpark's gateway ends the JVM when its pipe to this process closes, which a SIGKILL
    does too. The endpoint is on 127.0.0.1 and wants a token that only this process knows.
    """

    def __init__(self, configuration: Mapping[str, str], *, address: str = "127.0.0.1", port: int = 0) -> None:
        """Start the JVM, which takes some ten seconds.

        Args:
            configuration: as `driver_configuration` gives it; `spark.connect.authenticate.token` is made if it lacks.
            address: that the endpoint listens on.
            port: of the endpoint; 0 takes a free one.

        Raises:
            SparkSetupError: Java is missing or too old.
        """
        from pyspark import SparkConf, SparkContext

        require_java()
        self.configuration = dict(configuration)
        entries = {"spark.connect.authenticate.token": secrets.token_urlsafe(24), **configuration}
        entries |= {"spark.connect.grpc.binding.address": address, "spark.connect.grpc.binding.port": str(port)}
        self._token = entries["spark.connect.authenticate.token"]
        # Without it PySpark refuses a driver to a process that has ever had a Connect session, as after one that died.
        with scoped_environment({"SPARK_LOCAL_REMOTE": "1"}):
            # Entries of $SPARK_CONF_DIR/spark-defaults.conf count where these say nothing.
            self._context = SparkContext(conf=SparkConf().setAll(list(entries.items())))
        jvm: Any = self._context._jvm
        service = getattr(jvm, "org.apache.spark.sql.connect.service.SparkConnectService$")
        self.port = int(getattr(service, "MODULE$").localPort())

    @property
    def running(self) -> bool:
        """True until the driver is stopped or its JVM has died."""
        from py4j.protocol import Py4JError

        context: Any = self._context._jsc
        if context is None:
            return False
        try:
            return not context.sc().isStopped()
        except (Py4JError, OSError):
            return False

    @property
    def url(self) -> str:
        """Address of the endpoint, with its token; PySpark sends tokens without TLS to `localhost` only."""
        return f"sc://localhost:{self.port}/;token={self._token}"

    def stop(self) -> None:
        """Stop the driver; a second call does nothing."""
        if self.running:
            # Of the queries whose clients are gone it would report each as an error.
            self._context.setLogLevel("OFF")
            self._context.stop()
            return
        context: Any = self._context
        context._jsc = None  # there is nobody to be told
        context.stop()
        _forget_gateway()


_lock = threading.RLock()
_driver: SparkDriver | None = None


def spark_driver(
    master: str,
    memory_bytes: int,
    storage_options: Mapping[str, str],
    packages: Sequence[str],
    jars_folder: Path | None = None,
) -> SparkDriver:
    """Return the one driver of this process, started on the first call.

    Args:
        master: as for `driver_configuration`, and so the next two.
        memory_bytes: heap of the driver.
        storage_options: options of the object store.
        packages: Maven coordinates.
        jars_folder: where their jars are, or are fetched to, here and on every worker; None is a folder of this user
            from which executors get them.

    Raises:
        SparkSetupError: Java or the jars are missing.
        ValueError: The process has a driver that is set otherwise, and Spark allows one per process.
    """
    global _driver
    with _lock:
        jars = fetch(jars_folder or default_folder(), packages)
        wanted = driver_configuration(master, memory_bytes, storage_options, jars, everywhere=jars_folder is not None)
        if _driver is None or not _driver.running:
            if _driver is not None:
                _driver.stop()
            _driver = SparkDriver(wanted)
        held = _driver.configuration
        changed = sorted(name for name in wanted.keys() | held.keys() if wanted.get(name) != held.get(name))
        if changed:
            raise ValueError(
                f"this process has a Spark driver whose {', '.join(changed)} differ from what is asked for now; give "
                "all SparkEngine resources of a process the same configuration, or use processes of their own"
            )
        return _driver


def stop_spark_driver() -> None:
    """Stop the driver of this process, if there is one."""
    global _driver
    with _lock:
        if _driver is not None:
            _driver.stop()
            _driver = None


def _forget_gateway() -> None:
    """Let the next driver start a JVM: PySpark would talk to the one that it knows, which is gone or another's."""
    from pyspark import SparkContext

    SparkContext._gateway = SparkContext._jvm = SparkContext._active_spark_context = None


def _forget_after_fork() -> None:
    global _driver, _lock
    _lock = threading.RLock()
    if _driver is not None:
        # It is the parent's; ended by a child it would take the parent's queries with it.
        _driver = None
        _forget_gateway()


os.register_at_fork(after_in_child=_forget_after_fork)
