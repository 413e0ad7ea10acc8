"""What happens in the shop: which copies it buys, who rents them, when they come back and who pays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from assets.pagila.synthetic.catalogue import Catalogue, numbers
from assets.pagila.synthetic.columns import DAY, ints, moments, money
from assets.pagila.synthetic.plan import CLOSE, FILMS, FILMS_WITHOUT_COPY, STORES, Plan, open_days
from medallion.draw import Floats, Ints, classes, ordinals, quantiles

_LONGEST = 9
"""Days after which everything that comes back is back: a copy is lent again only later."""
_HOURS = (0, 0.25, 0.85, 1), (10, 14, 20, 22)
"""The shop is open from 10 to 22 o'clock, most are there in the afternoon."""
_LATE = 0.22
_ELSEWHERE = 0.08
"""Share of rentals from the store that the customer doesn't go to usually."""
_STAND_IN = 0.15
"""Share of rentals and payments that staff of the other store take."""
_LATE_FEE_CENTS = 100
_CLOSE = int(CLOSE.timestamp())


@dataclass(frozen=True)
class Copies:
    """The copies of films, a number of each per copy; days are counted from the shop's first open day.

    Attributes:
        film: number of the film, from 0.
        store: number of the store, from 0.
        bought: the open day on which it could first be rented.
    """

    film: Ints
    store: Ints
    bought: Ints

    @property
    def table(self) -> pa.Table:
        """The `inventory` table."""
        return pa.table(
            {
                "inventory_id": numbers(len(self.film)),
                "film_id": ints(self.film + 1),
                "store_id": ints(self.store + 1),
                "last_update": moments(open_days()[self.bought] * DAY + 8 * 3600),
            }
        )


@dataclass(frozen=True)
class Rentals:
    """The rentals in the order of their dates, a number of each per rental; moments are seconds since 1970-01-01 UTC.

    Attributes:
        rented: when.
        returned: when; what has not come back yet is in `open`.
        open: whether it has not come back.
        copy: number of the copy, from 0.
        customer: number of the customer, from 0.
        staff: number of who handed it out, from 0.
    """

    rented: Ints
    returned: Ints
    open: np.ndarray
    copy: Ints
    customer: Ints
    staff: Ints

    @property
    def table(self) -> pa.Table:
        """The `rental` table."""
        return pa.table(
            {
                "rental_id": numbers(len(self.rented)),
                "rental_date": moments(self.rented),
                "inventory_id": ints(self.copy + 1),
                "customer_id": ints(self.customer + 1),
                "return_date": moments(self.returned, ~self.open),
                "staff_id": ints(self.staff + 1),
                "last_update": moments(np.where(self.open, self.rented, self.returned)),
            }
        )


