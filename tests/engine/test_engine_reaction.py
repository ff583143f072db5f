"""What follows from a verdict, period by period; and what a break's terms mean in the model."""

from __future__ import annotations

import math
from datetime import timedelta
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from engine import model as media_model
from engine.design import Design, build
from engine.fit import unconstrained
from engine.forecast import paths
from engine.model import Parameters
from engine.prng import stream
from engine.reaction import MASK_SCALE, Reaction, Term, acts, columns, none, reaction
from engine.spec import Spec
from engine.verdict import Cause, Consequence, Finding, Verdict
from tests import small
from tests.engine.test_engine_forecast import draws
from tests.engine.test_engine_model import drawn

SPEC = small.spec()
PANEL = small.panel(SPEC)
ORIGIN, HORIZON = 30, SPEC.backtest.horizon
RULES = SPEC.detect.consequences
G = 2


def finding(start: int, consequence: Consequence, last: int | None = None, cause: Cause = "unexplained") -> Finding:
    return Finding(
        alarm=PANEL.periods[start] + timedelta(weeks=2),
        start=PANEL.periods[start],
        last=None if last is None else PANEL.periods[last],
        probability=0.9,
        cause=cause,
        lasting=last is None,
        odds=9.0,
        lasting_odds=9.0,
        event=None,
        event_first=None,
        consequence=consequence,
        reason="a test",
    )


def verdict(*findings: Finding) -> Verdict:
    return Verdict(findings=findings, hazard=0.01, threshold=0.5, registry_sha256="0" * 64, registered_events=0)


def asked(*findings: Finding, origin: int = ORIGIN) -> Reaction:
    return reaction(RULES, verdict(*findings), PANEL.periods, origin, HORIZON)


# From a verdict to what is asked.


def test_nothing_follows_from_nothing_or_from_what_is_kept() -> None:
    assert asked() == none(ORIGIN, HORIZON)
    assert asked(finding(20, "keep")) == none(ORIGIN, HORIZON)
    assert not acts(verdict(finding(20, "keep")))
    assert acts(verdict(finding(20, "keep"), finding(21, "mask", 22)))


def test_a_break_re_anchors_at_its_start() -> None:
    found = asked(finding(20, "re_anchor"))
    assert found.re_anchored_at == 20
    assert found.weight == (0.3,) * 20 + (1.0,) * 10
    assert found.terms == (Term("step", 20, 20, RULES.level_scale), Term("kink", 20, 20, RULES.slope_scale))
    assert found.metric == ()


def test_intervals_widen_at_the_break_and_less_with_every_period_since() -> None:
    at_once = asked(finding(29, "re_anchor")).widening
    later = asked(finding(20, "re_anchor")).widening
    left = [1.0 - (ORIGIN + h - 29) / RULES.widen_periods for h in range(HORIZON)]
    assert at_once == pytest.approx([1.0 + (RULES.widen - 1.0) * share for share in left])
    assert all(1.0 <= b < a for a, b in zip(at_once, later, strict=True))
    assert asked(finding(10, "re_anchor")).widening == (1.0,) * HORIZON  # as long ago as the widening lasts


def test_only_the_last_of_two_breaks_decides_which_data_are_old() -> None:
    found = asked(finding(12, "re_anchor"), finding(20, "re_anchor"))
    assert found.re_anchored_at == 20
    assert found.weight == (0.3,) * 20 + (1.0,) * 10
    assert [term.first for term in found.terms] == [12, 12, 20, 20]


def test_a_measurement_change_rescales_and_forgets_nothing() -> None:
    found = asked(finding(20, "rescale", cause="measurement_change"))
    assert found == none(ORIGIN, HORIZON)._replace(metric=(Term("step", 20, 20, RULES.level_scale),))


def test_a_pulse_is_masked_week_by_week_or_modelled_as_one() -> None:
    masked, modelled = asked(finding(20, "mask", 22)), asked(finding(20, "model", 22))
    assert masked.terms == tuple(Term("pulse", t, t, MASK_SCALE) for t in (20, 21, 22))
    assert modelled.terms == (Term("pulse", 20, 22, RULES.level_scale),)
    assert masked.weight == modelled.weight == (1.0,) * ORIGIN


def test_a_pulse_that_goes_on_reaches_the_origin_and_not_past_it() -> None:
    (term,) = asked(finding(28, "model")).terms
    assert (term.first, term.last) == (28, ORIGIN - 1)
    assert np.sum(columns((term,), 40, 52.0)) == 2.0


def test_what_starts_after_the_origin_is_not_known_there() -> None:
    assert asked(finding(35, "re_anchor")) == none(ORIGIN, HORIZON)


def test_columns_are_what_their_forms_say() -> None:
    found = columns((Term("step", 2, 2, 1.0), Term("kink", 2, 2, 1.0), Term("pulse", 1, 2, 1.0)), 5, 4.0)
    assert found.T.tolist() == [[0, 0, 1, 1, 1], [0, 0, 0, 0.25, 0.5], [0, 1, 1, 0, 0]]


# What the terms mean in the model.


