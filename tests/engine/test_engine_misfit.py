"""Residuals of a right model are standard normal under every law of the noise, and every test of them keeps its level.

Each statistic against a slow twin; each p-value against its distribution over many draws of standard normal residuals.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import Array
from scipy import stats

from engine.learned import contraction
from engine.misfit import Along, Chances, Left, agreed, along, chances, holm, left, ranks
from engine.noise import NoiseParameters
from engine.pivot import standard
from engine.spec_checks import AfterFit
from tests import classes
from tests.drawn import parameters

TIME, PLACES, MANY = 60, 2, 4000
LIMITS = AfterFit(
    draws=40, level=0.05, lags=3, cycles=2.0, edge=6, leads=2, contraction=0.3, tangled=0.7, rising=0.3, memory=0.4,
    tail=0.01,
)  # fmt: skip
RHO = 0.4
LAW = settings(max_examples=40, deadline=None, derandomize=True)
RNG = np.random.default_rng(3)
SPEND = RNG.lognormal(0.0, 0.7, (TIME, PLACES, 2))
SPEND[10:15, 0, 0] = 0.0
RESPONSE = jnp.asarray(1.0 - np.exp(-SPEND))
NOISE = NoiseParameters(
    jnp.asarray(RHO), jnp.asarray([0.5, 2.0]), jnp.asarray(math.inf), jnp.zeros(2), jnp.zeros(()), jnp.eye(1)
)


class Case(NamedTuple):
    """One draw's statistics of z, by the engine."""

    tests: Along
    z: np.ndarray  # (T, S)
    left: Left


def mask() -> np.ndarray:
    """Two periods do not count."""
    full = np.ones(TIME)
    full[[20, 21]] = 0.0
    return full


@pytest.fixture(scope="module")
def case() -> Case:
    full = mask()
    tests = along(LIMITS, full, True, SPEND)
    z = np.random.default_rng(5).standard_normal((TIME, PLACES)) * full[:, None]
    return Case(tests, z, left(LIMITS, True, tests, jnp.asarray(z), NOISE, RESPONSE))


@pytest.fixture(scope="module", params=[True, False])
def many(request: pytest.FixtureRequest) -> tuple[bool, Chances]:
    """p-values of as many right models as MANY, and whether their residuals have a memory."""
    noise = NOISE if request.param else NOISE._replace(rho=jnp.zeros(()))
    tests = along(LIMITS, np.ones(TIME), True, SPEND)
    z = jnp.asarray(np.random.default_rng(7).standard_normal((MANY, TIME, PLACES)))

    def one(each: Array) -> Left:
        return left(LIMITS, request.param, tests, each, noise, RESPONSE)

    found = jax.jit(lambda all_of: jax.lax.map(one, all_of))(z)
    return request.param, chances(found, jnp.asarray(ranks(tests)))


def test_every_test_fails_a_right_model_as_rarely_as_it_says(many: tuple[bool, Chances]) -> None:
    """Within 4.5 standard errors of a share of MANY; beside what holds for long data, or is a bound, alone."""
    memory, each = many
    for name, p in each._asdict().items():
        for level in (0.01, 0.05, 0.2):
            share = np.mean(np.asarray(p) <= level, axis=0)
            slack = 4.5 * math.sqrt(level * (1.0 - level) / MANY)
            slack += {"box": 0.15 * level, "power": level**2, "split": memory * level}.get(name, 0.0)
            assert np.all(share <= level + slack), (name, level, share)
            if name != "split":
                assert np.all(share >= level - slack), (name, level, share)


def test_autocorrelation_is_ljung_and_boxs(case: Case) -> None:
    full = mask()
    for s in range(PLACES):
        z, total = case.z[:, s], 0.0
        for lag in range(1, LIMITS.lags + 1):
            together = sum(z[t] * z[t - lag] for t in range(lag, TIME))
            pairs = sum(full[t] * full[t - lag] for t in range(lag, TIME))
            total += (together / sum(z**2)) ** 2 / pairs
        count = full.sum()
        assert float(case.left.box[s]) == pytest.approx(count * (count + 2.0) * total)


