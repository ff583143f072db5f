"""What past forecasts were worth: conformal adjustments of interval bounds, learned from backtest windows.

Scores are pooled over locations after division by each location's mean outcome before its window's origin, and kept
apart by horizon. Their weights come from age and from the moments of media spend before each origin: spend is not
what is scored, so the weights are fixed before a score is seen, as the bound of `engine.conformal` asks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa

from engine import conformal
from engine.errors import CalibrationError
from engine.levels import bounds as interval_bounds
from engine.levels import interval_probabilities, probability_name
from engine.spec import Calibrate, Spec
from engine.table import Panel

Forecaster = Literal["noptik", "seasonal_naive", "last_value"]
FORECASTERS: tuple[Forecaster, ...] = ("noptik", "seasonal_naive", "last_value")


class Cases(NamedTuple):
    """Past forecasts and outcomes of one forecaster, n of them; bounds as (level, n), in the KPI's unit."""

    origin: np.ndarray  # (n,) int
    horizon: np.ndarray  # (n,) int
    location: tuple[str, ...]  # (n,)
    outcome: np.ndarray  # (n,)
    scale: np.ndarray  # (n,)
    median: np.ndarray  # (n,)
    lower: np.ndarray  # (level, n)
    upper: np.ndarray  # (level, n)


class Bounds(NamedTuple):
    """Median (n,) and interval bounds (level, n), levels ascending, in the KPI's unit."""

    median: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


class Adjustment(NamedTuple):
    """How far the bounds of one horizon and level move out, in units of a location's scale."""

    horizon: int
    level: float
    q: float  # infinite where the scores cannot support the level
    scores: int
    effective: float  # effective sample size of the weights; 0 without scores


def cases(table: pa.Table, forecaster: Forecaster, levels: Sequence[float]) -> Cases:
    """The cases in a backtest table; a naive forecaster's bounds are its point forecast."""

    def column(name: str) -> np.ndarray:
        return table.column(name).to_numpy(zero_copy_only=False)

    def bound(level: float, side: int) -> np.ndarray:
        return column(forecaster if forecaster != "noptik" else "q" + probability_name(interval_bounds(level)[side]))

    return Cases(
        origin=column("origin"),
        horizon=column("horizon"),
        location=tuple(table.column("location").to_pylist()),
        outcome=column("outcome"),
        scale=column("scale"),
        median=column("q0.5") if forecaster == "noptik" else column(forecaster),
        lower=np.stack([bound(level, 0) for level in levels]),
        upper=np.stack([bound(level, 1) for level in levels]),
    )


def moments(spec: Spec, panel: Panel, origin: int) -> np.ndarray:
    """The spending regime before `origin`: (3,), of total scaled spend over the moment window.

    Constant spend has no log sd: its regime is told by the mean alone, (mean, 0, 0).
    """
    first = max(origin - spec.calibrate.moment_window, 0)
    totals = [math.fsum(panel.media[t].ravel().tolist()) for t in range(origin)]
    scale = math.fsum(totals) / len(totals) or 1.0
    window = np.asarray([total / scale for total in totals[first:]])
    if window.min() == window.max():
        return np.asarray([window[0], 0.0, 0.0])
    return conformal.regime_moments(window)


def adjustments(spec: Spec, panel: Panel, past: Cases, origin: int) -> tuple[Adjustment, ...]:
    """One adjustment a (horizon, level) for a forecast from `origin`, from outcomes known at `origin` alone."""
    calibrate = spec.calibrate
    seen = {int(o): moments(spec, panel, int(o)) for o in sorted(set(past.origin.tolist())) if o < origin}
    current = moments(spec, panel, origin)
    found: list[Adjustment] = []
    for horizon in range(1, spec.backtest.horizon + 1):
        (rows,) = np.nonzero((past.horizon == horizon) & (past.origin + horizon <= origin))
        scaled = [
            conformal.conformity(past.outcome[rows], low[rows], high[rows]) / past.scale[rows]
            for low, high in zip(past.lower, past.upper, strict=True)
        ]
        weights = _weights(calibrate, past, rows, horizon, origin, seen, current)
        effective = conformal.effective_size(weights) if rows.size else 0.0
        for level, score in zip(calibrate.levels, scaled, strict=True):
            q = conformal.quantile(score, weights, level)
            found.append(Adjustment(horizon, level, q, int(rows.size), effective))
    return tuple(found)


