"""Seasonal terms: Fourier series of one period (Harvey & Shephard 1993; Taylor & Letham 2018, section 3.2)."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array


def fourier_basis(time: int, period: float, harmonics: int) -> Array:
    """cos and sin of 2 pi k t / period for k = 1..harmonics: (time, 2 harmonics); t counts periods from the start."""
    t = jnp.arange(time, dtype=jnp.float64)[:, None]
    k = jnp.arange(1, harmonics + 1, dtype=jnp.float64)[None, :]
    angle = 2.0 * jnp.pi * k * t / period
    return jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], axis=1)
