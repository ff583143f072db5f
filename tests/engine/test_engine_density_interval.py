"""Highest-density intervals against every interval there is, and what summaries must obey."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.density_interval import BLOCK, summarised

DRAWS = st.lists(st.floats(-1e6, 1e6), min_size=40, max_size=40)


@settings(max_examples=40, deadline=None)
@given(DRAWS, st.sampled_from([0.1, 0.5, 0.8, 0.9]))
def test_no_interval_that_holds_as_many_draws_is_shorter(draws: list[float], level: float) -> None:
    found = summarised(np.asarray(draws), level)
    low, high = float(found.lower), float(found.upper)
    held = math.floor(level * len(draws)) + 1
    assert sum(low <= x <= high for x in draws) >= held > level * len(draws)
    every = [(b - a, a) for a in draws for b in draws if sum(a <= x <= b for x in draws) >= held and a <= b]
    width, first = min(every)
    assert high - low == width
    assert low == first  # of equally short ones the lowest


def test_mean_and_sd_are_those_of_the_draws() -> None:
    draws = np.random.default_rng(1).normal(5.0, 2.0, size=(60, 3, 2))
    found = summarised(draws, 0.9)
    for place in np.ndindex(3, 2):
        column = draws[(slice(None), *place)].tolist()
        assert math.isclose(found.mean[place], statistics.mean(column), rel_tol=1e-13)
        assert math.isclose(found.sd[place], statistics.stdev(column), rel_tol=1e-12)


@pytest.mark.parametrize("count", [1, 2, BLOCK, BLOCK + 3])
def test_a_summary_is_the_same_bytes_whatever_is_summarised_beside_it(count: int) -> None:
    draws = np.random.default_rng(2).normal(size=(60, BLOCK + 3))
    whole, part = summarised(draws, 0.9), summarised(draws[:, -count:], 0.9)
    for one, other in zip(whole, part, strict=True):
        assert one[-count:].tobytes() == other.tobytes()


def test_zeros_of_either_sign_are_one_number() -> None:
    found = summarised(np.asarray([-0.0, 0.0, 0.0, -0.0]), 0.5)
    assert [math.copysign(1.0, float(x)) for x in (found.lower, found.upper)] == [1.0, 1.0]


def test_nothing_is_summarised_as_nothing_and_one_draw_has_no_spread() -> None:
    assert summarised(np.zeros((5, 2, 0)), 0.9).mean.shape == (2, 0)
    alone = summarised(np.asarray([[3.0]]), 0.9)
    assert [float(x[0]) for x in alone] == [3.0, 0.0, 3.0, 3.0]
