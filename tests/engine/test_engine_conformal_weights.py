"""Laws of the weights: floored, supported, blind to units, and better than age alone where regimes recur."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from engine import conformal_weights
from engine.conformal import quantiles
from engine.conformal_weights import effective_sizes, regime_moments
from engine.errors import CalibrationError
from tests import reference_conformal as reference

Floats = npt.NDArray[np.float64]

LEVELS = ("0.5", "0.8", "0.9", "0.95")
exact = settings(deadline=None, derandomize=True, max_examples=60)


def weights(age: Floats, moments: Floats, current: Floats, decay: float, bandwidth: float, support: float) -> Floats:
    """The weights of one step at which every score is known."""
    known = np.ones((1, age.size), dtype=bool)
    return conformal_weights.weights(age[None], known, moments, current[None], decay, bandwidth, support)[0]


def effective_size(w: Floats) -> float:
    """The effective sample size of one step."""
    return effective_sizes(w[None]).item()


def quantile(scores: Floats, w: Floats, level: float) -> float:
    """The quantile of one step."""
    return quantiles(scores, w[None], level).item()


ages = hnp.arrays(np.float64, 20, elements=st.integers(0, 200).map(float))
features = hnp.arrays(np.float64, (20, 3), elements=st.integers(-40, 40).map(lambda i: i / 8))
rates = st.floats(0.8, 1)
widths = st.floats(0.05, 10)
supports = st.floats(0.5, 30)


@exact
@given(ages, features, rates, widths, supports)
def test_weights_are_decay_times_kernel_mixed_up_to_the_support(
    age: Floats, moments: Floats, decay: float, bandwidth: float, support: float
) -> None:
    current = moments[0]
    sd = moments.std(axis=0)
    apart = np.where(sd > 1e-9, (moments - current) / np.where(sd > 1e-9, sd, 1), 0.0)
    distance = np.sqrt((apart**2).sum(axis=1)).tolist()
    expected = reference.regime_weights(age.tolist(), distance, decay, bandwidth, support)
    found = weights(age, moments, current, decay, bandwidth, support)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)


@exact
@given(ages, features, rates, widths, supports)
def test_weights_hold_the_support_and_the_effective_size_and_the_largest_is_one(
    age: Floats, moments: Floats, decay: float, bandwidth: float, support: float
) -> None:
    w = weights(age, moments, np.full(3, 1e3), decay, bandwidth, support)
    assert w.max() == 1.0
    assert w.min() >= 0.0
    assert effective_size(w) >= w.sum() * (1 - 1e-9) >= min(support, 20) * (1 - 2e-9)


@pytest.mark.parametrize("level", LEVELS)
def test_the_needed_support_leaves_half_of_what_may_miss_at_infinity(level: str) -> None:
    support = conformal_weights.needed_support(float(level))
    assert 1.0 / (1.0 + support) == pytest.approx((1.0 - float(level)) / 2.0)
    assert support > float(level) / (1.0 - float(level))


@exact
@given(ages, features, rates, widths, st.sampled_from([0.5, 0.8, 0.9, 0.95]))
def test_a_level_that_equal_weights_support_is_supported(
    age: Floats, moments: Floats, decay: float, bandwidth: float, level: float
) -> None:
    w = weights(age, moments, np.full(3, 1e3), decay, bandwidth, level / (1.0 - level))  # 20 scores: enough for .95
    assert quantile(np.arange(20.0), w, level) < math.inf


@exact
@given(ages, features, rates, widths, supports, st.integers(0, 10**6))
def test_the_weights_of_many_steps_are_those_of_each_alone(
    age: Floats, moments: Floats, decay: float, bandwidth: float, support: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    known, current = rng.uniform(size=(5, 20)) < 0.6, rng.normal(size=(5, 3))
    together = conformal_weights.weights(np.stack([age] * 5), known, moments, current, decay, bandwidth, support)
    assert (together[~known] == 0.0).all()
    sizes = effective_sizes(together)
    for t, seen in enumerate(known):
        alone = weights(age[seen], moments[seen], current[t], decay, bandwidth, support)
        np.testing.assert_allclose(together[t, seen], alone, rtol=1e-9, atol=1e-12)
        assert sizes[t] == (pytest.approx(effective_size(alone)) if seen.any() else 0.0)


@exact
@given(ages, features, rates, widths, supports, st.floats(0.01, 100), st.floats(-100, 100))
def test_weights_do_not_know_the_units_of_the_moments(
    age: Floats, moments: Floats, decay: float, bandwidth: float, support: float, scale: float, shift: float
) -> None:
    before = weights(age, moments, moments[3], decay, bandwidth, support)
    other = scale * moments + shift
    assume(((other.max(axis=0) > other.min(axis=0)) == (moments.max(axis=0) > moments.min(axis=0))).all())
    np.testing.assert_allclose(weights(age, other, other[3], decay, bandwidth, support), before, atol=1e-6)


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decay": 0.0}, "0 < decay <= 1"),
        ({"decay": 1.1}, "0 < decay <= 1"),
        ({"bandwidth": 0.0}, "bandwidth > 0"),
        ({"support": 0.0}, "0 < support"),
        ({"support": math.inf}, "support < inf"),
        ({"age": np.array([1.0, -1.0])}, r"age\[0, 1\]: expected >= 0 periods, found -1"),
        ({"age": np.array([1.0, math.nan])}, r"age\[0, 1\]: expected a finite value"),
        ({"moments": np.zeros((2, 2))}, r"found \(1, 2\), \(1, 2\), \(2, 2\), \(1, 3\)"),
        ({"current": np.array([0, math.inf, 0])}, r"current moments\[0, 1\]: expected a finite value"),
    ],
)
def test_weights_of_impossible_things_are_refused(change: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {
        "age": np.zeros(2),
        "moments": np.zeros((2, 3)),
        "current": np.zeros(3),
        "decay": 0.9,
        "bandwidth": 1.0,
        "support": 5.0,
    }
    with pytest.raises(CalibrationError, match=message):
        weights(**(arguments | change))  # type: ignore[arg-type]


@pytest.mark.parametrize("window", [np.zeros(2), np.ones(9) * 0.1, np.array([1.0, math.nan, 2.0]), np.zeros((3, 3))])
def test_a_window_without_moments_is_refused(window: Floats) -> None:
    with pytest.raises(CalibrationError, match="moment window"):
        regime_moments(window)
