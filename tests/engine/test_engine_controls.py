"""Controls: what may be shrunk, in which order coefficients come back, what they add to the outcome."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
from numpyro.infer.util import potential_energy
from pydantic import ValidationError

from engine import controls
from engine.controls import DIMS, ControlParameters
from engine.selection import SELECTIONS
from engine.spec_controls import selection_faults
from tests.small_controls import PRIORS, columns, data, declared, horseshoe, lasso, prior_draws, spike_slab

SIGMA = jnp.asarray([0.1, 0.3])


def test_every_registered_prior_is_tested() -> None:
    assert [prior(3).kind for prior in PRIORS] == list(SELECTIONS)


@pytest.mark.parametrize(
    ("role", "reason"),
    [
        ("confounder", "(1 - s) gamma Cov(X, C) / Var(X)"),
        ("mediator", "belongs to model.mediators"),
    ],
)
def test_selection_on_what_media_touch_is_refused_with_the_reason(role: Any, reason: str) -> None:
    wrong = data((*columns("p", 2, "precision"), *columns("q", 1, role)))
    spec = declared(lasso(2).model_copy(update={"controls": ("p0", "q0")}))
    (fault,) = selection_faults(spec, wrong)
    assert reason in fault
    assert f"{role} q0" in fault


@pytest.mark.parametrize(("name", "reason"), [("tv", "media channel tv"), ("rain", "rain, which is no control")])
def test_selection_on_a_channel_or_a_stranger_is_refused(name: str, reason: str) -> None:
    spec = declared(lasso(1).model_copy(update={"controls": ("p0", name)}))
    (fault,) = selection_faults(spec, data(columns("p", 1, "precision")))
    assert reason in fault


def test_selection_on_precision_controls_is_not_refused() -> None:
    table = data((*columns("q", 1, "confounder"), *columns("p", 3, "precision")))
    assert selection_faults(declared(lasso(3), on=[("p0", "q0"), ("p1", "p2")]), table) == []
    assert selection_faults(declared(), table) == []


@pytest.mark.parametrize(
    ("pair", "locations", "reason"),
    [
        (("q0", "p0"), ("East",), "found a precision control"),
        (("q0", "q1"), ("East", "West"), "expected one location, found 2"),
        (("q0", "m0"), ("East",), "found m0: mediator"),
        (("tv", "q0"), ("East",), "found tv: no control of the table"),
    ],
)
def test_a_residual_that_leaves_confounding_is_refused(
    pair: tuple[str, str], locations: tuple[str, ...], reason: str
) -> None:
    roles = (*columns("q", 2, "confounder"), *columns("p", 1, "precision"), *columns("m", 1, "mediator"))
    table = data(roles, locations=locations)
    (fault,) = selection_faults(declared(on=[pair]), table)
    assert reason in fault


def test_a_confounder_may_be_the_residual_on_another_at_one_location() -> None:
    assert selection_faults(declared(on=[("q0", "q1")]), data(columns("q", 2, "confounder"))) == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: horseshoe(3, expected=3.0),
        lambda: spike_slab(3, spike_scale=0.5),
        lambda: spike_slab(3, temperature=0.001),
        lambda: lasso(3, penalty=0.0),
        lambda: lasso(0),
        lambda: declared(lasso(2).model_copy(update={"controls": ("p0", "p0")})),
        lambda: declared(on=[("a", "a")]),
        lambda: declared(on=[("a", "b"), ("a", "b")]),
        lambda: declared(on=[("a", "b"), ("b", "c")]),
        lambda: declared(on=[("a", "b"), ("a", "c")]),
    ],
)
def test_a_specification_that_contradicts_itself_is_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(ValidationError, match=r"expected|greater|at least"):
        make()


def test_residuals_on_two_controls_that_are_orthogonal_themselves_are_declared_in_order() -> None:
    assert len(declared(on=[("c", "a"), ("b", "a"), ("b", "c")]).orthogonalise) == 3


@pytest.mark.parametrize("prior", PRIORS)
def test_coefficients_come_back_in_the_tables_order(prior: Callable[[int], Any]) -> None:
    """Selection names places 4, 0, 2 of five, in this order; 1 and 3 are plain."""
    spec, fixed = declared(prior(3)), {"control": jnp.asarray([[1.0, 2.0], [3.0, 4.0]])}
    plain = prior_draws(spec, 5, (4, 0, 2), 2, SIGMA, 100.0, 8, fixed)
    sites = numpyro.handlers.trace(numpyro.handlers.seed(controls.sample, 0)).get_trace(
        spec, 5, (4, 0, 2), 2, SIGMA, jnp.asarray(100.0)
    )
    assert sites["control"]["value"].shape == (2, 2)
    assert np.array_equal(plain.control[:, [1, 3]], np.broadcast_to(fixed["control"], (8, 2, 2)))
    assert np.all(np.std(plain.control[:, [4, 0, 2]], axis=0) > 0.0)


@pytest.mark.parametrize("prior", PRIORS)
def test_the_k_th_named_control_has_the_k_th_shrinkage(prior: Callable[[int], Any]) -> None:
    """The first named control's standard draw is held at 0, or far out: its place in the table must show it."""
    site = {"horseshoe": "control_z", "spike_slab": "control_slab", "lasso": "control_unit"}[prior(3).kind]
    held = {site: jnp.asarray([[1e6], [0.0], [0.0]])}
    drawn = prior_draws(declared(prior(3)), 4, (3, 0, 1), 1, jnp.asarray(0.2), 100.0, 4, held)
    sizes = np.abs(np.asarray(drawn.control))[:, :, 0]
    assert np.array_equal(np.argmax(sizes, axis=1), [3, 3, 3, 3])


