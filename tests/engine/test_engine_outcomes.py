"""How outcomes scatter, move one another and are moved through mediators: every law against whole covariance matrices.

A location's outcomes and surveys are one normal vector, whatever a specification composes. Its covariance is written
down in `tests.reference_outcomes` from the structural equations; the engine's period-by-period densities, predictions
and paths must be its factors, conditional means and draws.
"""

from __future__ import annotations

import math
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from numpyro.handlers import seed as seeded

from engine import cross, media, model, noise
from engine.design import Design, build
from engine.layout import layout
from engine.model import Levels, Parameters
from engine.prng import stream
from engine.spec import Spec
from tests import classes
from tests import reference_outcomes as twin

ORIGIN = 30  # of small.TIME periods
PATHS = 20_000
SURE = 5.0  # standard errors; the seed is fixed, and of some hundred comparisons one in two million goes further
AR1 = {"kind": "ar1", "scale": 0.5}
ERRORS = [{"name": f"error_{k}", "column": f"Error{k}", "unit": "USD"} for k in range(2)]


def _moves(source: str, target: str, kind: str, lagged: bool = False, promotion: str | None = None) -> dict[str, Any]:
    return {
        "source": source, "target": target, "kind": kind, "scale": 0.3, "promotion": promotion, "lagged": lagged,
    }  # fmt: skip


def _between(name: str, kind: str, survey: float | None, outcomes: list[str]) -> dict[str, Any]:
    return {
        "name": name, "kind": kind, "channels": ["tv"], "outcomes": outcomes, "path_scale": 1.0, "effect_scale": 1.0,
        "positive": name != "visits", "noise_scale": 0.5, "survey_scale": survey,
    }  # fmt: skip


VISITS = {"name": "visits", "column": "Visits", "unit": "visits"}
SEVERAL = {
    "data__mediators": [*classes.AWARENESS, VISITS],
    "model__mediators": [
        _between("mood", "latent", None, ["sales"]),
        _between("visits", "full", 0.4, ["sales", "multipack"]),
        _between("awareness", "partial", 0.3, ["multipack"]),
    ],
}

# Each a class of `tests.classes` with further values: the nine of outcomes, and what no class combines.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in (
        "hierarchical", "given_errors", "portfolio", "modified_cholesky", "simultaneous", "surveyed", "latent",
        "combined",
    )},
    "mediated": ("mediated", {"model__mediators": [_between("awareness", "full", None, ["sales"])]}),
    "errors carried on": ("given_errors", {"model__residual": AR1}),
    "portfolio with errors carried on": ("portfolio", {"data__errors": ERRORS, "model__residual": AR1}),
    "modified Cholesky with errors": ("modified_cholesky", {"data__errors": ERRORS}),
    "unrelated outcomes": ("portfolio", {"model__covariance": None, "model__residual": AR1}),
    "several mediators": ("combined", SEVERAL),
    "everything": ("combined", {
        "data__errors": ERRORS,
        "data__controls": [classes.PRICE, classes.PROMOTION],
        "model__covariance": {"kind": "ldl", "scale": 0.5},
        "model__mediators": [_between("awareness", "partial", 0.3, ["sales", "multipack"])],
        "model__cross_effects": [
            _moves("sales", "multipack", "cannibalisation", promotion="promotion"),
            _moves("multipack", "sales", "spillover"),
            _moves("sales", "multipack", "halo", lagged=True, promotion="promotion"),
        ],
    }),
}  # fmt: skip


class Found(NamedTuple):
    """What the engine says of one case."""

    truth: Parameters
    log_likelihood: Array  # (T, L)
    one_step: Array  # (T, S)
    variance: Array  # (T or 1, S)
    levels: Levels
    mean: Array  # (T, S)
    silent: Array  # (T, S) mean had the first channel never spent
    response: Array  # (T, L, M)


class Case(NamedTuple):
    """A specification, data of it, and the engine's word on both."""

    spec: Spec
    design: Design
    found: Found


def _visible(p: Parameters) -> Parameters:
    """The draw with mediators that scatter, move outcomes and are surveyed with error by more than a trifle."""

    def away(x: Array, by: float) -> Array:
        return jnp.where(x == 0.0, 0.0, x + by * jnp.sign(x))

    between = p.mediation._replace(
        mediator_effect=away(p.mediation.mediator_effect, 0.5),
        mediator_noise=away(p.mediation.mediator_noise, 0.4),
        survey_noise=away(p.mediation.survey_noise, 0.2),
    )
    return p._replace(mediation=between)


