"""Segments whose evidence is the closed form of conjugate regression: Normal noise, every observation counts.

Per location and run length, the constant and the linear model of engine/changepoint.py, updated in O(1).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from engine.changepoint_law import Family, Law


class Exact(NamedTuple):
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


class Tables(NamedTuple):
    """Terms of the evidence that depend on the law and the count of observations alone."""

    odds: Any  # prior odds of the linear model, times the root of its slope's prior precision
    common: Any  # (count,) of both models


def tables(law: Law, kept: int) -> Tables:
    """The terms, for n = 0 .. kept + 1, that a count decides in the evidence of conjugate regression:

    lgamma(a_n) - lgamma(a_0) - n/2 log(2 pi b_0) - a_n log(b_n / b_0) - 1/2 log(|L_n| / |L_0|),

    a_n = shape + n/2, b the rate, L the precision of the coefficients (Bishop 2006, exercise 3.23).
    """
    n = jnp.arange(kept + 2, dtype=jnp.float64)
    gammas = jax.scipy.special.gammaln(law.shape + 0.5 * n) - jax.scipy.special.gammaln(law.shape)
    return Tables(
        odds=law.linear_weight / law.slope_scale,
        common=gammas - 0.5 * n * jnp.log(2.0 * jnp.pi * law.rate) - jnp.log1p(law.linear_weight),
    )


def fresh(locations: int, runs: int) -> Exact:
    """No observation, at every run length."""
    none = jnp.zeros((locations, runs))
    return Exact(none.astype(jnp.int32), none, none, none, none + 1.0, none, none, none + 1.0, none)


def observe(s: Exact, x: Any, law: Law, tables: Tables) -> tuple[Exact, Any]:
    """Statistics with `x` (location,) taken in, and log p(x | segment) of every run length, (run,).

    A missing value leaves every statistic as it is and has log density exactly 0.
    """
    seen = ~jnp.isnan(x)[:, None]  # (location, 1)
    w, x = seen.astype(jnp.float64), jnp.where(seen, x[:, None], 0.0)
    tau = jnp.arange(s.count.shape[1], dtype=jnp.float64)
    count = s.count + seen.astype(jnp.int32)
    time, square = s.time + w * tau, s.square + w * (tau * tau)
    ridge, half = 1.0 / (law.slope_scale * law.slope_scale), 0.5 / law.rate

    kappa_0, kappa = law.mean_precision + s.count, law.mean_precision + count
    part = 1.0 / kappa
    error = w * (x - s.mean)
    mean = s.mean + error * part
    spread = s.spread + error * error * (kappa_0 * part) * half

    # The precision [[kappa, time], [time, ridge + square]] in closed form: its sums of integers are exact.
    det_0 = kappa_0 * (ridge + s.square) - s.time * s.time
    det = kappa * (ridge + square) - time * time
    error = w * (x - (s.level + s.slope * tau))
    gain = error / det
    level = s.level + gain * ((ridge + square) - time * tau)
    slope = s.slope + gain * (kappa * tau - time)
    linear_spread = s.linear_spread + error * gain * det_0 * half

    degree = law.shape + 0.5 * count
    constant, linear = jnp.log(spread), jnp.log(linear_spread)
    # Log evidence by which the line's fit is the better one. At weight 0 the odds could not bring it back.
    lead = jnp.where(law.linear_weight > 0.0, degree * (constant - linear), -jnp.inf)
    odds, less = tables.odds * jnp.sqrt(kappa / det), jnp.exp(-jnp.abs(lead))
    mixed = jnp.where(lead > 0.0, less + odds, 1.0 + less * odds) * jnp.sqrt(law.mean_precision * part)
    fit = jnp.where(lead > 0.0, linear, constant)
    evidence = tables.common[count] - degree * fit + jnp.log(mixed)
    density = jnp.sum(evidence - s.evidence, axis=0)
    return Exact(count, time, square, mean, spread, level, slope, linear_spread, evidence), density


EXACT = Family(tables, fresh, observe)
