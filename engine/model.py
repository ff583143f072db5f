"""The hierarchical media model, one function of (spec, design).

    y[t,g] = level[g] + slope[g] trend[t] + season[t] + sum_e delta[e] event[t,e]
             + sum_c gamma[c] z[t,g,c] + media[t,g] - mean of media[.,g] over the known periods + r[t,g]
    media[t,g] = sum_m beta[g,m] sat(adstock(x[t,g,m]))
    r[t,g] = rho r[t-1,g] + innovation,  innovation ~ Normal or Student-t(nu), scale sigma[g]

Partial pooling of media effects: log beta[g,m] = mu[m] + tau[m] z[g,m] (non-centred), the population distribution
of effects on the positive half-line; complete pooling and separation are its two limits.
Media is centred so that level is the outcome at typical spend: level and effects are then nearly uncorrelated, which
quarters the trajectory NUTS needs; contributions are unchanged by it.
Sources: Jin et al. (2017); Gelman et al., Bayesian Data Analysis, 3rd ed., chapters 5 and 15.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import Array

from engine.design import Design
from engine.spec import ModelSpec
from engine.transforms import geometric_adstock, logistic_saturation


class Parameters(NamedTuple):
    """One draw. G locations, M channels, E events, C controls, K seasonal columns."""

    level: Array  # (G,)
    slope: Array  # (G,) per year
    season: Array  # (K,)
    event: Array  # (E,)
    control: Array  # (C,)
    beta: Array  # (G, M)
    alpha: Array  # (M,)
    lam: Array  # (M,)
    rho: Array  # ()
    sigma: Array  # (G,)
    nu: Array  # () degrees of freedom; infinity for the Normal likelihood


DIMS: dict[str, tuple[str, ...]] = {
    "level": ("location",),
    "slope": ("location",),
    "season": ("harmonic",),
    "event": ("event",),
    "control": ("control",),
    "beta": ("location", "channel"),
    "alpha": ("channel",),
    "lam": ("channel",),
    "rho": (),
    "sigma": ("location",),
    "nu": (),
}


def model(spec: ModelSpec, design: Design) -> Parameters:
    """The NumPyro program: samples a `Parameters` and weighs it by the likelihood of the known outcomes."""
    parameters = sample_parameters(spec, design)
    numpyro.factor("likelihood", jnp.sum(design.weight * log_likelihood(spec, parameters, design)))
    return parameters


def sample_parameters(spec: ModelSpec, design: Design) -> Parameters:
    """One draw from the priors declared in `spec`."""
    locations, channels = design.media.shape[1], design.media.shape[2]
    zeros = jnp.zeros
    level = _normal("level", spec.level_scale, locations)
    slope = _normal("slope", spec.trend_scale, locations) if spec.trend == "linear" else zeros(locations)
    alpha = numpyro.sample("alpha", dist.Beta(spec.adstock.alpha_a, spec.adstock.alpha_b).expand([channels]))
    lam = numpyro.sample("lam", dist.Gamma(spec.saturation.shape, spec.saturation.rate).expand([channels]))
    return Parameters(
        level=level,
        slope=slope,
        season=_normal("season", spec.season.scale, design.season.shape[1]),
        event=_normal("event", spec.event_scale, design.events.shape[1]),
        control=_normal("control", spec.control_scale, design.controls.shape[2]),
        beta=_media_effects(spec, locations, channels),
        alpha=alpha,
        lam=lam,
        rho=jnp.tanh(numpyro.sample("rho_raw", dist.Normal(0.0, spec.rho_scale)))
        if spec.residual == "ar1"
        else zeros(()),
        sigma=numpyro.sample("sigma", dist.HalfNormal(spec.noise_scale).expand([locations])),
        nu=1.0 + numpyro.sample("nu_less_1", dist.Gamma(2.0, 0.1))  # Juarez & Steel (2010), doi:10.1198/jbes.2009.07145
        if spec.likelihood == "student_t"
        else jnp.asarray(jnp.inf),
    )


def _normal(name: str, scale: float, size: int) -> Array:
    if size == 0:
        return jnp.zeros(0)
    return numpyro.sample(name, dist.Normal(0.0, scale).expand([size]))


def _media_effects(spec: ModelSpec, locations: int, channels: int) -> Array:
    """beta (location, channel) under the declared pooling."""
    if spec.pooling.kind == "complete":
        beta = numpyro.sample("beta", dist.HalfNormal(spec.media_scale).expand([channels]))
        return jnp.broadcast_to(beta, (locations, channels))
    if spec.pooling.kind == "none":
        return numpyro.sample("beta", dist.HalfNormal(spec.media_scale).expand([locations, channels]))
    mu = numpyro.sample("mu", dist.Normal(math.log(spec.media_scale), 1.0).expand([channels]))
    tau = numpyro.sample("tau", dist.HalfNormal(spec.pooling.tau_scale).expand([channels]))
    z = numpyro.sample("z", dist.Normal(0.0, 1.0).expand([locations, channels]))
    return jnp.exp(mu + tau * z)


def media_effect(parameters: Parameters, design: Design) -> Array:
    """beta sat(adstock(x)): (span, location, channel), on the model's scale."""
    carried = geometric_adstock(design.media, parameters.alpha)
    return parameters.beta * logistic_saturation(carried, parameters.lam)


