"""Laws of the scores: twins, units, propriety; naive forecasts that never look ahead."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from engine.scores import (
    ScoreError,
    cases,
    coverage,
    crps,
    interval_score,
    last_value,
    mae,
    mape,
    mean_width,
    pinball,
    pit,
    seasonal_naive,
    weighted_interval_score,
)
from tests import reference

Floats = npt.NDArray[np.float64]

CASES, DRAWS = 6, 9
LEVELS = (0.5, 0.8, 0.95)
exact = settings(deadline=None, derandomize=True, max_examples=60)
finite = st.floats(-1e4, 1e4)


def near(value: Floats | float) -> object:
    """Equal up to the rounding of scores of size 1e4."""
    return pytest.approx(float(value), rel=1e-9, abs=1e-6)


outcomes = hnp.arrays(np.float64, CASES, elements=finite)
samples = hnp.arrays(np.float64, (DRAWS, CASES), elements=st.one_of(finite, st.sampled_from([0.0, 1.0])))
ladders = hnp.arrays(np.float64, (7, CASES), elements=finite).map(lambda a: np.sort(a, axis=0))
scales = st.floats(0.01, 100)


def intervals(ladder: Floats) -> tuple[Floats, Floats, Floats]:
    """Median, lower and upper bounds of LEVELS from seven ascending quantiles."""
    return ladder[3], ladder[2::-1], ladder[4:]


# Twins.


@exact
@given(outcomes, ladders)
def test_weighted_interval_score_is_twice_the_mean_pinball_loss(y: Floats, ladder: Floats) -> None:
    found = weighted_interval_score(y, *intervals(ladder), LEVELS)
    names = [(1 - level) / 2 for level in LEVELS[::-1]] + [0.5] + [(1 + level) / 2 for level in LEVELS]
    columns = [dict(zip(names, column, strict=True)) for column in ladder.T.tolist()]
    each = [reference.weighted_interval_score(*pair) for pair in zip(y.tolist(), columns, strict=True)]
    assert float(found) == near(math.fsum(each) / CASES)


@exact
@given(outcomes, ladders, st.sampled_from(LEVELS))
def test_interval_score_is_width_and_penalty(y: Floats, ladder: Floats, level: float) -> None:
    lower, upper = ladder[1], ladder[5]
    rows = zip(y.tolist(), lower.tolist(), upper.tolist(), strict=True)
    expected = math.fsum(reference.interval_score(*row, alpha=1 - level) for row in rows) / CASES
    assert float(interval_score(y, lower, upper, level)) == near(expected)


@exact
@given(outcomes, samples)
def test_crps_is_the_double_sum_over_draws(y: Floats, draws: Floats) -> None:
    each = [reference.crps(a, column) for a, column in zip(y.tolist(), draws.T.tolist(), strict=True)]
    assert float(crps(y, draws)) == near(math.fsum(each) / CASES)


@exact
@given(outcomes, outcomes, st.sampled_from([0.05, 0.5, 0.9]))
def test_pinball_is_the_quantile_loss(y: Floats, forecast: Floats, level: float) -> None:
    each = [reference.pinball(a, q, level) for a, q in zip(y.tolist(), forecast.tolist(), strict=True)]
    assert float(pinball(y, forecast, level)) == near(math.fsum(each) / CASES)


# Units and degenerate forecasts.


@exact
@given(outcomes, ladders, samples, scales)
def test_scores_are_in_units_of_the_outcome(y: Floats, ladder: Floats, draws: Floats, c: float) -> None:
    median, lower, upper = intervals(ladder)
    assert float(mae(c * y, c * median)) == near(c * mae(y, median))
    assert float(crps(c * y, c * draws)) == near(c * crps(y, draws))
    scaled = weighted_interval_score(c * y, c * median, c * lower, c * upper, LEVELS)
    before = weighted_interval_score(y, median, lower, upper, LEVELS)
    assert float(scaled) == near(c * before)


@exact
@given(hnp.arrays(np.float64, CASES, elements=st.floats(1, 1e4)), outcomes, scales)
def test_mape_has_no_unit(y: Floats, point: Floats, c: float) -> None:
    assert float(mape(c * y, c * point)) == pytest.approx(float(mape(y, point)), rel=1e-9)
    assert float(mape(y, 1.25 * y)) == pytest.approx(0.25, rel=1e-9)


@exact
@given(outcomes, outcomes)
def test_a_forecast_without_spread_scores_its_absolute_error(y: Floats, point: Floats) -> None:
    error = float(mae(y, point))
    same = np.broadcast_to(point, (3, CASES)).copy()
    assert float(crps(y, same)) == near(error)
    assert float(weighted_interval_score(y, point, same, same, LEVELS)) == near(error)
    assert float(pinball(y, point, 0.5)) == near(error / 2)


@exact
@given(ladders, st.floats(0, 100))
def test_among_intervals_that_cover_the_narrower_scores_better(ladder: Floats, more: float) -> None:
    y, lower, upper = ladder[3], ladder[2], ladder[4]
    narrow, wide = interval_score(y, lower, upper, 0.8), interval_score(y, lower - more, upper + more, 0.8)
    assert float(wide) == near(float(narrow) + 2 * more)
    assert float(coverage(y, lower, upper)) == 1.0
    assert float(mean_width(y, lower - more, upper + more)) == near(float(mean_width(y, lower, upper)) + 2 * more)


def test_the_true_distribution_scores_best() -> None:
    rng = np.random.default_rng(3)
    y = rng.normal(size=400)
    scored = {sd: float(crps(y, sd * rng.normal(size=(500, 400)))) for sd in (0.5, 1.0, 2.0)}
    assert scored[1.0] == min(scored.values())
    z = 1.2815515655446004  # the .9 quantile of the standard normal
    widths = {k: float(interval_score(y, np.full(400, -k * z), np.full(400, k * z), 0.8)) for k in (0.5, 1, 2)}
    assert widths[1] == min(widths.values())


def test_pit_of_the_true_distribution_is_uniform_and_ties_count_half() -> None:
    rng = np.random.default_rng(4)
    found = pit(rng.normal(size=1000), rng.normal(size=(199, 1000)))
    counts = np.histogram(found, bins=10, range=(0, 1))[0]
    assert ((counts - 100) ** 2 / 100).sum() < 27.9  # chi-square(9), upper .001 point
    assert pit(np.array([1.0]), np.array([[0.0], [1.0], [1.0], [2.0]])).tolist() == [0.5]


# What is not known.


@exact
@given(outcomes, ladders, samples, st.integers(0, CASES - 1))
def test_an_unknown_outcome_is_as_if_the_case_were_not_there(
    y: Floats, ladder: Floats, draws: Floats, gone: int
) -> None:
    masked, kept = y.copy(), np.arange(CASES) != gone
    masked[gone] = np.nan
    unread = ladder.copy()
    unread[:, gone] = np.nan  # nor is its forecast read
    median, lower, upper = intervals(unread)
    expected = weighted_interval_score(y[kept], *intervals(ladder[:, kept]), LEVELS)
    assert float(weighted_interval_score(masked, median, lower, upper, LEVELS)) == near(expected)
    assert float(crps(masked, draws)) == near(crps(y[kept], draws[:, kept]))
    assert np.isnan(pit(masked, draws)).tolist() == (~kept).tolist()
    assert int(cases(masked)) == CASES - 1


def test_scores_are_per_column_and_nan_where_no_outcome_is_known() -> None:
    y = np.array([[1.0, np.nan, 3.0], [2.0, np.nan, np.nan]])
    assert cases(y).tolist() == [2, 0, 1]
    np.testing.assert_array_equal(mae(y, np.zeros((2, 3))), [1.5, np.nan, 3.0])
    np.testing.assert_array_equal(coverage(y, np.full((2, 3), 1.5), np.full((2, 3), np.inf)), [0.5, np.nan, 1.0])


def test_the_whole_line_covers_at_infinite_width() -> None:
    y, low, high = np.ones(2), np.full(2, -np.inf), np.full(2, np.inf)
    assert float(coverage(y, low, high)) == 1.0
    assert float(mean_width(y, low, high)) == math.inf
    assert float(interval_score(y, low, high, 0.9)) == math.inf


# The naive forecasts.


@exact
@given(st.integers(1, 12), st.integers(0, 30), st.integers(1, 40))
def test_seasonal_naive_repeats_the_last_known_season_and_reads_nothing_later(
    season: int, more: int, horizon: int
) -> None:
    origin = season - 1 + more
    y = np.arange(origin + 10.0)
    forecast = seasonal_naive(y, origin, horizon, season)
    for h in range(1, horizon + 1):
        assert forecast[h - 1] == origin + h - season * math.ceil(h / season)
    later = y.copy()
    later[origin + 1 :] = np.nan
    np.testing.assert_array_equal(seasonal_naive(later, origin, horizon, season), forecast)
    np.testing.assert_array_equal(last_value(later, origin, horizon), np.full(horizon, y[origin]))


def test_naive_forecasts_keep_the_locations() -> None:
    y = np.arange(20.0).reshape(10, 2)
    np.testing.assert_array_equal(seasonal_naive(y, 7, 3, 4), y[4:7])
    np.testing.assert_array_equal(last_value(y, 7, 2), y[[7, 7]])


@pytest.mark.parametrize(
    ("origin", "horizon", "season"), [(2, 1, 4), (10, 1, 1), (-1, 1, 1), (5, 0, 1), (5, 1, 0), (5, 1, -1)]
)
def test_a_naive_forecast_from_outside_the_data_is_refused(origin: int, horizon: int, season: int) -> None:
    with pytest.raises(ScoreError, match="naive forecast: expected"):
        seasonal_naive(np.arange(10.0), origin, horizon, season)


# Attacks.


def test_a_zero_outcome_is_not_silently_dropped_from_mape() -> None:
    with pytest.raises(ScoreError, match=r"mape: expected no outcome of 0, found 2, the first at \[1\]"):
        mape(np.array([1.0, 0.0, -0.0]), np.ones(3))


def test_a_missing_or_misshapen_forecast_is_refused() -> None:
    y = np.ones(3)
    with pytest.raises(ScoreError, match="found NaN"):
        mae(y, np.array([1.0, np.nan, 1.0]))
    with pytest.raises(ScoreError, match=r"expected shape \(3,\) to suit the outcomes, found \(1,\)"):
        mae(y, np.ones(1))
    with pytest.raises(ScoreError, match=r"expected shape \(1, 3\) to suit the outcomes, found \(0, 3\)"):
        crps(y, np.ones((0, 3)))
    with pytest.raises(ScoreError, match="found infinity"):
        mae(np.array([1.0, np.inf, 1.0]), y)
    with pytest.raises(ScoreError, match="found a single number"):
        mae(np.array(1.0), np.array(1.0))


def test_a_crossed_interval_cannot_earn_a_negative_width() -> None:
    y, low, high = np.ones(2), np.array([0.0, 3.0]), np.array([2.0, 1.0])
    for score in (coverage, mean_width):
        with pytest.raises(ScoreError, match=r"expected lower <= upper, found 1 not, first \[1\]"):
            score(y, low, high)
    with pytest.raises(ScoreError, match=r"found 1 not, first \[0, 1\]"):
        weighted_interval_score(y, y, low[None], high[None], (0.5,))


def test_levels_must_be_levels_and_one_an_interval() -> None:
    y, bounds = np.ones(2), np.ones((2, 2))
    with pytest.raises(ScoreError, match="level: expected strictly between 0 and 1, found 95"):
        interval_score(y, y, y, 95)
    with pytest.raises(ScoreError, match="levels: expected one an interval, found 1, 2 and 2"):
        weighted_interval_score(y, y, bounds, bounds, (0.5,))
