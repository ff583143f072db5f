"""Dated events fall where the calendar says, known by hand."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest

from engine.errors import SpecError
from engine.events import event_dates, event_matrix
from engine.spec import parse_spec, period_dates
from engine.spec_model import Event
from stages.stage import declared_spec
from tests.fresh import REPOSITORY

# holiday, offset, a year, the day: read off a wall calendar
KNOWN = [
    ("Thanksgiving Day", 0, 2016, date(2016, 11, 24)),
    ("Thanksgiving Day", 1, 2016, date(2016, 11, 25)),
    ("Thanksgiving Day", 4, 2015, date(2015, 11, 30)),
    ("Easter Sunday", -3, 2017, date(2017, 4, 13)),
    ("Easter Sunday", 0, 2016, date(2016, 3, 27)),
    ("Memorial Day", 0, 2015, date(2015, 5, 25)),
    ("Labor Day", 0, 2017, date(2017, 9, 4)),
    ("Independence Day", 0, 2015, date(2015, 7, 4)),
    ("Mother's Day", -3, 2017, date(2017, 5, 11)),
    ("Father's Day", 0, 2018, date(2018, 6, 17)),
    ("Washington's Birthday", 0, 2016, date(2016, 2, 15)),
    ("Christmas Day", -7, 2016, date(2016, 12, 18)),
    ("New Year's Day", 0, 2017, date(2017, 1, 1)),
]


def event(holiday: str, offset: int = 0, days: int = 1) -> Event:
    return Event(name="e", holiday=holiday, offset_days=offset, days=days)


@pytest.mark.parametrize(("holiday", "offset", "year", "day"), KNOWN)
def test_a_holiday_falls_on_its_day_once_a_year(holiday: str, offset: int, year: int, day: date) -> None:
    assert event_dates("US", [year], event(holiday, offset)) == (day,)


def test_a_day_off_for_a_holiday_on_a_weekend_is_not_the_holiday() -> None:
    # 4 July 2015 was a Saturday: Friday the 3rd was "Independence Day (observed)"
    assert event_dates("US", [2015, 2016], event("Independence Day")) == (date(2015, 7, 4), date(2016, 7, 4))


def test_each_date_counts_in_the_period_that_holds_it() -> None:
    weeks = period_dates(date(2016, 11, 14), 7, 4)
    matrix = event_matrix(weeks, 7, "US", [event("Thanksgiving Day"), event("Thanksgiving Day", 4)])
    assert matrix.tolist() == [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]


def test_a_period_holds_its_first_day_and_not_the_next_ones() -> None:
    eve, day = date(2016, 11, 23), date(2016, 11, 24)
    assert event_matrix([day - timedelta(days=7), day], 7, "US", [event("Thanksgiving Day")]).tolist() == [[0.0], [1.0]]
    assert event_matrix([eve - timedelta(days=6), day], 7, "US", [event("Thanksgiving Day")]).tolist() == [[0.0], [1.0]]


def test_an_event_of_a_neighbouring_year_is_not_lost() -> None:
    # a week before 1 January 2018 lies in 2017
    weeks = period_dates(date(2017, 12, 18), 7, 2)
    assert event_matrix(weeks, 7, "US", [event("New Year's Day", -7)]).tolist() == [[0.0], [1.0]]


def test_periods_of_a_month_may_hold_an_event_twice() -> None:
    whole_year = event_matrix([date(2016, 1, 1)], 366, "US", [event("Christmas Day")])
    assert whole_year.tolist() == [[1.0]]
    two = event_matrix([date(2016, 12, 20)], 366, "US", [event("Christmas Day")])
    assert two.tolist() == [[1.0]]  # 25 December 2016; that of 2017 is 370 days on


def test_an_event_of_many_days_fills_each_period_by_its_share() -> None:
    weeks = period_dates(date(2016, 12, 4), 7, 5)  # Sundays; 25 December 2016 was one
    run = event_matrix(weeks, 7, "US", [event("Christmas Day", -10, 14), event("Christmas Day", -2, 4)])
    assert run[:, 0].tolist() == [0.0, 3 / 7, 1.0, 4 / 7, 0.0]  # 15 to 28 December
    assert run[:, 1].tolist() == [0.0, 0.0, 0.5, 0.5, 0.0]  # 23 to 26 December: half its days in each week


@pytest.mark.parametrize("holiday", ["Thanksgiving", "thanksgiving day", "Festivus", "Independence Day (observed)x"])
def test_an_unknown_holiday_is_refused_by_name(holiday: str) -> None:
    with pytest.raises(SpecError, match=r"model.events.e: expected a holiday of US in 2016-2016"):
        event_dates("US", [2016], event(holiday))


def test_every_event_of_the_shipped_specifications_happens_every_year() -> None:
    for name in ("retail", "geo"):
        model = parse_spec(declared_spec(REPOSITORY, name)).model
        weeks = period_dates(date(2014, 8, 3), 7, 53 * 4)
        counts = event_matrix(weeks, 7, model.country, model.events).sum(axis=0)
        counts /= [max(e.days / 7, 1.0) for e in model.events]
        assert np.all((counts >= 4.0) & (counts <= 5.0)), dict(zip(model.events, counts, strict=True))
