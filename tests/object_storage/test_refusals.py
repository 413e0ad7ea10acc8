"""A request that the server refuses ends in an error that names it, the cause and the setting; nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import obstore
import pytest

from medallion.delta.store import DeltaStore
from medallion.engine.resource import SparkEngine
from medallion.engine.storage import storage_environment
from medallion.storage_errors import ExplainedStorage, StorageError, StorageUnavailableError
from tests.fixtures.object_store import ObjectStore, object_store

pytestmark = [pytest.mark.integration, pytest.mark.slow]

WRONG = "0123456789abcdef"
TABLE = ("silver", "shop", "orders")


def refusals(store: DeltaStore) -> list[StorageError]:
    """How a request by obstore and one by delta-rs are refused."""
    asks: list[Callable[[], Any]] = [lambda: obstore.put(store.objects, "x", b""), lambda: store.find(TABLE)]
    return [refusal(ask) for ask in asks]


def refusal(ask: Callable[[], Any]) -> StorageError:
    with pytest.raises(StorageError) as refused, ExplainedStorage():
        ask()
    assert WRONG not in str(refused.value)
    assert "<" not in str(refused.value)
    return refused.value


@pytest.mark.parametrize(
    ("wrong", "cause", "setting"),
    [
        ({"AWS_SECRET_ACCESS_KEY": WRONG}, "the secret key is not that of the access key", "AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "the server does not know the access key", "AWS_ACCESS_KEY_ID"),
        ({"AWS_SESSION_TOKEN": WRONG}, "the session token is not that of the access key", "AWS_SESSION_TOKEN"),
        ({"AWS_REGION": "eu-west-1"}, "the bucket is in another region", "AWS_REGION"),
    ],
    ids=["secret", "key", "token", "region"],
)
def test_wrong_settings_are_named(
    server: ObjectStore, bucket: Callable[[], str], wrong: dict[str, str], cause: str, setting: str
) -> None:
    made = server.bucket(bucket())
    for error in refusals(DeltaStore(f"s3://{made.bucket}/lake", {**made.storage_options, **wrong})):
        assert f"{server.endpoint}/{made.bucket}/lake" in error.problem
        assert cause in error.problem
        assert setting in error.advice
        assert not isinstance(error, StorageUnavailableError)


def test_a_missing_bucket_is_no_missing_table(server: ObjectStore, bucket: Callable[[], str]) -> None:
    for error in refusals(DeltaStore(f"s3://{bucket()}/lake", server.root)):
        assert "the bucket is not there (NoSuchBucket" in error.problem
        assert "MEDALLION_LAKE" in error.advice


def test_a_user_who_is_deleted_is_refused_from_then_on(server: ObjectStore, bucket: Callable[[], str]) -> None:
    made = server.bucket(bucket())
    options = server.user("leaver")
    everything = [f"arn:aws:s3:::{made.bucket}", f"arn:aws:s3:::{made.bucket}/*"]
    allowed = {"Effect": "Allow", "Principal": {"AWS": ["leaver"]}, "Action": ["s3:*"], "Resource": everything}
    server.allow(made.bucket, {"Version": "2012-10-17", "Statement": [allowed]})
    store = DeltaStore(f"s3://{made.bucket}/lake", options)
    obstore.put(store.objects, "before", b"")
    server.delete_user("leaver")
    for error in refusals(store):
        assert "does not know the access key (InvalidAccessKeyId" in error.problem
    assert obstore.get(DeltaStore(store.root, server.root).objects, "before").bytes() == b""


def test_a_server_that_is_down_is_no_missing_table(bucket: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDALLION_STORAGE_RETRY_SECONDS", "1")
    with object_store() as server:
        made = server.bucket(bucket())
        server.kill()
        store = DeltaStore(f"s3://{made.bucket}/lake", made.storage_options)
        with storage_environment(made.storage_options):
            session = SparkEngine(storage_options=made.storage_options).spark_session
            by_engine = refusal(lambda: session.read.format("delta").load(store.uri(TABLE)).count())
        for error in (*refusals(store), by_engine):
            assert isinstance(error, StorageUnavailableError)
            assert "the server does not answer" in error.problem
            assert "AWS_ENDPOINT_URL" in error.advice


def test_run_show_and_doctor_say_it_and_write_nothing(
    server: ObjectStore, bucket: Callable[[], str], shop_in: Any
) -> None:
    shop = shop_in(bucket())
    server.bucket(shop.bucket)
    shop.land(server.root)
    wrong = {**server.root, "AWS_SECRET_ACCESS_KEY": WRONG}
    for command in (
        ("run",),
        ("show", "silver/shop/orders"),
        ("tables",),
        ("land", "shop", str(shop.folder / "source")),
    ):
        done = shop.call(wrong, *command)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert f"{server.endpoint}/{shop.bucket}" in line
        assert "the secret key is not that of the access key (SignatureDoesNotMatch" in line
        assert line.endswith("correct AWS_SECRET_ACCESS_KEY")
        assert WRONG not in done.stderr + done.stdout
    told = json.loads(shop.call(wrong, "doctor", "--json").stdout)
    findings = {finding["name"]: finding for finding in told["findings"]}
    for name in ("lake", "commits", "landing"):
        assert findings[name]["verdict"] == "fail"
        assert "SignatureDoesNotMatch" in findings[name]["detail"]
        assert findings[name]["next"] == "correct AWS_SECRET_ACCESS_KEY"
    assert shop.rows(server.root) == {}