def mean(parameters: Parameters, design: Design) -> Array:
    """Everything but the residual: (span, location)."""
    common = jnp.sum(design.season * parameters.season, axis=-1) + jnp.sum(design.events * parameters.event, axis=-1)
    local = parameters.level + parameters.slope * design.trend[:, None]
    controls = jnp.sum(design.controls * parameters.control, axis=-1)
    media = jnp.sum(media_effect(parameters, design), axis=-1)
    typical = jnp.sum(media * design.known, axis=0) / jnp.sum(design.known, axis=0)
    return local + common[:, None] + controls + media - typical


def log_likelihood(spec: ModelSpec, parameters: Parameters, design: Design) -> Array:
    """Log density of each outcome given the one before it: (span, location).

    The first residual has the stationary variance sigma^2 / (1 - rho^2).
    """
    residual = design.y - mean(parameters, design)
    rho, sigma = parameters.rho, parameters.sigma
    innovation = residual[1:] - rho * residual[:-1]
    first = residual[:1] * jnp.sqrt(1.0 - rho * rho)
    standard = jnp.concatenate([first, innovation]) / sigma
    log_jacobian = -jnp.log(sigma)
    if spec.likelihood == "student_t":
        return dist.StudentT(parameters.nu).log_prob(standard) + log_jacobian
    return -0.5 * standard * standard - 0.5 * math.log(2.0 * math.pi) + log_jacobian


def one_step(parameters: Parameters, design: Design, known: Array) -> Array:
    """Predictive mean of y[t] given y[t-1] under hindsight covariates: (span, location).

    known: (span, location) outcomes on the model's scale, as they happened.
    """
    expected = mean(parameters, design)
    previous = jnp.concatenate([jnp.zeros_like(expected[:1]), (known - expected)[:-1]])
    return expected + parameters.rho * previous


def simulate(spec: ModelSpec, parameters: Parameters, design: Design, origin: Array, horizon: int, key: Array) -> Array:
    """One path of y past the origin: (horizon, location); the last residual is carried on by rho."""
    expected = mean(parameters, design)
    last = jax.lax.dynamic_slice_in_dim(design.y - expected, origin - 1, 1)[0]
    ahead = jax.lax.dynamic_slice_in_dim(expected, origin, horizon)
    shape = (horizon, expected.shape[1])
    noise = (
        dist.StudentT(parameters.nu).sample(key, shape)
        if spec.likelihood == "student_t"
        else jax.random.normal(key, shape)
    )

    def step(residual: Array, innovation: Array) -> tuple[Array, Array]:
        residual = parameters.rho * residual + innovation
        return residual, residual

    _, residuals = jax.lax.scan(step, last, parameters.sigma * noise)
    return ahead + residuals
