"""The verdict on each alarm: which cause, by what odds, and what follows for the forecast.

An alarm is matched with the registered events near it, and its cause found by posterior odds (engine.explanation).
Judged anew whenever more is known: what looked like a change on the day may turn out a pulse that has passed, and
nothing that came later enters an earlier verdict. A pulse and its return are one finding; so is a change that is
noticed twice. An alarm behind which most probably nothing lies is listed too, and nothing follows from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from engine.changepoint import Alarm, Online
from engine.decision import CAUSES, Decision, decide
from engine.explanation import Candidate, explain
from engine.hazard import Calibrated
from engine.registered import KnownEvent, days_apart, period_of
from engine.spec_detect import Consequences, Detect
from engine.verdict import Consequence, Finding, Verdict

Floats = npt.NDArray[np.float64]

ENOUGH = 26  # periods after an alarm that tell what it was


class Heard(NamedTuple):
    """What detection heard: its run-length summaries and the residuals (time, location) of `periods`."""

    online: Online
    residuals: Floats
    periods: Sequence[date]  # at least two, evenly apart


def judge(
    heard: Heard,
    known: int,
    events: Sequence[KnownEvent],
    detect: Detect,
    calibrated: Calibrated,
    registry_sha256: str,
) -> Verdict:
    """The verdict on the alarms of the first `known` periods, from their residuals and nothing later.

    events: those that concern this forecast; one counts from the day it was public.
    """
    usable = [event for event in events if event.kind in CAUSES and event.public <= _last_day(heard.periods, known)]
    by_id = {event.id: event for event in usable}
    residuals = heard.residuals[:known].copy()
    alarms = [alarm for alarm in heard.online.alarms if alarm.period < known]
    findings: list[Finding] = []
    decided: list[Decision] = []
    base = 0
    for alarm in alarms:
        starts = range(max(base + 1, alarm.period - detect.window + 1), alarm.period + 1)
        if not starts or any(each.owns(alarm.start) for each in decided):
            continue
        near = _near(usable, starts, heard.periods, detect)
        low = max(base, starts[0] - detect.segments.max_run_length)
        until = _until(alarm, alarms, near, detect, known)
        beliefs = explain(
            residuals[low:until], [start - low for start in starts], near, detect.explanation, detect.segments
        )
        place = decide(beliefs, low, until, {event.id: event.kind for event in usable})
        if place.cause == "nothing" and any(each.echoes(alarm.start, detect.window) for each in decided):
            continue
        findings.append(_finding(alarm, place, by_id, heard.periods, detect, calibrated))
        decided.append(place)
        if place.lasting:
            base = place.start
        elif place.cause != "nothing":
            residuals[place.start : until if place.last is None else place.last + 1] = np.nan
    return Verdict(
        findings=tuple(findings),
        hazard=calibrated.hazard,
        threshold=calibrated.threshold,
        registry_sha256=registry_sha256,
        registered_events=len(usable),
    )


def _last_day(periods: Sequence[date], known: int) -> date:
    return date.fromordinal(periods[0].toordinal() + known * _length(periods) - 1)


def _length(periods: Sequence[date]) -> int:
    return (periods[1] - periods[0]).days


def _near(
    events: Sequence[KnownEvent], starts: Sequence[int], periods: Sequence[date], detect: Detect
) -> list[Candidate]:
    """The events that may be the cause of something at one of `starts`; trust falls to none past `match_days`."""
    belief = detect.explanation
    trust = {"high": belief.trust_high, "medium": belief.trust_medium, "low": belief.trust_low}
    found = []
    for event in events:
        days = [days_apart(event, periods[start], _length(periods)) for start in starts]
        share = [max(0.0, 1.0 - apart / (detect.registered.match_days + 1)) for apart in days]
        if any(share):
            own = period_of(event.last, periods) - period_of(event.first, periods) + 1
            trusts = tuple(trust[event.confidence] * each for each in share)
            found.append(Candidate(event.id, not event.pulse, own if event.brief else None, trusts))
    return found


def _until(alarm: Alarm, alarms: Sequence[Alarm], near: Sequence[Candidate], detect: Detect, known: int) -> int:
    """Where the stretch ends: with what is known, or the next alarm that cannot be the return of the longest pulse.

    Or once twice that pulse, and ENOUGH periods, have passed since the alarm: what came later is another matter.
    """
    longest = max([detect.explanation.pulse_periods, *(event.length for event in near if event.length)])
    later = [each.start for each in alarms if each.start > alarm.period + longest]
    return min([known, alarm.period + 1 + max(2 * longest, ENOUGH), *later])


def _finding(
    alarm: Alarm,
    place: Decision,
    events: Mapping[str, KnownEvent],
    periods: Sequence[date],
    detect: Detect,
    calibrated: Calibrated,
) -> Finding:
    start = alarm.start if place.cause == "nothing" else place.start
    event = events[place.event] if place.event else None
    consequence = _consequence(place, detect.consequences)
    return Finding(
        alarm=periods[alarm.period],
        start=periods[start],
        last=periods[place.last] if place.last is not None and place.cause != "nothing" else None,
        probability=calibrated.probability(alarm.probability),
        cause=place.cause,
        lasting=place.lasting,
        odds=place.odds,
        lasting_odds=place.lasting_odds,
        event=place.event,
        event_first=event.first if event else None,
        consequence=consequence,
        reason=_reason(place, event, periods, detect),
    )


def _consequence(place: Decision, consequences: Consequences) -> Consequence:
    """What the specification declares for the cause, taken for what it has turned out to be.

    A registered change that has passed is treated as whatever passes; an artefact that does not pass, as a change of
    the metric; a transient that does not, as a change of demand.
    """
    match place.cause:
        case "nothing":
            return "keep"
        case "unexplained":
            return consequences.unexplained_lasting if place.lasting else consequences.unexplained_passing
        case "artefact":
            return consequences.measurement_change if place.lasting else consequences.artefact
        case "transient":
            return consequences.registered_change if place.lasting else consequences.transient
        case "registered_change":
            return consequences.registered_change if place.lasting else consequences.unexplained_passing
        case "measurement_change":
            return consequences.measurement_change if place.lasting else consequences.unexplained_passing


def _reason(place: Decision, event: KnownEvent | None, periods: Sequence[date], detect: Detect) -> str:
    against = f"odds {_written(place.odds)} against everything else"
    if place.cause == "nothing":
        return f"most probably chance, {against}: the residuals go on as before"
    if place.lasting:
        form = f"a change that lasts (odds {_written(place.lasting_odds)})"
    elif place.last is None:
        form = "a pulse that has not passed yet"
    else:
        count = place.last - place.start + 1
        form = f"a pulse of {count} period{'s' if count > 1 else ''} that has passed"
    if event is None:
        days = detect.registered.match_days
        return f"{form}; no registered event within {days} days explains it better, {against}"
    days = days_apart(event, periods[place.start], _length(periods))
    return f"{form}; {event.id} lies {days} days away, {against}"


def _written(value: float) -> str:
    """Odds as people say them: 12 : 1, 1 : 3.5."""
    one, other = (value, 1.0) if value >= 1.0 else (1.0, 1.0 / value)
    return f"{_short(one)} : {_short(other)}"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 10.0 or value == 1.0 else f"{value:.1f}"
