"""Which lake, landing zone and engine each environment gets: all of it from the settings."""

from typing import Any

from dagster_deltalake.config import ClientConfig, LocalConfig, S3Config

from medallion.delta.io_manager import LakeIOManager
from medallion.engine.resource import SparkEngine
from medallion.landing_resource import LandingZone
from medallion.settings import Settings


def build_resources(settings: Settings) -> dict[str, Any]:
    """The resources of the asset graph.

    Args:
        settings: where the lake and the landing zone are and which engine computes.
    """
    options = settings.storage_options
    engine = SparkEngine(profile=settings.engine, memory_bytes=settings.engine_memory, storage_options=options)
    if settings.lake_uri.startswith("s3"):
        storage: LocalConfig | S3Config = S3Config(
            access_key_id=options.get("AWS_ACCESS_KEY_ID"),
            secret_access_key=options.get("AWS_SECRET_ACCESS_KEY"),
            token=options.get("AWS_SESSION_TOKEN"),
            region=options.get("AWS_REGION"),
            endpoint=options.get("AWS_ENDPOINT_URL"),
        )
    else:
        storage = LocalConfig()
    allow_http = options.get("AWS_ALLOW_HTTP", "").lower() == "true"
    return {
        "engine": engine,
        "io_manager": LakeIOManager(
            root_uri=settings.lake_uri,
            storage_options=storage,
            client_options=ClientConfig(allow_http=True) if allow_http else None,
            engine=engine,
        ),
        "landing": LandingZone(root_uri=settings.landing_uri, storage_options=options),
    }