def _said(spec: Spec, design: Design, key: Array) -> Found:
    """Of one draw from the priors; one program a specification."""
    p = _visible(seeded(model.sample_parameters, key)(spec, design))
    off = design.media._replace(spend=design.media.spend.at[:, :, 0].set(0.0))
    return Found(
        p, model.log_likelihood(spec, p, design), model.one_step(spec, p, design, design.y),
        model.noise_variance(spec, p, design), model.levels(spec, p, design), model.mean(spec, p, design),
        model.mean(spec, p, design, off), media.response(spec.model.media, p.media, design.media),
    )  # fmt: skip


@lru_cache(maxsize=len(CASES))
def case(name: str) -> Case:
    """Outcomes and surveys at random, as far from their means as the truth's scales make likely."""
    of, changes = CASES[name]
    spec = classes.spec(of, **changes)
    panel = classes.panel(spec, seed=5)
    if spec.data.errors:
        ratio = np.random.default_rng(8).uniform(0.05, 0.3, panel.kpi.shape)
        panel = panel._replace(error=panel.kpi * ratio)
    design, _ = build(panel, spec, ORIGIN)
    draw = np.random.default_rng(3)
    seen = design.mediators.mask * draw.normal(size=design.mediators.mask.shape)
    design = design._replace(
        y=jnp.asarray(draw.normal(0.0, 0.5, design.y.shape)), mediators=design.mediators._replace(seen=seen)
    )
    return Case(spec, design, _said(spec, design, stream(9, "outcomes", name)))


def scatter(spec: Spec, p: Parameters, design: Design, place: int) -> np.ndarray:
    """Covariance of the innovations of one location: (T, O, O)."""
    size, time = layout(spec).outcomes, design.y.shape[0]
    own = slice(place * size, (place + 1) * size)
    scale, factor = np.diag(np.asarray(p.noise.sigma)[own]), np.asarray(p.noise.factor)
    ldl = spec.model.covariance is not None and spec.model.covariance.kind == "ldl"
    root = factor @ scale if ldl else scale @ factor
    error = np.asarray(design.error)[:, own] if design.error.shape[1] else np.zeros((time, size))
    return root @ root.T + np.stack([np.diag(row**2) for row in error])


def structure(of: Case, place: int) -> twin.Place:
    """One location as the reference takes it."""
    spec, p, design = of.spec, of.found.truth, of.design
    size, time = layout(spec).outcomes, design.y.shape[0]
    now, then = np.zeros((time, size, size)), np.zeros((time, size, size))
    for x, each in enumerate(layout(spec).cross):
        moved = float(p.cross.cross[x]) * np.asarray(design.promotion)[:, place, x]
        (then if each.lagged else now)[:, each.target, each.source] += moved
    return twin.Place(
        level=np.asarray(of.found.levels.outcome)[:, place * size : (place + 1) * size],
        built=np.asarray(of.found.levels.mediator)[:, place],
        rho=float(p.noise.rho),
        scatter=scatter(spec, p, design, place),
        gamma=np.asarray(p.mediation.mediator_effect),
        disturbance=np.asarray(p.mediation.mediator_noise),
        survey=np.asarray(p.mediation.survey_noise),
        now=now,
        then=then,
    )  # fmt: skip


class Vector(NamedTuple):
    """All a location can show as one vector, and when each entry is of."""

    law: twin.Normal
    values: np.ndarray
    period: np.ndarray
    shown: np.ndarray  # bool: an outcome, or a survey that was made
    outcome: np.ndarray  # bool


@lru_cache(maxsize=2 * len(CASES))
def vector(name: str, place: int) -> Vector:
    of = case(name)
    size, (time, _, extra) = layout(of.spec).outcomes, of.found.levels.mediator.shape
    y = np.asarray(of.design.y)[:, place * size : (place + 1) * size]
    seen, mask = np.zeros((time, extra)), np.zeros((time, extra))
    if of.design.mediators.mask.shape[2]:
        seen, mask = np.asarray(of.design.mediators.seen)[:, place], np.asarray(of.design.mediators.mask)[:, place]
    return Vector(
        law=twin.whole(structure(of, place)),
        values=np.concatenate([y.ravel(), seen.ravel()]),
        period=np.concatenate([np.repeat(np.arange(time), size), np.repeat(np.arange(time), extra)]),
        shown=np.concatenate([np.ones(y.size, bool), mask.ravel() > 0.0]),
        outcome=np.arange(y.size + seen.size) < y.size,
    )


