"""Priors that shrink or select control coefficients: regularised horseshoe, spike and slab, LASSO.

Glossary
--------
D, O        controls under the prior, outcomes; each outcome has coefficients, and scales, of its own
kappa       shrinkage factor: with data alone a coefficient would be estimated as b, and is as (1 - kappa) b; near 1 it
            is left out, near 0 it is left alone
eta         how far a coefficient is in the slab
m_eff       effective number of coefficients: sum of 1 - kappa, or of eta
Worked example: n = 100, sigma = 1 and tau lambda~ = .1 make kappa = 1 / (1 + 100 * .01) = .5.

kappa is Piironen & Vehtari's, 1 / (1 + n sigma^-2 tau^2 s_j^2 lambda~_j^2), of controls standardised so that s_j = 1.
1 / (1 + tau^2 lambda_j^2), which is found in the field as well, is the case n = sigma = 1: on any other data tau0 has
no meaning for it.

What the numbers mean, measured on ten controls of which two have effects of 14 standard errors: 1 - kappa of the other
eight is .3 with local_df 1, .45 with 2 and .6 with 5, whose local scales cannot leave the global one; lower values
select better and are harder to sample. eta is soft: an effect of .15 under a slab of scale .5 needs no eta of 1, and
has .70 at temperature .1; with a slab of .2, .87, and .94 at temperature .05.

Every coefficient is non-centred, a scale times a standard draw: coefficients that the data hardly know are what these
priors are for. LASSO is sampled as a Laplace, not as Park & Casella's mixture of Normals, which their Gibbs sampler
needed: its marginal is the same, and NUTS has half as many coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import Array

from engine.spec_controls import Horseshoe, Lasso, SpikeSlab


class Selected(NamedTuple):
    """One draw of the coefficients under a selection prior."""

    control: Array  # (D, O)
    shrinkage: Array  # (D, O) kappa; (0, O) where the prior has none
    inclusion: Array  # (D, O) eta; (0, O) where the prior has none


def horseshoe(prior: Horseshoe, outcomes: int, sigma: Array, rows: Array) -> Selected:
    """A draw from the regularised horseshoe. sigma: (O,) noise scale; rows: () known rows n of each outcome.

    tau lambda~ is written c u / sqrt(c^2 + u^2), u = tau lambda, finite for every u.
    Source: Piironen & Vehtari (2017), doi:10.1214/17-EJS1337SI, sections 2 and 3.
    """
    D = len(prior.controls)
    tau0 = prior.expected / (D - prior.expected)  # in units of sigma / sqrt(n)
    unit = sigma / jnp.sqrt(rows)  # (O,)
    z = numpyro.sample("control_z", dist.Normal(0.0, 1.0).expand([D, outcomes]))
    lam = numpyro.sample("control_local", _half_t(prior.local_df, D, outcomes))
    tau = tau0 * unit * numpyro.sample("control_global", _half_t(prior.global_df, outcomes))
    slab = dist.InverseGamma(0.5 * prior.slab_df, 0.5 * prior.slab_df * prior.slab_scale**2)
    c2 = numpyro.sample("control_slab", slab.expand([outcomes]))
    u = tau * lam
    scale = jnp.sqrt(c2) * u / jnp.sqrt(c2 + u * u)  # tau lambda~
    kappa = 1.0 / (1.0 + (scale / unit) ** 2)
    return Selected(z * scale, kappa, jnp.zeros((0, outcomes)))


def _half_t(df: float, *shape: int) -> Any:
    return dist.FoldedDistribution(dist.StudentT(df)).expand(list(shape))


def spike_slab(prior: SpikeSlab, outcomes: int, sigma: Array, rows: Array) -> Selected:  # noqa: ARG001
    """A draw from the relaxed spike and slab, in units of the outcome: sigma and rows have no part in it."""
    shape = [len(prior.controls), outcomes]
    m = centre(prior.inclusion, prior.temperature)
    omega = numpyro.sample("control_logit", dist.Normal(m, 1.0).expand(shape))
    eta = jax.nn.sigmoid(omega / prior.temperature)
    slab = prior.slab_scale * numpyro.sample("control_slab", dist.Normal(0.0, 1.0).expand(shape))
    spike = prior.spike_scale * numpyro.sample("control_spike", dist.Normal(0.0, 1.0).expand(shape))
    return Selected(eta * slab + (1.0 - eta) * spike, jnp.zeros((0, outcomes)), eta)


@lru_cache(maxsize=64)
def centre(inclusion: float, temperature: float) -> float:
    """m with E sigmoid(omega / temperature) = inclusion for omega ~ Normal(m, 1), to 12 decimals; by bisection.

    m = logit(inclusion), as it is found in the field, is right at no temperature but for inclusion 1/2: at .1 a
    declared inclusion of .1 would be one of .016. Preconditions: .001 <= inclusion <= .999, .01 <= temperature <= 10.
    """
    low, high = -120.0, 120.0
    for _ in range(80):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _expected(middle, temperature) < inclusion else (low, middle)
    return round(0.5 * (low + high), 12) + 0.0


def _expected(m: float, temperature: float) -> float:
    """E sigmoid(omega / temperature), omega ~ Normal(m, 1), by the trapezoidal rule over nine sd.

    sigmoid's poles lie pi temperature off the line, so steps of half the temperature leave an error of e^(-4 pi^2).
    """
    step = min(0.5 * temperature, 0.25)
    count = math.ceil(9.0 / step)
    terms = []
    for i in range(-count, count + 1):
        x = i * step
        terms.append(math.exp(-0.5 * x * x) * 0.5 * (1.0 + math.tanh(0.5 * (m + x) / temperature)))
    return math.fsum(terms) * step / math.sqrt(2.0 * math.pi)


def lasso(prior: Lasso, outcomes: int, sigma: Array, rows: Array) -> Selected:  # noqa: ARG001
    """A draw of gamma ~ Laplace(0, sigma / penalty) (Park & Casella 2008, the prior given sigma). sigma: (O,)."""
    unit = numpyro.sample("control_unit", dist.Laplace(0.0, 1.0).expand([len(prior.controls), outcomes]))
    none = jnp.zeros((0, outcomes))
    return Selected(unit * (sigma / prior.penalty), none, none)


Prior = Callable[[Any, int, Array, Array], Selected]
SELECTIONS: Mapping[str, Prior] = MappingProxyType(
    {"horseshoe": horseshoe, "spike_slab": spike_slab, "lasso": lasso},
)
