"""Rolling-origin evaluation with the model that is published: forecast from many origins, look at what came.

Each window is a pure function of (spec, panel, origin): windows run in as many processes as there are cores, or one
after the other, to the same bytes. Windows are masked to one shape, so all share one compiled program.
Source: Tashman (2000), doi:10.1016/S0169-2070(00)00065-0.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa

from engine import design as designs
from engine import forecast, scores
from engine.diagnostics import diagnose
from engine.fit import sampler
from engine.levels import interval_probabilities, probability_name
from engine.prng import stream
from engine.reaction import Reaction, none
from engine.spec import Spec
from engine.table import Panel


class Window(NamedTuple):
    """What one origin gives. H horizons whose outcome is in the panel, G series, P probabilities."""

    origin: int  # periods known
    quantiles: np.ndarray  # (P, H, G), in the KPI's unit
    point: np.ndarray  # (H, G) the declared point forecast, in the KPI's unit
    pit: np.ndarray  # (H, G) share of draws below the outcome
    scale: tuple[float, ...]  # (G,) mean outcome before the origin
    one_step_mean: np.ndarray  # (S, G) on the model's scale
    one_step_sd: np.ndarray  # (S, G)
    outcome: np.ndarray  # (S, G) as it came, on the model's scale
    rhat: float
    ess_bulk: float
    divergences: int
    khat: float | None  # Pathfinder's; None without it


def run_window(spec: Spec, panel: Panel, origin: int, asked: Reaction | None = None) -> Window:
    """One chain fitted to the first `origin` periods, and its forecasts against what came.

    asked: what the verdict known at `origin` asks of the fit, default nothing.
    """
    asked = asked or none(origin, spec.backtest.horizon)
    design, scales = designs.build(panel, spec, origin, asked)
    compiled = sampler(spec, spec.backtest.warmup, spec.backtest.draws, design)
    chain = compiled.chain(design, stream(spec.seed, "backtest", origin))
    draws = jax.tree.map(jnp.asarray, chain.parameters)
    key = stream(spec.seed, "backtest-paths", origin)
    paths = forecast.paths(spec, draws, design, scales, origin, key, asked.widening)
    horizons = min(spec.backtest.horizon, len(panel.periods) - origin)
    probabilities = interval_probabilities(spec.calibrate.levels)
    outcome = _model_scale(spec, panel, scales)
    hindsight = designs.build_hindsight(panel, spec, origin, asked)
    span = np.zeros(design.y.shape)
    span[: len(outcome)] = outcome
    step = forecast.one_step(spec, draws, hindsight, jnp.asarray(span))
    verdict = {gate.name: gate.value for gate in diagnose([chain], spec.inference).gates}
    return Window(
        origin=origin,
        quantiles=np.asarray(forecast.quantiles(paths, probabilities))[:, :horizons],
        point=np.asarray(forecast.point(paths, spec.point))[:horizons],
        pit=scores.pit(panel.kpi[origin : origin + horizons], np.asarray(paths)[:, :horizons]),
        scale=scales.kpi,
        one_step_mean=np.asarray(step.mean)[origin : len(panel.periods)],
        one_step_sd=np.asarray(step.sd)[origin : len(panel.periods)],
        outcome=outcome[origin:],
        rhat=verdict["rhat"],
        ess_bulk=verdict["ess_bulk"],
        divergences=int(verdict["divergences"]),
        khat=chain.khat,
    )


def _model_scale(spec: Spec, panel: Panel, scales: designs.Scales) -> np.ndarray:
    """All outcomes of the panel on the scale of one window's model: (time, location)."""
    transform = designs.outcome_transform(spec)
    rows = [[transform(float(v) / s) for v, s in zip(row, scales.kpi, strict=True)] for row in panel.kpi]
    return np.asarray(rows)


def forecasts_table(spec: Spec, panel: Panel, windows: Sequence[Window]) -> pa.Table:
    """One row a (origin, horizon, location) with the quantiles, the outcome and both naive forecasts."""
    names = [probability_name(p) for p in interval_probabilities(spec.calibrate.levels)]
    rows: dict[str, list[object]] = {name: [] for name in (*_FORECAST_FIELDS, *(f"q{name}" for name in names))}
    day = timedelta(days=spec.data.frequency_days)
    for window in windows:
        last = window.origin - 1
        naive = scores.seasonal_naive(panel.kpi, last, spec.backtest.horizon, spec.plan.year)
        still = scores.last_value(panel.kpi, last, spec.backtest.horizon)
        for h in range(window.quantiles.shape[1]):
            for g, location in enumerate(panel.series):
                row = (
                    window.origin,
                    panel.periods[last] + day - timedelta(days=1),
                    h + 1,
                    panel.periods[last] + day * (h + 2) - timedelta(days=1),
                    location,
                    float(panel.kpi[window.origin + h, g]),
                    float(naive[h, g]),
                    float(still[h, g]),
                    window.scale[g],
                    float(window.pit[h, g]),
                    float(window.point[h, g]),
                    *(float(q) for q in window.quantiles[:, h, g]),
                )
                for values, value in zip(rows.values(), row, strict=True):
                    values.append(value)
    schema = pa.schema([*_FORECAST_FIELDS.items(), *((f"q{name}", pa.float64()) for name in names)])
    return pa.table(rows, schema=schema)


_FORECAST_FIELDS: dict[str, pa.DataType] = {
    "origin": pa.int64(),
    "reference_date": pa.date32(),
    "horizon": pa.int64(),
    "target_end_date": pa.date32(),
    "location": pa.string(),
    "outcome": pa.float64(),
    "seasonal_naive": pa.float64(),
    "last_value": pa.float64(),
    "scale": pa.float64(),
    "pit": pa.float64(),
    "point": pa.float64(),
}


def one_step_table(panel: Panel, windows: Sequence[Window]) -> pa.Table:
    """One row a (origin, period, location): standardised one-step residuals of every period after each origin."""
    rows: dict[str, list[object]] = {
        name: [] for name in ("origin", "period", "location", "mean", "sd", "outcome", "residual")
    }
    for window in windows:
        for s in range(window.outcome.shape[0]):
            for g, location in enumerate(panel.series):
                mean, sd = float(window.one_step_mean[s, g]), float(window.one_step_sd[s, g])
                outcome = float(window.outcome[s, g])
                residual = (outcome - mean) / sd
                row = (window.origin, panel.periods[window.origin + s], location, mean, sd, outcome, residual)
                for values, value in zip(rows.values(), row, strict=True):
                    values.append(value)
    kinds = [pa.int64(), pa.date32(), pa.string(), *[pa.float64()] * 4]
    return pa.table(rows, schema=pa.schema(list(zip(rows, kinds, strict=True))))


def diagnostics_table(windows: Sequence[Window]) -> pa.Table:
    """One row a window: how well its one chain sampled. No k-hat without Pathfinder; infinity is kept."""
    return pa.table(
        {
            "origin": pa.array([w.origin for w in windows], pa.int64()),
            "rhat": pa.array([w.rhat for w in windows], pa.float64()),
            "ess_bulk": pa.array([w.ess_bulk for w in windows], pa.float64()),
            "divergences": pa.array([w.divergences for w in windows], pa.int64()),
            "khat": pa.array([w.khat for w in windows], pa.float64()),
        }
    )
