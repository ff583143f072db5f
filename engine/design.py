"""From a panel and an origin to the arrays a model sees: scaled, planned past the origin, masked to one shape.

Every origin gives arrays of the same shapes, so one compiled program serves every window of a backtest. Nothing past
the origin leaks in: scales are taken from periods before it, and later media and controls follow the declared plan.

Arithmetic here is Python's and `math.fsum`'s (correctly rounded whatever the CPU); NumPy is only the container.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from engine import experiments, media, trend
from engine.adstock import lagged
from engine.errors import TableError
from engine.events import event_matrix
from engine.experiments import ExperimentData
from engine.media import MediaData
from engine.mediation import MediatorData
from engine.orthogonal import orthogonalised
from engine.reaction import Reaction, columns, none
from engine.seasonality import fourier
from engine.spec import Spec, period_dates
from engine.table import Panel
from engine.trend import TrendBasis


class Design(NamedTuple):
    """What a model is a function of, beside its parameters. T: the panel and the horizon; axes: `engine.layout`."""

    y: Array  # (T, S) scaled outcome; 0 where unknown
    weight: Array  # (T, S) likelihood weight; 0 past the origin
    known: Array  # (T, S) 1 where y is known
    error: Array  # (T, S) given sd of y on the model's scale; (T, 0) where none is given
    kpi_scale: Array  # (S,) what 1 on the model's scale is in the KPI's unit
    media: MediaData
    controls: Array  # (T, L, C) standardised by moments before the origin
    events: Array  # (T, event)
    trend: TrendBasis
    season: Array  # (T, harmonic)
    shift: Array  # (T, shift) what a break added to the mean
    shift_scale: Array  # (shift,) prior sd of each
    metric: Array  # (T, metric) what a break added to the log of the metric's scale
    metric_scale: Array  # (metric,)
    mediators: MediatorData
    promotion: Array  # (T, L, X) what each cross-effect is multiplied by
    tests: ExperimentData


class Scales(NamedTuple):
    """How to go back: outcome = scale * transform^-1(y)."""

    kpi: tuple[float, ...]  # (S,) mean outcome before the origin
    media: tuple[float, ...]  # (M,) mean spend, or reach, before the origin over all locations
    frequency: tuple[float, ...]  # (M,) mean frequency; 1 where none is given


def build(panel: Panel, spec: Spec, origin: int, asked: Reaction | None = None) -> tuple[Design, Scales]:
    """The design whose last known period is index origin-1 of `panel`, with planned covariates after it.

    asked: what a verdict asks of the fit (`engine.reaction`), default nothing. Preconditions: plan.year < origin <=
    time where the plan looks a year back. Raises TableError where an outcome cannot be put on the model's scale.
    """
    return _assemble(panel, spec, origin, planned=True, asked=asked)


def build_hindsight(panel: Panel, spec: Spec, origin: int, asked: Reaction | None = None) -> Design:
    """The same design, with the media and controls that then happened: for one-step residuals, never for forecasts."""
    return _assemble(panel, spec, origin, planned=False, asked=asked)[0]


def _assemble(panel: Panel, spec: Spec, origin: int, planned: bool, asked: Reaction | None) -> tuple[Design, Scales]:
    time, span = len(panel.periods), len(panel.periods) + spec.backtest.horizon
    asked = asked or none(origin, spec.backtest.horizon)
    until = origin if planned else time
    year = float(spec.plan.year)
    scales = _scales(panel, origin)
    controls = _extended(panel.controls, until, span, spec.plan.controls, spec)
    weight = np.zeros((span, 1))
    weight[:origin, 0] = asked.weight
    known = np.zeros((span, panel.kpi.shape[1]))
    known[:origin] = 1.0
    design = Design(
        y=jnp.asarray(_scaled_outcome(panel, spec, scales, origin, span)),
        weight=jnp.asarray(known * weight),
        known=jnp.asarray(known),
        error=jnp.asarray(_error(panel, spec, scales, until, span)),
        kpi_scale=jnp.asarray(scales.kpi),
        media=_media(panel, spec, scales, origin, until, span),
        controls=jnp.asarray(_standardised(_orthogonal(spec, controls, origin), origin)),
        events=jnp.asarray(_events(panel, spec, span)),
        trend=trend.basis(spec.model.trend, span, origin, year),
        season=fourier(spec.model.seasons, span),
        shift=jnp.asarray(columns(asked.terms, span, year)),
        shift_scale=jnp.asarray([term.scale for term in asked.terms]),
        metric=jnp.asarray(columns(asked.metric, span, year)),
        metric_scale=jnp.asarray([term.scale for term in asked.metric]),
        mediators=_mediators(panel, spec, origin, span),
        promotion=jnp.asarray(_promotion(spec, controls)),
        tests=experiments.build(panel, spec, origin, scales.media, span),
    )
    return design, scales


def _scales(panel: Panel, origin: int) -> Scales:
    rated = panel.frequency.shape[2] > 0
    return Scales(
        kpi=tuple(_mean(panel.kpi[:origin, s].tolist()) for s in range(panel.kpi.shape[1])),
        media=tuple(_mean(panel.media[:origin, :, m].ravel().tolist()) for m in range(panel.media.shape[2])),
        frequency=tuple(
            _mean(panel.frequency[:origin, :, m].ravel().tolist()) if rated else 1.0
            for m in range(panel.media.shape[2])
        ),
    )


def _media(panel: Panel, spec: Spec, scales: Scales, origin: int, until: int, span: int) -> MediaData:
    lags = spec.model.media.adstock.max_lag
    spend = _extended(panel.media, until, span, spec.plan.media, spec)
    frequency = _extended(panel.frequency, until, span, spec.plan.media, spec)
    divisor = jnp.asarray(scales.frequency[: frequency.shape[2]])
    return media.build(
        spec,
        lagged(jnp.asarray(spend) / jnp.asarray(scales.media), lags),
        jnp.asarray(frequency) / divisor,
        panel.media[:origin],
        span,
        origin,
    )


def _error(panel: Panel, spec: Spec, scales: Scales, until: int, span: int) -> np.ndarray:
    """Given errors on the model's scale: over the mean outcome, or over the outcome itself where it is in logs."""
    out = np.zeros((panel.error.shape[0], panel.error.shape[1]))
    for t, s in np.ndindex(*out.shape):
        by = float(panel.kpi[t, s]) if spec.model.outcome == "log" else scales.kpi[s]
        out[t, s] = float(panel.error[t, s]) / by
    return _extended(out, until, span, "recent_mean", spec)


