"""What past forecasts were worth: conformal adjustments of interval bounds, learned from backtest windows.

Scores are divided by their location's mean outcome before their window's origin, and kept apart by horizon and by
group: all locations together, or each alone (Mondrian: Vovk, Gammerman & Shafer 2005, Algorithmic Learning in a Random
World, section 4.5). Weights come from age and from the moments of what was spent before each origin: spend is not what
is scored, so the weights are fixed before a score is seen, as the bound of `engine.conformal` asks. A specification may
choose moments of the outcome itself; then nothing but measured coverage speaks for the intervals.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from engine import cases as past_cases
from engine import conformal, conformal_online, conformal_weights
from engine.cases import Cases
from engine.conformal_online import Track
from engine.errors import CalibrationError
from engine.levels import interval_probabilities
from engine.spec import Spec
from engine.table import Panel

POOLED = ""  # the location of an adjustment that serves all


class Bounds(NamedTuple):
    """Median (n,) and interval bounds (level, n), levels ascending, in the KPI's unit."""

    median: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


class Adjustment(NamedTuple):
    """How far the bounds of one horizon and level move out, in units of a location's scale."""

    horizon: int
    level: float
    q: float  # infinite where the scores cannot support the level, or the method asks for the whole line
    scores: int  # known outcomes of that horizon and group
    effective: float  # effective sample size of their weights; 0 without scores
    location: str  # POOLED where all locations share it


class History(NamedTuple):
    """Adjustments as of some origins, each from outcomes known at it alone."""

    adjustments: dict[int, tuple[Adjustment, ...]]
    supported: frozenset[int]  # origins where the scores known support every horizon, level and group


def moments(spec: Spec, panel: Panel, origin: int, place: int | None) -> np.ndarray:
    """The regime before `origin` of the series at index `place`, or of all together: (k,).

    That is of total spend or outcome over the moment window, scaled by its mean so far; k = 3, or 0 where the
    specification asks for no moments. A constant total has no log sd: its regime is its mean alone, (mean, 0, 0).
    """
    if spec.calibrate.moments == "none":
        return np.zeros(0)
    spent = spec.calibrate.moments == "media"
    values = panel.media if spent else panel.kpi[:, :, None]
    column = place // len(panel.outcomes) if place is not None and spent else place  # outcomes share a location's media
    own = values if column is None else values[:, column : column + 1]
    first = max(origin - spec.calibrate.moment_window, 0)
    totals = [math.fsum(own[t].ravel().tolist()) for t in range(origin)]
    scale = math.fsum(totals) / len(totals) or 1.0
    window = np.asarray([total / scale for total in totals[first:]])
    if window.min() == window.max():
        return np.asarray([window[0], 0.0, 0.0])
    return conformal_weights.regime_moments(window)


def history(spec: Spec, panel: Panel, past: Cases, origins: Sequence[int]) -> History:
    """One adjustment a (group, horizon, level) for forecasts from each of `origins`.

    The adaptive methods follow the misses of the forecasts in `past`, as each would have been calibrated at its own
    origin; nothing that was not known at an origin has a part in its adjustments.
    """
    steps = tuple(sorted({*past.origin.tolist(), *origins}))
    found: dict[int, list[Adjustment]] = {origin: [] for origin in sorted(origins)}
    unsupported: set[int] = set()
    for name, place in _groups(spec):
        regimes = np.stack([moments(spec, panel, origin, place) for origin in steps])
        mine = np.asarray([place is None or each == name for each in past.location])
        for horizon in range(1, spec.backtest.horizon + 1):
            (rows,) = np.nonzero(mine & (past.horizon == horizon))
            for row in _tracks(spec, past_cases.select(past, rows), horizon, steps, regimes):
                for origin, adjustments in found.items():
                    t = steps.index(origin)
                    q, effective = row.track.q[t].item(), row.effective[t].item()
                    adjustments.append(Adjustment(horizon, row.level, q, row.known[t].item(), effective, name))
                    if math.isinf(row.track.split[t]):
                        unsupported.add(origin)
    whole = {origin: tuple(adjustments) for origin, adjustments in found.items()}
    return History(whole, frozenset(whole) - unsupported)


