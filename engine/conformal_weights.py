"""How much each past score counts: younger ones more, and those made in a regime like the present one.

Source: weights fixed before the scores are seen, Barber, Candes, Ramdas & Tibshirani 2023,
doi:10.1214/23-AOS2276; so moments must come from data disjoint from the scores, or the bound does not hold.

Glossary
--------
step      a time at which forecasts are made, with the scores known by then; one row of weights
moments   what a stretch of data before an origin looked like (mean, log sd, lag-1 autocorrelation)
support   the sum of the weights, the largest being 1. One more lies at infinity, so a level up to
          support / (1 + support) has a finite quantile, and coverage may exceed a level by about level / support
effective sample size   (sum w)^2 / sum w^2: how many equal weights would average as well; at least the support
Worked example: 19 scores of weight 1 support .95; 38 of which every second weighs 0 support no more.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from engine.conformal import Floats, bucket, check_finite, pad
from engine.errors import CalibrationError


def regime_moments(window: Floats) -> Floats:
    """Mean, log standard deviation and lag-1 autocorrelation of `window` (time,), as (3,).

    Deviations are about the window's mean, their squares divided by its length. Raises CalibrationError
    unless the window has at least 3 periods, all finite and not all equal.
    """
    if window.ndim != 1 or window.size < 3:
        raise CalibrationError(f"moment window: expected (time,) of at least 3 periods, found {window.shape}")
    check_finite("moment window", window)
    if window.min() == window.max():
        raise CalibrationError(f"moment window: expected values that vary, found {window[0]} in all {window.size}")
    return np.asarray(_regime_moments(window))


def needed_support(level: float) -> float:
    """The support at which half of the share 1 - level that may miss lies at infinity: 2 / (1 - level) - 1.

    With less, the quantile is driven by what lies at infinity rather than by the scores; with half as much, it is
    infinite.
    """
    return 2.0 / (1.0 - level) - 1.0


def weights(
    age: Floats, known: npt.NDArray[np.bool_], moments: Floats, current: Floats,
    decay: float, bandwidth: float, support: float,
) -> Floats:  # fmt: skip
    """Weight of each score at each step, (step, n): decay**age * exp(-d^2 / (2 bandwidth^2)), floored.

    The largest of a step is 1; a score not yet known weighs 0.

    age        (step, n) periods since the score was known, >= 0 where it is
    known      (step, n) whether it is
    moments    (n, k) of the data before each score's origin; (n, 0) leaves the age alone to count
    current    (step, k) of the data before the origin forecast from at each step
    d          Euclidean distance of moments from current, each moment divided by its sd over the known scores;
               one that is equal in all of them tells none apart and is left out
    support    the weights sum to at least min(support, known scores), to rounding, and the effective sample size is
               no less: where the product falls short, the smallest share of equal weights that reaches it is mixed in

    Needs 0 < decay <= 1, bandwidth > 0, support > 0. Raises CalibrationError on these, on shapes, and on values that
    are not finite.
    """
    _check(age, known, moments, current)
    if not (0 < decay <= 1 and bandwidth > 0 and 0 < support < np.inf):
        raise CalibrationError(
            "weights: expected 0 < decay <= 1, bandwidth > 0 and 0 < support < inf, "
            f"found {decay}, {bandwidth} and {support}"
        )
    steps, n = age.shape
    rows, columns = bucket(steps), bucket(n)

    def padded(values: Floats) -> Floats:
        whole = np.zeros((rows, columns))
        whole[:steps, :n] = values
        return whole

    found = _weights(
        padded(np.where(known, age, 0.0)), padded(known.astype(np.float64)) > 0.0,
        pad(moments, columns, 0.0), pad(current, rows, 0.0), np.asarray([decay, bandwidth, support]),
    )  # fmt: skip
    return np.asarray(found)[:steps, :n]


def effective_sizes(weights: Floats) -> Floats:
    """(sum w)^2 / sum w^2 of the weights (step, n) of each step, between 1 and n; 0 where all are zero."""
    rows = np.zeros((bucket(len(weights)), bucket(weights.shape[1])))
    rows[: len(weights), : weights.shape[1]] = weights
    return np.asarray(_effective_sizes(rows))[: len(weights)]


@jax.jit
def _regime_moments(window: Any) -> Any:
    mean = jnp.sum(window) / window.size
    apart = window - mean
    power = jnp.sum(apart * apart)
    lagged = jnp.sum(apart[1:] * apart[:-1])
    return jnp.stack([mean, 0.5 * jnp.log(power / window.size), lagged / power])


@jax.jit
def _weights(age: Any, known: Any, moments: Any, current: Any, declared: Any) -> Any:
    return jax.vmap(_step, in_axes=(0, 0, None, 0, None))(age, known, moments, current, declared)


def _step(age: Any, known: Any, moments: Any, current: Any, declared: Any) -> Any:
    decay, bandwidth, support = declared
    n = jnp.maximum(jnp.sum(known), 1)
    seen = known[:, None]
    centre = jnp.sum(jnp.where(seen, moments, 0.0), axis=0) / n
    apart = jnp.where(seen, moments - centre, 0.0)
    variance = jnp.sum(apart * apart, axis=0) / n  # (k,)
    low = jnp.min(jnp.where(seen, moments, jnp.inf), axis=0)
    high = jnp.max(jnp.where(seen, moments, -jnp.inf), axis=0)
    flat = (low >= high) | (variance == 0.0)
    gap = (moments - current) ** 2 / jnp.where(flat, 1.0, variance)
    distance = jnp.sum(jnp.where(flat, 0.0, gap), axis=1)  # d^2, (n,)
    log_w = jnp.where(known, age * jnp.log(decay) - distance / (2.0 * bandwidth * bandwidth), -jnp.inf)
    top = jnp.max(log_w)  # scaled in logs: far regimes must not underflow together
    w = jnp.exp(log_w - jnp.where(jnp.any(known), top, 0.0))
    return jnp.where(known, _floored(w, n, jnp.minimum(support, n)), 0.0)


def _floored(w: Any, n: Any, support: Any) -> Any:
    """keep * w + (1 - keep), the largest keep that holds the support; exactly 1 where w is.

    It sums to keep (sum w - n) + n: solved, not searched. With every weight at most 1, the sum of their squares is at
    most their sum, so (sum w)^2 / sum w^2 is at least sum w.
    """
    total = jnp.sum(w)
    short = total < support
    keep = jnp.where(short, (n - support) / jnp.where(short, n - total, 1.0), 1.0)
    return keep * w + (1.0 - keep)


@jax.jit
def _effective_sizes(weights: Any) -> Any:
    top = jnp.max(weights, axis=1, keepdims=True)
    share = weights / jnp.where(top > 0.0, top, 1.0)
    total, power = jnp.sum(share, axis=1), jnp.sum(share * share, axis=1)
    return jnp.where(power > 0.0, total * total / jnp.where(power > 0.0, power, 1.0), 0.0)


def _check(age: Floats, known: npt.NDArray[np.bool_], moments: Floats, current: Floats) -> None:
    shapes = (age.shape, known.shape, moments.shape, current.shape)
    fits = age.ndim == moments.ndim == current.ndim == 2 and known.shape == age.shape and len(age) == len(current) > 0
    if not (fits and len(moments) == age.shape[1] and moments.shape[1] == current.shape[1]):
        raise CalibrationError(
            "age, known, moments, current: expected (step, n), (step, n), (n, k), (step, k), found "
            + ", ".join(map(str, shapes))
        )
    for what, values in (("age", np.where(known, age, 0.0)), ("moments", moments), ("current moments", current)):
        check_finite(what, values)
    young = np.argwhere(known & (age < 0))
    if young.size:
        where = young[0].tolist()
        raise CalibrationError(f"age{where}: expected >= 0 periods, found {age[tuple(where)]}")
