"""Change-points in one-step residuals: Bayesian online detection, and the most probable segmentation.

Source: Adams & MacKay 2007, arXiv:0710.3742 ("A&M" below).

Glossary
--------
segment         a stretch of consecutive periods with one mean (or one line) and one noise scale
start           the first period of a segment, an index into time; the first segment starts at 0
run length r    periods since the start of the segment that period t lies in: 0 at the start itself
change          a segment starting at t > 0. "A change within `window` at t" means r < window, that is a start
                among the last `window` periods, t itself included
Worked example: residuals 0.1, -0.2, 4.1, 3.9 with a change at index 2 have run lengths 0, 1, 0, 1.

The model. Before every period but the first a segment ends with probability `hazard`, independently. Within a
segment, of each location separately, the observation tau periods after the start is Normal, under one of

    constant   x[tau] ~ N(mu, s2)          mu | s2 ~ N(0, s2 / mean_precision)
    linear     x[tau] ~ N(a + b tau, s2)   a | s2 ~ N(0, s2 / mean_precision), b | s2 ~ N(0, s2 slope_scale^2)

with s2 ~ InverseGamma(shape, rate) in both, and prior odds linear : constant = `linear_weight` : 1. So
slope_scale is in units of the segment's noise sd per period. All locations share the starts; parameters,
noise scales and the choice of constant or linear are each location's own: the predictive density of a
period is the product over locations.

Memory. A segment predicts from at most its last `max_run_length` periods, as if it had started that long
ago. The run lengths kept are 0 .. max_run_length - 1, and the last one stands for "at least that": the mass
that would grow past it is folded into it. Given this memory the recursions are exact; and where
max_run_length is not below the number of periods, nothing is forgotten.

A missing value (NaN) brings no evidence: run lengths grow by the hazard alone, and time goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from engine.errors import EngineError, SpecError
from engine.spec import Detect

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]

LARGEST = 1e100  # of a residual: its square, and that over any sensible rate, is still a float64


class ResidualError(EngineError):
    """Residuals in which no change can be looked for."""


@dataclass(frozen=True)
class Alarm:
    """A change reported at the end of `period`, on nothing later than `period`.

    `start` is the most probable start among the last `window` periods; `probability`, that one lies there.
    """

    period: int
    start: int
    probability: float


@dataclass(frozen=True)
class Online:
    """What was known at the end of each period from the residuals up to it. All arrays are (time,)."""

    change_probability: Floats  # P(r < window)
    map_run_length: Ints  # most probable r; max_run_length - 1 means at least that
    expected_run_length: Floats  # E(r), counting the last kept run length as itself
    recent_run_length: Ints  # most probable r among r < window
    log_predictive: Floats  # log p(x[t] | x[:t]); its sum is the log evidence of the residuals
    alarms: tuple[Alarm, ...]  # in order of period


@dataclass(frozen=True)
class Segmentation:
    """The most probable sequence of starts, ascending from 0, and log p(starts, residuals)."""

    starts: tuple[int, ...]
    log_joint: float


class _Law(NamedTuple):
    """The model's numbers: arguments of the compiled programs, never constants in them."""

    hazard: float
    mean_precision: float
    shape: float
    rate: float
    slope_scale: float
    linear_weight: float


class _Tables(NamedTuple):
    """Terms of the evidence that depend on the law and the count of observations alone."""

    log_linear: Any  # log prior odds of the linear model
    determinant: Any  # of the linear model's prior precision
    common: Any  # (count,) of both models
    constant: Any  # (count,) of the constant model


class _Segments(NamedTuple):
    """Sufficient statistics of the segment of every run length, each (location, run)."""

    count: Any  # observations, missing ones not counted
    time: Any  # sum of tau
    square: Any  # sum of tau^2
    mean: Any  # posterior mean of mu
    spread: Any  # posterior rate of s2 over its prior rate, constant model
    level: Any  # posterior mean of a
    slope: Any  # posterior mean of b
    linear_spread: Any  # posterior rate of s2 over its prior rate, linear model
    evidence: Any  # log p(the segment's observations), both models mixed


def online(residuals: Floats, detect: Detect) -> Online:
    """Run-length summaries and alarms of one series (time,); see `online_panel`."""
    _check_rank(residuals, 1)
    return online_panel(residuals[:, None], detect)


def online_panel(residuals: Floats, detect: Detect) -> Online:
    """Run-length summaries and alarms of residuals (time, location) whose locations change together.

    An alarm is raised at the first period whose change probability exceeds `threshold` after one at or
    below it, and not again before it has come back to or below it. The first `window` periods have
    probability one by definition and never alarm; nor does a change among them, unless the probability
    falls and rises again.

    NaN is missing. Raises ResidualError for an empty panel or a value beyond LARGEST, SpecError unless
    window < max_run_length.
    """
    _check_rank(residuals, 2)
    _check_window(detect)
    out = _forward(residuals, _law(detect), detect.window, detect.max_run_length, False)
    change, longest, expected, recent, predictive = (np.asarray(o) for o in out)
    alarms = _alarms(change, recent, detect.threshold)
    return Online(change, longest, expected, recent, predictive, alarms)


