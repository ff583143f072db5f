"""fit: the posterior, four chains of NUTS, and whether they may be believed.

Depends on the registration receipt: nothing is fitted before the specification is logged. Writes fit/posterior.zarr,
fit/gates.json and fit/contributions.parquet; where something follows from the verdict on breaks, fit/without.zarr and
fit/without_gates.json too, the posterior as it would have been. A failed gate is a recorded verdict: the forecast is
then withheld.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import pyarrow as pa

from engine import design as designs
from engine import forecast, posterior
from engine.diagnostics import diagnose
from engine.fit import Chain, Sampler
from engine.prng import stream
from engine.reaction import Reaction, acts, none
from engine.spec import Spec
from engine.table import Panel, write_parquet
from stages.inputs import TABLE, VERDICT, asked, panel, verdict
from stages.stage import RECEIPT, SPEC, Context, Stage, canonical_json

CONTRIBUTION_LEVEL = 0.9


class _Task(NamedTuple):
    spec: Spec
    panel: Panel
    asked: Reaction
    chain: int


def _chain(task: _Task) -> Chain:
    spec = task.spec
    design, _ = designs.build(task.panel, spec, len(task.panel.periods), task.asked)
    sampler = Sampler(spec.model, spec.inference, spec.inference.warmup, spec.inference.draws, design)
    return sampler.chain(design, stream(spec.seed, "fit", task.chain))


def _run(context: Context, out: Path) -> None:
    spec = context.spec()
    data = panel(context, spec)
    found = verdict(context)
    wanted = asked(spec, data, found, len(data.periods))
    chains = _chains(context, spec, data, wanted)
    coordinates = {
        "location": data.locations,
        "channel": [column.name for column in spec.data.media],
        "control": [column.name for column in spec.data.controls],
        "event": [event.name for event in spec.model.events],
    }
    posterior.write(out / "posterior.zarr", chains, coordinates)
    if acts(found):
        plain = none(len(data.periods), spec.backtest.horizon)
        others = _chains(context, spec, data, plain)
        posterior.write(out / "without.zarr", others, coordinates)
        (out / "without_gates.json").write_bytes(_gates(spec, others))
    (out / "gates.json").write_bytes(_gates(spec, chains))
    write_parquet(_contributions(spec, data, wanted, out), out / "contributions.parquet")


def _chains(context: Context, spec: Spec, data: Panel, wanted: Reaction) -> list[Chain]:
    tasks = [_Task(spec, data, wanted, chain) for chain in range(spec.inference.chains)]
    return context.workers.map(f"{spec.name}: chains", _chain, tasks)


def _gates(spec: Spec, chains: list[Chain]) -> bytes:
    return canonical_json(diagnose(chains, spec.inference))


def _contributions(spec: Spec, data: Panel, wanted: Reaction, out: Path) -> pa.Table:
    """Per channel over the last year of data: mean and central interval, in the KPI's unit, and its spend."""
    draws = posterior.read(out / "posterior.zarr")
    time = len(data.periods)
    design, scales = designs.build(data, spec, time, wanted)
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
