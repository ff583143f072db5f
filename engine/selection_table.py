"""What the draws say of each control, and of how many a selection prior kept: Arrow tables.

controls: control, role, outcome, selected (whether a selection prior was on it), mean, sd, level, lower and upper of
    its coefficient on the model's scale per standard deviation of the control, and inclusion, the posterior probability
    that it counts: E[1 - kappa] of the horseshoe, E[eta] of spike and slab, null without either.
numbers: outcome, prior, expected (the number of controls declared to count), and mean, sd, level, lower, upper of
    m_eff = sum_j (1 - kappa_j), or sum_j eta_j; empty where the prior has neither.

Source: Piironen & Vehtari (2017), section 3.2, doi:10.1214/17-EJS1337SI (m_eff).
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pyarrow as pa

from engine.controls import ControlParameters
from engine.density_interval import summarised
from engine.effect_table import NUMBER, TEXT, YES, Row, numbers, schema, summary, table
from engine.spec_controls import ControlsSpec, Horseshoe, SpikeSlab
from engine.spec_data import DataSpec

CONTROLS = schema(
    ("control", TEXT), ("role", TEXT), ("outcome", TEXT), ("selected", YES), *numbers(), ("inclusion", NUMBER),
    may_lack=("inclusion",),
)  # fmt: skip
NUMBERS = schema(("outcome", TEXT), ("prior", TEXT), ("expected", NUMBER), *numbers())


def controls_table(spec: ControlsSpec, data: DataSpec, draws: ControlParameters, level: float) -> pa.Table:
    """A row for every control and outcome, in the order of `data`.

    draws: each field with the draws as first axis, as `engine.posterior.read` gives them; 0 < level < 1.
    """
    names = [] if spec.selection is None else list(spec.selection.controls)
    coefficients, counts = summarised(draws.control, level), summarised(inclusion(draws), level).mean
    rows: list[Row] = []
    for c, control in enumerate(data.controls):
        for o, outcome in enumerate(data.outcomes):
            chosen = control.name in names
            known = chosen and len(counts) > 0
            share = float(counts[names.index(control.name), o]) if known else None
            rows.append((control.name, control.role, outcome.name, chosen, *summary(coefficients, level, c, o), share))
    return table(CONTROLS, rows)


def numbers_table(spec: ControlsSpec, data: DataSpec, draws: ControlParameters, level: float) -> pa.Table:
    """A row for every outcome: how many of the controls under the prior count."""
    prior = spec.selection
    if not isinstance(prior, Horseshoe | SpikeSlab):
        return table(NUMBERS, [])
    expected = prior.expected if isinstance(prior, Horseshoe) else prior.inclusion * len(prior.controls)
    found = summarised(jnp.sum(inclusion(draws), axis=1), level)
    rows = [(o.name, prior.kind, expected, *summary(found, level, place)) for place, o in enumerate(data.outcomes)]
    return table(NUMBERS, rows)


def inclusion(draws: ControlParameters) -> np.ndarray:
    """1 - kappa of the horseshoe, eta of spike and slab: (draw, D, O); (draw, 0, O) where the prior has neither."""
    return np.asarray(1.0 - draws.shrinkage if draws.shrinkage.shape[1] else draws.inclusion)
