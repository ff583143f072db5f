"""Simulated worlds have exactly the density that the model gives them, and go on as `model.simulate` says.

In its shocks z a Gaussian world is linear, y = m + J z, so its density is that of Normal(m, J J'), a whole matrix over
all periods, outcomes and surveys, which `model.log_likelihood` must equal to rounding.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from jax import Array
from scipy import stats

from engine import model
from engine.design import Design, build
from engine.model import Parameters
from engine.prng import stream
from engine.spec import Spec
from tests import classes, worlds
from tests.reference_outcomes import log_normal
from tests.worlds import Maker, Seen, Shocks, World

ORIGIN, PATHS = 12, 4000
BOTH_WAYS = {  # two simultaneous effects, so that the Jacobian counts, one under promotion, and a lagged one
    "data__controls": [classes.PRICE, classes.PROMOTION],
    "model__cross_effects": [
        {"source": "multipack", "target": "sales", "kind": "halo", "scale": 0.4, "promotion": None, "lagged": False},
        {
            "source": "sales", "target": "multipack", "kind": "cannibalisation", "scale": 0.4,
            "promotion": "promotion", "lagged": False,
        },
        {
            "source": "sales", "target": "multipack", "kind": "spillover", "scale": 0.4, "promotion": None,
            "lagged": True,
        },
    ],
    "model__residual": {"kind": "ar1", "scale": 0.9},
}  # fmt: skip
ERRORS = {  # of measurement, of two outcomes
    "data__errors": [
        {"name": "e1", "column": "E1", "unit": "USD"},
        {"name": "e2", "column": "E2", "unit": "USD"},
    ]
}
AWARENESS: dict[str, Any] = {
    "name": "awareness", "kind": "full", "channels": ["tv"], "outcomes": ["sales"], "path_scale": 1.0,
    "effect_scale": 0.2, "positive": True, "noise_scale": 0.5, "survey_scale": None,
}  # fmt: skip
BRAND = {**AWARENESS, "name": "brand", "kind": "latent", "positive": False}  # which nobody ever saw
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "given_errors": ("given_errors", {"model__residual": {"kind": "ar1", "scale": 0.9}}),
    "both_ways": ("modified_cholesky", BOTH_WAYS),
    "mediated": ("mediated", {"model__mediators": [BRAND, AWARENESS]}),
    "combined": ("combined", ERRORS),
}
SEEDS = (1, 2, 3)


class Law(NamedTuple):
    """Of everything a Gaussian world shows: first what is known, then the future; and what it did show."""

    mean: np.ndarray
    covariance: np.ndarray
    shown: np.ndarray
    known: int

    def left(self) -> np.ndarray:
        """What is known, less its mean."""
        return (self.shown - self.mean)[: self.known]


class Case(NamedTuple):
    """Worlds of one specification, and the programs that a test needs of it."""

    spec: Spec
    worlds: tuple[World, ...]
    laws: tuple[Law, ...]
    likelihood: Any
    one_step: Any


@pytest.fixture(scope="module", params=sorted(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    name, changes = CASES[request.param]
    spec = classes.spec(name, **changes)
    design, _ = build(worlds.panel(spec, 1, ORIGIN), spec, ORIGIN)
    maker = Maker(spec)
    made = tuple(maker.world(design, seed) for seed in SEEDS)
    laws = tuple(law(spec, maker, world) for world in made)
    likelihood = jax.jit(partial(model.log_likelihood, spec))
    return Case(spec, made, laws, likelihood, jax.jit(partial(one_step, spec)))


def one_step(spec: Spec, truth: Parameters, design: Design) -> tuple[Array, Array]:
    return model.one_step(spec, truth, design, design.y), model.noise_variance(spec, truth, design)


def law(spec: Spec, maker: Maker, world: World) -> Law:
    """By one world for every single shock."""
    expected = maker.expected(world.truth, world.design)
    mask = np.asarray(world.design.mediators.mask) > 0.0
    shocks = worlds.drawn_shocks(spec, world.truth, world.design, stream(1, "shapes"))
    none = Shocks(*(np.zeros(part.shape) for part in shocks))

    def vector(seen: Seen) -> np.ndarray:
        surveyed = seen.mediators[mask]
        return np.concatenate([seen.y[:ORIGIN].ravel(), surveyed, seen.y[ORIGIN:].ravel()])

    def show(given: Shocks) -> np.ndarray:
        return vector(worlds.outcomes(spec, world.truth, world.design, expected, given))

    middle = show(none)
    columns = []
    for field in ("innovation", "error", "disturbance", "survey"):
        part = getattr(none, field)
        for place in np.ndindex(*part.shape):
            one = part.copy()
            one[place] = 1.0
            columns.append(show(none._replace(**{field: one})) - middle)
    jacobian = np.stack(columns, axis=1)
    future = world.y[ORIGIN:].size
    shown = vector(Seen(world.y, np.asarray(world.design.mediators.seen)))
    return Law(middle, jacobian @ jacobian.T, shown, len(middle) - future)


def ahead(of: Law) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the future given what is known: of a normal vector's part given the rest."""
    past, cross = of.covariance[: of.known, : of.known], of.covariance[of.known :, : of.known]
    gain = np.linalg.solve(past, cross.T).T
    return of.mean[of.known :] + gain @ of.left(), of.covariance[of.known :, of.known :] - gain @ cross.T


