"""What detection says of a series: its findings, each with a cause, the odds for it and what follows."""

from __future__ import annotations

from datetime import date
from typing import Literal

from engine.declared import Frozen

Cause = Literal["registered_change", "measurement_change", "artefact", "transient", "unexplained", "nothing"]
Consequence = Literal["re_anchor", "rescale", "mask", "model", "keep"]


class Finding(Frozen):
    """One alarm and its explanation."""

    alarm: date  # the period in which the change was noticed
    start: date  # the most probable first period of what is new
    last: date | None  # the last period of a pulse that has passed; None: it lasts, or goes on
    probability: float  # calibrated probability, at the alarm, of a change within the window
    cause: Cause
    lasting: bool  # whether the residuals speak for a change that lasts, not for a pulse
    odds: float  # posterior odds of this cause against all others together
    lasting_odds: float  # posterior odds of a change that lasts against everything else
    event: str | None  # the matched event's id
    event_first: date | None
    consequence: Consequence
    reason: str


class Verdict(Frozen):
    """All findings, in order of their alarms."""

    findings: tuple[Finding, ...]
    hazard: float
    threshold: float
    registry_sha256: str
    registered_events: int  # that concern this forecast, were public by then and can explain an alarm
