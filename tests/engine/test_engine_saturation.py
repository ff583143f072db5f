"""Laws of diminishing returns: every registered kind meets every one of them, beside a slow twin from the textbook."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import Array
from numpyro.handlers import seed, trace
from pydantic import TypeAdapter, ValidationError

from engine.adstock import lagged
from engine.prng import stream
from engine.saturation import SATURATIONS, half_saturation, sample_saturation, saturated, slope
from engine.spec_transforms import Saturation
from tests import reference_transforms as twin

POINTS, CHANNELS = 8, 2
PRIORS: dict[str, dict[str, float]] = {
    "logistic": {"shape": 2.0, "rate": 1.0},
    "logistic_symmetric": {"shape": 2.0, "rate": 1.0},
    "hill": {"k_median": 1.0, "k_sd": 0.5, "s_median": 1.5, "s_sd": 0.4},
    "tanh": {"c_median": 1.5, "c_sd": 0.5},
    "michaelis_menten": {"k_median": 1.0, "k_sd": 0.7},
    "root": {"p_a": 3.0, "p_b": 3.0},
}
KINDS = sorted(SATURATIONS)
BOUNDED = sorted(set(KINDS) - {"root"})
WITHIN = {"lam": (0.01, 10.0), "k": (0.05, 10.0), "s": (0.3, 5.0), "c": (0.05, 10.0), "p": (0.05, 0.95)}
EXTREME = {
    "lam": (1e-12, 1.0, 1e6),
    "k": (1e-12, 1.0, 1e12),
    "s": (1e-3, 1.0, 200.0),
    "c": (1e-6, 1.0, 1e6),
    "p": (1e-6, 0.5, 1.0 - 2.0**-53),
}
AMOUNT = st.one_of(st.just(0.0), st.floats(1e-6, 50.0))
SPENDS = st.lists(AMOUNT, min_size=POINTS, max_size=POINTS)
SHARES = st.lists(st.floats(0.0, 1.0), min_size=2 * CHANNELS, max_size=2 * CHANNELS)  # where in WITHIN
LAW = settings(max_examples=25, deadline=None, derandomize=True)
ULP = 2.0**-52
all_kinds = pytest.mark.parametrize("kind", KINDS)


def declared(kind: str, shared: bool = False) -> Saturation:
    """A specification of the kind."""
    spec: Saturation = TypeAdapter(Saturation).validate_python({"kind": kind, "shared": shared, **PRIORS[kind]})
    return spec


@cache
def compiled(kind: str, what: Callable[..., Array] = saturated) -> Callable[[Array, Array], Array]:
    """(POINTS, channel), (Q, channel) -> `what` of them."""
    spec = declared(kind)
    return jax.jit(lambda x, parameters: what(spec, x, parameters))


def placed(kind: str, shares: list[float]) -> Array:
    """(Q, CHANNELS) parameters, each that share of the way through its range."""
    rows = SATURATIONS[kind].parameters
    at = np.asarray(shares)[: len(rows) * CHANNELS].reshape(len(rows), CHANNELS)
    ranges = [WITHIN[row] for row in rows]
    return jnp.asarray([[low + (high - low) * v for v in row] for (low, high), row in zip(ranges, at, strict=True)])


def one(kind: str, x: list[float], parameters: Array, what: Callable[..., Array] = saturated) -> list[float]:
    """The first channel; the other spends the same."""
    spend = jnp.broadcast_to(jnp.asarray(x)[:, None], (POINTS, CHANNELS))
    found: list[float] = compiled(kind, what)(spend, parameters)[:, 0].tolist()
    return found


def corners(kind: str) -> Array:
    """(Q, corner) every combination of extreme parameters."""
    return jnp.asarray(list(itertools.product(*(EXTREME[row] for row in SATURATIONS[kind].parameters)))).T


def test_every_kind_is_declared_and_every_declared_kind_is_registered() -> None:
    assert sorted(PRIORS) == KINDS
    for kind in KINDS:
        assert declared(kind).kind == kind
        with pytest.raises(ValidationError):
            TypeAdapter(Saturation).validate_python({"kind": kind, "shared": False, **PRIORS[kind], "more": 1.0})


@all_kinds
@LAW
@given(x=SPENDS, shares=SHARES)
def test_curves_agree_with_the_textbook(kind: str, x: list[float], shares: list[float]) -> None:
    parameters = placed(kind, shares)
    expected = [twin.curve(kind, parameters[:, 0].tolist(), v) for v in x]
    np.testing.assert_allclose(one(kind, x, parameters), expected, rtol=1e-12, atol=1e-15)


@all_kinds
@LAW
@given(x=SPENDS, shares=SHARES)
def test_more_spend_never_means_less_effect_nor_more_than_all(kind: str, x: list[float], shares: list[float]) -> None:
    effect = np.asarray(one(kind, sorted(x), placed(kind, shares)))
    assert np.all(np.diff(effect) >= -ULP * np.maximum(effect[1:], 1.0))
    assert np.all(effect >= 0.0)
    assert kind not in BOUNDED or np.all(effect <= 1.0)


@all_kinds
def test_no_spend_has_no_effect(kind: str) -> None:
    assert saturated(declared(kind), jnp.zeros((4, corners(kind).shape[1])), corners(kind)).tolist() == (
        np.zeros((4, corners(kind).shape[1])).tolist()
    )


@pytest.mark.parametrize("kind", BOUNDED)
def test_enough_spend_has_all_of_the_effect(kind: str) -> None:
    parameters = placed(kind, [0.5] * 4)
    found = saturated(declared(kind), jnp.full((1, CHANNELS), 1e15), parameters)
    np.testing.assert_allclose(found, 1.0, rtol=1e-12)


@all_kinds
def test_gradients_are_finite_however_extreme_spend_and_parameters(kind: str) -> None:
    parameters = corners(kind)
    x = jnp.asarray([0.0, 1e-300, 1e-9, 1.0, 1e9])[:, None] * jnp.ones(parameters.shape[1])
    value, gradients = jax.value_and_grad(lambda x, q: jnp.sum(saturated(declared(kind), x, q)), argnums=(0, 1))(
        x, parameters
    )
    assert bool(jnp.isfinite(value))
    assert all(bool(jnp.all(jnp.isfinite(gradient))) for gradient in gradients)


@all_kinds
def test_the_gradient_by_parameters_is_zero_where_nothing_is_spent(kind: str) -> None:
    parameters = placed(kind, [0.3, 0.8, 0.6, 0.1])
    gradient = jax.grad(lambda q: jnp.sum(saturated(declared(kind), jnp.zeros((3, CHANNELS)), q)))(parameters)
    assert gradient.tolist() == jnp.zeros_like(parameters).tolist()


@all_kinds
@LAW
@given(x=st.lists(st.floats(1e-3, 5.0), min_size=POINTS, max_size=POINTS), shares=SHARES)
def test_the_slope_is_the_derivative(kind: str, x: list[float], shares: list[float]) -> None:
    parameters = placed(kind, shares)
    found = one(kind, x, parameters, slope)
    by_hand = [twin.slope(kind, parameters[:, 0].tolist(), v) for v in x]
    np.testing.assert_allclose(found, by_hand, rtol=1e-6, atol=1e-9)
    spend = jnp.broadcast_to(jnp.asarray(x)[:, None], (POINTS, CHANNELS))
    traced = jax.grad(lambda x: jnp.sum(compiled(kind)(x, parameters)))(spend)[:, 0]
    np.testing.assert_allclose(found, traced, rtol=1e-12, atol=1e-12)


@all_kinds
def test_the_slope_at_no_spend_is_its_limit(kind: str) -> None:
    parameters = placed(kind, [0.5, 0.2, 0.9, 0.4])
    near = slope(declared(kind), jnp.full(CHANNELS, 1e-12), parameters)
    at = slope(declared(kind), jnp.zeros(CHANNELS), parameters)
    if kind == "root":
        assert at.tolist() == [math.inf] * CHANNELS
    else:
        np.testing.assert_allclose(at, near, rtol=1e-9, atol=1e-3)


def test_the_slope_of_hill_at_no_spend_is_zero_finite_or_infinite_by_its_shape() -> None:
    parameters = jnp.asarray([[2.0, 2.0, 2.0], [0.5, 1.0, 1.5]])
    assert slope(declared("hill"), jnp.zeros(3), parameters).tolist() == [math.inf, 0.5, 0.0]


@pytest.mark.parametrize("kind", BOUNDED)
@LAW
@given(shares=SHARES)
def test_half_of_the_effect_is_reached_at_half_saturation(kind: str, shares: list[float]) -> None:
    parameters = placed(kind, shares)
    found = half_saturation(declared(kind), parameters)
    assert found.shape == (CHANNELS,)
    assert math.isclose(float(found[0]), twin.half(kind, parameters[:, 0].tolist()), rel_tol=1e-12)
    np.testing.assert_allclose(saturated(declared(kind), found, parameters), 0.5, rtol=1e-12)


def test_a_root_never_reaches_half_of_what_it_has_no_end_of() -> None:
    assert half_saturation(declared("root"), placed("root", [0.5] * 4)).tolist() == [math.inf] * CHANNELS


@all_kinds
def test_a_lag_axis_is_saturated_as_the_spend_it_is_made_of(kind: str) -> None:
    spend = jnp.asarray(np.random.default_rng(1).uniform(0.0, 3.0, (POINTS, 2, CHANNELS))).at[3, 0, 0].set(0.0)
    parameters, spec = placed(kind, [0.3, 0.8, 0.6, 0.1]), declared(kind)
    after = saturated(spec, lagged(spend, 4), parameters[..., None])
    before = lagged(saturated(spec, spend, parameters), 4)
    assert after.shape == (POINTS, 2, CHANNELS, 4)
    np.testing.assert_allclose(after, before, rtol=1e-14)


@all_kinds
def test_channels_do_not_touch(kind: str) -> None:
    x = jnp.asarray(np.random.default_rng(2).uniform(0.1, 3.0, (POINTS, CHANNELS)))
    parameters = placed(kind, [0.3, 0.8, 0.6, 0.1])
    before, after = (compiled(kind)(x, q) for q in (parameters, parameters.at[:, 1].multiply(0.5)))
    assert before[:, 0].tolist() == after[:, 0].tolist()
    assert before[:, 1].tolist() != after[:, 1].tolist()


@all_kinds
def test_compiled_anew_the_bytes_are_the_same(kind: str) -> None:
    x = jnp.asarray(np.random.default_rng(3).uniform(0.0, 3.0, (POINTS, CHANNELS)))
    parameters = placed(kind, [0.3, 0.8, 0.6, 0.1])

    def run() -> bytes:
        spec = declared(kind)
        value = jax.jit(jax.value_and_grad(lambda x, q: jnp.sum(saturated(spec, x, q) ** 2), argnums=(0, 1)))
        return b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(value(x, parameters)))

    assert run() == run()


@all_kinds
def test_draws_from_the_prior_are_sane(kind: str) -> None:
    spec = declared(kind)
    drawn = seed(sample_saturation, stream(1, "saturation", kind))(spec, 4000)
    rows = SATURATIONS[kind].parameters
    assert drawn.shape == (len(rows), 4000)
    assert bool(jnp.all(jnp.isfinite(drawn) & (drawn > 0.0)))
    assert all(len(set(row.tolist())) == 4000 for row in drawn)
    at_mean = saturated(spec, jnp.ones(4000), drawn)
    assert bool(jnp.all((at_mean >= 0.0) & (at_mean <= 1.0)))
    if kind in BOUNDED:
        half = jnp.sort(half_saturation(spec, drawn))
        assert float(half[200]) > 0.1  # 90 % within a tenth and ten times of mean spend
        assert float(half[3800]) < 10.0


@pytest.mark.parametrize(("kind", "row", "median"), [("hill", 0, 1.0), ("hill", 1, 1.5), ("tanh", 0, 1.5)])
def test_a_log_normal_has_the_declared_median_and_sd(kind: str, row: int, median: float) -> None:
    logs = jnp.log(seed(sample_saturation, stream(2, "saturation", kind))(declared(kind), 20_000)[row])
    sd = PRIORS[kind][f"{SATURATIONS[kind].parameters[row]}_sd"]
    assert abs(float(jnp.mean(logs)) - math.log(median)) < 4.0 * sd / math.sqrt(20_000)
    assert abs(float(jnp.std(logs)) - sd) < 4.0 * sd / math.sqrt(40_000)


@all_kinds
def test_a_shared_parameter_is_one_draw_for_all_channels(kind: str) -> None:
    apart, shared = (trace(seed(sample_saturation, stream(1))).get_trace(declared(kind, s), 3) for s in (False, True))
    sites = [f"saturation_{row}" for row in SATURATIONS[kind].parameters]
    assert list(apart) == sites
    assert list(shared) == sites
    assert [apart[site]["value"].shape for site in sites] == [(3,)] * len(sites)
    assert [shared[site]["value"].shape for site in sites] == [(1,)] * len(sites)
    none = trace(seed(sample_saturation, stream(1))).get_trace(declared(kind, True), 0)
    assert not none
    drawn = seed(sample_saturation, stream(1))(declared(kind, True), 3)
    assert drawn.shape == (len(sites), 3)
    assert bool(jnp.all(drawn == drawn[:, :1]))


def test_logistic_bytes_are_those_of_the_released_engine() -> None:
    def released(x: Array, lam: Array) -> Array:  # as version 0.1.0 had it
        return 1.0 - jnp.exp(-lam * x)

    x, lam = jnp.asarray(np.random.default_rng(5).uniform(0.0, 3.0, (50, CHANNELS))), jnp.asarray([0.7, 2.0])
    old = jax.jit(jax.value_and_grad(lambda q: jnp.sum(released(x, q) ** 2)))(lam)
    new = jax.jit(jax.value_and_grad(lambda q: jnp.sum(saturated(declared("logistic"), x, q[None]) ** 2)))(lam)
    assert [np.asarray(v).tobytes() for v in old] == [np.asarray(v).tobytes() for v in new]


@LAW
@given(x=SPENDS, shares=SHARES)
def test_the_known_special_cases_hold(x: list[float], shares: list[float]) -> None:
    k = placed("michaelis_menten", shares)
    spend = jnp.broadcast_to(jnp.asarray(x)[:, None], (POINTS, CHANNELS))
    reach = compiled("michaelis_menten")(spend, k)
    np.testing.assert_allclose(compiled("hill")(spend, jnp.concatenate([k, jnp.ones_like(k)])), reach, rtol=1e-12)
    # (1 - e^-lx) / (1 + e^-lx) = tanh(l x / 2)
    symmetric = compiled("logistic_symmetric")(spend, 2.0 / k)
    np.testing.assert_allclose(symmetric, compiled("tanh")(spend, k), rtol=1e-12, atol=1e-15)
