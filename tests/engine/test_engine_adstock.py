"""Laws of carry-over: every registered kind meets every one of them, beside a slow twin from the textbook."""

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

from engine.adstock import ADSTOCKS, carried, lagged, sample_adstock
from engine.prng import stream
from engine.spec_transforms import Adstock
from tests import reference_transforms as twin

LAGS, TIME, CHANNELS = 6, 16, 2
PRIORS: dict[str, dict[str, float]] = {
    "geometric": {"alpha_a": 3.0, "alpha_b": 3.0},
    "delayed": {"alpha_a": 3.0, "alpha_b": 3.0, "theta_a": 1.0, "theta_b": 1.0},
    "weibull_pdf": {"k_shape": 3.0, "k_rate": 1.5, "lam_shape": 3.0, "lam_rate": 1.0},
    "weibull_cdf": {"k_shape": 3.0, "k_rate": 3.0, "lam_shape": 3.0, "lam_rate": 1.0},
    "binomial": {"alpha_a": 3.0, "alpha_b": 3.0},
}
KINDS = sorted(ADSTOCKS)
WITHIN = {"alpha": (0.01, 0.99), "theta": (0.0, LAGS - 1.0), "k": (0.3, 6.0), "lam": (0.5, 12.0)}
EXTREME = {
    "alpha": (1e-300, 1e-5, 0.5, 1.0 - 2.0**-53),
    "theta": (0.0, 2.5, LAGS - 1.0),
    "k": (1e-6, 1.0, 50.0, 500.0),
    "lam": (1e-9, 0.5, 1.0, 20.0, 1e9),
}
AMOUNT = st.one_of(st.just(0.0), st.floats(1e-3, 1e3))
SPEND = st.lists(AMOUNT, min_size=TIME, max_size=TIME)
SHARES = st.lists(st.floats(0.0, 1.0), min_size=2 * CHANNELS, max_size=2 * CHANNELS)  # where in WITHIN
LAW = settings(max_examples=25, deadline=None, derandomize=True)
all_kinds = pytest.mark.parametrize("kind", KINDS)


def declared(kind: str, shared: bool = False, max_lag: int = LAGS) -> Adstock:
    """A specification of the kind."""
    values = {"kind": kind, "max_lag": max_lag, "shared": shared, **PRIORS[kind]}
    spec: Adstock = TypeAdapter(Adstock).validate_python(values)
    return spec


@cache
def compiled(kind: str, lags: int = LAGS) -> Callable[[Array, Array], Array]:
    """(TIME, location, channel), (P, channel) -> carried."""
    spec = declared(kind, max_lag=lags)
    return jax.jit(lambda x, parameters: carried(spec, lagged(x, lags), parameters))


def placed(kind: str, shares: list[float]) -> Array:
    """(P, CHANNELS) parameters, each that share of the way through its range."""
    rows = ADSTOCKS[kind].parameters
    at = np.asarray(shares)[: len(rows) * CHANNELS].reshape(len(rows), CHANNELS)
    ranges = [WITHIN[row] for row in rows]
    return jnp.asarray([[low + (high - low) * v for v in row] for (low, high), row in zip(ranges, at, strict=True)])


def one(kind: str, x: list[float], parameters: Array) -> list[float]:
    """The first channel, at one location; the other spends the same."""
    spend = jnp.broadcast_to(jnp.asarray(x)[:, None, None], (TIME, 1, CHANNELS))
    found: list[float] = compiled(kind)(spend, parameters)[:, 0, 0].tolist()
    return found


def test_every_kind_is_declared_and_every_declared_kind_is_registered() -> None:
    assert sorted(PRIORS) == KINDS
    assert all(declared(kind).kind == kind for kind in KINDS)
    for kind in KINDS:
        with pytest.raises(ValidationError):
            declared(kind, max_lag=53)


def test_lags_are_shifts_with_nothing_before_the_start() -> None:
    found = lagged(jnp.asarray([[1.0], [2.0], [3.0]]), 3)
    assert found[:, 0].tolist() == [[1.0, 0.0, 0.0], [2.0, 1.0, 0.0], [3.0, 2.0, 1.0]]
    x = jnp.arange(6.0).reshape(3, 2)
    assert lagged(x, 1)[..., 0].tolist() == x.tolist()