def _mediators(panel: Panel, spec: Spec, origin: int, span: int) -> MediatorData:
    """Standardised by what was seen before the origin, over all locations; nothing is seen past it.

    In the model's order; a latent one is never seen. Raises TableError where one that is declared full has a gap.
    """
    columns = [column.name for column in spec.data.mediators]
    shape = (span, len(panel.locations), len(spec.model.mediators))
    seen, mask = np.zeros(shape), np.zeros(shape)
    for n, mediator in enumerate(spec.model.mediators):
        if mediator.kind == "latent":
            continue
        before = panel.mediators[:origin, :, columns.index(mediator.name)]
        values = [value for value in before.ravel().tolist() if not math.isnan(value)]
        if mediator.kind == "full" and len(values) < before.size:
            raise TableError(
                f"mediator {mediator.name}: expected a value in every known period and location of a full one, "
                f"found {before.size - len(values)} empty"
            )
        if values:
            _standardise_seen(before, values, seen[:, :, n], mask[:, :, n])
    return MediatorData(jnp.asarray(seen), jnp.asarray(mask))


def _standardise_seen(before: np.ndarray, values: Sequence[float], seen: np.ndarray, mask: np.ndarray) -> None:
    """Writes the standardised cells of `before` (origin, L) into `seen` (T, L), and 1 into `mask` at each."""
    middle = math.fsum(values) / len(values)
    spread = math.sqrt(math.fsum((value - middle) ** 2 for value in values) / len(values)) or 1.0
    for t, place in np.ndindex(*before.shape):
        if not math.isnan(before[t, place]):
            seen[t, place], mask[t, place] = (float(before[t, place]) - middle) / spread, 1.0


