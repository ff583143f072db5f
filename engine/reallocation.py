"""Where the planned budget would do more: multiples of each channel's budget, searched for, and told as distributions.

    maximise    utility of  outcome(multiples) - outcome(nothing spent in the horizon)   over draws
    subject to  sum of budgets = total, low <= multiple <= high for every channel

Searched by `engine.budget_search` over the first draws of every chain; told over all draws, as distributions. A channel
that is given as reach, whose spend is not known or that has none planned keeps what is planned, outside the total. What
acts after the horizon is not counted, so late in it a channel that is carried over for long is worth less than it is.
The tables are in `engine.reallocation_table`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from engine import horizon
from engine.budget import Multiples, Problem, require_feasible
from engine.budget_search import Optimum, optimised
from engine.design import Design, Scales
from engine.effect_table import ALL
from engine.errors import SpecError
from engine.model import Parameters
from engine.returns import Spend
from engine.returns import spent as spent_on
from engine.spec import Spec
from engine.spec_effects import Reallocation
from engine.utility import utility


class Proposal(NamedTuple):
    """One reallocation, told over all draws."""

    declared: Reallocation
    spend: tuple[Spend, ...]  # (M,) planned over the horizon
    multiples: Multiples  # (M,)
    optimum: Optimum
    gain: np.ndarray  # (draw,) of outcome, against the plan
    slope: np.ndarray  # (draw, M) of outcome by each multiple, at the proposal


def reallocated(
    spec: Spec, draws: Parameters, design: Design, scales: Scales, origin: int, declared: Reallocation
) -> Proposal:
    """The budgets proposed for the horizon after `origin`, which the design's planned media lie in.

    draws: each (draw, ...), chains laid end to end. Raises SpecError where no channel has a budget to change, or the
    bounds do not allow the total.
    """
    spend = _planned_spend(spec, design, scales, origin)
    free = [m for m, each in enumerate(spend) if each.value is not None]
    problem = _problem(spec, declared, spend, free)
    search = horizon.planned(spec, first_draws(spec, draws, declared.draws), design, origin)

    def whole(multiples: Sequence[float]) -> Array:
        every = [1.0] * len(spend)
        for m, multiple in zip(free, multiples, strict=True):
            every[m] = multiple
        return jnp.asarray(every)

    nothing = horizon.totals(spec, search, design, origin, whole([0.0] * len(free))).outcome

    def value(multiples: Multiples) -> tuple[float, list[float]]:
        found = horizon.totals(spec, search, design, origin, whole(multiples))
        worth, weight = jax.value_and_grad(lambda x: utility(declared.utility, x))(found.outcome - nothing)
        slope = jnp.sum(weight[:, None] * found.slope, axis=0).tolist()
        return float(worth), [slope[m] for m in free]

    best = optimised(problem, value)
    every = horizon.planned(spec, draws, design, origin)
    multiples = whole(best.multiples)
    proposed, plan = (horizon.totals(spec, every, design, origin, k) for k in (multiples, jnp.ones(len(spend))))
    return Proposal(
        declared, spend, tuple(multiples.tolist()), best,
        np.asarray(proposed.outcome) - np.asarray(plan.outcome), np.asarray(proposed.slope),
    )  # fmt: skip


def _planned_spend(spec: Spec, design: Design, scales: Scales, origin: int) -> tuple[Spend, ...]:
    """(M,) over the horizon and all locations."""
    ahead = np.asarray(design.media.spend)[origin:, :, :, 0] * np.asarray(scales.media)
    places = tuple(range(ahead.shape[1]))
    return tuple(spent_on(spec, ahead, ALL, places, m) for m in range(ahead.shape[2]))


def _problem(spec: Spec, declared: Reallocation, spend: Sequence[Spend], free: Sequence[int]) -> Problem:
    where = f"effects.reallocations.{declared.name}"
    planned = tuple(each.value for each in spend if each.value is not None)
    if not planned:
        reasons = "; ".join(f"{c.name}: {each.reason}" for c, each in zip(spec.data.media, spend, strict=True))
        raise SpecError(f"{where}: expected a channel with a planned budget, found none ({reasons})")
    bounds = [bounds_of(declared, spec.data.media[m].name) for m in free]
    total = declared.total * math.fsum(planned)
    problem = Problem(planned, tuple(low for low, _ in bounds), tuple(high for _, high in bounds), total)
    require_feasible(where, problem)
    return problem


def bounds_of(declared: Reallocation, channel: str) -> tuple[float, float]:
    """Lowest and highest multiple of a channel's planned budget."""
    own = [(bound.low, bound.high) for bound in declared.bounds if bound.channel == channel]
    return own[0] if own else (declared.low, declared.high)


def first_draws(spec: Spec, draws: Parameters, count: int) -> Parameters:
    """The first `count` draws of every chain, or all there are."""
    length = draws.level.shape[0] // spec.inference.chains
    rows = [c * length + d for c in range(spec.inference.chains) for d in range(min(count, length))]
    return jax.tree.map(lambda x: np.asarray(x)[rows], draws)