class _Row(NamedTuple):
    """What becomes of one level of one horizon and group over the steps."""

    level: float
    track: Track
    known: np.ndarray  # (step,) scores
    effective: np.ndarray  # (step,) sample size


def _groups(spec: Spec) -> tuple[tuple[str, int | None], ...]:
    if spec.calibrate.groups == "pooled":
        return ((POOLED, None),)
    return tuple((name, place) for place, name in enumerate(spec.data.series))


def _tracks(spec: Spec, past: Cases, horizon: int, steps: tuple[int, ...], regimes: np.ndarray) -> Iterator[_Row]:
    declared, at = spec.calibrate, np.asarray(steps)
    made, known_from = np.searchsorted(at, past.origin), np.searchsorted(at, past.origin + horizon)
    known = np.arange(len(steps))[:, None] >= known_from  # (step, n)
    age = (at[:, None] - horizon - past.origin).astype(np.float64)
    for k, level in enumerate(declared.levels):
        support = max(declared.support, conformal_weights.needed_support(level))
        weights = conformal_weights.weights(
            age, known, regimes[made], regimes, declared.decay, declared.bandwidth, support
        )
        scores = conformal.conformity(past.outcome, past.lower[k], past.upper[k]) / past.scale
        track = conformal_online.track(declared.method, level, scores, weights, made, known_from)
        yield _Row(level, track, np.count_nonzero(known, axis=1), conformal_weights.effective_sizes(weights))


def apply(
    bounds: Bounds, location: Sequence[str], scale: np.ndarray, horizon: np.ndarray, moved: Sequence[Adjustment],
    levels: tuple[float, ...],
) -> Bounds:  # fmt: skip
    """Bounds moved out by the adjustment of each case's location and horizon times its scale; each given is (n,).

    Levels stay nested and hold the median, which is never moved. Raises CalibrationError where a (location, horizon,
    level) has no adjustment.
    """
    q = {(a.location, a.horizon, a.level): a.q for a in moved}
    groups = {a.location for a in moved}
    places = [(POOLED if groups == {POOLED} else name, h) for name, h in zip(location, horizon.tolist(), strict=True)]
    missing = sorted({(*place, level) for place in places for level in levels} - set(q))
    if missing:
        raise CalibrationError(
            f"adjustments: expected one for each location, horizon and level, found none for {missing[0]}"
        )
    lows, highs = [], []
    for k, level in enumerate(levels):
        shift = np.asarray([q[*place, level] for place in places]) * scale
        low, high = conformal.adjust(bounds.lower[k], bounds.upper[k], shift)
        lows.append(low)
        highs.append(high)
    rows = np.stack([*reversed(lows), bounds.median, *highs], axis=-1)
    monotone = np.moveaxis(conformal.uncross(rows, interval_probabilities(levels)), -1, 0)
    count = len(levels)
    return Bounds(bounds.median, monotone[count - 1 :: -1], monotone[count + 1 :])


def calibrated(spec: Spec, panel: Panel, past: Cases, origins: Sequence[int]) -> Cases:
    """The cases of `origins`, each calibrated by what was known at its own origin and nothing later."""
    as_of = history(spec, panel, past, origins).adjustments
    parts = []
    for origin in origins:
        mine = past_cases.select(past, np.nonzero(past.origin == origin)[0])
        raw = Bounds(mine.median, mine.lower, mine.upper)
        after = apply(raw, mine.location, mine.scale, mine.horizon, as_of[origin], spec.calibrate.levels)
        parts.append(mine._replace(lower=after.lower, upper=after.upper))
    return past_cases.joined(parts)


def supported(spec: Spec, panel: Panel, past: Cases) -> tuple[int, ...]:
    """Origins, ascending, whose forecasts could be calibrated at every horizon, level and group.

    Whether scores suffice is decided by their number and weights: that an adaptive method then asked for an interval
    without end drops no origin.
    """
    return tuple(sorted(history(spec, panel, past, sorted(set(past.origin.tolist()))).supported))
