"""A second opinion: where methods coincide (equal weights), MAPIE gives the same intervals."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt
import pytest
from mapie.regression import ConformalizedQuantileRegressor, SplitConformalRegressor
from sklearn.base import BaseEstimator, RegressorMixin

from engine.conformal import adjust, conformity, quantiles

for _name in ("KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK"):  # scikit-learn sets them; no process in the profile has them
    os.environ.pop(_name, None)

Floats = npt.NDArray[np.float64]
LEVELS = (0.5, 0.8, 0.9, 0.95)


class Column(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A fitted forecaster whose forecasts are given: a column of X."""

    def __init__(self, place: int) -> None:
        self.place = place
        self.fitted_ = True

    def fit(self, x: Floats, y: Floats) -> Column:  # noqa: ARG002 (the interface's)
        """Nothing to learn."""
        return self

    def predict(self, x: Floats) -> Floats:
        """The column."""
        return x[:, self.place].copy()


def split(point: Floats, outcome: Floats, coming: Floats, level: float) -> Floats:
    """MAPIE's intervals (case, end) of point forecasts."""
    theirs = SplitConformalRegressor(Column(0), confidence_level=level, prefit=True)
    theirs.conformalize(point[:, None], outcome)
    return np.asarray(theirs.predict_interval(coming[:, None])[1][:, :, 0])


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("n", [20, 40, 133])
def test_split_conformal_of_a_point_forecast(level: float, n: int) -> None:
    point, outcome, coming = np.random.default_rng(n).normal(size=(3, n))
    q = quantiles(conformity(outcome, point, point), np.ones((1, n)), level).item()
    ours = np.stack(adjust(coming, coming, q), axis=1)
    np.testing.assert_allclose(ours, split(point, outcome, coming, level), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("n", [20, 60])
def test_conformalised_quantile_regression(level: float, n: int) -> None:
    rng = np.random.default_rng(n)
    middle, outcome, wide = rng.normal(size=(3, n))
    forecasts = np.stack([middle - 0.2 - abs(wide), middle + 0.1 + abs(wide), middle], axis=1)
    columns = [Column(0), Column(1), Column(2)]  # lower, upper, median
    theirs = ConformalizedQuantileRegressor(columns, confidence_level=level, prefit=True)
    theirs.conformalize(forecasts, outcome)
    expected = theirs.predict_interval(forecasts, symmetric_correction=True)[1][:, :, 0]
    lower, upper = forecasts[:, 0], forecasts[:, 1]
    q = quantiles(conformity(outcome, lower, upper), np.ones((1, n)), level).item()
    ours = np.stack([lower - q, upper + q], axis=1)
    np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("level", LEVELS)
def test_mondrian_groups_are_calibrated_each_alone(level: float) -> None:
    """A weight of 0 for every other group is split conformal within the group."""
    rng = np.random.default_rng(8)
    group = rng.integers(0, 3, size=120)
    outcome = rng.normal(size=120) * (1.0 + group)
    found = quantiles(abs(outcome), (group == np.arange(3)[:, None]).astype(float), level)
    for g, q in enumerate(found):
        mine = outcome[group == g]
        expected = split(np.zeros(mine.size), mine, np.zeros(1), level)
        np.testing.assert_allclose([[-q, q]], expected, rtol=1e-12)
