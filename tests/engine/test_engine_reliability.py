"""Laws of the reliability map: isotonic, exact on counts, never worse than the base rate where it was fitted."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import reliability
from engine.reliability import EDGE, STEP, STEPS, Block, isotonic, losses, mapped, told

counts = st.lists(st.integers(0, 30), min_size=STEPS, max_size=STEPS)
exact = settings(deadline=None, derandomize=True, max_examples=25)


def loss(missed: list[int], happened: list[int], probability: np.ndarray) -> tuple[float, float]:
    cost = losses(np.asarray([missed]), np.asarray([happened]), probability[None])
    return float(cost.log[0]), float(cost.brier[0])


def spread(pairs: dict[int, tuple[int, int]]) -> tuple[list[int], list[int]]:
    """Counts (missed, happened) at some steps, none elsewhere."""
    missed, happened = [0] * STEPS, [0] * STEPS
    for step, (no, yes) in pairs.items():
        missed[step], happened[step] = no, yes
    return missed, happened


def test_pools_what_would_decrease_and_keeps_what_does_not() -> None:
    missed, happened = spread({10: (90, 10), 20: (40, 10), 30: (95, 5), 40: (50, 50)})
    blocks = isotonic(missed, happened)
    pooled = (10 + 10 + 5 + 0.5) / (100 + 50 + 100 + 1)  # 20 and 30 go the wrong way; together they are below 10
    assert blocks == (Block(0, pooled), Block(40, 50.5 / 101))


@exact
@given(counts, counts)
def test_the_map_never_falls(missed: list[int], happened: list[int]) -> None:
    blocks = isotonic(missed, happened)
    assert blocks[0].first == 0
    assert [block.first for block in blocks] == sorted({block.first for block in blocks})
    assert all(0.0 < block.probability < 1.0 for block in blocks)
    assert (np.diff(told(blocks)) >= 0.0).all()


@exact
@given(counts, counts)
def test_no_probability_is_told_that_was_never_seen(missed: list[int], happened: list[int]) -> None:
    rates = [y / (n + y) for n, y in zip(missed, happened, strict=True) if n + y]
    for block in isotonic(missed, happened):
        assert not rates or min(*rates, 0.5) - 1e-9 <= block.probability <= max(*rates, 0.5) + 1e-9


@exact
@given(counts, counts, st.floats(0.01, 0.99))
def test_no_constant_scores_much_better_where_it_was_fitted(
    missed: list[int], happened: list[int], rate: float
) -> None:
    ours = loss(missed, happened, told(isotonic(missed, happened)))
    theirs = loss(missed, happened, np.full(STEPS, rate))
    slack = len(isotonic(missed, happened))  # half a case a block is added to both sides
    assert ours[0] <= theirs[0] + slack
    assert ours[1] <= theirs[1] + slack


def test_scores_are_those_of_the_textbook() -> None:
    missed, happened = spread({100: (3, 1)})
    log, brier = loss(missed, happened, np.full(STEPS, 0.2))
    assert log == pytest.approx(-3 * math.log(0.8) - math.log(0.2))
    assert brier == pytest.approx(3 * 0.04 + 0.64)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.floats(0, 1))
def test_a_step_is_the_nearest_of_log_odds(reported: float) -> None:
    held = min(max(reported, EDGE), 1 - EDGE)
    step = reliability.step_of(reported)
    assert abs((step - reliability.REACH) * STEP - math.log(held / (1 - held))) <= STEP / 2 + 0.05
    assert abs(int(reliability.steps(np.asarray([reported]))[0]) - step) <= 1  # a tie may round either way
    assert 0 <= step < STEPS


def test_what_comes_as_it_is_has_each_steps_own_odds() -> None:
    plain = reliability.as_it_comes()
    assert plain[reliability.REACH] == 0.5
    np.testing.assert_allclose(np.log(plain / (1 - plain)), STEP * (np.arange(STEPS) - reliability.REACH), atol=1e-9)


def test_nothing_counted_tells_even_odds() -> None:
    assert isotonic([0] * STEPS, [0] * STEPS) == (Block(0, 0.5),)


def test_a_block_reaches_to_the_next() -> None:
    blocks = (Block(0, 0.1), Block(5, 0.2))
    assert [mapped(blocks, step) for step in (0, 4, 5, STEPS - 1)] == [0.1, 0.1, 0.2, 0.2]


@exact
@given(counts, counts)
def test_the_diagram_holds_every_case_once(missed: list[int], happened: list[int]) -> None:
    no, yes = np.asarray([missed]), np.asarray([happened])
    bins = reliability.diagram(no, yes, told(isotonic(missed, happened))[None])
    assert sum(each.cases for each in bins) == int((no + yes).sum())
    assert sum(each.happened for each in bins) == int(yes.sum())
    for each in bins:
        assert (each.mean is None) == (each.cases == 0)
        assert each.mean is None or each.low < each.mean <= each.high + 1e-12
