"""The jars that Apache Spark needs beside its own, resolved once from Maven coordinates into a folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PACKAGES = ("io.delta:delta-spark_4.2_2.13:4.4.0", "org.apache.hadoop:hadoop-aws:3.5.0")
"""Delta Lake for Spark 4.2, and S3 for the Hadoop that PySpark 4.2.0 has; both bring what they need."""

# What PySpark has itself, in the versions that it was built with.
_EXCLUDED = (
    "org.apache.hadoop:hadoop-client-*",
    "org.apache.parquet:*",
    "org.apache.logging.log4j:*",
    "org.slf4j:*",
    "com.fasterxml.jackson.*:*",
    "com.github.luben:*",
    "org.xerial.snappy:*",
    "org.roaringbitmap:*",
    "org.locationtech.jts:*",
    "io.airlift:*",
    "commons-*:*",
    "com.google.code.findbugs:*",
    "javax.annotation:*",
)
_MARKER = "packages"
_OLDEST_JAVA = 17


class SparkSetupError(RuntimeError):
    """Apache Spark can't start on this machine as it is; the message says what it lacks."""


def default_folder() -> Path:
    """Where jars are kept unless a setting says otherwise: 700 MB that every checkout of a user shares."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "medallion" / "jars"


def require_java() -> None:
    """Make sure that Java 17 or newer can be started.

    Raises:
        SparkSetupError: There is none.
    """
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if java is None or not Path(java).exists():
        where = f"JAVA_HOME is {home}, where there is no bin/java" if home else "there is no java on the PATH"
        raise SparkSetupError(
            f"Apache Spark needs Java {_OLDEST_JAVA} or newer, and {where}. Install it (Debian: apt-get install "
            f"openjdk-{_OLDEST_JAVA}-jre-headless), or set MEDALLION_ENGINE=sail, which needs none"
        )
    text = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = text.partition('version "')[2].partition(".")[0].partition('"')[0]
    if version.isdigit() and int(version) < _OLDEST_JAVA:
        raise SparkSetupError(
            f"Apache Spark needs Java {_OLDEST_JAVA} or newer, and {java} is {version}; set JAVA_HOME to a newer one"
        )


def fetched(folder: Path, packages: Sequence[str]) -> list[Path]:
    """The jars of coordinates that have been resolved into a folder; empty if they have not, or others have."""
    try:
        named, *files = (folder / _MARKER).read_text().splitlines()
    except FileNotFoundError:
        return []
    jars = [folder / "jars" / name for name in files]
    return jars if named == ",".join(packages) and all(jar.exists() for jar in jars) else []


def fetch(folder: Path, packages: Sequence[str]) -> list[Path]:
    """Resolve coordinates and all that they depend on from Maven repositories; does nothing if the folder has them.

    Spark's own resolver does it, so the repositories and proxies that are set for Spark and Java count.

    Args:
        folder: where the jars go; it may be copied to a machine without access to a repository.
        packages: Maven coordinates, `group:artifact:version`.

    Raises:
        SparkSetupError: Java is missing, or something could not be resolved; the folder is as it was.
    """
    jars = fetched(folder, packages)
    if jars:
        return jars
    require_java()
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        return fetched(folder, packages) or _resolve(folder, packages)


def _resolve(folder: Path, packages: Sequence[str]) -> list[Path]:
    target, before = folder / "jars", folder / "jars.before"
    for killed in folder.glob("ivy-*"):
        shutil.rmtree(killed, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="ivy-", dir=folder) as downloads:
        found = _download(Path(downloads), folder, packages)
        # Without the marker the folder has nothing, so that at no moment old names stand for new files. A driver that
        # runs may have the old files open, which a network folder keeps under other names: they are only moved away.
        (folder / _MARKER).unlink(missing_ok=True)
        shutil.rmtree(before, ignore_errors=True)
        if target.exists():
            target.rename(before)
        found[0].parent.rename(target)
    names = [jar.name for jar in found]
    unfinished = folder / f"{_MARKER}.new"
    unfinished.write_text("\n".join([",".join(packages), *names]))
    unfinished.replace(folder / _MARKER)
    shutil.rmtree(before, ignore_errors=True)
    return [target / name for name in names]


def _download(downloads: Path, folder: Path, packages: Sequence[str]) -> list[Path]:
    import pyspark

    home = Path(pyspark.__file__).parent
    command = [str(home / "bin" / "spark-submit"), "--conf", f"spark.jars.packages={','.join(packages)}"]
    command += ["--conf", f"spark.jars.excludes={','.join(_EXCLUDED)}", "--conf", f"spark.jars.ivy={downloads}"]
    # It resolves the packages of an application before it starts it; this one prints a version and ends.
    command += ["--class", "org.apache.spark.deploy.SparkSubmit", "spark-internal", "--version"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "SPARK_HOME": str(home)}
    )
    jars = sorted((downloads / "jars").glob("*.jar"))
    if done.returncode or not jars:
        told = [line.strip() for line in (done.stdout + done.stderr).splitlines()]
        failed = [line for line in told if "not found" in line.lower() or "failed" in line or "Exception" in line]
        causes = dict.fromkeys(failed[-4:] or told[-1:])
        raise SparkSetupError(
            f"the jars of {', '.join(packages)} could not be resolved: {'; '.join(causes)}. "
            "Is a Maven repository reachable (or set spark.jars.repositories in $SPARK_CONF_DIR/spark-defaults.conf)? "
            f"On a machine without access, copy {folder} from one where `medallion jars fetch` has run"
        )
    return jars


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process resolves, others wait and find what it has fetched."""
    import fcntl

    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
