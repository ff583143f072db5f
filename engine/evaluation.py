"""How good the forecasts were: coverage, width and errors, beside the naive forecasts conformalised the same way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from engine import calibration, cases, scores
from engine.cases import FORECASTERS, Cases
from engine.errors import CalibrationError
from engine.spec import Spec
from engine.table import Panel

OVERALL = 0  # the horizon of rows over all horizons
EVERYWHERE = ""  # the location of rows over all locations


def evaluate(spec: Spec, panel: Panel, table: pa.Table, origins: Sequence[int]) -> tuple[pa.Table, pa.Table]:
    """Scorecard and coverage of the windows at `origins`, each calibrated by what was known at its origin.

    scorecard: forecaster, horizon (0: all), cases, mape, mae, wis; in percent points, the KPI's unit, and its unit.
    coverage: forecaster, location (EVERYWHERE: all; each alone where there are several), level, cases, inside_before,
    inside_after, width_before, width_after; widths as a share of the mean outcome there. An interval without an end
    makes its width and WIS infinite. Raises CalibrationError without origins: there is nothing to say how good the
    forecasts were.
    """
    if not origins:
        raise CalibrationError(
            "evaluation: expected an origin whose forecasts can be calibrated at every horizon and level, found none; "
            "declare an earlier first origin, a smaller step or lower levels"
        )
    card: list[tuple[object, ...]] = []
    cover: list[tuple[object, ...]] = []
    for forecaster in FORECASTERS:
        past = cases.read(table, forecaster, spec.calibrate.levels)
        raw = cases.select(past, np.concatenate([np.nonzero(past.origin == o)[0] for o in origins]))
        after = calibration.calibrated(spec, panel, past, origins)
        for horizon in range(spec.backtest.horizon + 1):
            rows = np.nonzero(after.horizon == horizon)[0] if horizon != OVERALL else np.arange(after.outcome.size)
            if rows.size:
                card.append((forecaster, horizon, int(rows.size), *_errors(cases.select(after, rows), spec)))
        for location in (EVERYWHERE, *(spec.data.series if len(spec.data.series) > 1 else ())):
            rows = np.asarray([i for i, name in enumerate(raw.location) if location in (EVERYWHERE, name)])
            before, since = cases.select(raw, rows), cases.select(after, rows)
            for k, level in enumerate(spec.calibrate.levels):
                cover.append((forecaster, location, level, int(rows.size), *_coverage(before, since, k)))
    return _table(_CARD, card), _table(_COVER, cover)


def _errors(c: Cases, spec: Spec) -> tuple[float, float, float]:
    wis = scores.weighted_interval_score(c.outcome, c.median, c.lower, c.upper, spec.calibrate.levels)
    return (
        100.0 * float(scores.mape(c.outcome, c.point)),
        float(scores.mae(c.outcome, c.median)),
        float(wis),
    )


def _coverage(raw: Cases, after: Cases, k: int) -> tuple[int, int, float, float]:
    mean = float(scores.mae(np.zeros_like(raw.outcome), raw.outcome))
    inside = [int(np.sum((c.lower[k] <= c.outcome) & (c.outcome <= c.upper[k]))) for c in (raw, after)]
    width = [float(scores.mean_width(c.outcome, c.lower[k], c.upper[k])) / mean for c in (raw, after)]
    return inside[0], inside[1], width[0], width[1]


_CARD = {
    "forecaster": pa.string(), "horizon": pa.int64(), "cases": pa.int64(),
    "mape": pa.float64(), "mae": pa.float64(), "wis": pa.float64(),
}  # fmt: skip
_COVER = {
    "forecaster": pa.string(), "location": pa.string(), "level": pa.float64(), "cases": pa.int64(),
    "inside_before": pa.int64(), "inside_after": pa.int64(),
    "width_before": pa.float64(), "width_after": pa.float64(),
}  # fmt: skip


def _table(fields: dict[str, pa.DataType], rows: Sequence[tuple[object, ...]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(fields)
    return pa.table(
        dict(zip(fields, (list(column) for column in columns), strict=True)),
        schema=pa.schema(list(fields.items())),
    )
