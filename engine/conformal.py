"""Weighted split conformal calibration of quantile forecasts: scores, their quantile, the interval.

Sources: conformalized quantile regression, Romano, Patterson & Candes 2019, arXiv:1905.03222 ("CQR");
weights by likelihood ratio, Tibshirani, Barber, Candes & Ramdas 2019, arXiv:1904.06019; weights fixed
beforehand, Barber, Candes, Ramdas & Tibshirani 2023, doi:10.1214/23-AOS2276 ("NexCP").

Glossary
--------
score     how far an outcome fell outside a forecast interval, in units of y; negative inside it
weight    how much a past score counts; the largest is 1, as is the weight of the outcome still to come
Worked example: interval [10, 20] and outcome 23 score 3; outcome 12 scores -2. With the 9 scores 1 .. 9 of
weight 1, the level .8 is first reached by 8 (8 of 9 + 1), and the calibrated interval is [2, 28].

What may be claimed. With weights fixed before the scores are seen, an interval of level 1 - alpha covers
with probability at least 1 - alpha - sum_i w~_i d_TV(R(Z), R(Z^i)), w~_i = w_i / (1 + sum w) (NexCP); the
sum is zero under exchangeability, and only then does the level hold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

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


def quantiles(scores: Floats, weights: Floats, level: float) -> Floats:
    """At each step the smallest score s whose lower or equal ones hold at least `level` of all weight: (step,).

    The weights of a step are scaled so that the largest is 1, and all weight includes 1 at +infinity, for the
    outcome still to come: w~_i = w_i / (1 + sum w). Equal weights give the ceil((n + 1) level)-th smallest score;
    beyond the n-th, and at a step that gives no score a weight, the quantile is infinite. A pair of weight zero
    counts for nothing; the order of the pairs changes no bit of one step's quantile.

    scores (n,), weights (step, n) >= 0; 0 < level < 1. Raises CalibrationError otherwise.
    """
    check_pairs(scores, weights)
    if not 0 < level < 1:
        raise CalibrationError(f"level: expected strictly between 0 and 1, found {level}")
    ranked = rank(scores, weights)
    return np.asarray(_quantiles(ranked.scores, ranked.weights, level))[: len(weights)]


class Ranked(NamedTuple):
    """Scores from low to high, their weights at each step, and where each was before; padded, weight 0."""

    scores: Floats  # (n,)
    weights: Floats  # (step, n)
    order: npt.NDArray[np.int64]  # of the unpadded pairs


def rank(scores: Floats, weights: Floats) -> Ranked:
    """The pairs by score, and equal ones by their last weight: they are summed in one order however they came."""
    order = np.lexsort((weights[-1], scores))
    size = bucket(scores.size)
    rows = pad(np.ascontiguousarray(weights[:, order].T), size, 0.0).T
    return Ranked(pad(scores[order], size, np.inf), pad(rows, bucket(len(rows)), 0.0), order)


def first_reaching(scores: Any, weights: Any, level: Any) -> Any:
    """The quantile of one step: traceable, scores (n,) ascending; `level` may be anything."""
    top = jnp.max(weights)
    reached = jnp.cumsum(weights / jnp.where(top > 0.0, top, 1.0))
    needed = level * (reached[-1] + 1.0) * (1.0 - ROUNDING)
    return jnp.min(jnp.where(reached >= needed, scores, jnp.inf))


def adjust(lower: Floats, upper: Floats, q: Floats | float) -> tuple[Floats, Floats]:
    """The calibrated CQR interval [lower - q, upper + q], q broadcast against the bounds.

    A negative q shrinks the interval, at most to its midpoint: bounds that did not cross do not cross
    after. A q of infinity gives the whole line, one of minus infinity the midpoint.
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


_quantiles = jax.jit(jax.vmap(first_reaching, in_axes=(None, 0, None)))


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
    found = program(*(pad(a.ravel(), bucket(n), 0.0) for a in whole))
    return tuple(np.asarray(a)[:n].reshape(shape) for a in found)


def bucket(n: int) -> int:
    """The least padded size that holds n."""
    size = BUCKET
    while size < n:
        size *= 2
    return size


def pad(values: Floats, size: int, fill: float) -> Floats:
    """`values` (n, ...) as (size, ...), what is beyond n being `fill`."""
    padded = np.full((size, *values.shape[1:]), fill)
    padded[: len(values)] = values
    return padded


def check_pairs(scores: Floats, weights: Floats) -> None:
    """Raises CalibrationError unless scores (n,) are finite and weights (step, n) finite and at least 0."""
    if scores.ndim != 1 or weights.ndim != 2 or len(weights) == 0 or weights.shape[1:] != scores.shape:
        raise CalibrationError(
            f"scores and weights: expected (n,) and (step, n), found {scores.shape} and {weights.shape}"
        )
    check_finite("scores", scores)
    check_finite("weights", weights)
    if weights.min(initial=0.0) < 0:
        raise CalibrationError(f"weights: expected >= 0, found {weights.min()}")


def check_finite(what: str, values: Floats) -> None:
    """Raises CalibrationError naming the first value of `what` that is not finite."""
    bad = np.argwhere(~np.isfinite(values))
    if bad.size:
        where = bad[0].tolist()
        raise CalibrationError(f"{what}{where}: expected a finite value, found {values[tuple(where)]}")
