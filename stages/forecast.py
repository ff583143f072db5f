"""forecast: the table that is published, with the naive forecasts beside it, or a record of why there is none.

Writes forecast/record.json always. When the fit passed every gate also forecast/forecast.parquet, uncalibrated.parquet,
point.parquet, total.parquet, seasonal_naive.parquet and last_value.parquet; and then, where something followed from a
break, without.parquet: the forecast as it would have been, if that fit passed every gate too.
"""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pyarrow as pa
from jax import Array

from engine import design as designs
from engine import forecast, posterior, publish
from engine.calibration import Adjustment
from engine.gates import Diagnostics
from engine.levels import interval_probabilities
from engine.prng import stream
from engine.reaction import Reaction, acts, none
from engine.spec import Spec
from engine.table import Panel, read_parquet, write_parquet
from engine.verdict import Verdict
from stages.inputs import CHOICES, TABLE, VERDICT, asked, model_spec, panel, verdict
from stages.record import Break, Record, Total
from stages.stage import SPEC, Context, Stage, canonical_json

FIT = "fit"
ADJUSTMENTS = "calibrate/adjustments.parquet"
WITHOUT = "calibrate/adjustments_without.parquet"


def _run(context: Context, out: Path) -> None:
    spec = model_spec(context)
    data = panel(context)
    gates = _gates(context, "gates.json")
    found = verdict(context)
    wanted = asked(spec, data, found, len(data.periods))
    total = without = None
    if gates.passed:
        total = _publish(context, spec, data, wanted, out)
        for rule in ("seasonal_naive", "last_value"):
            write_parquet(publish.naive_table(spec, data, rule), out / f"{rule}.parquet")
        if acts(found) and _gates(context, "without_gates.json").passed:
            without = _without(context, spec, data, out)
    record = Record(
        released=gates.passed,
        failed_gates=tuple(gate.name for gate in gates.gates if not gate.passed),
        breaks=_breaks(found),
        re_anchored_at=None if wanted.re_anchored_at is None else data.periods[wanted.re_anchored_at],
        older_data_weight=min(wanted.weight),
        interval_widening=wanted.widening,
        total=total,
        total_without=without,
    )
    (out / "record.json").write_bytes(canonical_json(record))


def _gates(context: Context, name: str) -> Diagnostics:
    return Diagnostics.model_validate_json((context.artifact(FIT) / name).read_bytes())


def _breaks(found: Verdict) -> tuple[Break, ...]:
    return tuple(
        Break(start=f.start, cause=f.cause, event=f.event, odds=f.odds, consequence=f.consequence, reason=f.reason)
        for f in found.findings
    )


def _publish(context: Context, spec: Spec, data: Panel, wanted: Reaction, out: Path) -> Total:
    paths, raw, scale = _paths(context, spec, data, wanted, "posterior.zarr")
    write_parquet(_calibrated(context, spec, data, raw, scale, ADJUSTMENTS), out / "forecast.parquet")
    write_parquet(publish.quantile_table(spec, data, raw), out / "uncalibrated.parquet")
    point = np.asarray(forecast.point(paths, spec.point))
    write_parquet(publish.point_table(spec, data, point), out / "point.parquet")
    total = _total(spec, data, paths)
    write_parquet(total, out / "total.parquet")
    return _summary(total)


def _without(context: Context, spec: Spec, data: Panel, out: Path) -> Total:
    """The forecast of the model as declared, calibrated by windows of the model as declared."""
    plain = none(len(data.periods), spec.backtest.horizon)
    paths, raw, scale = _paths(context, spec, data, plain, "without.zarr")
    write_parquet(_calibrated(context, spec, data, raw, scale, WITHOUT), out / "without.parquet")
    return _summary(_total(spec, data, paths))


def _paths(
    context: Context, spec: Spec, data: Panel, wanted: Reaction, fitted: str
) -> tuple[Array, np.ndarray, tuple[float, ...]]:
    time = len(data.periods)
    design, scales = designs.build(data, spec, time, wanted)
    draws = posterior.read(context.artifact(FIT) / fitted)
    paths = forecast.paths(spec, draws, design, scales, time, stream(spec.seed, "forecast"), wanted.widening)
    raw = np.asarray(forecast.quantiles(paths, interval_probabilities(spec.calibrate.levels)))
    return paths, raw, scales.kpi


def _calibrated(
    context: Context, spec: Spec, data: Panel, raw: np.ndarray, scale: tuple[float, ...], adjustments: str
) -> pa.Table:
    moved = tuple(Adjustment(**row) for row in read_parquet(context.artifact(adjustments)).to_pylist())
    return publish.quantile_table(spec, data, publish.calibrated_quantiles(spec, raw, scale, moved))


def _total(spec: Spec, data: Panel, paths: Array) -> pa.Table:
    """Quantiles of the sum over all horizons and locations, from whole paths; of outcomes in the first one's unit."""
    probabilities = interval_probabilities(spec.calibrate.levels)
    units = [column.unit == spec.data.kpi.unit for column in spec.data.outcomes] * len(data.locations)
    same = jnp.asarray([s for s, counts in enumerate(units) if counts])
    values = forecast.quantiles(jnp.sum(paths[:, :, same], axis=(1, 2)), probabilities)
    columns = {"probability": probabilities, "value": values.tolist()}
    return pa.table({name: pa.array(list(v), pa.float64()) for name, v in columns.items()})


def _summary(total: pa.Table) -> Total:
    values = total.column("value").to_pylist()
    return Total(median=values[len(values) // 2], low=values[0], high=values[-1])


STAGE = Stage("forecast", reads=(TABLE, CHOICES, VERDICT, FIT, ADJUSTMENTS, WITHOUT, SPEC), run=_run)
