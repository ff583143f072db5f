"""Laws of the beta-divergence: its score by quadrature, what an outlier no longer does, what a change still does."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import integrate

from engine.changepoint import Alarming, online, online_panel, run_length_posterior, segmentation
from engine.spec_detect import Robust, Segments
from tests import reference
from tests.engine.test_engine_changepoint import BASE as PLAIN

Floats = npt.NDArray[np.float64]

BETA = 0.2
HAZARD = 0.02
ALARMING = Alarming(HAZARD, 5, 0.5)


def steady(beta: float = BETA) -> Segments:
    return PLAIN.model_copy(update={"robust": Robust(kind="beta_divergence", beta=beta)})


def noise(seed: int, *shape: int) -> Floats:
    return np.random.default_rng(seed).normal(size=shape)


@settings(deadline=None, derandomize=True, max_examples=20)
@given(st.floats(-20, 20), st.floats(0.05, 20), st.floats(0.5, 50), st.floats(0.02, 1))
def test_the_twins_score_is_the_divergences_by_quadrature(
    error: float, variance: float, shape: float, beta: float
) -> None:
    def density(e: float) -> float:
        square = e * e / (2 * shape * variance)
        top = math.lgamma(shape + 0.5) - math.lgamma(shape) - 0.5 * math.log(2 * shape * math.pi * variance)
        return math.exp(top - (shape + 0.5) * math.log1p(square))

    assert integrate.quad(density, -math.inf, math.inf)[0] == pytest.approx(1, rel=1e-7)
    mass = integrate.quad(lambda e: density(e) ** (1 + beta), -math.inf, math.inf)[0]
    expected = (density(error) ** beta - 1) / beta - mass / (1 + beta) + 1
    weight, score = reference.beta_score(error, variance, shape, beta)
    assert score == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert weight == pytest.approx((density(error) / density(0.0)) ** beta, rel=1e-9)


def test_as_beta_vanishes_so_does_the_difference() -> None:
    x = noise(1, 60, 2)
    exact = run_length_posterior(x, PLAIN, HAZARD)
    gaps = [np.abs(run_length_posterior(x, steady(beta), HAZARD) - exact).max() for beta in (1e-2, 1e-4, 1e-6)]
    assert gaps[2] < 1e-4 < gaps[0]
    assert gaps[2] < gaps[1] / 50 < gaps[0] / 2500


@pytest.mark.parametrize("outlier", [8.0, -50.0, 1e6])
def test_one_outlier_alarms_the_likelihood_and_not_the_divergence(outlier: float) -> None:
    alarmed = 0
    for seed in range(20):
        x = noise(seed, 100)
        x[60] = outlier
        assert [a for a in online(x, steady(), ALARMING).alarms if 60 <= a.period <= 65] == []
        assert segmentation(x, steady(), HAZARD).starts == (0,)
        alarmed += any(a.period == 60 for a in online(x, PLAIN, ALARMING).alarms)
    assert alarmed == 20


def test_an_outlier_of_any_size_moves_the_log_odds_by_a_bounded_amount_and_is_forgotten() -> None:
    x = noise(3, 60, 1)
    for size in (20.0, -1e3, 1e6, 1e50):
        x[40] = size
        rows = run_length_posterior(x, steady(), HAZARD)
        assert abs(math.log(rows[40, 40] / rows[40, 0]) - math.log(rows[39, 39] / HAZARD)) <= 1 / BETA + 1
        assert rows[59].argmax() == 59


def test_scattered_outliers_hide_no_change_and_make_none() -> None:
    caught = false = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=120)
        x[70:] += 4.0
        x[rng.choice([10, 20, 30, 40, 50, 60, 90, 100, 110], 4, replace=False)] += 12.0
        alarms = [a.period for a in online(x, steady(), ALARMING).alarms]
        caught += any(70 <= period <= 75 for period in alarms)
        false += sum(not 70 <= period <= 75 for period in alarms)
    assert caught >= 28
    assert false <= 4


def test_a_segments_scale_is_that_of_its_inliers() -> None:
    """The sum of log predictive densities of clean data is nearly that of the likelihood: no bias, little lost."""
    x = noise(7, 300)
    dirty = x.copy()
    dirty[::15] += 25.0
    calm = Alarming(1e-6, 5, 0.5)
    later = slice(100, 300)
    clean = np.arange(300)[later] % 15 != 0
    scored = online(x, steady(), calm).log_predictive[later][clean].sum()
    spoiled = online(dirty, steady(), calm).log_predictive[later][clean].sum()
    assert spoiled == pytest.approx(scored, rel=0.02)
    plain = online(x, PLAIN, calm).log_predictive[later][clean].sum()
    ruined = online(dirty, PLAIN, calm).log_predictive[later][clean].sum()
    assert ruined < plain - 50


def test_stationary_residuals_alarm_no_more_often_than_the_hazard_implies() -> None:
    periods = 60 * 100
    alarms = sum(len(online(noise(seed, 100), steady(), ALARMING).alarms) for seed in range(60))
    assert alarms <= HAZARD * periods + 3 * math.sqrt(HAZARD * (1 - HAZARD) * periods)


def test_a_missing_period_and_a_silent_location_change_nothing_else() -> None:
    x = noise(9, 80, 1)
    x[30:50] = math.nan
    assert online_panel(x, steady(), ALARMING).log_predictive[30:50] == pytest.approx(0, abs=1e-12)
    wider = np.concatenate([x, np.full((80, 1), math.nan)], axis=1)
    found, both = (run_length_posterior(each, steady(), HAZARD) for each in (x, wider))
    np.testing.assert_allclose(both, found, atol=1e-12)


@pytest.mark.parametrize(("kind", "beta"), [("none", 0.1), ("beta_divergence", 0.0), ("beta_divergence", 1.5)])
def test_a_kind_and_a_beta_that_disagree_are_refused(kind: str, beta: float) -> None:
    with pytest.raises(ValidationError, match="beta"):
        Robust.model_validate({"kind": kind, "beta": beta})
