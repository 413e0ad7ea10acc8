"""Faults: off unless the environment names a step and a table, and never misspelt in silence."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from medallion import faults
from medallion.faults import Fault, fault

TABLE = ("silver", "shop", "orders")


@pytest.fixture(autouse=True)
def read_again() -> Iterator[None]:
    faults._armed.cache_clear()
    yield
    faults._armed.cache_clear()


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    signals: list[int] = []
    monkeypatch.setattr(faults.os, "kill", lambda _, number: signals.append(number))
    return signals


def test_nothing_happens_without_the_setting(killed: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEDALLION_FAULT", raising=False)
    for point in Fault:
        fault(point, TABLE)
    assert killed == []


def test_only_the_named_step_of_the_named_table_kills(killed: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDALLION_FAULT", "after_commit@silver/shop/orders")
    for point in Fault:
        fault(point, ("quarantine", "shop", "orders"))
        if point is not Fault.AFTER_COMMIT:
            fault(point, TABLE)
    assert killed == []
    fault(Fault.AFTER_COMMIT, TABLE)
    assert killed == [faults.signal.SIGKILL]


@pytest.mark.parametrize("setting", ["after_comit@silver/shop/orders", "after_commit", "@silver/shop/orders"])
def test_a_setting_that_names_no_step_or_table_is_refused(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDALLION_FAULT", setting)
    with pytest.raises(ValueError, match=r"MEDALLION_FAULT is .* it takes STEP@TABLE, with a step of .*after_commit"):
        fault(Fault.AFTER_COMMIT, TABLE)
