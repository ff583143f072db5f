"""Which window's residual is looked at: by the lag, by what is new, and never by a window of the future."""

from __future__ import annotations

from datetime import date

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import backtest, looks
from engine.changepoint import Alarming
from engine.detection import Heard, judge
from engine.looks import Looks, judged
from engine.spec import period_dates
from engine.verdict import Verdict
from tests import past, small
from tests.engine.test_engine_detection import CALIBRATED, DETECT, SHA

Floats = npt.NDArray[np.float64]

FIRST, TIME, STEP, BREAK = 100, 200, 2, 150  # periods: FIRST known at first, the change BREAK periods later
ORIGINS = tuple(range(FIRST, FIRST + TIME, STEP))
PERIODS = tuple(period_dates(date(2020, 1, 6), 7, TIME))
ALARMING = Alarming(CALIBRATED.hazard, DETECT.window, CALIBRATED.threshold)


def named() -> Looks:
    """Every residual is the origin of its window."""
    parts = tuple(np.full((FIRST + TIME - origin, 1), float(origin)) for origin in ORIGINS)
    return Looks(ORIGINS, parts, PERIODS)


def test_the_worked_example() -> None:
    looked = named().stream(8, [11])[:, 0].tolist()
    assert looked[10:14] == [102.0, 110.0, 110.0, 110.0]
    assert set(looked[11:]) == {110.0}


def test_without_changes_every_period_is_looked_at_by_the_last_window_known_so_long_before() -> None:
    looked = named().stream(8, [])[:, 0]
    for t in range(TIME):
        assert looked[t] == max(o for o in ORIGINS if o <= max(FIRST + t - 8, FIRST))


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.integers(0, 30), st.lists(st.integers(0, TIME - 1), max_size=4))
def test_no_window_of_the_future_is_looked_at(lag: int, changes: list[int]) -> None:
    looked = named().stream(lag, changes)[:, 0]
    assert np.all(looked <= FIRST + np.arange(TIME))


def learning() -> Looks:
    """A level that moves by four sd: each window shows what it has not yet learned, all of it after eight periods."""
    noise = np.random.default_rng(3).normal(size=TIME)
    parts = []
    for origin in ORIGINS:
        learned = min(max(origin - FIRST - BREAK, 0) / 8, 1.0)
        t = np.arange(origin - FIRST, TIME)
        parts.append((noise[t] + 4.0 * (1.0 - learned) * (t >= BREAK))[:, None])
    return Looks(ORIGINS, tuple(parts), PERIODS)


def verdict(heard: Heard) -> Verdict:
    return judge(heard, TIME, [], DETECT, CALIBRATED, SHA)


def test_a_level_that_later_windows_learn_is_one_change() -> None:
    found, _, residuals = judged(learning(), DETECT.model_copy(update={"lag": 8}), ALARMING, verdict)
    assert [(f.start, f.lasting) for f in found.findings] == [(PERIODS[BREAK], True)]
    assert float(np.mean(residuals[BREAK:])) == pytest.approx(4.0, abs=0.5)


def test_the_backtests_table_is_read_as_it_was_written() -> None:
    spec = small.spec()
    panel = small.panel(spec)
    windows = past.windows(spec, panel)
    found = looks.read(backtest.one_step_table(panel, windows))
    assert found.origins == tuple(w.origin for w in windows)
    assert found.periods == panel.periods[windows[0].origin :]
    for window, residuals in zip(windows, found.residuals, strict=True):
        np.testing.assert_array_equal(residuals, (window.outcome - window.one_step_mean) / window.one_step_sd)


def twice() -> Looks:
    """Two levels, each four sd above the one before; a window shows what came after its origin alone."""
    noise = np.random.default_rng(4).normal(size=TIME)
    parts = []
    for origin in ORIGINS:
        t = np.arange(origin - FIRST, TIME)
        new = [(t >= at) & (at >= origin - FIRST) for at in (60, BREAK)]
        parts.append((noise[t] + 4.0 * (new[0].astype(float) + new[1]))[:, None])
    return Looks(ORIGINS, tuple(parts), PERIODS)


def test_a_second_change_of_the_same_sign_is_found_beside_the_first() -> None:
    found, _, _ = judged(twice(), DETECT.model_copy(update={"lag": 8}), ALARMING, verdict)
    assert [f.start for f in found.findings if f.lasting] == [PERIODS[60], PERIODS[BREAK]]