def _weights(
    calibrate: Calibrate, past: Cases, rows: np.ndarray, horizon: int, origin: int,
    seen: dict[int, np.ndarray], current: np.ndarray,
) -> np.ndarray:  # fmt: skip
    if rows.size == 0:
        return np.zeros(0)
    age = np.asarray([float(origin - horizon - o) for o in past.origin[rows].tolist()])
    regimes = np.stack([seen[o] for o in past.origin[rows].tolist()])
    return conformal.weights(age, regimes, current, calibrate.decay, calibrate.bandwidth, calibrate.ess_floor)


def apply(
    bounds: Bounds, scale: np.ndarray, horizon: np.ndarray, moved: Sequence[Adjustment], levels: tuple[float, ...]
) -> Bounds:
    """Bounds moved out by the adjustment of each case's horizon times its scale (n,).

    Levels stay nested and hold the median, which is never moved. Raises CalibrationError where a (horizon, level)
    has no adjustment.
    """
    q = {(a.horizon, a.level): a.q for a in moved}
    missing = sorted({(h, level) for h in horizon.tolist() for level in levels} - set(q))
    if missing:
        raise CalibrationError(f"adjustments: expected one for each horizon and level, found none for {missing[0]}")
    lows, highs = [], []
    for k, level in enumerate(levels):
        shift = np.asarray([q[h, level] for h in horizon.tolist()]) * scale
        low, high = conformal.adjust(bounds.lower[k], bounds.upper[k], shift)
        lows.append(low)
        highs.append(high)
    rows = np.stack([*reversed(lows), bounds.median, *highs], axis=-1)
    monotone = np.moveaxis(conformal.uncross(rows, interval_probabilities(levels)), -1, 0)
    count = len(levels)
    return Bounds(bounds.median, monotone[count - 1 :: -1], monotone[count + 1 :])


def calibrated(spec: Spec, panel: Panel, past: Cases, origins: Sequence[int]) -> Cases:
    """The cases of `origins`, each calibrated by what was known at its own origin and nothing later."""
    parts = []
    for origin in origins:
        rows = np.nonzero(past.origin == origin)[0]
        moved = adjustments(spec, panel, past, origin)
        raw = Bounds(past.median[rows], past.lower[:, rows], past.upper[:, rows])
        after = apply(raw, past.scale[rows], past.horizon[rows], moved, spec.calibrate.levels)
        parts.append(select(past, rows)._replace(lower=after.lower, upper=after.upper))
    return _joined(parts)


def select(past: Cases, rows: np.ndarray) -> Cases:
    """The cases at `rows` (indices)."""
    return Cases(
        past.origin[rows], past.horizon[rows], tuple(past.location[int(i)] for i in rows), past.outcome[rows],
        past.scale[rows], past.median[rows], past.lower[:, rows], past.upper[:, rows],
    )  # fmt: skip


def _joined(parts: Sequence[Cases]) -> Cases:
    def end_to_end(name: str, axis: int = 0) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts], axis=axis)

    return Cases(
        origin=end_to_end("origin"),
        horizon=end_to_end("horizon"),
        location=tuple(name for part in parts for name in part.location),
        outcome=end_to_end("outcome"),
        scale=end_to_end("scale"),
        median=end_to_end("median"),
        lower=end_to_end("lower", axis=1),
        upper=end_to_end("upper", axis=1),
    )


def supported(spec: Spec, panel: Panel, past: Cases) -> tuple[int, ...]:
    """Origins whose forecasts can be calibrated at every horizon and level: all adjustments finite."""
    return tuple(
        origin
        for origin in sorted(set(past.origin.tolist()))
        if all(math.isfinite(a.q) for a in adjustments(spec, panel, past, origin))
    )
