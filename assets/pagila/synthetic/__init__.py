"""A synthetic Pagila database of any size: the public sample's 15 tables with made-up rows in a PostgreSQL database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from assets.pagila.synthetic.plan import FEWEST, FULL_SIZE, Plan

Progress = Callable[[str, int, int], None]
"""Called with (table, rows loaded, rows in all)."""


class SyntheticError(ValueError):
    """A database that can't be filled as asked; the message says what to change, and the database is as it was."""


@dataclass(frozen=True)
class SyntheticReport:
    """What was generated."""

    seed: int
    rows: Mapping[str, int]
    """Table -> rows."""
    broken: Mapping[str, Mapping[str, int]]
    """Always empty: the database's own types and keys keep out what a typed table can't take."""


def generate(url: str, rentals: int = FULL_SIZE, seed: int = 1, progress: Progress | None = None) -> SyntheticReport:
    """Fill a PostgreSQL database with a synthetic film shop, in one transaction.

    An earlier synthetic shop in it is replaced; its rows that the new one has, too, keep their `last_update`.

    Args:
        url: of the database; the tables get into the first schema of its search path.
        rentals: how many rentals; customers, addresses, copies and payments follow in proportion, exactly the sizes of
            the public sample at 16,044.
        seed: the seed of all chance, at least 0. The same `rentals` and `seed` give the same rows.
        progress: called while tables are loaded.

    Raises:
        SyntheticError: too few rentals, a negative seed, or the database has such tables that `generate` did not make.
        SourceError: the database can't be reached, or does not let us make tables.
    """
    from assets.pagila.synthetic.database import fill
    from assets.pagila.synthetic.generator import make_tables

    if seed < 0:
        raise SyntheticError(f"--seed is {seed}, but a seed is a whole number of at least 0.")
    try:
        plan = Plan.of(rentals)
    except ValueError as error:
        raise SyntheticError(str(error)) from error
    tables = make_tables(plan, seed)
    fill(url, tables, f"medallion generate pagila --rentals {rentals} --seed {seed}", progress or _silent)
    return SyntheticReport(seed, {table: made.num_rows for table, made in tables.items()}, {})


def _silent(table: str, done: int, total: int) -> None:
    """Report no progress."""


__all__ = ["FEWEST", "FULL_SIZE", "Progress", "SyntheticError", "SyntheticReport", "generate"]
