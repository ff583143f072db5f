"""fit: the posterior, four chains of NUTS, and whether they may be believed.

Depends on the registration receipt: nothing is fitted before the specification is logged. Writes fit/posterior.zarr and
fit/gates.json; where something follows from the verdict on breaks, fit/without.zarr and fit/without_gates.json too, the
posterior as it would have been. A failed gate is a recorded verdict: the forecast is then withheld.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from engine import design as designs
from engine import posterior
from engine.adstock import ADSTOCKS
from engine.diagnostics import diagnose
from engine.fit import Chain, sampler
from engine.prng import stream
from engine.reaction import Reaction, acts, none
from engine.saturation import SATURATIONS
from engine.spec import Spec
from engine.table import Panel
from stages.inputs import CHOICES, TABLE, VERDICT, asked, model_spec, panel, verdict
from stages.stage import RECEIPT, SPEC, Context, Stage, canonical_json


class _Task(NamedTuple):
    spec: Spec
    panel: Panel
    asked: Reaction
    chain: int


def _chain(task: _Task) -> Chain:
    spec = task.spec
    design, _ = designs.build(task.panel, spec, len(task.panel.periods), task.asked)
    compiled = sampler(spec, spec.inference.warmup, spec.inference.draws, design)
    return compiled.chain(design, stream(spec.seed, "fit", task.chain))


def _run(context: Context, out: Path) -> None:
    spec = model_spec(context)
    data = panel(context)
    found = verdict(context)
    wanted = asked(spec, data, found, len(data.periods))
    chains = _chains(context, spec, data, wanted)
    coordinates = _coordinates(spec)
    posterior.write(out / "posterior.zarr", chains, coordinates)
    if acts(found):
        plain = none(len(data.periods), spec.backtest.horizon)
        others = _chains(context, spec, data, plain)
        posterior.write(out / "without.zarr", others, coordinates)
        (out / "without_gates.json").write_bytes(_gates(spec, others))
    (out / "gates.json").write_bytes(_gates(spec, chains))


def _chains(context: Context, spec: Spec, data: Panel, wanted: Reaction) -> list[Chain]:
    tasks = [_Task(spec, data, wanted, chain) for chain in range(spec.inference.chains)]
    return context.workers.map(f"{spec.name}: chains", _chain, tasks)


def _gates(spec: Spec, chains: list[Chain]) -> bytes:
    return canonical_json(diagnose(chains, spec.inference))


def _coordinates(spec: Spec) -> dict[str, Sequence[str]]:
    """What lies along the posterior's axes, by the names of their dimensions, where it has names."""
    data, declared = spec.data, spec.model
    outcomes, selection = [column.name for column in data.outcomes], declared.controls.selection
    return {
        "series": data.series,
        "location": data.locations,
        "outcome": outcomes,
        "other_outcome": outcomes,
        "channel": [column.name for column in data.media],
        "control": [column.name for column in data.controls],
        "selected": [] if selection is None else selection.controls,
        "event": [event.name for event in declared.events],
        "mediator": [mediator.name for mediator in declared.mediators],
        "cross_effect": [f"{each.source} on {each.target}" for each in declared.cross_effects],
        "pair": [f"{each.first} and {each.second}" for each in declared.media.interactions],
        "adstock_parameter": ADSTOCKS[declared.media.adstock.kind].parameters,
        "saturation_parameter": SATURATIONS[declared.media.saturation.kind].parameters,
    }


STAGE = Stage("fit", reads=(TABLE, CHOICES, VERDICT, SPEC, RECEIPT), run=_run)
