"""What an alarm means: which causes re-anchor, which event explains it, and what follows for weights and widths."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.changepoint import Alarm, Online
from engine.detection import Kind, KnownEvent, Verdict, judge, power_weights, widening
from engine.spec import period_dates
from tests import small

DETECT = small.spec().detect
WEEKS = period_dates(date(2020, 1, 6), 7, 60)
SHA = "0" * 64


def online(*alarms: Alarm) -> Online:
    floats, ints = np.zeros(len(WEEKS)), np.zeros(len(WEEKS), dtype=np.int32)
    return Online(floats, ints, floats, ints, floats, alarms)


def known(name: str, kind: Kind, days: int, lasts: int = 0, week: int = 20) -> KnownEvent:
    """An event `days` after the first day of `week`."""
    first = WEEKS[week] + timedelta(days=days)
    return KnownEvent(id=name, kind=kind, first=first, last=first + timedelta(days=lasts))


def verdict(*events: KnownEvent, alarms: tuple[Alarm, ...] = (Alarm(22, 20, 0.9),)) -> Verdict:
    return judge(online(*alarms), WEEKS, events, DETECT, SHA)


@pytest.mark.parametrize(
    ("kind", "cause", "re_anchors"),
    [
        ("regime_change", "registered_change", True),
        ("measurement_change", "measurement_change", True),
        ("artefact", "artefact", False),
        ("transient_promotion", "transient", False),
        ("null_announcement", "unexplained", True),  # nothing changed then: it explains no alarm
    ],
)
def test_each_cause_has_its_consequence(kind: Kind, cause: str, re_anchors: bool) -> None:
    (found,) = verdict(known("e", kind, 0)).findings
    assert (found.cause, found.re_anchors) == (cause, re_anchors)
    assert found.event == (None if cause == "unexplained" else "e")
    assert (verdict(known("e", kind, 0)).re_anchor == WEEKS[20]) == re_anchors


def test_an_alarm_nothing_explains_re_anchors_and_says_so() -> None:
    (found,) = verdict().findings
    assert (found.cause, found.event, found.event_first, found.re_anchors) == ("unexplained", None, None, True)
    assert (
        found.reason == f"no registered event within 28 days of {WEEKS[20]}: treated as a change, older data weigh 0.3"
    )
    assert (found.alarm, found.start, found.probability) == (WEEKS[22], WEEKS[20], 0.9)


def test_no_alarm_means_no_finding() -> None:
    found = verdict(known("e", "regime_change", 0), alarms=())
    assert (found.findings, found.re_anchor, found.registered_events) == ((), None, 1)
    assert found.registry_sha256 == SHA


@pytest.mark.parametrize(("days", "explains"), [(28, True), (-28, True), (29, False), (-29, False)])
def test_an_event_explains_within_the_declared_days_and_no_further(days: int, explains: bool) -> None:
    (found,) = verdict(known("e", "artefact", days)).findings
    assert (found.event == "e") == explains


def test_the_nearest_event_explains_then_the_first_by_name() -> None:
    far, near = known("a", "artefact", 10), known("b", "regime_change", -3)
    assert verdict(far, near).findings[0].event == "b"
    assert verdict(near, far).findings[0].event == "b"
    equal = known("c", "artefact", 3)
    assert verdict(equal, near).findings[0].event == "b"
    assert verdict(known("a2", "artefact", 3), near).findings[0].event == "a2"


def test_a_day_inside_an_event_is_no_distance_from_it() -> None:
    long, near = known("long", "artefact", -200, lasts=400), known("near", "regime_change", 1)
    assert verdict(long, near).findings[0].event == "long"
    assert "(0 days away)" in verdict(long, near).findings[0].reason


def test_a_null_announcement_nearby_does_not_hide_the_true_cause() -> None:
    found = verdict(known("nothing", "null_announcement", 0), known("cause", "artefact", 5))
    assert found.findings[0].event == "cause"


def test_the_last_change_that_re_anchors_counts() -> None:
    alarms = (Alarm(12, 10, 0.8), Alarm(32, 30, 0.8), Alarm(52, 50, 0.8))
    found = verdict(known("promotion", "transient_promotion", 0, week=50), alarms=alarms)
    assert [f.re_anchors for f in found.findings] == [True, True, False]
    assert found.re_anchor == WEEKS[30]


def test_a_verdict_survives_its_own_json() -> None:
    found = verdict(known("e", "artefact", 2))
    assert Verdict.model_validate_json(found.model_dump_json()) == found


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, len(WEEKS) - 1))
def test_only_data_before_the_break_lose_weight(week: int) -> None:
    found = verdict(alarms=(Alarm(len(WEEKS) - 1, week, 0.9),))
    weights = power_weights(DETECT, found, WEEKS)
    assert weights == (DETECT.power,) * week + (1.0,) * (len(WEEKS) - week)


def test_without_a_break_all_data_weigh_one_and_nothing_widens() -> None:
    found = verdict(alarms=())
    assert power_weights(DETECT, found, WEEKS) == (1.0,) * len(WEEKS)
    assert widening(DETECT, found, WEEKS, 52) == 1.0


@pytest.mark.parametrize(("week", "factor"), [(59, 1.5), (47, 1.5), (46, 1.0), (0, 1.0)])
def test_intervals_widen_for_less_than_a_year_after_the_break(week: int, factor: float) -> None:
    found = verdict(alarms=(Alarm(59, week, 0.9),))
    assert widening(DETECT, found, WEEKS, 14) == factor
