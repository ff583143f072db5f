"""The hierarchical media model, one function of (spec, design).

    y[t,g] = level[g] + slope[g] trend[t] + sum_k walk[k,g] step[t,k] + season[t] + sum_e delta[e] event[t,e]
             + sum_k shift[k,g] s[t,k] + sum_c gamma[c] z[t,g,c] + media[t,g]
             - mean of media[.,g] over the known periods + r[t,g]
    media[t,g] = sum_m beta[g,m] sat(adstock(x[t,g,m]))
    r[t,g] = rho r[t-1,g] + innovation,  innovation ~ Normal, Student-t(nu) or one of two states, scale sigma[g]

Two states (likelihood two_state): innovations are Normal(0, sigma[g]) in a low period and Normal(gap[g], sigma[g]) in a
high one; each period is high with probability `share`, independently, and which it was is summed out (a mixture,
Hamilton 1994, Time Series Analysis, section 22.3). Level is then that of the low state, which the data know far better
than the mean of both. A promotion calendar that is not in the table makes such a series.

Partial pooling of media effects: log beta[g,m] = mu[m] + tau[m] z[g,m] (non-centred), the population distribution
of effects on the positive half-line; complete pooling and separation are its two limits.
Media is centred so that level is the outcome at typical spend: level and effects are then nearly uncorrelated, which
quarters the trajectory NUTS needs; contributions are unchanged by it.
The shifts s are what a verdict on a break asks for (`engine.reaction`): there are none without one. Where the metric
itself changed, the outcome is exp(sum_k metric[k,g] c[t,k]) times what it would have been; the equation above is of
what it would have been, on the log scale as on the linear one (there y = outcome / scale - 1).
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
from engine.spec_model import ModelSpec
from engine.transforms import geometric_adstock, logistic_saturation


class Parameters(NamedTuple):
    """One draw. G locations, M channels, E events, C controls, K seasonal columns."""

    level: Array  # (G,)
    slope: Array  # (G,) per year
    walk: Array  # (N, G) steps of a wandering level, one a knot
    season: Array  # (K,)
    shift: Array  # (S, G) of a break
    metric: Array  # (R, G) log factor on the metric
    event: Array  # (E,)
    control: Array  # (C,)
    beta: Array  # (G, M)
    alpha: Array  # (M,)
    lam: Array  # (M,)
    rho: Array  # ()
    sigma: Array  # (G,)
    nu: Array  # () degrees of freedom; infinity for the Normal likelihood
    gap: Array  # (G,) of the high state above the low one; 0 where there is one state
    share: Array  # () of high periods


DIMS: dict[str, tuple[str, ...]] = {
    "level": ("location",),
    "slope": ("location",),
    "walk": ("knot", "location"),
    "season": ("harmonic",),
    "shift": ("shift", "location"),
    "metric": ("rescaling", "location"),
    "event": ("event",),
    "control": ("control",),
    "beta": ("location", "channel"),
    "alpha": ("channel",),
    "lam": ("channel",),
    "rho": (),
    "sigma": ("location",),
    "nu": (),
    "gap": ("location",),
    "share": (),
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
    sloped = spec.trend.kind in ("linear", "damped")
    slope = _normal("slope", spec.trend.scale, locations) if sloped else zeros(locations)
    alpha = numpyro.sample("alpha", dist.Beta(spec.adstock.alpha_a, spec.adstock.alpha_b).expand([channels]))
    gap, share = zeros(locations), zeros(())
    if spec.likelihood == "two_state":
        gap = numpyro.sample("gap", dist.HalfNormal(spec.states.gap_scale).expand([locations]))
        share = numpyro.sample("share", dist.Beta(spec.states.share_a, spec.states.share_b))
    lam = numpyro.sample("lam", dist.Gamma(spec.saturation.shape, spec.saturation.rate).expand([channels]))
    return Parameters(
        level=level,
        slope=slope,
        walk=_walk(spec.trend.scale, design.steps.shape[1], locations),
        season=_normal("season", spec.season.scale, design.season.shape[1]),
        shift=_effects("shift", design.shift_scale, locations),
        metric=_effects("metric", design.metric_scale, locations),
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
        gap=gap,
        share=share,
    )


def _normal(name: str, scale: float, size: int) -> Array:
    if size == 0:
        return jnp.zeros(0)
    return numpyro.sample(name, dist.Normal(0.0, scale).expand([size]))


def _walk(scale: float, knots: int, locations: int) -> Array:
    """(knot, location) steps of a random walk, their sd learned: non-centred, for a walk that hardly moves."""
    if knots == 0:
        return jnp.zeros((0, locations))
    tau = numpyro.sample("drift", dist.HalfNormal(scale).expand([locations]))
    return tau * numpyro.sample("walk", dist.Normal(0.0, 1.0).expand([knots, locations]))


def _effects(name: str, scale: Array, locations: int) -> Array:
    """(term, location), each term with a prior sd of its own."""
    if scale.size == 0:
        return jnp.zeros((0, locations))
    unit = numpyro.sample(name, dist.Normal(0.0, 1.0).expand([scale.size, locations]))
    return unit * scale[:, None]


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
    walk = jnp.sum(design.steps[:, :, None] * parameters.walk, axis=1)
    local = parameters.level + parameters.slope * design.trend[:, None] + walk
    controls = jnp.sum(design.controls * parameters.control, axis=-1)
    media = jnp.sum(media_effect(parameters, design), axis=-1)
    typical = jnp.sum(media * design.known, axis=0) / jnp.sum(design.known, axis=0)
    shift = jnp.sum(design.shift[:, :, None] * parameters.shift, axis=1)
    return local + common[:, None] + shift + controls + media - typical


def metric(parameters: Parameters, design: Design) -> Array:
    """Log of the metric's scale, 0 before it changed: (span, location)."""
    return jnp.sum(design.metric[:, :, None] * parameters.metric, axis=1)


