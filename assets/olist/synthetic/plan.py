"""How many rows of each kind a synthetic dataset has: exact at the public dataset's size, in proportion at others."""

from __future__ import annotations

from dataclasses import dataclass

FULL_SIZE = 99_441
"""Orders in the public dataset."""
FEWEST = 100
"""Orders below which the 26 months and 8 statuses no longer all fit with ordinary rows beside the odd ones."""
FIRST_MONTH = (2016, 9)
MONTH_WEIGHTS = (
    4, 320, 12, 8,
    800, 1750, 2650, 2400, 3650, 3250, 4000, 4300, 4250, 4600, 7500, 5600,
    7200, 6700, 7200, 6900, 6850, 6150, 6250, 6500, 20, 8,
)  # fmt: skip
"""Orders of each month from 2016-09 to 2018-10, as weights: growth, a peak in November, thin ends."""
STATUS_WEIGHTS = {
    "delivered": 96_478,
    "shipped": 1_107,
    "canceled": 625,
    "unavailable": 609,
    "invoiced": 314,
    "processing": 301,
    "created": 5,
    "approved": 2,
}


@dataclass(frozen=True)
class Plan:
    """Row counts of one dataset. Every field counts rows, except `people` and `postcodes`, which count their keys."""

    orders: int
    items: int
    payments: int
    reviews: int
    people: int
    products: int
    sellers: int
    geolocation: int
    postcodes: int
    months: tuple[int, ...]
    """Orders of each month from 2016-09."""
    statuses: dict[str, int]
    orders_without_items: int
    orders_without_payment: int
    orders_without_review: int
    orders_reviewed_twice: int
    reviews_with_a_repeated_id: int
    payments_not_defined: int
    delivered_without_date: int
    people_at_unmapped_postcodes: int
    repeat_orders_elsewhere: int
    products_without_category: int
    products_of_untranslated_category: int
    geolocation_duplicates: int
    broken: dict[str, dict[str, int]]
    """Table and broken rule -> rows that no typed table may accept; each such row breaks just that one rule."""

    @classmethod
    def of(cls, orders: int) -> Plan:
        """Plan a dataset of `orders` orders.

        Raises:
            ValueError: fewer than `FEWEST` orders.
        """
        if orders < FEWEST:
            raise ValueError(
                f"--orders is {orders}, but a synthetic dataset needs at least {FEWEST} orders, so that all"
                " 26 months and 8 order statuses have ordinary rows too. Ask for more orders."
            )

        def scaled(full: int, least: int = 1) -> int:
            return max(least, (2 * full * orders + FULL_SIZE) // (2 * FULL_SIZE))

        return cls(
            orders=orders,
            items=scaled(112_650),
            payments=scaled(103_886),
            reviews=scaled(99_224),
            people=scaled(96_096),
            products=scaled(32_951),
            sellers=scaled(3_095),
            geolocation=scaled(1_000_163),
            # Postcodes are given: a larger shop has more customers and points at each of them.
            postcodes=min(scaled(19_015, least=150), 19_015),
            months=tuple(shares(orders, MONTH_WEIGHTS)),
            statuses=dict(zip(STATUS_WEIGHTS, shares(orders, tuple(STATUS_WEIGHTS.values())), strict=True)),
            orders_without_items=scaled(775),
            orders_without_payment=1,
            orders_without_review=scaled(768),
            orders_reviewed_twice=scaled(99_224) - (orders - scaled(768)),
            reviews_with_a_repeated_id=scaled(814),
            payments_not_defined=scaled(3),
            delivered_without_date=scaled(8),
            people_at_unmapped_postcodes=scaled(278),
            repeat_orders_elsewhere=scaled(140, least=2),
            products_without_category=scaled(610),
            products_of_untranslated_category=scaled(13, least=2),
            geolocation_duplicates=scaled(261_831),
            broken={
                "orders": {
                    "purchase_date_in_another_format": scaled(30, least=2),
                    "unknown_status": scaled(25, least=2),
                    "delivered_before_purchase": scaled(25, least=2),
                },
                "order_items": {"negative_price": scaled(80, least=2)},
                "payments": {"value_not_a_number": scaled(70, least=2)},
                "reviews": {"score_out_of_range": scaled(40, least=2), "score_not_a_number": scaled(30, least=2)},
                # Each spoils a postcode, of which a larger shop has no more.
                "geolocation": {"outside_brazil": min(scaled(42, least=3), 42)},
            },
        )


def shares(total: int, weights: tuple[int, ...]) -> list[int]:
    """Split `total` by weight into whole parts of at least 1 that add up to it (largest remainders round up).

    Args:
        total: what to split; at least the number of weights.
        weights: one positive weight per part.
    """
    whole = sum(weights)
    parts = [max(1, total * weight // whole) for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % whole), i))
    for i in by_remainder[: max(0, total - sum(parts))]:
        parts[i] += 1
    while sum(parts) > total:
        parts[parts.index(max(parts))] -= 1
    return parts
