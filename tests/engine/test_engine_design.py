"""A design knows nothing past its origin, has one shape, and follows the declared plan."""

from __future__ import annotations

import math

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.design import Design, Scales, build, build_hindsight, outcome_inverse, outcome_transform
from engine.errors import TableError
from engine.reaction import none
from engine.spec import Spec
from engine.table import Panel
from tests import small

SPEC = small.spec()
PANEL = small.panel(SPEC)
LOG = small.spec(model__outcome="log", plan__controls="last_year", plan__media="recent_mean")
SPAN = small.TIME + SPEC.backtest.horizon
ORIGINS = st.integers(SPEC.plan.year + 1, small.TIME)
LAW = settings(max_examples=25, deadline=None, derandomize=True)


def raw(found: tuple[Design, Scales]) -> tuple[bytes, ...]:
    design, scales = found
    return (*(np.asarray(array).tobytes() for array in design), repr(scales).encode())


def altered(panel: Panel, origin: int, what: str, how: float) -> Panel:
    """`panel` with every number of one array changed from `origin` on."""
    array = getattr(panel, what).copy()
    array[origin:] = how if math.isnan(how) else array[origin:] * how + how
    return panel._replace(**{what: array})


@LAW
@given(ORIGINS, st.sampled_from(["kpi", "media", "controls"]), st.sampled_from([0.0, 0.5, 1e9, math.nan]))
@pytest.mark.parametrize("spec", [SPEC, LOG], ids=["linear", "log"])
def test_nothing_at_or_after_the_origin_changes_a_bit(spec: Spec, origin: int, what: str, how: float) -> None:
    assert raw(build(altered(PANEL, origin, what, how), spec, origin)) == raw(build(PANEL, spec, origin))


@pytest.mark.parametrize("what", ["kpi", "media", "controls"])
def test_the_last_known_period_does_change_the_design(what: str) -> None:
    origin = 30
    assert raw(build(altered(PANEL, origin - 1, what, 0.5), SPEC, origin)) != raw(build(PANEL, SPEC, origin))


@LAW
@given(ORIGINS)
def test_every_origin_has_one_shape(origin: int) -> None:
    design, _ = build(PANEL, SPEC, origin)
    last, _ = build(PANEL, SPEC, small.TIME)
    assert [a.shape for a in design] == [a.shape for a in last]
    assert design.y.shape == (SPAN, 2)
    assert design.media.shape == (SPAN, 2, 2, SPEC.model.adstock.max_lag)
    assert all(a.dtype == np.float64 for a in design)


def test_outcomes_are_hidden_and_weightless_past_the_origin() -> None:
    design, _ = build(PANEL, SPEC, 30)
    for array in (design.y, design.weight, design.known):
        assert np.asarray(array)[30:].tolist() == [[0.0, 0.0]] * (SPAN - 30)
    assert np.all(np.asarray(design.known)[:30] == 1.0)


def test_last_years_spend_is_repeated_past_the_origin() -> None:
    origin, year = 30, SPEC.plan.year
    design, scales = build(PANEL, SPEC, origin)
    today = np.asarray(design.media)[..., 0] * np.asarray(scales.media)
    for t in range(origin, SPAN):
        back = t
        while back >= origin:
            back -= year
        np.testing.assert_allclose(today[t], PANEL.media[back], rtol=1e-15)


def test_recent_controls_go_on_at_their_mean() -> None:
    origin, recent = 30, SPEC.plan.recent
    design, _ = build(PANEL, SPEC, origin)
    for g in range(2):
        before = PANEL.controls[:origin, g, 0]
        planned = PANEL.controls[origin - recent : origin, g, 0].mean()
        expected = (planned - before.mean()) / before.std()
        np.testing.assert_allclose(np.asarray(design.controls)[origin:, g, 0], expected, rtol=1e-12)


def test_media_are_lagged_across_the_origin() -> None:
    design, _ = build(PANEL, SPEC, 30)
    media = np.asarray(design.media)
    for lag in range(1, SPEC.model.adstock.max_lag):
        assert media[lag:, ..., lag].tobytes() == media[:-lag, ..., 0].tobytes()


