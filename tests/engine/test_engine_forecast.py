"""Quantiles are type 7, bands widen as AR(1) says, and one step ahead is averaged over draws."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import model as media_model
from engine.design import build
from engine.forecast import one_step, paths, point, quantiles
from engine.model import Parameters
from engine.prng import stream
from tests import reference_media as twin
from tests import small
from tests.drawn import at, parameters

SPEC = small.spec()
ORIGIN = 30
DESIGN, SCALES = build(small.panel(SPEC), SPEC, ORIGIN)
H = SPEC.backtest.horizon
PROBABILITIES = (0.0, 0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975, 1.0)
LAW = settings(max_examples=40, deadline=None, derandomize=True)
VALUES = st.lists(st.floats(-1e9, 1e9), min_size=24, max_size=24)


@LAW
@given(VALUES)
def test_quantiles_agree_with_exact_fractions_and_with_numpy(values: list[float]) -> None:
    found = np.asarray(quantiles(jnp.asarray(values)[:, None], PROBABILITIES))[:, 0]
    size = max(abs(v) for v in values)
    exact = [twin.quantile(values, p) for p in PROBABILITIES]
    np.testing.assert_allclose(found, exact, rtol=0.0, atol=len(values) * 2.0**-52 * size)
    np.testing.assert_allclose(found, np.quantile(values, PROBABILITIES), rtol=0.0, atol=len(values) * 2.0**-52 * size)


@LAW
@given(VALUES)
def test_quantiles_rise_with_their_probability_from_least_to_greatest(values: list[float]) -> None:
    found = quantiles(jnp.asarray(values)[:, None], PROBABILITIES)[:, 0].tolist()
    assert found == sorted(found)
    assert (found[0], found[-1]) == (min(values), max(values))


@LAW
@given(VALUES, st.randoms(use_true_random=False))
def test_the_order_of_draws_changes_no_bit(values: list[float], order: object) -> None:
    shuffled = list(values)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = (np.asarray(quantiles(jnp.asarray(v)[:, None], PROBABILITIES)) for v in (values, shuffled))
    assert one.tobytes() == other.tobytes()


def test_a_single_draw_is_all_its_quantiles() -> None:
    assert quantiles(jnp.asarray([[3.5]]), PROBABILITIES)[:, 0].tolist() == [3.5] * len(PROBABILITIES)


@pytest.mark.parametrize("seed", range(5))
def test_the_relative_median_has_the_least_percentage_error_of_all_draws(seed: int) -> None:
    values = np.random.default_rng(seed).lognormal(2.0, 0.7, size=(101, 2))
    found = np.asarray(point(jnp.asarray(values), "relative_median"))
    errors = np.mean(np.abs(values[:, None] - values[None]) / values[:, None], axis=0)  # (candidate, series)
    np.testing.assert_array_equal(found, np.take_along_axis(values, np.argmin(errors, axis=0)[None], axis=0)[0])
    assert np.all(found <= np.asarray(point(jnp.asarray(values), "median")))


def draws(count: int, rho: float, nu: float = math.inf, sigma: tuple[float, float] = (0.1, 0.3)) -> Parameters:
    """The same parameters `count` times: what varies between paths is their noise alone."""
    one = parameters(
        level=jnp.asarray([0.1, -0.1]), trend=jnp.zeros((1, 2)), season=jnp.asarray([[0.05], [0.02]]),
        event=jnp.asarray([[0.1]]), control=jnp.asarray([[-0.1]]), beta=jnp.full((2, 2), 0.3),
        adstock=jnp.full((1, 2), 0.4), saturation=jnp.ones((1, 2)), rho=jnp.asarray(rho), sigma=jnp.asarray(sigma),
        nu=jnp.asarray(nu), gap=jnp.zeros(2), share=jnp.zeros(()),
    )  # fmt: skip
    return jax.tree.map(lambda value: jnp.broadcast_to(value, (count, *value.shape)), one)


COUNT = 4000
PLAIN = (1.0,) * SPEC.backtest.horizon
WIDE = 5.0 / math.sqrt(2 * COUNT)  # five standard errors of a standard deviation, relative


@pytest.mark.parametrize("rho", [0.0, 0.6, 0.95])
def test_bands_widen_with_the_horizon_exactly_as_ar_1_says(rho: float) -> None:
    found = np.asarray(paths(SPEC, draws(COUNT, rho), DESIGN, SCALES, ORIGIN, stream(1, "paths"), PLAIN))
    assert found.shape == (COUNT, H, 2)
    for g, sigma in enumerate((0.1, 0.3)):
        sd = found[:, :, g].std(axis=0) / SCALES.kpi[g]
        expected = [sigma * math.sqrt(sum(rho ** (2 * k) for k in range(h))) for h in range(1, H + 1)]
        np.testing.assert_allclose(sd, expected, rtol=WIDE)
        if rho >= 0.6:
            assert np.all(np.diff(sd) > 0.0)


def test_paths_start_from_the_last_residual_and_forget_it() -> None:
    rho = 0.8
    p = draws(COUNT, rho)
    found = np.asarray(paths(SPEC, p, DESIGN, SCALES, ORIGIN, stream(1, "paths"), PLAIN))
    expected = np.asarray(media_model.mean(SPEC, at(p, 0), DESIGN))
    last = np.asarray(DESIGN.y)[ORIGIN - 1] - expected[ORIGIN - 1]
    for g, scale in enumerate(SCALES.kpi):
        for h in range(H):
            centre = 1.0 + expected[ORIGIN + h, g] + rho ** (h + 1) * last[g]
            error = 5.0 * found[:, h, g].std() / math.sqrt(COUNT)
            assert abs(found[:, h, g].mean() - scale * centre) < error


def test_student_noise_has_heavier_tails() -> None:
    heavy = small.spec(model__likelihood={"kind": "student_t", "shape": 2.0, "rate": 0.1})
    normal, student = (
        np.asarray(paths(s, draws(COUNT, 0.0, nu), DESIGN, SCALES, ORIGIN, stream(1, "paths"), PLAIN))[:, 0, 0]
        for s, nu in ((SPEC, math.inf), (heavy, 3.0))
    )
    reach = [np.abs(v - np.median(v)).max() / np.median(np.abs(v - np.median(v))) for v in (normal, student)]
    assert reach[1] > 2.0 * reach[0]


def test_log_outcomes_are_never_negative() -> None:
    spec = small.spec(model__outcome="log")
    design, scales = build(small.panel(spec), spec, ORIGIN)
    wide = draws(200, 0.9, sigma=(2.0, 2.0))
    assert np.all(np.asarray(paths(spec, wide, design, scales, ORIGIN, stream(1, "paths"), PLAIN)) > 0.0)


def test_the_same_key_gives_the_same_paths_and_another_key_others() -> None:
    def raw(name: str) -> bytes:
        return np.asarray(paths(SPEC, draws(50, 0.5), DESIGN, SCALES, ORIGIN, stream(1, name), PLAIN)).tobytes()

    assert raw("a") == raw("a")
    assert raw("a") != raw("b")


def test_every_draw_has_noise_of_its_own() -> None:
    found = np.asarray(paths(SPEC, draws(50, 0.5), DESIGN, SCALES, ORIGIN, stream(1, "a"), PLAIN))
    assert len(set(found[:, 0, 0].tolist())) == 50
    assert len(set(found[0].ravel().tolist())) == found[0].size


@pytest.mark.parametrize(("nu", "spread"), [(math.inf, 1.0), (5.0, 5.0 / 3.0), (2.05, 2.1 / 0.1)])
def test_one_step_averages_means_and_adds_their_variance_to_the_noise(nu: float, spread: float) -> None:
    parts = [draws(1, rho, nu, (0.1 + rho, 0.3)) for rho in (0.1, 0.5, 0.7)]
    stacked = jax.tree.map(lambda *values: jnp.concatenate(values), *parts)
    found = one_step(SPEC, stacked, DESIGN, DESIGN.y)
    means = np.stack([media_model.one_step(SPEC, at(p, 0), DESIGN, DESIGN.y) for p in parts])
    noise = np.mean([[spread * float(s) ** 2 for s in p.noise.sigma[0]] for p in parts], axis=0)
    np.testing.assert_allclose(found.mean, means.mean(axis=0), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found.sd, np.sqrt(means.var(axis=0) + noise), rtol=1e-9)


def test_one_step_reads_no_outcome_from_its_own_period_on() -> None:
    p = draws(3, 0.5)
    moved = DESIGN.y.at[12:].add(7.0)
    one, other = one_step(SPEC, p, DESIGN, DESIGN.y), one_step(SPEC, p, DESIGN, moved)
    for a, b in zip(one, other, strict=True):
        assert np.asarray(a)[:13].tobytes() == np.asarray(b)[:13].tobytes()
    assert np.asarray(one.mean)[13].tobytes() != np.asarray(other.mean)[13].tobytes()
