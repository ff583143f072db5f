"""Budgets as multiples of planned ones: what is feasible, where a search begins, and how its result is made exact.

A search ends at numbers whose last digits mean nothing and may differ from machine to machine. So each multiple is
rounded to DIGITS decimals, within its bounds, and what the total then lacks or exceeds is given to, or taken from, the
channels in the order of their planned budgets, the largest first (of equal ones the first named), each within its
bounds: what is published follows from the rounded multiples alone, and meets every constraint.
Worked example: planned 60 and 40, total 100, found 1.10004 and .84994: rounded 1.1 and .8499 spend 99.996; the missing
.004 goes to the first, 1.10006667.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from engine.errors import SpecError

DIGITS = 4
EXACT = 1e-12  # of the total: what sums of floating-point numbers cannot tell apart

Multiples = tuple[float, ...]


class Problem(NamedTuple):
    """Channels whose budget may change; at least one."""

    planned: tuple[float, ...]  # > 0
    low: Multiples
    high: Multiples
    total: float  # to be spent, in the unit of `planned`


def require_feasible(where: str, problem: Problem) -> None:
    """Raises SpecError naming the sums, where no budgets within the bounds spend the total."""
    least, most = spent(problem, problem.low), spent(problem, problem.high)
    slack = EXACT * max(problem.total, most)
    if not least - slack <= problem.total <= most + slack:
        raise SpecError(
            f"{where}: expected bounds between which a total of {problem.total!r} can be spent, "
            f"found that they allow {least!r} to {most!r}"
        )


def spent(problem: Problem, multiples: Sequence[float]) -> float:
    """What `multiples` of the planned budgets come to."""
    return math.fsum(m * planned for m, planned in zip(multiples, problem.planned, strict=True))


def starts(problem: Problem) -> tuple[Multiples, ...]:
    """The budgets all in proportion to the plan; then each channel in turn at its most, the others in proportion."""
    whole = math.fsum(problem.planned)
    found = [settled(problem, [problem.total / whole] * len(problem.planned))]
    for c, most in enumerate(problem.high):
        rest = whole - problem.planned[c]
        others = max(problem.total - most * problem.planned[c], 0.0) / rest if rest > 0.0 else 0.0
        found.append(settled(problem, [most if i == c else others for i in range(len(problem.planned))]))
    return tuple(dict.fromkeys(found))


def settled(problem: Problem, multiples: Sequence[float]) -> Multiples:
    """`multiples`, rounded and within their bounds, and their total exact. Precondition: `require_feasible`."""
    bounds = list(zip(problem.low, problem.high, strict=True))
    found = [_within(round(m, DIGITS), *bound) for m, bound in zip(multiples, bounds, strict=True)]
    for c in sorted(range(len(found)), key=lambda c: -problem.planned[c]):
        missing = problem.total - spent(problem, found)
        if abs(missing) <= EXACT * problem.total:
            break
        found[c] = _within(found[c] + missing / problem.planned[c], *bounds[c])
    return tuple(found)


def _within(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
