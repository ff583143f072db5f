"""fit: the posterior, four chains of NUTS, and whether they may be believed.

Depends on the registration receipt: nothing is fitted before the specification is logged. Writes fit/posterior.zarr,
fit/gates.json and fit/contributions.parquet. A failed gate is a recorded verdict: the forecast is then withheld.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import pyarrow as pa

from audit import canonical
from engine import design as designs
from engine import forecast, posterior
from engine.detection import power_weights
from engine.diagnostics import diagnose
from engine.fit import Chain, Sampler
from engine.prng import stream
from engine.spec import Spec
from engine.table import Panel, write_parquet
from stages.inputs import TABLE, VERDICT, panel, verdict
from stages.stage import RECEIPT, SPEC, Context, Stage

CONTRIBUTION_LEVEL = 0.9


class _Task(NamedTuple):
    spec: Spec
    panel: Panel
    weight: tuple[float, ...]
    chain: int


def _chain(task: _Task) -> Chain:
    spec = task.spec
    design, _ = designs.build(task.panel, spec, len(task.panel.periods), task.weight)
    sampler = Sampler(spec.model, spec.inference, spec.inference.warmup, spec.inference.draws, design)
    return sampler.chain(design, stream(spec.seed, "fit", task.chain))


def _run(context: Context, out: Path) -> None:
    spec = context.spec()
    data = panel(context, spec)
    weight = power_weights(spec.detect, verdict(context), data.periods)
    tasks = [_Task(spec, data, weight, chain) for chain in range(spec.inference.chains)]
    chains = context.workers.map(f"{spec.name}: chains", _chain, tasks)
    coordinates = {
        "location": data.locations,
        "channel": [column.name for column in spec.data.media],
        "control": [column.name for column in spec.data.controls],
        "event": [event.name for event in spec.model.events],
    }
    posterior.write(out / "posterior.zarr", chains, coordinates)
    gates = diagnose(chains, spec.inference)
    (out / "gates.json").write_bytes(canonical.encode(json.loads(gates.model_dump_json())))
    write_parquet(_contributions(spec, data, weight, out), out / "contributions.parquet")


def _contributions(spec: Spec, data: Panel, weight: tuple[float, ...], out: Path) -> pa.Table:
    """Per channel over the last year of data: mean and central interval, in the KPI's unit, and its spend."""
    draws = posterior.read(out / "posterior.zarr")
    time = len(data.periods)
    design, scales = designs.build(data, spec, time, weight)
    first = max(time - spec.plan.year, 0)
    found = forecast.contributions(spec, draws, design, scales, first, time).draws
    tail = (1.0 - CONTRIBUTION_LEVEL) / 2.0
    low, high = forecast.quantiles(jnp.asarray(found), (tail, 1.0 - tail))
    spend = jnp.sum(jnp.asarray(data.media[first:time]), axis=(0, 1))
    return pa.table(
        {
            "channel": pa.array([column.name for column in spec.data.media], pa.string()),
            "first_period": pa.array([data.periods[first]] * found.shape[1], pa.date32()),
            "last_period": pa.array([data.periods[time - 1]] * found.shape[1], pa.date32()),
            "mean": pa.array(jnp.mean(jnp.asarray(found), axis=0).tolist(), pa.float64()),
            "level": pa.array([CONTRIBUTION_LEVEL] * found.shape[1], pa.float64()),
            "low": pa.array(low.tolist(), pa.float64()),
            "high": pa.array(high.tolist(), pa.float64()),
            "spend": pa.array(spend.tolist(), pa.float64()),
        }
    )


STAGE = Stage("fit", reads=(TABLE, VERDICT, SPEC, RECEIPT), run=_run)
