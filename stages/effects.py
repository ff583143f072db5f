"""effects: what media did and would do: contributions, returns, response curves, and where a budget would do more.

Everything is taken in every draw of the posterior and told as a distribution; conditional on the model, no experiment.
Effects are in the outcome's unit over the last year of data; level, lower and upper are of highest-density intervals,
their level as declared. A location, or channel, of "" is all of them together. Writes, with columns as in each module:

    contributions, contributions_by_period      engine.contribution
    decomposition, decomposition_by_period      engine.outcome_parts
    returns                                     engine.returns          ROAS and marginal ROAS
    curves, half_saturation                     engine.curve
    controls, selection                         engine.selection_table  where there are controls; a selection prior
    mediation                                   engine.mediated         where there are mediators
    cross_effects                               engine.outcome_links    where outcomes move one another
    correlations                                engine.outcome_links    where outcomes scatter together
    reallocations, reallocation_gains           engine.reallocation_table   where any is declared
    findings                                    engine.finding          what the fit left over

all .parquet. They are written whatever the gates say: a fit that failed one is no evidence, and is not reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa

from engine import contribution, curve, effects, mediated, outcome_links, outcome_parts, posterior, returns
from engine import design as designs
from engine import reallocation_table as budgets
from engine import selection_table as selected
from engine.after import after_fit
from engine.contribution import Window
from engine.design import Design, Scales
from engine.effect_table import together
from engine.effects import EffectDraws
from engine.finding import findings_table
from engine.model import Parameters
from engine.reallocation import reallocated
from engine.spec import Spec
from engine.table import Panel, write_parquet
from stages.inputs import CHOICES, TABLE, VERDICT, asked, model_spec, panel, verdict
from stages.stage import SPEC, Context, Stage

Named = Iterator[tuple[str, pa.Table]]


def _run(context: Context, out: Path) -> None:
    spec, data = model_spec(context), panel(context)
    time = len(data.periods)
    design, scales = designs.build(data, spec, time, asked(spec, data, verdict(context), time))
    fitted = posterior.read(context.artifact("fit") / "posterior.zarr")
    draws = jax.tree.map(jnp.asarray, fitted)
    window = contribution.last_year(spec, time)
    found = jax.tree.map(np.asarray, effects.drawn(spec, draws, design, window))
    for name, table in _tables(spec, data, scales, found, window):
        write_parquet(table, out / f"{name}.parquet")
    parts = outcome_parts.parts_tables(spec, draws, design, data, window)
    for name, table in zip(("decomposition", "decomposition_by_period"), parts, strict=True):
        write_parquet(table, out / f"{name}.parquet")
    write_parquet(findings_table(after_fit(spec, draws, design)), out / "findings.parquet")
    for name, table in (*_optional(spec, fitted, found), *_reallocations(spec, draws, design, scales, time)):
        write_parquet(table, out / f"{name}.parquet")


def _tables(spec: Spec, data: Panel, scales: Scales, found: EffectDraws, window: Window) -> Named:
    added = found.contributions
    yield "contributions", contribution.contributions_table(spec, data, added.window, window)
    yield "contributions_by_period", contribution.by_period_table(spec, data.periods, added.period)
    yield "returns", returns.returns_table(spec, data, added.window[:, :, :-1], found.marginal, window)
    yield "curves", curve.curves_table(spec, data, found.curve, window)
    yield "half_saturation", curve.half_table(spec, data, scales, found.half)


def _optional(spec: Spec, draws: Parameters, found: EffectDraws) -> Named:
    declared, data, level = spec.model, spec.data, spec.effects.level
    if data.controls:
        yield "controls", selected.controls_table(declared.controls, data, draws.controls, level)
    if declared.controls.selection is not None:
        yield "selection", selected.numbers_table(declared.controls, data, draws.controls, level)
    if declared.mediators:
        total = together(data, found.contributions.window, tuple(range(len(data.locations))))
        yield "mediation", mediated.mediation_table(spec, found.mediated, total)
    if declared.cross_effects:
        yield "cross_effects", outcome_links.cross_table(spec, np.asarray(draws.cross.cross), found.crossed)
    if declared.covariance is not None:
        yield "correlations", outcome_links.correlation_table(spec, found.correlation)


def _reallocations(spec: Spec, draws: Parameters, design: Design, scales: Scales, time: int) -> Named:
    proposals = [reallocated(spec, draws, design, scales, time, each) for each in spec.effects.reallocations]
    if proposals:
        yield "reallocations", budgets.channels_table(spec, proposals)
        yield "reallocation_gains", budgets.gains_table(spec, proposals)


STAGE = Stage("effects", reads=(TABLE, CHOICES, VERDICT, "fit", SPEC), run=_run)
