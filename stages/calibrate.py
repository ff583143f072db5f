"""calibrate: how far interval bounds must move for their level to be met, and how well past forecasts did.

Writes calibrate/adjustments.parquet (for the forecast to be published), and scorecard_*.parquet and
coverage_*.parquet of the holdout and of earlier windows (each calibrated by what was known at its own origin).
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from engine import calibration, evaluation
from engine.calibration import Adjustment
from engine.origins import holdout_origins
from engine.table import read_parquet, write_parquet
from stages.inputs import TABLE, panel
from stages.stage import SPEC, Context, Stage

FORECASTS = "backtest/forecasts.parquet"


def _run(context: Context, out: Path) -> None:
    spec = context.spec()
    data = panel(context, spec)
    past_table = read_parquet(context.artifact(FORECASTS))
    past = calibration.cases(past_table, "noptik", spec.calibrate.levels)
    moved = calibration.adjustments(spec, data, past, len(data.periods))
    write_parquet(_table(moved), out / "adjustments.parquet")
    holdout = holdout_origins(spec, len(data.periods))
    rolling = tuple(o for o in calibration.supported(spec, data, past) if o not in holdout)
    write_parquet(pa.table({"origin": pa.array(rolling, pa.int64())}), out / "rolling_origins.parquet")
    for name, origins in (("holdout", holdout), ("rolling", rolling)):
        card, cover = evaluation.evaluate(spec, data, past_table, origins)
        write_parquet(card, out / f"scorecard_{name}.parquet")
        write_parquet(cover, out / f"coverage_{name}.parquet")


def _table(moved: tuple[Adjustment, ...]) -> pa.Table:
    kinds = [pa.int64(), pa.float64(), pa.float64(), pa.int64(), pa.float64()]
    columns = [pa.array(list(values), kind) for values, kind in zip(zip(*moved, strict=True), kinds, strict=True)]
    return pa.table(columns, names=list(Adjustment._fields))


STAGE = Stage("calibrate", reads=(TABLE, FORECASTS, SPEC), run=_run)
