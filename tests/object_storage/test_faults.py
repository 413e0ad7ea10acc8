"""A server that throttles, dies or forgets a user during a run: retried or a clear error, and nothing is lost."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from medallion.delta.store import DeltaStore
from medallion.retries import MAX_RETRIES
from tests.fixtures.crash_run import QUARANTINE, TABLE, Rows, Scene, assert_whole, rows_of, run_and_tell
from tests.fixtures.object_store import ObjectStore, object_store
from tests.fixtures.processes import processes
from tests.fixtures.s3_process import faulty
from tests.fixtures.s3_server import S3
from tests.fixtures.writers import LOG, PATH, diary_of, torn, write, writes

pytestmark = [pytest.mark.integration, pytest.mark.slow]

IMPATIENT = {"MEDALLION_STORAGE_RETRY_SECONDS": "1", "MEDALLION_RETRY_DELAY": "0"}
PATIENT = {"MEDALLION_STORAGE_RETRY_SECONDS": "60", "MEDALLION_RETRY_DELAY": "0"}
_LONG = 240


def at(server: S3, scene: Scene, folder: Path) -> Scene:
    """The table of which other rows have landed, in the bucket of a server."""
    return scene.copy(folder, f"s3://{server.bucket}/lake", server.storage_options)


def runs_through(between: S3, scene: Scene, told: Path, environment: dict[str, str]) -> str:
    """Run the table as if the server had a fault; how it failed."""
    process = start(between, scene, told, environment)
    process.join(_LONG)
    assert process.exitcode == 0
    return told.read_text()


def start(between: S3, scene: Scene, told: Path, environment: dict[str, str]) -> object:
    asking = replace(scene, options=between.storage_options)
    process = processes().Process(target=run_and_tell, args=(asking, told, environment))
    process.start()
    return process


def versions(scene: Scene) -> dict[tuple[str, ...], int]:
    return {path: scene.store.open(path).version() for path in (TABLE, QUARANTINE)}


def one_more(before: dict[tuple[str, ...], int]) -> dict[tuple[str, ...], int]:
    return {path: version + 1 for path, version in before.items()}


def test_a_server_that_wants_requests_to_be_repeated_gets_what_it_wants(
    server: ObjectStore, bucket: Callable[[], str], scene: Scene, unharmed: Rows, tmp_path: Path
) -> None:
    made = server.bucket(bucket())
    place = at(made, scene, tmp_path / "copy")
    before = versions(place)
    with faulty(made, "busy") as between:
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(f"{between.endpoint}/{made.bucket}", timeout=30)
        assert runs_through(between, place, tmp_path / "told", PATIENT) == ""
    assert_whole(place, unharmed)
    assert versions(place) == one_more(before)


def test_a_server_that_throttles_for_too_long_is_named_and_the_next_run_completes(
    server: ObjectStore, bucket: Callable[[], str], scene: Scene, unharmed: Rows, tmp_path: Path
) -> None:
    lake, failure = refused_until_it_gave_up(server.bucket(bucket()), "throttling", scene, unharmed, tmp_path)
    assert f"{lake}/" in failure
    assert "the server asks for fewer requests, for " in failure
    assert "(SlowDown: Please reduce your request rate)" in failure
    assert "MEDALLION_STORAGE_RETRY_SECONDS" in failure


def test_credentials_that_expire_before_the_commit_are_named_and_the_next_run_completes(
    server: ObjectStore, bucket: Callable[[], str], scene: Scene, unharmed: Rows, tmp_path: Path
) -> None:
    lake, failure = refused_until_it_gave_up(server.bucket(bucket()), "expiring", scene, unharmed, tmp_path)
    assert f"{lake}/{'/'.join(TABLE)}/_delta_log/" in failure
    assert "the session credentials have expired (ExpiredToken: The provided token has expired)" in failure
    assert "AWS_SESSION_TOKEN" in failure


@pytest.mark.parametrize("fault", ["killing_before", "killing_after"])
def test_a_server_that_dies_at_the_commit_and_comes_back_has_it_once(
    fault: str, bucket: Callable[[], str], scene: Scene, unharmed: Rows, tmp_path: Path
) -> None:
    with object_store() as server:
        made = server.bucket(bucket())
        place = at(made, scene, tmp_path / "copy")
        before = versions(place)
        with faulty(made, f"{fault}:{server.pid}") as between:
            process = start(between, place, tmp_path / "told", PATIENT)
            server.wait_until_dead(_LONG)
            server.start()
            process.join(_LONG)
        assert (tmp_path / "told").read_text() == ""
        assert_whole(place, unharmed)
        assert versions(place) == one_more(before)


@pytest.mark.parametrize("fault", ["killing_before", "killing_after"])
def test_a_server_that_dies_at_the_commit_and_stays_dead_is_named_and_the_next_run_completes(
    fault: str, bucket: Callable[[], str], scene: Scene, unharmed: Rows, tmp_path: Path
) -> None:
    with object_store() as server:
        made = server.bucket(bucket())
        place = at(made, scene, tmp_path / "copy")
        rows, before = rows_of(place), versions(place)
        with faulty(made, f"{fault}:{server.pid}") as between:
            failure = runs_through(between, place, tmp_path / "told", IMPATIENT)
            assert between.endpoint in failure
        assert "the server has an error of its own, for " in failure
        server.start()
        assert_whole(place, rows, unharmed)
        completed(made, place, unharmed, before, tmp_path)


def refused_until_it_gave_up(server: S3, fault: str, scene: Scene, expected: Rows, folder: Path) -> tuple[str, str]:
    """Run against refusals that last: nothing changes, and the next run completes.

    Returns:
        The lake's address as the run had it, and how the run failed.
    """
    place = at(server, scene, folder / "copy")
    rows, before = rows_of(place), versions(place)
    with faulty(server, fault) as between:
        failure = runs_through(between, place, folder / "told", IMPATIENT)
    assert (rows_of(place), versions(place)) == (rows, before)
    completed(server, place, expected, before, folder)
    return f"{between.endpoint}/{server.bucket}/lake", failure


def completed(server: S3, scene: Scene, expected: Rows, before: dict[tuple[str, ...], int], folder: Path) -> None:
    """Run again, without a fault: everything is there, once."""
    assert runs_through(server, scene, folder / "told again", IMPATIENT) == ""
    assert_whole(scene, expected)
    # A commit that was made before the server died is made again with the same rows; never in part.
    assert all(version <= before[path] + 2 for path, version in versions(scene).items())


def test_writers_outlive_a_server_that_is_killed_again_and_again(bucket: Callable[[], str], tmp_path: Path) -> None:
    with object_store() as server:
        made = server.bucket(bucket())
        store = DeltaStore(f"s3://{made.bucket}/lake", made.storage_options)
        write(store, ("day",), "append", LOG, "first")
        slices = [("append", LOG), ("append", LOG), ("replace", "own-1"), ("merge", "own-2")]
        diaries = [tmp_path / str(number) for number in range(len(slices))]
        workers = [
            processes().Process(target=writes, args=(store, ("day",), diary, mode, day, 12, MAX_RETRIES))
            for diary, (mode, day) in zip(diaries, slices, strict=True)
        ]
        for worker in workers:
            worker.start()
        kills = 0
        while any(worker.is_alive() for worker in workers):
            workers[0].join(1.5)
            if workers[0].is_alive():
                server.kill()
                kills += 1
                server.start()
            else:
                for worker in workers:
                    worker.join(_LONG)
        assert kills >= 2
        assert [worker.exitcode for worker in workers] == [0] * len(workers)

        notes = [line for diary in diaries for line in diary_of(diary)]
        acknowledged = [line["value"] for line in notes if line["what"] == "acknowledged"]
        assert len(acknowledged) == 12 * len(slices)
        table = store.open(PATH)
        for version in range(1, table.version() + 1):
            assert list(torn(pa.table(store.open(PATH, version).scan()).to_pylist())) == []
        commits = [commit["test/value"] for commit in table.history() if "test/value" in commit]
        assert sorted(commits) == sorted([*acknowledged, "first"])
