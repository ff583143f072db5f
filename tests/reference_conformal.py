"""Slow, obvious twins of the engine's conformal calibration: exact fractions, bisection, one loop over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction


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
    age: Sequence[float], distance: Sequence[float], decay: float, bandwidth: float, support: float
) -> list[float]:
    """Decay times kernel, mixed with equal weights until the support is held, found by bisection."""
    raw = [decay**a * math.exp(-((d / bandwidth) ** 2) / 2) for a, d in zip(age, distance, strict=True)]
    n, total = len(raw), math.fsum(raw)

    def mixed(share: float) -> list[float]:
        return [(1 - share) * w / total + share / n for w in raw]

    def holds(share: float) -> bool:
        w = mixed(share)
        return math.fsum(w) / max(w) >= min(support, n)

    low, high = 0.0, 1.0
    if not holds(0.0):
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (low, middle) if holds(middle) else (middle, high)
        low = high
    w = mixed(low)
    return [v / max(w) for v in w]


def adaptive(
    scores: Sequence[float], weights: Sequence[Sequence[float]], delay: int, level: float, rate: float
) -> list[float]:
    """ACI with one forecast a step and its outcome known `delay` steps later: the quantile of each step."""
    alpha, found = 1 - level, []
    for t in range(len(scores)):
        past = t - delay
        if past >= 0 and math.isfinite(_weighted(scores, weights[past], past - delay + 1, level)):
            missed = scores[past] > found[past]
            alpha += rate * ((1 - level) - missed)
        if math.isinf(_weighted(scores, weights[t], t - delay + 1, level)):
            found.append(math.inf)
        else:
            found.append(-math.inf if alpha >= 1 else _weighted(scores, weights[t], t - delay + 1, 1 - alpha))
    return found


def controlled(
    scores: Sequence[float], weights: Sequence[Sequence[float]], delay: int, level: float,
    rate: float, gain: float, saturation: float,
) -> list[float]:  # fmt: skip
    """Conformal PID in the same setting: tracker, integrator, and the weighted quantile as the scorecaster."""
    tracker, surplus, heard, found, split = 0.0, 0.0, 0, [], []
    for t in range(len(scores)):
        split.append(_weighted(scores, weights[t], t - delay + 1, level))
        past = t - delay
        counted = [i for i in range(max(past + 1, 0)) if math.isfinite(split[i])]
        unit = max((abs(scores[i] - split[i]) for i in counted), default=0.0)
        if past in counted:
            error = (scores[past] > found[past]) - (1 - level)
            tracker, surplus, heard = tracker + rate * unit * error, surplus + error, heard + 1
        angle = surplus * math.log(heard + 1) / (saturation * (heard + 1))
        integral = math.copysign(math.inf, angle) if abs(angle) >= math.pi / 2 else math.tan(angle)
        reach = gain * unit
        pulled = reach * integral if reach > 0 else 0.0
        found.append(split[t] + tracker + pulled if math.isfinite(split[t]) else math.inf)
    return found


def _weighted(scores: Sequence[float], weights: Sequence[float], known: int, level: float) -> float:
    """The weighted quantile of the first `known` scores; the level may be anything."""
    pairs = sorted(zip(scores[: max(known, 0)], weights[: max(known, 0)], strict=True))
    if not pairs:
        return math.inf
    largest = max(w for _, w in pairs)
    total = math.fsum(w / largest for _, w in pairs) + 1
    for i, (score, _) in enumerate(pairs):
        if math.fsum(w / largest for _, w in pairs[: i + 1]) >= level * total * (1 - 1e-12):
            return score
    return math.inf
