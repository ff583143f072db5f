"""Diminishing returns (saturation): how much of a channel's whole effect a spend has.

Glossary
--------
curve    0 at no spend, never falling, with the limit 1 (but for root, which has none)
half     the spend at which a curve reaches half of its limit, in units of mean spend; infinity where there is none
slope    the derivative of a curve by spend: times the effect, what the next unit of spend brings
Worked example: logistic with lam = 1 has 1 - 1/e = 63 % of the effect at mean spend, half of it at ln 2 = .69 of mean
spend, and there the slope .5.

A curve takes parameters whose last axes broadcast against spend: rows (Q, M) against (..., M). Spend that has its lags
on a last axis, (..., M, lag), takes `parameters[..., None]`. Every curve is 0 at 0, as `adstock.lagged` pads: where
saturation comes before carry-over, `lagged(saturated(spec, x, q), max_lag)` is the same from 1 / lag of the curves.

Sources: Jin et al. (2017), section 2.2, eq. 4 and 6 (Hill; reach, which is michaelis_menten); PyMC-Marketing for the
symmetric logistic, tanh, Michaelis-Menten and root forms, here with the limit 1, the rest being the effect's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import Array

from engine.spec_transforms import Hill, Logistic, LogisticSymmetric, MichaelisMenten, Root, Saturation, Tanh


class SaturationKind(NamedTuple):
    """One kind of diminishing returns: Q parameters, M channels."""

    parameters: tuple[str, ...]  # names of the rows of its parameters
    sample: Callable[[Any, int], Array]  # (spec of the kind, channels) -> (Q, M), sites saturation_<row>
    curve: Callable[[Array, Array], Array]  # spend >= 0 (..., M), (Q, M) -> (..., M)
    half: Callable[[Array], Array]  # (Q, M) -> (M,)
    slope: Callable[[Array, Array], Array]  # as curve


def sample_saturation(spec: Saturation, channels: int) -> Array:
    """A draw of the parameters from their priors: (Q, M), rows as `SATURATIONS[spec.kind].parameters`.

    A shared parameter is one draw, the same for every channel. No channel, and so (Q, 0): nothing is sampled.
    """
    kind = SATURATIONS[spec.kind]
    if channels == 0:
        return jnp.zeros((len(kind.parameters), 0))
    drawn = kind.sample(spec, 1 if spec.shared else channels)
    return jnp.broadcast_to(drawn, (len(kind.parameters), channels))


def saturated(spec: Saturation, x: Array, parameters: Array) -> Array:
    """The curve at spend `x`, of its shape. Its gradient is finite everywhere; where Hill's curve or a root rises
    vertically from 0 the gradient by spend is taken as 0 there.

    x: (..., M) with parameters (Q, M), or (..., M, lag) with parameters[..., None]. Precondition: x >= 0, in units of
    mean spend.
    """
    return SATURATIONS[spec.kind].curve(x, parameters)


def half_saturation(spec: Saturation, parameters: Array) -> Array:
    """The spend, in units of mean spend, that has half of the whole effect: (M,); infinity for a root."""
    return SATURATIONS[spec.kind].half(parameters)


def slope(spec: Saturation, x: Array, parameters: Array) -> Array:
    """The derivative of `saturated` by spend, arguments alike; infinity at 0 for a root and for Hill with s < 1."""
    return SATURATIONS[spec.kind].slope(x, parameters)


def _site(row: str, prior: dist.Distribution, channels: int) -> Array:
    return numpyro.sample(f"saturation_{row}", prior.expand([channels]))


def _log_normal(median: float, sd: float) -> dist.Distribution:
    return dist.LogNormal(math.log(median), sd)


def _sample_lam(spec: Logistic | LogisticSymmetric, channels: int) -> Array:
    return _site("lam", dist.Gamma(spec.shape, spec.rate), channels)[None]


def _sample_hill(spec: Hill, channels: int) -> Array:
    k = _site("k", _log_normal(spec.k_median, spec.k_sd), channels)
    return jnp.stack([k, _site("s", _log_normal(spec.s_median, spec.s_sd), channels)])


def _sample_tanh(spec: Tanh, channels: int) -> Array:
    return _site("c", _log_normal(spec.c_median, spec.c_sd), channels)[None]


def _sample_michaelis_menten(spec: MichaelisMenten, channels: int) -> Array:
    return _site("k", _log_normal(spec.k_median, spec.k_sd), channels)[None]


def _sample_root(spec: Root, channels: int) -> Array:
    return _site("p", dist.Beta(spec.p_a, spec.p_b), channels)[None]


def _logistic(x: Array, q: Array) -> Array:
    return 1.0 - jnp.exp(-q[0] * x)


def _logistic_slope(x: Array, q: Array) -> Array:
    return q[0] * jnp.exp(-q[0] * x)


def _symmetric(x: Array, q: Array) -> Array:
    left = jnp.exp(-q[0] * x)
    return (1.0 - left) / (1.0 + left)


def _symmetric_slope(x: Array, q: Array) -> Array:
    left = jnp.exp(-q[0] * x)
    return 2.0 * q[0] * left / ((1.0 + left) * (1.0 + left))


def _hill(x: Array, q: Array) -> Array:
    """x^s / (x^s + k^s) = 1 / (1 + exp(-s (log x - log k)))."""
    return jnp.where(x > 0.0, jax.nn.sigmoid(_hill_logit(x, q)), 0.0)


def _hill_logit(x: Array, q: Array) -> Array:
    """s log(x / k), and of x = 1 where x = 0: what a `where` leaves out must have a finite gradient too."""
    return q[1] * (jnp.log(jnp.where(x > 0.0, x, 1.0)) - jnp.log(q[0]))


def _hill_slope(x: Array, q: Array) -> Array:
    """s / x times the curve times what is missing to 1; at 0 its limit: 0, 1 / k or infinity as s >, =, < 1."""
    z = _hill_logit(x, q)
    above = q[1] / jnp.where(x > 0.0, x, 1.0) * jax.nn.sigmoid(z) * jax.nn.sigmoid(-z)
    limit = jnp.where(q[1] > 1.0, 0.0, jnp.where(q[1] < 1.0, jnp.inf, 1.0 / q[0]))
    return jnp.where(x > 0.0, above, limit)


def _tanh(x: Array, q: Array) -> Array:
    return jnp.tanh(x / q[0])


def _tanh_slope(x: Array, q: Array) -> Array:
    reached = jnp.tanh(x / q[0])
    return (1.0 - reached) * (1.0 + reached) / q[0]


def _michaelis_menten(x: Array, q: Array) -> Array:
    return x / (x + q[0])


def _michaelis_menten_slope(x: Array, q: Array) -> Array:
    return q[0] / ((x + q[0]) * (x + q[0]))


def _root(x: Array, q: Array) -> Array:
    return jnp.where(x > 0.0, jnp.exp(q[0] * jnp.log(jnp.where(x > 0.0, x, 1.0))), 0.0)


def _root_slope(x: Array, q: Array) -> Array:
    return jnp.where(x > 0.0, q[0] * jnp.exp((q[0] - 1.0) * jnp.log(jnp.where(x > 0.0, x, 1.0))), jnp.inf)


SATURATIONS: Mapping[str, SaturationKind] = MappingProxyType(
    {
        "logistic": SaturationKind(("lam",), _sample_lam, _logistic, lambda q: math.log(2.0) / q[0], _logistic_slope),
        "logistic_symmetric": SaturationKind(
            ("lam",), _sample_lam, _symmetric, lambda q: math.log(3.0) / q[0], _symmetric_slope
        ),
        "hill": SaturationKind(("k", "s"), _sample_hill, _hill, lambda q: q[0], _hill_slope),
        "tanh": SaturationKind(("c",), _sample_tanh, _tanh, lambda q: math.atanh(0.5) * q[0], _tanh_slope),
        "michaelis_menten": SaturationKind(
            ("k",), _sample_michaelis_menten, _michaelis_menten, lambda q: q[0], _michaelis_menten_slope
        ),
        "root": SaturationKind(("p",), _sample_root, _root, lambda q: jnp.full_like(q[0], jnp.inf), _root_slope),
    }
)
