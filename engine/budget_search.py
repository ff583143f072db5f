"""The budgets of the greatest utility that a search finds, by SciPy's sequential quadratic programming with gradients.

From every fixed start of `engine.budget`: the best end after rounding, utilities compared to six digits, the first of
equals. A response with a threshold has several optima, so the best that is found need not be the best there is.
Source: Kraft (1988), A software package for sequential quadratic programming, DFVLR-FB 88-28 (SLSQP).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from engine.budget import Multiples, Problem, settled, spent, starts
from engine.rounding import rounded

PRECISION = 1e-12  # of the utility, at which a search ends
MOST_STEPS = 200

Value = Callable[[Multiples], tuple[float, Sequence[float]]]


class Optimum(NamedTuple):
    """Where a search ended, made exact."""

    multiples: Multiples
    value: float
    status: int
    message: str


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
