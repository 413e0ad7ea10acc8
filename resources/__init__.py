"""Which lake, landing zone and engine each environment gets: all of it from the settings."""

from typing import Any

import dagster as dg
from dagster_deltalake.config import ClientConfig, LocalConfig, S3Config

from medallion.delta.io_manager import LakeIOManager
from medallion.engine.profile import SETTING
from medallion.engine.resource import SparkEngine
from medallion.landing_resource import LandingZone
from medallion.postgres.resource import Databases
from medallion.settings import Settings

_S3_FIELDS = {
    "AWS_ACCESS_KEY_ID": "access_key_id",
    "AWS_SECRET_ACCESS_KEY": "secret_access_key",
    "AWS_SESSION_TOKEN": "token",
    "AWS_REGION": "region",
    "AWS_ENDPOINT_URL": "endpoint",
}


def build_resources(settings: Settings) -> dict[str, Any]:
    """The resources of the asset graph.

    Args:
        settings: where the lake and the landing zone are and which engine computes.
    """
    # The address of a Connect server may carry a token.
    engine = SparkEngine.from_settings(settings, dg.EnvVar(SETTING) if settings.engine.startswith("sc://") else None)
    options = settings.storage_options
    # As EnvVar a credential is read when a run starts, and the UI shows the variable's name, never its value. The
    # engine and the landing zone read the same variables themselves.
    credentials = {field: dg.EnvVar(name) for name, field in _S3_FIELDS.items() if name in options}
    remote = settings.lake_uri.startswith("s3")
    allow_http = options.get("AWS_ALLOW_HTTP", "").lower() == "true"
    return {
        "engine": engine,
        "io_manager": LakeIOManager(
            root_uri=settings.lake_uri,
            storage_options=S3Config(**credentials) if remote else LocalConfig(),
            client_options=ClientConfig(allow_http=True) if allow_http else None,
            engine=engine,
        ),
        "databases": Databases(home=str(settings.home.expanduser().resolve())),
        "landing": LandingZone(root_uri=settings.landing_uri, allow_http=allow_http),
    }
