"""Residuals of controls: uncorrelated where estimated, blind to what comes later, exact to rounding."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import TableError
from engine.orthogonal import orthogonalised, regression
from engine.spec_controls import Orthogonal
from tests import reference_selection as twin

NAMES = ("a", "b", "c")
ORIGIN, TIME, PLACES = 30, 40, 2


def pair(control: str, on: str) -> Orthogonal:
    return Orthogonal(control=control, on=on)


def table(seed: int) -> np.ndarray:
    """(TIME, PLACES, 3) correlated walks of any level and scale."""
    draw = random.Random(seed)
    out = np.zeros((TIME, PLACES, 3))
    for place in range(PLACES):
        scale, level = 10.0 ** draw.uniform(-3, 3), draw.uniform(-100, 100)
        for t in range(TIME):
            common = draw.gauss(0, 1)
            out[t, place] = [level + scale * (common + draw.gauss(0, 1)) for _ in range(3)]
    return out


def correlation(x: Sequence[float], y: Sequence[float]) -> float:
    mx, my = math.fsum(x) / len(x), math.fsum(y) / len(y)
    cross = math.fsum((a - mx) * (b - my) for a, b in zip(x, y, strict=True))
    return cross / math.sqrt(math.fsum((a - mx) ** 2 for a in x) * math.fsum((b - my) ** 2 for b in y))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_every_declared_pair_is_uncorrelated_before_the_origin(seed: int) -> None:
    pairs = [pair("b", "a"), pair("c", "a"), pair("c", "b")]
    out = orthogonalised(table(seed), NAMES, pairs, ORIGIN)
    for place in range(PLACES):
        for p in pairs:
            x, y = (out[:ORIGIN, place, NAMES.index(name)].tolist() for name in (p.control, p.on))
            assert abs(correlation(x, y)) < 1e-9


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_residuals_agree_with_exact_normal_equations(seed: int) -> None:
    before = table(seed)
    out = orthogonalised(before, NAMES, [pair("b", "a")], ORIGIN)
    for place in range(PLACES):
        exact = twin.residuals(before[:, place, 1].tolist(), before[:, place, 0].tolist(), ORIGIN)
        size = max(abs(float(value)) for value in exact) + float(np.max(np.abs(before[:, place])))
        assert out[:, place, 1].tolist() == pytest.approx([float(v) for v in exact], abs=1e-12 * size)


def test_what_comes_after_the_origin_changes_nothing_before_it() -> None:
    before = table(4)
    later = before.copy()
    later[ORIGIN:] = 1e6
    first, second = (orthogonalised(x, NAMES, [pair("b", "a")], ORIGIN) for x in (before, later))
    assert first[:ORIGIN].tobytes() == second[:ORIGIN].tobytes()


def test_the_line_of_the_known_periods_is_applied_to_later_ones() -> None:
    before = table(5)
    out = orthogonalised(before, NAMES, [pair("b", "a")], ORIGIN)
    line = regression(before[:ORIGIN, 1, 1].tolist(), before[:ORIGIN, 1, 0].tolist())
    expected = before[-1, 1, 1] - (line.intercept + line.slope * before[-1, 1, 0])
    assert out[-1, 1, 1] == expected


def test_columns_that_no_pair_replaces_keep_their_bytes() -> None:
    before = table(6)
    out = orthogonalised(before, NAMES, [pair("b", "a")], ORIGIN)
    assert out[:, :, [0, 2]].tobytes() == before[:, :, [0, 2]].tobytes()
    assert not np.array_equal(out[:, :, 1], before[:, :, 1])


def test_a_scale_of_the_other_control_changes_no_residual() -> None:
    before = table(7)
    scaled = before * np.asarray([1024.0, 1.0, 1.0])  # a power of two: no rounding
    first, second = (orthogonalised(x, NAMES, [pair("b", "a")], ORIGIN)[:, :, 1] for x in (before, scaled))
    assert first.tobytes() == second.tobytes()


def test_on_a_constant_a_residual_is_the_deviation_from_the_mean() -> None:
    before = table(8)
    before[:ORIGIN, :, 0] = 0.1
    out = orthogonalised(before, NAMES, [pair("b", "a")], ORIGIN)
    mean = math.fsum(before[:ORIGIN, 0, 1].tolist()) / ORIGIN
    assert out[:, 0, 1].tolist() == [value - mean for value in before[:, 0, 1].tolist()]


def test_a_constant_has_no_residual_and_not_a_rounding_error() -> None:
    """Whose standard deviation, divided by, would make a control of it: .1 added 30 times is not 3."""
    before = table(9)
    before[:, :, 1] = 0.1
    out = orthogonalised(before, NAMES, [pair("b", "a")], 3)
    assert np.all(out[:, :, 1] == 0.0)


def test_a_control_that_the_other_explains_wholly_is_refused() -> None:
    before = table(10)
    before[:, 1, 1] = 3.0 * before[:, 1, 0] - 7.0
    with pytest.raises(TableError, match="control b at location 1: expected a part that a does not explain"):
        orthogonalised(before, NAMES, [pair("b", "a")], ORIGIN)
