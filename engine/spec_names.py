"""Whether a specification's parts speak of the columns that it declares."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from engine.spec_controls import selection_faults
from engine.spec_creatives import feature_faults
from engine.spec_data import ControlColumn, DataSpec
from engine.spec_experiments import unit_faults
from engine.spec_model import ModelSpec
from engine.spec_outcomes import CrossEffect, TwoState


def faults(data: DataSpec, model: ModelSpec) -> list[str]:
    """Every name that is doubled, unknown, or used for what it is not; empty when there is none."""
    return [
        *_doubled(data),
        *feature_faults(data.creatives, data.features, [column.name for column in data.media]),
        *_repeated(data, model),
        *_unknown(data, model),
        *_outcomes(data, model),
        *_latent(data, model),
        *selection_faults(model.controls, data),
        *unit_faults(model.lift_tests, model.roi_priors, data),
    ]


def _doubled(data: DataSpec) -> Iterator[str]:
    columns = [*data.outcomes, *data.errors, *data.media, *data.controls, *data.mediators]
    frequencies = [column.frequency for column in data.media if column.frequency is not None]
    names = [c.name for c in columns]
    owned = [c for c in columns if not (isinstance(c, ControlColumn) and c.feature is not None)]
    places = [*(c.column for c in owned), *frequencies]
    for what, values in (("name", names), ("column", places)):
        twice = sorted({v for v in values if values.count(v) > 1})
        if twice:
            yield f"data: {what} used twice: {', '.join(twice)}"


def _repeated(data: DataSpec, model: ModelSpec) -> Iterator[str]:
    """What is listed twice, and mediators that take a column's name."""
    lists = {
        "model.mediators": [m.name for m in model.mediators],
        "model.events": [e.name for e in model.events],
        "model.roi_priors": [f"{p.channel} on {p.outcome}" for p in model.roi_priors],
    }
    taken = [column.name for column in (*data.outcomes, *data.errors, *data.media, *data.controls)]
    for m in model.mediators:
        lists[f"model.mediators.{m.name}.channels"] = list(m.channels)
        lists[f"model.mediators.{m.name}.outcomes"] = list(m.outcomes)
        if m.name in taken:
            yield f"model.mediators.{m.name}: expected a name of its own, found a column's"
    for where, values in lists.items():
        for name in sorted({v for v in values if values.count(v) > 1}):
            yield f"{where}: expected each once, found {name} {values.count(name)} times"


def _unknown(data: DataSpec, model: ModelSpec) -> Iterator[str]:
    channels, controls = [c.name for c in data.media], [c.name for c in data.controls]
    outcomes = [c.name for c in data.outcomes]
    for interaction in model.media.interactions:
        yield from _not_in("model.media.interactions", (interaction.first, interaction.second), channels, "channel")
    for cross in model.cross_effects:
        yield from _not_in("model.cross_effects", (cross.source, cross.target), outcomes, "outcome")
        if cross.promotion is not None:
            yield from _not_in("model.cross_effects", (cross.promotion,), controls, "control")
    for mediator in model.mediators:
        yield from _not_in(f"model.mediators.{mediator.name}.channels", mediator.channels, channels, "channel")
        yield from _not_in(f"model.mediators.{mediator.name}.outcomes", mediator.outcomes, outcomes, "outcome")


def _not_in(where: str, names: Iterable[str], known: Sequence[str], what: str) -> Iterator[str]:
    for name in names:
        if name not in known:
            yield f"{where}: expected a declared {what} ({', '.join(known) or 'none'}), found {name}"


def _outcomes(data: DataSpec, model: ModelSpec) -> Iterator[str]:
    count = len(data.outcomes)
    if data.errors and len(data.errors) != count:
        yield f"data.errors: expected none or one an outcome ({count}), found {len(data.errors)}"
    if count == 1 and model.covariance is not None:
        yield f"model.covariance: expected none with one outcome, found {model.covariance.kind}"
    if count > 1 and isinstance(model.likelihood, TwoState):
        yield f"model.likelihood: expected normal or student_t with {count} outcomes, found two_state"
    pairs = [_ends(each) for each in model.cross_effects]
    for pair in sorted({pair for pair in pairs if pairs.count(pair) > 1}):
        yield f"model.cross_effects: expected each effect once, found {pair[0]} on {pair[1]} twice"


def _ends(each: CrossEffect) -> tuple[str, str, bool, str | None]:
    return each.source, each.target, each.lagged, each.promotion


def _latent(data: DataSpec, model: ModelSpec) -> Iterator[str]:
    """Every mediator has its column, and only what is never seen has none."""
    declared = [column.name for column in data.mediators]
    needed = [mediator.name for mediator in model.mediators if mediator.kind != "latent"]
    if sorted(declared) != sorted(needed):
        yield (
            f"data.mediators: expected the columns of {', '.join(needed) or 'no mediator'}, "
            f"found {', '.join(declared) or 'none'}"
        )
