"""Returns on spend: contribution per unit (ROAS), and what a little more would have added per unit (mROAS).

    ROAS  = contribution / spend, both over the window
    mROAS = d outcome / d k at k = 1 / spend, k a factor on all of the channel's spend, before the window as in it

Both count the effect in the window of what was spent before it, and neither the effect after it, so they may be
compared: without a threshold in its response a channel's mROAS is at most its ROAS. Both are taken in every draw; a
return of means would be neither the mean return nor have an interval.

returns: location, outcome, channel, measure (roas, mroas), unit, spend, mean, sd, level, lower, upper,
    probability_above_one (that a unit spent brings more than one; null where they are not in one unit) and, where there
    is no return to tell and the numbers are null, reason.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
from jax import Array

from engine import counterfactual
from engine.contribution import Window
from engine.counterfactual import Effects
from engine.density_interval import summarised
from engine.design import Design
from engine.effect_table import ALL, NUMBER, SUMMARY, TEXT, Row, numbers, places, schema, summary, table, together
from engine.model import Parameters
from engine.spec import Spec
from engine.table import Panel

RETURNS = schema(
    ("location", TEXT), ("outcome", TEXT), ("channel", TEXT), ("measure", TEXT), ("unit", TEXT), ("spend", NUMBER),
    *numbers(), ("probability_above_one", NUMBER), ("reason", TEXT),
    may_lack=("spend", *SUMMARY, "probability_above_one", "reason"),
)  # fmt: skip


class Spend(NamedTuple):
    """What was spent, or why that is not known."""

    value: float | None
    reason: str | None


def marginal(spec: Spec, p: Parameters, design: Design, media: Effects, window: Window) -> Array:
    """d outcome / d k of every channel, in the draw `p`: (S, M), summed over the window."""

    def outcome(own: Array) -> Array:
        found = counterfactual.outcome(spec, p, design, own)
        return jnp.sum(found[window.first : window.last], axis=0)

    def moved(change: Array) -> Array:
        return jax.jvp(outcome, (media.own,), (change,))[1]

    return jax.vmap(moved, in_axes=-1, out_axes=-1)(media.worth * media.by_series(media.slope))


def spent(spec: Spec, spend: np.ndarray, location: str, which: tuple[int, ...], channel: int) -> Spend:
    """On one channel in the locations `which`, called `location`. spend: (period, L, M) in the table's units."""
    column, several = spec.data.media[channel], len(spec.data.locations) > 1
    if column.frequency is not None:
        return Spend(None, "given as reach, not as spend")
    if column.national and location != ALL:
        return Spend(None, "bought for all locations together")
    seen = spend[:, list(which), channel]
    if column.national and several and bool(np.all(seen == seen[:, :1])):
        return Spend(None, "every location shows the same: nobody knows whether the whole or an equal share of it")
    total = math.fsum(seen.ravel().tolist())
    return Spend(total, None) if total > 0.0 else Spend(None, "nothing was spent")


def returns_table(spec: Spec, panel: Panel, contribution: np.ndarray, marginal: np.ndarray, window: Window) -> pa.Table:
    """A row for every location, outcome, channel and measure. contribution, marginal: (draw, S, M)."""
    rows: list[Row] = []
    seen = panel.media[window.first : window.last]
    for location, which in places(spec.data):
        for measure, draws in (("roas", contribution), ("mroas", marginal)):
            here = together(spec.data, draws, which)  # (draw, O, M)
            for m in range(here.shape[2]):
                spend = spent(spec, seen, location, which, m)
                rows += [(location, *row) for row in _rows(spec, measure, here[:, :, m], m, spend)]
    return table(RETURNS, rows)


def _rows(spec: Spec, measure: str, draws: np.ndarray, channel: int, spend: Spend) -> list[Row]:
    """One an outcome. draws: (draw, O)."""
    column, level = spec.data.media[channel], spec.effects.level
    rows: list[Row] = []
    for o, outcome in enumerate(spec.data.outcomes):
        about: Row = (outcome.name, column.name, measure, f"{outcome.unit} / {column.unit}", spend.value)
        if spend.value is None:
            rows.append((*about, *(None for _ in SUMMARY), None, spend.reason))
            continue
        each = draws[:, o] / spend.value
        above = float(np.count_nonzero(each > 1.0)) / each.shape[0] if outcome.unit == column.unit else None
        rows.append((*about, *summary(summarised(each, level), level), above, None))
    return rows
