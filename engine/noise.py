"""The residual: its law, its autocorrelation, its covariance between outcomes and with mediators.

    r[t] = rho r[t-1] + e[t]
    one outcome:       e ~ Normal, Student-t(nu) or one of two states, scale sqrt(sigma^2 + given error^2)
    several outcomes:  e ~ Normal(0, Sigma), Sigma = D R D (LKJ) or L diag(sigma^2) L' (modified Cholesky)
    mediators:         (e + Gamma' d, d + survey error) jointly Normal, d the mediators' disturbance, with the rows of
                       what was not observed left out

A given error (the standard deviation of a measurement, from the table) adds to the innovation's variance.
Two states: innovations are Normal(0, sigma) in a low period and Normal(gap, sigma) in a high one; each period is high
with probability `share`, independently, and which it was is summed out (Hamilton 1994, Time Series Analysis, section
22.3). The first residual has the stationary variance, e's over 1 - rho^2.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import Array

from engine import small_linear
from engine.layout import Layout
from engine.mediation import MediationParameters
from engine.small_linear import Entry
from engine.spec_model import ModelSpec
from engine.spec_outcomes import Autoregressive, ModifiedCholesky, StudentT, TwoState


class NoiseParameters(NamedTuple):
    """One draw."""

    rho: Array  # ()
    sigma: Array  # (S,)
    nu: Array  # () degrees of freedom; infinity for the Normal likelihood
    gap: Array  # (S,) of the high state above the low one; 0 where there is one state
    share: Array  # () of high periods
    factor: Array  # (O, O) Cholesky factor of R, or L


DIMS: dict[str, tuple[str, ...]] = {
    "rho": (),
    "sigma": ("series",),
    "nu": (),
    "gap": ("series",),
    "share": (),
    "factor": ("outcome", "other_outcome"),
}


def sample(spec: ModelSpec, places: Layout) -> NoiseParameters:
    """One draw from the priors that `spec` declares."""
    size, law = places.series, spec.likelihood
    gap, share, nu, rho = jnp.zeros(size), jnp.zeros(()), jnp.asarray(jnp.inf), jnp.zeros(())
    if isinstance(law, TwoState):
        gap = numpyro.sample("gap", dist.HalfNormal(law.gap_scale).expand([size]))
        share = numpyro.sample("share", dist.Beta(law.share_a, law.share_b))
    if isinstance(law, StudentT):
        nu = 1.0 + numpyro.sample("nu_less_1", dist.Gamma(law.shape, law.rate))
    if isinstance(spec.residual, Autoregressive):
        rho = jnp.tanh(numpyro.sample("rho_raw", dist.Normal(0.0, spec.residual.scale)))
    sigma = numpyro.sample("sigma", dist.HalfNormal(spec.noise_scale).expand([size]))
    return NoiseParameters(rho, sigma, nu, gap, share, _factor(spec, places.outcomes))


def _factor(spec: ModelSpec, size: int) -> Array:
    """(O, O): the identity where outcomes scatter independently."""
    if spec.covariance is None:
        return jnp.eye(size)
    if isinstance(spec.covariance, ModifiedCholesky):
        tau = numpyro.sample("factor_scale", dist.HalfNormal(spec.covariance.scale))
        below = numpyro.sample("factor_below", dist.Normal(0.0, 1.0).expand([size * (size - 1) // 2]))
        rows, taken = [], 0
        for i in range(size):
            entries = [tau * below[taken + j] for j in range(i)]
            taken += i
            rows.append(jnp.stack([*entries, jnp.ones(()), *[jnp.zeros(())] * (size - 1 - i)]))
        return jnp.stack(rows)
    return numpyro.sample("factor", dist.LKJCholesky(size, concentration=spec.covariance.eta))


def cholesky(spec: ModelSpec, places: Layout, p: NoiseParameters) -> Array:
    """Lower factor of Sigma of each location: (L, O, O)."""
    sigma = p.sigma.reshape(places.locations, places.outcomes)
    if isinstance(spec.covariance, ModifiedCholesky):
        return p.factor * sigma[:, None, :]
    return p.factor * sigma[:, :, None]


def standardised(p: NoiseParameters, residual: Array) -> Array:
    """Residuals (T, ...) with their autocorrelation taken out; the first has the stationary variance."""
    innovation = residual[1:] - p.rho * residual[:-1]
    first = residual[:1] * jnp.sqrt(1.0 - p.rho * p.rho)
    return jnp.concatenate([first, innovation])


def log_jacobian(p: NoiseParameters, time: int) -> Array:
    """What the log density of one residual gains over that of `standardised`: (time, 1), 0 after the first period."""
    first = 0.5 * jnp.log1p(-p.rho * p.rho)
    return jnp.concatenate([first.reshape(1, 1), jnp.zeros((time - 1, 1))])


def log_density(spec: ModelSpec, p: NoiseParameters, innovation: Array, error: Array) -> Array:
    """Of one outcome's innovations (T, L): (T, L). error: (T, L) or (T, 0) where none is given."""
    sigma = p.sigma if error.shape[1] == 0 else jnp.sqrt(p.sigma * p.sigma + error * error)
    standard = innovation / sigma
    if isinstance(spec.likelihood, StudentT):
        return dist.StudentT(p.nu).log_prob(standard) - jnp.log(sigma)
    low = _log_normal(standard) - jnp.log(sigma)
    if not isinstance(spec.likelihood, TwoState):
        return low
    high = _log_normal(standard - p.gap / sigma) - jnp.log(sigma)
    return jnp.logaddexp(jnp.log1p(-p.share) + low, jnp.log(p.share) + high)