@all_kinds
@LAW
@given(x=SPEND, shares=SHARES)
def test_carried_spend_agrees_with_the_textbook(kind: str, x: list[float], shares: list[float]) -> None:
    parameters = placed(kind, shares)
    expected = twin.carried(kind, parameters[:, 0].tolist(), x, LAGS)
    np.testing.assert_allclose(one(kind, x, parameters), expected, rtol=1e-12, atol=1e-12 * max(x))


@all_kinds
@pytest.mark.parametrize("lags", [1, 2, 52])
def test_weights_agree_with_the_textbook_for_every_window(kind: str, lags: int) -> None:
    parameters = placed(kind, [0.3, 0.8, 0.6, 0.1])
    found = ADSTOCKS[kind].weights(parameters, lags)
    expected = [twin.weights(kind, parameters[:, m].tolist(), lags) for m in range(CHANNELS)]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


@all_kinds
def test_weights_are_shares_however_extreme_the_parameters(kind: str) -> None:
    corners = jnp.asarray(list(itertools.product(*(EXTREME[row] for row in ADSTOCKS[kind].parameters)))).T
    weights = ADSTOCKS[kind].weights(corners, LAGS)
    assert weights.shape == (corners.shape[1], LAGS)
    assert bool(jnp.all(weights >= 0.0))
    np.testing.assert_allclose(jnp.sum(weights, axis=-1), 1.0, rtol=1e-14)


@all_kinds
def test_gradients_are_finite_however_extreme_the_parameters(kind: str) -> None:
    corners = jnp.asarray(list(itertools.product(*(EXTREME[row] for row in ADSTOCKS[kind].parameters)))).T
    towards = jnp.cos(jnp.arange(LAGS))  # no weight counts like another
    gradient = jax.grad(lambda q: jnp.sum(ADSTOCKS[kind].weights(q, LAGS) * towards))(corners)
    assert bool(jnp.all(jnp.isfinite(gradient)))


@all_kinds
def test_gradients_are_finite_and_right_where_nothing_is_spent(kind: str) -> None:
    parameters = placed(kind, [0.3, 0.8, 0.6, 0.1])
    total = jax.grad(lambda x, q: jnp.sum(compiled(kind)(x, q)), argnums=(0, 1))
    by_spend, by_parameter = total(jnp.zeros((TIME, 1, CHANNELS)), parameters)
    np.testing.assert_allclose(by_spend[: TIME - LAGS], 1.0, rtol=1e-14)  # all of it acts within the window
    assert by_parameter.tolist() == jnp.zeros_like(parameters).tolist()


@all_kinds
def test_gradients_agree_with_differences(kind: str) -> None:
    spend = jnp.asarray([[[math.sin(t + m) ** 2] for m in range(CHANNELS)] for t in range(TIME)]).swapaxes(1, 2)
    parameters, h = placed(kind, [0.3, 0.8, 0.6, 0.4]), 1e-5

    def last(q: Array) -> Array:
        return jnp.sum(compiled(kind)(spend, q)[-1])

    gradient = jax.grad(last)(parameters)
    for place in np.ndindex(*parameters.shape):
        change = (last(parameters.at[place].add(h)) - last(parameters.at[place].add(-h))) / (2.0 * h)
        assert math.isclose(float(gradient[place]), float(change), rel_tol=1e-6, abs_tol=1e-8)
        assert abs(float(change)) > 1e-6  # every parameter matters


@all_kinds
@LAW
@given(level=AMOUNT, shares=SHARES)
def test_constant_spend_carries_over_to_itself(kind: str, level: float, shares: list[float]) -> None:
    np.testing.assert_allclose(one(kind, [level] * TIME, placed(kind, shares))[LAGS - 1 :], level, rtol=1e-14)


