"""From a posterior to paths, quantiles and contributions.

Glossary
--------
path       one simulated future of all series, from one draw of the parameters
quantile   of the paths at one horizon and location: linear interpolation of order statistics (Hyndman & Fan 1996,
           type 7, doi:10.2307/2684934)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from engine import model
from engine.design import Design, Scales, outcome_inverse
from engine.model import Parameters
from engine.spec import Spec


def paths(
    spec: Spec, draws: Parameters, design: Design, scales: Scales, origin: int, key: Array, widening: Sequence[float]
) -> Array:
    """Simulated outcomes past the origin in the KPI's unit: (draw, horizon, series). One key a draw.

    widening: (horizon,) factor on each path's distance from the median of all, on the model's scale.
    """
    keys = jax.random.split(key, draws.level.shape[0])
    y = _simulate(spec, spec.backtest.horizon, draws, design, jnp.asarray(origin), keys)
    middle = quantiles(y, (0.5,))
    wide = middle + jnp.asarray(widening)[None, :, None] * (y - middle)
    return outcome_inverse(spec)(wide) * jnp.asarray(scales.kpi)


@partial(jax.jit, static_argnums=(0, 1))
def _simulate(spec: Spec, horizon: int, draws: Parameters, design: Design, origin: Array, keys: Array) -> Array:
    def one(argument: tuple[Parameters, Array]) -> Array:
        parameters, key = argument
        return model.simulate(spec, parameters, design, origin, horizon, key)

    return jax.lax.map(one, (draws, keys))


def quantiles(values: Array, probabilities: Sequence[float]) -> Array:
    """Type-7 quantiles over the first axis: (draw, ...) -> (probability, ...)."""
    ordered = jnp.sort(values, axis=0)
    last = values.shape[0] - 1
    rows = []
    for probability in probabilities:
        place = probability * last
        below = math.floor(place)
        above = min(below + 1, last)
        rows.append(ordered[below] + (place - below) * (ordered[above] - ordered[below]))
    return jnp.stack(rows)


def point(values: Array, kind: Literal["median", "relative_median"]) -> Array:
    """The point forecast from positive draws: (draw, ...) -> (...).

    median: type-7, the least mean absolute error. relative_median: the smallest draw at or below which half of all
    weight lies, each draw y weighing 1 / |y|: the least mean absolute percentage error (the (-1)-median: Gneiting 2011,
    doi:10.1198/jasa.2011.r10138, theorem 5). It lies at or below the median.
    """
    if kind == "median":
        return quantiles(values, (0.5,))[0]
    ordered = jnp.sort(values, axis=0)
    reached = jnp.cumsum(1.0 / jnp.abs(ordered), axis=0)
    return jnp.min(jnp.where(reached >= 0.5 * reached[-1], ordered, jnp.inf), axis=0)


class OneStep(NamedTuple):
    """Predictive mean and standard deviation of each outcome given the one before, on the model's scale."""

    mean: Array  # (T, S)
    sd: Array  # (T, S)


def one_step(spec: Spec, draws: Parameters, design: Design, known: Array) -> OneStep:
    """One-step-ahead prediction at every period under hindsight covariates, averaged over draws.

    known: (T, S) outcomes on the model's scale as they happened. The variance is the draws' mean
    noise variance (`model.noise_variance`) plus the variance of their means.
    """
    return OneStep(*_one_step(spec, draws, design, known))


@partial(jax.jit, static_argnums=0)
def _one_step(spec: Spec, draws: Parameters, design: Design, known: Array) -> tuple[Array, Array]:
    def add(carry: tuple[Array, Array, Array], parameters: Parameters) -> tuple[tuple[Array, Array, Array], None]:
        first, second, noise = carry
        m = model.one_step(spec, parameters, design, known)
        return (first + m, second + m * m, noise + model.noise_variance(spec, parameters, design)), None

    zero = jnp.zeros_like(known)
    (first, second, noise), _ = jax.lax.scan(add, (zero, zero, zero), draws)
    count = draws.level.shape[0]
    mean = first / count
    variance = jnp.maximum(second / count - mean * mean, 0.0) + noise / count
    return mean, jnp.sqrt(variance)
