"""Slow, obvious twins of pooling: loops over cells and `math`, one line of the textbook each.

Source: Gelman & Hill (2007), Data Analysis Using Regression and Multilevel/Hierarchical Models, sections 12.5, 13.5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

Table = Mapping[tuple[int, int, int], float]  # (location, outcome, column or group); 0 where a dimension is shared


class Drawn(NamedTuple):
    """Every site of the partially pooled model, as it was sampled."""

    mu: Table
    tau: Mapping[str, Table]  # by dimension
    z: Mapping[str, Table]


class Sizes(NamedTuple):
    """How many locations and outcomes, and the group of each media column."""

    locations: int
    outcomes: int
    groups: Sequence[int]


def cells(sizes: Sizes) -> list[tuple[int, int, int]]:
    """Every (location, outcome, column)."""
    return [
        (place, outcome, m)
        for place in range(sizes.locations)
        for outcome in range(sizes.outcomes)
        for m in range(len(sizes.groups))
    ]


def population(over: Sequence[str], sizes: Sizes, outcome: int, m: int) -> tuple[int, int, int]:
    """Where the mu and tau of a cell are."""
    return 0, 0 if "product" in over else outcome, sizes.groups[m] if "campaign" in over else m


def unit(over: Sequence[str], dimension: str, sizes: Sizes, cell: tuple[int, int, int]) -> tuple[int, int, int]:
    """Where the deviation of a cell along one dimension is."""
    place, outcome, m = cell
    _, p, g = population(over, sizes, outcome, m)
    if dimension == "location":
        return place, p, g
    return (0, outcome, g) if dimension == "product" else (0, p, m)


def effect(over: Sequence[str], drawn: Drawn, sizes: Sizes, cell: tuple[int, int, int], national: bool) -> float:
    """exp(mu + sum of tau z), all deviations non-centred; none by location for a national column."""
    where = population(over, sizes, cell[1], cell[2])
    moved = [
        drawn.tau[d][where] * drawn.z[d][unit(over, d, sizes, cell)] for d in over if not (d == "location" and national)
    ]
    return math.exp(drawn.mu[where] + math.fsum(moved))


def posterior_mean(mu: float, tau: float, mean: float, sd: float, count: float) -> float:
    """Of a Normal(mu, tau^2) deviation after `count` observations with sd `sd` and mean `mean` (section 12.2)."""
    prior, data = 1.0 / tau**2, count / sd**2
    return (prior * mu + data * mean) / (prior + data)
