"""What the outcome would have been: expected outcomes in the KPI's unit, with other media than there were.

    outcome[t,s] = scale[s] metric[t,s] (1 + y[t,s])    where effects add
                 = scale[s] metric[t,s] exp(y[t,s])     where they multiply
    y = own + what outcomes do to one another (`engine.cross`), own as `engine.model.levels` gives it

Of one draw this is the expectation where effects add. Where they multiply it is the median, a residual of 0; with two
states the mean over the states. Mediators stand where media let them be expected, as they would if media changed.

A channel enters own through its transformed spend f alone, and linearly given the other channels:

    own = rest + (direct[m] + through[m]) f[m]

direct holds the channel's own effect and its interactions with what the others did, through what mediators pass on.
So without a channel own falls by (direct + through) f, and with another spend f is another; nothing is approximated.
Worked example: linear, scale 500, direct .1, f = .5: the channel added 500 * .1 * .5 = 25.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from engine import cross, media, mediation, model
from engine.design import Design
from engine.layout import layout
from engine.media import MediaData
from engine.model import Parameters
from engine.spec import Spec


class Effects(NamedTuple):
    """What media do in one draw, on the model's scale."""

    own: Array  # (T, S) expected outcomes before they move one another
    response: Array  # (T, L, M) f
    slope: Array  # (T, L, M) of f by a factor on all the channel's spend, at 1
    direct: Array  # (T, S, M) what own gains by f = 1
    through: Array  # (N, M, O) what own gains by f = 1 through each mediator

    @property
    def worth(self) -> Array:
        """(T, S, M): direct and through together."""
        passed = jnp.swapaxes(jnp.sum(self.through, axis=0), 0, 1)  # (O, M)
        return self.direct + jnp.tile(passed, (self.direct.shape[1] // passed.shape[0], 1))

    @property
    def added(self) -> Array:
        """(T, S, M): what each channel adds to own, given the others."""
        return self.worth * self.by_series(self.response)

    def by_series(self, x: Array) -> Array:
        """(T, L, ...) -> (T, S, ...): of each series what its location has."""
        return jnp.repeat(x, self.own.shape[1] // self.response.shape[1], axis=1)


def effects(spec: Spec, p: Parameters, design: Design) -> Effects:
    """What media do in the draw `p`."""
    declared, pairs, data = spec.model.media, layout(spec).pairs, design.media

    def transformed(spend: Array) -> Array:
        return media.response(declared, p.media, data._replace(spend=spend))

    def total(f: Array) -> Array:
        return media.total(declared, p.media, data, f, pairs)

    response, slope = jax.jvp(transformed, (data.spend,), (data.spend,))

    def gained(one: Array) -> Array:
        return jax.jvp(total, (response,), (jnp.broadcast_to(one, response.shape),))[1]

    return Effects(
        own=model.levels(spec, p, design).outcome,
        response=response,
        slope=slope,
        direct=jax.vmap(gained, out_axes=-1)(jnp.eye(response.shape[2])),
        through=p.mediation.path[:, :, None] * p.mediation.mediator_effect[:, None, :],
    )


def outcome(spec: Spec, p: Parameters, design: Design, own: Array) -> Array:
    """Expected outcomes in the KPI's unit: (T, S). own: (T, S) as in `Effects`."""
    return shown(spec, p, design, cross.propagated(layout(spec), p.cross, _risen(spec, p, own), design.promotion))


def gained(spec: Spec, p: Parameters, design: Design, own: Array, part: Array) -> Array:
    """The outcome with `part` added to `own`, less the outcome without: (T, S), exactly 0 for a part of 0.

    part: (T, S). What outcomes do to one another is linear, so that the part is carried through it alone.
    """
    moved = cross.propagated(layout(spec), p.cross, part, design.promotion)
    if spec.model.outcome == "linear":
        return _unit(p, design) * moved
    return outcome(spec, p, design, own) * jnp.expm1(moved)


def lost(spec: Spec, p: Parameters, design: Design, own: Array, parts: Array) -> Array:
    """The outcome less the outcome without each part of `own`: (T, S, K). parts: (T, S, K)."""
    return -jax.vmap(lambda part: gained(spec, p, design, own, -part), in_axes=-1, out_axes=-1)(parts)


def alone(spec: Spec, p: Parameters, design: Design, own: Array) -> Array:
    """As `outcome`, had outcomes done nothing to one another."""
    return shown(spec, p, design, _risen(spec, p, own))


def _risen(spec: Spec, p: Parameters, own: Array) -> Array:
    """With the states' expectation, which is 0 where there is one state."""
    return own + p.noise.share * p.noise.gap if spec.model.outcome == "linear" else own


def shown(spec: Spec, p: Parameters, design: Design, y: Array) -> Array:
    """From the model's scale to the KPI's unit, in the metric of each period: (T, S)."""
    if spec.model.outcome == "linear":
        return _unit(p, design) * (1.0 + y)
    return _unit(p, design) * (jnp.exp(y) * (1.0 + p.noise.share * jnp.expm1(p.noise.gap)))


def _unit(p: Parameters, design: Design) -> Array:
    return design.kpi_scale * jnp.exp(model.metric(p, design))


def silent(data: MediaData) -> MediaData:
    """Media with nothing spent in any period or lag."""
    return data._replace(spend=jnp.zeros_like(data.spend))


def without_media(spec: Spec, p: Parameters, design: Design) -> Array:
    """(T, S) own, had nothing ever been spent on any channel."""
    return model.levels(spec, p, design, silent(design.media)).outcome


def mediated(p: Parameters, change: Array) -> Array:
    """(T, S): what own gains through mediators by `change` (T, L, M) of transformed media."""
    built = jnp.sum(change[:, :, None, :] * p.mediation.path, axis=-1)
    return mediation.effect(p.mediation, built)
