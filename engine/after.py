"""What a fit left over: findings after it, tests of its residuals; and what its posterior owes to the prior.

Warnings are tests (`engine.misfit`), each with a known law if the model is right. A draw has a p-value of every test;
over draws twice their median counts, and over all tests of one fit Holm's bound: a right model raises a warning in at
most the declared share of fits. They are signs, not proofs:
- autocorrelation, season_left, break_left: something moves the outcome that is not in the model. Until it is, intervals
  are too narrow, and a channel that moves with it takes it for its own effect.
- spend_ahead: residuals foretell spend. Budgets that answer demand, and demand that is not in the model and moves both,
  look like this. A confounder that leaves no trace in time (one without memory, say) leaves none here either: NO TEST
  PROVES THAT NONE IS LEFT OUT; an experiment (`model.lift_tests`) is what settles it.
- effect_moved: a channel works better, or worse, in the second half of the data than in the first.
Notes, which numbers are the prior's: `engine.learned`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from engine import counterfactual, misfit
from engine.design import Design
from engine.errors import SpecError
from engine.finding import Finding, What
from engine.gram import deviations
from engine.learned import notes
from engine.misfit import Along, Left
from engine.model import Parameters
from engine.pivot import pivots
from engine.spec import Spec
from engine.spec_checks import AfterFit
from engine.spec_outcomes import Autoregressive
from engine.spec_trend import NoTrend


class _Test(NamedTuple):
    """One test and what to say if it fails."""

    subject: str
    what: What
    expected: str
    found: str
    p: float


def after_fit(spec: Spec, draws: Parameters, design: Design) -> tuple[Finding, ...]:
    """Everything that `spec.checks` asks to be told of a posterior; nothing where it asks for nothing.

    draws: each (draw, ...), as `engine.posterior.read` gives them, of `spec` fitted to `design`.
    """
    if spec.checks is None or spec.checks.after_fit is None:
        return ()
    limits = spec.checks.after_fit
    some = thinned(draws, limits.draws)
    known = _periods(design)
    moving = [m for m in range(len(spec.data.media)) if any(deviations(_spend(design, known)[:, :, m]))]
    return (*_warnings(spec, limits, some, design, moving), *notes(spec, limits, draws, some, design, known))


def thinned(draws: Parameters, count: int) -> Parameters:
    """`count` of the draws, evenly spaced; all of them where there are fewer."""
    size = draws.level.shape[0]
    which = np.asarray([i * size // count for i in range(count)] if size > count else range(size))
    return jax.tree.map(lambda x: jnp.asarray(x)[which], draws)


def _periods(design: Design) -> int:
    """How many are known."""
    return int(np.sum(np.asarray(design.known)[:, 0]))


def _spend(design: Design, known: int) -> np.ndarray:
    """(known, L, M), over its mean."""
    return np.asarray(design.media.spend)[:known, ..., 0]


@partial(jax.jit, static_argnums=0)
def _misfits(spec: Spec, tests: Along, draws: Parameters, design: Design) -> Left:
    assert spec.checks is not None
    assert spec.checks.after_fit is not None
    limits, time = spec.checks.after_fit, tests.full.shape[0]
    memory = isinstance(spec.model.residual, Autoregressive)

    def one(p: Parameters) -> Left:
        response = counterfactual.effects(spec, p, design).response[:time]
        return misfit.left(limits, memory, tests, pivots(spec, p, design)[:time], p.noise, response)

    return jax.lax.map(one, draws)


def _warnings(spec: Spec, limits: AfterFit, draws: Parameters, design: Design, moving: list[int]) -> Iterator[Finding]:
    tests = tuple(results(spec, limits, draws, design, moving))
    bounds = misfit.holm([test.p for test in tests])
    for test, bound in zip(tests, bounds, strict=True):
        if bound <= limits.level:
            chance = f"p = {bound:.2g} over all {len(tests)} tests"
            yield Finding(test.subject, test.what, test.expected, f"{test.found}; {chance}")


def results(spec: Spec, limits: AfterFit, draws: Parameters, design: Design, moving: Sequence[int]) -> Iterator[_Test]:
    """Every test, passed or not, and its own p-value. moving: places of the channels whose spend moves."""
    known = _periods(design)
    if known <= limits.lags:
        raise SpecError(f"checks.after_fit.lags: expected fewer than the {known} known periods, found {limits.lags}")
    full = np.asarray([float(np.all(row >= 1.0)) for row in np.asarray(design.weight)[:known]])
    tests = misfit.along(limits, full, not isinstance(spec.model.trend, NoTrend), _spend(design, known))
    left, ranks = _misfits(spec, tests, draws, design), misfit.ranks(tests)
    chances = jax.tree.map(lambda p: np.asarray(misfit.agreed(p)), misfit.chances(left, jnp.asarray(ranks)))
    usual = jax.tree.map(lambda x: np.asarray(jnp.sum(x, axis=0) / x.shape[0]), left)  # over draws
    for s, name in enumerate(spec.data.series):
        yield from _of_series(limits, name, s, known, chances, usual)
    for m in moving:
        for o, outcome in enumerate(spec.data.outcomes):
            name = spec.data.media[m].name
            subject = name if len(spec.data.outcomes) == 1 else f"{name} on {outcome.name}"
            yield from _of_channel(limits, subject, m, o, int(ranks[m]), chances, usual)


def _of_series(
    limits: AfterFit, name: str, s: int, known: int, chances: misfit.Chances, usual: Left
) -> Iterator[_Test]:
    if chances.box.size:
        expected = f"residuals without memory over {limits.lags} periods"
        found = f"a correlation of {usual.correlation[0, s]:.2g} with the period before"
        yield _Test(name, "autocorrelation", expected, found, float(chances.box[s]))
    if usual.power.shape[0]:
        wave = known / (_slowest(limits) + int(np.argmax(usual.power[:, s])))
        found = f"a wave of {wave:.3g} periods, {usual.power[:, s].max():.2g} of what is left"
        yield _Test(name, "season_left", "residuals without a wave", found, float(chances.power[s]))
    if usual.split.shape[0]:
        at = limits.edge + int(np.argmax(usual.split[:, s]))
        found = f"another level or slope from period {at + 1} of {known} on"
        yield _Test(name, "break_left", "one level and trend over all periods", found, float(chances.split[s]))


def _slowest(limits: AfterFit) -> int:
    """Cycles of the first wave that is looked for."""
    return max(1, int(np.ceil(limits.cycles)))


def _of_channel(
    limits: AfterFit, subject: str, m: int, o: int, rank: int, chances: misfit.Chances, usual: Left
) -> Iterator[_Test]:
    if rank:
        expected = f"residuals that do not foretell spend over {limits.leads} periods"
        kind = int(np.argmax(np.abs(usual.ahead[m, o])))
        sign = "more" if usual.ahead[m, o, kind] > 0.0 else "less"
        found = f"{sign} {('spend', 'often any spend')[kind]} after a high residual"
        yield _Test(subject, "spend_ahead", expected, found, float(chances.ahead[m, o]))
    sign = "more" if usual.moved[m, o] > 0.0 else "less"
    yield _Test(
        subject, "effect_moved", "the same effect in both halves", f"{sign} in the second", float(chances.moved[m, o])
    )
