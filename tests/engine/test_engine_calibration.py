"""Calibration learns from what was known, keeps intervals nested, and never moves the median."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import calibration, cases
from engine.calibration import POOLED, Adjustment, Bounds
from engine.cases import Cases
from engine.errors import CalibrationError
from engine.spec import Spec
from engine.table import Panel
from tests import classes, past, small

SPEC = small.spec()
PANEL = small.panel(SPEC)
TABLE = past.forecasts(SPEC, PANEL)
LEVELS = SPEC.calibrate.levels
CASES = cases.read(TABLE, "noptik", LEVELS)
LAW = settings(max_examples=25, deadline=None, derandomize=True)
ORIGINS = sorted(set(CASES.origin.tolist()))
ADAPTIVE = (
    {"kind": "split"},
    {"kind": "aci", "rate": 0.05},
    {"kind": "pid", "rate": 0.1, "gain": 0.2, "saturation": 0.5},
)
SPECS = [
    small.spec(calibrate__groups=groups, calibrate__moments=moments, calibrate__method=method)
    for groups in ("pooled", "location")
    for moments, method in zip(("media", "outcome", "none"), ADAPTIVE, strict=True)
]


def adjustments(spec: Spec, panel: Panel, past: Cases, origin: int) -> tuple[Adjustment, ...]:
    """Those as of one origin."""
    return calibration.history(spec, panel, past, (origin,)).adjustments[origin]


@LAW
@given(st.sampled_from(SPECS), st.sampled_from([*ORIGINS, small.TIME]), st.floats(-1e3, 1e3))
def test_outcomes_not_known_at_the_origin_change_no_adjustment(spec: Spec, origin: int, shift: float) -> None:
    later = CASES.origin + CASES.horizon > origin
    changed = CASES._replace(outcome=np.where(later, CASES.outcome + shift, CASES.outcome))
    assert adjustments(spec, PANEL, changed, origin) == adjustments(spec, PANEL, CASES, origin)


@LAW
@given(st.sampled_from(SPECS), st.sampled_from(ORIGINS[2:]), st.floats(1.1, 5.0))
def test_data_at_or_after_the_origin_changes_no_adjustment(spec: Spec, origin: int, factor: float) -> None:
    media, kpi = PANEL.media.copy(), PANEL.kpi.copy()
    media[origin:] *= factor
    kpi[origin:] *= factor
    changed = PANEL._replace(media=media, kpi=kpi)
    assert adjustments(spec, changed, CASES, origin) == adjustments(spec, PANEL, CASES, origin)


@pytest.mark.parametrize("spec", SPECS)
def test_the_last_outcome_known_does_change_an_adjustment(spec: Spec) -> None:
    origin = ORIGINS[-1]
    last = CASES.origin + CASES.horizon == origin
    changed = CASES._replace(outcome=np.where(last, CASES.outcome + 1e6, CASES.outcome))
    assert adjustments(spec, PANEL, changed, origin) != adjustments(spec, PANEL, CASES, origin)


def test_a_group_of_one_location_knows_nothing_of_the_others() -> None:
    spec, origin = SPECS[3], small.TIME
    east = np.asarray([name == "East" for name in CASES.location])
    changed = CASES._replace(outcome=np.where(east, CASES.outcome, CASES.outcome + 1e6))
    media = PANEL.media.copy()
    media[:, 1] *= np.linspace(1.0, 9.0, small.TIME)[:, None]
    before, after = (
        [a for a in adjustments(spec, panel, past, origin) if a.location == "East"]
        for panel, past in ((PANEL, CASES), (PANEL._replace(media=media), changed))
    )
    assert before == after
    assert {a.location for a in adjustments(spec, PANEL, CASES, origin)} == {"East", "West"}


def test_a_group_of_one_location_is_calibrated_as_if_it_were_alone() -> None:
    spec, origin = SPECS[3], small.TIME
    for place, name in enumerate(PANEL.locations):
        alone = PANEL._replace(media=PANEL.media[:, place : place + 1], kpi=PANEL.kpi[:, place : place + 1])
        rows = np.asarray([i for i, each in enumerate(CASES.location) if each == name])
        mine = [a for a in adjustments(spec, PANEL, CASES, origin) if a.location == name]
        pooled = adjustments(SPEC, alone, cases.select(CASES, rows), origin)
        assert mine == [a._replace(location=name) for a in pooled]


def uniform() -> Spec:
    """A specification whose weights are all one: no decay, and moments that tell nothing apart."""
    return small.spec(calibrate__decay=1.0, calibrate__bandwidth=1e9)


def test_equal_weights_give_the_split_conformal_order_statistic() -> None:
    origin = small.TIME
    for found in adjustments(uniform(), PANEL, CASES, origin):
        rows = (CASES.horizon == found.horizon) & (CASES.origin + found.horizon <= origin)
        k = LEVELS.index(found.level)
        low, high = CASES.lower[k][rows], CASES.upper[k][rows]
        outcome, scale = CASES.outcome[rows], CASES.scale[rows]
        scores = sorted(np.maximum(low - outcome, outcome - high) / scale)
        rank = math.ceil((len(scores) + 1) * found.level)
        assert found.scores == len(scores)
        assert found.effective == pytest.approx(len(scores))
        assert found.q == pytest.approx(scores[rank - 1], rel=1e-12)


def test_too_few_scores_support_no_level() -> None:
    first = adjustments(SPEC, PANEL, CASES, ORIGINS[0])
    assert all(a == Adjustment(a.horizon, a.level, math.inf, 0, 0.0, POOLED) for a in first)
    supported = calibration.supported(uniform(), PANEL, CASES)
    assert supported == tuple(o for o in ORIGINS if o >= supported[0])  # scores only become more
    assert ORIGINS[0] < supported[0]
    for origin in ORIGINS:
        finite = all(math.isfinite(a.q) for a in adjustments(uniform(), PANEL, CASES, origin))
        assert finite == (origin in supported)


MOVES = st.lists(st.floats(-2.0, 2.0), min_size=2 * 4, max_size=2 * 4)


@LAW
@given(MOVES, st.integers(0, 10**6))
def test_calibrated_intervals_are_nested_and_hold_the_median(moves: list[float], seed: int) -> None:
    rng = np.random.Generator(np.random.PCG64(seed))
    rows = np.sort(rng.normal(size=(8, 5)), axis=1)
    bounds = Bounds(rows[:, 2], rows[:, (1, 0)].T, rows[:, (3, 4)].T)
    horizon = np.repeat(np.arange(1, 5), 2)
    keys = [(h, level) for h in range(1, 5) for level in LEVELS]
    moved = [Adjustment(h, level, q, 9, 9.0, POOLED) for (h, level), q in zip(keys, moves, strict=True)]
    after = calibration.apply(bounds, ("East",) * 8, np.full(8, 1.5), horizon, moved, LEVELS)
    assert after.median.tobytes() == bounds.median.tobytes()
    ordered = np.stack([after.lower[1], after.lower[0], after.median, after.upper[0], after.upper[1]])
    assert np.all(np.diff(ordered, axis=0) >= 0.0)


def test_an_adjustment_moves_both_bounds_by_its_share_of_the_scale() -> None:
    bounds = Bounds(np.asarray([10.0]), np.asarray([[8.0], [5.0]]), np.asarray([[12.0], [16.0]]))
    moved = [Adjustment(1, 0.5, 0.1, 9, 9.0, POOLED), Adjustment(1, 0.8, 0.2, 9, 9.0, POOLED)]
    after = calibration.apply(bounds, ("East",), np.asarray([10.0]), np.asarray([1]), moved, LEVELS)
    assert after.lower.tolist() == [[7.0], [3.0]]
    assert after.upper.tolist() == [[13.0], [18.0]]


def test_a_level_without_support_is_the_whole_line() -> None:
    bounds = Bounds(np.asarray([10.0]), np.asarray([[8.0], [5.0]]), np.asarray([[12.0], [16.0]]))
    moved = [Adjustment(1, 0.5, 0.1, 9, 9.0, POOLED), Adjustment(1, 0.8, math.inf, 1, 1.0, POOLED)]
    after = calibration.apply(bounds, ("East",), np.asarray([10.0]), np.asarray([1]), moved, LEVELS)
    assert (after.lower[1, 0], after.upper[1, 0]) == (-math.inf, math.inf)
    assert (after.lower[0, 0], after.upper[0, 0]) == (7.0, 13.0)


def test_a_missing_adjustment_is_refused_by_horizon_and_level() -> None:
    bounds = Bounds(np.asarray([10.0]), np.asarray([[8.0], [5.0]]), np.asarray([[12.0], [16.0]]))
    moved = [Adjustment(3, 0.5, 0.1, 9, 9.0, POOLED)]
    with pytest.raises(CalibrationError, match=r"found none for \('', 3, 0.8\)"):
        calibration.apply(bounds, ("East",), np.asarray([10.0]), np.asarray([3]), moved, LEVELS)


def test_an_adjustment_of_a_location_moves_no_other() -> None:
    bounds = Bounds(np.full(2, 10.0), np.full((1, 2), 8.0), np.full((1, 2), 12.0))
    moved = [Adjustment(1, 0.5, q, 9, 9.0, name) for name, q in (("East", 0.1), ("West", -0.1))]
    after = calibration.apply(bounds, ("West", "East"), np.full(2, 10.0), np.asarray([1, 1]), moved, (0.5,))
    assert after.lower.tolist() == [[9.0, 7.0]]
    with pytest.raises(CalibrationError, match=r"found none for \('North', 1, 0.5\)"):
        calibration.apply(bounds, ("West", "North"), np.full(2, 10.0), np.asarray([1, 1]), moved, (0.5,))


@pytest.mark.parametrize("spec", SPECS)
def test_each_origin_is_calibrated_as_if_it_were_the_last(spec: Spec) -> None:
    together = calibration.calibrated(spec, PANEL, CASES, ORIGINS[-3:])
    alone = []
    for origin in ORIGINS[-3:]:
        rows = np.nonzero(CASES.origin <= origin)[0]
        alone.append(calibration.calibrated(spec, PANEL, cases.select(CASES, rows), [origin]))
    assert together.lower.tobytes() == np.concatenate([a.lower for a in alone], axis=1).tobytes()
    assert together.location == tuple(name for a in alone for name in a.location)
    assert together.median.tobytes() == np.concatenate([a.median for a in alone]).tobytes()


def test_no_origin_is_dropped_because_an_adaptive_method_asked_for_the_whole_line() -> None:
    eager = small.spec(calibrate__method={"kind": "aci", "rate": 5.0}, calibrate__decay=1.0)
    assert calibration.supported(eager, PANEL, CASES) == calibration.supported(
        small.spec(calibrate__decay=1.0), PANEL, CASES
    )
    asked = calibration.history(eager, PANEL, CASES, ORIGINS).adjustments
    assert any(math.isinf(a.q) for o in calibration.supported(eager, PANEL, CASES) for a in asked[o])


def test_a_naive_forecaster_has_an_interval_of_no_width() -> None:
    naive = cases.read(TABLE, "seasonal_naive", LEVELS)
    assert naive.lower.tobytes() == naive.upper.tobytes() == np.stack([naive.median] * 2).tobytes()


def test_selected_cases_keep_their_rows_together() -> None:
    rows = np.asarray([5, 2])
    found: Cases = cases.select(CASES, rows)
    assert found.location == (CASES.location[5], CASES.location[2])
    assert found.lower.tobytes() == CASES.lower[:, rows].tobytes()


def test_moments_are_of_spend_before_the_origin_and_of_nothing_else() -> None:
    moments = calibration.moments(SPEC, PANEL, 30, None)
    assert moments.shape == (3,)
    other = small.panel(SPEC, seed=2)
    mixed = PANEL._replace(kpi=other.kpi, controls=other.controls)
    assert calibration.moments(SPEC, mixed, 30, None).tobytes() == moments.tobytes()
    later = PANEL.media.copy()
    later[30:] = 0.0
    assert calibration.moments(SPEC, PANEL._replace(media=later), 30, None).tobytes() == moments.tobytes()


def test_moments_of_the_outcome_are_of_nothing_else_and_none_are_none() -> None:
    outcome, none = (small.spec(calibrate__moments=kind) for kind in ("outcome", "none"))
    other = small.panel(SPEC, seed=2)
    moments = calibration.moments(outcome, PANEL, 30, 1)
    mixed = PANEL._replace(media=other.media, kpi=np.stack([other.kpi[:, 0], PANEL.kpi[:, 1]], axis=1))
    assert calibration.moments(outcome, mixed, 30, 1).tobytes() == moments.tobytes()
    assert calibration.moments(outcome, mixed, 30, 0).tobytes() != moments.tobytes()
    assert calibration.moments(none, PANEL, 30, None).shape == (0,)


@pytest.mark.parametrize("spend", [0.0, 5.0])
def test_constant_spend_has_a_regime_too(spend: float) -> None:
    steady = PANEL._replace(media=np.full_like(PANEL.media, spend))
    assert calibration.moments(SPEC, steady, 30, None).tolist() == [1.0 if spend else 0.0, 0.0, 0.0]


PORTFOLIO = {kind: classes.spec("portfolio", calibrate__groups="location", calibrate__moments=kind)
             for kind in ("media", "outcome")}  # fmt: skip


def test_outcomes_of_a_location_share_its_spends_regime_and_have_outcomes_of_their_own() -> None:
    panel = classes.panel(PORTFOLIO["media"])
    for spec, shared in ((PORTFOLIO["media"], True), (PORTFOLIO["outcome"], False)):
        found = [calibration.moments(spec, panel, 30, place).tolist() for place in range(4)]
        assert (found[0] == found[1]) == (found[2] == found[3]) == shared
        assert found[0] != found[2]
    east = PANEL._replace(media=panel.media[:, :1], kpi=panel.kpi[:, :1])
    assert calibration.moments(PORTFOLIO["media"], panel, 30, 1).tolist() == (
        calibration.moments(SPEC, east, 30, None).tolist()
    )


def test_each_outcome_is_a_group_of_its_own() -> None:
    spec, panel = PORTFOLIO["media"], classes.panel(PORTFOLIO["media"])
    known = cases.read(past.forecasts(spec, panel), "noptik", LEVELS)
    found = adjustments(spec, panel, known, small.TIME)
    assert {a.location for a in found} == set(spec.data.series)
    other = np.asarray([name != "East/multipack" for name in known.location])
    wild = known._replace(outcome=np.where(other, known.outcome + 1e6, known.outcome))
    again = adjustments(spec, panel, wild, small.TIME)
    for before, after in zip(found, again, strict=True):
        assert (before == after) == (before.location == "East/multipack")
