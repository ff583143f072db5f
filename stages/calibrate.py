"""calibrate: how far interval bounds must move for their level to be met, and how well past forecasts did.

Writes calibrate/adjustments.parquet (for the forecast to be published; horizon, level, q, scores, effective, location,
as `engine.calibration.Adjustment`), adjustments_without.parquet (learned from windows of the model as declared, for the
forecast as it would have been without what followed from a break), rolling_origins.parquet, and scorecard_*.parquet and
coverage_*.parquet of the holdout and of earlier windows (each calibrated by what was known at its own origin).
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from engine import calibration, cases, evaluation
from engine.calibration import Adjustment
from engine.origins import holdout_origins
from engine.spec import Spec
from engine.table import Panel, read_parquet, write_parquet
from stages.inputs import CHOICES, TABLE, model_spec, panel
from stages.stage import SPEC, Context, Stage

FORECASTS = "adapt/forecasts.parquet"
DECLARED = "backtest/forecasts.parquet"


def _run(context: Context, out: Path) -> None:
    spec = model_spec(context)
    data = panel(context)
    past = read_parquet(context.artifact(FORECASTS))
    write_parquet(_adjustments(spec, data, past), out / "adjustments.parquet")
    declared = read_parquet(context.artifact(DECLARED))
    write_parquet(_adjustments(spec, data, declared), out / "adjustments_without.parquet")
    holdout = holdout_origins(spec, len(data.periods))
    supported = calibration.supported(spec, data, cases.read(past, "noptik", spec.calibrate.levels))
    rolling = tuple(o for o in supported if o not in holdout)
    write_parquet(pa.table({"origin": pa.array(rolling, pa.int64())}), out / "rolling_origins.parquet")
    for name, origins in (("holdout", holdout), ("rolling", rolling)):
        card, cover = evaluation.evaluate(spec, data, past, origins)
        write_parquet(card, out / f"scorecard_{name}.parquet")
        write_parquet(cover, out / f"coverage_{name}.parquet")


def _adjustments(spec: Spec, data: Panel, past: pa.Table) -> pa.Table:
    """One row an adjustment as of the end of the data."""
    end = len(data.periods)
    forecasts = cases.read(past, "noptik", spec.calibrate.levels)
    moved = calibration.history(spec, data, forecasts, (end,)).adjustments[end]
    kinds = [pa.int64(), pa.float64(), pa.float64(), pa.int64(), pa.float64(), pa.string()]
    columns = [pa.array(list(values), kind) for values, kind in zip(zip(*moved, strict=True), kinds, strict=True)]
    return pa.table(columns, names=list(Adjustment._fields))


STAGE = Stage("calibrate", reads=(TABLE, CHOICES, FORECASTS, DECLARED, SPEC), run=_run)
