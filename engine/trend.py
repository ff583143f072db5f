"""Trend terms. Time is measured from the middle of the known periods, where level and slope are uncorrelated."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array


def linear_basis(time: int, origin: int, year: float) -> Array:
    """Years from the middle of the `origin` known periods: (time,)."""
    return (jnp.arange(time, dtype=jnp.float64) - (origin - 1) / 2) / year
