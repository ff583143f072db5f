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
from tests import classes, small

SPEC = small.spec()
PANEL = small.panel(SPEC)
LOG = small.spec(model__outcome="log", plan__controls="last_year", plan__media="recent_mean")
RICH = classes.spec(
    "combined",
    data__media=[{**classes.TV, "frequency": "Contacts"}, classes.SEARCH],
    data__controls=[classes.PRICE, classes.PROMOTION],
    data__errors=[{"name": f"error_{k}", "column": f"Error{k}", "unit": "USD"} for k in range(2)],
)
PANELS = {SPEC: PANEL, LOG: PANEL, RICH: classes.panel(RICH)}
ARRAYS = ("kpi", "error", "media", "frequency", "controls", "mediators")
MEDIATOR: dict[str, object] = {
    "channels": ["tv"], "outcomes": ["sales"], "path_scale": 1.0, "effect_scale": 0.2, "positive": True,
    "noise_scale": 0.5, "survey_scale": None,
}  # fmt: skip
CANNIBALISED = classes.spec("cannibalised")
SPAN = small.TIME + SPEC.backtest.horizon
ORIGINS = st.integers(SPEC.plan.year + 1, small.TIME)
LAW = settings(max_examples=25, deadline=None, derandomize=True)


def raw(found: tuple[Design, Scales]) -> tuple[bytes, ...]:
    design, scales = found
    return (*leaves(design), repr(scales).encode())


def leaves(design: Design) -> tuple[bytes, ...]:
    return tuple(np.asarray(array).tobytes() for array in jax.tree.leaves(design))


def altered(panel: Panel, origin: int, what: str, how: float) -> Panel:
    """`panel` with every number of one array changed from `origin` on."""
    array = getattr(panel, what).copy()
    array[origin:] = how if math.isnan(how) else array[origin:] * how + how
    return panel._replace(**{what: array})


@LAW
@given(ORIGINS, st.sampled_from(ARRAYS), st.sampled_from([0.0, 0.5, 1e9, math.nan]))
@pytest.mark.parametrize("spec", [SPEC, LOG, RICH], ids=["linear", "log", "rich"])
def test_nothing_at_or_after_the_origin_changes_a_bit(spec: Spec, origin: int, what: str, how: float) -> None:
    panel = PANELS[spec]
    assert raw(build(altered(panel, origin, what, how), spec, origin)) == raw(build(panel, spec, origin))


@pytest.mark.parametrize("what", ARRAYS)
def test_the_last_known_period_does_change_the_design(what: str) -> None:
    origin, panel = 33, PANELS[RICH]  # a survey was made in the period before
    assert raw(build(altered(panel, origin - 1, what, 0.5), RICH, origin)) != raw(build(panel, RICH, origin))


@LAW
@given(ORIGINS)
@pytest.mark.parametrize("spec", [SPEC, RICH], ids=["linear", "rich"])
def test_every_origin_has_one_shape(spec: Spec, origin: int) -> None:
    design, _ = build(PANELS[spec], spec, origin)
    last, _ = build(PANELS[spec], spec, small.TIME)
    assert [a.shape for a in jax.tree.leaves(design)] == [a.shape for a in jax.tree.leaves(last)]
    assert design.y.shape == (SPAN, 2 * len(spec.data.outcomes))
    assert design.media.spend.shape == (SPAN, 2, 2, spec.model.media.adstock.max_lag)
    columns = (design.tests.channel, design.tests.roi_channel)  # indices
    for array in jax.tree.leaves(design):
        assert array.dtype == (np.int64 if any(array is column for column in columns) else np.float64)


def test_outcomes_are_hidden_and_weightless_past_the_origin() -> None:
    design, _ = build(PANEL, SPEC, 30)
    for array in (design.y, design.weight, design.known):
        assert np.asarray(array)[30:].tolist() == [[0.0, 0.0]] * (SPAN - 30)
    assert np.all(np.asarray(design.known)[:30] == 1.0)


def test_last_years_spend_is_repeated_past_the_origin() -> None:
    origin, year = 30, SPEC.plan.year
    design, scales = build(PANEL, SPEC, origin)
    today = np.asarray(design.media.spend)[..., 0] * np.asarray(scales.media)
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
    media = np.asarray(design.media.spend)
    for lag in range(1, SPEC.model.media.adstock.max_lag):
        assert media[lag:, ..., lag].tobytes() == media[:-lag, ..., 0].tobytes()


def test_hindsight_sees_later_spend_and_never_later_outcomes() -> None:
    origin = 30
    plan, _ = build(PANEL, SPEC, origin)
    hindsight = build_hindsight(PANEL, SPEC, origin)
    assert np.asarray(hindsight.y).tobytes() == np.asarray(plan.y).tobytes()
    moved = build_hindsight(altered(PANEL, origin, "kpi", 9.0), SPEC, origin)
    assert leaves(moved) == leaves(hindsight)
    assert np.asarray(hindsight.media.spend)[origin].tobytes() != np.asarray(plan.media.spend)[origin].tobytes()
    spend = PANEL.media[: small.TIME] / np.asarray(build(PANEL, SPEC, origin)[1].media)
    np.testing.assert_allclose(np.asarray(hindsight.media.spend)[: small.TIME, ..., 0], spend, rtol=1e-15)


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
    assert not np.any(np.asarray(design.media.spend)[:, :, 1])
    assert not np.any(np.asarray(design.controls))


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_log_outcome_must_be_positive_and_the_error_says_where(value: float) -> None:
    kpi = PANEL.kpi.copy()
    kpi[3, 1] = value
    with pytest.raises(TableError, match=r"kpi of West on 2016-10-24: expected > 0 for outcome: log"):
        build(PANEL._replace(kpi=kpi), LOG, 30)