def test_hindsight_sees_later_spend_and_never_later_outcomes() -> None:
    origin = 30
    plan, _ = build(PANEL, SPEC, origin)
    hindsight = build_hindsight(PANEL, SPEC, origin)
    assert np.asarray(hindsight.y).tobytes() == np.asarray(plan.y).tobytes()
    moved = build_hindsight(altered(PANEL, origin, "kpi", 9.0), SPEC, origin)
    assert [np.asarray(a).tobytes() for a in moved] == [np.asarray(a).tobytes() for a in hindsight]
    assert np.asarray(hindsight.media)[origin].tobytes() != np.asarray(plan.media)[origin].tobytes()
    spend = PANEL.media[: small.TIME] / np.asarray(build(PANEL, SPEC, origin)[1].media)
    np.testing.assert_allclose(np.asarray(hindsight.media)[: small.TIME, ..., 0], spend, rtol=1e-15)


def test_power_weights_multiply_known_periods_only() -> None:
    origin = 30
    weight = [0.1 + 0.02 * t for t in range(origin)]
    asked = none(origin, SPEC.backtest.horizon)._replace(weight=tuple(weight))
    design, _ = build(PANEL, SPEC, origin, asked)
    assert np.asarray(design.weight)[:origin].tolist() == [[w, w] for w in weight]
    assert not np.any(np.asarray(design.weight)[origin:])
    plain, _ = build(PANEL, SPEC, origin)
    assert raw((design._replace(weight=plain.weight), build(PANEL, SPEC, origin)[1])) == raw(build(PANEL, SPEC, origin))
    assert raw(build(PANEL, SPEC, origin, none(origin, SPEC.backtest.horizon))) == raw(build(PANEL, SPEC, origin))


@pytest.mark.parametrize("spec", [SPEC, LOG], ids=["linear", "log"])
def test_the_models_scale_leads_back_to_the_outcome(spec: Spec) -> None:
    design, scales = build(PANEL, spec, small.TIME)
    back = outcome_inverse(spec)(design.y[: small.TIME]) * np.asarray(scales.kpi)
    np.testing.assert_allclose(back, PANEL.kpi, rtol=1e-14)
    assert outcome_transform(spec)(1.0) == 0.0


def test_scales_are_means_before_the_origin() -> None:
    _, scales = build(PANEL, SPEC, 30)
    np.testing.assert_allclose(scales.kpi, PANEL.kpi[:30].mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(scales.media, PANEL.media[:30].mean(axis=(0, 1)), rtol=1e-14)


def test_a_channel_that_never_spent_and_a_control_that_never_moved_are_zeros() -> None:
    media, controls = PANEL.media.copy(), PANEL.controls.copy()
    media[..., 1], controls[..., 0] = 0.0, 3.5
    design, scales = build(PANEL._replace(media=media, controls=controls), SPEC, 30)
    assert scales.media[1] == 1.0
    assert not np.any(np.asarray(design.media)[:, :, 1])
    assert not np.any(np.asarray(design.controls))


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_log_outcome_must_be_positive_and_the_error_says_where(value: float) -> None:
    kpi = PANEL.kpi.copy()
    kpi[3, 1] = value
    with pytest.raises(TableError, match=r"kpi of West on 2016-10-24: expected > 0 for outcome: log"):
        build(PANEL._replace(kpi=kpi), LOG, 30)


def test_trend_is_measured_from_the_middle_of_what_is_known() -> None:
    design, _ = build(PANEL, SPEC, 30)
    trend = np.asarray(design.trend)
    np.testing.assert_allclose(trend[:30].sum(), 0.0, atol=1e-12)
    np.testing.assert_allclose(np.diff(trend), 1.0 / SPEC.plan.year, rtol=1e-12)


def test_season_repeats_after_its_period() -> None:
    design, _ = build(PANEL, SPEC, 30)
    season = np.asarray(design.season)
    assert season.shape == (SPAN, 2)
    np.testing.assert_allclose(season[13:], season[:-13], atol=1e-12)
    np.testing.assert_allclose(season[0], [1.0, 0.0], atol=0)


def test_a_design_is_a_tree_of_arrays_for_jit() -> None:
    design, _ = build(PANEL, SPEC, 30)
    assert len(jax.tree.leaves(design)) == len(Design._fields)
