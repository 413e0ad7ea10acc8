"""Who rents and who works in the shop's two stores, and where they live."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from assets.pagila.synthetic import words
from assets.pagila.synthetic.catalogue import numbers
from assets.pagila.synthetic.columns import DAY, days, ints, moments, same_moment
from assets.pagila.synthetic.columns import words as texts
from assets.pagila.synthetic.plan import CITIES, COUNTRIES, OPENING, STAFF, STORES, Plan
from medallion.draw import Ints, classes, covering

# The smallest picture there is: one transparent pixel.
_PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360000002000001"
    "e221bc330000000049454e44ae426082"
)


@dataclass(frozen=True)
class Shop:
    """The two stores.

    Attributes:
        tables: rows by table: countries, cities, stores and staff.
        home: number of the store, from 0, that each customer goes to.
    """

    tables: dict[str, pa.Table]
    home: Ints


def shop(plan: Plan, rng: np.random.Generator) -> Shop:
    """Places, stores and staff, and which customers each store has."""
    country = rng.permutation(COUNTRIES)[covering(rng, CITIES, COUNTRIES)]
    staff = rng.permutation(len(words.FIRST_NAMES))[:STAFF]
    families = rng.permutation(len(words.LAST_NAMES))[:STAFF]
    first_names = [words.FIRST_NAMES[number] for number in staff]
    tables = {
        "country": pa.table(
            {
                "country_id": numbers(COUNTRIES),
                "country": sorted(_combined(rng, words.COUNTRY_STARTS, words.COUNTRY_ENDS, COUNTRIES)),
                "last_update": same_moment(OPENING, COUNTRIES),
            }
        ),
        "city": pa.table(
            {
                "city_id": numbers(CITIES),
                "city": sorted(_combined(rng, words.CITY_STARTS, words.CITY_ENDS, CITIES)),
                "country_id": ints(country + 1),
                "last_update": same_moment(OPENING, CITIES),
            }
        ),
        "store": pa.table(
            {
                "store_id": numbers(STORES),
                "manager_staff_id": numbers(STAFF),
                "address_id": numbers(STORES),
                "last_update": same_moment(OPENING, STORES),
            }
        ),
        "staff": pa.table(
            {
                "staff_id": numbers(STAFF),
                "first_name": first_names,
                "last_name": [words.LAST_NAMES[number] for number in families],
                "address_id": ints(STORES + np.arange(1, STAFF + 1)),
                "email": [f"{name}@film-shop.example" for name in first_names],
                "store_id": numbers(STAFF),
                "active": [True] * STAFF,
                "username": first_names,
                "password": [hashlib.sha256(f"made up {n}".encode()).hexdigest() for n in range(STAFF)],
                "last_update": same_moment(OPENING, STAFF),
                "picture": pa.array([_PICTURE] + [None] * (STAFF - 1), pa.binary()),
            }
        ),
    }
    return Shop(tables, classes(rng, plan.customers, (54, 46)))


def customers(plan: Plan, home: Ints, joined: Ints, rng: np.random.Generator) -> pa.Table:
    """The `customer` table.

    Args:
        plan: how many there are.
        home: number of each customer's store.
        joined: the day on which each became a customer, in days since 1970-01-01.
        rng: the source of chance.
    """
    rows = plan.customers
    first = rng.integers(0, len(words.FIRST_NAMES), rows)
    last = rng.integers(0, len(words.LAST_NAMES), rows)
    emails = [
        f"{words.FIRST_NAMES[f]}.{words.LAST_NAMES[x]}.{number}@mail.example"
        for number, (f, x) in enumerate(zip(first, last, strict=True), start=1)
    ]
    left = np.zeros(rows, dtype=bool)
    left[rng.permutation(rows)[: plan.inactive_customers]] = True
    return pa.table(
        {
            "customer_id": numbers(rows),
            "store_id": ints(home + 1),
            "first_name": texts(words.FIRST_NAMES, first),
            "last_name": texts(words.LAST_NAMES, last),
            "email": pa.array(emails, mask=rng.random(rows) < 0.01),
            "address_id": ints(STORES + STAFF + np.arange(1, rows + 1)),
            # Whoever leaves is marked in one of the two columns or in both.
            "activebool": pa.array(~(left & (rng.random(rows) < 0.3))),
            "create_date": days(joined),
            "last_update": moments(joined * DAY + 9 * 3600),
            "active": ints(np.where(left, 0, 1)),
        }
    )


def addresses(plan: Plan, joined: Ints, rng: np.random.Generator) -> pa.Table:
    """The `address` table: of the stores, then of the staff, then of the customers since they joined."""
    rows = plan.addresses
    opening = np.full(STORES + STAFF, int(np.datetime64(OPENING, "D").astype(np.int64)))
    house, street, kind = (
        rng.integers(1, 400, rows),
        rng.integers(0, len(words.STREETS), rows),
        rng.integers(0, len(words.STREET_KINDS), rows),
    )
    second, flat = rng.random(rows), rng.integers(1, 60, rows)
    code, phone = rng.integers(10_000, 100_000, rows), rng.integers(10**9, 10**10, rows)
    return pa.table(
        {
            "address_id": numbers(rows),
            "address": [f"{house[n]} {words.STREETS[street[n]]} {words.STREET_KINDS[kind[n]]}" for n in range(rows)],
            # Unknown for the shop's own, empty for most others.
            "address2": [
                None if n < STORES + STAFF else f"Flat {flat[n]}" if second[n] < 0.1 else "" for n in range(rows)
            ],
            "district": texts(words.DISTRICTS, rng.integers(0, len(words.DISTRICTS), rows)),
            "city_id": ints(rng.integers(1, CITIES + 1, rows)),
            "postal_code": pa.array([str(number) for number in code], mask=rng.random(rows) < 0.01),
            "phone": [str(number) for number in phone],
            "last_update": moments(np.concatenate([opening, joined]) * DAY + 9 * 3600),
        }
    )


def _second_line(number: int, chance: float, flat: int) -> str | None:
    """Unknown for the shop's own addresses, empty for most others."""
    if number < STORES + STAFF:
        return None
    return f"Flat {flat}" if chance < 0.1 else ""


def _combined(rng: np.random.Generator, starts: tuple[str, ...], ends: tuple[str, ...], count: int) -> list[str]:
    chosen = rng.permutation(len(starts) * len(ends))[:count]
    return [starts[number % len(starts)] + ends[number // len(starts)] for number in chosen]
