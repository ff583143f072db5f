"""Where the planned budget would do more: multiples of each channel's budget, searched for, and told as distributions.

    maximise    utility of  outcome(multiples) - outcome(nothing spent in the horizon)   over draws
    subject to  sum of budgets = total, low <= multiple <= high for every channel

Searched by sequential quadratic programming (SLSQP: Kraft 1988, DFVLR-FB 88-28; SciPy's) with exact gradients from
fixed starts (`engine.budget.starts`): the best of them after rounding, utilities compared to six digits, the first of
equals. A response with a threshold has several optima, so the best found need not be the best there is. A channel that
is given as reach, whose spend is not known or that has none planned keeps what is planned, outside the total.
The tables are in `engine.reallocation_table`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.optimize import minimize

from engine import horizon
from engine.budget import Multiples, Problem, require_feasible, settled, spent, starts
from engine.design import Design, Scales
from engine.effect_table import ALL
from engine.errors import SpecError
from engine.model import Parameters
from engine.returns import Spend
from engine.returns import spent as spent_on
from engine.rounding import rounded
from engine.spec import Spec
from engine.spec_effects import Reallocation
from engine.utility import utility

PRECISION = 1e-12  # of the utility, at which the search ends
MOST_STEPS = 200

Value = Callable[[Multiples], tuple[float, Sequence[float]]]


class Optimum(NamedTuple):
    """Where a search ended, made exact."""

    multiples: Multiples
    value: float
    status: int
    message: str


class Proposal(NamedTuple):
    """One reallocation, told over all draws."""

    declared: Reallocation
    spend: tuple[Spend, ...]  # (M,) planned over the horizon
    multiples: Multiples  # (M,)
    optimum: Optimum
    gain: np.ndarray  # (draw,) of outcome, against the plan
    slope: np.ndarray  # (draw, M) of outcome by each multiple, at the proposal


def optimised(problem: Problem, value: Value) -> Optimum:
    """The best that is found from every start. value: a utility and its gradient, of multiples within the bounds."""
    begins = starts(problem)
    even = value(begins[0])[0]
    found = [_search(problem, value, begin, abs(even) or 1.0) for begin in begins]
    best = found[0]._replace(multiples=begins[0], value=even)  # where no search does better than its start
    for each in found:
        if rounded(each.value) > rounded(best.value):
            best = each
    return best


def _search(problem: Problem, value: Value, begin: Multiples, scale: float) -> Optimum:
    planned = np.asarray(problem.planned) / problem.total

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        found, slope = value(tuple(x.tolist()))
        return -found / scale, -np.asarray(slope) / scale

    def missed(x: np.ndarray) -> float:
        return spent(problem, x.tolist()) / problem.total - 1.0

    all_spent = {"type": "eq", "fun": missed, "jac": lambda _: planned}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Values in x were outside bounds", RuntimeWarning)  # by a rounding; clipped
        result = minimize(
            loss, np.asarray(begin), jac=True, method="SLSQP", bounds=list(zip(problem.low, problem.high, strict=True)),
            constraints=[all_spent], options={"maxiter": MOST_STEPS, "ftol": PRECISION},
        )  # fmt: skip
    end = result.x.tolist() if bool(np.all(np.isfinite(result.x))) else begin
    multiples = settled(problem, end)
    return Optimum(multiples, value(multiples)[0], int(result.status), str(result.message))


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
    search = horizon.planned(spec, _first(spec, draws, declared.draws), design, origin)

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


def _first(spec: Spec, draws: Parameters, count: int) -> Parameters:
    """The first `count` draws of every chain, or all there are."""
    length = draws.level.shape[0] // spec.inference.chains
    rows = [c * length + d for c in range(spec.inference.chains) for d in range(min(count, length))]
    return jax.tree.map(lambda x: np.asarray(x)[rows], draws)
