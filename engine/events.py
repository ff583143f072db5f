"""Events: which periods hold them, by the calendar of the `holidays` package or by date, and what is left of them.

Glossary
--------
share   of an event in a period: its days there over all its days, or over the period's where those are fewer
decay   of what a period had, this share is left in the next one
Worked example: 4 days of an event, 2 in one week and 2 in the next, with decay .5: .5, .75, .375, .1875 and so on.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import holidays
import numpy as np

from engine.errors import SpecError
from engine.spec_trend import Dated, Event, Holiday


def event_dates(country: str, years: Sequence[int], event: Event) -> tuple[date, ...]:
    """Every first day of `event`, the earliest first: of a holiday in `years`, shifted by its offset; of dates, all.

    Raises SpecError for a name that the calendar of `country` lacks.
    """
    if isinstance(event, Dated):
        return tuple(date.fromisoformat(day) for day in event.dates)
    return _holiday_dates(country, years, event)


def _holiday_dates(country: str, years: Sequence[int], event: Holiday) -> tuple[date, ...]:
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

    That is its share, and `decay` of what the period before it held, together no more than a whole event; a period
    that lies within an event has 1, as has one that holds a whole event. What is left of events before the first
    period is there too, of holidays those of the year before. Raises SpecError for dates that leave nothing.
    """
    matrix = np.zeros((len(periods), len(events)), dtype=np.float64)
    years = range(periods[0].year - 1, periods[-1].year + 2)
    for column, event in enumerate(events):
        shares = _shares(event_dates(country, years, event), event.days, periods, frequency_days)
        matrix[:, column] = _decayed(shares, event.decay)[-len(periods) :]
        if isinstance(event, Dated) and not matrix[:, column].any():
            raise SpecError(
                f"model.events.{event.name}.dates: expected one that touches the periods from {periods[0]} to "
                f"{periods[-1]}, found {', '.join(event.dates)}"
            )
    return matrix


def _shares(dates: Sequence[date], days: int, periods: Sequence[date], frequency_days: int) -> list[float]:
    """The event's share of each period from that of its first day, where this is earlier, to the last."""
    first = periods[0].toordinal()
    before = max(-((dates[0].toordinal() - first) // frequency_days), 0)
    counts = [0] * (before + len(periods))
    for begin in dates:
        for day in range(begin.toordinal(), begin.toordinal() + days):
            row = before + (day - first) // frequency_days
            if row < len(counts):
                counts[row] += 1
    return [count / min(days, frequency_days) for count in counts]


def _decayed(shares: Sequence[float], decay: float) -> list[float]:
    """v[t] = share[t] + decay v[t-1], and at most 1 unless the share itself is more."""
    found, left = [], 0.0
    for share in shares:
        left = max(share, min(share + decay * left, 1.0))
        found.append(left)
    return found
