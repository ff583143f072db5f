"""Laws of weighted split conformal calibration: exact quantiles, floored weights, measured coverage."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from engine.conformal import (
    adjust,
    conformity,
    effective_size,
    quantile,
    regime_moments,
    uncross,
    weights,
)
from engine.errors import CalibrationError
from tests import reference

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
    assert quantile(np.arange(18.0), np.ones(18), 0.95) == math.inf
    assert quantile(np.arange(19.0), np.ones(19), 0.95) == 18.0
    low, high = adjust(np.array([1.0]), np.array([2.0]), math.inf)
    assert (low[0], high[0]) == (-math.inf, math.inf)


# The weights.

ages = hnp.arrays(np.float64, 20, elements=st.integers(0, 200).map(float))
features = hnp.arrays(np.float64, (20, 3), elements=st.integers(-40, 40).map(lambda i: i / 8))
rates = st.floats(0.8, 1)
widths = st.floats(0.05, 10)
floors = st.floats(0.5, 30)


@exact
@given(ages, features, rates, widths, floors)
def test_weights_are_decay_times_kernel_mixed_up_to_the_floor(
    age: Floats, moments: Floats, decay: float, bandwidth: float, floor: float
) -> None:
    current = moments[0]
    sd = moments.std(axis=0)
    apart = np.where(sd > 1e-9, (moments - current) / np.where(sd > 1e-9, sd, 1), 0.0)
    expected = reference.regime_weights(age.tolist(), np.sqrt((apart**2).sum(axis=1)).tolist(), decay, bandwidth, floor)
    found = weights(age, moments, current, decay, bandwidth, floor)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)


@exact
@given(ages, features, rates, widths, floors)
def test_weights_hold_the_effective_size_and_the_largest_is_one(
    age: Floats, moments: Floats, decay: float, bandwidth: float, floor: float
) -> None:
    w = weights(age, moments, np.full(3, 1e3), decay, bandwidth, floor)
    assert w.max() == 1.0
    assert w.min() >= 0.0
    assert effective_size(w) >= min(floor, 20) * (1 - 1e-9)


@exact
@given(ages, features, rates, widths, floors, st.floats(0.01, 100), st.floats(-100, 100))
def test_weights_do_not_know_the_units_of_the_moments(
    age: Floats, moments: Floats, decay: float, bandwidth: float, floor: float, scale: float, shift: float
) -> None:
    before = weights(age, moments, moments[3], decay, bandwidth, floor)
    other = scale * moments + shift
    assume(((other.max(axis=0) > other.min(axis=0)) == (moments.max(axis=0) > moments.min(axis=0))).all())
    np.testing.assert_allclose(weights(age, other, other[3], decay, bandwidth, floor), before, atol=1e-6)


@exact
@given(features, rates, widths)
def test_older_scores_of_one_regime_never_weigh_more(moments: Floats, decay: float, bandwidth: float) -> None:
    same = np.broadcast_to(moments[:1], moments.shape).copy()
    w = weights(np.arange(20.0), same, moments[0], decay, bandwidth, 1.0)
    np.testing.assert_allclose(w, decay ** np.arange(20.0), rtol=1e-12)


def test_without_decay_or_moments_every_score_weighs_the_same() -> None:
    np.testing.assert_array_equal(weights(np.arange(70.0), np.zeros((70, 0)), np.zeros(0), 1.0, 1.0, 1.0), np.ones(70))
    assert weights(np.zeros(0), np.zeros((0, 3)), np.zeros(3), 0.9, 1.0, 5.0).shape == (0,)


def test_a_regime_unlike_any_seen_does_not_underflow() -> None:
    moments = np.linspace(0.0, 1.0, 20)[:, None]
    w = weights(np.zeros(20), moments, np.array([1e6]), 1.0, 0.01, 1.0)
    assert w.argmax() == 19
    assert np.isfinite(w).all()


def test_moments_apart_by_less_than_can_be_squared_tell_none_apart() -> None:
    moments = np.array([[1e-200], [2e-200], [3e-200]])
    np.testing.assert_array_equal(weights(np.zeros(3), moments, moments[0], 1.0, 1.0, 1.0), np.ones(3))


def test_moments_are_mean_log_sd_and_lag_one_autocorrelation() -> None:
    y = np.random.default_rng(0).normal(size=26) * 3 + 10
    d = y - y.mean()
    expected = [y.mean(), math.log(y.std()), (d[1:] * d[:-1]).sum() / (d * d).sum()]
    np.testing.assert_allclose(regime_moments(y), expected, rtol=1e-12)
    scaled = regime_moments(-2 * y + 1)
    np.testing.assert_allclose(scaled, [1 - 2 * expected[0], expected[1] + math.log(2), expected[2]], rtol=1e-12)


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


def test_any_fixed_weights_cover_at_least_the_level_under_exchangeability() -> None:
    trials, n = 1500, 40
    rng = np.random.default_rng(11)
    scores = rng.normal(size=(trials, n + 1))
    w = weights(np.arange(n, dtype=float), rng.normal(size=(n, 3)), np.zeros(3), 0.97, 1.5, 15.0)
    for level in LEVELS:
        covered = sum(row[-1] <= quantile(row[:-1], w, float(level)) for row in scores)
        p = float(level)
        assert covered / trials >= p - 3 * math.sqrt(p * (1 - p) / trials)


def test_on_recurring_regimes_moments_cover_the_storms_better_than_decay_alone() -> None:
    rng = np.random.default_rng(5)
    window, n, hits = 15, 120, {"decay": 0, "hybrid": 0}
    trials = 0
    for _ in range(60):
        storm = (np.arange(n + 1) // 10 + rng.integers(0, 4)) % 4 == 0  # a storm of 10 in every 40
        sd = np.where(storm, 3.0, 1.0)
        before = rng.normal(size=(n + 1, window)) * sd[:, None]  # disjoint from the scores
        moments = np.stack([regime_moments(row) for row in before])
        scores = np.abs(rng.normal(size=n + 1) * sd)
        if not storm[n]:
            continue
        trials += 1
        age = np.arange(n, 0, -1, dtype=float)
        for name, given_moments in (("decay", moments[:, :0]), ("hybrid", moments)):
            w = weights(age, given_moments[:n], given_moments[n], 0.99, 1.0, 15.0)
            hits[name] += bool(scores[n] <= quantile(scores[:n], w, 0.9))
    assert trials >= 10
    assert hits["hybrid"] / trials >= hits["decay"] / trials + 0.1


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
        ([0.0, 1.0], [math.nan, 1.0], r"weights\[0\]: expected a finite value"),
        ([0.0, 1.0], [1.0, -1.0], "expected >= 0 and not all 0, found -1.0"),
        ([0.0, 1.0], [0.0, 0.0], "expected >= 0 and not all 0, found 0.0"),
        ([0.0, 1.0], [1.0], r"expected one \(n,\), found \(2,\) and \(1,\)"),
    ],
)
def test_scores_and_weights_that_mean_nothing_are_refused(scores: list[float], w: list[float], message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        quantile(np.array(scores), np.array(w), 0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decay": 0.0}, "0 < decay <= 1"),
        ({"decay": 1.1}, "0 < decay <= 1"),
        ({"bandwidth": 0.0}, "bandwidth > 0"),
        ({"ess_floor": 0.0}, "ess_floor > 0"),
        ({"age": np.array([1.0, -1.0])}, "age: expected >= 0 periods, found -1"),
        ({"age": np.array([1.0, math.nan])}, r"age\[1\]: expected a finite value"),
        ({"moments": np.zeros((2, 2))}, r"expected \(n,\), \(n, k\), \(k,\), found \(2,\), \(2, 2\), \(3,\)"),
        ({"current": np.array([0, math.inf, 0])}, r"current moments\[1\]: expected a finite value"),
    ],
)
def test_weights_of_impossible_things_are_refused(change: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {
        "age": np.zeros(2),
        "moments": np.zeros((2, 3)),
        "current": np.zeros(3),
        "decay": 0.9,
        "bandwidth": 1.0,
        "ess_floor": 5.0,
    }
    with pytest.raises(CalibrationError, match=message):
        weights(**(arguments | change))  # type: ignore[arg-type]


@pytest.mark.parametrize("window", [np.zeros(2), np.ones(9) * 0.1, np.array([1.0, math.nan, 2.0]), np.zeros((3, 3))])
def test_a_window_without_moments_is_refused(window: Floats) -> None:
    with pytest.raises(CalibrationError, match="moment window"):
        regime_moments(window)


@pytest.mark.parametrize("names", [(0.1, 0.9), (0.9, 0.5, 0.1), (0.1, 0.5, 0.5), (0.5,)])
def test_levels_that_are_not_a_ladder_around_the_median_are_refused(names: tuple[float, ...]) -> None:
    with pytest.raises(CalibrationError, match=r"ascending ones with \.5 among them"):
        uncross(np.zeros((2, 3)), names)
