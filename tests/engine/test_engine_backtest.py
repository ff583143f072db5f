"""A window forecasts from what was known at its origin, and its tables say what came."""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np
import pytest

from engine import backtest
from engine.backtest import Window, diagnostics_table, forecasts_table, one_step_table
from engine.levels import interval_probabilities
from engine.table import Panel
from tests import classes, past, small

SPEC = small.spec()
PANEL = small.panel(SPEC)
ORIGIN = 24


@pytest.fixture(scope="module")
def window() -> Window:
    return backtest.run_window(SPEC, PANEL, ORIGIN)


def changed(panel: Panel, first: int) -> Panel:
    """Every number from `first` on is another, spend and controls too."""
    arrays = {}
    for name in ("kpi", "media", "controls"):
        arrays[name] = getattr(panel, name).copy()
        arrays[name][first:] *= 1.7
    return panel._replace(**arrays)


def test_a_window_has_the_shapes_it_promises(window: Window) -> None:
    probabilities = interval_probabilities(SPEC.calibrate.levels)
    assert window.quantiles.shape == (len(probabilities), SPEC.backtest.horizon, 2)
    assert window.pit.shape == (SPEC.backtest.horizon, 2)
    assert window.one_step_mean.shape == window.one_step_sd.shape == window.outcome.shape == (small.TIME - ORIGIN, 2)
    assert np.all(np.diff(window.quantiles, axis=0) >= 0.0)
    assert np.all((window.pit >= 0.0) & (window.pit <= 1.0))
    assert np.all(window.one_step_sd > 0.0)
    assert math.isfinite(window.rhat)


def test_what_came_later_changes_no_forecast(window: Window) -> None:
    other = backtest.run_window(SPEC, changed(PANEL, ORIGIN), ORIGIN)
    assert other.quantiles.tobytes() == window.quantiles.tobytes()
    assert (other.scale, other.rhat, other.khat) == (window.scale, window.rhat, window.khat)
    assert other.one_step_mean[0].tobytes() != window.one_step_mean[0].tobytes()  # hindsight spend is its input


def test_one_step_prediction_knows_the_outcome_before_it_and_none_after(window: Window) -> None:
    kpi = PANEL.kpi.copy()
    kpi[ORIGIN + 2 :] *= 1.7
    other = backtest.run_window(SPEC, PANEL._replace(kpi=kpi), ORIGIN)
    assert other.one_step_mean[:3].tobytes() == window.one_step_mean[:3].tobytes()
    assert other.one_step_mean[3].tobytes() != window.one_step_mean[3].tobytes()


def test_the_last_window_stops_with_the_data(window: Window) -> None:
    time = small.TIME
    last = backtest.run_window(SPEC, PANEL, time - 2)
    assert last.quantiles.shape[1] == last.pit.shape[0] == 2
    assert last.quantiles.shape[0] == window.quantiles.shape[0]


def test_the_table_has_a_row_for_each_origin_horizon_and_location() -> None:
    windows = past.windows(SPEC, PANEL)
    rows = forecasts_table(SPEC, PANEL, windows).to_pylist()
    assert len(rows) == sum(w.pit.size for w in windows)
    for row in rows:
        origin, h, g = row["origin"], row["horizon"], PANEL.locations.index(row["location"])
        assert row["outcome"] == PANEL.kpi[origin + h - 1, g]
        assert row["last_value"] == PANEL.kpi[origin - 1, g]
        assert row["seasonal_naive"] == PANEL.kpi[origin + h - 1 - SPEC.plan.year, g]
        assert row["reference_date"] == PANEL.periods[origin] - timedelta(days=1)
        assert row["target_end_date"] == PANEL.periods[origin + h - 1] + timedelta(days=6)
        assert row["q0.1"] <= row["q0.25"] <= row["q0.5"] <= row["q0.75"] <= row["q0.9"]


def test_residuals_are_standardised_and_cover_every_period_after_each_origin() -> None:
    windows = past.windows(SPEC, PANEL)
    rows = one_step_table(PANEL, windows).to_pylist()
    later = [(w.origin, p) for w in windows for p in PANEL.periods[w.origin :]]
    assert [(r["origin"], r["period"], r["location"]) for r in rows] == [
        (origin, period, g) for origin, period in later for g in PANEL.locations
    ]
    for row in rows:
        assert row["residual"] == (row["outcome"] - row["mean"]) / row["sd"]


def test_every_outcome_of_a_location_has_rows_of_its_own() -> None:
    spec = classes.spec("portfolio")
    panel = classes.panel(spec)
    assert panel.kpi[:, 0].tolist() != panel.kpi[:, 1].tolist()
    windows = past.windows(spec, panel)
    rows = forecasts_table(spec, panel, windows).to_pylist()
    assert len(rows) == sum(w.pit.size for w in windows)
    assert [row["location"] for row in rows[:4]] == ["East/sales", "East/multipack", "West/sales", "West/multipack"]
    for row in rows:
        s = panel.series.index(row["location"])
        assert row["outcome"] == panel.kpi[row["origin"] + row["horizon"] - 1, s]
    ahead = one_step_table(panel, windows).to_pylist()
    assert len(ahead) == sum(w.outcome.size for w in windows)
    assert {row["location"] for row in ahead} == set(panel.series)


def test_an_infinite_k_hat_is_kept_as_infinity_and_one_that_is_not_there_as_null() -> None:
    windows = [w._replace(khat=k) for w, k in zip(past.windows(SPEC, PANEL), (0.4, math.inf, None), strict=False)]
    assert diagnostics_table(windows).column("khat").to_pylist()[:3] == [0.4, math.inf, None]
