"""Laws of weighted split conformal calibration: exact quantiles, intervals that hold what their score says."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from engine.conformal import adjust, conformity, quantiles, uncross
from engine.errors import CalibrationError
from tests import reference_conformal as reference

Floats = npt.NDArray[np.float64]

LEVELS = ("0.5", "0.8", "0.9", "0.95")
exact = settings(deadline=None, derandomize=True, max_examples=60)
finite = st.floats(-1e6, 1e6, allow_subnormal=False)  # XLA flushes subnormals to zero
some_weights = st.one_of(st.just(0.0), st.floats(1e-3, 1))
pairs = st.lists(st.tuples(st.one_of(finite, st.sampled_from([0.0, 1.0])), some_weights), min_size=1, max_size=80)
levels = st.integers(1, 999).map(lambda thousandths: f"{thousandths / 1000}")


def split(both: list[tuple[float, float]]) -> tuple[Floats, Floats]:
    """Scores and weights, of pairs not all of weight zero."""
    array = np.array(both)
    assume(array[:, 1].any())
    return array[:, 0].copy(), array[:, 1].copy()


def quantile(scores: Floats, w: Floats, level: float) -> float:
    """The quantile of one step."""
    return quantiles(scores, w[None], level).item()


# The quantile.


@exact
@given(pairs, levels)
def test_quantile_is_the_first_score_that_reaches_the_level(both: list[tuple[float, float]], level: str) -> None:
    scores, w = split(both)
    assert quantile(scores, w, float(level)) == reference.conformal_quantile(scores.tolist(), w.tolist(), level)


@exact
@given(st.lists(finite, min_size=1, max_size=200), levels, st.floats(1e-6, 1e6))
def test_equal_weights_are_textbook_split_conformal(scores: list[float], level: str, weight: float) -> None:
    found = quantile(np.array(scores), np.full(len(scores), weight), float(level))
    assert found == reference.split_conformal_quantile(scores, level)


def test_a_decimal_level_is_met_by_the_rank_it_names() -> None:
    for n in range(1, 130):  # 128 is where the padding doubles twice
        scores = np.arange(1.0, n + 1)
        for percent in range(1, 100):
            rank = -(-(n + 1) * percent // 100)
            assert quantile(scores, np.ones(n), percent / 100) == (rank if rank <= n else math.inf)


@exact
@given(pairs, st.randoms(use_true_random=False), levels)
def test_order_of_pairs_changes_no_bit(both: list[tuple[float, float]], random: object, level: str) -> None:
    scores, w = split(both)
    order = np.random.default_rng(random.getrandbits(32)).permutation(len(w))  # type: ignore[attr-defined]
    assert quantile(scores[order], w[order], float(level)) == quantile(scores, w, float(level))


def test_order_of_tied_scores_changes_no_bit_where_their_sum_rounds_either_way() -> None:
    scores, tied = np.array([0.0, 0.0, 0.0, 1.0]), (0.1, 0.2, 0.3)
    level = 0.6 / 2.6 / (1 - 1e-12)
    for _ in range(8):
        level = math.nextafter(level, 0.0)
    for _ in range(16):
        level = math.nextafter(level, 1.0)
        found = {quantile(scores, np.array([*w, 1.0]), level) for w in itertools.permutations(tied)}
        assert len(found) == 1


@exact
@given(pairs, levels, levels)
def test_quantile_never_falls_as_the_level_rises(both: list[tuple[float, float]], level: str, other: str) -> None:
    scores, w = split(both)
    low, high = sorted([float(level), float(other)])
    assert quantile(scores, w, low) <= quantile(scores, w, high)


@exact
@given(pairs, levels, finite)
def test_scores_without_weight_count_for_nothing(both: list[tuple[float, float]], level: str, score: float) -> None:
    scores, w = split(both)
    more = np.append(scores, score), np.append(w, 0.0)
    assert quantile(*more, float(level)) == quantile(scores, w, float(level))


def test_too_few_scores_for_a_level_give_the_whole_line() -> None:
    assert quantile(np.zeros(0), np.zeros(0), 0.5) == math.inf
    assert quantile(np.zeros(2), np.zeros(2), 0.5) == math.inf
    assert quantile(np.arange(18.0), np.ones(18), 0.95) == math.inf
    assert quantile(np.arange(19.0), np.ones(19), 0.95) == 18.0
    low, high = adjust(np.array([1.0]), np.array([2.0]), math.inf)
    assert (low[0], high[0]) == (-math.inf, math.inf)
    low, high = adjust(np.array([1.0]), np.array([2.0]), -math.inf)
    assert (low[0], high[0]) == (1.5, 1.5)


@exact
@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 10**6), levels)
def test_the_quantiles_of_many_steps_are_those_of_each_alone(steps: int, n: int, seed: int, level: str) -> None:
    rng = np.random.default_rng(seed)
    scores, w = rng.normal(size=n), rng.uniform(size=(steps, n)) * (rng.uniform(size=(steps, n)) < 0.7)
    alone = [quantile(scores, row, float(level)) for row in w]
    np.testing.assert_array_equal(quantiles(scores, w, float(level)), alone)


# The interval.

ordered = st.tuples(finite, finite).map(sorted)


@exact
@given(ordered, finite, finite)
def test_an_outcome_is_inside_exactly_when_its_score_is_at_most_q(bounds: list[float], y: float, q: float) -> None:
    lower, upper = bounds
    low, high = adjust(np.array(lower), np.array(upper), q)
    score = float(conformity(np.array(y), np.array(lower), np.array(upper)))
    if low < high:
        assume(abs(score - q) > 1e-6)
        assert (low <= y <= high) == (score <= q)


@exact
@given(ordered, finite)
def test_bounds_never_cross(bounds: list[float], q: float) -> None:
    low, high = adjust(np.array([bounds[0]]), np.array([bounds[1]]), np.array([q]))
    assert low <= high
    if q >= 0:
        assert low <= bounds[0]
        assert high >= bounds[1]
    else:
        assert bounds[0] <= low
        assert high <= bounds[1]


@pytest.mark.parametrize("shape", [(), (0,), (63,), (64,), (65,), (3, 50)])
def test_scores_and_bounds_keep_their_shape_and_place(shape: tuple[int, ...]) -> None:
    y, lower, width = np.random.default_rng(1).normal(size=(3, *shape))
    upper = lower + np.abs(width)
    np.testing.assert_array_equal(conformity(y, lower, upper), np.maximum(lower - y, y - upper))
    low, high = adjust(lower, upper, y**2)
    np.testing.assert_array_equal(low, lower - y**2)
    np.testing.assert_array_equal(high, upper + y**2)


def test_one_adjustment_an_interval_is_broadcast() -> None:
    low, high = adjust(np.zeros((2, 3)), np.ones((2, 3)), np.array([0.25, 1.0, np.inf]))
    np.testing.assert_array_equal(low, [[-0.25, -1.0, -np.inf]] * 2)
    np.testing.assert_array_equal(high, [[1.25, 2.0, np.inf]] * 2)


@exact
@given(hnp.arrays(np.float64, (4, 7), elements=finite))
def test_uncrossed_quantiles_rise_with_the_level_and_no_interval_shrinks(quantiles: Floats) -> None:
    found = uncross(quantiles, (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95))
    assert (np.diff(found, axis=-1) >= 0).all()
    np.testing.assert_array_equal(found[:, 3], quantiles[:, 3])
    assert (found[:, :3] <= quantiles[:, :3]).all()
    assert (found[:, 4:] >= quantiles[:, 4:]).all()
    rising = np.sort(quantiles, axis=-1)
    np.testing.assert_array_equal(uncross(rising, (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)), rising)


# Coverage, over seeded simulations with computed tolerances.


@pytest.mark.parametrize("n", [19, 60])
def test_coverage_is_exact_under_exchangeability(n: int) -> None:
    trials = 1500
    scores = np.random.default_rng(n).standard_t(3, size=(trials, n + 1))
    for level in LEVELS:
        covered = sum(row[-1] <= quantile(row[:-1], np.ones(n), float(level)) for row in scores)
        expected = reference.split_conformal_quantile(list(range(1, n + 1)), level) / (n + 1)
        expected = min(expected, 1.0)
        assert expected >= float(level)
        assert abs(covered / trials - expected) <= 3 * math.sqrt(expected * (1 - expected) / trials)


# Attacks.


@pytest.mark.parametrize("level", [0.0, 1.0, -0.5, 1.5, math.nan])
def test_a_level_outside_zero_to_one_is_refused(level: float) -> None:
    with pytest.raises(CalibrationError, match="level: expected strictly between 0 and 1"):
        quantile(np.zeros(3), np.ones(3), level)


@pytest.mark.parametrize(
    ("scores", "w", "message"),
    [
        ([0.0, math.nan], [1.0, 1.0], r"scores\[1\]: expected a finite value, found nan"),
        ([0.0, math.inf], [1.0, 1.0], r"scores\[1\]: expected a finite value, found inf"),
        ([0.0, 1.0], [math.nan, 1.0], r"weights\[0, 0\]: expected a finite value"),
        ([0.0, 1.0], [1.0, -1.0], "weights: expected >= 0, found -1.0"),
        ([0.0, 1.0], [1.0], r"expected \(n,\) and \(step, n\), found \(2,\) and \(1, 1\)"),
    ],
)
def test_scores_and_weights_that_mean_nothing_are_refused(scores: list[float], w: list[float], message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        quantile(np.array(scores), np.array(w), 0.5)


@pytest.mark.parametrize("names", [(0.1, 0.9), (0.9, 0.5, 0.1), (0.1, 0.5, 0.5), (0.5,)])
def test_levels_that_are_not_a_ladder_around_the_median_are_refused(names: tuple[float, ...]) -> None:
    with pytest.raises(CalibrationError, match=r"ascending ones with \.5 among them"):
        uncross(np.zeros((2, 3)), names)
