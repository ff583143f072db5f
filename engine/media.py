"""Media effects: what spend adds to an outcome, through carry-over, saturation, and how well it works when and where.

    media[t,l,o] = sum_m beta[l,o,m] exp(w[t,m]) f_m(x[t,l]) + sum_(a,b) delta[a,b,o] f_a(x[t,l]) f_b(x[t,l])
    f(x) = sat(adstock(x)), or adstock(sat(x)) for the order saturation_first
    f(reach, frequency) = adstock(reach sat(frequency)) for a channel that is given as reach and frequency

- beta: pooled as declared (`engine.pooling`).
- w[t,m] = sum_k basis[t,k] v[k,m]: how much better or worse than usual a channel works in a period, on the log scale,
  so that effects stay positive. The basis is a random walk's or a Gaussian process's (`engine.time_basis`), 0 on
  average over the known periods: beta is the channel's usual effect, a geometric mean. The sd of w is learned, one a
  channel.
- delta: synergy (> 0) or overlap (< 0) of two channels, nothing wherever either is silent.
- reach and frequency: people reached, times what that many contacts do to each. Reach is scaled by its mean, and not
  saturated: twice the people do twice as much. Frequency is scaled by its mean too.

Worked example: one channel, one lag, logistic saturation with lam = ln 2, spend 1 (its mean) and beta = .2: half of the
effect, .1, is there. As reach 1 at frequency 1, the same; at reach 2, .2; at frequency 2, .2 (1 - 1/4) = .15.

Sources: Jin, Wang, Sun, Chan & Koehler (2017), "Bayesian Methods for Media Mix Modeling with Carryover and Shape
Effects", sections 2.1-2.3 (the order in 2.3); Zhang, Wurm, Wakim, Li & Liu (2023), "Bayesian Hierarchical Media Mix
Model Incorporating Reach and Frequency Data", Google; Ng, Wang & Dai (2021), "Bayesian Time Varying Coefficient Model
with Applications to Marketing Mix Modeling", arXiv:2106.03322: coefficients that are weighted sums over knots, there
weighted by a kernel and folded to be positive.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array

from engine import time_basis
from engine.adstock import ADSTOCKS, carried, lagged, sample_adstock
from engine.pooling import centred_mask, sample_effects
from engine.saturation import sample_saturation, saturated
from engine.spec import Spec
from engine.spec_media import MediaSpec, RandomWalk, Variation

_SMALL = 1e-3  # keeps the unit of a channel that never spent away from 0

Pairs = tuple[tuple[int, int], ...]  # media columns that interact, in the specification's order


class MediaData(NamedTuple):
    """What media effects are a function of, beside their parameters. M media columns, K columns of a basis."""

    spend: Array  # (span, location, M, lag) spend, or reach, scaled by its mean before the origin
    frequency: Array  # (span, location, M) mean frequency, scaled alike; (span, location, 0) where none is declared
    reach: Array  # (M,) 1 where the channel is given as reach and frequency
    variation: Array  # (span, K) basis of what varies in time; (span, 0) where nothing does
    waves: Array  # (K,) frequency of each column of a Gaussian process's basis, per year; (0,) without one
    centred: Array  # (series, M) as `engine.pooling.centred_mask` gives it
    national: Array  # (M,) 1 where the channel is bought for all locations together
    scatter: Array  # (M, lag, lag) mean over periods and locations of (x[t-i] - 1) (x[t-j] - 1)


class MediaParameters(NamedTuple):
    """One draw."""

    beta: Array  # (series, M) > 0
    adstock: Array  # (adstock_parameter, M)
    saturation: Array  # (saturation_parameter, M)
    interaction: Array  # (pair, outcome)
    variation: Array  # (K, M)


DIMS: dict[str, tuple[str, ...]] = {
    "beta": ("series", "channel"),
    "adstock": ("adstock_parameter", "channel"),
    "saturation": ("saturation_parameter", "channel"),
    "interaction": ("pair", "outcome"),
    "variation": ("variation_knot", "channel"),
}


def build(spec: Spec, spend: Array, frequency: Array, seen: np.ndarray, span: int, origin: int) -> MediaData:
    """The data of a fit to the first `origin` periods; no array's shape depends on the origin.

    spend: (span, location, M, lag), frequency: (span, location, M or 0), both scaled and planned past the origin; the
    frequency of a column that declares none may be anything. seen: (origin, location, M) spend. Raises SpecError where
    a Gaussian process does not fit its basis.
    """
    declared, columns = spec.model.media, spec.data.media
    basis, waves = _basis(declared.variation, span, origin, float(spec.plan.year))
    return MediaData(
        spend=spend,
        frequency=frequency,
        reach=jnp.asarray([float(column.frequency is not None) for column in columns]),
        variation=basis,
        waves=waves,
        centred=centred_mask(declared.pooling, seen, len(spec.data.outcomes)),
        national=jnp.asarray([float(column.national) for column in columns]),
        scatter=_scatter(spend),
    )


@jax.jit
def _scatter(spend: Array) -> Array:
    away = spend - 1.0
    return jnp.mean(away[..., :, None] * away[..., None, :], axis=(0, 1))


def _basis(variation: Variation | None, span: int, origin: int, year: float) -> tuple[Array, Array]:
    """(span, K) centred over the known periods, and the frequencies (K,), or (0,) of a walk."""
    if variation is None:
        return jnp.zeros((span, 0)), jnp.zeros(0)
    if isinstance(variation, RandomWalk):
        return time_basis.random_walk(span, origin, variation.knot, year), jnp.zeros(0)
    process = time_basis.gaussian_process(variation, span, origin, year, "model.media.variation")
    return process.functions, process.frequencies


def sample(spec: MediaSpec, data: MediaData, outcomes: int, groups: tuple[int, ...]) -> MediaParameters:
    """One draw from the priors declared in `spec`; `groups` as `engine.pooling.sample_effects` takes them."""
    locations, channels = data.spend.shape[1], data.spend.shape[2]
    adstock, saturation = sample_adstock(spec.adstock, channels), sample_saturation(spec.saturation, channels)
    swing = usual_swing(spec, adstock, saturation, data)
    return MediaParameters(
        beta=sample_effects(spec, locations, outcomes, groups, data.centred, data.national, swing),
        adstock=adstock,
        saturation=saturation,
        interaction=_interactions(spec, outcomes),
        variation=_variation(spec, data, channels),
    )


def usual_swing(spec: MediaSpec, adstock: Array, saturation: Array, data: MediaData) -> Array:
    """About the standard deviation of f over time, from its values one sd of carried spend around the mean: (M,) > 0.

    Data tell beta times it, and not beta: effects are sampled in that unit (`engine.pooling`). It need not be exact.
    """
    weight = ADSTOCKS[spec.adstock.kind].weights(adstock, data.spend.shape[-1])  # (M, lag)
    variance = jnp.sum(jnp.sum(data.scatter * weight[:, None, :], axis=2) * weight, axis=1)
    sd = jnp.sqrt(variance + _SMALL * _SMALL)
    high, low = (saturated(spec.saturation, x, saturation) for x in (1.0 + sd, jnp.maximum(1.0 - sd, 0.0)))
    half = jnp.where(data.reach > 0.0, sd, 0.5 * (high - low))
    return jnp.sqrt(half * half + _SMALL * _SMALL)


def _interactions(spec: MediaSpec, outcomes: int) -> Array:
    """delta (pair, outcome)."""
    if not spec.interactions:
        return jnp.zeros((0, outcomes))
    sd = jnp.asarray([pair.sd for pair in spec.interactions])
    unit = numpyro.sample("interaction", dist.Normal(0.0, 1.0).expand([len(spec.interactions), outcomes]))
    return unit * sd[:, None]


def _variation(spec: MediaSpec, data: MediaData, channels: int) -> Array:
    """v (K, channel), non-centred: of most channels the data tell little about how they wander."""
    variation, columns = spec.variation, data.variation.shape[1]
    if variation is None:
        return jnp.zeros((0, channels))
    sd = numpyro.sample("variation_sd", dist.HalfNormal(variation.scale).expand([channels]))
    unit = numpyro.sample("variation", dist.Normal(0.0, 1.0).expand([columns, channels]))
    if isinstance(variation, RandomWalk):
        return sd * unit
    prior = dist.LogNormal(math.log(variation.lengthscale), variation.lengthscale_log_sd)
    lengthscale = jnp.broadcast_to(numpyro.sample("variation_lengthscale", prior), (channels,))
    return time_basis.spectral_sd(variation.kernel, sd, lengthscale, data.waves) * unit


def response(spec: MediaSpec, p: MediaParameters, data: MediaData) -> Array:
    """f, transformed media, 0 where nothing was spent: (span, location, M)."""
    now = data.spend[..., 0]
    if spec.order == "adstock_first":
        plain = saturated(spec.saturation, carried(spec.adstock, data.spend, p.adstock), p.saturation)
    else:
        plain = _carried(spec, p, saturated(spec.saturation, now, p.saturation))
    if data.frequency.shape[2] == 0:
        return plain
    contacts = now * saturated(spec.saturation, data.frequency, p.saturation)
    return jnp.where(data.reach > 0.0, _carried(spec, p, contacts), plain)


def _carried(spec: MediaSpec, p: MediaParameters, x: Array) -> Array:
    """Carry-over of what is a function of parameters, and so is lagged here: (span, location, M)."""
    return carried(spec.adstock, lagged(x, spec.adstock.max_lag), p.adstock)


def effect(spec: MediaSpec, p: MediaParameters, data: MediaData, transformed: Array) -> Array:
    """What each channel adds to each series by itself, on the model's scale: (span, series, M).

    transformed: (span, location, M) as `response` gives it.
    """
    span, locations, channels = transformed.shape
    added = p.beta.reshape(locations, -1, channels) * transformed[:, :, None, :]  # (span, location, outcome, M)
    if spec.variation is not None:
        added = added * jnp.exp(walk(p, data))[:, None, None, :]
    return added.reshape(span, -1, channels)


def walk(p: MediaParameters, data: MediaData) -> Array:
    """w, the log of how well each channel works beside its usual: (span, M). Precondition: something varies."""
    return jnp.sum(data.variation[:, :, None] * p.variation, axis=1)


def interaction_effect(p: MediaParameters, transformed: Array, pairs: Pairs) -> Array:
    """What channels add together beyond what each adds by itself: (span, series). `transformed` as for `effect`."""
    span, locations, _ = transformed.shape
    first, second = (jnp.asarray([pair[side] for pair in pairs], dtype=int) for side in (0, 1))
    both = transformed[..., first] * transformed[..., second]  # (span, location, pair)
    added = jnp.sum(both[..., None] * p.interaction, axis=2)  # (span, location, outcome)
    return added.reshape(span, locations * p.interaction.shape[1])


def total(spec: MediaSpec, p: MediaParameters, data: MediaData, transformed: Array, pairs: Pairs) -> Array:
    """What all media add to each series, on the model's scale: (span, series). `transformed` as for `effect`."""
    alone = jnp.sum(effect(spec, p, data, transformed), axis=-1)
    return alone + interaction_effect(p, transformed, pairs) if pairs else alone