def test_a_confounder_is_not_shrunk_by_what_is_selected() -> None:
    """Its prior is Normal(0, scale^2), whatever the noise: sd of 4000 draws within 4 standard errors."""
    for prior in PRIORS:
        drawn = prior_draws(declared(prior(3), scale=0.7), 4, (0, 1, 2), 1, jnp.asarray(1e-6), 1e6, 4000)
        sd = float(np.std(drawn.control[:, 3, 0]))
        assert abs(sd - 0.7) < 4.0 * 0.7 / np.sqrt(2 * 4000)


def test_controls_add_the_sum_of_coefficient_times_control_in_every_series() -> None:
    draw = np.random.default_rng(5)
    z, gamma = draw.normal(size=(4, 3, 2)), draw.normal(size=(2, 2))
    none = jnp.zeros((0, 2))
    added = controls.effect(ControlParameters(jnp.asarray(gamma), none, none), jnp.asarray(z))
    assert added.shape == (4, 6)
    for t in range(4):
        for place in range(3):
            for o in range(2):
                expected = sum(z[t, place, c] * gamma[c, o] for c in range(2))
                assert float(added[t, place * 2 + o]) == pytest.approx(expected, rel=1e-14)


def test_without_controls_nothing_is_sampled_and_nothing_added() -> None:
    drawn = prior_draws(declared(), 0, (), 2, SIGMA, 10.0, 3)
    assert [field.shape for field in drawn] == [(3, 0, 2)] * 3
    one = ControlParameters(*(field[0] for field in drawn))
    assert np.array_equal(controls.effect(one, jnp.zeros((4, 3, 0))), np.zeros((4, 6)))


@pytest.mark.parametrize("prior", PRIORS)
def test_every_field_has_its_declared_dimensions(prior: Callable[[int], Any]) -> None:
    drawn = prior_draws(declared(prior(3)), 4, (0, 1, 3), 2, SIGMA, 50.0, 1)
    assert set(DIMS) == set(ControlParameters._fields)
    for name, field in zip(ControlParameters._fields, drawn, strict=True):
        assert field.ndim == 1 + len(DIMS[name])
        assert field.dtype == jnp.float64


@pytest.mark.parametrize("prior", PRIORS)
def test_equal_keys_give_equal_bytes(prior: Callable[[int], Any]) -> None:
    first, second = (prior_draws(declared(prior(3)), 3, (0, 1, 2), 2, SIGMA, 50.0, 4) for _ in range(2))
    assert [np.asarray(a).tobytes() for a in first] == [np.asarray(b).tobytes() for b in second]


@pytest.mark.parametrize("prior", PRIORS)
def test_the_gradient_is_finite_however_far_out(prior: Callable[[int], Any]) -> None:
    """On the unconstrained scale, at zero and at +-40 in every coordinate: log scales of e^40 and e^-40."""
    spec = declared(prior(3))

    def program() -> None:
        drawn = controls.sample(spec, 4, (0, 1, 2), 1, jnp.asarray(0.1), jnp.asarray(100.0))
        numpyro.factor("likelihood", -jnp.sum(jnp.tanh(drawn.control) ** 2))

    sites = numpyro.handlers.trace(numpyro.handlers.seed(program, 0)).get_trace()
    shapes = {name: site["value"].shape for name, site in sites.items() if not site["is_observed"]}
    gradient = jax.jit(jax.grad(lambda place: potential_energy(program, (), {}, place)))
    for far in (0.0, 1.0, -40.0, 40.0):
        found = gradient({name: jnp.full(shape, far) for name, shape in shapes.items()})
        assert all(bool(jnp.all(jnp.isfinite(value))) for value in found.values()), far
