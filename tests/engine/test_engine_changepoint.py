"""Laws of the change-point recursions, against a twin that sums over every start; attacks on their input."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from engine import changepoint
from engine.changepoint import (
    Alarming,
    Online,
    ResidualError,
    online,
    online_batch,
    online_panel,
    run_length_posterior,
    segmentation,
)
from engine.errors import SpecError
from engine.spec_detect import Robust, Segments
from tests import reference

Floats = npt.NDArray[np.float64]

NONE = Robust(kind="none", beta=0.0)
BASE = Segments(
    mean_precision=0.1,
    shape=2.0,
    rate=2.0,
    slope_scale=0.05,
    linear_weight=0.2,
    max_run_length=150,
    settled=0,
    robust=NONE,
)
STEADY = BASE.model_copy(update={"robust": Robust(kind="beta_divergence", beta=0.2)})
HAZARD, WINDOW, THRESHOLD = 0.02, 5, 0.5
ALARMING = Alarming(HAZARD, WINDOW, THRESHOLD)
TIME = 14  # of the panels checked against the twin: few shapes, few compilations
laws = st.builds(
    reference.Law,
    hazard=st.floats(0.001, 0.6),
    mean_precision=st.floats(0.01, 10),
    shape=st.floats(0.3, 20),
    rate=st.floats(0.05, 20),
    slope_scale=st.floats(0.001, 3),
    linear_weight=st.one_of(st.just(0.0), st.floats(0.01, 5)),
    beta=st.sampled_from([0.0, 0.05, 0.3, 1.0]),
)
values = st.one_of(st.floats(-5, 5), st.floats(-1e3, 1e3), st.just(math.nan))
panels = hnp.arrays(np.float64, (TIME, 2), elements=values)
exact = settings(deadline=None, derandomize=True, max_examples=15)


def declared(law: reference.Law, memory: int) -> Segments:
    numbers = {name: value for name, value in law._asdict().items() if name in Segments.model_fields}
    robust = Robust(kind="beta_divergence", beta=law.beta) if law.beta else NONE
    return BASE.model_copy(update={**numbers, "max_run_length": memory, "robust": robust})


def watched(panel: Floats, law: reference.Law, memory: int) -> Online:
    return online_panel(panel, declared(law, memory), Alarming(law.hazard, WINDOW, THRESHOLD))


def posterior(panel: Floats, law: reference.Law, memory: int) -> Floats:
    return run_length_posterior(panel, declared(law, memory), law.hazard)


def noise(seed: int, *shape: int) -> Floats:
    return np.random.default_rng(seed).normal(size=shape)


# What is known before the first residual.


@exact
@given(panels, laws)
def test_a_settled_start_is_a_history_of_plus_and_minus_one(panel: Floats, law: reference.Law) -> None:
    lead = 6
    settled = declared(law, TIME + lead).model_copy(update={"settled": lead})
    history = np.concatenate([np.array([[1.0, 1.0], [-1.0, -1.0]] * 3), panel])
    rows, evidence = reference.run_length_posterior(history, law, TIME + lead)
    found = online_panel(panel, settled, Alarming(law.hazard, WINDOW, 0.5))
    np.testing.assert_allclose(found.change_probability, rows[lead:, :WINDOW].sum(axis=1), atol=1e-9)
    np.testing.assert_allclose(found.log_predictive, evidence[lead:], rtol=1e-9, atol=1e-9)
    batch = online_batch(panel[:, :1].T, settled, Alarming(law.hazard, WINDOW, 0.5))
    alone = online(panel[:, 0], settled, Alarming(law.hazard, WINDOW, 0.5))
    np.testing.assert_allclose(batch.change_probability[0], alone.change_probability, rtol=1e-12, atol=1e-12)


def test_a_settled_start_lets_the_first_periods_alarm() -> None:
    x = noise(5, 30) + 4.0
    assert online(x, BASE.model_copy(update={"settled": 52}), ALARMING).alarms[0].period <= 2
    assert online(x, BASE, ALARMING).alarms == ()


def test_starts_of_a_settled_series_are_indices_into_it() -> None:
    x = noise(6, 40)
    x[20:] += 5.0
    assert segmentation(x, BASE.model_copy(update={"settled": 52}), HAZARD).starts == (0, 20)


# The twin.


@exact
@given(panels, laws, st.sampled_from([6, TIME + 4]))
def test_recursion_equals_the_sum_over_every_start(panel: Floats, law: reference.Law, memory: int) -> None:
    rows, evidence = reference.run_length_posterior(panel, law, memory)
    found = watched(panel, law, memory)
    np.testing.assert_allclose(posterior(panel, law, memory), rows, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.log_predictive, evidence, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.change_probability, rows[:, :WINDOW].sum(axis=1), atol=1e-9)
    np.testing.assert_allclose(found.expected_run_length, rows @ np.arange(memory), rtol=1e-9, atol=1e-9)


@exact
@given(panels, laws, st.sampled_from([6, TIME + 4]))
def test_run_lengths_named_are_the_most_probable_ones(panel: Floats, law: reference.Law, memory: int) -> None:
    rows, found = posterior(panel, law, memory), watched(panel, law, memory)
    np.testing.assert_array_equal(found.map_run_length, rows.argmax(axis=1))
    np.testing.assert_array_equal(found.recent_run_length, rows[:, :WINDOW].argmax(axis=1))


@exact
@given(hnp.arrays(np.float64, (8, 2), elements=values), laws, st.sampled_from([3, 10]))
def test_segmentation_is_the_best_of_all_and_their_sum_is_the_evidence(
    panel: Floats, law: reference.Law, memory: int
) -> None:
    every = reference.every_segmentation(panel, law, memory)
    found = segmentation(panel, declared(law, memory), law.hazard)
    best = max(every.values())
    assert found.log_joint == pytest.approx(best, rel=1e-9, abs=1e-9)
    assert every[found.starts] == pytest.approx(best, rel=1e-9, abs=1e-9)
    total = reference.log_sum(list(every.values()))
    evidence = online_panel(panel, declared(law, memory), Alarming(law.hazard, 2, THRESHOLD)).log_predictive
    assert math.fsum(evidence) == pytest.approx(total, rel=1e-9, abs=1e-9)


def test_long_series_far_from_zero_loses_no_digits() -> None:
    panel = 1e4 + noise(1, 60, 1)
    law = reference.Law(0.01, 1e-8, 2.0, 2.0, 0.05, 0.5)
    evidence = watched(panel, law, 6).log_predictive
    np.testing.assert_allclose(evidence, reference.run_length_posterior(panel, law, 6)[1], atol=1e-6)


@pytest.mark.parametrize("weight", [0.0, 1e-9, 1e9])
def test_a_line_without_noise_is_finite_under_any_weight_of_the_linear_model(weight: float) -> None:
    panel = 1e3 * np.arange(80.0)[:, None]
    law = reference.Law(0.01, 0.1, 20.0, 1e-6, 50.0, weight)
    rows, evidence = reference.run_length_posterior(panel, law, 80)
    np.testing.assert_allclose(watched(panel, law, 80).log_predictive, evidence, rtol=1e-6, atol=1e-4)
    np.testing.assert_allclose(posterior(panel, law, 80), rows, atol=1e-4)


# Invariances.


@exact
@given(panels, laws, st.sampled_from([6, TIME + 4]))
def test_posterior_sums_to_one(panel: Floats, law: reference.Law, memory: int) -> None:
    rows = posterior(panel, law, memory)
    assert (rows >= 0).all()
    np.testing.assert_allclose(rows.sum(axis=1), 1.0, rtol=0, atol=1e-13)


@exact
@given(panels, laws)
def test_mirrored_residuals_change_no_bit(panel: Floats, law: reference.Law) -> None:
    np.testing.assert_array_equal(posterior(-panel, law, 6), posterior(panel, law, 6))


@exact
@given(panels, laws, st.floats(0.01, 100))
def test_scaling_residuals_and_the_rate_together_changes_nothing(
    panel: Floats, law: reference.Law, scale: float
) -> None:
    law = law._replace(beta=0.0)  # a density to a power has units
    scaled = law._replace(rate=law.rate * scale**2)
    np.testing.assert_allclose(posterior(scale * panel, scaled, 6), posterior(panel, law, 6), atol=1e-9)


@exact
@given(panels, laws)
def test_locations_have_no_order_and_a_missing_one_no_voice(panel: Floats, law: reference.Law) -> None:
    before = posterior(panel, law, 6)
    np.testing.assert_allclose(posterior(panel[:, ::-1].copy(), law, 6), before, atol=1e-12)
    wider = np.concatenate([panel, np.full((TIME, 2), np.nan)], axis=1)
    np.testing.assert_allclose(posterior(wider, law, 6), before, atol=1e-12)


@exact
@given(panels, laws)
def test_online_never_looks_ahead(panel: Floats, law: reference.Law) -> None:
    half = panel.copy()
    half[TIME // 2 :] = np.nan
    whole, blind = posterior(panel, law, TIME + 4), posterior(half, law, TIME + 4)
    np.testing.assert_array_equal(blind[: TIME // 2], whole[: TIME // 2])


@exact
@given(panels, laws)
def test_a_linear_model_that_cannot_slope_is_the_constant_one(panel: Floats, law: reference.Law) -> None:
    flat, constant = law._replace(slope_scale=1e-9), law._replace(linear_weight=0.0)
    np.testing.assert_allclose(
        posterior(panel, flat, 6),
        posterior(panel, constant, 6),
        atol=1e-9,
    )


@exact
@given(panels, laws)
def test_a_memory_longer_than_the_series_is_the_series(panel: Floats, law: reference.Law) -> None:
    longer = posterior(panel, law, 10 * TIME)
    np.testing.assert_array_equal(longer[:, :TIME], posterior(panel, law, TIME))
    assert not longer[:, TIME:].any()


@settings(exact, max_examples=8)
@given(st.sampled_from([1, changepoint.TOGETHER + 1]), st.integers(0, 99), st.sampled_from([BASE, STEADY]))
def test_a_batch_says_of_every_series_what_online_says(count: int, seed: int, segments: Segments) -> None:
    rows = noise(seed, count, 40)
    rows[:, 25:] += 3.0 * np.arange(count)[:, None]
    rows[0, 30:] = math.nan
    batch = online_batch(rows, segments, ALARMING)
    for row, probability, run in zip(rows, *batch, strict=True):
        alone = online(row, segments, ALARMING)
        np.testing.assert_allclose(probability, alone.change_probability, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(run, alone.recent_run_length)


# Missing values.


def test_without_data_run_lengths_grow_by_the_hazard_alone() -> None:
    rows = run_length_posterior(np.full((40, 2), np.nan), BASE, HAZARD)
    for t, row in enumerate(rows):
        expected = [HAZARD * (1 - HAZARD) ** r for r in range(t)] + [(1 - HAZARD) ** t]
        np.testing.assert_allclose(row[: t + 1], expected, rtol=1e-12)
        assert not row[t + 1 :].any()


def test_a_gap_neither_alarms_nor_cuts() -> None:
    x = noise(3, 120)
    x[50:90] = np.nan
    assert online(x, BASE, ALARMING).alarms == ()
    assert segmentation(x, BASE, HAZARD).starts == (0,)


# What an alarm is.


def alarms_by_rule(found: Online) -> list[int]:
    p = found.change_probability
    return [t for t in range(1, len(p)) if p[t] > THRESHOLD >= p[t - 1]]


def test_alarms_are_the_first_periods_above_the_threshold() -> None:
    raised = 0
    for seed in range(20):
        level = np.repeat(noise(seed, 6) * 4, 25)
        found = online(level + noise(100 + seed, 150), BASE, ALARMING)
        periods = [alarm.period for alarm in found.alarms]
        assert periods == alarms_by_rule(found)
        assert all(period >= WINDOW for period in periods)
        for alarm in found.alarms:
            assert alarm.period - WINDOW < alarm.start <= alarm.period
            assert 0 <= alarm.delay == found.recent_run_length[alarm.period] < WINDOW
            assert alarm.probability == found.change_probability[alarm.period] > THRESHOLD
        raised += len(periods)
    assert raised > 40


def test_a_four_sd_step_is_alarmed_within_three_periods() -> None:
    caught = 0
    for seed in range(40):
        x = noise(seed, 100)
        x[60:] += 4.0 if seed % 2 else -4.0
        alarms = [a for a in online(x, BASE, ALARMING).alarms if 60 <= a.period <= 62]
        caught += any(abs(a.start - 60) <= 1 for a in alarms)
    assert caught >= 37


def test_a_four_sd_step_is_where_the_segmentation_cuts() -> None:
    cuts = []
    for seed in range(40):
        x = noise(seed, 100)
        x[60:] += 4.0
        cuts.append(segmentation(x, BASE, HAZARD).starts)
    assert sum(any(abs(start - 60) <= 1 for start in starts) for starts in cuts) >= 38
    assert sum(len(starts) == 2 for starts in cuts) >= 36


def test_a_step_too_small_for_one_location_is_seen_by_eight_together() -> None:
    alone = together = 0
    for seed in range(20):
        panel = noise(seed, 100, 8)
        panel[60:] += 1.2
        together += any(60 <= a.period <= 64 for a in online_panel(panel, BASE, ALARMING).alarms)
        alone += any(60 <= a.period <= 64 for a in online(panel[:, 0], BASE, ALARMING).alarms)
    assert together >= 18
    assert alone <= 8


def test_a_slope_is_one_segment_with_the_linear_model_and_several_without() -> None:
    x = 0.1 * np.arange(100.0) + noise(5, 100)
    assert segmentation(x, BASE, HAZARD).starts == (0,)
    assert len(segmentation(x, BASE.model_copy(update={"linear_weight": 0.0}), HAZARD).starts) > 2


# Rates. Tolerances are three standard errors of the simulation, over independent series.


def test_stationary_residuals_alarm_no_more_often_than_the_hazard_implies() -> None:
    series, length = 100, 100
    counts = [len(online(noise(seed, length), BASE, ALARMING).alarms) for seed in range(1000, 1000 + series)]
    periods = series * length
    allowed = HAZARD * periods + 3 * math.sqrt(HAZARD * (1 - HAZARD) * periods)
    assert sum(counts) <= allowed


def test_change_probability_is_calibrated_where_the_model_holds() -> None:
    rng = np.random.default_rng(7)
    series, length = 200, 100
    gaps, events = [], 0.0
    for _ in range(series):
        x, run = draw_series(rng, length)
        recent = (run < WINDOW)[WINDOW:]
        gaps.append(float(np.mean(recent - online(x, BASE, ALARMING).change_probability[WINDOW:])))
        events += float(recent.mean())
    assert 0.05 < events / series < 0.15
    assert abs(np.mean(gaps)) <= 3 * np.std(gaps) / math.sqrt(series)


def draw_series(rng: np.random.Generator, length: int) -> tuple[Floats, npt.NDArray[np.int64]]:
    """One series of the model of `BASE`, and its run lengths."""
    x, run = np.zeros(length), np.zeros(length, dtype=np.int64)
    for t in range(length):
        if t == 0 or rng.random() < HAZARD:
            start, s2 = t, BASE.rate / rng.gamma(BASE.shape)
            level = rng.normal() * math.sqrt(s2 / BASE.mean_precision)
            linear = rng.random() < BASE.linear_weight / (1 + BASE.linear_weight)
            slope = rng.normal() * math.sqrt(s2) * BASE.slope_scale if linear else 0.0
        run[t] = t - start
        x[t] = level + slope * run[t] + rng.normal() * math.sqrt(s2)
    return x, run


# Attacks.


@pytest.mark.parametrize(
    "panel",
    [np.zeros((0, 1)), np.zeros((5, 0)), np.zeros(5), np.zeros((5, 1, 1))],
    ids=["no period", "no location", "one axis", "three axes"],
)
def test_a_panel_of_another_shape_is_refused(panel: Floats) -> None:
    with pytest.raises(ResidualError, match="expected 2 axes and a value, found shape"):
        online_panel(panel, BASE, ALARMING)


@pytest.mark.parametrize("value", [math.inf, -math.inf, 1e101, -1e200])
def test_a_value_too_large_to_square_is_refused_and_named(value: float) -> None:
    x = noise(0, 30)
    x[17] = value
    with pytest.raises(ResidualError, match=r"residuals\[17\]: expected NaN or a value within 1e\+100"):
        online(x, BASE, ALARMING)


@pytest.mark.parametrize("call", [online_panel, online_batch])
def test_a_window_the_kept_run_lengths_cannot_tell_is_refused(call: Callable[..., object]) -> None:
    short = BASE.model_copy(update={"max_run_length": WINDOW})
    for segments, alarming in ((BASE, ALARMING._replace(window=150)), (short, ALARMING)):
        with pytest.raises(SpecError, match="window: expected less than max_run_length"):
            call(noise(0, 30, 1), segments, alarming)


def test_what_is_reported_cannot_be_edited() -> None:
    found = online(noise(0, 30), BASE, ALARMING)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.alarms = ()  # type: ignore[misc]
    batch = online_batch(noise(0, 2, 30), BASE, ALARMING)
    for kept in (found.change_probability, batch.change_probability, batch.recent_run_length):
        with pytest.raises(ValueError, match="read-only"):
            kept[0] = 0