def _demand(spec: ModelSpec, y: Array, scale: Array) -> Array:
    """Outcomes as the metric would have shown them before it changed; `scale` as `metric` gives it."""
    return y - scale if spec.outcome == "log" else (1.0 + y) * jnp.exp(-scale) - 1.0


def _shown(spec: ModelSpec, y: Array, scale: Array) -> Array:
    """The inverse of `_demand`."""
    return y + scale if spec.outcome == "log" else (1.0 + y) * jnp.exp(scale) - 1.0


def log_likelihood(spec: ModelSpec, parameters: Parameters, design: Design) -> Array:
    """Log density of each outcome given the one before it: (span, location).

    The first residual has the stationary variance sigma^2 / (1 - rho^2).
    """
    scale = metric(parameters, design)
    residual = _demand(spec, design.y, scale) - mean(parameters, design)
    rho, sigma = parameters.rho, parameters.sigma
    innovation = residual[1:] - rho * residual[:-1]
    first = residual[:1] * jnp.sqrt(1.0 - rho * rho)
    standard = jnp.concatenate([first, innovation]) / sigma
    log_jacobian = -jnp.log(sigma) - (0.0 if spec.outcome == "log" else scale)
    if spec.likelihood == "student_t":
        return dist.StudentT(parameters.nu).log_prob(standard) + log_jacobian
    low = _log_normal(standard) + log_jacobian
    if spec.likelihood == "normal":
        return low
    high = _log_normal(standard - parameters.gap / sigma) + log_jacobian
    return jnp.logaddexp(jnp.log1p(-parameters.share) + low, jnp.log(parameters.share) + high)


def _log_normal(standard: Array) -> Array:
    return -0.5 * standard * standard - 0.5 * math.log(2.0 * math.pi)


def noise_variance(parameters: Parameters) -> Array:
    """Of an outcome given its mean and the residual before it: (location,). Of Student's t, at least nu = 2.1's."""
    nu = jnp.maximum(parameters.nu, 2.1)
    spread = jnp.where(jnp.isinf(nu), 1.0, nu / (jnp.where(jnp.isinf(nu), 3.0, nu) - 2.0))
    between = parameters.gap * parameters.gap * parameters.share * (1.0 - parameters.share)
    return spread * parameters.sigma**2 + between


def one_step(spec: ModelSpec, parameters: Parameters, design: Design, known: Array) -> Array:
    """Predictive mean of y[t] given y[t-1] under hindsight covariates: (span, location).

    known: (span, location) outcomes on the model's scale, as they happened.
    """
    expected, scale = mean(parameters, design), metric(parameters, design)
    previous = jnp.concatenate([jnp.zeros_like(expected[:1]), (_demand(spec, known, scale) - expected)[:-1]])
    states = parameters.gap * parameters.share
    return _shown(spec, expected + states + parameters.rho * previous, scale)


def simulate(spec: ModelSpec, parameters: Parameters, design: Design, origin: Array, horizon: int, key: Array) -> Array:
    """One path of y past the origin: (horizon, location); the last residual is carried on by rho."""
    expected, scale = mean(parameters, design), metric(parameters, design)
    last = jax.lax.dynamic_slice_in_dim(_demand(spec, design.y, scale) - expected, origin - 1, 1)[0]
    ahead = jax.lax.dynamic_slice_in_dim(expected, origin, horizon)
    noise = _noise(spec, parameters, key, (horizon, expected.shape[1]))

    def step(residual: Array, innovation: Array) -> tuple[Array, Array]:
        residual = parameters.rho * residual + innovation
        return residual, residual

    _, residuals = jax.lax.scan(step, last, noise)
    return _shown(spec, ahead + residuals, jax.lax.dynamic_slice_in_dim(scale, origin, horizon))


def _noise(spec: ModelSpec, parameters: Parameters, key: Array, shape: tuple[int, int]) -> Array:
    """Innovations of `shape` (horizon, location)."""
    if spec.likelihood == "student_t":
        return parameters.sigma * dist.StudentT(parameters.nu).sample(key, shape)
    if spec.likelihood == "normal":
        return parameters.sigma * jax.random.normal(key, shape)
    state_key, noise_key = jax.random.split(key)
    high = jax.random.bernoulli(state_key, parameters.share, shape)
    return jnp.where(high, parameters.gap, 0.0) + parameters.sigma * jax.random.normal(noise_key, shape)