def test_waves_are_those_of_the_discrete_fourier_transform(case: Case) -> None:
    for s in range(PLACES):
        power = np.abs(np.fft.rfft(case.z[:, s]))[2 : (TIME - 1) // 2 + 1] ** 2  # from two cycles on
        assert np.asarray(case.left.power[:, s]) == pytest.approx(power / power.sum())


def test_a_split_is_tested_as_a_regression_with_and_without_it(case: Case) -> None:
    full, t = mask(), np.arange(TIME)
    rows = (full * np.concatenate([[0.0], full[:-1]])).astype(bool)
    for s in range(PLACES):
        x = np.zeros(TIME)
        x[0] = case.z[0, s] / math.sqrt(1.0 - RHO**2)
        for i in range(1, TIME):
            x[i] = RHO * x[i - 1] + case.z[i, s]
        before = np.concatenate([[0.0], x[:-1]])
        for place, split in ((0, LIMITS.edge), (21, LIMITS.edge + 21), (-1, TIME - LIMITS.edge)):
            base = np.stack([np.ones(TIME), t, before], axis=1)[rows]
            whole = np.column_stack([base, (t >= split)[rows], np.maximum(t - split, 0)[rows]])
            rests = [x[rows] - a @ np.linalg.lstsq(a, x[rows], rcond=None)[0] for a in (base, whole)]
            squares = [float(rest @ rest) for rest in rests]
            degrees = rows.sum() - whole.shape[1]
            f = (squares[0] - squares[1]) / 2.0 / (squares[1] / degrees)
            assert float(case.left.split[place, s]) == pytest.approx(-stats.f.logsf(f, 2, degrees))


def _logs(spend: np.ndarray) -> np.ndarray:
    """(T, L) amounts where there are any, less their mean in each location."""
    logs = np.where(spend > 0.0, np.log(np.where(spend > 0.0, spend, 1.0)), 0.0)
    return np.where(spend > 0.0, logs - logs.sum(axis=0) / (spend > 0.0).sum(axis=0), 0.0)


def test_spend_to_come_is_free_of_spend_that_was(case: Case) -> None:
    ahead = np.asarray(case.tests.ahead)
    rows = [t for t in range(LIMITS.leads, TIME - LIMITS.leads) if mask()[t]]
    assert list(ranks(case.tests)) == [2, 1]  # the second is always on
    for m in range(2):
        kinds = [_logs(SPEND[:, :, m]), (SPEND[:, :, m] > 0.0).astype(float)][: 2 - m]
        for k, values in enumerate(kinds):
            direction = ahead[m, :, :, k]
            assert np.sum(direction**2) == pytest.approx(1.0)
            assert np.all(direction[[t for t in range(TIME) if t not in rows]] == 0.0)
            assert direction.sum(axis=0) == pytest.approx(np.zeros(PLACES), abs=1e-9)
            for lag in range(LIMITS.leads + 1):
                for was in kinds:
                    assert np.sum(direction[rows] * was[[t - lag for t in rows]]) == pytest.approx(0.0, abs=1e-9)
            assert np.sum(direction[rows] * values[[t + 1 for t in rows]]) > 0.0
            assert float(case.left.ahead[m, 0, k]) == pytest.approx(np.sum(direction * case.z))
    assert np.sum(ahead[0, :, :, 0] * ahead[0, :, :, 1]) == pytest.approx(0.0, abs=1e-9)


def test_spend_that_its_past_foretells_leaves_nothing_to_test() -> None:
    steady = np.full((TIME, 1, 1), 2.0)
    assert np.all(np.asarray(along(LIMITS, np.ones(TIME), True, steady).ahead) == 0.0)


def test_an_effect_that_moved_is_tested_as_a_regressor_in_each_series_own_noise(case: Case) -> None:
    full, t = mask()[:, None], np.arange(TIME)
    half = np.where(t < TIME // 2, -1.0, 1.0)

    def filtered(x: np.ndarray) -> np.ndarray:
        return np.concatenate([x[:1] * math.sqrt(1.0 - RHO**2), x[1:] - RHO * x[:-1]])

    for m in range(2):
        up, down = 0.0, 0.0
        for place, sigma in enumerate((0.5, 2.0)):
            f = np.asarray(RESPONSE)[:, place, m]
            base = filtered(np.stack([np.ones(TIME), t, half, f], axis=1)) * full
            turned = (filtered((f * half)[:, None]) * full)[:, 0]
            turned = turned - base @ np.linalg.lstsq(base, turned, rcond=None)[0]
            up += float(turned @ case.z[:, place]) / sigma
            down += float(turned @ turned) / sigma**2
        assert float(case.left.moved[m, 0]) == pytest.approx(up / math.sqrt(down))


@LAW
@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20))
def test_holm_is_a_bonferroni_of_what_is_left(p: list[float]) -> None:
    order = sorted(range(len(p)), key=lambda i: p[i])
    for i in range(len(p)):
        steps = [(len(p) - place) * p[k] for place, k in enumerate(order[: order.index(i) + 1])]
        assert holm(p)[i] == min(1.0, max(steps))


@LAW
@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20), st.integers(0, 19))
def test_draws_agree_on_no_less_than_half_of_their_p_values(p: list[float], place: int) -> None:
    together = float(agreed(jnp.asarray(p)))
    assert sum(2.0 * each <= together for each in p) * 2 >= len(p) or together == 1.0
    lower = [*p[: place % len(p)], 0.0, *p[place % len(p) + 1 :]]
    assert float(agreed(jnp.asarray(lower))) <= together


