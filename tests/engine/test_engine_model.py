"""The media model against a plain twin, and what pooling, contributions and the first residual must obey."""

from __future__ import annotations

import math
import random
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from numpyro.handlers import seed, substitute
from scipy.optimize import minimize

from engine import model as media_model
from engine.design import Design, build
from engine.errors import SpecError
from engine.fit import unconstrained
from engine.media import usual_swing
from engine.model import DIMS, Parameters, named
from engine.prng import stream
from engine.spec import Spec
from tests import reference_media as twin
from tests import small
from tests.drawn import changed, parameters

SPEC = small.spec()
PANEL = small.panel(SPEC)
ORIGIN = 30
DESIGN, _ = build(PANEL, SPEC, ORIGIN)
G, M, C, E, K = 2, 2, 1, 1, 2
NONE, COMPLETE = {"kind": "none"}, {"kind": "complete"}
WALK = {"kind": "local_level", "scale": 0.1, "knot": 4}
STUDENT = {"kind": "student_t", "shape": 2.0, "rate": 0.1}
TWO_STATES: dict[str, object] = {
    "model__likelihood": {"kind": "two_state", "gap_scale": 0.5, "share_a": 4.0, "share_b": 4.0},
    "model__residual": {"kind": "white"},
}
LAGS = SPEC.model.media.adstock.max_lag


def drawn(seed: int, nu: float = math.inf) -> Parameters:
    """Parameters at random, every one away from its prior's middle."""
    draw = random.Random(seed)

    def normal(*shape: int) -> Array:
        return jnp.asarray([draw.gauss(0.0, 0.5) for _ in range(math.prod(shape))]).reshape(shape)

    def positive(*shape: int) -> Array:
        return jnp.asarray([draw.uniform(0.1, 2.0) for _ in range(math.prod(shape))]).reshape(shape)

    return parameters(
        level=normal(G),
        trend=normal(1, G),
        season=normal(K, 1),
        event=normal(E, 1),
        control=normal(C, 1),
        beta=positive(G, M),
        adstock=positive(1, M) / 2.1,
        saturation=positive(1, M),
        rho=jnp.asarray(draw.uniform(-0.95, 0.95)),
        sigma=positive(G),
        nu=jnp.asarray(nu),
        gap=jnp.zeros(G),
        share=jnp.asarray(0.0),
    )


def alone(p: Parameters, design: Design, g: int) -> tuple[twin.Truth, twin.Series]:
    """One location's parameters and data, as lists; events are controls that all locations share."""
    noise, media = p.noise, p.media
    truth = twin.Truth(
        float(p.level[g]), p.trend.trend[:, g].tolist(), p.season[:, 0].tolist(),
        [*p.controls.control[:, 0].tolist(), *p.event[:, 0].tolist()],
        media.beta[g].tolist(), media.adstock[0].tolist(), media.saturation[0].tolist(),
        float(noise.rho), float(noise.sigma[g]), float(noise.nu), float(noise.gap[g]), float(noise.share),
    )  # fmt: skip
    controls = np.concatenate([design.controls[:, g], design.events], axis=1)
    series = twin.Series(
        design.y[:, g].tolist(), design.known[:, g].tolist(), design.media.spend[:, g, :, 0].tolist(),
        controls.tolist(), design.trend.columns.tolist(), design.season.tolist(),
    )  # fmt: skip
    return truth, series


_likelihood = jax.jit(media_model.log_likelihood, static_argnums=0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("kind", "nu"), [({"kind": "normal"}, math.inf), (STUDENT, 3.5)])
def test_the_likelihood_agrees_with_the_textbook(seed: int, kind: dict[str, object], nu: float) -> None:
    spec = small.spec(model__likelihood=kind)
    p = drawn(seed, nu)
    found = np.asarray(_likelihood(spec, p, DESIGN))
    for g in range(G):
        np.testing.assert_allclose(found[:, g], twin.log_likelihood(*alone(p, DESIGN, g), LAGS), rtol=1e-10)


@pytest.mark.parametrize("seed", range(4))
def test_two_states_on_a_wandering_level_agree_with_the_textbook(seed: int) -> None:
    spec = small.spec(model__trend=WALK, **TWO_STATES)
    design, _ = build(PANEL, spec, ORIGIN)
    draw = random.Random(seed)
    walk = jnp.asarray([[draw.gauss(0.0, 0.3) for _ in range(G)] for _ in range(design.trend.columns.shape[1])])
    states = {"gap": jnp.asarray([0.4, 1.2]), "share": jnp.asarray(draw.uniform(0.1, 0.9))}
    p = changed(drawn(seed), rho=jnp.asarray(0.0), trend=walk, **states)
    found = np.asarray(_likelihood(spec, p, design))
    for g in range(G):
        np.testing.assert_allclose(found[:, g], twin.log_likelihood(*alone(p, design, g), LAGS), rtol=1e-10)


