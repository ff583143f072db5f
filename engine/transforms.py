"""Media transformations: carry-over (adstock) and diminishing returns (saturation).

Both act along time, the first axis. Sources: Jin, Wang, Sun, Chan & Koehler (2017), "Bayesian Methods for Media Mix
Modeling with Carryover and Shape Effects", sections 2.1-2.2.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array


def lagged(x: Array, max_lag: int) -> Array:
    """Stack of `x` shifted by 0..max_lag-1 periods, zeros before the first period.

    x: (time, ...) -> (time, ..., max_lag). Done once, outside the sampler: the lags are data.
    """
    padded = jnp.concatenate([jnp.zeros((max_lag - 1, *x.shape[1:]), x.dtype), x])
    time = x.shape[0]
    return jnp.stack([padded[max_lag - 1 - lag : max_lag - 1 - lag + time] for lag in range(max_lag)], axis=-1)


def geometric_adstock(x_lagged: Array, alpha: Array) -> Array:
    """Normalised geometric carry-over sum_l alpha^l x[t-l] / sum_l alpha^l  (Jin et al. 2017, eq. 1).

    x_lagged: (time, location, channel, lag), alpha: (channel,) with 0 < alpha < 1 -> (time, location, channel).
    """
    lags = jnp.arange(x_lagged.shape[-1], dtype=x_lagged.dtype)
    weight = jnp.exp(lags * jnp.log(alpha)[:, None])  # (channel, lag); exp of a product, cheaper than pow
    return jnp.sum(x_lagged * (weight / jnp.sum(weight, axis=-1, keepdims=True)), axis=-1)


def logistic_saturation(x: Array, lam: Array) -> Array:
    """1 - exp(-lambda x) in [0, 1); half-saturation at ln 2 / lambda. Precondition: x >= 0, lambda > 0."""
    return 1.0 - jnp.exp(-lam * x)
