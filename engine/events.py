"""Dated events: which periods hold them, by the calendar rules of the `holidays` package."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import holidays
import numpy as np

from engine.errors import SpecError
from engine.spec_model import Event


def event_dates(country: str, years: Sequence[int], event: Event) -> tuple[date, ...]:
    """Every first day of `event` in `years`, shifted by its offset. Raises SpecError for a name the calendar lacks."""
    calendar = holidays.country_holidays(
        country, years=list(years), categories=holidays.country_holidays(country).supported_categories
    )
    # "observed" duplicates of a holiday that fell on a weekend are another day's name, not this event's
    dates = [day for day, names in calendar.items() if event.holiday in names.split("; ")]
    if not dates:
        raise SpecError(
            f"model.events.{event.name}: expected a holiday of {country} in {min(years)}-{max(years)}, "
            f"found {event.holiday!r}"
        )
    return tuple(sorted(day + timedelta(days=event.offset_days) for day in dates))


def event_matrix(periods: Sequence[date], frequency_days: int, country: str, events: Sequence[Event]) -> np.ndarray:
    """How much of each event each period [start, start + frequency_days) holds: float64 (time, event).

    That is the event's days in the period over all its days, or over the period's where those are fewer: a period
    that lies within an event has 1, as has one that holds a whole event.
    """
    matrix = np.zeros((len(periods), len(events)), dtype=np.float64)
    years = range(periods[0].year - 1, periods[-1].year + 2)
    first = periods[0].toordinal()
    for column, event in enumerate(events):
        counts = [0] * len(periods)
        for begin in event_dates(country, years, event):
            for day in range(begin.toordinal(), begin.toordinal() + event.days):
                row = (day - first) // frequency_days
                if 0 <= row < len(periods):
                    counts[row] += 1
        matrix[:, column] = [count / min(event.days, frequency_days) for count in counts]
    return matrix
