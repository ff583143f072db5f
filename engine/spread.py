"""How far the posterior roughly reaches in each direction, before anything is sampled: NUTS's first metric.

With the identity in its place the first hundred iterations of a warm-up ran to the full depth of the tree, 1,023 steps
each, and cost more than all others together: a level that is known to a thousandth is next to a decay that is known to
a tenth. Adaptation then starts from here instead of from 1, and ends where it would have ended.

For a coefficient b ~ Normal(0, scale^2) of a column x, in noise of variance v:  1 / (1 / scale^2 + sum_t w x^2 / v).
v is a quarter of the outcome's variance: half of its standard deviation explained. Columns are taken one at a time.
Source: Neal (2011), MCMC Using Hamiltonian Dynamics, section 5.4.1, arXiv:1206.1901 (scales of the variables).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from engine import trend
from engine.design import Design
from engine.layout import layout
from engine.seasonality import scales as season_scales
from engine.spec import Spec

_UNEXPLAINED = 0.25  # of the outcome's variance


class Noise(NamedTuple):
    """Of each series."""

    rows: Array  # (S,) known periods, by their weight
    variance: Array  # (S,) guessed


def spread(spec: Spec, design: Design) -> Mapping[str, Array]:
    """Variance of each linear site and of log sigma, by the site's name and of its shape; other sites are left out."""
    places, declared = layout(spec), spec.model
    noise = _noise(design)
    own = jnp.eye(places.series)
    shared = jnp.tile(jnp.eye(places.outcomes), (places.locations, 1))
    ones = jnp.ones((design.y.shape[0], 1))
    event_scale = jnp.full(design.events.shape[1], declared.event_scale)
    found = {
        "level": declared.level_scale**2 * _unit(design, noise, ones, own, jnp.asarray([declared.level_scale]))[0],
        "season": _unit(design, noise, design.season, shared, season_scales(declared.seasons)),
        "event": _unit(design, noise, design.events, shared, event_scale),
        "shift": _unit(design, noise, design.shift, own, design.shift_scale),
        "metric": _unit(design, noise, design.metric, own, design.metric_scale),
        "sigma": 0.5 / noise.rows,
    }
    scale = trend.linear_scale(declared.trend)
    if scale is not None and scale.shape[0]:
        found["slope"] = scale[0] ** 2 * _unit(design, noise, design.trend.columns, own, scale)[0]
    if declared.controls.selection is None:
        found["control"] = declared.controls.scale**2 * _controls(spec, design, noise)
    return found


def _noise(design: Design) -> Noise:
    rows = jnp.maximum(jnp.sum(design.weight, axis=0), 1.0)
    mean = jnp.sum(design.weight * design.y, axis=0) / rows
    variance = jnp.sum(design.weight * (design.y - mean) ** 2, axis=0) / rows
    return Noise(rows, _UNEXPLAINED * jnp.where(variance > 0.0, variance, 1.0))


def _unit(design: Design, noise: Noise, columns: Array, whose: Array, scale: Array) -> Array:
    """Of coefficients in units of their prior sd: (K, W). columns: (T, K), whose: (S, W) 1 where series s has it."""
    square = jnp.sum(columns[:, :, None] ** 2 * design.weight[:, None, :], axis=0) / noise.variance  # (K, S)
    told = jnp.sum(square[:, :, None] * whose, axis=1)  # (K, W)
    return 1.0 / (1.0 + (scale * scale)[:, None] * told)


def _controls(spec: Spec, design: Design, noise: Noise) -> Array:
    """(C, O), in units of their prior variance."""
    places = layout(spec)
    each = design.controls[:, :, None, :] ** 2  # (T, L, 1, C)
    weight = (design.weight / noise.variance).reshape(-1, places.locations, places.outcomes, 1)
    told = jnp.sum(each * weight, axis=(0, 1)).T  # (C, O)
    return 1.0 / (1.0 + spec.model.controls.scale**2 * told)