def test_contraction_of_normal_draws_is_one_less_the_ratio_of_variances() -> None:
    draws = np.random.default_rng(1).standard_normal(100_000)
    assert contraction(0.5 * draws + 3.0, 2.0 * draws) == pytest.approx(1.0 - 0.25**2, abs=1e-9)
    assert contraction(draws, np.zeros(5)) == 0.0


BETA = {"beta": jnp.zeros((2, 2)), "adstock": jnp.zeros((1, 2)), "saturation": jnp.zeros((1, 2))}
NONE = jnp.zeros((50, 0))


def _z(name: str, innovation: np.ndarray, error: Array = NONE, **noise: Any) -> np.ndarray:
    rest = {"level": jnp.zeros(2), "trend": jnp.zeros((1, 2)), "season": jnp.zeros((2, 1)), "event": jnp.zeros((1, 1))}
    usual = {
        "control": jnp.zeros((1, 1)), "rho": jnp.zeros(()), "nu": jnp.asarray(jnp.inf), "gap": jnp.zeros(2),
        "share": jnp.zeros(()), "sigma": jnp.asarray([0.5, 2.0]),
    }  # fmt: skip
    p = parameters(**{**BETA, **rest, **usual, **noise})
    return np.asarray(standard(classes.spec(name), p, error, jnp.asarray(innovation)))


DRAWN = np.random.default_rng(9).standard_normal((50, 2))


def test_heavy_tails_become_normal_scores() -> None:
    found = _z("robust", DRAWN, nu=jnp.asarray(3.0))
    assert found == pytest.approx(stats.norm.ppf(stats.t(3.0).cdf(DRAWN / [0.5, 2.0])))


def test_two_states_become_normal_scores() -> None:
    found = _z("two_states", DRAWN, gap=jnp.asarray([1.0, 3.0]), share=jnp.asarray(0.3))
    low, high = (stats.norm(state * np.asarray([1.0, 3.0]), [0.5, 2.0]).cdf(DRAWN) for state in (0.0, 1.0))
    assert found == pytest.approx(stats.norm.ppf(0.7 * low + 0.3 * high))


def test_a_given_error_adds_to_the_noise() -> None:
    error = np.abs(DRAWN[::-1])
    assert _z("given_errors", DRAWN, jnp.asarray(error)) == pytest.approx(
        DRAWN / np.sqrt(np.asarray([0.5, 2.0]) ** 2 + error**2)
    )


def test_correlated_outcomes_become_independent() -> None:
    """Of a location: sales and multipack, correlated, with the disturbance of a mediator in both."""
    of = classes.spec("combined", data__locations=["East"])
    sigma, gamma, disturbance = np.asarray([0.5, 2.0]), np.asarray([0.4, -0.3]), 0.7
    lower = np.asarray([[1.0, 0.0], [0.6, 0.8]])
    p = parameters(
        **BETA, level=jnp.zeros(2), trend=jnp.zeros((1, 2)), season=jnp.zeros((2, 2)), event=jnp.zeros((1, 2)),
        control=jnp.zeros((1, 2)), rho=jnp.zeros(()), nu=jnp.asarray(jnp.inf), gap=jnp.zeros(2), share=jnp.zeros(()),
        sigma=jnp.asarray(sigma), factor=jnp.asarray(lower), mediator_effect=jnp.asarray(gamma)[None],
        mediator_noise=jnp.asarray([disturbance]),
    )  # fmt: skip
    covariance = np.diag(sigma) @ lower @ lower.T @ np.diag(sigma) + disturbance**2 * np.outer(gamma, gamma)
    expected = np.linalg.solve(np.linalg.cholesky(covariance), DRAWN.T).T
    assert np.asarray(standard(of, p, NONE, jnp.asarray(DRAWN))) == pytest.approx(expected)


def test_a_residual_too_wild_for_a_probability_stays_finite() -> None:
    assert np.all(np.isfinite(_z("robust", 1e9 * DRAWN, nu=jnp.asarray(30.0))))


def test_a_channel_that_never_spent_has_no_direction() -> None:
    spend = SPEND.copy()
    spend[:, :, 1] = 0.0
    tests = along(LIMITS, np.ones(TIME), False, spend)
    z = jnp.asarray(np.random.default_rng(2).standard_normal((TIME, PLACES)))
    found = left(LIMITS, False, tests, z, NOISE, RESPONSE * jnp.asarray([1.0, 0.0]))
    assert list(ranks(tests)) == [2, 0]
    assert found.moved[1, 0] == 0.0
    assert abs(float(found.moved[0, 0])) > 0.0


def test_no_test_is_no_bound() -> None:
    assert holm([]) == []
