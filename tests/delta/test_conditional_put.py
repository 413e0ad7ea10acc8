"""Object stores that let two writers win a commit are refused before anything is written."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import dagster as dg
import obstore
import pyarrow as pa
import pytest
from dagster_deltalake.config import ClientConfig

from medallion.cli import doctor
from medallion.delta import conditional_put
from medallion.delta.conditional_put import ConditionalPutError, require_conditional_put
from medallion.delta.io_manager import LakeIOManager
from medallion.delta.store import DeltaStore
from medallion.engine.resource import SparkEngine
from medallion.settings import Settings
from tests.fixtures.broken_s3 import broken_s3, ignoring, racy, refusing
from tests.fixtures.s3_server import S3, s3_config


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not know conditional PUT answers 501, which is repeated as any 5xx."""
    monkeypatch.setenv("MEDALLION_STORAGE_RETRY_SECONDS", "1")


def lake_of(server: S3) -> DeltaStore:
    return DeltaStore(f"s3://{server.bucket}/{uuid.uuid4().hex[:8]}", server.storage_options)


def objects(store: DeltaStore) -> list[str]:
    return [entry["path"] for batch in obstore.list(store.objects) for entry in batch]


def test_a_store_with_atomic_conditional_put_is_accepted_and_left_clean(s3: S3) -> None:
    store = lake_of(s3)
    require_conditional_put(store)
    assert objects(store) == []


def test_a_store_is_examined_once_per_process_and_root(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    races: list[str] = []
    monkeypatch.setattr(conditional_put, "_race", lambda store: races.append(store.root))
    first, second = lake_of(s3), lake_of(s3)
    for store in (first, second, DeltaStore(first.root, dict(first.storage_options))):
        require_conditional_put(store)
    assert races == [first.root, second.root]


def test_local_disk_is_not_examined(tmp_path: Path) -> None:
    for root in (str(tmp_path / "lake"), f"file://{tmp_path}/lake"):
        require_conditional_put(DeltaStore(root))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (ignoring, "the server ignores If-None-Match"),
        (racy, r"\d of 4 writers created the same object"),
        (refusing, "the store refuses conditional PUT"),
    ],
)
def test_a_store_that_could_lose_a_commit_is_refused_by_root_and_with_the_way_out(fault: Any, message: str) -> None:
    with broken_s3(fault, f"broken-{uuid.uuid4().hex[:8]}") as server:
        store = lake_of(server)
        for _ in range(2):  # a refusal is not forgotten
            with pytest.raises(ConditionalPutError, match=message) as refused:
                require_conditional_put(store)
            assert objects(store) == []
    assert store.root in str(refused.value)
    assert "AWS S3 or versitygw" in str(refused.value)
    assert "nothing was written" in str(refused.value)
    assert server.storage_options["AWS_SECRET_ACCESS_KEY"] not in str(refused.value).split()


def test_the_doctor_tells_it_before_the_first_run() -> None:
    with broken_s3(ignoring, f"broken-{uuid.uuid4().hex[:8]}") as server:
        options = {name.lower(): value for name, value in server.storage_options.items()}
        settings = Settings(lake=lake_of(server).root, **options)
        finding = doctor._examined("commits", doctor._commits, settings)
    assert (finding.name, finding.verdict) == ("commits", "fail")
    assert "the server ignores If-None-Match" in finding.detail
    assert "atomic conditional PUT" in finding.next


def test_a_run_on_such_a_store_ends_before_anything_is_written() -> None:
    @dg.asset(key_prefix="silver")
    def orders() -> pa.Table:
        raise AssertionError("not reached")

    with broken_s3(ignoring, f"broken-{uuid.uuid4().hex[:8]}") as server:
        store = lake_of(server)
        engine = SparkEngine()
        manager = LakeIOManager(
            root_uri=store.root,
            storage_options=s3_config(server.storage_options),
            client_options=ClientConfig(allow_http=True),
            engine=engine,
        )
        with pytest.raises(dg.DagsterResourceFunctionError) as failed:
            dg.materialize(
                [orders],
                instance=dg.DagsterInstance.ephemeral(),
                resources={"io_manager": manager, "engine": engine},
            )
        assert objects(store) == []
    assert isinstance(failed.value.user_exception, ConditionalPutError)
