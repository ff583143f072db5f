"""Slow, obvious twins of everything that is a function of time: paths built period by period, sums of the textbook.

Sources: Harvey (1989), sections 2.3.1-2.3.2; Taylor & Letham (2018), section 3.1; Schoenberg's truncated powers for
B-splines (de Boor 1978, chapter IX); Rasmussen & Williams (2006), chapter 4, for the kernels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from fractions import Fraction

Row = Sequence[float]


def line(slope: float, span: int, origin: int, year: float, damping: float) -> list[float]:
    """Climbs slope / year a period; past the last known one, damping times the climb before."""
    path, climb = [0.0], slope / year
    for t in range(1, span):
        climb *= damping if t >= origin else 1.0
        path.append(path[-1] + climb)
    return centred(path, origin)


def walk(steps: Row, knot: int, span: int, year: float) -> list[float]:
    """The level at each knot is the sum of the steps before it; between knots, a straight line."""
    at_knots = [0.0]
    for step in steps:
        at_knots.append(at_knots[-1] + step * math.sqrt(knot / year))
    path = []
    for t in range(span):
        k, part = divmod(t, knot)
        after = at_knots[k + 1] if part else at_knots[k]
        path.append(at_knots[k] + (after - at_knots[k]) * part / knot)
    return path


def turning_line(slope: float, changes: Mapping[int, float], span: int, year: float) -> list[float]:
    """A line whose slope per year becomes another at each of the periods of `changes`."""
    path = [0.0]
    for t in range(span - 1):
        slope += changes.get(t, 0.0)
        path.append(path[-1] + slope / year)
    return path


def smooth_walk(steps: Row, degree: int, knot: int, span: int, year: float) -> list[float]:
    """B-splines weighted by a walk of coefficients that begins at 0."""
    weights = [0.0]
    for step in steps:
        weights.append(weights[-1] + step * math.sqrt(knot / year))
    return [
        math.fsum(w * float(bspline(Fraction(t, knot) + degree - i, degree)) for i, w in enumerate(weights))
        for t in range(span)
    ]


def bspline(x: Fraction, degree: int) -> Fraction:
    """The B-spline on the knots 0, 1, .. degree + 1: sum_i (-1)^i C(degree+1, i) (x - i)_+^degree / degree!."""
    total = sum(
        ((-1) ** i * math.comb(degree + 1, i) * max(x - i, Fraction(0)) ** degree for i in range(degree + 2)),
        start=Fraction(0),
    )
    return total / math.factorial(degree)


def kernel(name: str, amplitude: float, lengthscale: float, distance: float) -> float:
    """Covariance of two values of a Gaussian process so far apart."""
    u = abs(distance) / lengthscale
    if name == "squared_exponential":
        return amplitude**2 * math.exp(-0.5 * u * u)
    v = math.sqrt(5.0) * u
    return amplitude**2 * (1.0 + v + v * v / 3.0) * math.exp(-v)


def centred(path: Row, origin: int) -> list[float]:
    """Less its mean over what is known."""
    middle = math.fsum(path[:origin]) / origin
    return [value - middle for value in path]


def season(period: float, coefficients: Row, t: int) -> float:
    """sum_k a_k cos(2 pi k t / period) + b_k sin(..), coefficients a_1 .. a_K, b_1 .. b_K."""
    K = len(coefficients) // 2
    angles = [2.0 * math.pi * (k + 1) * t / period for k in range(K)]
    return math.fsum(
        coefficients[k] * math.cos(angles[k]) + coefficients[K + k] * math.sin(angles[k]) for k in range(K)
    )


def event(begins: Sequence[date], days: int, decay: float, start: date, frequency: int, count: int) -> list[float]:
    """Period by period: the share of the event's days that lie in it, and what is left of the period before."""
    lying = [begin + timedelta(days=k) for begin in begins for k in range(days)]
    period = start - timedelta(days=frequency * 2000)  # long before the first
    left, found = 0.0, []
    while len(found) < 2000 + count:
        inside = sum(period <= day < period + timedelta(days=frequency) for day in lying)
        share = inside / min(days, frequency)
        left = max(share, min(1.0, share + decay * left))
        found.append(left)
        period += timedelta(days=frequency)
    return found[2000:]
