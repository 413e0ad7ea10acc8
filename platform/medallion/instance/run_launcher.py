"""The run launcher: a code server starts the runs, and the daemon finds out which ones have died."""

import time
from collections.abc import Mapping
from typing import Any

from dagster import DagsterRun, Field
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus
from dagster._serdes import ConfigurableClassData

from medallion.instance.heartbeat import last_beat

LOST_AFTER_SECONDS = 60


class WatchedRunLauncher(DefaultRunLauncher):
    """Dagster's default launcher can't say whether a run still lives, so its run monitoring never finds a dead one.

    If a run's process is killed, its code server says so. If the code server is killed with it (a container that runs
    out of memory, a machine that goes away), the run would stay "started" for ever and hold the pools of its tables.
    """

    def __init__(
        self, lost_after_seconds: int = LOST_AFTER_SECONDS, inst_data: ConfigurableClassData | None = None
    ) -> None:
        super().__init__(inst_data)
        self._lost_after = lost_after_seconds
        self._heard: dict[str, tuple[str, float]] = {}

    @classmethod
    def config_type(cls) -> Any:
        """The `config` block of dagster.yaml."""
        return {
            "lost_after_seconds": Field(
                int,
                default_value=LOST_AFTER_SECONDS,
                description=(
                    "A run whose process has given no sign of life for so many seconds is marked as failed and its "
                    "pools are freed; processes give one every five seconds."
                ),
            )
        }

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]
    ) -> "WatchedRunLauncher":
        """Build the launcher from the `config` block of dagster.yaml."""
        return cls(inst_data=inst_data, **config_value)

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Whether run monitoring can ask for a run's health: yes."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Whether the process of a run lives.

        Clocks are not compared: a run is dead if its last sign of life stays the same for long enough. One that never
        gave any, because its job has an executor of its own, is taken for alive.
        """
        beat, now = last_beat(self._instance, run.run_id), time.monotonic()
        if beat is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "it never gave a sign of life")
        told, since = self._heard.get(run.run_id, (None, now))
        if told != beat:
            recent = {key: held for key, held in self._heard.items() if now - held[1] < 10 * self._lost_after}
            self._heard = {**recent, run.run_id: (beat, now)}
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        if now - since < self._lost_after:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(
            WorkerStatus.NOT_FOUND, f"its process has given no sign of life for {now - since:.0f} s"
        )
