"""Residuals whose law is known whatever the parameters are: z, independent standard normal if the model is right.

    z[t,s] = Phi^-1(F(e[t,s])), e the innovation, F its distribution given what came before, in one posterior draw

If a truth is drawn from the prior, data from the truth and a draw from the posterior, then draw and data together have
the law of truth and data. So z, at one draw, is exactly what it would be at the truth, and no degree of freedom is lost
to the fit: a statistic of z has its textbook distribution, whatever the model (Johnson 2007, doi:10.1214/07-BA229; for
chi-squared statistics Johnson 2004, doi:10.1214/009053604000000616). At a fixed truth that holds as data grow.
Outcomes of one location and period are made independent by the Cholesky factor of their covariance, in their order.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array
from jax.scipy.special import ndtr, ndtri

from engine import model, noise
from engine.design import Design
from engine.layout import layout
from engine.model import Parameters
from engine.small_linear import Entry, cholesky, forward
from engine.spec import Spec
from engine.spec_outcomes import StudentT, TwoState

EDGE = 1e-15  # a probability nearer to 0 or 1 counts as that near: z stays within 8 sds


def pivots(spec: Spec, p: Parameters, design: Design) -> Array:
    """z of the draw `p`: (T, S); 0 where the likelihood does not count a period in full."""
    y = _demand(spec, design.y, model.metric(p, design))
    innovation = noise.standardised(p.noise, model.residual(spec, p, design, y).outcome)
    return jnp.where(design.weight >= 1.0, standard(spec, p, design.error, innovation), 0.0)


def standard(spec: Spec, p: Parameters, error: Array, innovation: Array) -> Array:
    """z of innovations (T, S), each period's given those before. error: (T, S), or (T, 0) where none is given."""
    blurred = bool(spec.model.mediators) and not spec.model.conditional
    mixed = spec.model.covariance is not None or blurred
    return (_whitened if mixed else _scores)(spec, p, error, innovation)


def _demand(spec: Spec, y: Array, scale: Array) -> Array:
    """Outcomes as the metric would have shown them before it changed."""
    return y - scale if spec.model.outcome == "log" else (1.0 + y) * jnp.exp(-scale) - 1.0


def _scores(spec: Spec, p: Parameters, error: Array, innovation: Array) -> Array:
    """Of outcomes that scatter independently."""
    law = spec.model.likelihood
    sigma = p.noise.sigma if error.shape[1] == 0 else jnp.sqrt(p.noise.sigma * p.noise.sigma + error * error)
    standard = innovation / sigma
    if isinstance(law, StudentT):
        return _normal(dist.StudentT(p.noise.nu).cdf(standard))
    if isinstance(law, TwoState):
        high = ndtr(standard - p.noise.gap / sigma)
        return _normal((1.0 - p.noise.share) * ndtr(standard) + p.noise.share * high)
    return standard


def _normal(probability: Array) -> Array:
    return ndtri(jnp.clip(probability, EDGE, 1.0 - EDGE))


def _whitened(spec: Spec, p: Parameters, error: Array, innovation: Array) -> Array:
    """Of outcomes with a covariance, what mediators that are not known exactly add to it included."""
    places = layout(spec)
    size, time = places.outcomes, innovation.shape[0]
    lower = noise.cholesky(spec.model, places, p.noise)  # (L, O, O)
    gamma, disturbance = p.mediation.mediator_effect, p.mediation.mediator_noise**2
    given = error.reshape(time, places.locations, size) if error.shape[1] else None
    matrix: list[list[Entry]] = []
    for i in range(size):
        row: list[Entry] = []
        for j in range(size):
            entry = jnp.sum(lower[:, i] * lower[:, j], axis=-1)
            if not spec.model.conditional:
                entry = entry + jnp.sum(gamma[:, i] * gamma[:, j] * disturbance)
            row.append(entry + given[:, :, i] ** 2 if given is not None and i == j else entry)
        matrix.append(row)
    each = innovation.reshape(time, places.locations, size)
    found = forward(cholesky(matrix), [each[:, :, o] for o in range(size)])
    return jnp.stack(found.x, axis=-1).reshape(time, places.series)
