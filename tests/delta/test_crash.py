"""A process killed at any step of a write: the next run leaves the table as if nothing had happened."""

from __future__ import annotations

import datetime as dt
import signal
from pathlib import Path
from typing import Any

import pytest

from medallion.delta.staging import abandoned_stages, sweep_stages
from medallion.faults import Fault
from tests.fixtures.crash_run import (
    QUARANTINE,
    TABLE,
    Rows,
    Scene,
    assert_whole,
    published,
    rows_of,
    run,
    run_with_fault,
)
from tests.fixtures.processes import processes
from tests.fixtures.s3_server import S3

pytestmark = pytest.mark.slow

Step = tuple[Fault, tuple[str, ...]]
MODES = ("replace", "append", "merge")
RUN_ONLY = {Fault.AFTER_AUDIT, Fault.BEFORE_EVENT}
"""Steps of the run, which quarantine does not take."""
OF_CAPTURE = {Fault.BEFORE_ADVANCE, Fault.AFTER_ADVANCE}
POINTS = [point for point in Fault if point not in OF_CAPTURE]
STEPS = [(point, TABLE) for point in POINTS] + [(point, QUARANTINE) for point in POINTS if point not in RUN_ONLY]
OFTEN = [step for step in STEPS if step[1] == TABLE or step[0] is Fault.BEFORE_COMMIT]
AROUND_THE_COMMIT = [
    (Fault.BEFORE_COMMIT, TABLE),
    (Fault.AFTER_COMMIT, TABLE),
    (Fault.BEFORE_COMMIT, QUARANTINE),
    (Fault.HALF_DISCARDED, TABLE),
    (Fault.BEFORE_EVENT, TABLE),
]
_NOW = dt.timedelta(0)
_LONG = 120


def name(step: Any) -> str:
    return f"{step[0]}@{'/'.join(step[1])}"


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """By write mode: three months are published; of two, other rows have landed since."""
    made: dict[str, Scene] = {}

    def scene(mode: Any) -> Scene:
        if mode not in made:
            made[mode] = published(tmp_path_factory.mktemp(mode), mode)
        return made[mode]

    return scene


@pytest.fixture(scope="module")
def unharmed(scenes: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The rows of table and quarantine, by write mode, after a run that nobody killed."""
    made: dict[tuple[str, tuple[str, ...]], Rows] = {}

    def rows(mode: str, without: tuple[str, ...] = ()) -> Rows:
        if (mode, without) not in made:
            copy = scenes(mode).copy(tmp_path_factory.mktemp("unharmed") / "copy")
            if without:
                copy.store.delete(without)
            run(copy)
            made[mode, without] = rows_of(copy)
        return made[mode, without]

    return rows


def kill_and_run_again(scene: Scene, step: Step, expected: Rows) -> None:
    before = rows_of(scene)
    process = processes().Process(target=run_with_fault, args=(scene, name(step)))
    process.start()
    process.join(_LONG)
    assert process.exitcode == -signal.SIGKILL, f"{name(step)} was not reached"
    assert_whole(scene, before, expected)

    run(scene)
    assert rows_of(scene) == expected
    for path in (TABLE, QUARANTINE):
        sweep_stages(scene.store, path, abandoned_stages(scene.store, path, _NOW))
        assert abandoned_stages(scene.store, path, _NOW) == []
    assert_whole(scene, expected)
    assert rows_of(scene) == expected


@pytest.mark.parametrize(
    "step", [step if step in OFTEN else pytest.param(step, marks=pytest.mark.slow) for step in STEPS], ids=name
)
def test_a_run_killed_at_any_step_is_completed_by_the_next(
    scenes: Any, unharmed: Any, step: Step, tmp_path: Path
) -> None:
    scene = scenes("replace").copy(tmp_path / "copy")
    new = step[1] if step[0] is Fault.AFTER_CREATE else ()  # only the first write of a table makes it
    if new:
        scene.store.delete(new)
    kill_and_run_again(scene, step, unharmed("replace", new))


@pytest.mark.parametrize(
    ("mode", "step"),
    [
        pytest.param(
            mode, step, marks=() if step[0] is Fault.AFTER_COMMIT else pytest.mark.slow, id=f"{mode}-{name(step)}"
        )
        for mode in ("append", "merge")
        for step in AROUND_THE_COMMIT
    ],
)
def test_a_killed_run_is_not_doubled_by_the_next_in_any_write_mode(
    scenes: Any, unharmed: Any, mode: str, step: Step, tmp_path: Path
) -> None:
    kill_and_run_again(scenes(mode).copy(tmp_path / "copy"), step, unharmed(mode))


@pytest.mark.slow
@pytest.mark.parametrize("step", AROUND_THE_COMMIT, ids=name)
@pytest.mark.parametrize("mode", MODES)
def test_a_killed_run_on_s3_is_completed_by_the_next(
    scenes: Any, unharmed: Any, s3: S3, mode: str, step: Step, tmp_path: Path
) -> None:
    lake = f"s3://{s3.bucket}/{tmp_path.name}"
    scene = scenes(mode).copy(tmp_path / "copy", lake, s3.storage_options)
    kill_and_run_again(scene, step, unharmed(mode))
