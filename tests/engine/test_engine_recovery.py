"""A slice of `python -m tests.recovery.run`: fits find what simulated worlds are made of, and the table says so.

The whole of it, every class and two dozen worlds of each, is `make recovery`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from engine import media
from engine.design import build
from tests import classes, worlds
from tests.recovery import measure
from tests.recovery.measure import Recovered
from tests.recovery.rows import CONFIDENCE, NOMINAL, Row, Task, bounds, coverage, of_total, rows
from tests.recovery.table import failed, markdown

WORLDS = 4
LARGEST = 0.3  # error of total; an estimate of nothing at all has 1
TIME = 20


@pytest.fixture(scope="module", params=["national", "separate"])
def row(request: pytest.FixtureRequest) -> Row:
    (made,) = rows(Task(request.param, WORLDS, 200, 200))
    return made


@pytest.mark.slow
def test_what_channels_added_is_recovered(row: Row) -> None:
    print(markdown([row]))
    assert row.bounded
    assert not failed([row])
    assert of_total(row.found) < LARGEST


@pytest.mark.slow
def test_estimates_that_are_half_too_high_fail(row: Row) -> None:
    """Of as few worlds as these."""
    wrong = tuple(each._replace(mean=1.5 * each.mean, low=1.5 * each.low, high=1.5 * each.high) for each in row.found)
    assert failed([row._replace(found=wrong)]) or of_total(wrong) > LARGEST


def world(covered: list[bool]) -> Recovered:
    """One with a pair for each of `covered`, all of an estimate of 2, whose truth lies within it or not."""
    truth = np.asarray([2.5 if inside else 4.0 for inside in covered])
    two = np.full(len(covered), 2.0)
    return Recovered(truth, two, two - 1.0, two + 1.0, 1.0, 0.0, 0.0)


@pytest.mark.parametrize("hits", [0, 13, 20])
def test_bounds_are_those_of_clopper_and_pearson(hits: int) -> None:
    exact = stats.binomtest(hits, 20).proportion_ci(CONFIDENCE, method="exact")
    assert bounds(hits / 20, 20) == pytest.approx((exact.low, exact.high))


def test_a_rate_far_from_nominal_fails_and_a_near_one_does_not() -> None:
    inside, outside = world([True, True]), world([False, False])
    for hits, fails in ((23, False), (21, False), (12, True)):
        found = (inside,) * hits + (outside,) * (24 - hits)
        assert failed([Row("class", found, 1.0, True)]) is fails
        assert not failed([Row("fixed truth", found, 1.0, False)])


def test_many_classes_that_each_cover_a_little_too_little_fail_together() -> None:
    found = (world([True]),) * 19 + (world([False]),) * 5
    one = Row("class", found, 1.0, True)
    assert not failed([one])
    assert failed([one] * 10)
    assert "NOT NOMINAL" in markdown([one] * 10).splitlines()[-1]


def test_pairs_of_a_world_share_its_one_vote() -> None:
    assert coverage((world([True, False]), world([True, True, True, True]))) == 0.75
    assert NOMINAL == 0.9


def test_errors_are_told_in_all_and_of_each() -> None:
    each = world([True, False])
    assert of_total([each]) == pytest.approx((0.5 + 2.0) / 6.5)
    assert each.of_each.tolist() == pytest.approx([0.2, 0.5])


@pytest.mark.parametrize("outcome", ["linear", "log"])
def test_what_a_channel_added_is_the_outcome_less_the_outcome_without_it(outcome: str) -> None:
    """Without mediators and cross-effects: by the channel's own effect, which the model's scale adds up."""
    spec = classes.spec("hierarchical", model__outcome=outcome)
    design, _ = build(worlds.panel(spec, 1, TIME), spec, TIME)
    maker = worlds.Maker(spec)
    truth = maker.drawn(design, 1)
    found = np.asarray(jax.jit(measure.contributions, static_argnums=0)(spec, truth, design))
    response = media.response(spec.model.media, truth.media, design.media)
    effect = np.asarray(media.effect(spec.model.media, truth.media, design.media, response))[:TIME]  # (T, S, M)
    whole = np.asarray(maker.expected(truth, design).outcome)[:TIME]
    if outcome == "log":
        effect = np.exp(whole)[..., None] * -np.expm1(-effect)
    scale = np.asarray(design.kpi_scale)
    assert found == pytest.approx((effect.sum(axis=0) * scale[:, None]).T, rel=1e-9)


def test_a_channel_takes_from_one_outcome_what_it_adds_to_another_that_cannibalises_it() -> None:
    spec = classes.spec("simultaneous")
    design, _ = build(worlds.panel(spec, 1, TIME), spec, TIME)
    drawn = worlds.Maker(spec).drawn(design, 1)
    beta = jnp.zeros_like(drawn.media.beta).at[1::2, 0].set(0.3)  # television adds to multipack alone
    cross = drawn.cross._replace(cross=jnp.asarray([-0.5, 0.0]))  # multipack takes from sales
    truth = drawn._replace(media=drawn.media._replace(beta=beta), cross=cross)
    added = np.asarray(jax.jit(measure.contributions, static_argnums=0)(spec, truth, design)) / design.kpi_scale
    assert np.all(added[0, 1::2] > 0.0)
    assert added[0, 0::2] == pytest.approx(-0.5 * added[0, 1::2])
    assert added[1] == pytest.approx(0.0, abs=1e-9)
