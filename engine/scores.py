"""Scores of point, interval and sample forecasts, and the naive forecasts they are compared with.

Sources: interval and weighted interval score, Bracher, Ray, Gneiting & Reich 2021,
doi:10.1371/journal.pcbi.1008618 ("B"); pinball and CRPS, Gneiting & Raftery 2007,
doi:10.1198/016214506000001437; CRPS of a sample from its order statistics, Laio & Tamea 2007,
doi:10.5194/hess-11-1267-2007.

Every score takes outcomes y (case, ...) and is the mean over the cases, of shape (...): an array
(origin, horizon) scores per horizon, a raveled one as a whole. Scores are in units of y and lower is better,
unless said otherwise.

An outcome that is not known (NaN) is left out of the mean; `cases` counts those that are in it, and where
there are none the score is NaN. Errors are: an infinite outcome; a forecast that is NaN, or a lower bound
above its upper one, where the outcome is known. An infinite bound is none: it covers, at infinite width.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from engine.errors import EngineError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class ScoreError(EngineError):
    """Outcomes and forecasts that cannot be scored."""


def cases(y: Floats) -> Ints:
    """How many outcomes of y (case, ...) are known, (...)."""
    return np.asarray(np.count_nonzero(~np.isnan(y), axis=0), dtype=np.int64)


def mae(y: Floats, point: Floats) -> Floats:
    """Mean absolute error of point forecasts shaped as y."""
    _check(y, point)
    return np.asarray(_mae(y, point))


def mape(y: Floats, point: Floats) -> Floats:
    """Mean of |y - point| / |y|, a fraction (0.24 is 24 %). Raises ScoreError where an outcome is zero."""
    _check(y, point)
    zero = np.argwhere(y == 0)
    if zero.size:
        first = zero[0].tolist()
        raise ScoreError(f"mape: expected no outcome of 0, found {len(zero)}, the first at {first}")
    return np.asarray(_mape(y, point))


def pinball(y: Floats, forecast: Floats, level: float) -> Floats:
    """Quantile loss max(level (y - q), (level - 1) (y - q)) of forecasts q of one level, shaped as y."""
    _check(y, forecast)
    _check_levels((level,))
    return np.asarray(_pinball(y, forecast, level))


def interval_score(y: Floats, lower: Floats, upper: Floats, level: float) -> Floats:
    """B: width + 2/alpha times the miss, of central intervals of one level = 1 - alpha, shaped as y."""
    _check_bounds(y, lower, upper)
    _check_levels((level,))
    return np.asarray(_interval_score(y, lower, upper, level))


def weighted_interval_score(
    y: Floats, median: Floats, lower: Floats, upper: Floats, levels: tuple[float, ...]
) -> Floats:
    """B: (|y - median| / 2 + sum_k alpha_k / 2 IS_k) / (K + 1/2), alpha = 1 - level; median shaped as y.

    lower and upper are (level, case, ...). It is the mean pinball loss of the 2K + 1 quantiles, doubled.
    """
    _check(y, median)
    _check_bounds(y, lower, upper, stacked=True)
    _check_levels(levels)
    if not len(lower) == len(upper) == len(levels):
        raise ScoreError(f"levels: expected one an interval, found {len(levels)}, {len(lower)} and {len(upper)}")
    return np.asarray(_weighted_interval_score(y, median, lower, upper, np.asarray(levels)))


def coverage(y: Floats, lower: Floats, upper: Floats) -> Floats:
    """Share of known outcomes with lower <= y <= upper, to compare with the level: not a score by itself."""
    _check_bounds(y, lower, upper)
    return np.asarray(_coverage(y, lower, upper))


def mean_width(y: Floats, lower: Floats, upper: Floats) -> Floats:
    """Mean of upper - lower over the cases whose outcome is known, as `coverage` counts them."""
    _check_bounds(y, lower, upper)
    return np.asarray(_mean_width(y, lower, upper))


def crps(y: Floats, draws: Floats) -> Floats:
    """CRPS of the empirical distribution of draws (draw, case, ...): mean |X - y| - mean |X - X'| / 2.

    From the sorted draws, 2/m^2 sum_i (x_(i) - y) (m [y < x_(i)] - i + 1/2), i = 1 .. m.
    """
    _check(y, draws, stacked=True)
    return np.asarray(_crps(y, draws))


def pit(y: Floats, draws: Floats) -> Floats:
    """Share of draws (draw, case, ...) below y plus half the share equal to it, shaped as y; NaN where y is.

    Uniform over cases when the forecasts are calibrated. Not a mean: one value a case.
    """
    _check(y, draws, stacked=True)
    return np.asarray(_pit(y, draws))


def seasonal_naive(y: Floats, origin: int, horizon: int, season: int) -> Floats:
    """Forecasts (horizon, ...): the last known period of the same season as each.

    That is y[origin + h - season ceil(h / season)], h = 1 .. horizon, of y (time, ...). The origin is the
    index, from 0, of the last known period: nothing after it is read. A missing value is forecast as missing.
    Raises ScoreError unless 1 <= season <= origin + 1 <= time and horizon >= 1.
    """
    if not (1 <= season <= origin + 1 <= len(y) and horizon >= 1):
        raise ScoreError(
            "naive forecast: expected horizon >= 1 and 1 <= season <= origin + 1 <= time, "
            f"found horizon {horizon}, season {season}, origin {origin}, time {len(y)}"
        )
    return np.stack([y[origin + 1 - season + h % season] for h in range(horizon)])


def last_value(y: Floats, origin: int, horizon: int) -> Floats:
    """Forecasts (horizon, ...): y[origin], the last known period; errors as `seasonal_naive`."""
    return seasonal_naive(y, origin, horizon, 1)


def _mean(y: Any, score: Any) -> Any:
    known = ~jnp.isnan(y)
    return jnp.sum(jnp.where(known, score, 0.0), axis=0) / jnp.sum(known, axis=0)


def _interval(y: Any, lower: Any, upper: Any, alpha: Any) -> Any:
    """Interval score of every case."""
    miss = jnp.maximum(lower - y, 0.0) + jnp.maximum(y - upper, 0.0)
    return (upper - lower) + 2.0 / alpha * miss


@jax.jit
def _mae(y: Any, point: Any) -> Any:
    return _mean(y, jnp.abs(y - point))


@jax.jit
def _mape(y: Any, point: Any) -> Any:
    return _mean(y, jnp.abs(y - point) / jnp.abs(y))


@jax.jit
def _pinball(y: Any, forecast: Any, level: Any) -> Any:
    miss = y - forecast
    return _mean(y, jnp.maximum(level * miss, (level - 1.0) * miss))


@jax.jit
def _interval_score(y: Any, lower: Any, upper: Any, level: Any) -> Any:
    return _mean(y, _interval(y, lower, upper, 1.0 - level))


@jax.jit
def _weighted_interval_score(y: Any, median: Any, lower: Any, upper: Any, levels: Any) -> Any:
    alpha = 1.0 - levels.reshape((-1,) + (1,) * y.ndim)  # (level, 1, ...)
    intervals = jnp.sum(0.5 * alpha * _interval(y, lower, upper, alpha), axis=0)
    return _mean(y, (0.5 * jnp.abs(y - median) + intervals) / (levels.size + 0.5))


@jax.jit
def _coverage(y: Any, lower: Any, upper: Any) -> Any:
    return _mean(y, ((lower <= y) & (y <= upper)).astype(jnp.float64))


@jax.jit
def _mean_width(y: Any, lower: Any, upper: Any) -> Any:
    return _mean(y, upper - lower)


@jax.jit
def _crps(y: Any, draws: Any) -> Any:
    m = len(draws)
    x = jnp.sort(draws, axis=0)
    rank = jnp.arange(1, m + 1).reshape((-1,) + (1,) * y.ndim)
    return _mean(y, 2.0 / (m * m) * jnp.sum((x - y) * (m * (y < x) - rank + 0.5), axis=0))


@jax.jit
def _pit(y: Any, draws: Any) -> Any:
    below = jnp.sum(draws < y, axis=0) + 0.5 * jnp.sum(draws == y, axis=0)
    return jnp.where(jnp.isnan(y), jnp.nan, below / len(draws))


def _check(y: Floats, *forecasts: Floats, stacked: bool = False) -> None:
    """Refuse what cannot be scored; `stacked` forecasts have one axis more than y, the first, not empty."""
    if y.ndim == 0:
        raise ScoreError("outcomes: expected (case, ...), found a single number")
    if np.isinf(y).any():
        raise ScoreError("outcomes: expected finite values, or NaN for those not known, found infinity")
    known = ~np.isnan(y)
    for forecast in forecasts:
        shape = (max(len(forecast), 1), *y.shape) if stacked else y.shape
        if forecast.shape != shape:
            raise ScoreError(f"forecast: expected shape {shape} to suit the outcomes, found {forecast.shape}")
        if np.isnan(forecast[..., known]).any():
            raise ScoreError("forecast: expected a value wherever the outcome is known, found NaN")


def _check_bounds(y: Floats, lower: Floats, upper: Floats, stacked: bool = False) -> None:
    _check(y, lower, upper, stacked=stacked)
    crossed = np.argwhere((lower > upper) & ~np.isnan(y))
    if crossed.size:
        raise ScoreError(f"interval: expected lower <= upper, found {len(crossed)} not, first {crossed[0].tolist()}")


def _check_levels(levels: tuple[float, ...]) -> None:
    for level in levels:
        if not 0 < level < 1:
            raise ScoreError(f"level: expected strictly between 0 and 1, found {level}")