def test_trend_is_measured_from_the_middle_of_what_is_known() -> None:
    design, _ = build(PANEL, SPEC, 30)
    trend = np.asarray(design.trend.columns)[:, 0]
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
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(design))


# Columns that only some tables have.


def test_a_given_error_is_on_the_models_scale_and_goes_on_at_its_recent_mean() -> None:
    origin, recent, panel = 30, SPEC.plan.recent, PANELS[RICH]
    design, scales = build(panel, RICH, origin)
    scaled = panel.error[:origin] / np.asarray(scales.kpi)
    ahead = np.broadcast_to(scaled[-recent:].mean(axis=0), (SPAN - origin, 4))
    np.testing.assert_allclose(design.error, np.concatenate([scaled, ahead]), rtol=1e-14)


def test_an_error_of_an_outcome_in_logs_is_a_share_of_that_outcome() -> None:
    spec = classes.spec("given_errors", model__outcome="log")
    panel = classes.panel(spec)
    design, _ = build(panel, spec, small.TIME)
    np.testing.assert_allclose(np.asarray(design.error)[: small.TIME], panel.error / panel.kpi, rtol=1e-14)


def test_frequency_is_scaled_by_its_mean_before_the_origin() -> None:
    panel = PANELS[RICH]
    design, scales = build(panel, RICH, 30)
    np.testing.assert_allclose(scales.frequency, panel.frequency[:30].mean(axis=(0, 1)), rtol=1e-14)
    today = np.asarray(design.media.frequency)[:30] * np.asarray(scales.frequency)
    np.testing.assert_allclose(today, panel.frequency[:30], rtol=1e-14)
    assert np.asarray(design.media.reach).tolist() == [1.0, 0.0]


def test_a_mediator_is_standardised_by_what_was_seen_of_it_and_nothing_is_seen_past_the_origin() -> None:
    origin, panel = 30, PANELS[RICH]
    design, _ = build(panel, RICH, origin)
    seen, mask = np.asarray(design.mediators.seen), np.asarray(design.mediators.mask)
    assert np.array_equal(mask[:origin] == 1.0, ~np.isnan(panel.mediators[:origin]))
    assert not np.any(mask[origin:])
    assert not np.any(seen[mask == 0.0])
    known = panel.mediators[:origin][mask[:origin] == 1.0]
    np.testing.assert_allclose(seen[mask == 1.0], (known - known.mean()) / known.std(), rtol=1e-12)


def test_a_mediator_that_was_never_seen_or_never_moved_is_zeros() -> None:
    panel = PANELS[RICH]
    never, still = (
        build(panel._replace(mediators=np.full_like(panel.mediators, value)), RICH, 30)[0] for value in (math.nan, 5.0)
    )
    assert not np.any(np.asarray(never.mediators.mask))
    assert not np.any(np.asarray(never.mediators.seen))
    assert np.asarray(still.mediators.mask)[:30].all()
    assert not np.any(np.asarray(still.mediators.seen))


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_a_promotion_outside_0_to_1_is_refused(value: float) -> None:
    panel = classes.panel(CANNIBALISED)
    controls = panel.controls.copy()
    controls[3, 1, 1] = value
    with pytest.raises(TableError, match=r"control promotion: expected 0 to 1, as a promotion, found"):
        build(panel._replace(controls=controls), CANNIBALISED, 30)


def test_an_effect_without_a_promotion_acts_in_every_period() -> None:
    panel = classes.panel(CANNIBALISED)
    promoted, _ = build(panel, CANNIBALISED, 30)
    always, _ = build(PANELS[RICH], RICH, 30)
    np.testing.assert_array_equal(promoted.promotion[:30, :, 0], panel.controls[:30, :, 1])
    assert np.all(np.asarray(always.promotion) == 1.0)


def test_mediators_stand_in_the_models_order_and_what_nobody_sees_has_a_place_too() -> None:
    def mediator(name: str, kind: str) -> dict[str, object]:
        return {**MEDIATOR, "name": name, "kind": kind}

    spec = classes.spec(
        "surveyed",
        data__mediators=[{"name": name, "column": name, "unit": "percent"} for name in ("visits", "recall")],
        model__mediators=[mediator("mood", "latent"), mediator("recall", "full"), mediator("visits", "partial")],
    )
    panel = classes.panel(spec)
    design, _ = build(panel, spec, 30)
    assert design.mediators.mask.shape == (SPAN, 2, 3)
    for n, column in ((1, 1), (2, 0)):
        seen = ~np.isnan(panel.mediators[:30, :, column])
        assert np.array_equal(np.asarray(design.mediators.mask)[:30, :, n] == 1.0, seen)
        known = panel.mediators[:30, :, column][seen]
        standard = (known - known.mean()) / known.std()
        np.testing.assert_allclose(np.asarray(design.mediators.seen)[:30, :, n][seen], standard, rtol=1e-12)
    assert not np.any(np.asarray(design.mediators.mask)[:, :, 0])


def test_a_full_mediator_with_a_gap_is_refused_as_long_as_the_gap_is_known() -> None:
    spec = classes.spec("mediated")
    panel = classes.panel(spec)
    gappy = panel.mediators.copy()
    gappy[20, 1, 0] = math.nan
    with pytest.raises(TableError, match=r"mediator awareness: expected a value in every .* found 1 empty"):
        build(panel._replace(mediators=gappy), spec, 21)
    build(panel._replace(mediators=gappy), spec, 20)
