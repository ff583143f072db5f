"""What an alarm means: matched with registered events, and what follows for the fit.

A change of demand, or one that nothing explains, re-anchors: data before it keep only the weight `power` in the
likelihood (a power prior, Ibrahim & Chen 2000, doi:10.1214/ss/1009212673), and intervals are widened. A break that
coincides with an artefact or a transient promotion does not. A null announcement is an event after which nothing
changed: it explains no alarm.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Literal

from engine.changepoint import Online
from engine.spec import Detect, Frozen

Kind = Literal["regime_change", "measurement_change", "artefact", "transient_promotion", "null_announcement"]
Cause = Literal["registered_change", "measurement_change", "artefact", "transient", "unexplained"]

_CAUSES: dict[Kind, Cause] = {
    "regime_change": "registered_change",
    "measurement_change": "measurement_change",
    "artefact": "artefact",
    "transient_promotion": "transient",
}
_RE_ANCHORS: frozenset[Cause] = frozenset({"registered_change", "measurement_change", "unexplained"})


class KnownEvent(Frozen):
    """A registered event as detection sees it; `last` equals `first` where it has no end."""

    id: str
    kind: Kind
    first: date
    last: date


class Finding(Frozen):
    """One alarm and its explanation."""

    alarm: date  # the period in which the change was noticed
    start: date  # the most probable first period of the new regime
    probability: float
    cause: Cause
    event: str | None  # the matched event's id
    event_first: date | None
    re_anchors: bool
    reason: str


class Verdict(Frozen):
    """All findings, in order; `re_anchor` is the start of the last regime that re-anchors."""

    findings: tuple[Finding, ...]
    re_anchor: date | None
    registry_sha256: str
    registered_events: int  # how many were looked at


def judge(
    online: Online,
    periods: Sequence[date],
    events: Sequence[KnownEvent],
    detect: Detect,
    registry_sha256: str,
) -> Verdict:
    """The verdict on the alarms of `online`, whose time axis is `periods`; `events` are those of this forecast."""
    findings = []
    for alarm in online.alarms:
        start = periods[alarm.start]
        event = _nearest(start, events, detect.match_days)
        cause: Cause = _CAUSES[event.kind] if event else "unexplained"
        findings.append(
            Finding(
                alarm=periods[alarm.period],
                start=start,
                probability=alarm.probability,
                cause=cause,
                event=event.id if event else None,
                event_first=event.first if event else None,
                re_anchors=cause in _RE_ANCHORS,
                reason=_reason(cause, event, start, detect),
            )
        )
    anchors = [finding.start for finding in findings if finding.re_anchors]
    return Verdict(
        findings=tuple(findings),
        re_anchor=max(anchors) if anchors else None,
        registry_sha256=registry_sha256,
        registered_events=len(events),
    )


def _nearest(start: date, events: Sequence[KnownEvent], within: int) -> KnownEvent | None:
    """The explaining event nearest in days, then first by id; None where all are further than `within`."""
    near = [(_distance(start, event), event.id, event) for event in events if event.kind in _CAUSES]
    near = [item for item in near if item[0] <= within]
    return min(near, key=lambda item: item[:2])[2] if near else None


def _distance(day: date, event: KnownEvent) -> int:
    if event.first <= day <= event.last:
        return 0
    return min(abs((day - event.first).days), abs((day - event.last).days))


def _reason(cause: Cause, event: KnownEvent | None, start: date, detect: Detect) -> str:
    if event is None:
        return (
            f"no registered event within {detect.match_days} days of {start}: treated as a change, "
            f"older data weigh {detect.power:g}"
        )
    days = _distance(start, event)
    if cause in _RE_ANCHORS:
        return f"coincides with {event.id} ({days} days away): older data weigh {detect.power:g}"
    return f"coincides with {event.id} ({days} days away), which does not last: the regime is kept"


def power_weights(detect: Detect, verdict: Verdict, periods: Sequence[date]) -> tuple[float, ...]:
    """The likelihood weight of each period: 1, or `power` before a re-anchoring break."""
    anchor = verdict.re_anchor
    return tuple(detect.power if anchor is not None and period < anchor else 1.0 for period in periods)


def widening(detect: Detect, verdict: Verdict, periods: Sequence[date], year: int) -> float:
    """The factor on interval width: `widen` while less than `year` periods have passed since re-anchoring, else 1."""
    anchor = verdict.re_anchor
    since = sum(1 for period in periods if anchor is not None and period >= anchor)
    return detect.widen if 0 < since < year else 1.0
