"""Laws of the adaptive methods: their slow twins, what was known when, and their bound over the long run."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.conformal_online import Track, track
from engine.errors import CalibrationError
from engine.spec_calibrate import Adaptive, Controlled, Method, Split
from tests import reference_conformal as reference

Floats = npt.NDArray[np.float64]

LAW = settings(deadline=None, derandomize=True, max_examples=40)
ACI = Adaptive(kind="aci", rate=0.05)
PID = Controlled(kind="pid", rate=0.1, gain=0.3, saturation=0.5)
METHODS: tuple[Method, ...] = (Split(kind="split"), ACI, PID)
levels = st.sampled_from([0.5, 0.8, 0.9, 0.95])
delays = st.integers(1, 13)


def run(method: Method, level: float, scores: Floats, delay: int, decay: float = 0.99) -> Track:
    """One forecast a step, its outcome known `delay` steps later."""
    return track(method, level, scores, decayed(len(scores), delay, decay), *indices(len(scores), delay))


def indices(n: int, delay: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    made = np.arange(n)
    return made, np.minimum(made + delay, n)


def decayed(n: int, delay: int, decay: float) -> Floats:
    age = np.arange(n)[:, None] - np.arange(n) - delay
    return np.where(age >= 0, decay ** np.maximum(age, 0).astype(float), 0.0)


@LAW
@given(st.integers(0, 10**6), st.integers(1, 60), delays, levels)
def test_aci_is_its_slow_twin(seed: int, n: int, delay: int, level: float) -> None:
    scores = np.random.default_rng(seed).standard_t(3, size=n)
    weights = decayed(n, delay, 0.97).tolist()
    expected = reference.adaptive(scores.tolist(), weights, delay, level, ACI.rate)
    np.testing.assert_array_equal(run(ACI, level, scores, delay, 0.97).q, expected)


@LAW
@given(st.integers(0, 10**6), st.integers(1, 60), delays, levels)
def test_pid_is_its_slow_twin(seed: int, n: int, delay: int, level: float) -> None:
    scores = np.random.default_rng(seed).standard_t(3, size=n)
    weights = decayed(n, delay, 0.97).tolist()
    expected = reference.controlled(scores.tolist(), weights, delay, level, PID.rate, PID.gain, PID.saturation)
    np.testing.assert_allclose(run(PID, level, scores, delay, 0.97).q, expected, rtol=1e-9, atol=1e-9)


@LAW
@given(st.sampled_from(METHODS), st.integers(0, 10**6), st.integers(1, 79), delays, levels)
def test_nothing_known_later_changes_a_step(method: Method, seed: int, at: int, delay: int, level: float) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=80)
    other = np.where(np.arange(80) + delay > at, rng.normal(size=80) * 9.0, scores)
    before, after = run(method, level, scores, delay), run(method, level, other, delay)
    np.testing.assert_array_equal(before.q[: at + 1], after.q[: at + 1])


@pytest.mark.parametrize("method", [ACI, PID])
@pytest.mark.parametrize("delay", [1, 5])
def test_a_miss_widens_and_a_hit_narrows_once_it_is_known(method: Method, delay: int) -> None:
    scores = np.sin(np.arange(60.0) * 7.0)
    missed, hit = scores.copy(), scores.copy()
    missed[30], hit[30] = 50.0, -50.0
    up, down = run(method, 0.8, missed, delay, 1.0).q, run(method, 0.8, hit, delay, 1.0).q
    np.testing.assert_array_equal(up[: 30 + delay], down[: 30 + delay])
    assert up[30 + delay] > down[30 + delay]


@LAW
@given(
    st.sampled_from([ACI, Adaptive(kind="aci", rate=0.5)]), delays, levels,
    st.lists(st.sampled_from([-9.0, -1.0, 0.0, 1.0, 9.0, 1e6]), min_size=1, max_size=12), st.integers(60, 300),
)  # fmt: skip
def test_aci_misses_as_often_as_it_says_whatever_comes(
    method: Adaptive, delay: int, level: float, pattern: list[float], n: int
) -> None:
    """A sequence that repeats, grows and turns: no weights help, the feedback alone does."""
    scores = np.resize(np.asarray(pattern), n) * np.linspace(1.0, 30.0, n)
    made, known = indices(n, delay)
    found = track(method, level, scores, decayed(n, delay, 1.0), made, known)
    counted = np.isfinite(found.split) & (known < n)
    heard = int(counted.sum())
    if heard:
        misses = float(np.mean(scores[counted] > found.q[counted]))
        assert abs(misses - (1.0 - level)) <= (1.0 + delay * method.rate) / (heard * method.rate) + 1e-9


@LAW
@given(
    delays, levels, st.lists(st.sampled_from([-9.0, -1.0, 0.0, 1.0, 9.0, 1e6]), min_size=2, max_size=12, unique=True),
    st.integers(60, 300), st.sampled_from([0.1, 0.5]),
)  # fmt: skip
def test_pid_misses_as_often_as_its_integrator_lets_pass(
    delay: int, level: float, pattern: list[float], n: int, saturation: float
) -> None:
    scores = np.resize(np.asarray(pattern), n) * np.linspace(1.0, 30.0, n)
    made, known = indices(n, delay)
    method = Controlled(kind="pid", rate=0.1, gain=0.3, saturation=saturation)
    found = track(method, level, scores, decayed(n, delay, 1.0), made, known)
    counted = np.isfinite(found.split) & (known < n)
    heard = int(counted.sum())
    if heard:
        surplus = float(np.sum(scores[counted] > found.q[counted])) - heard * (1.0 - level)
        passed = max(0.5 * math.pi * saturation * t / math.log(t) for t in range(2, heard + 2))
        assert abs(surplus) <= passed + delay + 1


@pytest.mark.parametrize("gain", [0.0, 0.3])
def test_scores_that_never_differ_leave_pid_at_their_value(gain: float) -> None:
    found = run(Controlled(kind="pid", rate=0.1, gain=gain, saturation=0.1), 0.5, np.full(80, 2.0), 1)
    assert found.q[2:].tolist() == [2.0] * 78


def test_an_integrator_switched_off_leaves_the_tracker_alone() -> None:
    scores = np.random.default_rng(5).normal(size=80)
    off = run(Controlled(kind="pid", rate=0.1, gain=0.0, saturation=0.01), 0.8, scores, 1)
    assert np.isfinite(off.q[10:]).all()
    assert (off.q != off.split)[20:].any()


def test_under_drift_both_cover_where_the_quantile_alone_does_not() -> None:
    rng = np.random.default_rng(3)
    scores = np.abs(rng.normal(size=1000)) * np.linspace(1.0, 6.0, 1000)
    covered = {type(m): float(np.mean(scores[100:] <= run(m, 0.9, scores, 3, 1.0).q[100:])) for m in METHODS}
    assert covered[Split] < 0.85
    assert abs(covered[Adaptive] - 0.9) < 0.015
    assert abs(covered[Controlled] - 0.9) < 0.02


def test_locations_that_share_scores_are_one_forecast_with_a_share_of_misses() -> None:
    """Two cases a forecast, always one of them missed: at level .5 the level never moves."""
    n = 40
    made = np.repeat(np.arange(n), 2)
    known = np.minimum(made + 1, n)
    scores = np.stack([np.full(n, -5.0), 5.0 + np.arange(n)], axis=1).ravel()
    weights = (np.arange(n)[:, None] >= known).astype(float)
    level = 0.5
    found = track(ACI, level, scores, weights, made, known)
    settled = [q for q in found.q if math.isfinite(q)]
    assert settled == [q for q in found.split if math.isfinite(q)]
    assert len(settled) == n - 1


def test_before_there_are_scores_enough_nothing_is_learned() -> None:
    n = 30
    found = run(ACI, 0.95, np.arange(float(n)), 1, 1.0)
    assert np.isinf(found.split[:19]).all()
    assert np.isfinite(found.split[19:]).all()
    np.testing.assert_array_equal(found.q[:20], found.split[:20])  # the first feedback is of step 19, at step 20


@pytest.mark.parametrize("method", METHODS)
def test_without_a_past_there_is_no_bound(method: Method) -> None:
    none = np.zeros(0, dtype=np.int64)
    assert track(method, 0.8, np.zeros(0), np.zeros((3, 0)), none, none).q.tolist() == [math.inf] * 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"made": np.array([0])}, r"expected one a score, \(2,\), found \(1,\) and \(2,\)"),
        ({"known": np.array([1, 1])}, r"known\[1\]: expected a step after 1, when it was forecast, found 1"),
        ({"weights": np.ones((3, 2))}, r"weights\[0, 0\]: expected 0 before step 1, found 1.0"),
        ({"scores": np.array([0.0, math.nan])}, r"scores\[1\]: expected a finite value"),
        ({"level": 1.0}, "strictly between 0 and 1"),
    ],
)
def test_what_cannot_have_been_is_refused(change: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {
        "method": ACI,
        "level": 0.8,
        "scores": np.zeros(2),
        "weights": np.zeros((3, 2)),
        "made": np.array([0, 1]),
        "known": np.array([1, 2]),
    }
    with pytest.raises(CalibrationError, match=message):
        track(**(arguments | change))  # type: ignore[arg-type]
