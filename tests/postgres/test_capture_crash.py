"""A capture that is killed, wherever it is, leaves nothing lost and nothing doubled."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from medallion.faults import Fault
from tests.fixtures.captured import DOMAIN, Shop, capture_until_stopped, capture_with_fault, churn
from tests.fixtures.processes import processes

_LONG = 120
CHANGES = (
    "update thing set name = 'changed'",
    "insert into pair values (9, 9, 'new')",
    "truncate payment",
    "insert into payment values (3, '2024-02-02', 3)",
    "delete from thing where id = 1",
)
POINTS = [
    (Fault.BEFORE_STAGE, "bronze/shop/pair"),
    (Fault.AFTER_STAGE, "bronze/shop/thing"),
    (Fault.BEFORE_COMMIT, "bronze/shop/thing"),
    (Fault.AFTER_COMMIT, "bronze/shop/thing"),
    (Fault.AFTER_COMMIT, "bronze/shop/payment"),
    (Fault.BEFORE_EVENT, "bronze/shop/pair"),
    (Fault.BEFORE_ADVANCE, "bronze/shop"),
    (Fault.AFTER_ADVANCE, "bronze/shop"),
]
OFTEN = [POINTS[3], POINTS[6]]


@pytest.fixture
def shop(postgres_url: str, tmp_path: Path) -> Shop:
    shop = Shop(postgres_url, str(tmp_path / "lake"), {})
    shop.create()
    shop.execute(
        "insert into thing (id, document) select i, repeat(md5(i::text), 300) from generate_series(1, 50) i",
        "insert into pair select i, i, 'p' from generate_series(1, 8) i",
        "insert into payment select i, '2024-01-01', 1 from generate_series(1, 50) i",
    )
    return shop


def kill(shop: Shop, point: tuple[Fault, str]) -> None:
    process = processes().Process(target=capture_with_fault, args=(shop, f"{point[0]}@{point[1]}"))
    process.start()
    process.join(_LONG)
    assert process.exitcode == -signal.SIGKILL, f"{point} was not reached"


def commits(shop: Shop, name: str) -> int:
    """Commits of a table that changed its rows."""
    history = shop.store.open(("bronze", DOMAIN, name)).history()
    return sum(commit["operation"] in ("MERGE", "WRITE") for commit in history)


@pytest.mark.parametrize(
    "point",
    [point if point in OFTEN else pytest.param(point, marks=pytest.mark.slow) for point in POINTS],
    ids=lambda point: f"{point[0]}@{point[1]}",
)
def test_a_capture_killed_at_any_step_is_completed_by_the_next(shop: Shop, point: Any) -> None:
    shop.capture()
    shop.execute(*CHANGES)
    kill(shop, point)
    before = {name: commits(shop, name) for name in ("thing", "pair", "payment")}
    again = shop.capture()
    shop.assert_equal()
    for name, number in before.items():
        assert commits(shop, name) == number + (name in again)
    assert shop.capture() == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    "point",
    [
        (Fault.AFTER_CREATE, "bronze/shop/thing"),
        (Fault.AFTER_COMMIT, "bronze/shop/pair"),
        (Fault.BEFORE_ADVANCE, "bronze/shop"),
    ],
    ids=lambda point: f"{point[0]}@{point[1]}",
)
def test_a_load_killed_at_any_step_is_completed_by_the_next(shop: Shop, point: Any) -> None:
    kill(shop, point)
    shop.execute(*CHANGES)
    shop.capture()
    shop.assert_equal()
    assert shop.capture() == {}


@pytest.mark.slow
def test_a_capture_killed_again_and_again_under_mixed_changes_ends_with_the_source(shop: Shop, tmp_path: Path) -> None:
    stop_changes, stop_capture = tmp_path / "changes", tmp_path / "capture"
    writers = [processes().Process(target=churn, args=(shop, seed, stop_changes)) for seed in (1, 2)]
    for writer in writers:
        writer.start()
    kills = 0
    for wait in (1.5, 2.5, 2.0, 3.5, 2.2, 3.0, 1.8, 4.0):
        capture = processes().Process(target=capture_until_stopped, args=(shop, stop_capture))
        capture.start()
        time.sleep(wait)
        capture.kill()
        capture.join(_LONG)
        kills += capture.exitcode == -signal.SIGKILL
    stop_changes.touch()
    for writer in writers:
        writer.join(_LONG)
        assert writer.exitcode == 0
    assert kills == 8
    shop.capture()
    shop.assert_equal()
    assert min(commits(shop, name) for name in ("thing", "pair", "payment")) > 5
    assert shop.capture() == {}
