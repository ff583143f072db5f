"""Budgets: feasible, exact and in proportion, whatever a search came up with."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.budget import EXACT, Problem, require_feasible, settled, spent, starts
from engine.errors import SpecError

MONEY = st.floats(0.5, 1e7)
MULTIPLE = st.floats(0.0, 3.0)


@st.composite
def problems(draw: st.DrawFn) -> tuple[Problem, list[float]]:
    """A problem that can be met, and what a search may end at: anything."""
    size = draw(st.integers(1, 6))
    planned = tuple(draw(MONEY) for _ in range(size))
    bounds = [sorted((draw(MULTIPLE), draw(MULTIPLE) + 0.01)) for _ in range(size)]
    low, high = (tuple(bound[side] for bound in bounds) for side in (0, 1))
    empty = Problem(planned, low, high, 1.0)
    share = draw(st.floats(0.0, 1.0))
    total = (1.0 - share) * spent(empty, low) + share * spent(empty, high)
    return empty._replace(total=max(total, 1e-3)), [draw(st.floats(-1.0, 5.0)) for _ in range(size)]


@settings(max_examples=80, deadline=None)
@given(problems())
def test_every_constraint_is_met_exactly(case: tuple[Problem, list[float]]) -> None:
    problem, ended = case
    if spent(problem, problem.low) > problem.total:
        return  # a total too small to be one
    require_feasible("here", problem)
    for found in (settled(problem, ended), *starts(problem)):
        assert all(low <= m <= high for low, m, high in zip(problem.low, found, problem.high, strict=True))
        assert abs(spent(problem, found) - problem.total) <= 4.0 * EXACT * max(
            problem.total, spent(problem, problem.high)
        )


@given(st.lists(st.floats(-4e-5, 4e-5), min_size=3, max_size=3))
@settings(max_examples=40, deadline=None)
def test_the_last_digits_of_a_search_leave_no_trace(noise: list[float]) -> None:
    problem = Problem((60.0, 40.0, 10.0), (0.0,) * 3, (3.0,) * 3, 110.0)
    ended = [1.1234, 0.8121, 0.9]
    assert settled(problem, [m + e for m, e in zip(ended, noise, strict=True)]) == settled(problem, ended)


def test_what_is_missing_goes_to_the_largest_budget() -> None:
    """The worked example of the module."""
    found = settled(Problem((60.0, 40.0), (0.0, 0.0), (3.0, 3.0), 100.0), (1.10004, 0.84994))
    assert found[1] == 0.8499
    assert math.isclose(found[0], 1.1 + 0.004 / 60.0, rel_tol=1e-12)
    full = settled(Problem((60.0, 40.0), (0.0, 0.0), (1.1, 3.0), 100.0), (1.10004, 0.84994))
    assert full[0] == 1.1
    assert math.isclose(full[1], 34.0 / 40.0, rel_tol=1e-12)


@pytest.mark.parametrize(("total", "found"), [(49.0, "50.0"), (201.0, "200.0")])
def test_a_total_that_bounds_do_not_allow_is_refused_with_the_sums(total: float, found: str) -> None:
    with pytest.raises(SpecError, match="expected bounds between which a total of") as refusal:
        require_feasible("effects.reallocations.plan", Problem((60.0, 40.0), (0.5, 0.5), (2.0, 2.0), total))
    assert str(total) in str(refusal.value)
    assert found in str(refusal.value)


def test_a_search_begins_in_proportion_and_with_each_channel_at_its_most() -> None:
    problem = Problem((50.0, 50.0), (0.0, 0.0), (1.5, 1.5), 100.0)
    assert starts(problem) == ((1.0, 1.0), (1.5, 0.5), (0.5, 1.5))
