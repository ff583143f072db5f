"""Trends: a line, its damping, and a level whose steps are a random walk's."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.spec_model import Trend
from engine.trend import line, steps

YEAR = 52.0
LAW = settings(max_examples=30, deadline=None, derandomize=True)


def trend(kind: Literal["none", "linear", "damped", "local_level"], damping: float = 0.9, knot: int = 4) -> Trend:
    return Trend(kind=kind, scale=0.1, damping=damping, knot=knot)


@LAW
@given(st.integers(2, 60), st.integers(1, 20), st.floats(0.05, 0.99))
def test_a_damped_line_is_the_line_up_to_the_origin_and_flattens_after_it(o: int, ahead: int, damping: float) -> None:
    plain = np.asarray(line(trend("linear"), o + ahead, o, YEAR))
    damped = np.asarray(line(trend("damped", damping), o + ahead, o, YEAR))
    assert damped[:o].tobytes() == plain[:o].tobytes()
    np.testing.assert_allclose(np.diff(plain), 1.0 / YEAR, rtol=1e-9)
    climbed = [sum(damping**j for j in range(1, h + 1)) / YEAR for h in range(1, ahead + 1)]
    np.testing.assert_allclose(damped[o:] - damped[o - 1], climbed, rtol=1e-9)
    assert damped[-1] - damped[o - 1] <= damping / (1.0 - damping) / YEAR * (1.0 + 1e-9)


def test_the_line_is_zero_in_the_middle_of_what_is_known() -> None:
    assert float(np.asarray(line(trend("linear"), 40, 31, YEAR))[15]) == 0.0


def test_the_worked_example_of_the_docstring() -> None:
    shape = np.asarray(steps(trend("local_level"), 9, 9, YEAR)) / np.sqrt(4 / YEAR)
    level = shape @ np.asarray([0.1, -0.2])
    expected = np.asarray([0.0, 0.025, 0.05, 0.075, 0.1, 0.05, 0.0, -0.05, -0.1])
    np.testing.assert_allclose(level, expected - expected.mean(), atol=1e-14)


@LAW
@given(st.integers(2, 80), st.integers(0, 20), st.integers(1, 13))
def test_a_wandering_level_has_mean_zero_over_what_is_known(origin: int, ahead: int, knot: int) -> None:
    found = np.asarray(steps(trend("local_level", knot=knot), origin + ahead, origin, YEAR))
    assert found.shape == (origin + ahead, -(-(origin + ahead - 1) // knot))
    np.testing.assert_allclose(found[:origin].sum(axis=0), 0.0, atol=1e-10)


@pytest.mark.parametrize("knot", [1, 2, 4, 13])
def test_steps_of_sd_1_move_the_level_by_sd_1_a_year(knot: int) -> None:
    found = np.asarray(steps(trend("local_level", knot=knot), 157, 100, YEAR))
    for first in (0, 52, 104):
        assert ((found[first + 52] - found[first]) ** 2).sum() == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("kind", ["none", "linear", "damped"])
def test_only_a_wandering_level_has_steps(kind: Literal["none", "linear", "damped"]) -> None:
    assert steps(trend(kind), 30, 20, YEAR).shape == (30, 0)
