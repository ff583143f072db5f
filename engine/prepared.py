"""From the registered specification to the model that is fitted: what checks before the fit decided, as declared.

Every decision rests on periods before a declared index, which lies before the first past forecast; it is recorded, and
the same everywhere after. Nothing is decided where no check is declared.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.handlers import seed

from engine import decomposition, media, model, stationarity
from engine import design as designs
from engine.choices import Choices, Test
from engine.decomposition import Components
from engine.design import Design
from engine.layout import layout
from engine.prng import stream
from engine.screening import Screened, ScreeningData, screen
from engine.spec import Spec
from engine.spec_checks import Decompose
from engine.stationarity import Kpss
from engine.table import Panel

PRIOR_DRAWS = 64  # of media's parameters, for what is typical of them


class Prepared(NamedTuple):
    """Decisions, and what they rest on."""

    choices: Choices
    components: tuple[Components, ...]  # of every outcome, where it was decomposed
    screened: Screened | None


def prepare(spec: Spec, panel: Panel) -> Prepared:
    """Every check that `spec` declares, made on the first periods of `panel`.

    Raises SpecError where the declared consequence is a refusal, TableError for data that a check cannot be made on.
    """
    tests: tuple[Kpss, ...] = ()
    components: tuple[Components, ...] = ()
    screened, decomposed = None, False
    if spec.checks is not None and spec.checks.stationarity is not None:
        check = spec.checks.stationarity
        y = _outcomes(spec, panel, check.before)
        verdict = stationarity.judge(check, panel.series, y, spec.model.trend)
        tests, decomposed = verdict.tests, verdict.decomposed
        if decomposed and isinstance(check.consequence, Decompose):
            rule = check.consequence
            components = tuple(decomposition.decomposed(rule, n, y[:, s].tolist()) for s, n in enumerate(panel.series))
    if spec.checks is not None and spec.checks.screening is not None:
        limits = spec.checks.screening
        screened = screen(_screening(spec, panel, limits.before), spec.data.controls, limits)
    needed = _needed(spec)
    verdicts = () if screened is None else screened.verdicts
    dropped = tuple(v.control for v in verdicts if not v.kept and v.control not in needed)
    found = tuple(Test(**result._asdict()) for result in tests)
    return Prepared(Choices(tests=found, decomposed=decomposed, dropped=dropped), components, screened)


def _needed(spec: Spec) -> frozenset[str]:
    """Controls that other parts of the model are made of."""
    pairs = [name for pair in spec.model.controls.orthogonalise for name in (pair.control, pair.on)]
    return frozenset((*pairs, *(each.promotion for each in spec.model.cross_effects if each.promotion is not None)))


def _outcomes(spec: Spec, panel: Panel, before: int) -> np.ndarray:
    """(before, S) on the model's scale."""
    design, _ = designs.build(panel, spec, before)
    return np.asarray(design.y)[:before]


def _screening(spec: Spec, panel: Panel, before: int) -> ScreeningData:
    """What screening sees: outcomes, raw controls, and what the model has anyway, media at their priors' medians."""
    places = layout(spec)
    design, _ = designs.build(panel, spec, before)
    shape = (before, places.locations)
    y = np.asarray(design.y)[:before].reshape(*shape, places.outcomes)
    shared = np.asarray(jnp.concatenate([design.trend.columns, design.season, design.events], axis=1))[:before]
    common = np.broadcast_to(shared[:, None, :], (*shape, shared.shape[1]))
    transformed = np.asarray(jax.jit(_typical_media, static_argnums=0)(spec, design))[:before]
    return ScreeningData(y, panel.controls[:before], np.concatenate([common, transformed], axis=2))


def _typical_media(spec: Spec, design: Design) -> Array:
    """(T, L, M) media after carry-over and saturation, the mean over draws of the priors."""

    def one(key: Array) -> Array:
        drawn = seed(model.sample_parameters, key)(spec, design).media
        return media.response(spec.model.media, drawn, design.media)

    each = jax.lax.map(one, jax.random.split(stream(spec.seed, "prepare"), PRIOR_DRAWS))
    return jnp.sum(each, axis=0) / PRIOR_DRAWS