def run_length_posterior(residuals: Floats, detect: Detect) -> Floats:
    """P(r | residuals up to t), (time, max_run_length), of residuals (time, location); rows sum to one.

    Errors as `online_panel`.
    """
    _check_rank(residuals, 2)
    _check_window(detect)
    posterior = _forward(residuals, _law(detect), detect.window, detect.max_run_length, True)
    return np.asarray(posterior)


def segmentation(residuals: Floats, detect: Detect) -> Segmentation:
    """The most probable starts of residuals (time,) or (time, location), in hindsight.

    Viterbi's recursion, O(time * max_run_length): max in the place of A&M's sum. Errors as `online_panel`.
    """
    panel = residuals[:, None] if residuals.ndim == 1 else residuals
    _check_rank(panel, 2)
    _check_window(detect)
    starts, best = _viterbi(panel, _law(detect), detect.max_run_length)
    began = np.asarray(starts).tolist()
    found: list[int] = []
    end = len(began)
    while end > 0:
        end = began[end - 1]
        found.append(end)
    return Segmentation(tuple(reversed(found)), float(best))


@partial(jax.jit, static_argnums=(3, 4))
def _forward(panel: Any, law: _Law, window: Any, kept: int, whole: bool) -> Any:
    """A&M Algorithm 1: per period the run-length summaries, or the whole posterior."""
    tables, run = _tables(law, kept), jnp.arange(kept)
    stay, leave = jnp.log1p(-law.hazard), jnp.log(law.hazard)

    def step(carry: Any, x: Any) -> Any:
        segments, ahead = carry  # ahead: log P(r[t], given x[:t]), (kept + 1,)
        segments, density = _observe(segments, x, law, tables)
        joint = ahead + density  # A&M steps 3-5: log p(r[t], x[t] | x[:t])
        top = jnp.max(joint)
        mass = jnp.exp(joint - top)
        total = jnp.sum(mass)
        evidence = top + jnp.log(total)  # A&M step 6
        share = _fold(mass, jnp.add) / total  # A&M step 7, (kept,)
        log_share = _fold(joint, jnp.logaddexp) - evidence
        ahead = jnp.concatenate([leave[None], stay + log_share])
        return (_lengthen(segments), ahead), (share if whole else summary(share, evidence))

    def summary(share: Any, evidence: Any) -> Any:
        recent = jnp.where(run < window, share, 0.0)
        expected = jnp.sum(share * run)
        return (
            jnp.sum(recent),
            jnp.argmax(share).astype(jnp.int32),
            expected,
            jnp.argmax(recent).astype(jnp.int32),
            evidence,
        )

    return jax.lax.scan(step, (_fresh(panel.shape[1], kept), _certain(kept)), panel)[1]


@partial(jax.jit, static_argnums=2)
def _viterbi(panel: Any, law: _Law, kept: int) -> Any:
    """Per period the start of the best segment that ends there, (time,); and the best log joint of all."""
    tables = _tables(law, kept)
    stay, leave = jnp.log1p(-law.hazard), jnp.log(law.hazard)

    def step(carry: Any, x: Any) -> Any:
        segments, ahead, start, t = carry
        segments, density = _observe(segments, x, law, tables)
        joint = ahead + density  # best log p(starts, x[:t + 1]) with run length r, (kept + 1,)
        best = jnp.argmax(joint)
        older = joint[-1] > joint[-2]
        start_kept = start[:-1].at[-1].set(jnp.where(older, start[-1], start[-2]))
        ahead = jnp.concatenate([(leave + joint[best])[None], stay + _fold(joint, jnp.maximum)])
        t = t + 1
        return (_lengthen(segments), ahead, jnp.concatenate([t[None], start_kept]), t), (
            start[best],
            joint[best],
        )

    zero = jnp.zeros((), jnp.int32)
    first = (_fresh(panel.shape[1], kept), _certain(kept), jnp.zeros(kept + 1, jnp.int32), zero)
    starts, best = jax.lax.scan(step, first, panel)[1]
    return starts, best[-1]


