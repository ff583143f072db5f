"""The forecast table: quantiles by target, in the columns of the FluSight hubs.

reference_date      last day of the last period whose outcome is known
horizon             periods ahead, from 1
target_end_date     last day of the period forecast
output_type         "quantile", output_type_id its probability; "point" with no id for the declared point forecast,
                    "median" with no id for the naive ones
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import pyarrow as pa

from engine import calibration, scores
from engine.calibration import Adjustment, Bounds
from engine.levels import bounds, interval_probabilities, probability_name
from engine.spec import Spec
from engine.table import Panel

SCHEMA = pa.schema(
    [
        ("reference_date", pa.date32()),
        ("target", pa.string()),
        ("horizon", pa.int64()),
        ("target_end_date", pa.date32()),
        ("location", pa.string()),
        ("output_type", pa.string()),
        ("output_type_id", pa.string()),
        ("value", pa.float64()),
    ]
)


def calibrated_quantiles(
    spec: Spec, raw: np.ndarray, scale: Sequence[float], moved: Sequence[Adjustment]
) -> np.ndarray:
    """Quantiles (probability, horizon, location) after conformal adjustment.

    Bounds of a level may be infinite where its scores do not support it; the median is never moved.
    """
    probabilities = interval_probabilities(spec.calibrate.levels)
    shape = raw.shape[1:]
    horizon = np.repeat(np.arange(1, shape[0] + 1), shape[1])
    middle = raw[probabilities.index(0.5)].ravel()
    places = [_rows(probabilities, level) for level in spec.calibrate.levels]
    lower = np.stack([raw[low].ravel() for low, _ in places])
    upper = np.stack([raw[high].ravel() for _, high in places])
    location, scales = spec.data.series * shape[0], np.tile(np.asarray(scale), shape[0])
    final = calibration.apply(Bounds(middle, lower, upper), location, scales, horizon, moved, spec.calibrate.levels)
    out = raw.copy()
    for k, (low, high) in enumerate(places):
        out[low], out[high] = final.lower[k].reshape(shape), final.upper[k].reshape(shape)
    return out


def _rows(probabilities: tuple[float, ...], level: float) -> tuple[int, int]:
    low, high = bounds(level)
    return probabilities.index(low), probabilities.index(high)


def quantile_table(spec: Spec, panel: Panel, quantiles: np.ndarray) -> pa.Table:
    """One row a (horizon, location, probability) of `quantiles` (probability, horizon, location)."""
    names = [probability_name(p) for p in interval_probabilities(spec.calibrate.levels)]
    return _table(spec, panel, "quantile", names, quantiles)


def point_table(spec: Spec, panel: Panel, point: np.ndarray) -> pa.Table:
    """One row a (horizon, location) of the point forecast (horizon, location)."""
    return _table(spec, panel, "point", [""], point[None])


def naive_table(spec: Spec, panel: Panel, rule: str) -> pa.Table:
    """The point forecasts of "seasonal_naive" or "last_value" from the end of the panel."""
    last, horizon = len(panel.periods) - 1, spec.backtest.horizon
    if rule == "seasonal_naive":
        values = scores.seasonal_naive(panel.kpi, last, horizon, spec.plan.year)
    else:
        values = scores.last_value(panel.kpi, last, horizon)
    return _table(spec, panel, "median", [""], values[None])


def _table(spec: Spec, panel: Panel, kind: str, ids: Sequence[str], values: np.ndarray) -> pa.Table:
    period = timedelta(days=spec.data.frequency_days)
    reference = panel.periods[-1] + period - timedelta(days=1)
    rows = [
        (
            reference,
            spec.target,
            h + 1,
            reference + (h + 1) * period,
            location,
            kind,
            name,
            float(values[k, h, g]),
        )
        for h in range(values.shape[1])
        for g, location in enumerate(panel.series)
        for k, name in enumerate(ids)
    ]
    columns = zip(*rows, strict=True)
    return pa.table(dict(zip(SCHEMA.names, (list(c) for c in columns), strict=True)), schema=SCHEMA)
