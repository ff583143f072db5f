"""Segments that an outlier can neither end nor bend: the beta-divergence in place of the log likelihood.

Source: Knoblauch, Jewson & Damoulas 2018, arXiv:1806.02261 ("KJD" below); the divergence is that of Basu, Harris,
Hjort & Jones 1998, doi:10.1093/biomet/85.3.549.

Two things change against engine/changepoint_exact.py, in each model of each location.

The score (KJD section 2) of x under the segment's predictive density p, a Student t, takes the place of log p:

    score(x) = (p(x)^beta - 1) / beta - integral of p^(1 + beta) / (1 + beta) + 1,

log p(x) as beta goes to 0, and bounded below by about -1/beta: no single observation moves the log odds of two
run lengths, or of constant and linear, by more than about 1/beta. The recursions go on with scores for log
densities, so the run-length "posterior" is a generalised one: normalised, and no calibrated probability.

The segment's parameters. The divergence's estimating equations weigh an observation by its density to the power
beta; here by w = (p(x) / max p)^beta, in (0, 1], set once, when x is observed. It then counts as w observations of
variance s2 / (1 + beta), the factor under which s2 is estimated without bias from Normal data. KJD find the
posterior by variational inference; this one-pass posterior is an approximation of that, conjugate and exact
given its weights, and costs O(1).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp

from engine.changepoint_law import Family, Law

# DLMF 5.11.14, https://dlmf.nist.gov/5.11: coefficients of w^-2k in Gamma(w + 3/4) / (Gamma(w + 1/4) sqrt(w))
_SERIES = (1.0, 1 / 64, -19 / 8192, 631 / 524288, -174317 / 134217728, 20491783 / 8589934592)
_SHIFT = 8  # steps of the recurrence up to where the series has 13 digits


class _Half(NamedTuple):
    """One model's worth, error and scale before an observation, each (location, run)."""

    shape: Any  # of the inverse gamma
    error: Any  # x less its predictive mean
    scale: Any  # predictive scale, squared


class Robust(NamedTuple):
    """Weighted statistics of the segment of every run length, each (location, run)."""

    worth: Any  # sum of the constant model's weights
    mean: Any
    spread: Any  # posterior rate of s2 over its prior rate
    score: Any  # sum of scores
    linear_worth: Any  # sum of the linear model's weights
    time: Any  # weighted sum of tau
    square: Any  # of tau^2
    level: Any
    slope: Any
    linear_spread: Any
    linear_score: Any


def tables(law: Law, kept: int) -> None:
    """Nothing: no count is an integer here."""
    del law, kept


def fresh(locations: int, runs: int) -> Robust:
    """No observation, at every run length."""
    none = jnp.zeros((locations, runs))
    return Robust(none, none, none + 1.0, none, none, none, none, none, none, none + 1.0, none)


def observe(s: Robust, x: Any, law: Law, _: None) -> tuple[Robust, Any]:
    """Statistics with `x` (location,) taken in, and the score that stands for log p(x | segment), (run,).

    A missing value leaves every statistic as it is and has score exactly 0.
    """
    seen = ~jnp.isnan(x)[:, None]  # (location, 1)
    x = jnp.where(seen, x[:, None], 0.0)
    tau = jnp.arange(s.worth.shape[1], dtype=jnp.float64)
    counted, half = 1.0 + law.beta, 0.5 / law.rate
    ridge = 1.0 / (law.slope_scale * law.slope_scale)

    kappa_0 = law.mean_precision + counted * s.worth
    error, shape = x - s.mean, law.shape + 0.5 * s.worth
    scale = law.rate * s.spread / shape * (1.0 + 1.0 / kappa_0)
    weight, score = _weigh(_Half(shape, error, scale), seen, law.beta)
    gain = counted * weight * error / (kappa_0 + counted * weight)
    mean, spread = s.mean + gain, s.spread + error * gain * kappa_0 * half

    # The precision [[kappa, time], [time, across]] and its determinant, before and after.
    kappa, across = law.mean_precision + counted * s.linear_worth, ridge + s.square
    det_0 = kappa * across - s.time * s.time
    level, slope = across - s.time * tau, kappa * tau - s.time  # det_0 times the precision's inverse at (1, tau)
    leverage = level + slope * tau
    error, shape = x - (s.level + s.slope * tau), law.shape + 0.5 * s.linear_worth
    scale = law.rate * s.linear_spread / shape * (1.0 + leverage / det_0)
    bent, linear_score = _weigh(_Half(shape, error, scale), seen, law.beta)
    pull = counted * bent
    gain_0 = pull * error / (det_0 + pull * leverage)

    after = Robust(
        s.worth + weight,
        mean,
        spread,
        s.score + score,
        s.linear_worth + bent,
        s.time + pull * tau,
        s.square + pull * (tau * tau),
        s.level + gain_0 * level,
        s.slope + gain_0 * slope,
        s.linear_spread + error * gain_0 * det_0 * half,
        s.linear_score + linear_score,
    )
    return after, jnp.sum(_mixed(after, law) - _mixed(s, law), axis=0)


def _mixed(s: Robust, law: Law) -> Any:
    """log of constant and linear mixed, but for a constant."""
    linear = s.linear_score + jnp.log(law.linear_weight)
    return jnp.maximum(s.score, linear) + jnp.log1p(jnp.exp(-jnp.abs(s.score - linear)))


def _weigh(half: _Half, seen: Any, beta: Any) -> tuple[Any, Any]:
    """w and score of one model: see the module. Zero where nothing is seen."""
    shape, error, scale = half
    fall = beta * (shape + 0.5) * jnp.log1p(error * error / (2.0 * shape * scale))  # beta log(max p / p)
    ratio = _gamma_ratio(shape)
    height = beta * jnp.log(ratio / jnp.sqrt(2.0 * jnp.pi * shape * scale))  # beta log max p
    # p^(1 + beta) is a Student t again, but for a constant: its integral is a ratio of gamma functions
    integral = jnp.exp(height) * ratio / _gamma_ratio((shape + 0.5) * (1.0 + beta) - 0.5)
    score = jnp.expm1(height - fall) / beta - integral / (1.0 + beta) + 1.0
    return jnp.where(seen, jnp.exp(-fall), 0.0), jnp.where(seen, score, 0.0)


def _gamma_ratio(v: Any) -> Any:
    """Gamma(v + 1/2) / Gamma(v), v > 0, to 13 digits: recurrence, then the asymptotic series."""
    above, below = 1.0, 1.0
    for k in range(_SHIFT):
        above, below = above * (v + k), below * (v + k + 0.5)
    w = v + (_SHIFT - 0.25)
    inverse, total = 1.0 / (w * w), 0.0
    for coefficient in reversed(_SERIES):
        total = total * inverse + coefficient
    return above / below * jnp.sqrt(w) * total


ROBUST = Family(tables, fresh, observe)
