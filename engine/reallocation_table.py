"""Reallocations as tables.

reallocations: reallocation, channel, unit, planned_spend, proposed_spend, multiple, low, high, and mean, sd, level,
    lower, upper of what one more unit of spend would bring at the proposal, over all draws. A channel that keeps its
    plan has a reason, and nulls.
reallocation_gains: reallocation, utility, planned_spend, proposed_spend, spend_unit (both over the channels whose
    budget may change), unit, mean, sd, level, lower, upper, q05, q25, q50, q75, q95 (type 7) of the outcome gained
    against the plan, over all draws, probability_of_gain, status and message of the search (0: it converged).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
import pyarrow as pa

from engine.density_interval import summarised
from engine.effect_table import NUMBER, SUMMARY, TEXT, WHOLE, Row, numbers, schema, summary, table
from engine.forecast import quantiles
from engine.reallocation import Proposal, bounds_of
from engine.spec import Spec

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

CHANNELS = schema(
    ("reallocation", TEXT), ("channel", TEXT), ("unit", TEXT), ("planned_spend", NUMBER), ("proposed_spend", NUMBER),
    ("multiple", NUMBER), ("low", NUMBER), ("high", NUMBER), *numbers(), ("reason", TEXT),
    may_lack=("planned_spend", "proposed_spend", "multiple", "low", "high", *SUMMARY, "reason"),
)  # fmt: skip
GAINS = schema(
    ("reallocation", TEXT), ("utility", TEXT), ("planned_spend", NUMBER), ("proposed_spend", NUMBER),
    ("spend_unit", TEXT), ("unit", TEXT), *numbers(), *((f"q{round(100 * q):02d}", NUMBER) for q in QUANTILES),
    ("probability_of_gain", NUMBER), ("status", WHOLE), ("message", TEXT),
)  # fmt: skip


def channels_table(spec: Spec, proposals: Sequence[Proposal]) -> pa.Table:
    """A row for every reallocation and channel."""
    return table(CHANNELS, [_channel(spec, each, m) for each in proposals for m in range(len(spec.data.media))])


def _channel(spec: Spec, proposal: Proposal, m: int) -> Row:
    column, spend, multiple = spec.data.media[m], proposal.spend[m], proposal.multiples[m]
    about: Row = (proposal.declared.name, column.name, column.unit)
    if spend.value is None:
        return (*about, *(None for _ in range(5)), *(None for _ in SUMMARY), spend.reason)
    found = summarised(proposal.slope[:, m] / spend.value, spec.effects.level)
    budgets = (spend.value, multiple * spend.value, multiple, *bounds_of(proposal.declared, column.name))
    return (*about, *budgets, *summary(found, spec.effects.level), None)


def gains_table(spec: Spec, proposals: Sequence[Proposal]) -> pa.Table:
    """A row for every reallocation."""
    return table(GAINS, [_gain(spec, each) for each in proposals])


def _gain(spec: Spec, proposal: Proposal) -> Row:
    every = zip(spec.data.media, proposal.spend, proposal.multiples, strict=True)
    free = [(column.unit, spend.value, k) for column, spend, k in every if spend.value is not None]
    gain = proposal.gain
    return (
        proposal.declared.name,
        proposal.declared.utility.kind,
        math.fsum(value for _, value, _ in free),
        math.fsum(value * k for _, value, k in free),
        free[0][0],
        spec.data.kpi.unit,
        *summary(summarised(gain, spec.effects.level), spec.effects.level),
        *quantiles(jnp.asarray(gain), QUANTILES).tolist(),
        float(np.count_nonzero(gain > 0.0)) / gain.shape[0],
        proposal.optimum.status,
        proposal.optimum.message,
    )
