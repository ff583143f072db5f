"""Laws of the explanation of an alarm: evidence against its textbook twin, posterior against priors by hand."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from engine.explanation import LOG_ODDS, Belief, Candidate, Shape, explain, log_evidence, odds
from engine.spec_detect import Explanation, Segments
from tests import reference, small

Floats = npt.NDArray[np.float64]

SEGMENTS = small.spec().detect.segments
BELIEF = small.spec().detect.explanation
TIME = 12
values = st.one_of(st.floats(-5, 5), st.floats(-1e3, 1e3), st.just(math.nan))
panels = hnp.arrays(np.float64, (TIME, 2), elements=values)
shapes = st.one_of(
    st.none(), st.builds(Shape, st.integers(1, TIME - 1), st.one_of(st.none(), st.integers(1, TIME + 2)))
)
exact = settings(deadline=None, derandomize=True, max_examples=30)


def law(segments: Segments) -> reference.Law:
    return reference.Law(
        hazard=0.5,
        mean_precision=segments.mean_precision,
        shape=segments.shape,
        rate=segments.rate,
        slope_scale=segments.slope_scale,
        linear_weight=segments.linear_weight,
    )


def twin(panel: Floats, shape: Shape | None, segments: Segments) -> float:
    """Each location's old and new part as segments of their own."""
    start, end = (0, 0) if shape is None else (shape.start, shape.end(len(panel)))
    total = 0.0
    for column in panel.T:
        old = [math.nan if start <= t < end else x for t, x in enumerate(column)]
        total += reference.segment_evidence(old, law(segments))
        total += reference.segment_evidence(list(column[start:end]), law(segments))
    return total


def candidate(name: str, lasts: bool, length: int | None, *trust: float) -> Candidate:
    return Candidate(name, lasts, length, trust)


def noise(seed: int, *shape: int) -> Floats:
    return np.random.default_rng(seed).normal(size=shape)


def total(beliefs: tuple[Belief, ...], event: str | None = None) -> float:
    return math.fsum(each.probability for each in beliefs if each.event == event and each.shape is not None)


@exact
@given(panels, st.lists(shapes, min_size=1, max_size=4), st.sampled_from([0.0, 0.2, 3.0]))
def test_evidence_is_that_of_two_segments_side_by_side(panel: Floats, asked: list[Shape | None], weight: float) -> None:
    segments = SEGMENTS.model_copy(update={"linear_weight": weight})
    expected = [twin(panel, shape, segments) for shape in asked]
    np.testing.assert_allclose(log_evidence(panel, asked, segments), expected, rtol=1e-8, atol=1e-8)


@exact
@given(panels, shapes)
def test_evidence_does_not_depend_on_what_else_is_asked(panel: Floats, shape: Shape | None) -> None:
    alone = log_evidence(panel, [shape], SEGMENTS)
    assert log_evidence(panel, [None, shape, Shape(3, 2)], SEGMENTS)[1:2] == alone


def test_a_pulse_to_the_end_is_a_change_that_has_not_shown_whether_it_lasts() -> None:
    panel = noise(1, TIME, 1)
    lasting, running = log_evidence(panel, [Shape(9, None), Shape(9, 3)], SEGMENTS)
    assert lasting == running


@exact
@given(panels, st.integers(1, TIME - 2), st.floats(0, 0.99), st.floats(0, 0.99))
def test_beliefs_sum_to_one(panel: Floats, start: int, one: float, other: float) -> None:
    near = [candidate("a", True, None, one, other), candidate("b", False, 3, other, one)]
    found = explain(panel, [start, start + 1], near, BELIEF, SEGMENTS)
    assert math.fsum(each.probability for each in found) == pytest.approx(1.0, abs=1e-12)
    assert all(each.probability >= 0.0 for each in found)


