"""Who shares what of a media effect: complete, none, or partial pooling over locations, products and campaigns.

    log beta[l,o,m] = mu[p,g] + tau_L[p,g] z_L[l,p,g] + tau_O[g] z_O[o,g] + tau_C[p,g] z_C[p,m]

with the terms that `over` names; g is the group of column m (the column itself unless campaigns are pooled), p the
outcome o, or 0 where products are pooled. Outcomes that are not pooled over have populations of their own: they are
counted in units of their own. As every tau goes to 0 the effects are completely pooled; as it grows they are separate,
each known by its own data alone.

Worked example: two locations, one outcome, over (location,). mu = log .2, tau = .5, z = (1, -1) make effects
.2 exp(.5) = .33 and .2 exp(-.5) = .12; with tau = 0 both are .2.

Centring. log beta = mu + tau z with z ~ Normal(0, 1) suits a sampler where a location's data say little, for then z is
nearly independent of tau; log beta ~ Normal(mu, tau^2) suits it where they say much (Papaspiliopoulos, Roberts & Skoeld
2007, "A general framework for the parametrization of hierarchical models", doi:10.1214/088342307000000014). Both are
one prior. Of crossed dimensions the one named first carries mu, and the others' deviations are centred on 0.

National media. A channel bought once for all locations has one effect per outcome, and no deviation by location: what
differs between locations is then how they would have sold anyhow, and not how they respond (`engine.national`).

Sources: Gelman & Hill (2007), Data Analysis Using Regression and Multilevel/Hierarchical Models, chapters 12-13
(section 13.5: non-nested deviations); Sun, Wang, Jin, Chan & Koehler (2017), "Geo-level Bayesian Hierarchical Media
Mix Modeling".
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array

from engine.spec_media import ByData, Centred, Dimension, MediaSpec, NonCentred, Partial, Pooling

SITES: dict[Dimension, tuple[str, str]] = {
    "location": ("tau", "z"),
    "product": ("tau_product", "z_product"),
    "campaign": ("tau_campaign", "z_campaign"),
}


class Cells(NamedTuple):
    """The effects as a table of locations, outcomes and media columns, and what is known of each."""

    centred: Array  # (location, outcome, channel) bool
    national: Array  # (channel,) bool
    groups: tuple[int, ...]  # (channel,) population of each column

    @property
    def populations(self) -> int:
        """How many groups there are."""
        return max(self.groups) + 1


def centred_mask(pooling: Pooling, seen: np.ndarray, outcomes: int) -> Array:
    """1 where an effect is sampled around its mean, 0 where as a deviation from it: (series, channel).

    seen: (time, location, channel) spend of the periods whose outcomes are known.
    """
    _, locations, channels = seen.shape
    centred = np.zeros((locations, channels))
    if isinstance(pooling, Partial) and isinstance(pooling.centring, Centred):
        centred[...] = 1.0
    elif isinstance(pooling, Partial) and isinstance(pooling.centring, ByData):
        centred[np.sum(seen > 0.0, axis=0) >= pooling.centring.active] = 1.0
    return jnp.repeat(jnp.asarray(centred), outcomes, axis=0)


def sample_effects(
    spec: MediaSpec,
    locations: int,
    outcomes: int,
    groups: tuple[int, ...],
    centred: Array,
    national: Array,
    swing: Array,
) -> Array:
    """beta > 0 under the declared pooling: (series, channel).

    groups: of each media column, 0, 1, ... without a gap; used where campaigns are pooled. centred: (series, channel)
    as `centred_mask` gives it; used where centring is by data. national: (channel,) 1 where a channel is bought
    nationally. swing: (channel,) > 0 what an effect is sampled in units of; the prior of beta does not depend on it.
    """
    channels = len(groups)
    everywhere = national > 0.0
    if isinstance(spec.pooling, Partial):
        pooled = "campaign" in spec.pooling.over
        table = (centred > 0.0).reshape(locations, outcomes, channels)
        cells = Cells(table, everywhere, groups if pooled else tuple(range(channels)))
        return jnp.exp(_log_effects(spec.pooling, spec.scale, cells, jnp.log(swing))).reshape(-1, channels)
    shared = spec.pooling.kind == "complete"
    size = (1 if shared else locations, outcomes, channels)
    effect = numpyro.sample("effect", dist.HalfNormal(spec.scale * jnp.broadcast_to(swing, size)))
    beta = effect / swing
    beta = jnp.where(everywhere, beta[:1], beta)
    return jnp.broadcast_to(beta, (locations, outcomes, channels)).reshape(-1, channels)


def _log_effects(pooling: Partial, scale: float, cells: Cells, log_swing: Array) -> Array:
    """(location, outcome, channel): mu and every deviation. The site mu is that of beta times its group's swing."""
    populations = (1 if "product" in pooling.over else cells.centred.shape[1], cells.populations)
    shift = _by_group(log_swing, cells)
    mu = numpyro.sample("mu", dist.Normal(jnp.broadcast_to(math.log(scale) + shift, populations), 1.0))
    total = _moved(pooling, pooling.over[0], mu, cells)
    for dimension in pooling.over[1:]:
        total = total + _moved(pooling, dimension, jnp.zeros(populations), cells)
    return jnp.broadcast_to(total - _spread(shift, cells), cells.centred.shape)


