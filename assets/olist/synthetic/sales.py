"""What the orders of a synthetic shop consist of and how they are paid, with the odd rows of both files."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.olist.synthetic import cells
from assets.olist.synthetic.cells import Columns
from assets.olist.synthetic.orders import CANCELED, DAY, Orders
from assets.olist.synthetic.plan import Plan
from assets.olist.synthetic.shop import Products
from medallion import draw

_PAYMENT_TYPES = ("credit_card", "boleto", "debit_card", "voucher", "not_defined")
_VOUCHER, _NOT_DEFINED = 3, 4


def items_columns(
    plan: Plan,
    made: Orders,
    goods: Products,
    sellers: pa.StringArray,
    broken_orders: draw.Ints,
    rng: np.random.Generator,
) -> tuple[Columns, draw.Ints]:
    """The items file, sorted by order id, with the planned negative prices.

    Returns:
        The columns, and each order's price plus freight in cents (0 for orders without items).
    """
    buying = np.flatnonzero(made.has_items)
    more = draw.extras(rng, plan.items - len(buying), buying, plan.orders, (76, 13, 5, 2, 2, 0.5, 0.5, 0.3, 0.3, 0.4))
    per_order = made.has_items + more
    order = np.repeat(np.arange(plan.orders), per_order)
    number = draw.ordinals(per_order)
    first = number == 1
    product = draw.popular(rng, plan.items, plan.products)
    product[first] = draw.covering(rng, len(buying), plan.products)
    head = product[np.flatnonzero(first)][np.cumsum(first) - 1]
    product = np.where(~first & (rng.random(plan.items) < 0.5), head, product)
    seller = goods.seller[product]
    sale = rng.random(plan.items)
    price = np.where(sale < 0.15, goods.cents[product] * 9 // 10, goods.cents[product])
    freight = draw.quantiles(
        rng, plan.items, (0, 0.1, 0.5, 0.9, 0.99, 1), (750, 850, 1_600, 3_000, 6_000, 14_000)
    ).astype(np.int64)
    freight = np.where(rng.random(plan.items) < 0.004, 0, freight + goods.grams[product] // 20)
    limit = made.purchased[order] + rng.integers(3 * DAY, 8 * DAY, plan.items)
    totals = np.bincount(order, weights=price + freight, minlength=plan.orders).astype(np.int64)

    sound = np.isin(order, np.setdiff1d(made.ordinary, broken_orders))
    negative = rng.permutation(np.flatnonzero(sound))[: plan.broken["order_items"]["negative_price"]]
    prices = cells.money(price)
    minus = pc.binary_join_element_wise("-", prices.take(pa.array(negative)), "")
    columns = {
        "order_id": made.ids.take(pa.array(order)),
        "order_item_id": cells.whole(number),
        "product_id": goods.ids.take(pa.array(product)),
        "seller_id": sellers.take(pa.array(seller)),
        "shipping_limit_date": cells.moments(limit),
        "price": cells.replaced(prices, negative, minus),
        "freight_value": cells.money(freight),
    }
    rank = np.empty(plan.orders, dtype=np.int64)
    rank[pc.sort_indices(made.ids).to_numpy()] = np.arange(plan.orders)
    by_id = pa.array(np.argsort(rank[order], kind="stable"))
    return {name: column.take(by_id) for name, column in columns.items()}, totals


def payments_columns(
    plan: Plan, made: Orders, totals: draw.Ints, broken_orders: draw.Ints, rng: np.random.Generator
) -> tuple[Columns, int]:
    """The payments file: parts of an order add up to its items' price and freight, but for a few cents now and then.

    Returns:
        The columns, and how many orders are paid in more than one part.
    """
    sound = np.setdiff1d(made.ordinary, broken_orders)
    unpaid = rng.permutation(sound)[: plan.orders_without_payment]
    unknown = np.flatnonzero(~made.has_items & (made.status == CANCELED))[: plan.payments_not_defined]
    paying = np.setdiff1d(np.arange(plan.orders), unpaid)
    more = draw.extras(
        rng,
        plan.payments - len(paying),
        np.setdiff1d(paying, unknown),
        plan.orders,
        (80, 9, 4, 2, 2, 1, 1, 0.5, 0.3, 0.2),
    )
    parts = more.copy()
    parts[paying] += 1
    due = np.where(made.has_items, totals, rng.integers(2_000, 20_000, plan.orders))
    due = due + np.where(rng.random(plan.orders) < 0.002, rng.integers(1, 30, plan.orders), 0)
    due[unknown] = 0

    order = np.repeat(np.arange(plan.orders), parts)
    number = draw.ordinals(parts)
    weight = rng.integers(50, 1_000, plan.payments)
    whole = np.bincount(order, weights=weight, minlength=plan.orders).astype(np.int64)
    value = due[order] * weight // whole[order]
    rest = due - np.bincount(order, weights=value, minlength=plan.orders).astype(np.int64)
    value[number == 1] += rest[paying]

    kind = draw.classes(rng, plan.payments, (755, 195, 16, 34))
    several = parts[order] > 1
    first_of_several = np.where(rng.random(plan.payments) < 0.75, 0, _VOUCHER)
    kind = np.where(several, np.where(number == 1, first_of_several, _VOUCHER), kind)
    kind[np.isin(order, unknown)] = _NOT_DEFINED
    rates = np.where(kind == 0, 1 + draw.classes(rng, plan.payments, (50, 12, 10, 7, 5, 4, 2, 4, 1, 5)), 1)

    candidates = np.flatnonzero(np.isin(order, sound))
    broken = rng.permutation(candidates)[: plan.broken["payments"]["value_not_a_number"]]
    values = cells.money(value)
    with_currency = pc.binary_join_element_wise("R$ ", values.take(pa.array(broken)), "")
    columns = {
        "order_id": made.ids.take(pa.array(order)),
        "payment_sequential": cells.whole(number),
        "payment_type": cells.pick(_PAYMENT_TYPES, kind),
        "payment_installments": cells.whole(rates),
        "payment_value": cells.replaced(values, broken, with_currency),
    }
    return cells.shuffled(columns, rng), int((parts > 1).sum())
