"""Steps of a write at which a test can kill the process, to prove that the next run finds nothing lost or doubled."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from enum import StrEnum
from functools import cache

from medallion.settings import Settings


class Fault(StrEnum):
    """Every step of a write, in order; the table's quarantine goes through those of storage as well.

    The last two are a capture's, which takes them for `bronze/<domain>` when its tables are written.
    """

    BEFORE_STAGE = "before_stage"
    AFTER_STAGE = "after_stage"
    AFTER_AUDIT = "after_audit"
    AFTER_CREATE = "after_create"
    BEFORE_COMMIT = "before_commit"
    AFTER_COMMIT = "after_commit"
    BEFORE_DISCARD = "before_discard"
    HALF_DISCARDED = "half_discarded"
    BEFORE_EVENT = "before_event"
    BEFORE_ADVANCE = "before_advance"
    AFTER_ADVANCE = "after_advance"


def fault(point: Fault, path: Sequence[str]) -> None:
    """Kill this process if MEDALLION_FAULT says so.

    Args:
        point: the step that is about to be taken.
        path: the table that it is taken for.

    Raises:
        ValueError: MEDALLION_FAULT names no step.
    """
    armed = _armed()
    if armed is not None and armed == (point, "/".join(path)):
        os.kill(os.getpid(), signal.SIGKILL)


@cache
def _armed() -> tuple[Fault, str] | None:
    """The step and the table of MEDALLION_FAULT, such as `after_commit@silver/shop/orders`; read once per process."""
    setting = Settings().fault
    if not setting:
        return None
    point, _, table = setting.partition("@")
    if point not in list(Fault) or not table:
        raise ValueError(f"MEDALLION_FAULT is {setting!r}; it takes STEP@TABLE, with a step of {[*map(str, Fault)]}")
    return Fault(point), table
