"""Slow, obvious twins of the engine's fast paths: one definition, one loop, no recursion over time.

Nothing here is shared with the engine: densities come from other formulas, quantiles from exact fractions,
scores from double sums. A twin may be a thousand times slower than what it checks.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
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
    beta: float = 0.0


# Change-points. The evidence of a segment is a multivariate Student t: integrating the coefficients and the
# variance out of conjugate regression leaves x ~ t(2 shape, 0, rate / shape (I + A V A')), A the design and V
# the prior scales of the coefficients.


def segment_evidence(x: Sequence[float], law: Law) -> float:
    """log p(x) of one location's segment, x[tau] tau periods after its start, NaN missing, models mixed."""
    if law.beta > 0:
        return robust_evidence(x, law)
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


def robust_evidence(x: Sequence[float], law: Law) -> float:
    """The same of beta-scores: models mixed after each has summed its own."""
    powers: list[tuple[int, ...]] = [(0,), (0, 1)]
    constant, linear = (math.fsum(_robust_scores(x, law, each)[0]) for each in powers)
    odds = law.linear_weight
    terms = [constant - math.log1p(odds)]
    return log_sum([*terms, linear + math.log(odds) - math.log1p(odds)] if odds > 0 else terms)


def _robust_scores(x: Sequence[float], law: Law, powers: tuple[int, ...]) -> tuple[list[float], list[float]]:
    """Scores and weights of one model, each observation predicted by the weighted regression on those before."""
    scores: list[float] = []
    weights: list[float] = []
    for t, value in enumerate(x):
        shape, rate, mean, precision = _weighted_regression(x[:t], weights, law, powers)
        phi = np.array([float(t) ** p for p in powers])
        variance = rate / shape * (1 + float(phi @ np.linalg.solve(precision, phi)))
        weight, score = beta_score(value - float(phi @ mean), variance, shape, law.beta)
        seen = not math.isnan(value)
        weights.append(weight if seen else 0.0)
        scores.append(score if seen else 0.0)
    return scores, weights


def _weighted_regression(
    x: Sequence[float], weights: Sequence[float], law: Law, powers: tuple[int, ...]
) -> tuple[float, float, Floats, Floats]:
    """Posterior of conjugate regression where observation i counts weights[i] times, with variance s2 / (1 + beta)."""
    prior = np.diag([law.mean_precision, 1 / law.slope_scale**2][: len(powers)])
    design = np.array([[float(t) ** p for p in powers] for t in range(len(x))]).reshape(-1, len(powers))
    worth = np.diag((1 + law.beta) * np.array(weights, dtype=float))
    y = np.nan_to_num(np.array(x, dtype=float))
    precision = prior + design.T @ worth @ design
    mean = np.linalg.solve(precision, design.T @ worth @ y)
    misfit = y - design @ mean
    rate = law.rate + 0.5 * float(misfit @ worth @ misfit + mean @ prior @ mean)
    return law.shape + 0.5 * math.fsum(weights), rate, mean, precision


def beta_score(error: float, variance: float, shape: float, beta: float) -> tuple[float, float]:
    """(p / max p)^beta and the beta-score of a Student t with 2 shape degrees of freedom, integral by its formula."""
    degrees = 2 * shape
    top = math.exp(math.lgamma(shape + 0.5) - math.lgamma(shape)) / math.sqrt(degrees * math.pi * variance)
    p = top * (1 + error**2 / (degrees * variance)) ** -(shape + 0.5)
    exponent = (shape + 0.5) * (1 + beta)
    width = math.sqrt(math.pi * degrees * variance) * math.exp(math.lgamma(exponent - 0.5) - math.lgamma(exponent))
    return (p / top) ** beta, (p**beta - 1) / beta - top ** (1 + beta) * width / (1 + beta) + 1


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