@pytest.mark.parametrize("name", CASES)
def test_the_density_of_each_beginning_is_that_of_the_whole_covariance(name: str) -> None:
    of = case(name)
    for place in range(layout(of.spec).locations):
        v = vector(name, place)
        found = np.cumsum(np.asarray(of.found.log_likelihood)[:, place])
        # past the origin nobody sees a mediator: where it is declared to be seen always, nothing is said there
        last = ORIGIN if of.spec.model.mediators and of.spec.model.conditional else v.period.max() + 1
        for until in (1, 2, 3, 9, ORIGIN, last):
            kept = np.flatnonzero(v.shown & (v.period < until))
            expected = twin.log_normal(v.values[kept] - v.law.mean[kept], v.law.covariance[np.ix_(kept, kept)])
            assert math.isclose(found[until - 1], expected, rel_tol=1e-9, abs_tol=1e-9), (place, until)


@pytest.mark.parametrize("name", CASES)
def test_one_step_predictions_are_the_conditional_means_and_variances(name: str) -> None:
    of = case(name)
    size = layout(of.spec).outcomes
    variance = np.broadcast_to(np.asarray(of.found.variance), of.design.y.shape)
    for place in range(layout(of.spec).locations):
        v = vector(name, place)
        own = slice(place * size, (place + 1) * size)
        for t in (1, 2, 7, ORIGIN):
            wanted = np.flatnonzero(v.outcome & (v.period == t))
            known = np.flatnonzero(v.shown & (v.period < t))
            law = twin.given(v.law, wanted, known, v.values[known])
            np.testing.assert_allclose(of.found.one_step[t, own], law.mean, rtol=1e-8, atol=1e-9)
            np.testing.assert_allclose(variance[t, own], np.diag(law.covariance), rtol=1e-8)


@pytest.mark.parametrize("name", ["portfolio with errors carried on", "mediated", "everything"])
def test_paths_have_the_mean_and_the_covariance_of_the_future_given_the_past(name: str) -> None:
    of = case(name)
    spec, horizon, size = of.spec, of.spec.backtest.horizon, layout(of.spec).outcomes
    path = partial(model.simulate, spec, of.found.truth, of.design, jnp.asarray(ORIGIN), horizon)
    draws = np.asarray(jax.jit(lambda keys: jax.lax.map(path, keys))(jax.random.split(stream(2, name), PATHS)))
    for place in range(layout(spec).locations):
        v = vector(name, place)
        wanted = np.flatnonzero(v.outcome & (v.period >= ORIGIN) & (v.period < ORIGIN + horizon))
        known = np.flatnonzero(v.shown & (v.period < ORIGIN))
        law = twin.given(v.law, wanted, known, v.values[known])
        found = draws[:, :, place * size : (place + 1) * size].reshape(PATHS, -1)
        sd = np.sqrt(np.diag(law.covariance))
        assert np.all(np.abs(found.mean(axis=0) - law.mean) < SURE * sd / math.sqrt(PATHS))
        # the variance of a product of two normals is the product of variances plus the squared covariance
        error = np.sqrt((np.outer(sd, sd) ** 2 + law.covariance**2) / PATHS)
        assert np.all(np.abs(np.cov(found.T) - law.covariance) < SURE * error)


