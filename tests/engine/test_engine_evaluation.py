"""A scorecard counts what is there: errors, coverage and width by definition, for every forecaster alike."""

from __future__ import annotations

import numpy as np
import pytest

from engine import calibration, cases
from engine.cases import FORECASTERS
from engine.errors import CalibrationError
from engine.evaluation import EVERYWHERE, OVERALL, evaluate
from tests import classes, past, small

SPEC = small.spec()
PANEL = small.panel(SPEC)
TABLE = past.forecasts(SPEC, PANEL)
ROLLING = calibration.supported(SPEC, PANEL, cases.read(TABLE, "noptik", SPEC.calibrate.levels))
CARD, COVER = (table.to_pylist() for table in evaluate(SPEC, PANEL, TABLE, ROLLING))
ROWS = [row for row in TABLE.to_pylist() if row["origin"] in ROLLING]
POINT = {"noptik": "q0.5", "seasonal_naive": "seasonal_naive", "last_value": "last_value"}


def test_each_forecaster_has_a_row_a_horizon_and_one_for_all() -> None:
    expected = [(name, h) for name in FORECASTERS for h in range(SPEC.backtest.horizon + 1)]
    assert [(row["forecaster"], row["horizon"]) for row in CARD] == expected
    for name in FORECASTERS:
        cases = {row["horizon"]: row["cases"] for row in CARD if row["forecaster"] == name}
        assert cases.pop(OVERALL) == sum(cases.values()) == len(ROWS)


@pytest.mark.parametrize("name", FORECASTERS)
def test_errors_are_those_of_the_point_forecast(name: str) -> None:
    for row in CARD:
        if row["forecaster"] == name:
            mine = [r for r in ROWS if row["horizon"] in (OVERALL, r["horizon"])]
            off = [abs(r["outcome"] - r[POINT[name]]) for r in mine]
            assert row["mae"] == pytest.approx(np.mean(off), rel=1e-12)
            relative = [100.0 * e / abs(r["outcome"]) for e, r in zip(off, mine, strict=True)]
            assert row["mape"] == pytest.approx(np.mean(relative), rel=1e-12)


def test_coverage_before_counts_outcomes_inside_the_raw_interval_everywhere_and_in_each_location() -> None:
    for row in COVER:
        if row["forecaster"] == "noptik":
            here = [r for r in ROWS if row["location"] in (EVERYWHERE, r["location"])]
            low, high = {0.5: ("q0.25", "q0.75"), 0.8: ("q0.1", "q0.9")}[row["level"]]
            assert row["inside_before"] == sum(r[low] <= r["outcome"] <= r[high] for r in here)
            mean = np.mean([abs(r["outcome"]) for r in here])
            assert row["width_before"] == pytest.approx(np.mean([r[high] - r[low] for r in here]) / mean, rel=1e-12)
        else:
            assert row["width_before"] == 0.0


def test_locations_add_up_to_everywhere() -> None:
    for name in FORECASTERS:
        for level in SPEC.calibrate.levels:
            rows = {r["location"]: r for r in COVER if (r["forecaster"], r["level"]) == (name, level)}
            whole = rows.pop(EVERYWHERE)
            assert tuple(rows) == SPEC.data.locations
            for field in ("cases", "inside_before", "inside_after"):
                assert whole[field] == sum(row[field] for row in rows.values())


def test_calibration_covers_about_its_level() -> None:
    for row in COVER:
        spread = np.sqrt(row["level"] * (1.0 - row["level"]) / row["cases"])
        # made forecasts are exchangeable; cases of a window share nothing; few scores round a level up
        assert row["inside_after"] / row["cases"] > row["level"] - 4.0 * spread


def test_wis_is_the_mean_of_quantile_losses_and_never_less_than_half_the_error_of_the_median() -> None:
    count = len(SPEC.calibrate.levels)
    for row in CARD:
        assert row["wis"] >= 0.5 * row["mae"] / (count + 0.5)


def test_without_an_origin_there_is_nothing_to_boast_of() -> None:
    with pytest.raises(CalibrationError, match=r"expected an origin .* found none"):
        evaluate(SPEC, PANEL, TABLE, ())


def test_every_outcome_of_a_location_is_covered_by_itself() -> None:
    spec = classes.spec("portfolio")
    panel = classes.panel(spec)
    table = past.forecasts(spec, panel)
    rolling = calibration.supported(spec, panel, cases.read(table, "noptik", spec.calibrate.levels))
    _, cover = (part.to_pylist() for part in evaluate(spec, panel, table, rolling))
    counts = {r["location"]: r["cases"] for r in cover if (r["forecaster"], r["level"]) == ("noptik", 0.5)}
    assert counts.pop(EVERYWHERE) == sum(counts.values())
    assert tuple(counts) == spec.data.series
