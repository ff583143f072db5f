"""The published table: its columns, its dates, and quantiles that rise about an unmoved median."""

from __future__ import annotations

import math
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.calibration import Adjustment
from engine.levels import interval_probabilities
from engine.publish import SCHEMA, calibrated_quantiles, naive_table, quantile_table
from tests import classes, small

SPEC = small.spec()
PANEL = small.panel(SPEC)
PROBABILITIES = interval_probabilities(SPEC.calibrate.levels)
H, G = SPEC.backtest.horizon, 2
MEDIAN = PROBABILITIES.index(0.5)
MOVED = [Adjustment(h, level, 0.0, 9, 9.0, "") for h in range(1, H + 1) for level in SPEC.calibrate.levels]
RAW = np.sort(np.random.Generator(np.random.PCG64(3)).normal(100.0, 10.0, size=(len(PROBABILITIES), H, G)), axis=0)
MOVES = st.lists(st.floats(-1.0, 1.0), min_size=len(MOVED), max_size=len(MOVED))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(MOVES)
def test_published_quantiles_rise_and_the_median_stays(moves: list[float]) -> None:
    moved = [a._replace(q=q) for a, q in zip(MOVED, moves, strict=True)]
    found = calibrated_quantiles(SPEC, RAW, (50.0, 200.0), moved)
    assert np.all(np.diff(found, axis=0) >= 0.0)
    assert found[MEDIAN].tobytes() == RAW[MEDIAN].tobytes()


def test_nothing_to_adjust_changes_nothing() -> None:
    np.testing.assert_allclose(calibrated_quantiles(SPEC, RAW, (50.0, 200.0), MOVED), RAW, rtol=1e-15)


def test_an_adjustment_belongs_to_its_horizon_level_and_location() -> None:
    moved = [a._replace(q=0.1) if (a.horizon, a.level) == (2, 0.8) else a for a in MOVED]
    found = calibrated_quantiles(SPEC, RAW, (50.0, 200.0), moved)
    expected = RAW.copy()
    expected[0, 1] -= [5.0, 20.0]
    expected[-1, 1] += [5.0, 20.0]
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_a_group_of_one_location_moves_that_location_alone() -> None:
    moved = [a._replace(location=name, q=0.1 if name == "West" else 0.0) for a in MOVED for name in ("East", "West")]
    found = calibrated_quantiles(SPEC, RAW, (50.0, 200.0), moved)
    np.testing.assert_allclose(found[..., 0], RAW[..., 0], rtol=1e-15)
    np.testing.assert_allclose(found[0, :, 1], RAW[0, :, 1] - 20.0, rtol=1e-14)


def test_a_level_without_support_has_no_bounds() -> None:
    moved = [a._replace(q=math.inf) if a.level == 0.8 else a for a in MOVED]
    found = calibrated_quantiles(SPEC, RAW, (50.0, 200.0), moved)
    assert np.all(found[0] == -math.inf)
    assert np.all(found[-1] == math.inf)
    assert np.all(np.isfinite(found[1:-1]))


def test_the_table_is_the_hubs_and_has_a_row_for_each_quantile() -> None:
    table = quantile_table(SPEC, PANEL, RAW)
    assert table.schema == SCHEMA
    assert table.schema.names == [
        "reference_date", "target", "horizon", "target_end_date", "location", "output_type", "output_type_id", "value",
    ]  # fmt: skip
    rows = table.to_pylist()
    keys = [(r["horizon"], r["location"], r["output_type_id"]) for r in rows]
    names = ["0.1", "0.25", "0.5", "0.75", "0.9"]
    assert keys == [(h, g, n) for h in range(1, H + 1) for g in PANEL.locations for n in names]
    for r in rows:
        k, g = names.index(r["output_type_id"]), PANEL.locations.index(r["location"])
        assert r["value"] == RAW[k, r["horizon"] - 1, g]
        assert (r["output_type"], r["target"]) == ("quantile", SPEC.target)
        assert r["target_end_date"] - r["reference_date"] == timedelta(days=7 * r["horizon"])


def test_every_outcome_of_a_location_is_published_under_both_names() -> None:
    spec = classes.spec("portfolio")
    panel = classes.panel(spec)
    values = np.concatenate([RAW, RAW + 1000.0], axis=2)[:, :, [0, 2, 1, 3]]
    rows = quantile_table(spec, panel, values).to_pylist()
    assert [r["location"] for r in rows[:: len(PROBABILITIES)]] == [*panel.series] * H
    for r in rows:
        s = panel.series.index(r["location"])
        k = [0.1, 0.25, 0.5, 0.75, 0.9].index(float(r["output_type_id"]))
        assert r["value"] == values[k, r["horizon"] - 1, s]
    moved = [a._replace(location=name, q=0.1 * (name == "West/sales")) for a in MOVED for name in panel.series]
    found = calibrated_quantiles(spec, values, (50.0, 50.0, 200.0, 200.0), moved)
    np.testing.assert_allclose(found[0, :, 2], values[0, :, 2] - 20.0, rtol=1e-14)
    np.testing.assert_allclose(found[:, :, [0, 1, 3]], values[:, :, [0, 1, 3]], rtol=1e-15)


def test_the_reference_is_the_last_day_of_the_last_known_week() -> None:
    assert PANEL.periods[-1] == date(2017, 7, 31)
    (reference,) = set(quantile_table(SPEC, PANEL, RAW).column("reference_date").to_pylist())
    assert reference == date(2017, 8, 6)


def test_naive_forecasts_stand_in_the_same_columns() -> None:
    year = SPEC.plan.year
    for rule, expected in (
        ("seasonal_naive", [PANEL.kpi[small.TIME + h - year] for h in range(H)]),
        ("last_value", [PANEL.kpi[-1]] * H),
    ):
        table: pa.Table = naive_table(SPEC, PANEL, rule)
        assert table.schema == SCHEMA
        assert table.column("value").to_pylist() == [v for row in expected for v in row.tolist()]
        assert set(table.column("output_type").to_pylist()) == {"median"}
        assert set(table.column("output_type_id").to_pylist()) == {""}