def _observe(s: _Segments, x: Any, law: _Law, tables: _Tables) -> tuple[_Segments, Any]:
    """Statistics with `x` (location,) taken in, and log p(x | segment) of every run length, (run,).

    A missing value leaves every statistic as it is and has log density exactly 0.
    """
    seen = ~jnp.isnan(x)[:, None]  # (location, 1)
    w, x = seen.astype(jnp.float64), jnp.where(seen, x[:, None], 0.0)
    tau = jnp.arange(s.count.shape[1], dtype=jnp.float64)
    count = s.count + seen.astype(jnp.int32)
    time, square = s.time + w * tau, s.square + w * (tau * tau)
    ridge = 1.0 / (law.slope_scale * law.slope_scale)

    kappa_0, kappa = law.mean_precision + s.count, law.mean_precision + count
    error = w * (x - s.mean)
    mean = s.mean + error / kappa
    spread = s.spread + error * error * (kappa_0 / kappa) / (2.0 * law.rate)

    # The precision [[kappa, time], [time, ridge + square]] in closed form: its sums of integers are exact.
    det_0 = kappa_0 * (ridge + s.square) - s.time * s.time
    det = kappa * (ridge + square) - time * time
    error = w * (x - (s.level + s.slope * tau))
    gain = error / det
    level = s.level + gain * ((ridge + square) - time * tau)
    slope = s.slope + gain * (kappa * tau - time)
    linear_spread = s.linear_spread + error * error * (det_0 / det) / (2.0 * law.rate)

    degree = law.shape + 0.5 * count
    constant = tables.constant[count] - degree * jnp.log(spread)
    linear = tables.log_linear - degree * jnp.log(linear_spread) - 0.5 * jnp.log(det / tables.determinant)
    mixed = jnp.maximum(constant, linear) + jnp.log1p(jnp.exp(-jnp.abs(constant - linear)))
    evidence = tables.common[count] + mixed
    density = jnp.sum(evidence - s.evidence, axis=0)
    return _Segments(count, time, square, mean, spread, level, slope, linear_spread, evidence), density


def _tables(law: _Law, kept: int) -> _Tables:
    """The terms, for n = 0 .. kept + 1, that a count decides in the evidence of conjugate regression:

    lgamma(a_n) - lgamma(a_0) - n/2 log(2 pi b_0) - a_n log(b_n / b_0) - 1/2 log(|L_n| / |L_0|),

    a_n = shape + n/2, b the rate, L the precision of the coefficients (Bishop 2006, exercise 3.23).
    """
    n = jnp.arange(kept + 2, dtype=jnp.float64)
    gammas = jax.scipy.special.gammaln(law.shape + 0.5 * n) - jax.scipy.special.gammaln(law.shape)
    common = gammas - 0.5 * n * jnp.log(2.0 * jnp.pi * law.rate) - jnp.log1p(law.linear_weight)
    return _Tables(
        log_linear=jnp.log(law.linear_weight),
        determinant=law.mean_precision / (law.slope_scale * law.slope_scale),
        common=common,
        constant=-0.5 * jnp.log1p(n / law.mean_precision),
    )


def _fresh(locations: int, kept: int) -> _Segments:
    """No observation, at every run length 0 .. kept."""
    none = jnp.zeros((locations, kept + 1))
    return _Segments(none.astype(jnp.int32), none, none, none, none + 1.0, none, none, none + 1.0, none)


def _lengthen(s: _Segments) -> _Segments:
    """Every segment one period older: run length 0 is a fresh one; the oldest, folded away, is forgotten."""
    fresh = _fresh(s.count.shape[0], 0)
    return _Segments(*(jnp.concatenate([new, old[:, :-1]], axis=1) for new, old in zip(fresh, s, strict=True)))


def _certain(kept: int) -> Any:
    """Log prior of the first period's run length: it starts the first segment."""
    return jnp.where(jnp.arange(kept + 1) == 0, 0.0, -jnp.inf)


def _fold(values: Any, join: Any) -> Any:
    """(kept + 1,) -> (kept,): the longest run length joined into the one before it."""
    return values[:-1].at[-1].set(join(values[-2], values[-1]))


def _alarms(change: Floats, recent: Ints, threshold: float) -> tuple[Alarm, ...]:
    found: list[Alarm] = []
    armed = False
    for period, (probability, run) in enumerate(zip(change.tolist(), recent.tolist(), strict=True)):
        above = probability > threshold
        if above and armed:
            found.append(Alarm(period, period - run, probability))
        armed = not above
    return tuple(found)


def _law(detect: Detect) -> _Law:
    return _Law(
        detect.hazard,
        detect.mean_precision,
        detect.shape,
        detect.rate,
        detect.slope_scale,
        detect.linear_weight,
    )


def _check_window(detect: Detect) -> None:
    if detect.window >= detect.max_run_length:
        raise SpecError(
            f"detect.window: expected less than max_run_length {detect.max_run_length}, found {detect.window}"
        )


def _check_rank(residuals: Floats, rank: int) -> None:
    if residuals.ndim != rank or residuals.size == 0:
        raise ResidualError(f"residuals: expected {rank} axes and a value, found shape {residuals.shape}")
    wild = np.argwhere((residuals > LARGEST) | (residuals < -LARGEST))
    if wild.size:
        where = wild[0].tolist()
        found = residuals[tuple(where)]
        raise ResidualError(f"residuals{where}: expected NaN or a value within {LARGEST:g}, found {found}")
