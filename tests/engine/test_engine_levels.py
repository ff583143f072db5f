"""Probabilities, their names, and the origins from which forecasts are made."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.levels import bounds, interval_probabilities, probability_name
from engine.origins import holdout_origins, origins
from engine.spec import Spec
from tests import small

LAW = settings(max_examples=100, deadline=None, derandomize=True)
LEVELS = st.lists(st.integers(1, 9999).map(lambda n: n / 10000), min_size=1, max_size=6, unique=True).map(sorted)


def test_the_usual_levels() -> None:
    assert interval_probabilities((0.5, 0.8, 0.9)) == (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
    assert bounds(0.9) == (0.05, 0.95)
    assert [probability_name(p) for p in (0.05, 0.5, 0.975)] == ["0.05", "0.5", "0.975"]


@LAW
@given(LEVELS)
def test_probabilities_are_ascending_symmetric_and_named_apart(levels: list[float]) -> None:
    found = interval_probabilities(levels)
    assert len(found) == 2 * len(levels) + 1
    assert list(found) == sorted(found)
    assert found[len(levels)] == 0.5
    for level in levels:
        low, high = bounds(level)
        assert {low, high} <= set(found)
        assert abs(low + high - 1.0) < 1e-12
        assert abs(high - low - level) < 2e-6
    names = [probability_name(p) for p in found]
    assert len(set(names)) == len(names)
    assert [float(name) for name in names] == list(found)


@st.composite
def rolling(draw: st.DrawFn) -> tuple[Spec, int]:
    horizon = draw(st.integers(1, 6))
    first = draw(st.integers(14, 30))
    spec = small.spec(
        backtest__horizon=horizon,
        backtest__first_origin=first,
        backtest__step=draw(st.integers(1, 7)),
        holdout__periods=horizon * draw(st.integers(1, 3)),
    )
    return spec, first + horizon + spec.holdout.periods + draw(st.integers(0, 30))


@LAW
@given(rolling())
def test_every_origin_leaves_a_whole_horizon_and_comes_once(case: tuple[Spec, int]) -> None:
    spec, time = case
    found = origins(spec, time)
    assert list(found) == sorted(set(found))
    assert found[0] == spec.backtest.first_origin
    assert all(origin + spec.backtest.horizon <= time for origin in found)
    regular = [origin for origin in found if (origin - found[0]) % spec.backtest.step == 0]
    assert set(found) == {*regular, *holdout_origins(spec, time)}
    assert time - spec.backtest.horizon - regular[-1] < spec.backtest.step  # none is left out at the end


@LAW
@given(rolling())
def test_the_holdout_is_tiled_once_without_overlap(case: tuple[Spec, int]) -> None:
    spec, time = case
    covered = [o + h for o in holdout_origins(spec, time) for h in range(spec.backtest.horizon)]
    assert covered == list(range(time - spec.holdout.periods, time))
    assert set(holdout_origins(spec, time)) <= set(origins(spec, time))


@LAW
@given(rolling(), st.integers(1, 20))
def test_more_data_keeps_the_regular_origins(case: tuple[Spec, int], more: int) -> None:
    spec, time = case
    old = {o for o in origins(spec, time) if o not in holdout_origins(spec, time)}
    assert old <= set(origins(spec, time + more))
