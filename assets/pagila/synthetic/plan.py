"""How many rows of each kind a synthetic Pagila database has, and when its shop was open."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np

from medallion.draw import Ints

FULL_SIZE = 16_044
"""Rentals in the public sample."""
FEWEST = 200
"""Rentals below which not every kind of customer, copy and payment occurs."""

COUNTRIES, CITIES, LANGUAGES, CATEGORIES, ACTORS, STORES, STAFF = 109, 600, 6, 16, 200, 2, 2
FILMS, FILM_ACTORS, FILM_CATEGORIES = 1_000, 5_462, 1_000
FILMS_WITHOUT_COPY = 42

OPEN_MONTHS = (
    "2024-02", "2024-03", "2024-04", "2024-05", "2024-06", "2024-09", "2024-10", "2024-11", "2024-12", "2025-01",
)  # fmt: skip
"""The shop was closed in July and August: late returns came in, nothing was rented."""
OPENING = dt.date(2024, 1, 15)
"""When the shop was set up; catalogue, stores and staff have not changed since."""
CLOSE = dt.datetime(2025, 1, 31, 23, 59, 59, tzinfo=dt.UTC)
"""The moment that the database shows; what was rented then and came back later is not returned yet."""


@dataclass(frozen=True)
class Plan:
    """Row counts of one database. Every field counts rows; the catalogue of films has the same size in each."""

    rentals: int
    customers: int
    inventory: int
    inactive_customers: int
    customers_without_rental: int
    rentals_without_payment: int
    rentals_paid_in_six_parts: int
    free_rentals: int
    payments_by_another_customer: int
    lost_copies: int

    @classmethod
    def of(cls, rentals: int) -> Plan:
        """Plan a database with `rentals` rentals.

        Raises:
            ValueError: fewer than `FEWEST` rentals.
        """
        if rentals < FEWEST:
            raise ValueError(
                f"--rentals is {rentals}, but a synthetic shop needs at least {FEWEST} rentals, so that every kind of "
                "customer, copy and payment occurs. Ask for more rentals."
            )

        def scaled(full: int) -> int:
            return max(1, round(full * rentals / FULL_SIZE))

        return cls(
            rentals=rentals,
            customers=max(20, scaled(599)),
            inventory=max(100, scaled(4_581)),
            inactive_customers=scaled(15),
            customers_without_rental=scaled(3),
            rentals_without_payment=scaled(12),
            rentals_paid_in_six_parts=1,
            free_rentals=scaled(24),
            payments_by_another_customer=scaled(16),
            lost_copies=scaled(20),
        )

    @property
    def addresses(self) -> int:
        """One of each customer, store and employee."""
        return self.customers + STORES + STAFF

    @property
    def rentals_paid_twice(self) -> int:
        """As many as are not paid, so that there are 5 payments more than rentals."""
        return self.rentals_without_payment

    @property
    def payments(self) -> int:
        """Rows of `payment`."""
        return self.rentals + 5 * self.rentals_paid_in_six_parts


def open_days() -> Ints:
    """The days on which the shop rented, as days since 1970-01-01, in order."""
    months = np.array(OPEN_MONTHS, dtype="datetime64[M]")
    return np.concatenate(
        [np.arange(month.astype("datetime64[D]"), (month + 1).astype("datetime64[D]")) for month in months]
    ).astype(np.int64)


def payment_months() -> list[dt.date]:
    """First days of the months that payments may fall into, from the first to the last open one, without a gap."""
    first, last = (np.datetime64(month, "M") for month in (OPEN_MONTHS[0], OPEN_MONTHS[-1]))
    return [month.item() for month in np.arange(first, last + 1)]