def test_two_states_with_an_autocorrelated_residual_are_refused() -> None:
    with pytest.raises(SpecError, match=r"model.residual: expected white with likelihood two_state.*found ar1"):
        small.spec(model__likelihood=TWO_STATES["model__likelihood"])


def test_one_step_and_paths_mix_the_states_as_often_as_they_come() -> None:
    spec = small.spec(**TWO_STATES)
    gap, share, paths = jnp.asarray([0.5, 2.0]), 0.3, 4000
    p = changed(drawn(3), rho=jnp.asarray(0.0), sigma=jnp.full(G, 0.1), gap=gap, share=jnp.asarray(share))
    expected = np.asarray(media_model.mean(spec, p, DESIGN))
    step = np.asarray(media_model.one_step(spec, p, DESIGN, DESIGN.y))
    np.testing.assert_allclose(step, expected + np.asarray(gap) * share, rtol=1e-12)
    simulate = partial(media_model.simulate, spec, p, DESIGN, jnp.asarray(ORIGIN), 4)
    found = np.asarray(jax.lax.map(jax.jit(simulate), jax.random.split(stream(1, "states"), paths)))
    above = found - expected[ORIGIN : ORIGIN + 4]  # (path, horizon, location)
    high = above > 0.5 * np.asarray(gap)
    assert np.all(np.abs(high.mean(axis=0) - share)[:, 1] < 5.0 * math.sqrt(share * (1.0 - share) / paths))
    variance = np.asarray(media_model.noise_variance(spec, p, DESIGN))
    np.testing.assert_allclose(above.var(axis=0), np.broadcast_to(variance, (4, G)), rtol=0.1)


def test_two_planted_states_are_found_from_where_the_sampler_begins() -> None:
    spec = small.spec(model__media__scale=0.01, **TWO_STATES)
    panel = small.panel(spec)
    draw = random.Random(11)
    kpi = [[100.0 * (1.0 + draw.gauss(0.0, 0.04) + (0.5 if draw.random() < 0.4 else 0.0)) for _ in range(G)]
           for _ in range(small.TIME)]  # fmt: skip
    design, scales = build(panel._replace(kpi=np.asarray(kpi)), spec, small.TIME)
    program = unconstrained(spec, design)
    loss = jax.jit(jax.value_and_grad(lambda q: -program.log_density(q, design)))
    mode = minimize(lambda q: [np.asarray(part) for part in loss(q)], np.zeros(program.dimension), jac=True)
    assert mode.success, mode.message
    found = program.parameters(jnp.asarray(mode.x), design).noise
    np.testing.assert_allclose(found.gap * jnp.asarray(scales.kpi), 50.0, rtol=0.1)
    np.testing.assert_allclose(found.sigma * jnp.asarray(scales.kpi), 4.0, rtol=0.4)
    assert abs(float(found.share) - 0.4) < 5.0 * math.sqrt(0.24 / (G * small.TIME))


def test_steps_past_the_origin_keep_their_prior_and_so_the_level_widens() -> None:
    spec = small.spec(model__trend=WALK)
    design, _ = build(PANEL, spec, ORIGIN)
    columns = np.asarray(design.trend.columns)
    knots = columns.shape[1]
    p = changed(drawn(1), trend=jnp.zeros((knots, G)))

    def weighted(walk: Array) -> Array:
        return jnp.sum(design.weight * media_model.log_likelihood(spec, changed(p, trend=walk), design))

    gradient = np.asarray(jax.jit(jax.grad(weighted))(p.trend.trend))
    past = np.arange(knots) * int(str(WALK["knot"])) >= ORIGIN - 1
    assert past.sum() >= 2
    assert np.all(gradient[past] == 0.0)
    assert np.all(gradient[~past] != 0.0)
    apart = columns[:, past]
    sd = np.sqrt((apart**2).sum(axis=1))[ORIGIN:]  # of the level, from its unseen steps alone
    assert np.all(np.diff(sd) >= 0.0)
    assert sd[-1] > sd[0]


def test_a_stationary_start_makes_the_series_reversible() -> None:
    # a Gaussian AR(1) read backwards is the same process, so its exact likelihood is the same
    p = drawn(5)
    forward = np.asarray(DESIGN.y - media_model.mean(SPEC, p, DESIGN))
    silent = DESIGN.media._replace(spend=jnp.zeros_like(DESIGN.media.spend))
    zeros = {name: jnp.zeros_like(getattr(DESIGN, name)) for name in ("controls", "events")}
    flat = DESIGN._replace(media=silent, **zeros)
    still = changed(p, level=jnp.zeros(G), trend=jnp.zeros((1, G)), season=jnp.zeros((K, 1)))
    there = _likelihood(SPEC, still, flat._replace(y=jnp.asarray(forward)))
    back = _likelihood(SPEC, still, flat._replace(y=jnp.asarray(forward[::-1].copy())))
    np.testing.assert_allclose(jnp.sum(there, axis=0), jnp.sum(back, axis=0), rtol=1e-12)


