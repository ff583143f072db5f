"""What the checks of identifiability say, and what they must not say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.finding import Finding
from engine.identifiability import collinear_findings, hill_findings
from engine.spec_transforms import Hill, Identifiability, MichaelisMenten
from tests import reference_transforms as twin

NAMES = ("tv", "search")
TIME, PLACES = 30, 2
LIMITS = Identifiability(levels=6, spread=2.0, near_one=0.1, mass_near_one=0.5, correlation=0.9)
LAW = settings(max_examples=40, deadline=None, derandomize=True)


def spends(*columns: list[float]) -> np.ndarray:
    """(TIME, PLACES, channel): one column a channel, the second location spending as much in another order."""
    return np.stack([np.stack([np.asarray(c), np.roll(c, 7)], axis=1) for c in columns], axis=2)


def hill(k_median: float = 1.0, s_median: float = 2.0, s_sd: float = 0.4) -> Hill:
    return Hill(kind="hill", shared=False, k_median=k_median, k_sd=0.5, s_median=s_median, s_sd=s_sd)


WAVES = [1.0 + 0.8 * math.sin(0.9 * t) for t in range(TIME)]
OTHER = [1.0 + 0.8 * math.cos(2.1 * t) for t in range(TIME)]
SPEND = spends(WAVES, OTHER)


def whats(findings: tuple[Finding, ...]) -> list[tuple[str, str]]:
    return [(finding.subject, finding.what) for finding in findings]


def test_a_well_declared_hill_on_varied_spend_has_no_finding() -> None:
    assert hill_findings(hill(), LIMITS, SPEND, NAMES) == ()
    assert collinear_findings(LIMITS, SPEND, NAMES) == ()


def test_another_curve_has_no_finding_of_hill() -> None:
    curve = MichaelisMenten(kind="michaelis_menten", shared=False, k_median=1e6, k_sd=0.5)
    assert hill_findings(curve, LIMITS, np.zeros((TIME, PLACES, 2)), NAMES) == ()


@pytest.mark.parametrize("k", [0.1, 1.9])
def test_half_saturation_where_nobody_spends_is_told(k: float) -> None:
    findings = hill_findings(hill(k_median=k), LIMITS, SPEND, NAMES)
    assert whats(findings) == [(name, "half_saturation_outside") for name in NAMES]
    least, most = SPEND[:, :, 0].min(), SPEND[:, :, 0].max()
    within = f"a prior median of k within [{least:.3g}, {most:.3g}]"
    assert str(findings[0]) == f"tv: half_saturation_outside: expected {within}, found {k:.3g}"


@LAW
@given(st.floats(0.01, 100.0))
def test_half_saturation_is_outside_exactly_when_it_is(k: float) -> None:
    told = whats(hill_findings(hill(k_median=k), LIMITS, SPEND, NAMES))
    for m, name in enumerate(NAMES):
        inside = float(SPEND[:, :, m].min()) <= k <= float(SPEND[:, :, m].max())
        assert ((name, "half_saturation_outside") in told) == (not inside)


def test_no_spend_is_no_place_for_half_saturation() -> None:
    quiet = spends([0.0 if v < 0.5 else v for v in WAVES], [0.2, *OTHER[1:]])
    assert whats(hill_findings(hill(k_median=0.3), LIMITS, quiet, NAMES)) == [("tv", "half_saturation_outside")]


@LAW
@given(st.floats(0.5, 2.0), st.floats(0.005, 1.0))
def test_a_prior_that_holds_the_slope_at_one_is_told(median: float, sd: float) -> None:
    mass = twin.mass_near_one(median, sd, 1.0 + LIMITS.near_one)
    told = ("tv", "slope_one") in whats(hill_findings(hill(s_median=median, s_sd=sd), LIMITS, SPEND, NAMES))
    if abs(mass - LIMITS.mass_near_one) > 1e-6:
        assert told == (mass > LIMITS.mass_near_one)


def test_fewer_spends_than_a_curve_needs_are_told() -> None:
    steps = spends([[0.0, 0.4, 1.6][t % 3] for t in range(TIME)], OTHER)
    assert whats(hill_findings(hill(), LIMITS, steps, NAMES)) == [("tv", "few_levels")]
    assert hill_findings(hill(), LIMITS, steps, NAMES)[0].found == "2"


def test_spends_all_alike_are_told() -> None:
    flat = spends([1.0 + 0.2 * math.sin(0.9 * t) for t in range(TIME)], OTHER)
    assert whats(hill_findings(hill(), LIMITS, flat, NAMES)) == [("tv", "narrow")]


def test_a_channel_that_never_spent_is_told_once_by_each_check() -> None:
    silent = spends([0.0] * TIME, OTHER)
    assert whats(hill_findings(hill(), LIMITS, silent, NAMES)) == [("tv", "few_levels")]
    assert whats(collinear_findings(LIMITS, silent, NAMES)) == [("tv", "no_spend")]


def test_a_channel_that_never_moves_is_told() -> None:
    still = spends([3.0] * TIME, OTHER)
    assert whats(collinear_findings(LIMITS, still, NAMES)) == [("tv", "constant")]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_channels_that_move_together_are_told(sign: float) -> None:
    together = spends(WAVES, [2.0 + sign * 0.7 * v + 0.1 * o for v, o in zip(WAVES, OTHER, strict=True)])
    findings = collinear_findings(LIMITS, together, NAMES)
    assert whats(findings) == [("search", "collinear")]
    assert findings[0].expected == "a correlation with tv within +-0.9"
    assert math.copysign(1.0, float(findings[0].found)) == sign


@LAW
@given(st.floats(0.0, 1.0), st.floats(0.1, 1000.0))
def test_the_correlation_is_pearsons_within_locations(mix: float, size: float) -> None:
    mixed = [mix * v + (1.0 - mix) * o for v, o in zip(WAVES, OTHER, strict=True)]
    spend = spends(WAVES, mixed)
    expected = twin.correlation(WAVES, mixed)  # both locations hold the same pairs
    spend[:, 1, :] += size  # what only differs between locations is no correlation
    told = whats(collinear_findings(LIMITS, spend, NAMES)) == [("search", "collinear")]
    if abs(abs(expected) - LIMITS.correlation) > 1e-6:
        assert told == (abs(expected) > LIMITS.correlation)


@LAW
@given(st.permutations(range(2)))
def test_the_order_of_channels_changes_only_the_order_of_findings(order: list[int]) -> None:
    steps = spends([[0.0, 0.4, 1.6][t % 3] for t in range(TIME)], [1.0 + 0.1 * math.sin(t) for t in range(TIME)])
    names = [NAMES[m] for m in order]
    found = hill_findings(hill(s_median=1.0, s_sd=0.01), LIMITS, steps[:, :, order], names)
    assert set(found) == set(hill_findings(hill(s_median=1.0, s_sd=0.01), LIMITS, steps, NAMES))
    assert len(found) == 4
