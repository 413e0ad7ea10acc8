"""What a synthetic shop has before anybody orders: postcodes, points on the map, sellers, products, categories."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from assets.olist.synthetic import cells
from assets.olist.synthetic.cells import Columns
from assets.olist.synthetic.places import ABROAD, EASTERNMOST, STATES
from assets.olist.synthetic.plan import Plan
from assets.olist.synthetic.words import CATEGORIES, UNTRANSLATED
from medallion import draw

_CITIES = [(state, city) for state in STATES for city in state.cities]
_UNMAPPED = 40
"""Postcodes that customers have and the map lacks."""


def plain(name: str) -> str:
    """A city's name without accents, as most of the files spell it."""
    return "".join(c for c in unicodedata.normalize("NFD", name) if not unicodedata.combining(c))


@dataclass(frozen=True)
class Postcodes:
    """Postcode prefixes, each with its city; the last ones have no point on the map."""

    number: draw.Ints
    city: draw.Ints
    mapped: int
    by_state: list[draw.Ints]

    def living(self, rng: np.random.Generator, count: int, share_of_largest: float = 0) -> draw.Ints:
        """Draw indices of mapped postcodes: states by their share, low postcodes of a state more often.

        Args:
            rng: the source of chance.
            count: how many.
            share_of_largest: parts of 1 that go to the largest state beside its own share.
        """
        weights = np.array([state.share for state in STATES], dtype=np.float64)
        weights[0] += share_of_largest * weights.sum()
        states = draw.classes(rng, count, weights)
        sizes = np.array([len(rows) for rows in self.by_state])
        starts = np.cumsum(sizes) - sizes
        uniform = rng.random(count)
        return np.concatenate(self.by_state)[starts[states] + (uniform * uniform * sizes[states]).astype(np.int64)]

    def columns(self, rows: draw.Ints, prefix: str) -> Columns:
        """Postcode, city and state of these postcodes, as the files name them: `<prefix>_zip_code_prefix`, …"""
        city = self.city[rows]
        return {
            f"{prefix}_zip_code_prefix": cells.padded(self.number[rows], 5),
            f"{prefix}_city": cells.pick([plain(c.name) for _, c in _CITIES], city),
            f"{prefix}_state": cells.pick([s.code for s, _ in _CITIES], city),
        }


