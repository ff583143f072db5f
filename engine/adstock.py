"""Carry-over (adstock): what is left in a period of the spends of the periods before it.

    carried[t] = sum_l w[l] x[t-l] / sum_l w[l],  l = 0 .. L-1

Glossary
--------
lag      periods between a spend and its effect; 0 is the period of the spend
weight   w[l] over its sum: the share of a spend that acts l periods later. Carried spend is in the units of spend,
         and what is spent evenly is carried evenly
Worked example: geometric, alpha = .5, L = 3 has the weights 4/7, 2/7, 1/7; spends of 7, 0, 0 are carried as 4, 2, 1.

Sources: Jin, Wang, Sun, Chan & Koehler (2017), "Bayesian Methods for Media Mix Modeling with Carryover and Shape
Effects", section 2.1, eq. 1 (the normalised sum), 2 (geometric), 3 (delayed). The Weibull forms are those of Robyn
(`adstock_weibull`) and PyMC-Marketing (`weibull_adstock`): lags counted from 1 for the density, survivals multiplied
for the distribution. They scale the density to [0, 1]; here every kind is normalised by its sum. Binomial is Meridian's
decay of that name (documentation, "Set the adstock_decay_spec parameter").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import Array

from engine.spec_transforms import Adstock, Binomial, Delayed, Geometric, WeibullCdf, WeibullPdf

_LARGE = 300.0  # exp of it and of its double are finite; what decays by more is 0 to the last bit
_ALPHA_FLOOR = 1e-4  # below it binomial weights of lags >= 1 are under 1e-80 and the derivative of 1 / alpha explodes


class AdstockKind(NamedTuple):
    """One kind of carry-over: P parameters, M channels."""

    parameters: tuple[str, ...]  # names of the rows of its parameters
    sample: Callable[[Any, int], Array]  # (spec of the kind, channels) -> (P, M), sites adstock_<row>
    weights: Callable[[Array, int], Array]  # (P, M), lags -> (M, lag), each >= 0, the sum over lags 1


def lagged(x: Array, max_lag: int) -> Array:
    """Stack of `x` shifted by 0..max_lag-1 periods, zeros before the first period.

    x: (time, ...) -> (time, ..., max_lag). Done once, outside the sampler: the lags are data.
    """
    padded = jnp.concatenate([jnp.zeros((max_lag - 1, *x.shape[1:]), x.dtype), x])
    time = x.shape[0]
    return jnp.stack([padded[max_lag - 1 - lag : max_lag - 1 - lag + time] for lag in range(max_lag)], axis=-1)


def sample_adstock(spec: Adstock, channels: int) -> Array:
    """A draw of the parameters from their priors: (P, M), rows as `ADSTOCKS[spec.kind].parameters`.

    A shared parameter is one draw, the same for every channel. No channel, and so (P, 0): nothing is sampled.
    """
    kind = ADSTOCKS[spec.kind]
    if channels == 0:
        return jnp.zeros((len(kind.parameters), 0))
    drawn = kind.sample(spec, 1 if spec.shared else channels)
    return jnp.broadcast_to(drawn, (len(kind.parameters), channels))


def carried(spec: Adstock, x_lagged: Array, parameters: Array) -> Array:
    """What is left of the spends in each period, in their units: (T, L, M).

    x_lagged: (T, L, M, lag) as `lagged` gives it, parameters: (P, M).
    """
    return jnp.sum(x_lagged * ADSTOCKS[spec.kind].weights(parameters, x_lagged.shape[-1]), axis=-1)


def _site(row: str, prior: dist.Distribution, channels: int) -> Array:
    return numpyro.sample(f"adstock_{row}", prior.expand([channels]))


def _sample_decay(spec: Geometric | Binomial, channels: int) -> Array:
    return _site("alpha", dist.Beta(spec.alpha_a, spec.alpha_b), channels)[None]


def _sample_delayed(spec: Delayed, channels: int) -> Array:
    """The site adstock_theta is theta / (L - 1); the row theta is in periods."""
    alpha = _site("alpha", dist.Beta(spec.alpha_a, spec.alpha_b), channels)
    theta = _site("theta", dist.Beta(spec.theta_a, spec.theta_b), channels)
    return jnp.stack([alpha, theta * (spec.max_lag - 1.0)])


def _sample_weibull(spec: WeibullPdf | WeibullCdf, channels: int) -> Array:
    k = _site("k", dist.Gamma(spec.k_shape, spec.k_rate), channels)
    return jnp.stack([k, _site("lam", dist.Gamma(spec.lam_shape, spec.lam_rate), channels)])


def _normalised(log_weight: Array) -> Array:
    """exp of (M, lag), over its sum; the largest is taken out first, so that the sum is never 0."""
    weight = jnp.exp(log_weight - jax.lax.stop_gradient(jnp.max(log_weight, axis=-1, keepdims=True)))
    return weight / jnp.sum(weight, axis=-1, keepdims=True)


def _geometric(parameters: Array, lags: int) -> Array:
    lag = jnp.arange(lags, dtype=parameters.dtype)
    weight = jnp.exp(lag * jnp.log(parameters[0])[:, None])  # exp of a product, cheaper than pow
    return weight / jnp.sum(weight, axis=-1, keepdims=True)


def _delayed(parameters: Array, lags: int) -> Array:
    alpha, theta = parameters[:, :, None]  # each (M, 1)
    distance = jnp.arange(lags, dtype=parameters.dtype) - theta
    return _normalised(distance * distance * jnp.log(alpha))


def _weibull_exponents(parameters: Array, periods: int) -> Array:
    """(i / lam)^k for i = 1..periods, at most e^600, and increasing in i wherever it is not at that limit."""
    k, lam = parameters[:, :, None]  # each (M, 1)
    first = jnp.minimum(-k * jnp.log(lam), _LARGE)  # of i = 1
    return jnp.exp(jnp.minimum(first + k * _logs(periods), 2.0 * _LARGE))  # (M, periods)


def _weibull_pdf(parameters: Array, lags: int) -> Array:
    """The density's factor k / lam^k is the same for every lag and is left out."""
    return _normalised((parameters[0][:, None] - 1.0) * _logs(lags) - _weibull_exponents(parameters, lags))


