"""Weighted split conformal calibration of quantile forecasts.

Sources: conformalized quantile regression, Romano, Patterson & Candes 2019, arXiv:1905.03222 ("CQR");
weights by likelihood ratio, Tibshirani, Barber, Candes & Ramdas 2019, arXiv:1904.06019; weights fixed
beforehand, Barber, Candes, Ramdas & Tibshirani 2023, doi:10.1214/23-AOS2276 ("NexCP").

Glossary
--------
score     how far an outcome fell outside a forecast interval, in units of y; negative inside it
weight    how much a past score counts; the largest is 1, as is the weight of the outcome still to come
moments   what a stretch of data before an origin looked like (mean, log sd, lag-1 autocorrelation)
Worked example: interval [10, 20] and outcome 23 score 3; outcome 12 scores -2. With the 9 scores 1 .. 9 of
weight 1, the level .8 is first reached by 8 (8 of 9 + 1), and the calibrated interval is [2, 28].

What may be claimed. With weights fixed before the scores are seen, an interval of level 1 - alpha covers
with probability at least 1 - alpha - sum_i w~_i d_TV(R(Z), R(Z^i)), w~_i = w_i / (1 + sum w) (NexCP); the
sum is zero under exchangeability, and only then does the level hold. So moments must come from data
disjoint from the scores.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from engine.errors import CalibrationError

Floats = npt.NDArray[np.float64]

ROUNDING = 1e-12  # a level counts as reached when missed by less: .7 of 10 scores is 7 of them, not 8
BUCKET = 64  # arrays are padded to this size times a power of two: few programs are compiled


def conformity(y: Floats, lower: Floats, upper: Floats) -> Floats:
    """The CQR score max(lower - y, y - upper), of the common shape of the three; NaN where any is NaN."""
    return _each(_conformity, y, lower, upper)[0]


def regime_moments(window: Floats) -> Floats:
    """Mean, log standard deviation and lag-1 autocorrelation of `window` (time,), as (3,).

    Deviations are about the window's mean, their squares divided by its length. Raises CalibrationError
    unless the window has at least 3 periods, all finite and not all equal.
    """
    if window.ndim != 1 or window.size < 3:
        raise CalibrationError(f"moment window: expected (time,) of at least 3 periods, found {window.shape}")
    _check_finite("moment window", window)
    if window.min() == window.max():
        raise CalibrationError(f"moment window: expected values that vary, found {window[0]} in all {window.size}")
    return np.asarray(_regime_moments(window))


def weights(age: Floats, moments: Floats, current: Floats, decay: float, bandwidth: float, ess_floor: float) -> Floats:
    """Weight of each past score, (n,), the largest 1: decay**age * exp(-d^2 / (2 bandwidth^2)), floored.

    age        (n,) periods since the score was known, >= 0
    moments    (n, k) of the data before each score's origin; (n, 0) leaves the age alone to count
    current    (k,) of the data before the origin now forecast from
    d          Euclidean distance of moments from current, each moment divided by its sd over the n scores;
               one that is equal in all of them tells none apart and is left out
    ess_floor  the effective sample size (sum w)^2 / sum w^2 is at least min(ess_floor, n), to rounding: where
               the product falls short, the smallest share of uniform weights that reaches it is mixed in

    Needs 0 < decay <= 1, bandwidth > 0, ess_floor > 0. Raises CalibrationError on these, on shapes, and on
    values that are not finite.
    """
    n = _check_regimes(age, moments, current)
    if not (0 < decay <= 1 and bandwidth > 0 and ess_floor > 0):
        raise CalibrationError(
            "weights: expected 0 < decay <= 1, bandwidth > 0 and ess_floor > 0, "
            f"found {decay}, {bandwidth} and {ess_floor}"
        )
    if n == 0:
        return np.zeros(0)
    size = _bucket(n)
    packed = _pad(age, size, 0.0), _pad(moments, size, 0.0)
    return np.asarray(_weights(*packed, current, n, decay, bandwidth, min(ess_floor, n)))[:n]


def effective_size(weights: Floats) -> float:
    """(sum w)^2 / sum w^2 of weights (n,), n >= 1: between 1 and n."""
    return float(_effective_size(_pad(weights, _bucket(weights.size), 0.0)))


def quantile(scores: Floats, weights: Floats, level: float) -> float:
    """The smallest score s whose lower or equal ones hold at least `level` of all weight; it may be infinite.

    The weights are scaled so that the largest is 1, and all weight includes 1 at +infinity, for the outcome
    still to come: w~_i = w_i / (1 + sum w). Equal weights give the ceil((n + 1) level)-th smallest score;
    beyond the n-th, and with no scores at all, the quantile is infinite. Pairs of weight zero count for
    nothing; the order of the pairs changes no bit.

    scores, weights (n,), weights >= 0 and not all zero; 0 < level < 1. Raises CalibrationError otherwise.
    """
    if scores.shape != weights.shape or scores.ndim != 1:
        raise CalibrationError(f"scores and weights: expected one (n,), found {scores.shape} and {weights.shape}")
    if not 0 < level < 1:
        raise CalibrationError(f"level: expected strictly between 0 and 1, found {level}")
    if scores.size == 0:
        return float("inf")
    _check_finite("scores", scores)
    _check_finite("weights", weights)
    if weights.min() < 0 or weights.max() == 0:
        raise CalibrationError(f"weights: expected >= 0 and not all 0, found {weights.min()} to {weights.max()}")
    size = _bucket(scores.size)
    return float(_quantile(_pad(scores, size, np.inf), _pad(weights, size, 0.0), level))


def adjust(lower: Floats, upper: Floats, q: Floats | float) -> tuple[Floats, Floats]:
    """The calibrated CQR interval [lower - q, upper + q], q broadcast against the bounds.

    A negative q shrinks the interval, at most to its midpoint: bounds that did not cross do not cross
    after. An infinite q gives the whole line.
    """
    low, high = _each(_adjust, lower, upper, q)
    return low, high


def uncross(quantiles: Floats, levels: tuple[float, ...]) -> Floats:
    """`quantiles` (..., level) made monotone in the level, by moving values away from the median only.

    The median stays; every other quantile becomes the outermost of those between it and the median. So no
    interval around the median becomes narrower, and each still holds whatever it held before.

    levels ascending, with .5 among them. Raises CalibrationError otherwise.
    """
    if tuple(sorted(set(levels))) != levels or 0.5 not in levels or quantiles.shape[-1:] != (len(levels),):
        raise CalibrationError(
            f"levels: expected {quantiles.shape[-1:]} ascending ones with .5 among them, found {levels}"
        )
    return np.asarray(_uncross(quantiles, levels.index(0.5)))


@jax.jit
def _conformity(y: Any, lower: Any, upper: Any) -> Any:
    return (jnp.maximum(lower - y, y - upper),)


@jax.jit
def _regime_moments(window: Any) -> Any:
    mean = jnp.sum(window) / window.size
    apart = window - mean
    power = jnp.sum(apart * apart)
    lagged = jnp.sum(apart[1:] * apart[:-1])
    return jnp.stack([mean, 0.5 * jnp.log(power / window.size), lagged / power])


@jax.jit
def _weights(age: Any, moments: Any, current: Any, n: Any, decay: Any, bandwidth: Any, floor: Any) -> Any:
    real = jnp.arange(age.size) < n
    centre = jnp.sum(moments, axis=0) / n  # the padding is zero
    apart = jnp.where(real[:, None], moments - centre, 0.0)
    variance = jnp.sum(apart * apart, axis=0) / n  # (k,)
    low = jnp.min(jnp.where(real[:, None], moments, jnp.inf), axis=0)
    high = jnp.max(jnp.where(real[:, None], moments, -jnp.inf), axis=0)
    flat = (low == high) | (variance == 0.0)
    gap = (moments - current) ** 2 / jnp.where(flat, 1.0, variance)
    distance = jnp.sum(jnp.where(flat, 0.0, gap), axis=1)  # d^2, (n,)
    log_w = jnp.where(real, age * jnp.log(decay) - distance / (2.0 * bandwidth * bandwidth), -jnp.inf)
    w = jnp.exp(log_w - jnp.max(log_w))  # scaled in logs: far regimes must not underflow together
    return jnp.where(real, _floored(w, n, floor), 0.0)


def _floored(w: Any, n: Any, floor: Any) -> Any:
    """The shares keep w / sum w + (1 - keep) / n, the largest keep that holds the floor, scaled to largest 1.

    Their squares sum to keep^2 (sum w^2 / (sum w)^2 - 1/n) + 1/n, which may be 1/floor: solved, not searched.
    """
    total = jnp.sum(w)
    excess = jnp.sum(w * w) / (total * total) - 1.0 / n
    allowed = 1.0 / floor - 1.0 / n
    short = excess > allowed
    keep = jnp.where(short, jnp.sqrt(allowed / jnp.where(short, excess, 1.0)), 1.0)
    slope = keep * n / (keep * n + (1.0 - keep) * total)
    return slope * w + (1.0 - slope)  # exactly 1 where w is


@jax.jit
def _effective_size(w: Any) -> Any:
    share = w / jnp.max(w)
    total = jnp.sum(share)
    return total * total / jnp.sum(share * share)


@jax.jit
def _quantile(scores: Any, weights: Any, level: Any) -> Any:
    # By score, then weight: equal scores are summed in one order however they came.
    order = jnp.lexsort((weights, scores))
    reached = jnp.cumsum((weights / jnp.max(weights))[order])
    needed = level * (reached[-1] + 1.0) * (1.0 - ROUNDING)
    return jnp.min(jnp.where(reached >= needed, scores[order], jnp.inf))


@jax.jit
def _adjust(lower: Any, upper: Any, q: Any) -> Any:
    low, high = lower - q, upper + q
    middle = 0.5 * lower + 0.5 * upper
    crossed = low > high
    return jnp.where(crossed, middle, low), jnp.where(crossed, middle, high)


@jax.jit
def _uncross(quantiles: Any, median: Any) -> Any:
    last = quantiles.ndim - 1
    place = jnp.arange(quantiles.shape[-1])
    below = jax.lax.cummin(jnp.where(place <= median, quantiles, jnp.inf), axis=last, reverse=True)
    above = jax.lax.cummax(jnp.where(place >= median, quantiles, -jnp.inf), axis=last)
    return jnp.where(place < median, below, jnp.where(place > median, above, quantiles))


def _each(program: Callable[..., Any], *arrays: Floats | float) -> tuple[Floats, ...]:
    """The elementwise `program` over the broadcast arrays, in their shape."""
    whole = np.broadcast_arrays(*arrays)
    n, shape = whole[0].size, whole[0].shape
    found = program(*(_pad(a.ravel(), _bucket(n), 0.0) for a in whole))
    return tuple(np.asarray(a)[:n].reshape(shape) for a in found)


def _bucket(n: int) -> int:
    size = BUCKET
    while size < n:
        size *= 2
    return size


def _pad(values: Floats, size: int, fill: float) -> Floats:
    padded = np.full((size, *values.shape[1:]), fill)
    padded[: len(values)] = values
    return padded


def _check_regimes(age: Floats, moments: Floats, current: Floats) -> int:
    if age.ndim != 1 or current.ndim != 1 or moments.shape != (*age.shape, *current.shape):
        raise CalibrationError(
            f"age, moments, current: expected (n,), (n, k), (k,), found {age.shape}, {moments.shape}, {current.shape}"
        )
    for what, values in (("age", age), ("moments", moments), ("current moments", current)):
        _check_finite(what, values)
    if age.size and age.min() < 0:
        raise CalibrationError(f"age: expected >= 0 periods, found {age.min()}")
    return age.size


def _check_finite(what: str, values: Floats) -> None:
    bad = np.argwhere(~np.isfinite(values))
    if bad.size:
        where = bad[0].tolist()
        raise CalibrationError(f"{what}{where}: expected a finite value, found {values[tuple(where)]}")