def postcodes(plan: Plan, rng: np.random.Generator) -> Postcodes:
    """Choose the postcodes of every state: distinct, each in its state's range, its range split between the cities."""
    mapped_per_state = _states_shares(plan.postcodes)
    numbers, cities, unmapped = [], [], []
    first_city = 0
    for state, mapped in zip(STATES, mapped_per_state, strict=True):
        size = state.last - state.first + 1
        chosen = rng.permutation(size)[: mapped + (_UNMAPPED if state.code == "SP" else 0)]
        numbers.append(state.first + chosen)
        cities.append(first_city + chosen * len(state.cities) // size)
        unmapped.append(np.arange(len(chosen)) >= mapped)
        first_city += len(state.cities)
    order = np.argsort(np.concatenate(unmapped), kind="stable")
    number, city = np.concatenate(numbers)[order], np.concatenate(cities)[order]
    ends = np.cumsum(mapped_per_state)
    by_state = [np.arange(end - size, end) for size, end in zip(mapped_per_state, ends, strict=True)]
    return Postcodes(number, city, int(ends[-1]), by_state)


def _states_shares(total: int) -> list[int]:
    """Mapped postcodes per state: by share, at least 1, at most half of a state's range."""
    whole = sum(state.share for state in STATES)
    sizes = [max(1, min(total * s.share // whole, (s.last - s.first) // 2)) for s in STATES]
    sizes[0] += total - sum(sizes)
    return sizes


def geolocation(plan: Plan, codes: Postcodes, rng: np.random.Generator) -> tuple[Columns, int]:
    """Points of every mapped postcode, with exact duplicates, accents, and the planned points outside Brazil.

    Returns:
        The columns, sorted by postcode, and how many rows are exact duplicates of an earlier one.
    """
    abroad = plan.broken["geolocation"]["outside_brazil"]
    distinct = plan.geolocation - plan.geolocation_duplicates
    code = draw.covering(rng, distinct, codes.mapped)
    city = codes.city[code]
    latitude = np.array([c.latitude for _, c in _CITIES])[city] + _scatter(rng, distinct)
    longitude = np.array([c.longitude for _, c in _CITIES])[city] + _scatter(rng, distinct)
    longitude = np.where(longitude > EASTERNMOST, 2 * EASTERNMOST - longitude, longitude)
    outside = rng.permutation(distinct)[:abroad]
    where = rng.integers(0, len(ABROAD), abroad)
    latitude[outside] = np.array([c.latitude for c in ABROAD])[where] + _scatter(rng, abroad)
    longitude[outside] = np.array([c.longitude for c in ABROAD])[where] + _scatter(rng, abroad)
    inside = np.ones(distinct, dtype=bool)
    inside[outside] = False
    copies = rng.choice(np.flatnonzero(inside), plan.geolocation_duplicates)
    rows = np.concatenate([np.arange(distinct), copies])
    rows = rows[np.argsort(codes.number[code[rows]], kind="stable")]
    accented = (rng.random(distinct) < 0.08)[rows]
    names = [plain(c.name) for _, c in _CITIES] + [c.name for _, c in _CITIES]
    columns = {f"geolocation_{name}": column for name, column in (
        ("zip_code_prefix", cells.padded(codes.number[code[rows]], 5)),
        ("lat", cells.degrees(latitude[rows])),
        ("lng", cells.degrees(longitude[rows])),
        ("city", cells.pick(names, city[rows] + accented * len(_CITIES))),
        ("state", cells.pick([s.code for s, _ in _CITIES], city[rows])),
    )}  # fmt: skip
    return columns, len(copies)


def _scatter(rng: np.random.Generator, count: int) -> draw.Floats:
    """Distances from a city's centre in degrees, up to 0.12, near ones more often."""
    return (rng.random(count) + rng.random(count) + rng.random(count) - 1.5) * 0.08


def sellers(plan: Plan, codes: Postcodes, rng: np.random.Generator) -> tuple[Columns, pa.StringArray]:
    """The sellers' columns, and their ids by seller number."""
    ids = cells.hex_ids(rng, plan.sellers)
    return {"seller_id": ids, **codes.columns(codes.living(rng, plan.sellers, share_of_largest=0.6), "seller")}, ids


def translations() -> Columns:
    """The English name of every category that has one."""
    names, english = zip(*CATEGORIES, strict=True)
    return {
        "product_category_name": pa.array(names, pa.string()),
        "product_category_name_english": pa.array(english, pa.string()),
    }


@dataclass(frozen=True)
class Products:
    """The products by number: low numbers sell most."""

    ids: pa.StringArray
    columns: Columns
    seller: draw.Ints
    cents: draw.Ints
    grams: draw.Ints


def products(plan: Plan, rng: np.random.Generator) -> Products:
    """Products with their category, size, price and seller; every seller has at least one."""
    count = plan.products
    category = draw.covering(rng, count, min(count, len(CATEGORIES)))
    odd = rng.permutation(count)[: plan.products_of_untranslated_category + plan.products_without_category]
    untranslated = odd[: plan.products_of_untranslated_category]
    category[untranslated] = len(CATEGORIES) + np.arange(len(untranslated)) % len(UNTRANSLATED)
    unnamed = np.zeros(count, dtype=bool)
    unnamed[odd[plan.products_of_untranslated_category :]] = True
    weight = draw.quantiles(rng, count, (0, 0.25, 0.5, 0.75, 0.95, 1), (50, 300, 700, 1_900, 10_000, 30_000))
    grams = weight.astype(np.int64)
    unmeasured = np.zeros(count, dtype=bool)
    unmeasured[rng.integers(0, count)] = True
    steep = draw.quantiles(
        rng, count, (0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.97, 0.995, 1), (6, 23, 40, 75, 135, 230, 500, 1_200, 4_200)
    )
    cents = steep.astype(np.int64) * 100 + np.array([90, 99, 0, 50])[draw.classes(rng, count, (6, 2, 1, 1))]
    ids = cells.hex_ids(rng, count)
    sides = [
        draw.quantiles(rng, count, (0, 0.5, 0.9, 1), (least, usual, 2 * usual, 100)).astype(np.int64)
        for least, usual in ((16, 26), (2, 13), (11, 20))
    ]
    names = [name for name, _ in CATEGORIES] + list(UNTRANSLATED)
    columns = {
        "product_id": ids,
        "product_category_name": cells.pick(names, category, unnamed),
        "product_name_lenght": cells.whole(rng.integers(15, 64, count), unnamed),
        "product_description_lenght": cells.whole(rng.integers(40, 3_000, count), unnamed),
        "product_photos_qty": cells.whole(1 + draw.popular(rng, count, 9), unnamed),
        "product_weight_g": cells.whole(grams, unmeasured),
        "product_length_cm": cells.whole(sides[0], unmeasured),
        "product_height_cm": cells.whole(sides[1], unmeasured),
        "product_width_cm": cells.whole(sides[2], unmeasured),
    }
    return Products(ids, columns, draw.covering(rng, count, plan.sellers), cents, grams)
