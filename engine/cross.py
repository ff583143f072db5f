"""Cross-effects between outcomes of one location: cannibalisation, halo, spillover.

    y[t] = mean[t] + Psi[t] y[t] + Phi[t] y[t-1] + r[t]

Psi holds the simultaneous effects, Phi the lagged ones, both multiplied by their promotion where one is declared. y is
in deviations on the model's scale; before the first period it is 0, its mean. Solved as a system:
y[t] = (I - Psi[t])^-1 (mean[t] + Phi[t] y[t-1] + r[t]), and the density of y gains |det(I - Psi[t])|.
Source: Hamilton (1994), Time Series Analysis, section 11.6 (structural vector autoregressions).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import Array

from engine import small_linear
from engine.layout import Cross, Layout
from engine.small_linear import Entry
from engine.spec_outcomes import CrossEffect

SIGN = {"cannibalisation": -1.0, "halo": 1.0}


class CrossParameters(NamedTuple):
    """One draw. X cross-effects."""

    cross: Array  # (X,) psi


DIMS: dict[str, tuple[str, ...]] = {"cross": ("cross_effect",)}


def sample(effects: Sequence[CrossEffect]) -> CrossParameters:
    """One draw from the priors that `effects` declare."""
    parts: list[Array] = []
    for place, each in enumerate(effects):
        name = f"cross_{place}"
        if each.kind == "spillover":
            parts.append(numpyro.sample(name, dist.Normal(0.0, each.scale)))
        else:
            parts.append(SIGN[each.kind] * numpyro.sample(name, dist.HalfNormal(each.scale)))
    return CrossParameters(jnp.stack(parts) if parts else jnp.zeros(0))


def _split(places: Layout, y: Array) -> list[Array]:
    """(T, S) as one (T, L) an outcome."""
    each = y.reshape(y.shape[0], places.locations, places.outcomes)
    return [each[:, :, o] for o in range(places.outcomes)]


def _joined(parts: Sequence[Array]) -> Array:
    """The inverse of `_split`."""
    stacked = jnp.stack(parts, axis=-1)
    return stacked.reshape(stacked.shape[0], -1)


def _matrix(places: Layout, p: CrossParameters, promotion: Array) -> list[list[Entry]]:
    """I - Psi, each entry (T, L)."""
    size = places.outcomes
    one = jnp.ones(())
    rows: list[list[Entry]] = [[one if i == j else None for j in range(size)] for i in range(size)]
    for x, each in enumerate(places.cross):
        if not each.lagged:
            moved = p.cross[x] * promotion[:, :, x]
            rows[each.target][each.source] = small_linear.minus(rows[each.target][each.source], moved)
    return rows


def carried(places: Layout, p: CrossParameters, before: Array, promotion: Array) -> Array:
    """Phi[t] y[t-1]: (T, S). before: (T, S) outcomes one period earlier."""
    if not any(each.lagged for each in places.cross):
        return jnp.zeros_like(before)
    parts = _split(places, before)
    out = [jnp.zeros_like(parts[0])] * places.outcomes
    for x, each in enumerate(places.cross):
        if each.lagged:
            out[each.target] = out[each.target] + p.cross[x] * promotion[:, :, x] * parts[each.source]
    return _joined(out)


def lagged(y: Array) -> Array:
    """y one period earlier, 0 before the first: (T, S)."""
    return jnp.concatenate([jnp.zeros_like(y[:1]), y[:-1]])


def own(places: Layout, p: CrossParameters, y: Array, promotion: Array) -> Array:
    """What is left of `y` (T, S) without what other outcomes cause: (I - Psi) y - Phi y[t-1]."""
    if not places.cross:
        return y
    parts = _split(places, y)
    out = list(parts)
    for x, each in enumerate(places.cross):
        if not each.lagged:
            out[each.target] = out[each.target] - p.cross[x] * promotion[:, :, x] * parts[each.source]
    return _joined(out) - carried(places, p, lagged(y), promotion)


def _simultaneous(effects: Sequence[Cross]) -> bool:
    return any(not each.lagged for each in effects)


def log_det(places: Layout, p: CrossParameters, promotion: Array) -> Array:
    """log |det(I - Psi[t])|: (T, L), or () where nothing is simultaneous."""
    if not _simultaneous(places.cross):
        return jnp.zeros(())
    zero = jnp.zeros(promotion.shape[:2])
    return small_linear.solve(_matrix(places, p, promotion), [zero] * places.outcomes).log_det


def solved(places: Layout, p: CrossParameters, right: Array, promotion: Array) -> Array:
    """(I - Psi)^-1 right: (T, S)."""
    if not _simultaneous(places.cross):
        return right
    return _joined(small_linear.solve(_matrix(places, p, promotion), _split(places, right)).x)


def propagated(places: Layout, p: CrossParameters, right: Array, promotion: Array) -> Array:
    """The outcomes that `right` (T, S) leads to, simultaneous and lagged effects solved: (T, S)."""
    if not any(each.lagged for each in places.cross):
        return solved(places, p, right, promotion)

    def step(before: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        own_part, moved = now[0][None], now[1][None]
        found = solved(places, p, own_part + carried(places, p, before[None], moved), moved)[0]
        return found, found

    return jax.lax.scan(step, jnp.zeros(places.series), (right, promotion))[1]
