"""Contributions: the outcome less what it would have been, had nothing ever been spent on a channel.

All else stays as it was, so where channels interact, or effects multiply, contributions need not add up to what all
channels together added; that is told too, as the contribution of the channel ALL. Conditional on the model; no
experiment.

contributions: location, outcome, channel, first_period, last_period, spend (as the table has it, summed over locations;
    null for channels of several units together), spend_unit, mean, sd, level, lower, upper. In the outcome's unit,
    over the last `plan.year` periods of data.
contributions_by_period: period, outcome, channel, mean, sd, level, lower, upper; all locations together, every period.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pyarrow as pa
from jax import Array

from engine import counterfactual
from engine.counterfactual import Effects
from engine.density_interval import summarised
from engine.design import Design
from engine.effect_table import ALL, DATE, NUMBER, TEXT, Row, numbers, places, schema, summary, table, together
from engine.model import Parameters
from engine.spec import Spec
from engine.table import Panel

CONTRIBUTIONS = schema(
    ("location", TEXT), ("outcome", TEXT), ("channel", TEXT), ("first_period", DATE), ("last_period", DATE),
    ("spend", NUMBER), ("spend_unit", TEXT), *numbers(), may_lack=("spend", "spend_unit"),
)  # fmt: skip
BY_PERIOD = schema(("period", DATE), ("outcome", TEXT), ("channel", TEXT), *numbers())


class Window(NamedTuple):
    """Periods first <= t < last."""

    first: int
    last: int


class Contributions(NamedTuple):
    """Of one draw, or each (draw, ...) of many. The last channel is all channels together."""

    window: Array  # (S, M + 1) summed over the window
    period: Array  # (T, O, M + 1) summed over locations, T known periods


def last_year(spec: Spec, time: int) -> Window:
    """The last year of `time` periods."""
    return Window(max(time - spec.plan.year, 0), time)


def contributions(spec: Spec, p: Parameters, design: Design, media: Effects, window: Window) -> Contributions:
    """Of the draw `p`; the window ends with the known periods."""
    every = media.own - counterfactual.without_media(spec, p, design)
    parts = jnp.concatenate([media.added, every[..., None]], axis=-1)
    known = counterfactual.lost(spec, p, design, media.own, parts)[: window.last]  # (T, S, M + 1)
    by_outcome = known.reshape(window.last, len(spec.data.locations), len(spec.data.outcomes), -1)
    return Contributions(jnp.sum(known[window.first :], axis=0), jnp.sum(by_outcome, axis=1))


def contributions_table(spec: Spec, panel: Panel, draws: np.ndarray, window: Window) -> pa.Table:
    """A row for every location, outcome and channel. draws: (draw, S, M + 1)."""
    ends = panel.periods[window.first], panel.periods[window.last - 1]
    rows: list[Row] = []
    for location, which in places(spec.data):
        found = summarised(together(spec.data, draws, which), spec.effects.level)
        for o, outcome in enumerate(spec.data.outcomes):
            for m, name in enumerate(channels(spec)):
                spent = _spend(spec, panel, which, window, m), _unit(spec, m)
                about: Row = (location, outcome.name, name, *ends, *spent)
                rows.append((*about, *summary(found, spec.effects.level, o, m)))
    return table(CONTRIBUTIONS, rows)


def by_period_table(spec: Spec, periods: Sequence[date], draws: np.ndarray) -> pa.Table:
    """A row for every period, outcome and channel. draws: (draw, T, O, M + 1)."""
    found = summarised(draws, spec.effects.level)
    rows: list[Row] = [
        (period, outcome.name, name, *summary(found, spec.effects.level, t, o, m))
        for t, period in enumerate(periods)
        for o, outcome in enumerate(spec.data.outcomes)
        for m, name in enumerate(channels(spec))
    ]
    return table(BY_PERIOD, rows)


def channels(spec: Spec) -> tuple[str, ...]:
    """Every channel, and ALL."""
    return (*(column.name for column in spec.data.media), ALL)


def _columns(spec: Spec, channel: int) -> range:
    count = len(spec.data.media)
    return range(count) if channel == count else range(channel, channel + 1)


def _spend(spec: Spec, panel: Panel, which: tuple[int, ...], window: Window, channel: int) -> float | None:
    if _unit(spec, channel) is None:
        return None
    seen = panel.media[window.first : window.last][:, list(which)][:, :, list(_columns(spec, channel))]
    return math.fsum(seen.ravel().tolist())


def _unit(spec: Spec, channel: int) -> str | None:
    units = {spec.data.media[m].unit for m in _columns(spec, channel)}
    return units.pop() if len(units) == 1 else None
