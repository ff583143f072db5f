"""What a channel does by itself, and what through each mediator.

    total    = outcome - outcome without the channel (its contribution)
    direct   = outcome - outcome with the channel's mediated part left as it was, its own taken away
    indirect = outcome - outcome with one mediator's part of the channel taken away, all else left
    share mediated = what the channel adds through mediators / all that it adds, both on the model's scale

Where effects add, total = direct + the sum of indirect; where they multiply only the parts on the model's scale add up,
of which the share is made. Causal under sequential ignorability alone
(`engine.mediation`).

mediation: outcome, channel, effect (total, direct, indirect, share), mediator (of an indirect effect), unit, mean, sd,
    level, lower, upper, and, where the numbers are null, reason. Over the window, all locations together.
"""

from __future__ import annotations

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
from engine.effect_table import SUMMARY, TEXT, Row, numbers, schema, summary, table
from engine.model import Parameters
from engine.spec import Spec

MEDIATION = schema(
    ("outcome", TEXT), ("channel", TEXT), ("effect", TEXT), ("mediator", TEXT), ("unit", TEXT), *numbers(),
    ("reason", TEXT), may_lack=("mediator", *SUMMARY, "reason"),
)  # fmt: skip


class Mediated(NamedTuple):
    """Of one draw, or each (draw, ...) of many; sizes are 0 without mediators."""

    direct: Array  # (O, M)
    indirect: Array  # (O, M, N)
    share: Array  # (O, M) NaN where a channel adds nothing


def mediated(spec: Spec, p: Parameters, design: Design, media: Effects, window: Window) -> Mediated:
    """Summed over the window and all locations, in the draw `p`."""
    outcomes, channels = len(spec.data.outcomes), len(spec.data.media)
    if not spec.model.mediators:
        return Mediated(jnp.zeros((0, channels)), jnp.zeros((0, channels, 0)), jnp.zeros((0, channels)))
    response = media.by_series(media.response)

    def summed(x: Array) -> Array:
        return jnp.sum(x[window.first : window.last].reshape(-1, outcomes), axis=0)

    def lost(parts: Array) -> Array:
        """(O, K) without each part (T, S, K)."""
        each = counterfactual.lost(spec, p, design, media.own, parts)
        return jax.vmap(summed, in_axes=-1, out_axes=-1)(each)

    direct = media.direct * response  # (T, S, M)
    passed = jnp.swapaxes(media.through, 1, 2)  # (N, O, M)
    passed = jnp.tile(passed, (1, len(spec.data.locations), 1))[:, None] * response  # (N, T, S, M)
    through, alone = (
        jax.vmap(summed, in_axes=-1, out_axes=-1)(part) for part in (jnp.sum(passed, axis=0), direct)
    )  # each (O, M)
    return Mediated(
        direct=lost(direct),
        indirect=jnp.stack([lost(part) for part in passed], axis=-1),
        share=through / (through + alone),
    )


def mediation_table(spec: Spec, draws: Mediated, total: np.ndarray) -> pa.Table:
    """Rows for every outcome and channel. draws: each (draw, ...); total: (draw, O, M) contributions."""
    rows: list[Row] = []
    for o, outcome in enumerate(spec.data.outcomes):
        for m, channel in enumerate(spec.data.media):
            pair: Row = (outcome.name, channel.name)
            for effect, values in (("total", total[:, o, m]), ("direct", np.asarray(draws.direct)[:, o, m])):
                rows.append((*pair, effect, None, outcome.unit, *_told(spec, values)))
            for n, mediator in enumerate(spec.model.mediators):
                if channel.name in mediator.channels and outcome.name in mediator.outcomes:
                    values = np.asarray(draws.indirect)[:, o, m, n]
                    rows.append((*pair, "indirect", mediator.name, outcome.unit, *_told(spec, values)))
            rows.append((*pair, "share", None, "share", *_told(spec, np.asarray(draws.share)[:, o, m])))
    return table(MEDIATION, rows)


def _told(spec: Spec, values: np.ndarray) -> Row:
    if not bool(np.all(np.isfinite(values))):
        return (*(None for _ in SUMMARY), "the channel added nothing")
    return (*summary(summarised(values, spec.effects.level), spec.effects.level), None)
