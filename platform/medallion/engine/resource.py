"""The Dagster resource that gives assets a SparkSession, whichever engine computes."""

import atexit
import os
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from dagster_pyspark import LazyPySparkResource
from pydantic import Field

from medallion.engine.jars import PACKAGES
from medallion.engine.profile import SETTING, EngineProfile
from medallion.engine.sail import DEFAULT_MEMORY_BYTES, embedded_sail, stop_embedded_sail
from medallion.engine.spark import NO_DEBUGGING, spark_driver, stop_spark_driver
from medallion.engine.storage import environment_of, export_storage_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import SparkSession

    from medallion.settings import Settings

_Pairs = tuple[tuple[str, str], ...]

# A transform means the same wherever it runs only if these do not come from the server.
_SESSION_CONFIG = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
}
# Spark takes it when it starts only, so that no session of a server that runs may set it.
_EMBEDDED_CONFIG = {NO_DEBUGGING: "false"}
# PySpark's default is 15 retries over ten minutes, in which a run with a dead engine looks like a slow one.
_RETRIES = 3
_FIRST_WAIT_MS, _LONGEST_WAIT_MS = 100, 1000

_lock = threading.RLock()
# By profile, session configuration and object store variables: the server's address, and the session on it.
_sessions: "dict[tuple[EngineProfile, _Pairs, _Pairs], tuple[str, SparkSession]]" = {}


class SparkEngine(LazyPySparkResource):
    """A SparkSession from an engine profile, made on first use and shared by all runs of the process.

    It prevents three failures of a session per run: PySpark binds checkpoints to the first session of a process, so a
    second one can't read its own; a server that is gone is retried for ten minutes; and a server that stops before
    its sessions makes the process hang at exit.
    """

    profile: str = Field(
        default="sail",
        description=(
            "The engine that computes: 'sail' embeds one in this process, 'spark' starts Apache Spark on this machine, "
            "'spark://host:port' starts a driver here for a standalone cluster, and an 'sc://host:port/;key=value' "
            "address uses a Spark Connect server that runs already."
        ),
    )
    memory_bytes: int = Field(
        default=DEFAULT_MEMORY_BYTES,
        description=(
            "Size in bytes of the memory pool that all queries of the embedded engine share; sorts, windows and "
            "aggregates that need more spill to disk. For a Spark driver that this process starts it is the heap, of "
            "at least 1 GiB. A Spark Connect server has its own setting and ignores this one."
        ),
    )
    spilling_joins: bool = Field(
        default=False,
        description=(
            "Whether joins of the embedded engine sort and spill to disk, which takes about twice as long as the hash "
            "joins that fail when the smaller side doesn't fit into memory_bytes."
        ),
    )
    storage_options: dict[str, str] = Field(
        default={},
        description=(
            "Options of the object store in delta-rs's names, such as AWS_ENDPOINT_URL and AWS_ACCESS_KEY_ID; the "
            "embedded engine reads them from the process environment, and a Spark driver gets them when it starts, so "
            "one process can use one set only. A Spark Connect server has its own."
        ),
    )
    packages: list[str] = Field(
        default=list(PACKAGES),
        description=(
            "Maven coordinates of what a Spark driver that this process starts needs beside Spark: Delta Lake and the "
            "object store's file system, in the versions that fit Spark's."
        ),
    )
    jars_folder: str = Field(
        default="",
        description=(
            "Folder that holds the jars of packages, at the same path on every worker of a cluster, and that they are "
            "fetched to when it lacks them. Empty is medallion/jars in the user's cache folder; executors then get "
            "the jars from the driver, 700 MB each."
        ),
    )
    spark_config: dict[str, Any] = Field(
        default={},
        description=(
            "Spark configuration of the session, flat or nested; it overrides Medallion's own entries for the session "
            "time zone (UTC) and ANSI mode (on)."
        ),
    )

    @classmethod
    def from_settings(cls, settings: "Settings", profile: str | None = None) -> "SparkEngine":
        """The engine that the settings name.

        Args:
            settings: of the process.
            profile: given instead of theirs, such as an `EnvVar`, whose value Dagster's page does not show.
        """
        return cls(
            profile=profile or settings.engine,
            memory_bytes=settings.engine_memory,
            packages=settings.spark_packages.split(","),
            jars_folder=str(settings.spark_jars or ""),
        )

    @property
    def embedded(self) -> bool:
        """True if the engine runs inside this process.

        Raises:
            ValueError: The profile is no engine.
        """
        return EngineProfile.parse(self.profile).embedded

    @property
    def spark_session(self) -> "SparkSession":
        """The live session of this process for this configuration.

        Raises:
            ValueError: A field is wrong; the message says which and what is allowed.
            pyspark.errors.PySparkException: The server of an `sc://` profile doesn't answer.
        """
        self._init_session()
        return cast("SparkSession", self._spark_session)

    @property
    def spark_context(self) -> Any:
        """Not available: Spark Connect sessions have no SparkContext.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("a Spark Connect session has no SparkContext; use spark_session and DataFrames")

    def _init_session(self) -> None:
        profile = EngineProfile.parse(self.profile)
        config = {
            **_SESSION_CONFIG,
            **(_EMBEDDED_CONFIG if profile.embedded else {}),
            **_flat(self.spark_config),
        }
        if "spark.remote" in config:
            raise ValueError(f"spark_config sets spark.remote; put the address into profile ({SETTING}) instead")
        with _lock:
            variables: dict[str, str] = {}
            if profile.embedded:
                variables = export_storage_options(self.storage_options)
            url = self._address(profile)
            # A Sail session keeps the credentials with which it first opened a store, so they are part of the key.
            key = (profile, _pairs(config), _pairs(variables))
            held = _sessions.get(key)
            if held is not None and (held[0] != url or not is_alive(held[1])):
                _forget(held[1])
                held = None
                # A server that is just dying still accepted connections when its address was asked for.
                url = self._address(profile)
            if held is None:
                held = _sessions[key] = (url, _connect(url, config))
            self._spark_session = held[1]

    def _address(self, profile: EngineProfile) -> str:
        """Address of the server that runs already, or of this process's own one, started on first use."""
        if profile.url is not None:
            return profile.url
        if profile.master is None:
            return embedded_sail(self.memory_bytes, spilling_joins=self.spilling_joins).url
        folder = Path(self.jars_folder) if self.jars_folder else None
        # As with Sail, options win over the variables of the process.
        inherited = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        options = {**inherited, **environment_of(self.storage_options)}
        return spark_driver(profile.master, self.memory_bytes, options, self.packages, folder).url


