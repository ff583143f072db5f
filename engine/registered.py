"""A registered event as the engine sees it: what kind of change, when, and how sure its curator is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Literal

from engine.declared import Frozen

Kind = Literal["regime_change", "measurement_change", "artefact", "transient_promotion", "null_announcement"]
PULSES: frozenset[Kind] = frozenset({"artefact", "transient_promotion"})
INTERLUDE = 182  # days: what took longer to end is two changes, not one pulse


class KnownEvent(Frozen):
    """A registered event. `last` equals `first` where it has no end; `public` is the day it could be known."""

    id: str
    kind: Kind
    first: date
    last: date
    public: date
    confidence: Literal["high", "medium", "low"]

    @property
    def temporary(self) -> bool:
        """Whether its end is known."""
        return self.last > self.first or self.kind in PULSES

    @property
    def brief(self) -> bool:
        """Whether it came and went as one thing."""
        return self.temporary and (self.last - self.first).days < INTERLUDE

    @property
    def pulse(self) -> bool:
        """Whether it can be nothing but a pulse."""
        return self.brief and self.kind in PULSES


def period_of(day: date, periods: Sequence[date]) -> int:
    """The index of the period that holds `day`, as if periods went on evenly before and after those given.

    Precondition: at least two periods, evenly apart.
    """
    return (day - periods[0]).days // (periods[1] - periods[0]).days


def days_apart(event: KnownEvent, start: date, length: int) -> int:
    """Days between an event and something new in the period of `length` days from `start`; 0 where they meet.

    A pulse is near where it begins, anything else where it begins and where it ends.
    """
    edges = (event.first,) if event.pulse else (event.first, event.last)
    last = date.fromordinal(start.toordinal() + length - 1)
    return min(max((start - day).days, (day - last).days, 0) for day in edges)
