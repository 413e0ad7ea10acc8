"""A synthetic Olist dataset of any size: the nine public files with made-up rows, real dirt and broken rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from assets.olist.synthetic.plan import FULL_SIZE, Plan

MARKER = "SYNTHETIC.txt"
"""The file beside the nine that says the dataset is synthetic."""

Progress = Callable[[str, int, int], None]
"""Called with (table, rows written, rows in all)."""


class SyntheticError(ValueError):
    """A dataset that can't be generated as asked; the message says what to change."""


@dataclass(frozen=True)
class SyntheticReport:
    """What was generated. Every number counts rows unless its name says otherwise."""

    target: Path
    orders: int
    seed: int
    rows: Mapping[str, int]
    """Table -> rows."""
    broken: Mapping[str, Mapping[str, int]]
    """Table -> broken rule -> rows that belong into quarantine; each of these rows breaks just this rule."""
    dirt: Mapping[str, int]
    """What is odd, as in the real dataset, but valid."""


def generate(target: Path, orders: int = FULL_SIZE, seed: int = 1, progress: Progress | None = None) -> SyntheticReport:
    """Write the nine files of a synthetic dataset into a folder: the same bytes for the same `orders` and `seed`.

    Args:
        target: the folder; made when absent. An earlier synthetic dataset in it is replaced.
        orders: how many orders; the other tables follow in proportion, exactly the public sizes at 99,441.
        seed: the seed of all chance, at least 0.
        progress: called while files are written.

    Raises:
        SyntheticError: too few orders, a negative seed, or `target` holds Olist files that aren't synthetic.
    """
    from assets.olist.synthetic.generator import write_dataset

    if seed < 0:
        raise SyntheticError(f"--seed is {seed}, but a seed is a whole number of at least 0.")
    try:
        plan = Plan.of(orders)
    except ValueError as error:
        raise SyntheticError(str(error)) from error
    return write_dataset(target, plan, seed, progress if progress is not None else _silent)


def _silent(table: str, done: int, total: int) -> None:
    """Report no progress."""


__all__ = ["FULL_SIZE", "MARKER", "Progress", "SyntheticError", "SyntheticReport", "generate"]
