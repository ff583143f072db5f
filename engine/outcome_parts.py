"""The outcome taken apart: level, trend, seasons, events, breaks, controls, media, mediators, cross-effects, residual.

Where effects add, a part is what it adds, in the outcome's unit and each period's metric, and

    level + trend + seasons + events + breaks + controls + media + mediators + cross_effects + residual = outcome

Where effects multiply, a part is the outcome less what it would have been without it, and the level is the outcome
without any of them. Those do not add up: every part is measured in the presence of the others. What is missing is a row
of its own, remainder, and with it the sum is the outcome again.

media is what channels add directly, and mediators what they add through mediators, both beside nothing spent; level
holds the rest. Parts up to mediators are taken before outcomes move one another, and cross_effects is what that comes
to. residual is the outcome as it was less the outcome expected, in every draw.

decomposition: part, location, outcome, first_period, last_period, mean, sd, level, lower, upper; over the window.
decomposition_by_period: part, period, location, outcome, mean, sd, level, lower, upper; every period and location.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
from jax import Array

from engine import controls, counterfactual, media, model, trend
from engine.contribution import Window
from engine.density_interval import summarised
from engine.design import Design
from engine.effect_table import DATE, TEXT, Row, numbers, places, schema, summary, table, together
from engine.layout import layout
from engine.model import Parameters
from engine.spec import Spec
from engine.table import Panel

PARTS = schema(
    ("part", TEXT), ("location", TEXT), ("outcome", TEXT), ("first_period", DATE), ("last_period", DATE), *numbers()
)
BY_PERIOD = schema(("part", TEXT), ("period", DATE), ("location", TEXT), ("outcome", TEXT), *numbers())


class Parts(NamedTuple):
    """Of one draw, in the outcome's unit, each (T, S)."""

    level: Array
    trend: Array
    seasons: Array
    events: Array
    breaks: Array
    controls: Array
    media: Array
    mediators: Array
    cross_effects: Array
    remainder: Array  # 0 where effects add
    residual: Array


def present(spec: Spec, design: Design) -> tuple[str, ...]:
    """The parts that the model has, in the order of `Parts`."""
    absent = {
        "trend": design.trend.columns.shape[1] == 0,
        "seasons": design.season.shape[1] == 0,
        "events": design.events.shape[1] == 0,
        "breaks": design.shift.shape[1] == 0,
        "controls": design.controls.shape[2] == 0,
        "mediators": not spec.model.mediators,
        "cross_effects": not spec.model.cross_effects,
        "remainder": spec.model.outcome == "linear",
    }
    return tuple(name for name in Parts._fields if not absent.get(name, False))


def parts(spec: Spec, p: Parameters, design: Design, observed: Array) -> Parts:
    """Of the draw `p`. observed: (T, S) outcomes in their unit, anything where they are not known."""
    own = model.levels(spec, p, design).outcome
    added = _added(spec, p, design)
    without = counterfactual.alone(spec, p, design, own - jnp.sum(jnp.stack(added), axis=0))
    whole = counterfactual.alone(spec, p, design, own)
    if spec.model.outcome == "linear":
        unit = design.kpi_scale * jnp.exp(model.metric(p, design))
        each = [unit * part for part in added]
        missing = jnp.zeros_like(own)
    else:
        each = [whole * -jnp.expm1(-part) for part in added]
        missing = whole - without - jnp.sum(jnp.stack(each), axis=0)
    final = counterfactual.outcome(spec, p, design, own)
    return Parts._make([without, *each, final - whole, missing, observed - final])


def _added(spec: Spec, p: Parameters, design: Design) -> list[Array]:
    """What each part from trend to mediators adds on the model's scale: (T, S) each."""
    sites, shape = layout(spec), design.y.shape
    response = media.response(spec.model.media, p.media, design.media)

    def common(columns: Array, effect: Array) -> Array:
        return jnp.tile(jnp.sum(columns[:, :, None] * effect, axis=1), (1, sites.locations))

    each = [
        trend.effect(p.trend, design.trend),
        common(design.season, p.season),
        common(design.events, p.event),
        jnp.sum(design.shift[:, :, None] * p.shift, axis=1),
        controls.effect(p.controls, design.controls),
        media.total(spec.model.media, p.media, design.media, response, sites.pairs),
        counterfactual.mediated(p, response),
    ]
    return [jnp.broadcast_to(part, shape) for part in each]


@partial(jax.jit, static_argnums=0)
def _drawn(spec: Spec, draws: Parameters, design: Design, observed: Array, index: Array) -> Array:
    """(draw, T, S) of the part `index`: one at a time, for all of them are eleven times the posterior's outcomes."""
    return jax.lax.map(lambda p: jnp.stack(parts(spec, p, design, observed))[index], draws)


def drawn(spec: Spec, draws: Parameters, design: Design, panel: Panel) -> Iterator[tuple[str, np.ndarray]]:
    """Every part that is present: its name, and (draw, T, S) over the known periods."""
    time, span = len(panel.periods), design.y.shape[0]
    observed = jnp.concatenate([jnp.asarray(panel.kpi), jnp.zeros((span - time, panel.kpi.shape[1]))])
    for name in present(spec, design):
        index = jnp.asarray(Parts._fields.index(name))
        yield name, np.asarray(_drawn(spec, draws, design, observed, index))[:, :time]


def parts_tables(
    spec: Spec, draws: Parameters, design: Design, panel: Panel, window: Window
) -> tuple[pa.Table, pa.Table]:
    """decomposition and decomposition_by_period, part by part."""
    total: list[Row] = []
    by_period: list[Row] = []
    for name, values in drawn(spec, draws, design, panel):
        total += [(name, *row) for row in _window_rows(spec, panel, values, window)]
        by_period += [(name, *row) for row in _period_rows(spec, panel, values)]
    return table(PARTS, total), table(BY_PERIOD, by_period)


def _window_rows(spec: Spec, panel: Panel, values: np.ndarray, window: Window) -> Iterator[Row]:
    ends = panel.periods[window.first], panel.periods[window.last - 1]
    summed = np.asarray(jnp.sum(jnp.asarray(values[:, window.first : window.last]), axis=1))  # (draw, S)
    for location, which in places(spec.data):
        found = summarised(together(spec.data, summed, which), spec.effects.level)
        for o, outcome in enumerate(spec.data.outcomes):
            yield (location, outcome.name, *ends, *summary(found, spec.effects.level, o))


def _period_rows(spec: Spec, panel: Panel, values: np.ndarray) -> Iterator[Row]:
    found, outcomes = summarised(values, spec.effects.level), spec.data.outcomes
    for t, period in enumerate(panel.periods):
        for s in range(values.shape[2]):
            location, outcome = panel.locations[s // len(outcomes)], outcomes[s % len(outcomes)].name
            yield (period, location, outcome, *summary(found, spec.effects.level, t, s))