def test_periods_without_weight_say_nothing() -> None:
    program = unconstrained(SPEC, DESIGN)
    log_density = jax.jit(program.log_density)
    q = jnp.full(program.dimension, 0.3)
    wild = DESIGN._replace(y=DESIGN.y.at[ORIGIN:].set(1e6))
    assert float(log_density(q, wild)) == float(log_density(q, DESIGN))
    seen = DESIGN._replace(y=DESIGN.y.at[ORIGIN - 1].set(0.7))
    assert float(log_density(q, seen)) != float(log_density(q, DESIGN))


def test_a_power_weight_counts_an_outcome_as_that_share_of_one() -> None:
    program = unconstrained(SPEC, DESIGN)
    log_density = jax.jit(program.log_density)
    q = jnp.full(program.dimension, 0.3)
    at = {w: float(log_density(q, DESIGN._replace(weight=DESIGN.weight * w))) for w in (0.0, 0.3, 1.0)}
    assert math.isclose(at[0.3] - at[0.0], 0.3 * (at[1.0] - at[0.0]), rel_tol=1e-12)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"model__likelihood": STUDENT, "model__residual": {"kind": "white"}, "model__media__pooling": NONE},
        {"model__trend": {"kind": "none"}, "model__media__pooling": COMPLETE, "data__controls": []},
        {"model__trend": WALK, **TWO_STATES},
        {"model__trend": {"kind": "damped", "scale": 0.1, "damping": 0.9}},
    ],
    ids=["partial", "none", "complete", "local_level", "damped"],
)  # fmt: skip
def test_the_gradient_is_finite_where_the_sampler_begins_even_without_spend(changes: dict[str, object]) -> None:
    spec = small.spec(**changes)
    panel = small.panel(spec)
    media = panel.media.copy()
    media[..., 1] = 0.0
    design, _ = build(panel._replace(media=media), spec, ORIGIN)
    program = unconstrained(spec, design)
    gradient = jax.jit(jax.grad(program.log_density))(jnp.zeros(program.dimension), design)
    assert bool(jnp.all(jnp.isfinite(gradient)))
    found = named(program.parameters(jnp.zeros(program.dimension), design))
    assert set(DIMS) == set(found)
    for name, value in found.items():
        assert value.ndim == len(DIMS[name]), name


@pytest.mark.parametrize("outcome", ["linear", "log"])
def test_without_a_channel_the_mean_lacks_that_channels_part(outcome: str) -> None:
    """What is typical stays that of the spend that was there: a counterfactual changes spend and nothing else."""
    spec = small.spec(model__outcome=outcome)
    design, _ = build(PANEL, spec, ORIGIN)
    p = drawn(2)
    whole = np.asarray(media_model.mean(spec, p, design))
    for m in range(M):
        silent = design.media._replace(spend=design.media.spend.at[:, :, m].set(0.0))
        part = np.asarray(media_model.mean(spec, p, design, silent))
        for g in range(G):
            pair = alone(p, design, g)
            np.testing.assert_allclose(whole[:, g], twin.mean(*pair, LAGS), rtol=1e-10)
            added = [row[m] for row in twin.media(*pair, LAGS)]
            np.testing.assert_allclose(whole[:, g] - part[:, g], added, rtol=1e-10, atol=1e-12)


def test_one_step_prediction_carries_the_last_residual_on_by_rho() -> None:
    p = drawn(9)
    known = np.asarray(DESIGN.y)
    found = np.asarray(media_model.one_step(SPEC, p, DESIGN, jnp.asarray(known)))
    expected = np.asarray(media_model.mean(SPEC, p, DESIGN))
    assert found[0].tolist() == expected[0].tolist()
    np.testing.assert_allclose(found[1:], expected[1:] + float(p.noise.rho) * (known - expected)[:-1], rtol=1e-13)


# Pooling. One channel, three locations whose true effects differ; what varies is how many weeks speak.

POOL = {
    "data__locations": ["East", "North", "West"],
    "data__media": [{"name": "tv", "column": "TV", "unit": "USD"}],
    "data__controls": [],
    "model__events": [],
    "model__seasons": [],
}
POOLINGS: dict[str, dict[str, object]] = {
    "partial": {"kind": "partial", "over": ["location"], "tau_scale": 1.0, "centring": {"kind": "non_centred"}},
    "complete": COMPLETE,
    "none": NONE,
}
EFFECTS = (0.1, 0.9, 1.5)
MU, TAU = math.log(0.4), 0.5
WEEKS = 240
GRID = jnp.linspace(-8.0, 8.0, 2001)  # of z, in log beta = mu + tau z


