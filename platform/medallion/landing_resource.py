"""The Dagster resource that gives bronze assets and sensors the landing zone."""

import dagster as dg
from pydantic import Field

from medallion.landing import Landing


class LandingZone(dg.ConfigurableResource[Landing]):
    """Where files land before bronze reads them."""

    root_uri: str = Field(description="Root of the landing zone: a folder, or s3://bucket/prefix.")
    storage_options: dict[str, str] = Field(
        default={}, description="Options of the object store, in delta-rs's names; empty for a folder."
    )

    def create_resource(self, context: dg.InitResourceContext) -> Landing:
        """Open the landing zone."""
        return Landing(self.root_uri, self.storage_options)