def copies(plan: Plan, rng: np.random.Generator) -> Copies:
    """Which copies there are: many from the first day, the others bought one by one in the first half of the time."""
    lent = rng.permutation(FILMS)[: min(FILMS - FILMS_WITHOUT_COPY, plan.inventory)]
    later = np.where(rng.random(plan.inventory) < 0.6, 0, rng.integers(1, len(open_days()) // 2, plan.inventory))
    film = rng.permutation(np.concatenate([lent, rng.choice(lent, plan.inventory - len(lent))]))
    return Copies(film, classes(rng, plan.inventory, (52, 48)), np.sort(later))


def rentals(plan: Plan, goods: Catalogue, stock: Copies, home: Ints, rng: np.random.Generator) -> Rentals:
    """Who rented what and when; no copy is lent to two at a time."""
    times = _rentals_of_each_copy(plan, stock, rng)
    copy = np.repeat(np.arange(len(times)), times)
    start = _starts(stock, times, rng)
    days = _days_out(goods.days[stock.film[copy]], rng)
    calendar = open_days()[start]
    rented = calendar * DAY + _time_of_day(rng, plan.rentals)
    returned = (calendar + days) * DAY + _time_of_day(rng, plan.rentals)
    last_of_copy = np.cumsum(times)[times > 0] - 1
    lost = np.zeros(plan.rentals, dtype=bool)
    lost[rng.permutation(last_of_copy)[: plan.lost_copies]] = True
    order = np.lexsort((copy, rented))
    copy, rented, returned = copy[order], rented[order], returned[order]
    store = stock.store[copy]
    return Rentals(
        rented=rented,
        returned=returned,
        open=lost[order] | (returned > _CLOSE),
        copy=copy,
        customer=_customers(plan, store, home, rng),
        staff=_staff(store, rng),
    )


def payments(plan: Plan, goods: Catalogue, stock: Copies, made: Rentals, rng: np.random.Generator) -> pa.Table:
    """The `payment` table: the price when the film is taken, or with the fee when it is brought back late."""
    film = stock.film[made.copy]
    price = goods.cents[film]
    kept = (made.returned - made.rented + DAY - 1) // DAY
    late = np.where(made.open, 0, np.maximum(kept - goods.days[film], 0))
    fee = late * _LATE_FEE_CENTS
    at_return = late > 0
    rental = np.arange(plan.rentals)

    parts = np.ones(plan.rentals, dtype=np.int64)
    odd = rng.permutation(rental)
    unpaid, odd = np.split(odd, [plan.rentals_without_payment])
    free, odd = np.split(odd, [plan.free_rentals])
    in_six = odd[made.rented[odd] < _CLOSE - 30 * DAY][: plan.rentals_paid_in_six_parts]
    odd = odd[~np.isin(odd, in_six)]
    in_two = odd[at_return[odd]][: plan.rentals_paid_twice]
    parts[unpaid], parts[in_six], parts[in_two] = 0, 6, 2
    price[free], fee[free] = 0, 0

    of = np.repeat(rental, parts)
    part = ordinals(parts) - 1
    whole = price + fee
    amount = np.select(
        [parts[of] == 6, (parts[of] == 2) & (part == 0), parts[of] == 2],
        [whole[of] // 6 + (part < whole[of] % 6), price[of], fee[of]],
        whole[of],
    )
    taken_back = np.where(parts[of] == 2, part == 1, at_return[of])
    paid = np.where(taken_back, made.returned[of], made.rented[of]) + rng.integers(0, 300, len(of))
    paid += np.where(parts[of] == 6, part * DAY, 0)
    paid = np.minimum(paid, _CLOSE)
    customer = made.customer[of]
    friends = rng.permutation(len(of))[: plan.payments_by_another_customer]
    customer[friends] = (customer[friends] + rng.integers(1, plan.customers, len(friends))) % plan.customers
    staff = np.where(taken_back | (rng.random(len(of)) < 0.05), _staff(stock.store[made.copy[of]], rng), made.staff[of])
    order = np.lexsort((of, part, paid))
    return pa.table(
        {
            "payment_id": numbers(len(of)),
            "customer_id": ints(customer[order] + 1),
            "staff_id": ints(staff[order] + 1),
            "rental_id": ints(of[order] + 1),
            "amount": money(amount[order], 5),
            "payment_date": moments(paid[order]),
        }
    )


def joined(plan: Plan, made: Rentals, paid: pa.Table, rng: np.random.Generator) -> Ints:
    """The day on which each customer joined, in days since 1970-01-01: before the first rental or payment."""
    calendar = open_days()
    planned = calendar[rng.integers(0, len(calendar) // 2, plan.customers)]
    first = np.full(plan.customers, calendar[-1])
    np.minimum.at(first, made.customer, made.rented // DAY)
    paid_on = paid["payment_date"].cast(pa.int64()).to_numpy() // (DAY * 1_000_000)
    np.minimum.at(first, paid["customer_id"].to_numpy() - 1, paid_on)
    return np.minimum(planned, first)


def _rentals_of_each_copy(plan: Plan, stock: Copies, rng: np.random.Generator) -> Ints:
    """How often each copy is rented: exactly `plan.rentals` in all, and never more often than there is time for."""
    horizon = _days_in_stock(stock)
    most = horizon // (_LONGEST + 1)
    liked = quantiles(rng, FILMS, (0, 0.5, 0.9, 1), (0.3, 0.9, 2.0, 3.5))
    weight = liked[stock.film] * horizon
    times = np.minimum((weight / weight.sum() * plan.rentals + rng.random(len(weight))).astype(np.int64), most)
    missing = plan.rentals - int(times.sum())
    room = np.repeat(np.arange(len(times)), most - times if missing > 0 else times)
    np.add.at(times, rng.permutation(room)[: abs(missing)], np.sign(missing))
    return times


def _starts(stock: Copies, times: Ints, rng: np.random.Generator) -> Ints:
    """The open day of each rental: every copy's time is cut into equal parts, and one rental starts early in each."""
    length = np.repeat(_days_in_stock(stock), times) / np.repeat(times, times)
    offset = (ordinals(times) - 1) * length + rng.random(len(length)) * (length - _LONGEST - 1)
    return np.repeat(stock.bought, times) + offset.astype(np.int64)


def _days_in_stock(stock: Copies) -> Ints:
    """Days from a copy's first open day to the one on which the rental of the last open day ends."""
    return len(open_days()) + _LONGEST - stock.bought


def _days_out(allowed: Ints, rng: np.random.Generator) -> Ints:
    late = rng.random(len(allowed)) < _LATE
    on_time = 1 + (rng.random(len(allowed)) * (allowed - 1)).astype(np.int64)
    overdue = allowed + 1 + (rng.random(len(allowed)) * (_LONGEST - allowed)).astype(np.int64)
    return np.where(late, overdue, on_time)


def _time_of_day(rng: np.random.Generator, count: int) -> Ints:
    hours: Floats = quantiles(rng, count, *_HOURS)
    return np.minimum((hours * 3600).astype(np.int64), 22 * 3600 - 1)


def _customers(plan: Plan, store: Ints, home: Ints, rng: np.random.Generator) -> Ints:
    """Who rented: mostly customers of that store, some far more often than others, a few customers never."""
    keen = quantiles(rng, plan.customers, (0, 0.5, 1), (0.4, 1.0, 2.2))
    keen[rng.permutation(plan.customers)[: plan.customers_without_rental]] = 0
    from_store = np.where(rng.random(len(store)) < _ELSEWHERE, STORES - 1 - store, store)
    customer = np.empty(len(store), dtype=np.int64)
    for number in range(STORES):
        here, members = np.flatnonzero(from_store == number), np.flatnonzero(home == number)
        customer[here] = members[classes(rng, len(here), keen[members])]
    return customer


def _staff(store: Ints, rng: np.random.Generator) -> Ints:
    """Who served: each store has one employee, who stands in for the other now and then."""
    return np.where(rng.random(len(store)) < _STAND_IN, STORES - 1 - store, store)
