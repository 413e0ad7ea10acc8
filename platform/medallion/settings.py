"""The one place that reads the environment: MEDALLION_* settings and the standard AWS_* ones."""

import os
from pathlib import Path
from typing import Literal, Self
from urllib.parse import quote

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from medallion.engine.jars import PACKAGES

_AWS_OPTIONS = {
    "AWS_ENDPOINT_URL": "aws_endpoint_url",
    "AWS_REGION": "aws_region",
    "AWS_ACCESS_KEY_ID": "aws_access_key_id",
    "AWS_SECRET_ACCESS_KEY": "aws_secret_access_key",
    "AWS_SESSION_TOKEN": "aws_session_token",
    "AWS_ALLOW_HTTP": "aws_allow_http",
}


class Settings(BaseSettings):
    """What a deployment may change without touching code; every field is an environment variable."""

    model_config = SettingsConfigDict(env_prefix="MEDALLION_", extra="ignore", populate_by_name=True)

    home: Path = Field(default=Path(".medallion"), description="Folder of everything local: lake, landing zone, runs.")
    lake: str = Field(default="", description="Root of the Delta tables: a folder or s3://bucket/prefix.")
    landing: str = Field(default="", description="Root of the landing zone: a folder or s3://bucket/prefix.")
    archive: str = Field(
        default="", description="Root of old bronze partitions: a folder or s3://bucket/prefix. Empty archives nothing."
    )
    engine: str = Field(
        default="sail",
        description="Engine profile: `sail` (embedded), `spark` (on this machine), spark://host:port, or sc://host:port.",
    )
    spark_packages: str = Field(
        default=",".join(PACKAGES),
        description="Maven coordinates, comma separated, of what Apache Spark needs beside its own jars.",
    )
    spark_jars: Path | None = Field(
        default=None,
        description="Folder of those jars here and on every worker; unset: the user's cache, sent to every worker.",
    )
    engine_memory: int = Field(
        default=1 << 30, ge=64 << 20, description="Bytes the engine of this process may hold before it spills to disk."
    )
    instance_url: str = Field(
        default="",
        description="postgresql://user@host:5432/database of Dagster's runs, events and schedules. Empty keeps them in "
        "SQLite files below the home, which is for one machine.",
    )
    instance_password: SecretStr | None = Field(
        default=None, description="Password of the user of instance_url, as it is: nothing in it needs to be encoded."
    )
    executor: Literal["in_process", "multiprocess"] = Field(
        default="in_process",
        description="How the steps of a run are executed: one after the other in the run's own process, or several at "
        "a time, each in a process of its own; the latter needs a Spark Connect server that all of them share.",
    )
    executor_steps: int = Field(
        default=4, ge=1, description="Steps of one run that the multiprocess executor executes at a time."
    )
    retry_delay: float = Field(
        default=5.0,
        ge=0,
        description="Seconds until a step is tried again that failed for a reason that passes, such as a server that "
        "is restarted; the second and third retry wait three and seven times as long.",
    )
    definitions: str = Field(default="definitions", description="Module that holds the Dagster definitions.")
    workspace: Path = Field(default=Path("workspace.yaml"), description="Workspace file that the web server loads.")
    domains: str = Field(default="assets", description="Package whose sub-packages are the domains.")
    port: int = Field(default=3000, ge=1, le=65535, description="Port of the web server on 127.0.0.1.")
    log: Literal["human", "json"] = Field(default="human", description="Log format: human or JSON lines.")
    alert_webhook: SecretStr | None = Field(
        default=None, description="Webhook (Slack message format) that run failures are posted to."
    )

    fault: str = Field(
        default="", description="For crash tests: STEP@TABLE at which the process kills itself; see medallion.faults."
    )

    storage_retry_seconds: int = Field(
        default=15,
        ge=1,
        description="Seconds for which a request is repeated that an object store does not answer or answers with "
        "'slow down' (503).",
    )
    aws_endpoint_url: str | None = Field(default=None, validation_alias="AWS_ENDPOINT_URL")
    aws_region: str | None = Field(default=None, validation_alias="AWS_REGION")
    aws_access_key_id: SecretStr | None = Field(default=None, validation_alias="AWS_ACCESS_KEY_ID")
    aws_secret_access_key: SecretStr | None = Field(default=None, validation_alias="AWS_SECRET_ACCESS_KEY")
    aws_session_token: SecretStr | None = Field(default=None, validation_alias="AWS_SESSION_TOKEN")
    aws_allow_http: str | None = Field(default=None, validation_alias="AWS_ALLOW_HTTP")

    @model_validator(mode="after")
    def _lake_is_a_plain_path(self) -> Self:
        # The embedded engine would write to another folder, whose name is percent-encoded.
        if "://" not in self.lake_uri and quote(self.lake_uri, safe="/~") != self.lake_uri:
            raise ValueError(
                f"the lake can't be in {self.lake_uri}: the engine takes only folders whose whole path is made of "
                "ASCII letters, digits and - . _ ~; set MEDALLION_HOME or MEDALLION_LAKE to such a one"
            )
        return self

    @model_validator(mode="after")
    def _steps_share_an_engine(self) -> Self:
        if self.executor == "multiprocess" and not self.engine.strip().startswith("sc://"):
            raise ValueError(
                "MEDALLION_EXECUTOR=multiprocess executes every step in a process of its own, and with "
                f"MEDALLION_ENGINE={self.engine} each of them would start an engine; set MEDALLION_ENGINE to the Spark "
                "Connect server that they are to share (sc://host:15002), or MEDALLION_EXECUTOR to in_process"
            )
        return self

    @property
    def lake_uri(self) -> str:
        """Root of the Delta tables, absolute when it is a folder."""
        return _absolute(self.lake or str(self.home / "lake"))

    @property
    def landing_uri(self) -> str:
        """Root of the landing zone, absolute when it is a folder."""
        return _absolute(self.landing or str(self.home / "landing"))

    def database_url(self, domain: str) -> SecretStr | None:
        """Where the database of a domain is: `<DOMAIN>_URL`, such as PAGILA_URL; None if it is not said."""
        url = os.environ.get(f"{domain.upper()}_URL")
        return SecretStr(url) if url else None

    def captures(self, domain: str) -> bool:
        """Whether bronze follows a domain's database by its write-ahead log: `<DOMAIN>_CAPTURE`, true or false.

        Raises:
            ValueError: it is neither.
        """
        name = f"{domain.upper()}_CAPTURE"
        value = os.environ.get(name, "false").lower()
        if value not in ("true", "false"):
            raise ValueError(f"{name} is {value!r}; set it to true or false")
        return value == "true"

    @property
    def archive_uri(self) -> str | None:
        """Root of the archive, absolute when it is a folder; None if nothing is archived."""
        return _absolute(self.archive) if self.archive else None

    @property
    def storage_options(self) -> dict[str, str]:
        """Object store options in delta-rs's names; empty when everything is local."""
        if not any(uri.startswith("s3") for uri in (self.lake_uri, self.landing_uri, self.archive)):
            return {}
        options = {}
        for name, field in _AWS_OPTIONS.items():
            value = getattr(self, field)
            if value is not None:
                options[name] = value.get_secret_value() if isinstance(value, SecretStr) else value
        return options


def _absolute(uri: str) -> str:
    return uri.rstrip("/") if "://" in uri else str(Path(uri).expanduser().resolve())