@pytest.mark.parametrize("name", ["mediated", "surveyed", "latent", "combined", "several mediators", "everything"])
def test_direct_and_indirect_effects_add_up_to_the_total(name: str) -> None:
    """The total: what is expected less what were expected had the channel never spent."""
    of = case(name)
    p, size = of.found.truth, layout(of.spec).outcomes
    total = np.asarray(of.found.mean - of.found.silent)
    spent = np.asarray(of.found.response)[:, :, 0]  # (T, L), 0 without spend
    through = sum(
        float(p.mediation.path[n, 0]) * np.asarray(p.mediation.mediator_effect[n])
        for n in range(p.mediation.path.shape[0])
    )
    for place in range(layout(of.spec).locations):
        own = slice(place * size, (place + 1) * size)
        direct = np.asarray(p.media.beta)[own, 0]
        each = structure(of, place)
        before = np.zeros(size)
        for t in range(total.shape[0]):
            right = spent[t, place] * (direct + through) + each.then[t] @ before
            before = np.linalg.solve(np.eye(size) - each.now[t], right)
            np.testing.assert_allclose(total[t, own], before, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", ["mediated", "several mediators"])
def test_a_mediator_is_at_its_level_where_media_are_as_usual(name: str) -> None:
    of = case(name)
    p, built = of.found.truth.mediation, np.asarray(of.found.levels.mediator)[:ORIGIN]
    usual = np.broadcast_to(np.asarray(p.mediator_level), built.shape[1:])
    np.testing.assert_allclose(built.mean(axis=0), usual, atol=1e-12)
    assert np.all(built.std(axis=0) > 0.0)


@pytest.mark.parametrize("name", ["simultaneous", "combined", "everything"])
def test_outcomes_that_move_each_other_solve_their_own_equation(name: str) -> None:
    of = case(name)
    y, level, size = np.asarray(of.found.mean), np.asarray(of.found.levels.outcome), layout(of.spec).outcomes
    for place in range(layout(of.spec).locations):
        own = slice(place * size, (place + 1) * size)
        each = structure(of, place)
        for t in range(y.shape[0]):
            before = y[t - 1, own] if t else np.zeros(size)
            right = level[t, own] + each.now[t] @ y[t, own] + each.then[t] @ before
            np.testing.assert_allclose(y[t, own], right, rtol=1e-9, atol=1e-11)
    assert not np.allclose(y, level)


def test_without_promotion_nothing_is_cannibalised_and_with_it_the_other_loses() -> None:
    of = case("everything")
    places, p = layout(of.spec), of.found.truth.cross
    still = p._replace(cross=p.cross * jnp.asarray([1.0, 0.0, 0.0]))
    more = jnp.zeros(of.design.y.shape).at[:, 0::2].set(1.0)  # sales
    moved = np.asarray(cross.propagated(places, still, more, of.design.promotion))
    on = np.asarray(of.design.promotion)[:, :, 0] > 0.0
    assert on.any()
    assert not on.all()
    assert np.all(moved[:, 0::2] == 1.0)
    assert np.all(moved[:, 1::2][on] < 0.0)
    assert np.all(moved[:, 1::2][~on] == 0.0)


def test_a_survey_is_of_the_mediator_it_names_and_a_latent_one_has_none() -> None:
    spec = case("several mediators").spec
    panel = classes.panel(spec, seed=5)
    found = build(panel, spec, ORIGIN)[0].mediators
    seen, mask = (np.asarray(each)[:ORIGIN] for each in (found.seen, found.mask))
    assert not np.any(mask[:, :, 0])
    for n, column in ((1, 1), (2, 0)):  # visits and awareness, which the table has in another order
        surveyed = panel.mediators[:ORIGIN, :, column]
        shown = ~np.isnan(surveyed)
        assert np.array_equal(mask[:, :, n] > 0.0, shown)
        values = surveyed[shown]
        np.testing.assert_allclose(seen[:, :, n][shown], (values - values.mean()) / values.std(), rtol=1e-9)


def test_what_was_not_surveyed_says_nothing() -> None:
    of = case("surveyed")
    ahead = of.design.mediators.mask
    wild = of.design.mediators._replace(seen=jnp.where(ahead > 0.0, of.design.mediators.seen, 1e6))
    program = jax.jit(model.log_likelihood, static_argnums=0)
    there = program(of.spec, of.found.truth, of.design)
    assert program(of.spec, of.found.truth, of.design._replace(mediators=wild)).tolist() == there.tolist()


def test_a_correlation_of_zero_is_no_correlation() -> None:
    of = case("portfolio")
    places, declared = layout(of.spec), of.spec.model
    p = of.found.truth.noise._replace(factor=jnp.eye(2))
    none = of.found.truth.mediation
    empty = jnp.zeros((*of.design.promotion.shape[:2], 0))
    innovation = jnp.asarray(np.random.default_rng(1).normal(size=of.design.y.shape))
    together = noise.joint_log_density(declared, places, p, none, innovation, empty, empty, of.design.error)
    each = noise.log_density(declared, p, innovation, of.design.error)
    np.testing.assert_allclose(together, each.reshape(*together.shape, 2).sum(axis=-1), rtol=1e-12)