def _by_group(x: Array, cells: Cells) -> Array:
    """(channel,) -> (group,): the mean over each group's members."""
    if cells.groups == tuple(range(len(cells.groups))):
        return x
    members = [[m for m, of in enumerate(cells.groups) if of == g] for g in range(cells.populations)]
    return jnp.stack([jnp.sum(x[jnp.asarray(which)]) / len(which) for which in members])


def _moved(pooling: Partial, dimension: Dimension, centre: Array, cells: Cells) -> Array:
    """`centre` (population) plus the deviations along one dimension: (1 or location, 1 or outcome, channel)."""
    tau_site, z_site = SITES[dimension]
    tau = numpyro.sample(tau_site, dist.HalfNormal(pooling.tau_scale).expand(centre.shape))
    rich = _rich(dimension, centre.shape[0], cells)
    if dimension == "campaign":
        return _deviating(z_site, pooling, _spread(centre[None], cells), _spread(tau[None], cells), rich)
    moved = _spread(_deviating(z_site, pooling, centre[None], tau[None], rich), cells)
    return jnp.where(cells.national, _spread(centre[None], cells), moved) if dimension == "location" else moved


def _spread(x: Array, cells: Cells) -> Array:
    """(..., group) -> (..., channel): to every media column its group's value."""
    return x if cells.groups == tuple(range(len(cells.groups))) else x[..., jnp.asarray(cells.groups)]


def _deviating(site: str, pooling: Partial, centre: Array, tau: Array, rich: Array) -> Array:
    """centre + tau z of the shape of `rich`, sampled as centre + tau z where not `rich` and as itself where it is."""
    if isinstance(pooling.centring, NonCentred):
        return centre + tau * numpyro.sample(site, dist.Normal(0.0, 1.0).expand(rich.shape))
    raw = numpyro.sample(site, dist.Normal(jnp.where(rich, centre, 0.0), jnp.where(rich, tau, 1.0)))
    return jnp.where(rich, raw, centre + tau * raw)


def _rich(dimension: Dimension, populations: int, cells: Cells) -> Array:
    """Which deviations are centred: those with a cell that is, for they have at least its data.

    populations: 1 where outcomes share one. The shape is the deviations': (1 or location, 1 or outcome, group), and a
    column for a group of the dimension campaign.
    """
    # a national column's deviation by location moves nothing, and is sampled as what it is: noise
    local = cells.centred & ~cells.national
    table = local if dimension == "location" else jnp.any(cells.centred, axis=0, keepdims=True)
    if dimension != "product" and populations == 1:
        table = jnp.any(table, axis=1, keepdims=True)
    if dimension == "campaign":
        return table
    members = [[m for m, of in enumerate(cells.groups) if of == g] for g in range(cells.populations)]
    return jnp.stack([jnp.any(table[..., jnp.asarray(which)], axis=-1) for which in members], axis=-1)
