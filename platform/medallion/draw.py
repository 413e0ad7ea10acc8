"""Random draws for synthetic datasets: only basic arithmetic, so a seed gives the same rows on every machine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def quantiles(rng: np.random.Generator, count: int, shares: Sequence[float], values: Sequence[float]) -> Floats:
    """Draw from the distribution whose quantiles at `shares` (from 0 to 1) are `values`, straight lines between."""
    return np.interp(rng.random(count), shares, values)


def classes(rng: np.random.Generator, count: int, weights: Sequence[float] | Floats) -> Ints:
    """Draw class numbers from 0 with these weights."""
    edges = np.cumsum(np.asarray(weights, dtype=np.float64))
    found: Ints = np.searchsorted(edges[:-1], rng.random(count) * edges[-1], side="right").astype(np.int64)
    return found


def popular(rng: np.random.Generator, count: int, size: int) -> Ints:
    """Draw numbers below `size` of which low ones are far more frequent."""
    uniform = rng.random(count)
    return (uniform * uniform * uniform * size).astype(np.int64)


def covering(rng: np.random.Generator, count: int, size: int) -> Ints:
    """Draw `count` numbers below `size`, each at least once, low ones more often. `count` must be at least `size`."""
    numbers = popular(rng, count, size)
    numbers[rng.permutation(count)[:size]] = np.arange(size)
    return numbers


def extras(rng: np.random.Generator, total: int, among: Ints, size: int, weights: Sequence[float]) -> Ints:
    """Spread exactly `total` additional units over some of the positions `among`, in groups.

    Args:
        rng: the source of chance.
        total: units to spread.
        among: positions that may get units.
        size: length of the answer.
        weights: relative frequency of groups of 1, 2, 3, … units.

    Returns:
        Units per position, of length `size`.
    """
    mean = sum((i + 1) * w for i, w in enumerate(weights)) / sum(weights)
    groups = min(len(among), max(1, round(total / mean)))
    chosen = rng.permutation(among)[:groups]
    units = np.repeat(chosen, classes(rng, groups, weights) + 1)
    if len(units) < total:
        units = np.concatenate([units, rng.choice(chosen, total - len(units))])
    return np.bincount(rng.permutation(units)[:total], minlength=size).astype(np.int64)


def ordinals(counts: Ints) -> Ints:
    """1, 2, … within each group, for groups of these sizes one after the other."""
    starts = np.cumsum(counts) - counts
    return np.arange(counts.sum(), dtype=np.int64) - np.repeat(starts, counts) + 1
