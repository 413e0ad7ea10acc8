"""The Dagster resource that gives bronze assets and sensors the landing zone."""

import dagster as dg
from pydantic import Field

from medallion.landing import Landing


class LandingZone(dg.ConfigurableResource[Landing]):
    """Where files land before bronze reads them."""

    root_uri: str = Field(description="Root of the landing zone: a folder, or s3://bucket/prefix.")
    allow_http: bool = Field(default=False, description="Whether an object store may be reached without TLS.")

    def create_resource(self, context: dg.InitResourceContext) -> Landing:  # noqa: ARG002
        """Open the landing zone; an object store's credentials come from the AWS_* variables."""
        return Landing(self.root_uri, {"AWS_ALLOW_HTTP": "true"} if self.allow_http else {})