def test_the_model_gives_a_world_the_density_it_was_made_with(case: Case) -> None:
    for world, of in zip(case.worlds, case.laws, strict=True):
        found = float(np.sum(np.asarray(case.likelihood(world.truth, world.design))[:ORIGIN]))
        exact = log_normal(of.left(), of.covariance[: of.known, : of.known])
        assert found == pytest.approx(exact, rel=1e-9, abs=1e-7)


def test_what_a_world_shows_scatters_as_much_as_its_law_says(case: Case) -> None:
    """The squared length of whitened residuals is chi-squared; over all worlds together."""
    square = sum(
        float(of.left() @ np.linalg.solve(of.covariance[: of.known, : of.known], of.left())) for of in case.laws
    )
    low, high = stats.chi2.ppf([0.0005, 0.9995], sum(of.known for of in case.laws))
    assert low < square < high


def test_paths_past_the_origin_have_the_law_of_a_world_whose_past_is_known(case: Case) -> None:
    """Mean and variance of what comes, given what is known."""
    world, of = case.worlds[0], case.laws[0]
    horizon = world.y.shape[0] - ORIGIN
    one = partial(model.simulate, case.spec, world.truth, world.design, np.asarray(ORIGIN), horizon)
    found = np.asarray(jax.jit(jax.vmap(one))(jax.random.split(stream(2, "paths"), PATHS))).reshape(PATHS, -1)
    mean, covariance = ahead(of)
    sd = np.sqrt(np.diag(covariance))
    assert np.max(np.abs(found.mean(axis=0) - mean) / sd) < 4.5 / math.sqrt(PATHS)
    ratio = found.var(axis=0, ddof=1) / sd**2
    assert np.max(np.abs(ratio - 1.0)) < 4.5 * math.sqrt(2.0 / PATHS)


def test_one_step_ahead_is_the_next_outcome_given_all_that_is_known(case: Case) -> None:
    """Its mean, and its noise variance."""
    for world, of in zip(case.worlds, case.laws, strict=True):
        mean, covariance = ahead(of)
        series = world.y.shape[1]
        found, noise = case.one_step(world.truth, world.design)
        assert np.asarray(found)[ORIGIN] == pytest.approx(mean[:series], rel=1e-8, abs=1e-8)
        variance = np.asarray(noise)[ORIGIN if noise.shape[0] > 1 else 0]
        assert variance == pytest.approx(np.diag(covariance)[:series], rel=1e-8)


@pytest.mark.parametrize("name", ["robust", "two_states"])
def test_other_laws_of_the_residual_have_their_density(name: str) -> None:
    """By the known shocks: each innovation's own density, and sqrt(1 - rho^2) of a stationary first residual."""
    spec = classes.spec(name)
    design, _ = build(worlds.panel(spec, 1, ORIGIN), spec, ORIGIN)
    world = Maker(spec).world(design, 1)
    shocks = worlds.drawn_shocks(spec, world.truth, design, stream(1, "world", "shocks"))
    noise = jax.tree.map(np.asarray, world.truth.noise)
    innovation = noise.sigma * shocks.innovation[:ORIGIN] + noise.gap * shocks.high[:ORIGIN]
    if name == "robust":
        each = stats.t(noise.nu, scale=noise.sigma).logpdf(innovation)
    else:
        low, high = (stats.norm(state * noise.gap, noise.sigma).pdf(innovation) for state in (0.0, 1.0))
        each = np.log((1.0 - noise.share) * low + noise.share * high)
    exact = np.sum(each) + innovation.shape[1] * 0.5 * math.log(1.0 - noise.rho**2)
    found = float(np.sum(np.asarray(model.log_likelihood(spec, world.truth, world.design))[:ORIGIN]))
    assert found == pytest.approx(exact, rel=1e-9)


def test_worlds_are_their_seeds_alone() -> None:
    spec = classes.spec("national")
    design, _ = build(worlds.panel(spec, 1, ORIGIN), spec, ORIGIN)
    maker = Maker(spec)
    first, again, other = (maker.world(design, seed).y for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()
