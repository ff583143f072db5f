"""Calibration that follows the misses: adaptive conformal inference and conformal PID control.

Sources: adaptive conformal inference, Gibbs & Candes 2021, arXiv:2106.00170, equation 2 ("ACI"); conformal PID
control, Angelopoulos, Candes & Tibshirani 2023, arXiv:2307.16895, equations 4 to 7 ("PID").

Glossary
--------
step       a time at which a forecast of one horizon is made; its quantile is what that forecast's interval moves by
feedback   whether an outcome missed its interval: known at the first step at or after the outcome, so at horizon h
           only h periods after the forecast was made, and nothing earlier than that
miss       the share of the cases of one forecast (one a location that shares the scores) that fell outside
level      of the interval that is asked for, 1 - alpha
Worked example: at level .9 and rate .02, ten forecasts of which one missed leave the level where it was
(9 * .02 * -.1 + 1 * .02 * .9 = 0); had none missed, the next would be made at .9 - 10 * .02 * .1 = .88.

What may be claimed. ACI: over any sequence of outcomes, even a malicious one, the share of misses differs from alpha
by at most (1 + d rate) / (T rate), T the forecasts with feedback and d the most that await theirs at a time (h at
horizon h, with a forecast a period). PID with an integrator of saturation C: by about pi C / (2 log T) + (d + 1) / T,
a surplus of misses beyond that making the interval the whole line, and a deficit its midpoint. Both are statements on
the long run of forecasts, unbounded intervals included, and on no single one of them.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from engine.conformal import Floats, bucket, check_pairs, first_reaching, pad, quantiles, rank
from engine.errors import CalibrationError
from engine.spec_calibrate import Adaptive, Controlled, Method, Split

Ints = npt.NDArray[np.int64]


class Track(NamedTuple):
    """How far the intervals of one level move out at each step, in units of the scores: both (step,)."""

    q: Floats  # as the method says
    split: Floats  # the weighted quantile; infinite where the scores known do not support the level


def track(method: Method, level: float, scores: Floats, weights: Floats, made: Ints, known: Ints) -> Track:
    """The quantiles by which the forecasts of each step are calibrated, from what was known at it.

    scores     (n,) of past forecasts, whether or not their outcome was known at a step
    weights    (step, n), 0 where the outcome was not known
    made       (n,) the step at which each forecast was made
    known      (n,) the first step at which its outcome was known, > made; the number of steps: at none of them

    A forecast whose weighted quantile was infinite, for want of scores, gives no feedback: control begins with the
    first that is supported. Raises CalibrationError on shapes, values that are not finite, known <= made, and a
    weight at a step before the outcome was known.
    """
    check_pairs(scores, weights)
    _check_order(weights, made, known)
    split = quantiles(scores, weights, level)
    if isinstance(method, Split) or scores.size == 0:
        return Track(split, split)
    steps, size = len(split), bucket(scores.size)
    ranked = rank(scores, weights)
    order = ranked.order
    _, origin, count = np.unique(made, return_inverse=True, return_counts=True)
    cases = (
        ranked.scores,
        pad(made[order].astype(np.float64), size, -1.0),
        pad(known[order].astype(np.float64), size, -1.0),
        pad(1.0 / count[origin][order], size, 0.0),
    )
    path = pad(split, bucket(steps), math.inf)
    found = _track(type(method), _gains(method), level, *cases, ranked.weights, path)
    return Track(np.asarray(found)[:steps], split)


def _gains(method: Adaptive | Controlled) -> Floats:
    if isinstance(method, Adaptive):
        return np.asarray([method.rate, 0.0, 1.0])
    return np.asarray([method.rate, method.gain, method.saturation])


class _State(NamedTuple):
    """What is carried from step to step."""

    moved: Any  # ACI: the level; PID: the tracker's part of the quantile
    surplus: Any  # misses less those expected, over all feedback
    heard: Any  # forecasts of which feedback came
    miss: Any  # (n,) 1 where a case missed its interval, once that is made
    off: Any  # (n,) score less the weighted quantile it was made with
    counts: Any  # (n,) whether that quantile was finite


@partial(jax.jit, static_argnums=0)
def _track(
    method: type[Adaptive | Controlled], gains: Any, level: Any,
    scores: Any, made: Any, known: Any, share: Any, weights: Any, split: Any,
) -> Any:  # fmt: skip
    rate, gain, saturation = gains
    none = jnp.zeros_like(scores)
    real = jnp.isfinite(scores)

    def step(state: _State, now: tuple[Any, Any, Any]) -> tuple[_State, Any]:
        t, w, middle = now
        arrived = (known == t) & state.counts
        error = jnp.sum(jnp.where(arrived, share * (state.miss - (1.0 - level)), 0.0))
        surplus = state.surplus + error
        heard = state.heard + jnp.sum(jnp.where(arrived, share, 0.0))
        if method is Adaptive:
            moved = state.moved + rate * error
            q = jnp.where(moved <= 0.0, -jnp.inf, first_reaching(scores, w, moved))
        else:
            unit = jnp.max(jnp.where((known <= t) & state.counts, jnp.abs(state.off), 0.0))
            moved = state.moved + rate * unit * error
            reach = gain * unit
            q = middle + moved + jnp.where(reach > 0.0, reach * _integral(surplus, heard, saturation), 0.0)
        supported = jnp.isfinite(middle)
        q = jnp.where(supported, q, jnp.inf)
        here = (made == t) & real
        return _State(
            moved, surplus, heard,
            jnp.where(here, jnp.where(scores > q, 1.0, 0.0), state.miss),
            jnp.where(here & supported, scores - middle, state.off),
            jnp.where(here, supported, state.counts),
        ), q  # fmt: skip

    start = _State(level if method is Adaptive else 0.0 * level, 0.0 * level, 0.0 * level, none, none, none > 0.0)
    steps = jnp.arange(split.size, dtype=jnp.float64), weights, split
    return jax.lax.scan(step, start, steps)[1]


def _integral(surplus: Any, heard: Any, saturation: Any) -> Any:
    """tan(x log t / (C t)), t = heard + 1: 0 when misses are as expected, infinite beyond the tangent's branch."""
    t = heard + 1.0
    angle = surplus * jnp.log(t) / (saturation * t)
    beyond = jnp.abs(angle) >= 0.5 * math.pi
    held = jnp.where(beyond, 0.0, angle)
    return jnp.where(beyond, jnp.sign(angle) * jnp.inf, jnp.sin(held) / jnp.cos(held))


def _check_order(weights: Floats, made: Ints, known: Ints) -> None:
    if not made.shape == known.shape == weights.shape[1:]:
        raise CalibrationError(
            f"made and known: expected one a score, {weights.shape[1:]}, found {made.shape} and {known.shape}"
        )
    early = np.argwhere(known <= made)
    if early.size:
        i = early[0].item()
        raise CalibrationError(f"known[{i}]: expected a step after {made[i]}, when it was forecast, found {known[i]}")
    seen = np.argwhere((weights > 0) & (np.arange(len(weights))[:, None] < known))
    if seen.size:
        t, i = seen[0].tolist()
        raise CalibrationError(f"weights[{t}, {i}]: expected 0 before step {known[i]}, found {weights[t, i]}")
