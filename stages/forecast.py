"""forecast: the table that is published, with the naive forecasts beside it, or a record of why there is none.

Writes forecast/record.json always, and forecast/forecast.parquet, forecast/uncalibrated.parquet,
forecast/total.parquet, forecast/seasonal_naive.parquet and forecast/last_value.parquet when the fit passed every gate.
"""

from __future__ import annotations

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pyarrow as pa
from jax import Array

from audit import canonical
from engine import design as designs
from engine import detection, forecast, posterior, publish
from engine.calibration import Adjustment
from engine.gates import Diagnostics
from engine.levels import interval_probabilities
from engine.prng import stream
from engine.spec import Spec
from engine.table import Panel, read_parquet, write_parquet
from stages.inputs import TABLE, VERDICT, panel, verdict
from stages.record import Record
from stages.stage import SPEC, Context, Stage

POSTERIOR = "fit/posterior.zarr"
GATES = "fit/gates.json"
ADJUSTMENTS = "calibrate/adjustments.parquet"


def _run(context: Context, out: Path) -> None:
    spec = context.spec()
    data = panel(context, spec)
    gates = Diagnostics.model_validate_json(context.artifact(GATES).read_bytes())
    found = verdict(context)
    record = Record(
        released=gates.passed,
        failed_gates=tuple(gate.name for gate in gates.gates if not gate.passed),
        re_anchored_at=found.re_anchor,
        older_data_weight=spec.detect.power if found.re_anchor else 1.0,
        interval_widening=detection.widening(spec.detect, found, data.periods, spec.plan.year),
    )
    (out / "record.json").write_bytes(canonical.encode(json.loads(record.model_dump_json())))
    if record.released:
        _publish(context, spec, data, detection.power_weights(spec.detect, found, data.periods), record, out)


def _publish(context: Context, spec: Spec, data: Panel, weight: tuple[float, ...], record: Record, out: Path) -> None:
    time = len(data.periods)
    design, scales = designs.build(data, spec, time, weight)
    draws = posterior.read(context.artifact(POSTERIOR))
    paths = forecast.paths(spec, draws, design, scales, time, stream(spec.seed, "forecast"))
    raw = np.asarray(forecast.quantiles(paths, interval_probabilities(spec.calibrate.levels)))
    rows = read_parquet(context.artifact(ADJUSTMENTS)).to_pylist()
    moved = tuple(Adjustment(**row) for row in rows)
    final = publish.calibrated_quantiles(spec, raw, scales.kpi, moved, record.interval_widening)
    write_parquet(publish.quantile_table(spec, data, final), out / "forecast.parquet")
    write_parquet(publish.quantile_table(spec, data, raw), out / "uncalibrated.parquet")
    write_parquet(_total(spec, paths), out / "total.parquet")
    for rule in ("seasonal_naive", "last_value"):
        write_parquet(publish.naive_table(spec, data, rule), out / f"{rule}.parquet")


def _total(spec: Spec, paths: Array) -> pa.Table:
    """Quantiles of the sum over all horizons and locations, from whole paths."""
    probabilities = interval_probabilities(spec.calibrate.levels)
    values = forecast.quantiles(jnp.sum(paths, axis=(1, 2)), probabilities)
    columns = {"probability": probabilities, "value": values.tolist()}
    return pa.table({name: pa.array(list(v), pa.float64()) for name, v in columns.items()})


STAGE = Stage("forecast", reads=(TABLE, VERDICT, POSTERIOR, GATES, ADJUSTMENTS, SPEC), run=_run)
