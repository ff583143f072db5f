"""Events fall where the calendar or their date says, known by hand, and fade as declared."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from engine.errors import SpecError
from engine.events import event_dates, event_matrix
from engine.spec import parse_spec, period_dates
from engine.spec_trend import Dated, Holiday
from stages.stage import declared_spec
from tests import reference_trend as twin
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


def event(holiday: str, offset: int = 0, days: int = 1, decay: float = 0.0) -> Holiday:
    return Holiday(kind="holiday", name="e", holiday=holiday, offset_days=offset, days=days, decay=decay)


def dated(*dates: str, days: int = 1, decay: float = 0.0) -> Dated:
    return Dated(kind="dated", name="launch", dates=dates, days=days, decay=decay)


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


def test_dates_are_those_declared_in_every_country_and_year() -> None:
    assert event_dates("US", [2016], dated("2015-02-28", "2024-02-29")) == (date(2015, 2, 28), date(2024, 2, 29))


def test_the_worked_example_of_the_docstring() -> None:
    weeks = period_dates(date(2024, 1, 1), 7, 5)  # Mondays
    found = event_matrix(weeks, 7, "US", [dated("2024-01-06", days=4, decay=0.5)])  # Saturday to Tuesday
    assert found[:, 0].tolist() == [0.5, 0.75, 0.375, 0.1875, 0.09375]


def test_a_dated_event_fades_from_the_period_that_holds_it() -> None:
    weeks = period_dates(date(2024, 1, 1), 7, 6)
    found = event_matrix(
        weeks,
        7,
        "US",
        [
            dated("2024-01-10"),
            dated("2024-01-10", decay=0.5),
            dated("2024-01-08", days=14, decay=0.5),  # two whole weeks: never more than a whole event
            dated("2024-01-10", "2024-01-30", decay=0.25),
        ],
    )
    assert found.T.tolist() == [
        [0.0, 1.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 1.0, 0.5, 0.25, 0.125, 0.0625],
        [0.0, 1.0, 1.0, 0.5, 0.25, 0.125],
        [0.0, 1.0, 0.25, 0.0625, 1.0, 0.25],
    ]


def test_a_holiday_fades_too_and_what_is_left_of_the_last_one_is_there_at_the_start() -> None:
    weeks = period_dates(date(2016, 12, 18), 7, 5)  # 25 December 2016 was a Sunday
    assert event_matrix(weeks, 7, "US", [event("Christmas Day", decay=0.5)])[:, 0].tolist() == pytest.approx(
        [0.5**51, 1.0, 0.5, 0.25, 0.125], rel=1e-12
    )
    assert event_matrix(weeks[2:], 7, "US", [event("Christmas Day", decay=0.5)])[:, 0].tolist() == pytest.approx(
        [0.5, 0.25, 0.125], rel=1e-12
    )


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.lists(st.dates(date(2023, 1, 1), date(2024, 6, 1)), min_size=1, max_size=4, unique=True),
    st.integers(1, 30),
    st.sampled_from([0.0, 0.3, 0.9]),
    st.sampled_from([1, 7, 30]),
)
def test_events_agree_with_a_calendar_read_day_by_day(
    begins: list[date], days: int, decay: float, frequency: int
) -> None:
    start = date(2024, 1, 1)
    of = dated(*(day.isoformat() for day in sorted(begins)), days=days, decay=decay)
    slow = twin.event(sorted(begins), days, decay, start, frequency, 8)
    if any(slow):
        found = event_matrix(period_dates(start, frequency, 8), frequency, "US", [of])
        assert found[:, 0].tolist() == pytest.approx(slow, rel=1e-12)
    else:
        with pytest.raises(SpecError, match=r"model.events.launch.dates: expected one that touches"):
            event_matrix(period_dates(start, frequency, 8), frequency, "US", [of])


@pytest.mark.parametrize(
    "dates",
    [(), ("2024-1-5",), ("20240105",), ("2024-02-30",), ("2024-01-05", "2024-01-05"), ("2024-02-01", "2024-01-01")],
)
def test_dates_that_are_none_or_in_no_order_are_refused(dates: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError, match="dates"):
        dated(*dates)


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_what_never_fades_is_no_event(decay: float) -> None:
    with pytest.raises(ValidationError, match="decay"):
        dated("2024-01-05", decay=decay)


def test_every_event_of_the_shipped_specifications_happens_every_year() -> None:
    for name in ("retail", "geo"):
        model = parse_spec(declared_spec(REPOSITORY, name)).model
        weeks = period_dates(date(2014, 8, 3), 7, 53 * 4)
        counts = event_matrix(weeks, 7, model.country, model.events).sum(axis=0)
        counts /= [max(e.days / 7, 1.0) for e in model.events]
        assert np.all((counts >= 4.0) & (counts <= 5.0)), dict(zip(model.events, counts, strict=True))
