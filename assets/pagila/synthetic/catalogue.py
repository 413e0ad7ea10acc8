"""What the shop could lend: films with their languages, categories and actors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from assets.pagila.synthetic import words
from assets.pagila.synthetic.columns import ints, money, same_moment, smallints
from assets.pagila.synthetic.columns import words as texts
from assets.pagila.synthetic.plan import (
    ACTORS,
    CATEGORIES,
    FILM_ACTORS,
    FILM_CATEGORIES,
    FILMS,
    LANGUAGES,
    OPENING,
)
from medallion.draw import Ints, classes, quantiles

_RATES = np.array([99, 299, 499])
_RATINGS = ("G", "PG", "PG-13", "R", "NC-17")
_FILMS_IN_TWO_CATEGORIES = 8
"""As many are in none."""


@dataclass(frozen=True)
class Catalogue:
    """The films.

    Attributes:
        tables: rows by table.
        days: days that a film may be kept; a number per film.
        cents: what a rental costs; a number per film.
    """

    tables: dict[str, pa.Table]
    days: Ints
    cents: Ints


def numbers(rows: int) -> pa.Array:
    """The key column of a table whose rows are numbered from 1."""
    return ints(np.arange(1, rows + 1))


def catalogue(rng: np.random.Generator) -> Catalogue:
    """All tables of the films; they are the same size in every database."""
    days = rng.integers(3, 8, FILMS)
    cents = _RATES[classes(rng, FILMS, (34, 33, 33))]
    tables = {
        "language": _named("language", words.LANGUAGES[:LANGUAGES]),
        "category": _named("category", words.CATEGORIES[:CATEGORIES]),
        "actor": _actors(rng),
        "film": _films(rng, days, cents),
        "film_actor": _casts(rng),
        "film_category": _categories(rng),
    }
    return Catalogue(tables, days, cents)


def _named(table: str, names: tuple[str, ...]) -> pa.Table:
    rows = len(names)
    return pa.table({f"{table}_id": numbers(rows), "name": list(names), "last_update": same_moment(OPENING, rows)})


def _actors(rng: np.random.Generator) -> pa.Table:
    pairs = rng.permutation(len(words.FIRST_NAMES) * len(words.LAST_NAMES))[:ACTORS]
    # Two people share a name, as people do.
    pairs[-1] = pairs[0]
    return pa.table(
        {
            "actor_id": numbers(ACTORS),
            "first_name": texts(words.FIRST_NAMES, pairs % len(words.FIRST_NAMES)),
            "last_name": texts(words.LAST_NAMES, pairs // len(words.FIRST_NAMES)),
            "last_update": same_moment(OPENING, ACTORS),
        }
    )


def _films(rng: np.random.Generator, days: Ints, cents: Ints) -> pa.Table:
    titles = rng.permutation(len(words.TITLE_STARTS) * len(words.TITLE_ENDS))[:FILMS]
    heroes, others = rng.integers(0, len(words.HEROES), (2, FILMS))
    deeds, places = rng.integers(0, len(words.DEEDS), FILMS), rng.integers(0, len(words.PLACES), FILMS)
    descriptions = [
        f"{words.HEROES[hero].capitalize()} {words.DEEDS[deed]} {words.HEROES[other]} {words.PLACES[place]}."
        for hero, deed, other, place in zip(heroes, deeds, others, places, strict=True)
    ]
    language = classes(rng, FILMS, (70, 8, 7, 6, 5, 4))
    original = (language + rng.integers(1, LANGUAGES, FILMS)) % LANGUAGES
    features = classes(rng, FILMS, words.FEATURE_WEIGHTS)
    return pa.table(
        {
            "film_id": numbers(FILMS),
            "title": [
                f"{words.TITLE_STARTS[title % len(words.TITLE_STARTS)]} "
                f"{words.TITLE_ENDS[title // len(words.TITLE_STARTS)]}"
                for title in titles
            ],
            "description": descriptions,
            "release_year": ints(quantiles(rng, FILMS, (0, 0.3, 1), (1961, 2004, 2024)).astype(np.int64)),
            "language_id": ints(language + 1),
            "original_language_id": pa.array((original + 1).astype(np.int32), mask=rng.random(FILMS) < 0.85),
            "rental_duration": smallints(days),
            "rental_rate": money(cents, 4),
            "length": smallints(quantiles(rng, FILMS, (0, 0.5, 1), (46, 108, 186)).astype(np.int64)),
            "replacement_cost": money(rng.integers(9, 30, FILMS) * 100 + 99, 5),
            "rating": texts(_RATINGS, classes(rng, FILMS, (18, 19, 22, 20, 21))),
            "last_update": same_moment(OPENING, FILMS),
            "special_features": pa.array([words.FEATURES[number] for number in features], pa.list_(pa.string())),
        }
    )


def _casts(rng: np.random.Generator) -> pa.Table:
    """Pairs of actor and film, none of them twice; a few films have no actors, most have three to eight."""
    sizes = classes(rng, FILMS, (1, 3, 8, 16, 18, 20, 14, 10, 6, 4))
    while (missing := FILM_ACTORS - int(sizes.sum())) != 0:
        film = rng.permutation(np.flatnonzero((sizes > 0) & (sizes < 15)))[: abs(missing)]
        sizes[film] += np.sign(missing)
    shuffled = np.argsort(rng.random((FILMS, ACTORS)), axis=1)
    film, place = np.nonzero(np.arange(ACTORS) < sizes[:, None])
    return pa.table(
        {
            "actor_id": ints(shuffled[film, place] + 1),
            "film_id": ints(film + 1),
            "last_update": same_moment(OPENING, FILM_ACTORS),
        }
    )


def _categories(rng: np.random.Generator) -> pa.Table:
    """One category for most films, two for a few, and none for as many."""
    film = np.arange(FILMS)
    category = rng.integers(0, CATEGORIES, FILMS)
    odd = rng.permutation(FILMS)[: 2 * _FILMS_IN_TWO_CATEGORIES]
    twice, never = odd[:_FILMS_IN_TWO_CATEGORIES], odd[_FILMS_IN_TWO_CATEGORIES:]
    film[never] = twice
    category[never] = (category[twice] + 1) % CATEGORIES
    order = np.lexsort((category, film))
    return pa.table(
        {
            "film_id": ints(film[order] + 1),
            "category_id": ints(category[order] + 1),
            "last_update": same_moment(OPENING, FILM_CATEGORIES),
        }
    )
