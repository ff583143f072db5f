"""Slow, obvious twins of the engine's fast paths: one definition, one loop, no recursion over time.

Nothing here is shared with the engine: densities come from other formulas, quantiles from exact fractions,
scores from double sums. A twin may be a thousand times slower than what it checks.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Law(NamedTuple):
    """The numbers of the change-point model, named as in `Detect`."""

    hazard: float
    mean_precision: float
    shape: float
    rate: float
    slope_scale: float
    linear_weight: float


# Change-points. The evidence of a segment is a multivariate Student t: integrating the coefficients and the
# variance out of conjugate regression leaves x ~ t(2 shape, 0, rate / shape (I + A V A')), A the design and V
# the prior scales of the coefficients.


def segment_evidence(x: Sequence[float], law: Law) -> float:
    """log p(x) of one location's segment, x[tau] tau periods after its start, NaN missing, models mixed."""
    tau = [t for t, value in enumerate(x) if not math.isnan(value)]
    seen = np.array([x[t] for t in tau])
    ones, line = np.ones(len(tau)), np.array(tau, dtype=float)
    constant = np.outer(ones, ones) / law.mean_precision
    linear = constant + np.outer(line, line) * law.slope_scale**2
    odds = law.linear_weight
    terms = [_log_t(seen, constant, law) - math.log1p(odds)]
    if odds > 0:
        terms.append(_log_t(seen, linear, law) + math.log(odds) - math.log1p(odds))
    return log_sum(terms)


def _log_t(x: Floats, signal: Floats, law: Law) -> float:
    n, degrees = len(x), 2 * law.shape
    scale = law.rate / law.shape * (np.eye(n) + signal)
    square = float(x @ np.linalg.solve(scale, x)) if n else 0.0
    log_det = float(np.linalg.slogdet(scale)[1]) if n else 0.0
    return (
        math.lgamma((degrees + n) / 2)
        - math.lgamma(degrees / 2)
        - n / 2 * math.log(degrees * math.pi)
        - log_det / 2
        - (degrees + n) / 2 * math.log1p(square / degrees)
    )


def log_sum(terms: Sequence[float]) -> float:
    """log sum exp."""
    top = max(terms)
    return top + math.log(math.fsum(math.exp(t - top) for t in terms)) if top > -math.inf else top


def panel_evidence(panel: Floats, law: Law) -> float:
    """log p of one segment (time, location): the locations are independent given its start."""
    return math.fsum(segment_evidence(column.tolist(), law) for column in panel.T)


def predictive(panel: Floats, start: int, t: int, law: Law, memory: int) -> float:
    """log p(x[t] | x of its segment before t), of which the last `memory` periods are remembered."""
    first = max(start, t - memory)
    return panel_evidence(panel[first : t + 1], law) - panel_evidence(panel[first:t], law)


def run_length_posterior(panel: Floats, law: Law, memory: int) -> tuple[Floats, list[float]]:
    """P(run length | x up to t), (time, memory), and log p(x[t] | x[:t]), from the sum over all starts."""
    time = len(panel)
    starts = [0.0]  # log p(the segment's start, x[:t])
    rows, evidence = np.zeros((time, memory)), []
    for t in range(time):
        if t > 0:
            starts = [s + math.log1p(-law.hazard) for s in starts] + [math.log(law.hazard) + log_sum(starts)]
        before = log_sum(starts)
        for start in range(t + 1):
            starts[start] += predictive(panel, start, t, law, memory)
        evidence.append(log_sum(starts) - before)
        for start, weight in enumerate(starts):
            rows[t, min(t - start, memory - 1)] += math.exp(weight - log_sum(starts))
    return rows, evidence


def every_segmentation(panel: Floats, law: Law, memory: int) -> dict[tuple[int, ...], float]:
    """log p(starts, x) of each of the 2^(time - 1) ways to cut the panel."""
    time, found = len(panel), {}
    pieces = {
        (a, b): math.fsum(predictive(panel, a, t, law, memory) for t in range(a, b))
        for a in range(time)
        for b in range(a + 1, time + 1)
    }
    for cuts in itertools.product([False, True], repeat=time - 1):
        starts = (0, *(t + 1 for t, cut in enumerate(cuts) if cut))
        changes = len(starts) - 1
        prior = changes * math.log(law.hazard) + (time - 1 - changes) * math.log1p(-law.hazard)
        ends = (*starts[1:], time)
        found[starts] = prior + math.fsum(pieces[a, b] for a, b in zip(starts, ends, strict=True))
    return found


# Conformal calibration.


def conformal_quantile(scores: Sequence[float], weights: Sequence[float], level: str) -> float:
    """Smallest score that reaches the decimal `level` of all weight, in exact fractions."""
    largest = Fraction(max(weights))
    pairs = sorted((s, Fraction(w) / largest) for s, w in zip(scores, weights, strict=True))
    total = 1 + sum(w for _, w in pairs)
    reached = Fraction(0)
    for score, weight in pairs:
        reached += weight
        if reached >= Fraction(level) * total:
            return score
    return math.inf


def split_conformal_quantile(scores: Sequence[float], level: str) -> float:
    """The textbook's: the ceil((n + 1) level)-th smallest score."""
    rank = math.ceil((len(scores) + 1) * Fraction(level))
    return sorted(scores)[rank - 1] if rank <= len(scores) else math.inf


def regime_weights(
    age: Sequence[float], distance: Sequence[float], decay: float, bandwidth: float, floor: float
) -> list[float]:
    """Decay times kernel, mixed with uniform weights until they hold the floor, found by bisection."""
    raw = [decay**a * math.exp(-((d / bandwidth) ** 2) / 2) for a, d in zip(age, distance, strict=True)]
    n, total = len(raw), math.fsum(raw)

    def mixed(share: float) -> list[float]:
        return [(1 - share) * w / total + share / n for w in raw]

    def size(w: list[float]) -> float:
        return math.fsum(w) ** 2 / math.fsum(v * v for v in w)

    low, high = 0.0, 1.0
    if size(mixed(0.0)) < min(floor, n):
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (low, middle) if size(mixed(middle)) >= min(floor, n) else (middle, high)
        low = high
    w = mixed(low)
    return [v / max(w) for v in w]


# Scores.


def pinball(y: float, forecast: float, level: float) -> float:
    """Quantile loss, by cases."""
    return level * (y - forecast) if y >= forecast else (1 - level) * (forecast - y)


def interval_score(y: float, lower: float, upper: float, alpha: float) -> float:
    """Width and penalty, by cases."""
    if y < lower:
        return upper - lower + 2 / alpha * (lower - y)
    if y > upper:
        return upper - lower + 2 / alpha * (y - upper)
    return upper - lower


def weighted_interval_score(y: float, quantiles: dict[float, float]) -> float:
    """Twice the mean pinball loss of a symmetric set of quantiles with the median in it."""
    return 2 * math.fsum(pinball(y, q, level) for level, q in quantiles.items()) / len(quantiles)


def crps(y: float, draws: Sequence[float]) -> float:
    """mean |X - y| - mean |X - X'| / 2, over all pairs."""
    m = len(draws)
    apart = math.fsum(abs(a - b) for a in draws for b in draws)
    return math.fsum(abs(x - y) for x in draws) / m - apart / (2 * m * m)
