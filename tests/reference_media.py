"""Slow, obvious twins of the media model: lists, loops and `math`, one line of the textbook each.

Sources: Jin et al. (2017), "Bayesian Methods for Media Mix Modeling with Carryover and Shape Effects"; Hyndman & Fan
(1996) for quantiles; Hamilton, Time Series Analysis (1994), section 5.2, for the exact AR(1) likelihood.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

Row = Sequence[float]


def adstock(x: Row, alpha: float, max_lag: int) -> list[float]:
    """sum_l alpha^l x[t-l] / sum_l alpha^l, l = 0 .. max_lag-1, nothing spent before the first period."""
    total = math.fsum(alpha**lag for lag in range(max_lag))
    return [math.fsum(alpha**lag * x[t - lag] for lag in range(max_lag) if t - lag >= 0) / total for t in range(len(x))]


def saturation(x: float, lam: float) -> float:
    """1 - exp(-lambda x)."""
    return 1.0 - math.exp(-lam * x)


class Truth(NamedTuple):
    """One location's parameters; no events."""

    level: float
    trend: Row  # (N,)
    season: Row  # (K,)
    control: Row  # (C,)
    beta: Row  # (M,)
    alpha: Row
    lam: Row
    rho: float
    sigma: float
    nu: float  # infinity: Normal
    gap: float  # of the high state above the low one
    share: float  # of high periods; 0: one state


class Series(NamedTuple):
    """One location's data: time first."""

    y: Row
    known: Row
    media: Sequence[Row]  # (time, channel), scaled
    controls: Sequence[Row]
    trend: Sequence[Row]  # (time, N)
    season: Sequence[Row]


def media(p: Truth, data: Series, max_lag: int) -> list[list[float]]:
    """(time, channel) effect of each channel on the model's scale."""
    carried = [adstock([row[m] for row in data.media], p.alpha[m], max_lag) for m in range(len(p.beta))]
    return [[p.beta[m] * saturation(carried[m][t], p.lam[m]) for m in range(len(p.beta))] for t in range(len(data.y))]


def mean(p: Truth, data: Series, max_lag: int) -> list[float]:
    """(time,) everything but the residual."""
    effects = [math.fsum(row) for row in media(p, data, max_lag)]
    known = [t for t, flag in enumerate(data.known) if flag]
    typical = math.fsum(effects[t] for t in known) / len(known)
    return [
        p.level
        + math.fsum(a * b for a, b in zip(p.trend, data.trend[t], strict=True))
        + math.fsum(a * b for a, b in zip(p.season, data.season[t], strict=True))
        + math.fsum(a * b for a, b in zip(p.control, data.controls[t], strict=True))
        + effects[t]
        - typical
        for t in range(len(data.y))
    ]


def log_density(x: float, nu: float) -> float:
    """Of the standard Normal, or Student's t with nu degrees of freedom."""
    if math.isinf(nu):
        return -0.5 * x * x - 0.5 * math.log(2.0 * math.pi)
    constant = math.lgamma((nu + 1.0) / 2.0) - math.lgamma(nu / 2.0) - 0.5 * math.log(nu * math.pi)
    return constant - (nu + 1.0) / 2.0 * math.log(1.0 + x * x / nu)


def log_likelihood(p: Truth, data: Series, max_lag: int) -> list[float]:
    """(time,) log density of each outcome given the one before; the first residual is stationary."""
    residual = [y - m for y, m in zip(data.y, mean(p, data, max_lag), strict=True)]
    found = []
    for t, r in enumerate(residual):
        centre = p.rho * residual[t - 1] if t else 0.0
        sd = p.sigma if t else p.sigma / math.sqrt(1.0 - p.rho**2)  # the first has the stationary variance
        found.append(log_density((r - centre) / sd, p.nu) - math.log(sd))
        if p.share > 0.0:
            low, high = (math.exp(log_density((r - centre - s) / sd, p.nu)) for s in (0.0, p.gap))
            found[-1] = math.log(((1.0 - p.share) * low + p.share * high) / sd)
    return found


def quantile(values: Row, probability: float) -> float:
    """Hyndman & Fan's type 7, in exact fractions."""
    ordered = sorted(Fraction(v) for v in values)
    place = Fraction(probability) * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return float(ordered[below] + (place - below) * (ordered[above] - ordered[below]))
