"""Laws of carry-over and saturation, beside slow twins from the textbook."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.transforms import geometric_adstock, lagged, logistic_saturation
from tests import reference_media as twin

LAGS = 4
TIME = 12
AMOUNT = st.one_of(st.just(0.0), st.floats(1e-6, 1e6))  # no spend, or some: never a subnormal number
SPEND = st.lists(AMOUNT, min_size=TIME, max_size=TIME)
ALPHA = st.floats(0.01, 0.99)
LAW = settings(max_examples=30, deadline=None, derandomize=True)


def carried(x: list[float], alpha: float, lags: int = LAGS) -> list[float]:
    """One channel at one location."""
    spend = jnp.asarray(x)[:, None, None]
    found: list[float] = geometric_adstock(lagged(spend, lags), jnp.asarray([alpha]))[:, 0, 0].tolist()
    return found


def test_lags_are_shifts_with_nothing_before_the_start() -> None:
    found = lagged(jnp.asarray([[1.0], [2.0], [3.0]]), 3)
    assert found[:, 0].tolist() == [[1.0, 0.0, 0.0], [2.0, 1.0, 0.0], [3.0, 2.0, 1.0]]


def test_one_lag_is_the_series_itself() -> None:
    x = jnp.arange(6.0).reshape(3, 2)
    assert lagged(x, 1)[..., 0].tolist() == x.tolist()
    assert carried([3.0, 0.0, 5.0], 0.7, lags=1) == [3.0, 0.0, 5.0]


@LAW
@given(SPEND, ALPHA)
def test_adstock_agrees_with_the_textbook(x: list[float], alpha: float) -> None:
    np.testing.assert_allclose(carried(x, alpha), twin.adstock(x, alpha, LAGS), rtol=1e-13, atol=1e-300)


@LAW
@given(AMOUNT, ALPHA)
def test_constant_spend_carries_over_to_itself(level: float, alpha: float) -> None:
    np.testing.assert_allclose(carried([level] * TIME, alpha)[LAGS - 1 :], level, rtol=1e-14)


@LAW
@given(SPEND, ALPHA, st.integers(1, TIME - 1), AMOUNT)
def test_later_spend_changes_nothing_before_it(x: list[float], alpha: float, when: int, other: float) -> None:
    changed = [*x[:when], other, *x[when + 1 :]]
    assert carried(changed, alpha)[:when] == carried(x, alpha)[:when]


@LAW
@given(SPEND, ALPHA, st.integers(-20, 20))
def test_scaling_spend_scales_what_is_carried_exactly(x: list[float], alpha: float, power: int) -> None:
    factor = 2.0**power  # exact in floating point
    assert carried([v * factor for v in x], alpha) == [v * factor for v in carried(x, alpha)]


@LAW
@given(SPEND, ALPHA)
def test_spend_is_forgotten_after_the_last_lag(x: list[float], alpha: float) -> None:
    silent = [*x[:3], *[0.0] * (TIME - 3)]
    assert carried(silent, alpha)[2 + LAGS :] == [0.0] * (TIME - 2 - LAGS)


def test_no_spend_has_no_effect() -> None:
    nothing = carried([0.0] * TIME, 0.5)
    assert nothing == [0.0] * TIME
    assert logistic_saturation(jnp.asarray(nothing), jnp.asarray(2.0)).tolist() == [0.0] * TIME


@LAW
@given(st.floats(0.0, 30.0), st.floats(0.01, 100.0))
def test_saturation_agrees_with_the_textbook(x: float, lam: float) -> None:
    found = float(logistic_saturation(jnp.asarray(x), jnp.asarray(lam)))
    assert math.isclose(found, twin.saturation(x, lam), rel_tol=1e-14, abs_tol=2.0**-52)


@LAW
@given(st.lists(st.floats(0.0, 1e3), min_size=6, max_size=6), st.floats(0.01, 100.0))
def test_more_spend_never_means_less_effect_nor_more_than_all(x: list[float], lam: float) -> None:
    effect = logistic_saturation(jnp.asarray(sorted(x)), jnp.asarray(lam))
    assert bool(jnp.all(jnp.diff(effect) >= 0.0))
    assert bool(jnp.all((effect >= 0.0) & (effect <= 1.0)))


@pytest.mark.parametrize("lam", [0.1, 1.0, 7.5])
def test_half_of_the_effect_is_reached_at_ln_2_over_lambda(lam: float) -> None:
    assert math.isclose(float(logistic_saturation(jnp.asarray(math.log(2.0) / lam), jnp.asarray(lam))), 0.5)
