"""Control variables: sum_c gamma[c, o] z[t, l, c], with plain or selecting priors on gamma.

A confounder's coefficient is Normal(0, scale^2): wide against any effect one believes in, and never shrunk by what
other controls do (`engine.spec_controls`). Precision controls may share a prior that selects (`engine.selection`).
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array

from engine.selection import SELECTIONS, Selected
from engine.spec_controls import ControlsSpec


class ControlParameters(NamedTuple):
    """One draw. C controls, D of them under a selection prior, O outcomes."""

    control: Array  # (C, O) coefficients of standardised controls
    shrinkage: Array  # (D, O) kappa of the horseshoe; (0, O) otherwise
    inclusion: Array  # (D, O) eta of spike and slab; (0, O) otherwise


DIMS: dict[str, tuple[str, ...]] = {
    "control": ("control", "outcome"),
    "shrinkage": ("selected", "outcome"),
    "inclusion": ("selected", "outcome"),
}


def sample(
    spec: ControlsSpec, controls: int, selected: tuple[int, ...], outcomes: int, sigma: Array, rows: Array
) -> ControlParameters:
    """One draw from the priors declared in `spec`.

    selected: places, among `controls`, of what the selection names, in its order; empty without one. sigma: () or (O,)
    noise scale; rows: () known rows of each outcome. Precondition: controls are standardised.
    """
    free = [place for place in range(controls) if place not in selected]
    plain = _normal(spec.scale, len(free), outcomes)
    none = jnp.zeros((0, outcomes))
    chosen = Selected(none, none, none)
    if spec.selection is not None:
        prior = SELECTIONS[spec.selection.kind]
        chosen = prior(spec.selection, outcomes, jnp.broadcast_to(sigma, (outcomes,)), rows)
    order = np.argsort([*free, *selected], kind="stable").astype(np.int64)  # back to the table's order
    gathered = jnp.concatenate([plain, chosen.control])[order]
    return ControlParameters(gathered, chosen.shrinkage, chosen.inclusion)


def _normal(scale: float, size: int, outcomes: int) -> Array:
    if size == 0:
        return jnp.zeros((0, outcomes))
    return numpyro.sample("control", dist.Normal(0.0, scale).expand([size, outcomes]))


def effect(parameters: ControlParameters, controls: Array) -> Array:
    """sum_c gamma[c, o] z[t, l, c] on the model's scale. controls: (T, L, C) -> (T, S), S = L O location-major."""
    each = jnp.sum(controls[:, :, :, None] * parameters.control, axis=2)  # (T, L, O)
    return each.reshape(each.shape[0], each.shape[1] * each.shape[2])
