"""Response curves against the slow way, their shape, and half of their height."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from engine.curve import curves_table, half, half_table, multiples
from engine.saturation import saturated
from tests import classes, small, small_effects
from tests.small_effects import NAMES, again, case, outcome


@pytest.mark.parametrize("name", NAMES)
def test_a_curve_is_the_outcome_with_an_even_budget_less_the_outcome_without(name: str) -> None:
    of = case(name)
    inside = slice(of.window.first, of.window.last)
    usual = jnp.sum(of.design.media.spend[inside, ..., 0], axis=0) / (of.window.last - of.window.first)  # (L, M)
    frequency = jnp.sum(of.design.media.frequency[inside], axis=0) / (of.window.last - of.window.first)
    for m in range(of.channels):
        nothing = outcome(of, 3, small_effects.times(of.design, m, 0.0))
        for k, multiple in enumerate(multiples(of.spec)):
            even = of.design.media.spend.at[:, :, m].set((multiple * usual[:, m])[:, None])
            seen = of.design.media._replace(spend=even)
            if seen.frequency.shape[2]:
                seen = seen._replace(frequency=seen.frequency.at[..., m].set(frequency[:, m]))
            lost = (outcome(of, 3, seen) - nothing)[inside]
            per_period = lost.reshape(lost.shape[0], 2, -1).sum(axis=(0, 1)) / lost.shape[0]
            np.testing.assert_allclose(of.found.curve[3, m, k], per_period, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_spent_adds_exactly_nothing(name: str) -> None:
    assert multiples(case(name).spec) == (0.0, 0.5, 1.0, 1.5, 2.0)
    assert not np.any(case(name).found.curve[:, :, 0])


def test_more_budget_adds_more_and_ever_less_more_where_there_is_no_threshold() -> None:
    of = case("portfolio")
    cross = of.draws.cross._replace(cross=0.0 * of.draws.cross.cross)
    curve = again(of, of.design, of.draws._replace(cross=cross)).curve
    steps = np.diff(curve, axis=2)
    assert np.all(steps > 0.0)
    assert np.all(np.diff(steps, axis=2) < 0.0)


def test_what_was_spent_evenly_lies_on_the_curve() -> None:
    of = case("portfolio")
    even = of.design.media.spend.at[:].set(of.design.media.spend[-1:, :, :, :1])
    found = again(of, of.design._replace(media=of.design.media._replace(spend=even)), of.draws)
    contribution = found.contributions.window[..., :-1].reshape(small_effects.DRAWS, 2, 2, 2).sum(axis=1)
    periods = of.window.last - of.window.first
    np.testing.assert_allclose(found.curve[:, :, 2], np.swapaxes(contribution, 1, 2) / periods, rtol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_half_saturation_has_half_of_the_effect(name: str) -> None:
    of = case(name)
    for index in range(3):
        p = of.draw(index)
        at = np.asarray(saturated(of.spec.model.media.saturation, half(of.spec, p), p.media.saturation))
        np.testing.assert_allclose(at, 0.5, rtol=1e-12)
    rows = half_table(of.spec, of.panel, of.scales, of.found.half).to_pylist()
    rated = of.spec.data.media[0].frequency is not None
    scale = of.scales.frequency[0] if rated else of.scales.media[0]
    assert rows[0]["of"] == ("frequency" if rated else "spend")
    assert math.isclose(rows[0]["mean"], scale * float(of.found.half[:, 0].mean()), rel_tol=1e-12)


def test_a_root_has_no_half_and_a_channel_that_never_spent_none_to_tell() -> None:
    of = case("portfolio")
    silent = of.panel.media.copy()
    silent[:, :, 1] = 0.0
    rows = half_table(of.spec, of.panel._replace(media=silent), of.scales, of.found.half).to_pylist()
    assert rows[1]["reason"] == "nothing was spent"
    assert rows[1]["mean"] is None
    assert rows[0]["reason"] is None
    root = small.spec(model__media__saturation={"kind": "root", "shared": False, "p_a": 2.0, "p_b": 2.0})
    endless = np.asarray(half(root, jax.tree.map(jnp.asarray, of.draw(0))))[None]
    rows = half_table(root, small.panel(root), of.scales, endless).to_pylist()
    assert [row["reason"] for row in rows] == ["the effect has no limit"] * 2


def test_the_table_names_budgets_in_the_units_of_the_table() -> None:
    of = case("portfolio")
    rows = curves_table(of.spec, of.panel, of.found.curve, of.window).to_pylist()
    assert len(rows) == 2 * 2 * 5
    spent = float(of.panel.media[of.window.first :, :, 0].sum()) / (of.window.last - of.window.first)
    told = [row["spend"] for row in rows if (row["outcome"], row["channel"]) == ("sales", "tv")]
    np.testing.assert_allclose(told, [m * spent for m in multiples(of.spec)], rtol=1e-12)
    assert classes.TV["unit"] == rows[0]["spend_unit"]
