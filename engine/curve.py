"""Response curves: what a channel would add at other budgets, spent evenly, and where half of its effect is reached.

A budget is `multiple` times what each location spent a period, on average over the window, and is spent in every
period, so that what is carried over has built up: f is then its saturation alone. Frequency stays at its mean. All else
is as it was in the window, over whose periods the contribution is averaged; at 1 it is near to, but not, the
contribution a period, which was not spent evenly.

curves: outcome, channel, multiple, spend (a period, summed over locations as the table has it), spend_unit, mean, sd,
    level, lower, upper: the expected contribution a period, all locations together, in the outcome's unit.
half_saturation: channel, of (spend: of one location, steady; or frequency), unit, mean, sd, level, lower, upper, and,
    where there is none and the numbers are null, reason.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
from jax import Array

from engine import counterfactual, media
from engine.contribution import Window
from engine.counterfactual import Effects
from engine.density_interval import summarised
from engine.design import Design, Scales
from engine.effect_table import NUMBER, SUMMARY, TEXT, Row, numbers, schema, summary, table
from engine.media import MediaData
from engine.model import Parameters
from engine.saturation import half_saturation
from engine.spec import Spec
from engine.table import Panel

CURVES = schema(
    ("outcome", TEXT), ("channel", TEXT), ("multiple", NUMBER), ("spend", NUMBER), ("spend_unit", TEXT), *numbers()
)
HALF = schema(
    ("channel", TEXT), ("of", TEXT), ("unit", TEXT), *numbers(), ("reason", TEXT), may_lack=(*SUMMARY, "reason")
)


class Budgets(NamedTuple):
    """What is spent steadily, scaled as the model's media are. K multiples."""

    spend: Array  # (K, L, M)
    frequency: Array  # (L, M), or (L, 0) where none is given


def multiples(spec: Spec) -> tuple[float, ...]:
    """(K,) from 0 to the declared most."""
    curve = spec.effects.curve
    return tuple(curve.most * k / (curve.points - 1) for k in range(curve.points))


def budgets(spec: Spec, design: Design, window: Window) -> Budgets:
    """From what was spent in the window, on average."""
    count = window.last - window.first
    inside = slice(window.first, window.last)
    usual = jnp.sum(design.media.spend[inside, :, :, 0], axis=0) / count
    frequency = jnp.sum(design.media.frequency[inside], axis=0) / count
    return Budgets(jnp.asarray(multiples(spec))[:, None, None] * usual, frequency)


def curve(spec: Spec, p: Parameters, design: Design, effects: Effects, steady: Budgets, window: Window) -> Array:
    """(M, K, O): contribution a period at every budget, in the draw `p`."""
    at = _steady_response(spec, p, design.media, steady)  # (K, L, M)
    silent = effects.own[..., None] - effects.added  # (T, S, M)

    def one(own: Array, worth: Array, f: Array) -> Array:
        """(K, O) of one channel."""

        def gained(level: Array) -> Array:
            added = worth * effects.by_series(level[None])  # (T, S)
            found = counterfactual.gained(spec, p, design, own, added)[window.first : window.last]
            return jnp.sum(found.reshape(-1, len(spec.data.outcomes)), axis=0) / found.shape[0]

        return jax.vmap(gained)(f)

    return jax.vmap(one, in_axes=(-1, -1, -1))(silent, effects.worth, at)


def _steady_response(spec: Spec, p: Parameters, data: MediaData, steady: Budgets) -> Array:
    """(K, L, M): transformed media after as many periods of steady spend as there are lags."""
    lags = spec.model.media.adstock.max_lag
    count, locations, channels = steady.spend.shape
    spend = steady.spend.reshape(count * locations, channels)
    frequency = jnp.tile(steady.frequency, (count, 1))
    even = data._replace(
        spend=jnp.broadcast_to(spend[None, :, :, None], (lags, *spend.shape, lags)),
        frequency=jnp.broadcast_to(frequency, (lags, *frequency.shape)),
    )
    return media.response(spec.model.media, p.media, even)[-1].reshape(steady.spend.shape)


def half(spec: Spec, p: Parameters) -> Array:
    """(M,) half-saturation in the draw `p`, in units of mean spend, or frequency; infinity where there is none."""
    return half_saturation(spec.model.media.saturation, p.media.saturation)


def curves_table(spec: Spec, panel: Panel, draws: np.ndarray, window: Window) -> pa.Table:
    """A row for every outcome, channel and budget. draws: (draw, M, K, O)."""
    found, level = summarised(draws, spec.effects.level), spec.effects.level
    rows: list[Row] = []
    for o, outcome in enumerate(spec.data.outcomes):
        for m, column in enumerate(spec.data.media):
            seen = panel.media[window.first : window.last, :, m]
            usual = math.fsum(seen.ravel().tolist()) / seen.shape[0]
            for k, multiple in enumerate(multiples(spec)):
                about: Row = (outcome.name, column.name, multiple, multiple * usual, column.unit)
                rows.append((*about, *summary(found, level, m, k, o)))
    return table(CURVES, rows)


def half_table(spec: Spec, panel: Panel, scales: Scales, draws: np.ndarray) -> pa.Table:
    """A row for every channel. draws: (draw, M)."""
    rows: list[Row] = []
    for m, column in enumerate(spec.data.media):
        spend = column.frequency is None
        about: Row = (column.name, "spend" if spend else "frequency", column.unit if spend else "exposures")
        reason = None if np.any(panel.media[:, :, m] > 0.0) else "nothing was spent"
        if not bool(np.all(np.isfinite(draws[:, m]))):
            reason = "the effect has no limit"
        if reason is not None:
            rows.append((*about, *(None for _ in SUMMARY), reason))
            continue
        found = summarised(draws[:, m] * (scales.media if spend else scales.frequency)[m], spec.effects.level)
        rows.append((*about, *summary(found, spec.effects.level), None))
    return table(HALF, rows)