def _orthogonal(spec: Spec, controls: np.ndarray, origin: int) -> np.ndarray:
    return orthogonalised(controls, [c.name for c in spec.data.controls], spec.model.controls.orthogonalise, origin)


def _promotion(spec: Spec, controls: np.ndarray) -> np.ndarray:
    """(T, L, X): the promotion's own values, 1 where an effect has none. Raises TableError outside 0 to 1."""
    names = [column.name for column in spec.data.controls]
    out = np.ones((*controls.shape[:2], len(spec.model.cross_effects)))
    for x, each in enumerate(spec.model.cross_effects):
        if each.promotion is None:
            continue
        out[:, :, x] = controls[:, :, names.index(each.promotion)]
        low, high = float(out[:, :, x].min()), float(out[:, :, x].max())
        if low < 0.0 or high > 1.0:
            raise TableError(f"control {each.promotion}: expected 0 to 1, as a promotion, found {low!r} to {high!r}")
    return out


def _mean(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return mean if mean != 0.0 else 1.0  # a channel that never spent keeps its zeros


def _scaled_outcome(panel: Panel, spec: Spec, scales: Scales, origin: int, span: int) -> np.ndarray:
    transform = outcome_transform(spec)
    y = np.zeros((span, panel.kpi.shape[1]))
    for t in range(origin):
        for s, scale in enumerate(scales.kpi):
            value = float(panel.kpi[t, s]) / scale
            if spec.model.outcome == "log" and value <= 0.0:
                raise TableError(
                    f"kpi of {panel.series[s]} on {panel.periods[t]}: expected > 0 for outcome: log, "
                    f"found {float(panel.kpi[t, s])!r}"
                )
            y[t, s] = transform(value)
    return y


def outcome_transform(spec: Spec) -> Callable[[float], float]:
    """From outcome / scale to the model's y: log, or the deviation from 1."""
    return math.log if spec.model.outcome == "log" else (lambda value: value - 1.0)


def outcome_inverse(spec: Spec) -> Callable[[Array], Array]:
    """From the model's y back to outcome / scale."""
    return jnp.exp if spec.model.outcome == "log" else (lambda y: y + 1.0)


def _extended(x: np.ndarray, until: int, span: int, rule: str, spec: Spec) -> np.ndarray:
    """`x` up to `until`, then the plan: the same period a year earlier, or the mean of the recent periods."""
    out = np.zeros((span, *x.shape[1:]))
    out[:until] = x[:until]
    recent = np.zeros(x.shape[1:])
    for index in np.ndindex(*x.shape[1:]):
        recent[index] = math.fsum(x[(slice(max(until - spec.plan.recent, 0), until), *index)].tolist()) / min(
            spec.plan.recent, until
        )
    for t in range(until, span):
        out[t] = out[t - spec.plan.year] if rule == "last_year" else recent
    return out


def _standardised(x: np.ndarray, origin: int) -> np.ndarray:
    """Each control less its mean over its standard deviation, both per location and before the origin."""
    out = np.zeros_like(x)
    for index in np.ndindex(*x.shape[1:]):
        before = x[(slice(0, origin), *index)].tolist()
        if max(before) == min(before):
            continue  # its mean may be off by a rounding error, which would be all there is
        mean = math.fsum(before) / len(before)
        sd = math.sqrt(math.fsum((v - mean) ** 2 for v in before) / len(before))
        out[(slice(None), *index)] = (x[(slice(None), *index)] - mean) / sd
    return out


def _events(panel: Panel, spec: Spec, span: int) -> np.ndarray:
    periods = period_dates(panel.periods[0], spec.data.frequency_days, span)
    return event_matrix(periods, spec.data.frequency_days, spec.model.country, spec.model.events)