@all_kinds
@LAW
@given(x=SPEND, shares=SHARES, when=st.integers(1, TIME - 1), other=AMOUNT)
def test_later_spend_changes_nothing_before_it(
    kind: str, x: list[float], shares: list[float], when: int, other: float
) -> None:
    parameters = placed(kind, shares)
    assert one(kind, [*x[:when], other, *x[when + 1 :]], parameters)[:when] == one(kind, x, parameters)[:when]


@all_kinds
@LAW
@given(x=SPEND, shares=SHARES, power=st.integers(-20, 20))
def test_scaling_spend_scales_what_is_carried_exactly(
    kind: str, x: list[float], shares: list[float], power: int
) -> None:
    factor, parameters = 2.0**power, placed(kind, shares)  # exact in floating point
    assert one(kind, [v * factor for v in x], parameters) == [v * factor for v in one(kind, x, parameters)]


@all_kinds
def test_spend_is_forgotten_after_the_last_lag(kind: str) -> None:
    found = one(kind, [5.0, 0.0, 7.0, *[0.0] * (TIME - 3)], placed(kind, [0.9] * 4))
    assert found[1 + LAGS] > 0.0
    assert found[2 + LAGS :] == [0.0] * (TIME - 2 - LAGS)


@all_kinds
def test_channels_and_locations_do_not_touch(kind: str) -> None:
    spend = jnp.asarray(np.random.default_rng(3).uniform(0.0, 2.0, (TIME, 2, CHANNELS)))
    parameters = placed(kind, [0.3, 0.8, 0.6, 0.1])
    before = compiled(kind)(spend, parameters)
    after = compiled(kind)(spend.at[:, 1, 0].add(1.0), parameters.at[:, 1].multiply(0.5))
    assert before.shape == (TIME, 2, CHANNELS)
    assert after[:, 0, 0].tolist() == before[:, 0, 0].tolist()
    assert after[:, 1, 0].tolist() != before[:, 1, 0].tolist()
    assert after[:, 0, 1].tolist() != before[:, 0, 1].tolist()


@all_kinds
def test_compiled_anew_the_bytes_are_the_same(kind: str) -> None:
    spend = jnp.asarray(np.random.default_rng(4).uniform(0.0, 2.0, (TIME, 2, CHANNELS)))
    parameters = placed(kind, [0.3, 0.8, 0.6, 0.1])

    def run() -> bytes:
        spec = declared(kind)
        value = jax.jit(jax.value_and_grad(lambda q: jnp.sum(carried(spec, lagged(spend, LAGS), q) ** 2)))
        total, gradient = value(parameters)
        return bytes(np.asarray(total).tobytes() + np.asarray(gradient).tobytes())

    assert run() == run()


@all_kinds
def test_draws_from_the_prior_are_sane(kind: str) -> None:
    drawn = seed(sample_adstock, stream(1, "adstock", kind))(declared(kind), 4000)
    rows = ADSTOCKS[kind].parameters
    assert drawn.shape == (len(rows), 4000)
    for row, values in zip(rows, drawn, strict=True):
        assert bool(jnp.all(jnp.isfinite(values) & (values > 0.0)))
        assert len(set(values.tolist())) == 4000
        assert row != "alpha" or bool(jnp.all(values < 1.0))
        assert row != "theta" or bool(jnp.all(values < LAGS - 1.0))
    weights = ADSTOCKS[kind].weights(drawn, LAGS)
    mean_lag = jnp.sum(weights * jnp.arange(LAGS), axis=-1)
    assert bool(jnp.all(jnp.isfinite(weights)))
    assert 0.2 < float(jnp.mean(mean_lag)) < 3.0
    assert float(jnp.std(mean_lag)) > 0.2


@pytest.mark.parametrize(
    ("kind", "row", "mean"), [("delayed", 1, 2.5), ("weibull_pdf", 0, 2.0), ("weibull_cdf", 1, 3.0)]
)
def test_priors_have_the_declared_mean(kind: str, row: int, mean: float) -> None:
    drawn = seed(sample_adstock, stream(2, "adstock", kind))(declared(kind), 20_000)[row]
    assert abs(float(jnp.mean(drawn)) - mean) < 4.0 * float(jnp.std(drawn)) / math.sqrt(20_000)