def _pooled(kind: str) -> Spec:
    return small.spec(**POOL, model__media__pooling=POOLINGS[kind])


def _truth(beta: Array) -> Parameters:
    return parameters(
        level=jnp.zeros(3), trend=jnp.zeros((1, 3)), season=jnp.zeros((0, 1)), event=jnp.zeros((0, 1)),
        control=jnp.zeros((0, 1)), beta=beta[:, None], adstock=jnp.asarray([[0.5]]), saturation=jnp.asarray([[1.0]]),
        rho=jnp.asarray(0.0), sigma=jnp.full(3, 0.1), nu=jnp.asarray(jnp.inf), gap=jnp.zeros(3), share=jnp.asarray(0.0),
    )  # fmt: skip


def _world() -> Design:
    """Outcomes exactly as the true effects make them, so that the likelihood's mode is the truth for any weeks."""
    spec = _pooled("partial")
    panel = small.panel(spec, seed=3, time=WEEKS)
    design, _ = build(panel._replace(media=panel.media**3), spec, WEEKS)  # spend that varies
    return design._replace(y=media_model.mean(spec, _truth(jnp.asarray(EFFECTS)), design))


@partial(jax.jit, static_argnums=0)
def _by_effect(spec: Spec, design: Design) -> Array:
    """(grid, location) weighted log likelihood where every location's effect is that of one z."""

    def one(z: Array) -> Array:
        p = _truth(jnp.exp(MU + TAU * z) * jnp.ones(3))
        return jnp.sum(design.weight * media_model.log_likelihood(spec, p, design), axis=0)

    return jax.lax.map(one, GRID)


def _share(design: Design, weeks: int) -> tuple[np.ndarray, np.ndarray]:
    """How far each location has moved from the population (0) to itself (1) when the first `weeks` are seen.

    By quadrature of the posterior mean of log beta, and as the Normal approximation has it: information over
    information and prior precision, both of z. Each (location,).
    """
    seen = jnp.asarray(np.arange(design.y.shape[0]) < weeks, dtype=jnp.float64)[:, None] * jnp.ones(3)
    likelihood = np.asarray(_by_effect(_pooled("partial"), design._replace(weight=seen)))
    z = np.asarray(GRID)
    log_posterior = likelihood - likelihood.max(axis=0) - 0.5 * z[:, None] ** 2
    mass = np.exp(log_posterior - log_posterior.max(axis=0))
    truth = (np.log(EFFECTS) - MU) / TAU
    at = np.searchsorted(z, truth)
    place = np.arange(len(EFFECTS))
    bend = likelihood[at - 1, place] - 2.0 * likelihood[at, place] + likelihood[at + 1, place]
    information = -bend / (z[1] - z[0]) ** 2
    return (mass * z[:, None]).sum(axis=0) / mass.sum(axis=0) / truth, information / (information + 1.0)


def test_as_data_grows_partial_pooling_moves_from_one_common_effect_to_separate_ones() -> None:
    design = _world()
    found = [_share(design, weeks) for weeks in (0, 4, 15, 60, WEEKS)]
    share, normal = np.stack([f[0] for f in found]), np.stack([f[1] for f in found])
    np.testing.assert_allclose(share[0], 0.0, atol=1e-12)  # nothing seen: every location is the population's middle
    assert np.all(np.diff(share, axis=0) > 0.0)
    assert np.all(share < 1.0 + 1e-3)
    # the more is seen, the better the Normal approximation; its error is of the order of what is left of the prior
    np.testing.assert_array_less(np.abs(share - normal)[-1], (1.0 - normal[-1]))


def test_complete_pooling_is_one_effect_everywhere() -> None:
    spec = _pooled("complete")
    world = _world()
    program = unconstrained(spec, world)
    beta = program.parameters(jnp.full(program.dimension, 0.2), world).media.beta
    assert len(set(beta[:, 0].tolist())) == 1
    loose = unconstrained(_pooled("none"), world)
    assert loose.dimension == program.dimension + 2


def test_the_population_is_the_middle_of_the_effects_when_tau_is_zero() -> None:
    spec = _pooled("partial")
    sites = {"tau": jnp.zeros((1, 1)), "mu": jnp.asarray([[-0.7]])}
    program = substitute(seed(partial(media_model.model, spec), stream(1, "x")), sites)
    world = _world()
    media, of = program(world).media, spec.model.media
    swing = usual_swing(of, media.adstock, media.saturation, world.media)  # what effects are sampled in units of
    np.testing.assert_allclose(media.beta[:, 0] * swing, [math.exp(-0.7)] * 3, rtol=1e-12)
