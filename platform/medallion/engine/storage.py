"""Object store options as each engine takes them: Sail from the environment, Spark as Hadoop configuration."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from medallion.engine.environment import scoped_environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# delta-rs and dagster-deltalake's S3Config take these names too; the environment knows only the long ones.
_ALIASES = {
    "ACCESS_KEY_ID": "AWS_ACCESS_KEY_ID",
    "SECRET_ACCESS_KEY": "AWS_SECRET_ACCESS_KEY",
    "TOKEN": "AWS_SESSION_TOKEN",
    "SESSION_TOKEN": "AWS_SESSION_TOKEN",
    "AWS_TOKEN": "AWS_SESSION_TOKEN",
    "REGION": "AWS_REGION",
    "ENDPOINT": "AWS_ENDPOINT_URL",
    "ENDPOINT_URL": "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT": "AWS_ENDPOINT_URL",
    "ALLOW_HTTP": "AWS_ALLOW_HTTP",
    "VIRTUAL_HOSTED_STYLE_REQUEST": "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
}
_HADOOP = {
    "AWS_ACCESS_KEY_ID": "fs.s3a.access.key",
    "AWS_SECRET_ACCESS_KEY": "fs.s3a.secret.key",
    "AWS_SESSION_TOKEN": "fs.s3a.session.token",
    "AWS_REGION": "fs.s3a.endpoint.region",
    "AWS_ENDPOINT_URL": "fs.s3a.endpoint",
}
_lock = threading.Lock()
_exported: dict[str, str] = {}


def environment_of(storage_options: Mapping[str, str]) -> dict[str, str]:
    """Translate delta-rs storage options into the environment variables that carry them to an embedded engine.

    Args:
        storage_options: Options in any spelling that delta-rs accepts. Those that aren't about S3 are left out: they
            concern commits, which delta-rs makes.

    Raises:
        ValueError: Two spellings of one option have different values.
    """
    variables: dict[str, str] = {}
    for option, value in storage_options.items():
        name = _ALIASES.get(option.upper(), option.upper())
        if not name.startswith("AWS_"):
            continue
        if variables.setdefault(name, value) != value:
            raise ValueError(f"storage_options sets {name} twice, under two spellings and with two values; keep one")
    return variables


def hadoop_options(storage_options: Mapping[str, str]) -> dict[str, str]:
    """Translate delta-rs storage options into Hadoop's S3A options, for Apache Spark.

    Args:
        storage_options: Options in any spelling that delta-rs accepts; empty gives an empty result.

    Raises:
        ValueError: Two spellings of one option have different values.
    """
    variables = environment_of(storage_options)
    options = {_HADOOP[name]: value for name, value in variables.items() if name in _HADOOP}
    if "AWS_ENDPOINT_URL" in variables:
        # Servers other than Amazon's seldom have a host name per bucket.
        hosted = variables.get("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "false").lower() == "true"
        options["fs.s3a.path.style.access"] = "false" if hosted else "true"
        options["fs.s3a.connection.ssl.enabled"] = str(variables["AWS_ENDPOINT_URL"].startswith("https")).lower()
    return options


def export_storage_options(storage_options: Mapping[str, str]) -> dict[str, str]:
    """Put storage options into this process's environment, where they stay; options win over inherited variables.

    Args:
        storage_options: Options in delta-rs's names; empty leaves the environment as it is.

    Returns:
        The variables that the options stand for.

    Raises:
        ValueError: The process already uses another set, which the engine would go on using in part.
    """
    variables = environment_of(storage_options)
    with _lock:
        if variables and _exported and variables != _exported:
            names = sorted(name for name in variables.keys() | _exported if variables.get(name) != _exported.get(name))
            raise ValueError(
                f"this process already uses other object store options (they differ in {', '.join(names)}), and its "
                "engine reads one set per process; give all resources the same storage_options, or use one process "
                "per object store"
            )
        _exported.update(variables)
        os.environ.update(variables)
    return variables


@contextmanager
def storage_environment(storage_options: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Export storage options for a block only, and restore the environment after it; for tests and one-off tools.

    Yields:
        The variables that the options stand for.

    Raises:
        ValueError: As `export_storage_options`.
    """
    held = dict(_exported)
    with scoped_environment(environment_of(storage_options)):
        try:
            yield export_storage_options(storage_options)
        finally:
            with _lock:
                _exported.clear()
                _exported.update(held)