@all_kinds
def test_a_shared_parameter_is_one_draw_for_all_channels(kind: str) -> None:
    apart, shared = (trace(seed(sample_adstock, stream(1))).get_trace(declared(kind, s), 3) for s in (False, True))
    sites = [f"adstock_{row}" for row in ADSTOCKS[kind].parameters]
    assert list(apart) == sites
    assert list(shared) == sites
    assert [apart[site]["value"].shape for site in sites] == [(3,)] * len(sites)
    assert [shared[site]["value"].shape for site in sites] == [(1,)] * len(sites)
    none = trace(seed(sample_adstock, stream(1))).get_trace(declared(kind, True), 0)
    assert not none
    drawn = seed(sample_adstock, stream(1))(declared(kind, True), 3)
    assert drawn.shape == (len(sites), 3)
    assert bool(jnp.all(drawn == drawn[:, :1]))


@pytest.mark.parametrize("kind", ["weibull_pdf", "weibull_cdf"])
def test_a_scale_far_below_one_period_leaves_nothing_to_carry(kind: str) -> None:
    short = jnp.asarray([[1.0, 3.0, 50.0, 500.0], [1e-4, 1e-9, 1e-9, 0.5]])
    assert ADSTOCKS[kind].weights(short, LAGS).tolist() == [[1.0, *[0.0] * (LAGS - 1)]] * 4


def test_geometric_bytes_are_those_of_the_released_engine() -> None:
    def released(x_lagged: Array, alpha: Array) -> Array:  # as version 0.1.0 had it
        lags = jnp.arange(x_lagged.shape[-1], dtype=x_lagged.dtype)
        weight = jnp.exp(lags * jnp.log(alpha)[:, None])
        return jnp.sum(x_lagged * (weight / jnp.sum(weight, axis=-1, keepdims=True)), axis=-1)

    x_lagged = lagged(jnp.asarray(np.random.default_rng(5).uniform(0.0, 2.0, (TIME, 2, CHANNELS))), LAGS)
    alpha = jnp.asarray([0.3, 0.8])
    spec = declared("geometric")
    old = jax.jit(jax.value_and_grad(lambda a: jnp.sum(released(x_lagged, a) ** 2)))(alpha)
    new = jax.jit(jax.value_and_grad(lambda a: jnp.sum(carried(spec, x_lagged, a[None]) ** 2)))(alpha)
    assert [np.asarray(v).tobytes() for v in old] == [np.asarray(v).tobytes() for v in new]


def test_the_known_special_cases_hold() -> None:
    alpha = jnp.asarray([[0.3, 0.7]])

    def weights(kind: str, *rows: object) -> Array:
        return ADSTOCKS[kind].weights(jnp.concatenate([jnp.broadcast_to(jnp.asarray(r), (1, 2)) for r in rows]), LAGS)

    geometric = weights("geometric", alpha)
    # a Weibull of shape 1 is an exponential of rate 1 / lam: its density decays by alpha = exp(-1 / lam)
    np.testing.assert_allclose(weights("weibull_pdf", 1.0, -1.0 / jnp.log(alpha)), geometric, rtol=1e-13)
    peaks = jnp.argmax(weights("delayed", alpha, jnp.asarray([[0.0, 3.0]])), axis=-1)
    assert peaks.tolist() == [0, 3]
    later = weights("weibull_pdf", 3.0, 4.0)[0].tolist()
    assert max(range(LAGS), key=later.__getitem__) == 2  # the mode of Weibull(3, 4) is 4 (2/3)^(1/3) = 3.49: lag 2 + 1
    np.testing.assert_allclose(weights("binomial", 0.5)[0], [(6 - lag) / 21 for lag in range(6)], rtol=1e-13)  # a line
    decays = [weights(kind, *rows)[0] for kind, rows in [("binomial", (0.3,)), ("weibull_cdf", (2.0, 3.0))]]
    assert all(bool(jnp.all(jnp.diff(decay) < 0.0)) for decay in decays)
