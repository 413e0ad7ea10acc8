"""Makes the rows of a planned synthetic database, all tables in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from assets.pagila.synthetic import life, people
from assets.pagila.synthetic.catalogue import catalogue
from assets.pagila.synthetic.schema import TABLES

if TYPE_CHECKING:
    import pyarrow as pa

    from assets.pagila.synthetic.plan import Plan


def make_tables(plan: Plan, seed: int) -> dict[str, pa.Table]:
    """The rows of all tables, in the order in which they refer to each other."""
    # One stream of chance per part, so that a change to one leaves the others' rows as they are.
    chance = iter(
        np.random.Generator(np.random.PCG64(s)) for s in np.random.SeedSequence([seed, plan.rentals]).spawn(8)
    )
    goods = catalogue(next(chance))
    shop = people.shop(plan, next(chance))
    stock = life.copies(plan, next(chance))
    rented = life.rentals(plan, goods, stock, shop.home, next(chance))
    paid = life.payments(plan, goods, stock, rented, next(chance))
    joined = life.joined(plan, rented, paid, next(chance))
    made = {
        **goods.tables,
        **shop.tables,
        "customer": people.customers(plan, shop.home, joined, next(chance)),
        "address": people.addresses(plan, joined, next(chance)),
        "inventory": stock.table,
        "rental": rented.table,
        "payment": paid,
    }
    return {table: made[table] for table in TABLES}