def built(spec: Spec, *findings: Finding) -> Design:
    return build(PANEL, spec, ORIGIN, asked(*findings))[0]


_likelihood = jax.jit(media_model.log_likelihood, static_argnums=0)


def test_a_shift_moves_the_mean_from_the_break_on_and_past_the_origin() -> None:
    design = built(SPEC, finding(20, "re_anchor"))
    p = drawn(3)._replace(shift=jnp.asarray([[0.5, -0.5], [2.0, 0.0]]))
    plain = media_model.mean(SPEC, p._replace(shift=jnp.zeros((2, G))), design)
    moved = np.asarray(media_model.mean(SPEC, p, design) - plain)
    years = np.maximum(np.arange(len(moved)) - 20, 0) / SPEC.plan.year
    after = (np.arange(len(moved)) >= 20).astype(float)
    np.testing.assert_allclose(moved[:, 0], 0.5 * after + 2.0 * years, atol=1e-12)
    np.testing.assert_allclose(moved[:, 1], -0.5 * after, atol=1e-12)


@pytest.mark.parametrize("outcome", ["linear", "log"])
def test_a_rescaled_metric_is_the_same_demand_in_other_units(outcome: str) -> None:
    """p(outcomes in new units) = p(outcomes in old units) * |d old / d new|."""
    spec = small.spec(model__outcome=outcome)
    design = built(spec, finding(20, "rescale"))
    p = drawn(4)._replace(metric=jnp.asarray([[math.log(1.7), math.log(0.4)]]))
    factor = jnp.where(jnp.arange(design.y.shape[0])[:, None] >= 20, jnp.asarray([1.7, 0.4]), 1.0)
    new = design.y + jnp.log(factor) if outcome == "log" else (1.0 + design.y) * factor - 1.0
    rescaled = np.asarray(_likelihood(spec, p, design._replace(y=new)))
    old = np.asarray(_likelihood(spec, p._replace(metric=jnp.zeros((1, G))), design))
    jacobian = np.zeros(old.shape) if outcome == "log" else -np.log(np.asarray(factor))
    np.testing.assert_allclose(rescaled, old + jacobian, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("outcome", ["linear", "log"])
def test_forecasts_after_a_rescaling_are_in_the_new_units(outcome: str) -> None:
    spec = small.spec(model__outcome=outcome)
    design, scales = build(PANEL, spec, ORIGIN, asked(finding(20, "rescale")))
    p = draws(20, 0.5)._replace(metric=jnp.full((20, 1, G), math.log(1.7)))
    old = p._replace(metric=jnp.zeros((20, 1, G)))
    shown = design.y.at[20:ORIGIN].set(_new(outcome, design.y[20:ORIGIN]))
    simulate = partial(paths, spec, origin=ORIGIN, key=stream(1, "x"), widening=(1.0,) * HORIZON, scales=scales)
    new = simulate(draws=p, design=design._replace(y=shown))
    np.testing.assert_allclose(new, 1.7 * simulate(draws=old, design=design), rtol=1e-9)


def _new(outcome: str, y: Array) -> Array:
    return y + math.log(1.7) if outcome == "log" else (1.0 + y) * 1.7 - 1.0


def test_a_masked_week_says_nothing_about_the_rest() -> None:
    """However wild its outcome, its own effect takes it up: the best fit of everything else stays."""
    design = built(SPEC, finding(20, "mask", 20))
    program = unconstrained(SPEC, design)
    p = drawn(5)
    wild = design._replace(y=design.y.at[20].add(jnp.asarray([3.0, -2.0])))
    calm = p._replace(shift=jnp.asarray([[0.1, 0.2]]))
    taken = p._replace(shift=calm.shift + jnp.asarray([[3.0, -2.0]]))
    np.testing.assert_allclose(_likelihood(SPEC, taken, wild), _likelihood(SPEC, calm, design), rtol=1e-9)
    assert program.dimension == unconstrained(SPEC, built(SPEC)).dimension + G


@pytest.mark.parametrize("consequence", ["re_anchor", "rescale", "mask", "model"])
def test_the_gradient_is_finite_under_every_consequence(consequence: Consequence) -> None:
    design = built(SPEC, finding(20, consequence, 22 if consequence in ("mask", "model") else None))
    program = unconstrained(SPEC, design)
    gradient = jax.jit(jax.grad(program.log_density))(jnp.zeros(program.dimension), design)
    assert bool(jnp.all(jnp.isfinite(gradient)))


def test_widening_stretches_paths_about_their_median_on_the_models_scale() -> None:
    spec = small.spec(model__outcome="log")
    design, scales = build(PANEL, spec, ORIGIN)
    p: Parameters = draws(41, 0.5)
    factors = (2.0, 1.5, 1.0, 1.0)
    plain, wide = (
        np.log(np.asarray(paths(spec, p, design, scales, ORIGIN, stream(1, "x"), w))) for w in ((1.0,) * 4, factors)
    )
    middle = np.median(plain, axis=0)
    np.testing.assert_allclose(wide - middle, (plain - middle) * np.asarray(factors)[None, :, None], atol=1e-9)
