"""From the registered specification to the model that is fitted: what checks before the fit decided, as declared.

Every decision rests on periods before a declared index, which lies before the first past forecast; it is recorded, and
the same everywhere after. Nothing is decided where no check is declared.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.handlers import seed

from engine import decomposition, media, model, stationarity
from engine import design as designs
from engine.declared import Frozen
from engine.decomposition import Components
from engine.design import Design
from engine.layout import layout
from engine.prng import stream
from engine.screening import Screened, ScreeningData, screen
from engine.spec import Spec, parse_spec
from engine.spec_checks import Decompose
from engine.stationarity import Kpss
from engine.table import Panel

PRIOR_DRAWS = 64  # of media's parameters, for what is typical of them


class Test(Frozen):
    """One series' KPSS test (`engine.stationarity.Kpss`)."""

    series: str
    statistic: float
    critical: float
    lags: int
    p_value: float
    p_is: Literal["equal", "at_most", "at_least"]
    stationary: bool


class Choices(Frozen):
    """What the checks decided: the trend, and the controls that the model goes without."""

    tests: tuple[Test, ...]
    decomposed: bool  # the trend declared for outcomes that are not stationary took the model's place
    dropped: tuple[str, ...]  # controls


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


def chosen(spec: Spec, choices: Choices) -> Spec:
    """`spec` with what was decided in place: the specification of the model that is fitted.

    Raises SpecError where a selection prior is left with too few controls.
    """
    check = spec.checks.stationarity if spec.checks is not None else None
    declared = spec.model
    if choices.decomposed and check is not None and isinstance(check.consequence, Decompose):
        declared = declared.model_copy(update={"trend": check.consequence.trend})
    controls = tuple(column for column in spec.data.controls if column.name not in choices.dropped)
    selection = declared.controls.selection
    if choices.dropped and selection is not None:
        left = tuple(name for name in selection.controls if name not in choices.dropped)
        kept = selection.model_copy(update={"controls": left}) if left else None
        declared = declared.model_copy(update={"controls": declared.controls.model_copy(update={"selection": kept})})
    data = spec.data.model_copy(update={"controls": controls})
    found = spec.model_copy(update={"data": data, "model": declared})
    return parse_spec(found.model_dump_json().encode())  # what was put together is as valid as what was declared


def kept_panel(panel: Panel, spec: Spec, choices: Choices) -> Panel:
    """`panel`, of the registered `spec`, without the controls that were dropped."""
    left = [c for c, column in enumerate(spec.data.controls) if column.name not in choices.dropped]
    return panel._replace(controls=panel.controls[:, :, left])
