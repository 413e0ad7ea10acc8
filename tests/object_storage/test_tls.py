"""The lake over TLS: with an authority that is trusted everything works, without it the error says what to set."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.fixtures.certificates import Certificates, make_certificates
from tests.fixtures.object_store import ObjectStore, object_store

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def secure(certificates: Certificates) -> Iterator[ObjectStore]:
    with object_store(certificates) as running:
        yield running


def test_a_run_over_tls_from_landing_to_gold(
    secure: ObjectStore, certificates: Certificates, bucket: Callable[[], str], shop_in: Any
) -> None:
    shop = shop_in(bucket())
    secure.bucket(shop.bucket)
    trusting = {**secure.root, "SSL_CERT_FILE": str(certificates.authority)}
    assert "AWS_ALLOW_HTTP" not in trusting
    assert secure.endpoint.startswith("https://")
    shop.land(trusting)
    done = shop.call(trusting, "run", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["success"]
    shown = shop.call(trusting, "show", "gold/shop/revenue")
    assert shown.returncode == 0, shown.stderr
    assert "2017-02" in shown.stdout


def test_an_authority_that_is_not_trusted_is_told_with_the_setting(
    secure: ObjectStore, bucket: Callable[[], str], shop_in: Any
) -> None:
    shop = shop_in(bucket())
    done = shop.call(secure.root, "show", "gold/shop/revenue")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"{secure.endpoint}/{shop.bucket}" in line
    assert "its certificate is not signed by an authority that this machine trusts" in line
    assert "SSL_CERT_FILE" in line
    (lake,) = [
        finding
        for finding in json.loads(shop.call(secure.root, "doctor", "--json").stdout)["findings"]
        if finding["name"] == "lake"
    ]
    assert lake["verdict"] == "fail"
    assert "this machine trusts" in lake["detail"]
    assert "SSL_CERT_FILE" in lake["next"]


def test_an_address_without_tls_is_refused_unless_it_is_allowed(
    server: ObjectStore, bucket: Callable[[], str], shop_in: Any
) -> None:
    shop = shop_in(bucket())
    server.bucket(shop.bucket)
    careful = {name: value for name, value in server.root.items() if name != "AWS_ALLOW_HTTP"}
    done = shop.call(careful, "land", "shop", str(shop.folder))
    assert done.returncode == 1
    shop.land(server.root)
    done = shop.call(careful, "run")
    assert done.returncode == 1
    assert "the address is not one of https" in done.stderr
    assert "AWS_ALLOW_HTTP=true" in done.stderr