def test_without_residuals_the_posterior_is_the_prior() -> None:
    blank = np.full((TIME, 1), math.nan)
    near = [candidate("change", True, None, 0.5), candidate("sale", False, 2, 0.8)]
    found = explain(blank, [5], near, BELIEF, SEGMENTS)
    none = 0.5 * 0.2  # neither event is the cause
    assert total(found, "change") == pytest.approx((1 - none) * 0.5 / 1.3)
    assert total(found, "sale") == pytest.approx((1 - none) * 0.8 / 1.3)
    lasting = [each for each in found if each.event is None and each.shape == Shape(5, None)]
    assert lasting[0].probability == pytest.approx(none * BELIEF.lasting)
    (nothing,) = (each for each in found if each.shape is None)
    assert nothing.probability == pytest.approx(none * (1 - BELIEF.lasting - BELIEF.passing))
    own = [each.probability for each in found if each.event == "sale" and each.shape == Shape(5, 2)]
    share = 0.5 + 0.5 / BELIEF.pulse_periods  # half for its own length, and its share of the other half
    assert own == [pytest.approx((1 - none) * 0.8 / 1.3 * share)]


def test_a_change_whose_end_is_known_lasts_or_has_its_length() -> None:
    blank = np.full((TIME, 1), math.nan)
    found = explain(blank, [5], [candidate("ban", True, 4, 0.9)], BELIEF, SEGMENTS)
    mine = {each.shape: each.probability for each in found if each.event == "ban"}
    assert mine == {Shape(5, None): pytest.approx(0.45), Shape(5, 4): pytest.approx(0.45)}


@pytest.mark.parametrize(("length", "shape"), [(None, Shape(30, None)), (1, Shape(30, 1)), (3, Shape(30, 3))])
def test_what_was_planted_is_found(length: int | None, shape: Shape) -> None:
    panel = noise(2, 60, 1)
    panel[30 : shape.end(60)] += 5.0
    found = explain(panel, range(28, 33), [], BELIEF, SEGMENTS)
    assert max(found, key=lambda each: each.probability).shape == shape
    assert length is None or all(each.probability < 0.01 for each in found if each.shape == Shape(30, None))


def test_quiet_residuals_are_explained_by_nothing() -> None:
    found = explain(noise(3, 60, 1), range(28, 33), [], BELIEF, SEGMENTS)
    assert max(found, key=lambda each: each.probability).shape is None


def test_an_event_that_cannot_be_trusted_changes_nothing() -> None:
    panel = noise(4, 40, 2)
    plain = explain(panel, [20, 21], [], BELIEF, SEGMENTS)
    assert explain(panel, [20, 21], [candidate("far", True, None, 0.0, 0.0)], BELIEF, SEGMENTS) == plain


def test_more_locations_are_more_evidence() -> None:
    step = 1.5 * (np.arange(60) >= 30)[:, None]
    four = noise(5, 60, 4) + step
    one = four[:, :1]

    def chance(panel: Floats) -> float:
        found = explain(panel, [30], [], BELIEF, SEGMENTS)
        return next(each.probability for each in found if each.shape is None)

    assert chance(four) < 0.01 * chance(one)


@given(st.floats(0, 1), st.floats(0, 1))
@settings(deadline=None, derandomize=True)
def test_odds_are_those_of_both_shares_within_bounds(one: float, other: float) -> None:
    found = odds(one, other)
    assert math.exp(-LOG_ODDS) <= found <= math.exp(LOG_ODDS)
    if min(one, other) > 1e-10:
        assert found == pytest.approx(one / other)
    if one > other:
        assert found > 1.0


def test_beliefs_are_declared() -> None:
    with pytest.raises(ValueError, match="expected less than 1"):
        Explanation.model_validate({**BELIEF.model_dump(), "lasting": 0.7, "passing": 0.3})
    with pytest.raises(ValueError, match=r"expected high >= medium >= low, found 0\.4, 0\.7, 0\.4"):
        Explanation.model_validate({**BELIEF.model_dump(), "trust_high": 0.4})
