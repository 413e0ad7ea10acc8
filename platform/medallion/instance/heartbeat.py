"""A run's process says every few seconds that it lives, so that a killed one can be told from a slow one."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagster import DagsterInstance

BEAT_SECONDS = 5.0

_log = logging.getLogger(__name__)


@contextmanager
def heartbeat(instance: "DagsterInstance", run_id: str) -> Iterator[None]:
    """Tell that a run lives, from a thread, until the context ends.

    An instance that can't be reached for a moment doesn't disturb the run; it hears the next beat.
    """
    ended = threading.Event()
    thread = threading.Thread(target=_beat, args=(instance, run_id, ended), name="medallion-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def last_beat(instance: "DagsterInstance", run_id: str) -> str | None:
    """The last sign of life of a run; None if it never gave one. Two signs differ, and say nothing else."""
    return instance.run_storage.get_cursor_values({_key(run_id)}).get(_key(run_id))


def _beat(instance: "DagsterInstance", run_id: str, ended: threading.Event) -> None:
    from sqlalchemy.exc import SQLAlchemyError

    while not ended.is_set():
        try:
            instance.run_storage.set_cursor_values({_key(run_id): str(time.time())})
        except SQLAlchemyError as error:
            _log.warning("run %s could not tell that it lives: %s", run_id, error)
        ended.wait(BEAT_SECONDS)


def _key(run_id: str) -> str:
    return f"medallion/alive/{run_id}"
