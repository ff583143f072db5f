"""Posteriors that can be written down: the engine's density has their mode and curvature, its sampler their moments.

What is linear in a specification is conjugate: given scales and transforms, the posterior of level, trend, seasons,
events, controls and effects is normal. The density's own second derivative and maximum must be those of the textbook's
regression; what NUTS draws must agree with quadrature to Monte Carlo error.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arviz_stats.base import array_stats
from jax import Array
from numpyro.handlers import seed, trace

from engine import media, model
from engine.design import Design, build
from engine.fit import Density, _nuts, unconstrained
from engine.model import named
from engine.prng import stream
from engine.spec import Spec
from tests import classes, worlds
from tests import reference_conjugate as twin
from tests.sbc.ranks import ranker

SURE = 4.5  # standard errors; seeds are fixed, and of two hundred comparisons one in 700 suites would go further
CLOSE = 0.03  # posterior sds
ORIGIN = 30  # of small.TIME periods
LINEAR = ("level", "slope", "season", "event", "control")  # sites, in the order of their parameters
PARTIAL = {"kind": "partial", "over": ["location"], "tau_scale": 0.5, "centring": {"kind": "non_centred"}}
POOLINGS: dict[str, dict[str, Any]] = {
    "one effect for all": {"kind": "complete"},
    "one effect a location": {"kind": "none"},
    "a population without a spread": PARTIAL,
}


def places(spec: Spec, design: Design) -> dict[str, np.ndarray]:
    """Where each sampled site lies in the unconstrained vector: sites in the order of their names."""
    program = trace(seed(partial(model.model, spec), stream(1, "shapes")))

    def values(design: Design) -> dict[str, Array]:
        found = program.get_trace(design)
        return {name: s["value"] for name, s in found.items() if s["type"] == "sample" and not s["is_observed"]}

    out, taken = {}, 0
    for name, shape in sorted(jax.eval_shape(values, design).items()):
        out[name] = np.arange(taken, taken + shape.size)
        taken += shape.size
    return out


def coefficients(density: Density, design: Design, q: Array) -> np.ndarray:
    """Of all that is linear but media, as `regressors` has its columns."""
    found = named(density.parameters(q, design))
    return np.concatenate([np.ravel(found[name]) for name in ("level", "trend", "season", "event", "control")])


def regressors(spec: Spec, design: Design, count: int) -> np.ndarray:
    """The first `count` periods of one location after the other: (L * count, k)."""
    rows = []
    for place, own in enumerate(np.eye(len(spec.data.locations))):
        each = [
            np.tile(own, (design.y.shape[0], 1)), np.asarray(design.trend.columns) * own, np.asarray(design.season),
            np.asarray(design.events), np.asarray(design.controls)[:, place],
        ]  # fmt: skip
        rows.append(np.concatenate(each, axis=1)[:count])
    return np.concatenate(rows)


def prior_sd(spec: Spec, design: Design) -> np.ndarray:
    """Of the coefficients of `regressors`."""
    of, size = spec.model, len(spec.data.locations)
    assert of.trend.kind == "linear"
    scales = [of.level_scale, of.trend.scale, of.seasons[0].scale, of.event_scale, of.controls.scale]
    counts = [size, size, design.season.shape[1], design.events.shape[1], design.controls.shape[2]]
    return np.repeat(scales, counts)


def effects(spec: Spec, response: np.ndarray) -> np.ndarray:
    """The columns of media, less their mean: one a channel; where effects are separate, one a location and channel."""
    size, channels = len(spec.data.locations), response.shape[2]
    centred = response[:ORIGIN] - response[:ORIGIN].mean(axis=0)  # (ORIGIN, L, M)
    stacked = centred.transpose(1, 0, 2).reshape(-1, channels)
    if spec.model.media.pooling.kind != "none":
        return np.asarray(stacked)
    return np.concatenate([stacked * np.repeat(own, ORIGIN)[:, None] for own in np.eye(size)], axis=1)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_given_scales_and_transforms_the_density_is_the_textbooks_regression(pooling: str) -> None:
    """Pooled, or a regression a location; a population whose spread is nothing is the pooled one, with its own prior.

    That prior, a normal of log effects, is taken off, as the regression has none like it: there it is flat.
    """
    spec = classes.spec("hierarchical", model__media__pooling=POOLINGS[pooling])
    design, _ = build(classes.panel(spec, seed=4), spec, ORIGIN)
    draw = np.random.default_rng(6)
    design = design._replace(y=jnp.asarray(draw.normal(0.0, 0.5, design.y.shape)))
    density, at = unconstrained(spec, design), places(spec, design)
    q = jnp.asarray(draw.normal(0.0, 0.5, density.dimension))
    if pooling == "a population without a spread":
        q = q.at[at["tau"]].set(-40.0)
    limit = "mu" in at
    beta = at["mu" if limit else "effect"]
    p = density.parameters(q, design)
    of, of_media = spec.model.media, p.media  # effects are sampled in units of a usual swing, which is given here
    swing = np.log(media.usual_swing(of, of_media.adstock, of_media.saturation, design.media))
    moved = np.tile(swing, beta.size // swing.size)
    linear = np.concatenate([at[name] for name in LINEAR])
    unit = coefficients(density, design, q.at[linear].add(1.0)) - coefficients(density, design, q)

    def log_density(x: Array) -> Array:
        """Of coefficients, then of effects: the Jacobian of their logarithm, or the prior of it, taken off."""
        log_beta = jnp.log(x[linear.size :])
        found = density.log_density(q.at[linear].set(x[: linear.size] / unit).at[beta].set(log_beta + moved), design)
        prior = -0.5 * jnp.sum((log_beta - math.log(spec.model.media.scale)) ** 2)
        return found - (prior if limit else jnp.sum(log_beta))

    gradient = jax.jit(jax.grad(log_density))
    x = np.concatenate([np.zeros(linear.size), np.full(beta.size, 0.4)])
    here = np.asarray(gradient(x))
    curvature = np.stack([(np.asarray(gradient(x + step)) - here) / 0.1 for step in 0.1 * np.eye(x.size)])

    rho, sigma = float(p.noise.rho), np.asarray(p.noise.sigma)
    covariance = twin.independent([twin.ar1(ORIGIN, rho, each) for each in sigma])
    response = np.asarray(media.response(spec.model.media, p.media, design.media))
    X = np.concatenate([regressors(spec, design, ORIGIN), effects(spec, response)], axis=1)
    scale = np.inf if limit else spec.model.media.scale
    expected = twin.posterior(
        X, np.asarray(design.y)[:ORIGIN].T.ravel(), covariance,
        np.concatenate([prior_sd(spec, design), np.full(beta.size, scale)]),
    )  # fmt: skip
    found = np.linalg.inv(-curvature)
    np.testing.assert_allclose(found, expected.covariance, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(x + found @ here, expected.mean, rtol=1e-6, atol=1e-8)


class Compared(NamedTuple):
    """Draws beside what they should be, in standard errors of a mean."""

    mean: np.ndarray
    sd: np.ndarray
    effective: np.ndarray


def compared(draws: np.ndarray, expected: twin.Moments) -> Compared:
    """draws: (chain, draw, quantity). An error of the sd is one of the mean square distance from the expected mean."""
    ess = np.asarray([float(array_stats.ess(draws[:, :, k], method="bulk")) for k in range(draws.shape[2])])
    mean = (draws.mean(axis=(0, 1)) - expected.mean) / (expected.sd / np.sqrt(ess))
    square = ((draws - expected.mean) / expected.sd) ** 2
    counted = np.asarray([float(array_stats.ess(square[:, :, k], method="mean")) for k in range(draws.shape[2])])
    sd = (square.mean(axis=(0, 1)) - 1.0) / (square.std(axis=(0, 1)) / np.sqrt(counted))
    return Compared(mean, sd, ess)


def test_with_silent_media_nuts_agrees_with_quadrature_and_media_keep_their_priors() -> None:
    spec, of, chains = ranker("national").spec, ranker("national"), 16
    silent = of.design._replace(media=of.design.media._replace(spend=jnp.zeros_like(of.design.media.spend)))
    design = worlds.Maker(spec).world(silent, 5).design
    draws = [named(of.sampler.chain(design, stream(chain, "silent")).parameters) for chain in range(chains)]

    def stacked(*names: str) -> np.ndarray:
        flat = [[d[name].reshape(d[name].shape[0], -1) for name in names] for d in draws]
        return np.stack([np.concatenate(each, axis=1) for each in flat])

    count = int(np.asarray(design.known).sum())
    expected = twin.autocorrelated_regression(
        regressors(spec, design, count), np.asarray(design.y)[:count, 0], prior_sd(spec, design),
        spec.model.noise_scale, spec.model.residual.scale,
    )  # fmt: skip
    found = compared(stacked("level", "trend", "season", "event", "control", "rho", "sigma"), expected)
    # HalfNormal(s): s sqrt(2 / pi); Beta(3, 3): 1/2, variance 1/28; Gamma(2, rate 1): 2, variance 2
    half = spec.model.media.scale * math.sqrt(2.0 / math.pi)
    prior = twin.Moments(
        mean=np.repeat([half, 0.5, 2.0], 2),
        sd=np.sqrt(np.repeat([spec.model.media.scale**2 - half**2, 1.0 / 28.0, 2.0], 2)),
    )
    kept = compared(stacked("beta", "adstock", "saturation"), prior)
    for each in (found, kept):
        assert each.effective.min() > 1_000.0
        assert np.all(np.abs(each.mean) < SURE), each
        assert np.all(np.abs(each.sd) < SURE), each


# One channel without carry-over whose saturation is known, three locations, errors that are given, and a level.
TIME, ERROR = 24, 0.4
POOLED: dict[str, Any] = {
    "data__locations": ["East", "North", "West"],
    "data__media": [classes.TV],
    "data__controls": [],
    "data__errors": [{"name": "sales_error", "column": "SalesError", "unit": "USD"}],
    "model__events": [],
    "model__seasons": [],
    "model__trend": {"kind": "none"},
    "model__residual": classes.WHITE,
    "model__noise_scale": 1e-4,
    "model__media__adstock": {"kind": "geometric", "max_lag": 1, "alpha_a": 3.0, "alpha_b": 3.0, "shared": False},
    "model__media__saturation": {"kind": "logistic", "shape": 1e6, "rate": 1e6, "shared": False},
    "model__media__pooling": PARTIAL,
}
TRUE = (0.1, 0.5, 1.2)


def test_partially_pooled_effects_agree_with_quadrature() -> None:
    spec = classes.spec("hierarchical", **POOLED)
    design, _ = build(worlds.panel(spec, 2, TIME), spec, TIME)
    draw = np.random.default_rng(12)
    response = 1.0 - np.exp(-np.asarray(design.media.spend)[:, :, 0, 0])  # lam = 1 but for a thousandth
    centred = response - response[:TIME].mean(axis=0)
    y = centred * np.asarray(TRUE) + ERROR * draw.normal(size=centred.shape)
    design = design._replace(y=jnp.asarray(y), error=jnp.full(y.shape, ERROR))
    estimate, error = np.zeros(3), np.zeros(3)
    for place in range(3):  # the level is integrated out: what is left of it is one more row of covariance
        X = np.stack([centred[:TIME, place], np.ones(TIME)], axis=1)
        flat = twin.posterior(X, y[:TIME, place], ERROR**2 * np.eye(TIME), np.asarray([np.inf, spec.model.level_scale]))
        estimate[place], error[place] = flat.mean[0], math.sqrt(flat.covariance[0, 0])
    expected = twin.pooled_effects(twin.Pooled(math.log(spec.model.media.scale), 0.5), estimate, error)

    density = unconstrained(spec, design)
    run = jax.jit(partial(_nuts, density, spec.inference.model_copy(update={"target_accept": 0.95}), 1_000, 5_000))
    found = [run(stream(chain, "pooled"), design, jnp.zeros(density.dimension)) for chain in range(4)]
    draws = np.stack([np.log(np.asarray(each.parameters.media.beta)[:, :, 0]) for each in found])
    _close(draws, expected)


def _close(draws: np.ndarray, expected: twin.Moments) -> None:
    """draws: (chain, draw, quantity): mean and sd are within CLOSE of what they should be, and no accident."""
    found = compared(draws, expected)
    mean, sd = draws.mean(axis=(0, 1)), draws.std(axis=(0, 1))
    assert np.all(np.abs(found.mean) < SURE)
    assert np.all(np.abs(found.sd) < SURE)
    assert np.all(np.abs(mean - expected.mean) < CLOSE * expected.sd)
    assert np.all(np.abs(sd - expected.sd) < CLOSE * expected.sd)


class Schools(NamedTuple):
    """Eight schools: theta = mu + tau z."""

    theta: Array  # (8,)
    mu: Array
    tau: Array


def _schools(q: Array, _: Array) -> Schools:
    tau = jnp.exp(q[1])
    return Schools(5.0 * q[0] + tau * q[2:], 5.0 * q[0], tau)


def _schools_density(q: Array, data: Array) -> Array:
    """mu / 5 ~ Normal(0, 1), tau ~ HalfCauchy(5), z ~ Normal(0, 1), y ~ Normal(theta, error^2)."""
    of = _schools(q, data)
    prior = -0.5 * q[0] ** 2 - jnp.log1p((of.tau / 5.0) ** 2) + q[1] - 0.5 * jnp.sum(q[2:] ** 2)
    return prior - 0.5 * jnp.sum(((data[:, 0] - of.theta) / data[:, 1]) ** 2)


def test_eight_schools_agree_with_quadrature_and_the_published_posterior() -> None:
    """Published: posteriordb, eight_schools-eight_schools_noncentered, 10,000 draws; the issue's sd of mu."""
    density = Density(10, _schools_density, _schools, lambda _: jnp.ones(10))  # type: ignore[arg-type]
    settings = classes.spec("national").inference.model_copy(update={"target_accept": 0.95, "max_tree_depth": 10})
    run = jax.jit(partial(_nuts, density, settings, 1_000, 5_000))
    data = jnp.asarray(twin.SCHOOLS)
    found = [run(stream(chain, "schools"), data, jnp.zeros(10)).parameters for chain in range(4)]
    draws = np.stack([np.concatenate([p.theta, p.mu[:, None], p.tau[:, None]], axis=1) for p in found])
    expected = twin.eight_schools()
    _close(draws, expected)
    assert abs(draws[:, :, 8].mean() - 4.41) < CLOSE * 3.31
    assert abs(draws[:, :, 8].std() - 3.31) < CLOSE * 3.31