def _log_normal(standard: Array) -> Array:
    return -0.5 * standard * standard - 0.5 * math.log(2.0 * math.pi)


def _covariance(spec: ModelSpec, places: Layout, p: NoiseParameters, error: Array) -> list[list[Entry]]:
    """Sigma plus given errors, entry by entry: each (L,) or (T, L)."""
    lower = cholesky(spec, places, p)
    size = places.outcomes
    given = error.reshape(error.shape[0], places.locations, size) if error.shape[1] else None
    out: list[list[Entry]] = []
    for i in range(size):
        row: list[Entry] = []
        for j in range(size):
            entry = sum((lower[:, i, k] * lower[:, j, k] for k in range(min(i, j) + 1)), jnp.zeros(places.locations))
            row.append(entry + given[:, :, i] ** 2 if given is not None and i == j else entry)
        out.append(row)
    return out


def joint_log_density(
    spec: ModelSpec,
    places: Layout,
    p: NoiseParameters,
    between: MediationParameters,
    innovation: Array,
    surprise: Array,
    mask: Array,
    error: Array,
) -> Array:
    """Of all outcomes and mediators of a location and period together: (T, L).

    innovation: (T, S) of the outcomes, with the mediators at what media let expect; surprise: (T, L, N) what was seen
    of a mediator less that; mask: (T, L, N) 1 where it was seen. A row that was not seen becomes an independent
    standard one at 0, and its constant is taken off again.
    """
    size, extra = places.outcomes, mask.shape[2]
    gamma, disturbance = between.mediator_effect, between.mediator_noise**2
    matrix = _covariance(spec, places, p, error)
    for i in range(size):
        for j in range(size):
            for n in range(extra):
                entry = matrix[i][j]
                matrix[i][j] = (0.0 if entry is None else entry) + gamma[n, i] * gamma[n, j] * disturbance[n]
    for n in range(extra):
        seen = mask[:, :, n]
        shared: list[Entry] = [seen * gamma[n, i] * disturbance[n] for i in range(size)]
        for i in range(size):
            matrix[i] = [*matrix[i], shared[i]]
        own = seen * (disturbance[n] + between.survey_noise[n] ** 2) + (1.0 - seen)
        matrix.append([*shared, *[None] * n, own])
    each = innovation.reshape(innovation.shape[0], places.locations, size)
    values = [*(each[:, :, o] for o in range(size)), *(mask[:, :, n] * surprise[:, :, n] for n in range(extra))]
    found = small_linear.forward(small_linear.cholesky(matrix), values)
    square = sum((x * x for x in found.x), jnp.zeros(()))
    counted = size + jnp.sum(mask, axis=2)
    return -0.5 * square - found.log_det - 0.5 * math.log(2.0 * math.pi) * counted


def surprise_log_density(between: MediationParameters, surprise: Array, mask: Array) -> Array:
    """Of mediators seen exactly, alone: (T, L)."""
    noise = jnp.where(between.mediator_noise > 0.0, between.mediator_noise, 1.0)
    return jnp.sum(mask * (_log_normal(surprise / noise) - jnp.log(noise)), axis=2)


def variance(spec: ModelSpec, places: Layout, p: NoiseParameters, error: Array) -> Array:
    """Of an innovation: (S,), or (T, S) where errors are given. Of Student's t, at least nu = 2.1's."""
    if isinstance(spec.covariance, ModifiedCholesky):
        lower = cholesky(spec, places, p)
        return jnp.sum(lower * lower, axis=-1).reshape(-1) + (error * error if error.shape[1] else 0.0)
    nu = jnp.maximum(p.nu, 2.1)
    spread = jnp.where(jnp.isinf(nu), 1.0, nu / (jnp.where(jnp.isinf(nu), 3.0, nu) - 2.0))
    scale = p.sigma**2 if error.shape[1] == 0 else p.sigma**2 + error * error
    return spread * scale + p.gap * p.gap * p.share * (1.0 - p.share)


def draw(spec: ModelSpec, places: Layout, p: NoiseParameters, error: Array, key: Array, horizon: int) -> Array:
    """Innovations (horizon, S). error: (horizon, S) or (horizon, 0)."""
    shape = (horizon, places.series)
    sigma = p.sigma if error.shape[1] == 0 else jnp.sqrt(p.sigma * p.sigma + error * error)
    if isinstance(spec.likelihood, StudentT):
        return sigma * dist.StudentT(p.nu).sample(key, shape)
    if isinstance(spec.likelihood, TwoState):
        state_key, noise_key = jax.random.split(key)
        high = jax.random.bernoulli(state_key, p.share, shape)
        return jnp.where(high, p.gap, 0.0) + sigma * jax.random.normal(noise_key, shape)
    if places.outcomes == 1:
        return sigma * jax.random.normal(key, shape)
    own_key, error_key = jax.random.split(key)
    unit = jax.random.normal(own_key, (horizon, places.locations, 1, places.outcomes))
    mixed = jnp.sum(cholesky(spec, places, p) * unit, axis=-1).reshape(shape)
    return mixed if error.shape[1] == 0 else mixed + error * jax.random.normal(error_key, shape)
