"""What is decided about an alarm from what may be believed of it: cause, form and place."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from engine.explanation import Belief, odds
from engine.registered import Kind
from engine.verdict import Cause

CAUSES: dict[Kind, Cause] = {  # of what explains an alarm; a null announcement explains none
    "regime_change": "registered_change",
    "measurement_change": "measurement_change",
    "artefact": "artefact",
    "transient_promotion": "transient",
}


class Decision(NamedTuple):
    """The most probable cause. Where it is "nothing", `start` and `last` mean nothing either."""

    start: int  # index of the first period of what is new
    last: int | None  # of its last one, where it has passed
    lasting: bool
    cause: Cause
    event: str | None
    odds: float  # of this cause against all others together
    lasting_odds: float  # of a change that lasts against everything else

    def owns(self, start: int) -> bool:
        """Whether an alarm of this start is the same thing: noticed twice, within a pulse, or its return."""
        if self.cause == "nothing":
            return False
        if self.lasting:
            return start == self.start
        return self.start <= start and (self.last is None or start <= self.last + 1)

    def echoes(self, start: int, window: int) -> bool:
        """Whether an alarm of this start, behind which nothing lies, may be what is left of this."""
        end = self.start if self.last is None else self.last
        return self.cause != "nothing" and self.start <= start <= end + window


def decide(beliefs: Sequence[Belief], low: int, until: int, kinds: Mapping[str, Kind]) -> Decision:
    """The most probable cause, then whether it lasts, then where it most probably lies.

    beliefs: about the stretch of periods `low` .. `until - 1`; kinds: of every event in them.
    """
    by_cause: dict[tuple[Cause, str | None], list[Belief]] = {}
    for belief in beliefs:
        by_cause.setdefault(_cause(belief, kinds), []).append(belief)
    cause, event = max(by_cause, key=lambda key: _total(by_cause[key]))
    own = by_cause.pop((cause, event))
    stays = [belief for belief in own if _stays(belief)]
    lasting = bool(stays) and 2.0 * _total(stays) >= _total(own)
    start, end = _span([belief for belief in own if _stays(belief) == lasting], until - low)
    return Decision(
        start=low + start,
        last=None if lasting or low + end >= until else low + end - 1,
        lasting=lasting,
        cause=cause,
        event=event,
        odds=odds(_total(own), math.fsum(_total(others) for others in by_cause.values())),
        lasting_odds=odds(
            _total([belief for belief in beliefs if _stays(belief)]),
            _total([belief for belief in beliefs if not _stays(belief)]),
        ),
    )


def _stays(belief: Belief) -> bool:
    return belief.shape is not None and belief.shape.length is None


def _span(beliefs: Sequence[Belief], time: int) -> tuple[int, int]:
    """First period of the most probable one of these, and the first after it; (0, 0) of nothing."""
    spans: dict[tuple[int, int], list[Belief]] = {}
    for belief in beliefs:
        span = (0, 0) if belief.shape is None else (belief.shape.start, belief.shape.end(time))
        spans.setdefault(span, []).append(belief)
    return max(spans, key=lambda span: _total(spans[span]))


def _cause(belief: Belief, kinds: Mapping[str, Kind]) -> tuple[Cause, str | None]:
    if belief.shape is None:
        return "nothing", None
    if belief.event is None:
        return "unexplained", None
    return CAUSES[kinds[belief.event]], belief.event


def _total(beliefs: Sequence[Belief]) -> float:
    return math.fsum(belief.probability for belief in beliefs)