def is_alive(session: "SparkSession") -> bool:
    """Tell whether a session can still be used; it asks the server, which takes under 1 ms on this machine."""
    from pyspark.errors import PySparkException

    if session.is_stopped:  # type: ignore[attr-defined]
        return False
    try:
        session.conf.get("spark.sql.session.timeZone")
    except PySparkException:
        # Whatever the reason, a fresh session either works or raises an error that says it better.
        return False
    return True


def stop_sessions() -> None:
    """Stop every session of this process and then its engines; the next use makes new ones."""
    with _lock:
        while _sessions:
            _, (_, session) = _sessions.popitem()
            session.stop()
        stop_embedded_sail()
        stop_spark_driver()


def _forget(session: "SparkSession") -> None:
    # Its server is gone, so releasing it would wait for retries; stopped it must be, or it stays PySpark's default.
    session.release_session_on_close = False  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*RETRIES_EXCEEDED", category=UserWarning)
        session.stop()


def _connect(url: str, config: "Mapping[str, str]") -> "SparkSession":
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"pyspark\..*")
        from pyspark.sql import SparkSession
        from pyspark.sql.connect.client.retries import DefaultPolicy
    # create() and not getOrCreate(): the latter returns the active session even if that belongs to another server.
    session = SparkSession.builder.remote(url).create()
    retries = DefaultPolicy(max_retries=_RETRIES, initial_backoff=_FIRST_WAIT_MS, max_backoff=_LONGEST_WAIT_MS)
    session.client.set_retry_policies([retries])
    for name, value in config.items():
        session.conf.set(name, value)
    return session


def _pairs(entries: "Mapping[str, str]") -> _Pairs:
    return tuple(sorted(entries.items()))


def _flat(config: "Mapping[str, Any]") -> dict[str, str]:
    from dagster_spark.utils import flatten_dict

    return {name: str(value) for name, value in flatten_dict(dict(config))}  # type: ignore[no-untyped-call]


def _forget_after_fork() -> None:
    global _lock
    _lock = threading.RLock()
    _sessions.clear()


os.register_at_fork(after_in_child=_forget_after_fork)
atexit.register(stop_sessions)
