"""Laws of the change-point recursions, against a twin that sums over every start; attacks on their input."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from engine.changepoint import Online, ResidualError, online, online_panel, run_length_posterior, segmentation
from engine.errors import SpecError
from engine.spec import Detect
from tests import reference

Floats = npt.NDArray[np.float64]

BASE = Detect(
    hazard=0.02,
    threshold=0.5,
    window=5,
    mean_precision=0.1,
    shape=2.0,
    rate=2.0,
    slope_scale=0.05,
    linear_weight=0.2,
    max_run_length=150,
    match_days=28,
    channels=(),
    regions=(),
    power=0.3,
    widen=1.5,
)
TIME = 14  # of the panels checked against the twin: few shapes, few compilations
laws = st.builds(
    reference.Law,
    hazard=st.floats(0.001, 0.6),
    mean_precision=st.floats(0.01, 10),
    shape=st.floats(0.3, 20),
    rate=st.floats(0.05, 20),
    slope_scale=st.floats(0.001, 3),
    linear_weight=st.one_of(st.just(0.0), st.floats(0.01, 5)),
)
values = st.one_of(st.floats(-5, 5), st.floats(-1e3, 1e3), st.just(math.nan))
panels = hnp.arrays(np.float64, (TIME, 2), elements=values)
exact = settings(deadline=None, derandomize=True, max_examples=15)


def declared(law: reference.Law, memory: int) -> Detect:
    return BASE.model_copy(update={**law._asdict(), "max_run_length": memory})


def noise(seed: int, *shape: int) -> Floats:
    return np.random.default_rng(seed).normal(size=shape)


# The twin.


@exact
@given(panels, laws, st.sampled_from([6, TIME + 4]))
def test_recursion_equals_the_sum_over_every_start(panel: Floats, law: reference.Law, memory: int) -> None:
    rows, evidence = reference.run_length_posterior(panel, law, memory)
    detect = declared(law, memory)
    found = online_panel(panel, detect)
    np.testing.assert_allclose(run_length_posterior(panel, detect), rows, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.log_predictive, evidence, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.change_probability, rows[:, : BASE.window].sum(axis=1), atol=1e-9)
    np.testing.assert_allclose(found.expected_run_length, rows @ np.arange(memory), rtol=1e-9, atol=1e-9)


@exact
@given(panels, laws, st.sampled_from([6, TIME + 4]))
def test_run_lengths_named_are_the_most_probable_ones(panel: Floats, law: reference.Law, memory: int) -> None:
    detect = declared(law, memory)
    rows, found = run_length_posterior(panel, detect), online_panel(panel, detect)
    np.testing.assert_array_equal(found.map_run_length, rows.argmax(axis=1))
    np.testing.assert_array_equal(found.recent_run_length, rows[:, : BASE.window].argmax(axis=1))


@exact
@given(hnp.arrays(np.float64, (8, 2), elements=values), laws, st.sampled_from([3, 10]))
def test_segmentation_is_the_best_of_all_and_their_sum_is_the_evidence(
    panel: Floats, law: reference.Law, memory: int
) -> None:
    every = reference.every_segmentation(panel, law, memory)
    detect = declared(law, memory).model_copy(update={"window": 2})
    found = segmentation(panel, detect)
    best = max(every.values())
    assert found.log_joint == pytest.approx(best, rel=1e-9, abs=1e-9)
    assert every[found.starts] == pytest.approx(best, rel=1e-9, abs=1e-9)
    total = reference.log_sum(list(every.values()))
    assert math.fsum(online_panel(panel, detect).log_predictive) == pytest.approx(total, rel=1e-9, abs=1e-9)


def test_long_series_far_from_zero_loses_no_digits() -> None:
    panel = 1e4 + noise(1, 60, 1)
    law = reference.Law(0.01, 1e-8, 2.0, 2.0, 0.05, 0.5)
    evidence = online_panel(panel, declared(law, 6)).log_predictive
    np.testing.assert_allclose(evidence, reference.run_length_posterior(panel, law, 6)[1], atol=1e-6)


# Invariances.


@exact
@given(panels, laws, st.sampled_from([6, TIME + 4]))
def test_posterior_sums_to_one(panel: Floats, law: reference.Law, memory: int) -> None:
    rows = run_length_posterior(panel, declared(law, memory))
    assert (rows >= 0).all()
    np.testing.assert_allclose(rows.sum(axis=1), 1.0, rtol=0, atol=1e-13)


@exact
@given(panels, laws)
def test_mirrored_residuals_change_no_bit(panel: Floats, law: reference.Law) -> None:
    detect = declared(law, 6)
    np.testing.assert_array_equal(run_length_posterior(-panel, detect), run_length_posterior(panel, detect))


@exact
@given(panels, laws, st.floats(0.01, 100))
def test_scaling_residuals_and_the_rate_together_changes_nothing(
    panel: Floats, law: reference.Law, scale: float
) -> None:
    scaled = law._replace(rate=law.rate * scale**2)
    before = run_length_posterior(panel, declared(law, 6))
    np.testing.assert_allclose(run_length_posterior(scale * panel, declared(scaled, 6)), before, atol=1e-9)


@exact
@given(panels, laws)
def test_locations_have_no_order_and_a_missing_one_no_voice(panel: Floats, law: reference.Law) -> None:
    detect = declared(law, 6)
    before = run_length_posterior(panel, detect)
    np.testing.assert_allclose(run_length_posterior(panel[:, ::-1].copy(), detect), before, atol=1e-12)
    wider = np.concatenate([panel, np.full((TIME, 2), np.nan)], axis=1)
    np.testing.assert_allclose(run_length_posterior(wider, detect), before, atol=1e-12)


@exact
@given(panels, laws)
def test_online_never_looks_ahead(panel: Floats, law: reference.Law) -> None:
    detect = declared(law, TIME + 4)
    half = panel.copy()
    half[TIME // 2 :] = np.nan
    whole, blind = run_length_posterior(panel, detect), run_length_posterior(half, detect)
    np.testing.assert_array_equal(blind[: TIME // 2], whole[: TIME // 2])


@exact
@given(panels, laws)
def test_a_linear_model_that_cannot_slope_is_the_constant_one(panel: Floats, law: reference.Law) -> None:
    flat, constant = law._replace(slope_scale=1e-9), law._replace(linear_weight=0.0)
    np.testing.assert_allclose(
        run_length_posterior(panel, declared(flat, 6)),
        run_length_posterior(panel, declared(constant, 6)),
        atol=1e-9,
    )


# Missing values.


def test_without_data_run_lengths_grow_by_the_hazard_alone() -> None:
    rows = run_length_posterior(np.full((40, 2), np.nan), BASE)
    for t, row in enumerate(rows):
        expected = [BASE.hazard * (1 - BASE.hazard) ** r for r in range(t)] + [(1 - BASE.hazard) ** t]
        np.testing.assert_allclose(row[: t + 1], expected, rtol=1e-12)
        assert not row[t + 1 :].any()


def test_a_gap_neither_alarms_nor_cuts() -> None:
    x = noise(3, 120)
    x[50:90] = np.nan
    assert online(x, BASE).alarms == ()
    assert segmentation(x, BASE).starts == (0,)


# What an alarm is.


def alarms_by_rule(found: Online, detect: Detect) -> list[int]:
    p = found.change_probability
    return [t for t in range(1, len(p)) if p[t] > detect.threshold >= p[t - 1]]


def test_alarms_are_the_first_periods_above_the_threshold() -> None:
    raised = 0
    for seed in range(20):
        level = np.repeat(noise(seed, 6) * 4, 25)
        found = online(level + noise(100 + seed, 150), BASE)
        periods = [alarm.period for alarm in found.alarms]
        assert periods == alarms_by_rule(found, BASE)
        assert all(period >= BASE.window for period in periods)
        for alarm in found.alarms:
            assert alarm.period - BASE.window < alarm.start <= alarm.period
            assert alarm.probability == found.change_probability[alarm.period] > BASE.threshold
        raised += len(periods)
    assert raised > 40


def test_a_four_sd_step_is_alarmed_within_three_periods() -> None:
    caught = 0
    for seed in range(40):
        x = noise(seed, 100)
        x[60:] += 4.0 if seed % 2 else -4.0
        alarms = [a for a in online(x, BASE).alarms if 60 <= a.period <= 62]
        caught += any(abs(a.start - 60) <= 1 for a in alarms)
    assert caught >= 37


def test_a_four_sd_step_is_where_the_segmentation_cuts() -> None:
    cuts = []
    for seed in range(40):
        x = noise(seed, 100)
        x[60:] += 4.0
        cuts.append(segmentation(x, BASE).starts)
    assert sum(any(abs(start - 60) <= 1 for start in starts) for starts in cuts) >= 38
    assert sum(len(starts) == 2 for starts in cuts) >= 36


def test_a_step_too_small_for_one_location_is_seen_by_eight_together() -> None:
    alone = together = 0
    for seed in range(20):
        panel = noise(seed, 100, 8)
        panel[60:] += 1.2
        together += any(60 <= a.period <= 64 for a in online_panel(panel, BASE).alarms)
        alone += any(60 <= a.period <= 64 for a in online(panel[:, 0], BASE).alarms)
    assert together >= 18
    assert alone <= 8


def test_a_slope_is_one_segment_with_the_linear_model_and_several_without() -> None:
    x = 0.1 * np.arange(100.0) + noise(5, 100)
    assert segmentation(x, BASE).starts == (0,)
    assert len(segmentation(x, BASE.model_copy(update={"linear_weight": 0.0})).starts) > 2


# Rates. Tolerances are three standard errors of the simulation, over independent series.


def test_stationary_residuals_alarm_no_more_often_than_the_hazard_implies() -> None:
    series, length = 100, 100
    counts = [len(online(noise(seed, length), BASE).alarms) for seed in range(1000, 1000 + series)]
    periods = series * length
    allowed = BASE.hazard * periods + 3 * math.sqrt(BASE.hazard * (1 - BASE.hazard) * periods)
    assert sum(counts) <= allowed


def test_change_probability_is_calibrated_where_the_model_holds() -> None:
    rng = np.random.default_rng(7)
    series, length = 200, 100
    gaps, events = [], 0.0
    for _ in range(series):
        x, run = draw_series(rng, length)
        recent = (run < BASE.window)[BASE.window :]
        gaps.append(float(np.mean(recent - online(x, BASE).change_probability[BASE.window :])))
        events += float(recent.mean())
    assert 0.05 < events / series < 0.15
    assert abs(np.mean(gaps)) <= 3 * np.std(gaps) / math.sqrt(series)


def draw_series(rng: np.random.Generator, length: int) -> tuple[Floats, npt.NDArray[np.int64]]:
    """One series of the model of `BASE`, and its run lengths."""
    x, run = np.zeros(length), np.zeros(length, dtype=np.int64)
    for t in range(length):
        if t == 0 or rng.random() < BASE.hazard:
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
        online_panel(panel, BASE)


@pytest.mark.parametrize("value", [math.inf, -math.inf, 1e101, -1e200])
def test_a_value_too_large_to_square_is_refused_and_named(value: float) -> None:
    x = noise(0, 30)
    x[17] = value
    with pytest.raises(ResidualError, match=r"residuals\[17\]: expected NaN or a value within 1e\+100"):
        online(x, BASE)


def test_a_window_the_kept_run_lengths_cannot_tell_is_refused() -> None:
    for detect in (BASE.model_copy(update={"window": 150}), BASE.model_copy(update={"max_run_length": 5})):
        for call in (online, segmentation):
            with pytest.raises(SpecError, match="window: expected less than max_run_length"):
                call(noise(0, 30), detect)


def test_what_is_reported_cannot_be_edited() -> None:
    found = online(noise(0, 30), BASE)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.alarms = ()  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        found.change_probability[0] = 0.0
