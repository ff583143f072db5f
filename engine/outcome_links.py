"""How outcomes hang together: what one does to another, and how what the model leaves over is correlated.

cross_effects: source, target, kind, lagged, promotion, of (psi: on the model's scale; contribution: the target's
    outcome less what it would have been without this effect, over the window, all locations together), unit, mean, sd,
    level, lower, upper. An effect acts on the source's deviation from its mean, so a contribution is what unusual
    periods of the source came to: near 0 over a usual year, whatever psi is.
correlations: location, outcome, other_outcome, mean, sd, level, lower, upper of the correlation of two outcomes'
    innovations in one period, given mediators and what outcomes do to one another.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
from jax import Array

from engine import counterfactual, noise
from engine.contribution import Window
from engine.counterfactual import Effects
from engine.density_interval import summarised
from engine.design import Design
from engine.effect_table import TEXT, YES, Row, numbers, schema, summary, table
from engine.layout import layout
from engine.model import Parameters
from engine.spec import Spec

CROSS = schema(
    ("source", TEXT), ("target", TEXT), ("kind", TEXT), ("lagged", YES), ("promotion", TEXT), ("of", TEXT),
    ("unit", TEXT), *numbers(), may_lack=("promotion",),
)  # fmt: skip
CORRELATIONS = schema(("location", TEXT), ("outcome", TEXT), ("other_outcome", TEXT), *numbers())


def crossed(spec: Spec, p: Parameters, design: Design, media: Effects, window: Window) -> Array:
    """(X,): what each cross-effect added to its target, summed over the window and all locations, in the draw `p`."""
    effects = layout(spec).cross
    if not effects:
        return jnp.zeros(0)

    def summed(keep: Array) -> Array:
        """(O,) with those effects alone that are kept."""
        left = p._replace(cross=p.cross._replace(cross=p.cross.cross * keep))
        found = counterfactual.outcome(spec, left, design, media.own)[window.first : window.last]
        return jnp.sum(found.reshape(-1, len(spec.data.outcomes)), axis=0)

    each = jax.vmap(summed)(jnp.concatenate([jnp.ones((1, len(effects))), 1.0 - jnp.eye(len(effects))]))
    return jnp.stack([each[0, effect.target] - each[1 + x, effect.target] for x, effect in enumerate(effects)])


def correlation(spec: Spec, p: Parameters) -> Array:
    """(L, O, O) of the innovations in the draw `p`; (0, O, O) where outcomes scatter independently."""
    places = layout(spec)
    if spec.model.covariance is None:
        return jnp.zeros((0, places.outcomes, places.outcomes))
    lower = noise.cholesky(spec.model, places, p.noise)
    covariance = jnp.sum(lower[:, :, None, :] * lower[:, None, :, :], axis=-1)
    sd = jnp.sqrt(jnp.sum(lower * lower, axis=-1))  # (L, O)
    return covariance / (sd[:, :, None] * sd[:, None, :])


def cross_table(spec: Spec, psi: np.ndarray, contribution: np.ndarray) -> pa.Table:
    """Two rows for every cross-effect. psi, contribution: (draw, X)."""
    units = {column.name: column.unit for column in spec.data.outcomes}
    rows: list[Row] = []
    for x, effect in enumerate(spec.model.cross_effects):
        about: Row = (effect.source, effect.target, effect.kind, effect.lagged, effect.promotion)
        for of, unit, draws in (("psi", "", psi), ("contribution", units[effect.target], contribution)):
            found = summarised(draws[:, x], spec.effects.level)
            rows.append((*about, of, unit, *summary(found, spec.effects.level)))
    return table(CROSS, rows)


def correlation_table(spec: Spec, draws: np.ndarray) -> pa.Table:
    """A row for every location and pair of outcomes. draws: (draw, L, O, O)."""
    found = summarised(draws, spec.effects.level)
    rows: list[Row] = [
        (location, outcome.name, other.name, *summary(found, spec.effects.level, place, o, i))
        for place, location in enumerate(spec.data.locations)
        for o, outcome in enumerate(spec.data.outcomes)
        for i, other in enumerate(spec.data.outcomes[:o])
    ]
    return table(CORRELATIONS, rows)
