"""Slow, obvious twins of carry-over, saturation and the Hill checks: lists, loops and `math`, as written there.

Sources: Jin et al. (2017), eq. 1-4; Robyn's `adstock_weibull`; Meridian's binomial decay.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Row = Sequence[float]


def weights(kind: str, q: Row, lags: int) -> list[float]:
    """w[l] of one channel over their sum; q as the kind names its parameters."""
    raw = [weight(kind, q, lag, lags) for lag in range(lags)]
    total = math.fsum(raw)
    return [w / total for w in raw]


def weight(kind: str, q: Row, lag: int, lags: int) -> float:
    """w[lag], not normalised."""
    if kind == "geometric":
        return q[0] ** lag
    if kind == "delayed":
        return q[0] ** ((lag - q[1]) ** 2)
    if kind == "binomial":
        return (1.0 - lag / lags) ** (1.0 / q[0] - 1.0)
    k, lam = q
    if kind == "weibull_pdf":
        at = (lag + 1) / lam
        return k / lam * at ** (k - 1.0) * math.exp(-(at**k))
    survivals = [1.0 - (1.0 - math.exp(-((i / lam) ** k))) for i in range(1, lag + 1)]
    return math.prod(survivals)


def carried(kind: str, q: Row, x: Row, lags: int) -> list[float]:
    """sum_l w[l] x[t-l] / sum_l w[l], nothing spent before the first period."""
    w = weights(kind, q, lags)
    return [math.fsum(w[lag] * x[t - lag] for lag in range(lags) if t >= lag) for t in range(len(x))]


def curve(kind: str, q: Row, x: float) -> float:
    """The share of the whole effect at spend x."""
    if kind == "logistic":
        return -math.expm1(-q[0] * x)
    if kind == "logistic_symmetric":
        return -math.expm1(-q[0] * x) / (1.0 + math.exp(-q[0] * x))
    if kind == "hill":
        return x ** q[1] / (x ** q[1] + q[0] ** q[1])
    if kind == "tanh":
        return math.tanh(x / q[0])
    if kind == "michaelis_menten":
        return x / (x + q[0])
    return float(x ** q[0])


def half(kind: str, q: Row) -> float:
    """Where the curve is one half, by bisection."""
    low, high = 0.0, 1.0
    while curve(kind, q, high) < 0.5:
        high *= 2.0
    for _ in range(200):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if curve(kind, q, middle) < 0.5 else (low, middle)
    return high


def slope(kind: str, q: Row, x: float) -> float:
    """Central difference of fifth order, good to about nine digits; x > 0."""
    h = 1e-3 * x
    near, far = (curve(kind, q, x + i * h) - curve(kind, q, x - i * h) for i in (1, 2))
    return (8.0 * near - far) / (12.0 * h)


def mass_near_one(median: float, sd: float, factor: float, steps: int = 20_000) -> float:
    """Of LogNormal(log median, sd) within a factor of 1, by the midpoint rule."""
    low, high = -math.log(factor), math.log(factor)
    width = (high - low) / steps
    places = (low + (i + 0.5) * width for i in range(steps))
    density = (math.exp(-0.5 * ((u - math.log(median)) / sd) ** 2) for u in places)
    return math.fsum(density) * width / (sd * math.sqrt(2.0 * math.pi))


def correlation(a: Row, b: Row) -> float:
    """Pearson's."""
    mean_a, mean_b = math.fsum(a) / len(a), math.fsum(b) / len(b)
    cov = math.fsum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    return cov / math.sqrt(math.fsum((x - mean_a) ** 2 for x in a) * math.fsum((y - mean_b) ** 2 for y in b))
