"""What the horizon brings under other budgets: each channel's planned spend times a multiple, all else as planned.

Spend before the horizon stays as it was, and acts on; what of the horizon's spend acts after it is not counted. The
expected outcome is `engine.counterfactual`'s, summed over the horizon, all locations and all outcomes.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from engine import counterfactual, cross, media, model
from engine.design import Design
from engine.layout import layout
from engine.media import MediaData
from engine.model import Parameters
from engine.spec import Spec


class Planned(NamedTuple):
    """The plan in every draw, on the model's scale. H periods of the horizon."""

    draws: Parameters  # each (draw, ...)
    outcome: Array  # (draw, H, S) expected, outcomes' effects on one another included
    total: Array  # (draw, H, S) what media add directly
    response: Array  # (draw, H, L, M)


class Totals(NamedTuple):
    """In every draw."""

    outcome: Array  # (draw,) in the outcomes' unit
    slope: Array  # (draw, M) by each multiple


def planned(spec: Spec, draws: Parameters, design: Design, origin: int) -> Planned:
    """The plan from `origin` on, in every draw."""
    return Planned(draws, *_planned(spec, origin, draws, design))


@partial(jax.jit, static_argnums=(0, 1))
def _planned(spec: Spec, origin: int, draws: Parameters, design: Design) -> tuple[Array, Array, Array]:
    def one(p: Parameters) -> tuple[Array, Array, Array]:
        response, total = _media(spec, p, _ahead(spec, design, origin), design.y.shape[0] - origin)
        return model.mean(spec, p, design)[origin:], total, response

    return jax.lax.map(one, draws)


def _ahead(spec: Spec, design: Design, origin: int) -> MediaData:
    """The media of the horizon, and of as many periods before it as are carried over into it."""
    first, data = max(origin - spec.model.media.adstock.max_lag + 1, 0), design.media
    return data._replace(spend=data.spend[first:], frequency=data.frequency[first:], variation=data.variation[first:])


def _media(spec: Spec, p: Parameters, data: MediaData, horizon: int) -> tuple[Array, Array]:
    """Transformed media (H, L, M) and what they add directly (H, S)."""
    response = media.response(spec.model.media, p.media, data)
    total = media.total(spec.model.media, p.media, data, response, layout(spec).pairs)
    return response[-horizon:], total[-horizon:]


def totals(spec: Spec, plan: Planned, design: Design, origin: int, multiples: Array) -> Totals:
    """With `multiples` (M,) of the planned budgets, in every draw."""
    return Totals(*_totals(spec, origin, plan, design, multiples))


@partial(jax.jit, static_argnums=(0, 1))
def _totals(spec: Spec, origin: int, plan: Planned, design: Design, multiples: Array) -> tuple[Array, Array]:
    def one(draw: Planned) -> tuple[Array, Array]:
        return jax.value_and_grad(lambda k: _total(spec, draw, design, origin, k))(multiples)

    return jax.lax.map(one, plan)


def _total(spec: Spec, draw: Planned, design: Design, origin: int, multiples: Array) -> Array:
    p, horizon = draw.draws, draw.outcome.shape[0]
    data = _ahead(spec, design, origin)
    length, _, _, lags = data.spend.shape
    bought = jnp.arange(length)[:, None] - jnp.arange(lags) >= length - horizon  # (period, lag) in the horizon
    factor = jnp.where(bought[:, None, None, :], multiples[:, None], 1.0)
    response, total = _media(spec, p, data._replace(spend=data.spend * factor), horizon)
    change = total - draw.total + counterfactual.mediated(p, response - draw.response)
    ahead = jax.tree.map(lambda x: x[origin:], (design.metric, design.promotion))
    moved = cross.propagated(layout(spec), p.cross, change, ahead[1])
    later = design._replace(metric=ahead[0])
    return jnp.sum(counterfactual.shown(spec, p, later, draw.outcome + moved))
