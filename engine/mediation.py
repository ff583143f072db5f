"""Mediators: what media build, and what then moves the outcome.

    M[t,l,n] = level[n] + sum_m path[n,m] (f_m(x[t,l]) - its mean over known periods) + e,  e ~ Normal(0, noise[n]^2)
    observed M[t,l,n] = M + error,  error ~ Normal(0, survey[n]^2)
    y[t,l,o] gains  sum_n effect[n,o] M[t,l,n]

The disturbance e is never sampled: everything is Gaussian and independent between periods, so it is integrated out
(`engine.noise`), where M was observed and where it was not. A channel's total effect on an outcome is direct and
indirect, the latter sum_n path[n,m] effect[n,o]; identified under sequential ignorability alone (Imai, Keele &
Yamamoto 2010, doi:10.1214/10-STS321): no unmeasured confounder of media and mediator, mediator and outcome, media and
outcome.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import Array

from engine.layout import Layout
from engine.spec_outcomes import Mediator


class MediatorData(NamedTuple):
    """What was seen of the mediators, standardised."""

    seen: Array  # (T, L, N) 0 where nothing was
    mask: Array  # (T, L, N) 1 where something was


class MediationParameters(NamedTuple):
    """One draw. N mediators."""

    mediator_level: Array  # (N,) of the standardised mediator
    path: Array  # (N, M) a channel's effect at full saturation
    mediator_effect: Array  # (N, O)
    mediator_noise: Array  # (N,)
    survey_noise: Array  # (N,) 0 where observations are exact


DIMS: dict[str, tuple[str, ...]] = {
    "mediator_level": ("mediator",),
    "path": ("mediator", "channel"),
    "mediator_effect": ("mediator", "outcome"),
    "mediator_noise": ("mediator",),
    "survey_noise": ("mediator",),
}


def sample(mediators: Sequence[Mediator], places: Layout) -> MediationParameters:
    """One draw from the priors that `mediators` declare; a latent mediator has neither level nor noise."""
    size = len(mediators)
    if size == 0:
        none = jnp.zeros(0)
        return MediationParameters(none, jnp.zeros((0, places.channels)), jnp.zeros((0, places.outcomes)), none, none)
    path_scale = jnp.asarray([mediators[n].path_scale for n, _ in places.paths])
    path = numpyro.sample("path", dist.HalfNormal(path_scale).to_event(1))
    seen = jnp.asarray([float(m.kind != "latent") for m in mediators])
    level = numpyro.sample("mediator_level", dist.Normal(0.0, 1.0).expand([size]).to_event(1))
    noise = numpyro.sample(
        "mediator_noise", dist.HalfNormal(jnp.asarray([m.noise_scale for m in mediators])).to_event(1)
    )
    return MediationParameters(
        mediator_level=level * seen,
        path=_placed(path, places.paths, (size, places.channels)),
        mediator_effect=_placed(_effects(mediators, places), places.mediated, (size, places.outcomes)),
        mediator_noise=noise * seen,
        survey_noise=_survey(mediators),
    )


def _effects(mediators: Sequence[Mediator], places: Layout) -> Array:
    """(number of mediated pairs,): half-normal where declared positive, by folding a normal's absolute value."""
    scale = jnp.asarray([mediators[n].effect_scale for n, _ in places.mediated])
    signed = [place for place, (n, _) in enumerate(places.mediated) if not mediators[n].positive]
    positive = [place for place, (n, _) in enumerate(places.mediated) if mediators[n].positive]
    parts: list[Array] = [jnp.zeros(())] * len(places.mediated)
    if signed:
        drawn = numpyro.sample("mediator_effect", dist.Normal(0.0, scale[jnp.asarray(signed)]).to_event(1))
        for k, place in enumerate(signed):
            parts[place] = drawn[k]
    if positive:
        drawn = numpyro.sample("mediator_lift", dist.HalfNormal(scale[jnp.asarray(positive)]).to_event(1))
        for k, place in enumerate(positive):
            parts[place] = drawn[k]
    return jnp.stack(parts)


def _survey(mediators: Sequence[Mediator]) -> Array:
    scales = [m.survey_scale for m in mediators if m.survey_scale is not None]
    if not scales:
        return jnp.zeros(len(mediators))
    drawn = numpyro.sample("survey_noise", dist.HalfNormal(jnp.asarray(scales)).to_event(1))
    parts, taken = [], 0
    for mediator in mediators:
        parts.append(jnp.zeros(()) if mediator.survey_scale is None else drawn[taken])
        taken += mediator.survey_scale is not None
    return jnp.stack(parts)


def _placed(values: Array, places: Sequence[tuple[int, int]], shape: tuple[int, int]) -> Array:
    """`values` at their (row, column), zeros elsewhere."""
    at = {place: values[k] for k, place in enumerate(places)}
    zero = jnp.zeros(())
    return jnp.stack([jnp.stack([at.get((i, j), zero) for j in range(shape[1])]) for i in range(shape[0])])


def expected(p: MediationParameters, response: Array, typical: Array) -> Array:
    """The mediators without their disturbance: (T, L, N).

    response: (T, L, M) media after carry-over and saturation; typical: (L, M) its mean over the known periods.
    """
    centred = response - typical
    built = jnp.sum(centred[:, :, None, :] * p.path, axis=-1)
    return p.mediator_level + built


def effect(p: MediationParameters, level: Array) -> Array:
    """What mediators of `level` (T, L, N) add to the outcomes: (T, S)."""
    added = jnp.sum(level[..., None] * p.mediator_effect, axis=2)  # (T, L, O)
    return added.reshape(level.shape[0], -1)


def indirect(p: MediationParameters) -> Array:
    """A channel's effect on each outcome through all mediators, at full saturation: (M, O)."""
    return jnp.sum(p.path[:, :, None] * p.mediator_effect[:, None, :], axis=0)
