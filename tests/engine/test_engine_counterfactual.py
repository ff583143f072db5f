"""Counterfactuals against the slow way: the whole model with other media, taken to the outcome's unit."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.handlers import seed

from engine import counterfactual, model
from engine.design import build
from engine.prng import stream
from tests import classes, small_effects
from tests.small_effects import NAMES, case, outcome

EFFECTS = jax.jit(counterfactual.effects, static_argnums=0)
OUTCOME = jax.jit(counterfactual.outcome, static_argnums=0)


@pytest.mark.parametrize("name", NAMES)
def test_any_other_spend_on_a_channel_moves_own_by_what_it_is_worth(name: str) -> None:
    """Exactly, not to first order: own is linear in a channel's transformed spend, the others given."""
    of = case(name)
    for index in (0, 3):
        p = of.draw(index)
        found = EFFECTS(of.spec, p, of.design)
        for m in range(of.channels):
            seen = small_effects.times(of.design, m, 0.3)
            other = EFFECTS(of.spec, p, of.design._replace(media=seen))
            moved = found.by_series(other.response - found.response)
            elsewhere = [c for c in range(of.channels) if c != m]
            assert np.all(np.asarray(moved)[..., elsewhere] == 0.0)
            level = found.own + jnp.sum(found.worth * moved, axis=-1)
            told = OUTCOME(of.spec, p, of.design, level)
            np.testing.assert_allclose(told, outcome(of, index, seen), rtol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_a_part_of_nothing_loses_exactly_nothing(name: str) -> None:
    of = case(name)
    p = of.draw(1)
    found = EFFECTS(of.spec, p, of.design)
    lost = jax.jit(counterfactual.lost, static_argnums=0)(of.spec, p, of.design, found.own, 0.0 * found.added)
    assert not np.any(np.asarray(lost))


@pytest.mark.parametrize("outcome_kind", ["linear", "log"])
def test_two_states_are_told_as_the_mean_of_both_and_a_metric_in_its_own_units(outcome_kind: str) -> None:
    spec = classes.spec("two_states", model__outcome=outcome_kind)
    panel = classes.panel(spec)
    design, scales = build(panel, spec, len(panel.periods))
    factor = np.where(np.arange(design.y.shape[0]) < 20, 1.0, 3.0)
    design = design._replace(metric=jnp.asarray(factor > 1.0, dtype=jnp.float64)[:, None])
    shapes = jax.eval_shape(lambda: seed(model.sample_parameters, stream(1))(spec, design))
    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape), shapes)
    states = nothing.noise._replace(gap=jnp.asarray([0.4, 1.2]), share=jnp.asarray(0.3))
    p = nothing._replace(metric=jnp.full((1, 2), np.log(3.0)), noise=states)
    own = jnp.asarray(np.linspace(-0.3, 0.3, 2 * design.y.shape[0]).reshape(design.y.shape))
    found = np.asarray(OUTCOME(spec, p, design, own))
    share, gap, scale = float(p.noise.share), np.asarray(p.noise.gap), np.asarray(scales.kpi)
    both = [np.asarray(own), np.asarray(own) + gap]
    low, high = ((1.0 + y if outcome_kind == "linear" else np.exp(y)) for y in both)
    np.testing.assert_allclose(found, scale * factor[:, None] * ((1.0 - share) * low + share * high), rtol=1e-12)
