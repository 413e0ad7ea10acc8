"""Apache Spark for this process: how its one driver is configured, on this machine or on a cluster."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from medallion.engine.driver import SparkDriver
from medallion.engine.jars import default_folder, fetch
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
        # Hadoop's client is called s3a; addresses are s3:// for every engine.
        "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
        # Hadoop repeats a request that is refused for minutes; what passes by itself is retried with the step.
        "spark.hadoop.fs.s3a.attempts.maximum": "3",
        "spark.hadoop.fs.s3a.retry.limit": "3",
        "spark.hadoop.fs.s3a.connection.establish.timeout": "5s",
        "spark.sql.session.timeZone": "UTC",
        NO_DEBUGGING: "false",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        **({"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"} if local else {}),
        # The defaults are made for clusters: 200 and 50 tasks of nothing take longer than a small table.
        **({"spark.sql.shuffle.partitions": "8", "spark.databricks.delta.snapshotPartitions": "2"} if local else {}),
        **{f"spark.hadoop.{name}": value for name, value in hadoop_options(storage_options).items()},
    }


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


def _forget_after_fork() -> None:
    global _driver, _lock
    _lock = threading.RLock()
    if _driver is not None:
        # It is the parent's; ended by a child it would take the parent's queries with it.
        _driver = None


os.register_at_fork(after_in_child=_forget_after_fork)
