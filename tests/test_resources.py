"""What the environment gives the asset graph."""

from __future__ import annotations

import dagster as dg
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap

from medallion.settings import Settings
from resources import build_resources


def test_the_token_of_a_connect_server_is_not_told_to_dagsters_page(monkeypatch: pytest.MonkeyPatch) -> None:
    address = "sc://localhost:1/;token=hush"
    monkeypatch.setenv("MEDALLION_ENGINE", address)
    resources = build_resources(Settings())
    seen = []

    @dg.asset
    def table(engine: dg.ResourceParam[object]) -> None:
        seen.append(engine.profile)  # type: ignore[attr-defined]

    repository = dg.Definitions([table], resources=resources).get_repository_def()
    assert "hush" not in str(RepositorySnap.from_def(repository))
    dg.materialize([table], resources={"engine": resources["engine"]})
    assert seen == [address]
