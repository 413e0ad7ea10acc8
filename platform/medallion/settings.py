"""The one place that reads the environment: MEDALLION_* settings and the standard AWS_* ones."""

import os
from pathlib import Path
from typing import Literal, Self
from urllib.parse import quote

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

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
    engine: str = Field(default="sail", description="Engine profile: `sail` (embedded) or a Spark Connect URL, sc://…")
    engine_memory: int = Field(
        default=1 << 30, ge=64 << 20, description="Bytes the embedded engine may hold before it spills to disk."
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
