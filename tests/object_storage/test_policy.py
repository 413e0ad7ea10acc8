"""The least privilege of the documentation suffices for the platform, and for nothing beside it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.fixtures.object_store import ObjectStore

pytestmark = [pytest.mark.integration, pytest.mark.slow]

GOLD = "gold/shop/revenue"


@dataclass(frozen=True)
class Place:
    """A workspace on a bucket with its policy; the options of its users."""

    shop: Any
    policy: dict[str, Any]
    platform: dict[str, str]
    feeder: dict[str, str]
    analyst: dict[str, str]


@pytest.fixture(scope="module")
def place(server: ObjectStore, bucket: Callable[[], str], shop_in: Any, policy: Any) -> Iterator[Place]:
    shop = shop_in(bucket())
    server.bucket(shop.bucket)
    users = [server.user(name) for name in ("medallion", "feeder", "analyst")]
    made = Place(shop, policy(shop.bucket), *users)
    server.allow(shop.bucket, made.policy)
    yield made
    server.delete_bucket(shop.bucket)


def test_a_right_that_is_missing_on_one_layer_stops_that_layer_alone(server: ObjectStore, place: Place) -> None:
    shop = place.shop
    shop.land(place.feeder)
    without_gold = copy.deepcopy(place.policy)
    (writes,) = [found for found in without_gold["Statement"] if found["Sid"] == "PlatformWrites"]
    writes["Resource"] = [resource for resource in writes["Resource"] if "/gold/" not in resource]
    server.allow(shop.bucket, without_gold)

    done = shop.call(place.platform, "run")
    assert done.returncode == 1
    line = next(line for line in done.stderr.splitlines() if GOLD in line)
    assert f"{server.endpoint}/{shop.bucket}/lake/gold/shop/revenue/" in line
    assert "may not do that" in line
    assert "docs/object-storage.md" in line
    made = shop.rows(server.root)
    assert made.keys() >= {"bronze/shop/orders", "silver/shop/orders", "silver/shop/prices"}
    assert GOLD not in made

    server.allow(shop.bucket, place.policy)
    assert shop.call(place.platform, "run").returncode == 0
    again = shop.rows(server.root)
    assert {**again, "silver/shop/prices": made["silver/shop/prices"]} == {**made, GOLD: again[GOLD]}


def test_the_policy_suffices_for_the_doctor_maintenance_and_a_vacuum(place: Place) -> None:
    told = json.loads(place.shop.call(place.platform, "doctor", "--json").stdout)
    verdicts = {found["name"]: found["verdict"] for found in told["findings"]}
    assert [verdicts[name] for name in ("lake", "commits", "landing")] == ["ok", "ok", "warn"]
    done = place.shop.call(place.platform, "maintain")
    assert done.returncode == 0, done.stderr


def test_an_analyst_reads_gold_and_nothing_else(place: Place) -> None:
    shop = place.shop
    done = shop.call(place.analyst, "show", GOLD)
    assert done.returncode == 0, done.stderr
    for command in (("show", "silver/shop/orders"), ("run", "-s", GOLD), ("land", "shop", str(shop.folder / "source"))):
        refused = shop.call(place.analyst, *command)
        assert refused.returncode == 1
        assert "may not do that" in refused.stderr


def test_the_platform_does_not_change_what_landed_and_a_feeder_does_not_see_the_lake(place: Place) -> None:
    shop = place.shop
    refused = shop.call(place.platform, "land", "shop", str(shop.folder / "source"))
    assert (refused.returncode, "may not do that" in refused.stderr) == (1, True)
    refused = shop.call(place.feeder, "show", GOLD)
    assert (refused.returncode, "may not do that" in refused.stderr) == (1, True)