def _weibull_cdf(parameters: Array, lags: int) -> Array:
    """log w[l] = -sum over i = 1..l of (i / lam)^k."""
    before = jnp.asarray([[float(i < lag) for i in range(lags - 1)] for lag in range(lags)]).reshape(lags, lags - 1)
    exponents = _weibull_exponents(parameters, lags - 1)
    return _normalised(-jnp.sum(exponents[:, None, :] * before, axis=-1))


def _binomial(parameters: Array, lags: int) -> Array:
    power = 1.0 / jnp.maximum(parameters[0], _ALPHA_FLOOR) - 1.0
    return _normalised(power[:, None] * jnp.asarray([math.log((lags - lag) / lags) for lag in range(lags)]))


def _logs(periods: int) -> Array:
    """log 1 .. log periods: a constant, and so not left to the compiler."""
    return jnp.asarray([math.log(i) for i in range(1, periods + 1)])


ADSTOCKS: Mapping[str, AdstockKind] = MappingProxyType(
    {
        "geometric": AdstockKind(("alpha",), _sample_decay, _geometric),
        "delayed": AdstockKind(("alpha", "theta"), _sample_delayed, _delayed),
        "weibull_pdf": AdstockKind(("k", "lam"), _sample_weibull, _weibull_pdf),
        "weibull_cdf": AdstockKind(("k", "lam"), _sample_weibull, _weibull_cdf),
        "binomial": AdstockKind(("alpha",), _sample_decay, _binomial),
    }
)
