"""The orders of a synthetic shop and who places them: times, statuses, repeat customers, and the odd rows."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.olist.synthetic import cells
from assets.olist.synthetic.cells import Columns
from assets.olist.synthetic.plan import FIRST_MONTH, Plan
from assets.olist.synthetic.shop import Postcodes
from medallion import draw

MINUTE, HOUR, DAY = 60, 3_600, 86_400
_STATUSES = ("delivered", "shipped", "canceled", "unavailable", "invoiced", "processing", "created", "approved")
_DELIVERED, _SHIPPED, CANCELED, _UNAVAILABLE, _CREATED = 0, 1, 2, 3, 6
_HOUR_WEIGHTS = (27, 13, 6, 4, 3, 3, 6, 14, 33, 52, 67, 72, 65, 71, 72, 70, 73, 67, 63, 65, 67, 67, 63, 45)
_WEEKDAY_WEIGHTS = (1.15, 1.15, 1.1, 1.05, 1.0, 0.75, 0.85)
_BLACK_FRIDAY = datetime.date(2017, 11, 24)
ABSENT = np.int64(-1)


@dataclass(frozen=True)
class Orders:
    """Orders by number, in the order of their purchase; times in seconds since 1970 (`ABSENT` where there is none)."""

    ids: pa.StringArray
    customer_ids: pa.StringArray
    status: draw.Ints
    purchased: draw.Ints
    approved: draw.Ints
    carried: draw.Ints
    delivered: draw.Ints
    estimated: draw.Ints
    home: draw.Ints
    has_items: cells.Flags
    ordinary: draw.Ints
    """Delivered orders that may be made odd: never the first of a month, so that every month has sound rows."""


def orders(plan: Plan, home: draw.Ints, rng: np.random.Generator) -> Orders:
    """Orders with their status and times: purchase <= approval <= carrier <= delivery wherever they exist.

    Args:
        plan: the row counts.
        home: the postcode of each order's customer.
        rng: the source of chance.
    """
    count = plan.orders
    purchased, anchors = _purchases(plan, rng)
    free = rng.permutation(np.setdiff1d(np.arange(count), anchors))
    status = np.zeros(count, dtype=np.int64)
    odd = np.repeat(np.arange(1, len(_STATUSES)), [plan.statuses[s] for s in _STATUSES[1:]])
    status[free[: len(odd)]] = odd
    ordinary = np.sort(free[len(odd) :])

    approved = purchased + draw.quantiles(
        rng, count, (0, 0.6, 0.8, 0.95, 1), (5 * MINUTE, 25 * MINUTE, 20 * HOUR, 2 * DAY, 4 * DAY)
    ).astype(np.int64)
    carried = approved + draw.quantiles(rng, count, (0, 0.5, 0.9, 1), (HOUR, 2 * DAY, 6 * DAY, 20 * DAY)).astype(
        np.int64
    )
    travel = draw.quantiles(rng, count, (0, 0.1, 0.5, 0.9, 0.99, 1), (0.5, 2, 7, 18, 40, 90)) * DAY
    delivered = carried + travel.astype(np.int64)
    late = rng.random(count) < 0.07
    slack = draw.quantiles(rng, count, (0, 0.5, 0.9, 1), (1, 12, 22, 50)).astype(np.int64)
    overdue = draw.quantiles(rng, count, (0, 0.5, 0.9, 1), (1, 5, 18, 60)).astype(np.int64)
    due = delivered // DAY + np.where(late, -overdue, slack)
    estimated = np.maximum(due, purchased // DAY + 2) * DAY

    chance = rng.random(count)
    canceled = status == CANCELED
    no_approval = (status == _CREATED) | (canceled & (chance < 0.2))
    no_carrier = (status > _UNAVAILABLE) | (status == _UNAVAILABLE) | (canceled & (chance < 0.88))
    no_delivery = (status == _SHIPPED) | no_carrier | (canceled & (chance < 0.99))
    without_date = rng.permutation(ordinary)[: plan.delivered_without_date]
    no_delivery[without_date] = True
    return Orders(
        ids=cells.hex_ids(rng, count),
        customer_ids=cells.hex_ids(rng, count),
        status=status,
        purchased=purchased,
        approved=np.where(no_approval, ABSENT, approved),
        carried=np.where(no_carrier, ABSENT, carried),
        delivered=np.where(no_delivery, ABSENT, delivered),
        estimated=estimated,
        home=home,
        has_items=_with_items(plan, status, rng),
        ordinary=np.setdiff1d(ordinary, without_date),
    )


def _purchases(plan: Plan, rng: np.random.Generator) -> tuple[draw.Ints, draw.Ints]:
    """Sorted purchase times with the planned number in each month, and the first order of each month."""
    first = datetime.date(*FIRST_MONTH, 1)
    times = []
    for number, orders_of_month in enumerate(plan.months):
        year, month = divmod(first.year * 12 + first.month - 1 + number, 12)
        start = datetime.date(year, month + 1, 1)
        days = ((start + datetime.timedelta(days=31)).replace(day=1) - start).days
        weights = [_WEEKDAY_WEIGHTS[(start.weekday() + day) % 7] for day in range(days)]
        if (start.year, start.month) == (_BLACK_FRIDAY.year, _BLACK_FRIDAY.month):
            weights[_BLACK_FRIDAY.day - 1] *= 5
        day = (start - datetime.date(1970, 1, 1)).days + draw.classes(rng, orders_of_month, weights)
        hour = draw.classes(rng, orders_of_month, _HOUR_WEIGHTS)
        times.append(day * DAY + hour * HOUR + rng.integers(0, HOUR, orders_of_month))
    sizes = np.array(plan.months)
    return np.sort(np.concatenate(times)), np.cumsum(sizes) - sizes


def _with_items(plan: Plan, status: draw.Ints, rng: np.random.Generator) -> cells.Flags:
    """All orders but the planned number of canceled, unavailable and created ones."""
    canceled = rng.permutation(np.flatnonzero(status == CANCELED))
    unavailable = rng.permutation(np.flatnonzero(status == _UNAVAILABLE))
    created = np.flatnonzero(status == _CREATED)
    first = max(1, plan.payments_not_defined)
    empty = np.concatenate([canceled[:first], unavailable[:-1], created, canceled[first:]])[: plan.orders_without_items]
    has_items = np.ones(plan.orders, dtype=bool)
    has_items[empty] = False
    return has_items


def orders_columns(plan: Plan, made: Orders, rng: np.random.Generator) -> tuple[Columns, draw.Ints]:
    """The orders file in a random order, with the planned broken rows.

    Returns:
        The columns, and the numbers of the broken orders.
    """
    rules = plan.broken["orders"]
    broken = rng.permutation(made.ordinary)[: sum(rules.values())]
    foreign, unknown, early = np.split(broken, np.cumsum(list(rules.values()))[:-1])
    delivered = made.delivered.copy()
    delivered[early] = made.purchased[early] - rng.integers(HOUR, 5 * DAY, len(early))
    brazilian = pc.strftime(pa.array(made.purchased[foreign]).cast(pa.timestamp("s")), "%d/%m/%Y %H:%M")
    purchase = cells.replaced(cells.moments(made.purchased), foreign, pc.utf8_slice_codeunits(brazilian, 0, 16))
    columns = {
        "order_id": made.ids,
        "customer_id": made.customer_ids,
        "order_status": cells.replaced(cells.pick(_STATUSES, made.status), unknown, ["devolvido"] * len(unknown)),
        "order_purchase_timestamp": purchase,
        "order_approved_at": cells.moments(made.approved, made.approved == ABSENT),
        "order_delivered_carrier_date": cells.moments(made.carried, made.carried == ABSENT),
        "order_delivered_customer_date": cells.moments(delivered, delivered == ABSENT),
        "order_estimated_delivery_date": cells.moments(made.estimated),
    }
    return cells.shuffled(columns, rng), broken


def homes(plan: Plan, codes: Postcodes, rng: np.random.Generator) -> tuple[draw.Ints, draw.Ints]:
    """Who orders and where they live then: the person and the postcode of each order; some order again, a few moved."""
    count = plan.orders
    again = np.sort(1 + rng.permutation(count - 1)[: count - plan.people])
    firsts = np.setdiff1d(np.arange(count), again)
    person = np.empty(count, dtype=np.int64)
    person[firsts] = np.arange(len(firsts))
    earlier = np.searchsorted(firsts, again)
    person[again] = (rng.random(len(again)) * earlier).astype(np.int64)
    home = codes.living(rng, plan.people)
    strays = rng.permutation(plan.people)[: plan.people_at_unmapped_postcodes]
    home[strays] = rng.integers(codes.mapped, len(codes.number), len(strays))
    place = home[person]
    elsewhere = rng.permutation(again)[: plan.repeat_orders_elsewhere]
    place[elsewhere] = codes.living(rng, len(elsewhere))
    return person, place


def customers_columns(
    plan: Plan, made: Orders, person: draw.Ints, codes: Postcodes, rng: np.random.Generator
) -> Columns:
    """The customers file: one row per order, with the person's own id beside it."""
    people = cells.hex_ids(rng, plan.people)
    place = codes.columns(made.home, "customer")
    ids = {"customer_id": made.customer_ids, "customer_unique_id": people.take(pa.array(person))}
    return cells.shuffled({**ids, **place}, rng)
