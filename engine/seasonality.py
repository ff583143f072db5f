"""Seasonal terms: Fourier series of one or more periods (Harvey & Shephard 1993; Taylor & Letham 2018, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array

from engine.spec_trend import Season


def fourier(seasons: Sequence[Season], span: int) -> Array:
    """The columns of every season, one season after the other: (span, sum of 2 harmonics)."""
    columns = [fourier_basis(span, season.period, season.harmonics) for season in seasons]
    return jnp.concatenate([jnp.zeros((span, 0)), *columns], axis=1)


def scales(seasons: Sequence[Season]) -> Array:
    """Prior sd of the coefficient of each column of `fourier`: (sum of 2 harmonics,)."""
    return jnp.asarray([season.scale for season in seasons for _ in range(2 * season.harmonics)])


def fourier_basis(time: int, period: float, harmonics: int) -> Array:
    """cos and sin of 2 pi k t / period for k = 1..harmonics: (time, 2 harmonics); t counts periods from the start."""
    t = jnp.arange(time, dtype=jnp.float64)[:, None]
    k = jnp.arange(1, harmonics + 1, dtype=jnp.float64)[None, :]
    angle = 2.0 * jnp.pi * k * t / period
    return jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], axis=1)
