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

from engine.errors import TableError
from engine.events import event_matrix
from engine.reaction import Reaction, columns, none
from engine.seasonality import fourier_basis
from engine.spec import Spec, period_dates
from engine.table import Panel
from engine.transforms import lagged
from engine.trend import line, steps


class Design(NamedTuple):
    """What a model is a function of, beside its parameters. `span` = periods of the panel + horizon."""

    y: Array  # (span, location) scaled outcome; 0 where unknown
    weight: Array  # (span, location) likelihood weight; 0 past the origin
    known: Array  # (span, location) 1 where y is known
    media: Array  # (span, location, channel, lag) spend scaled by its mean before the origin
    controls: Array  # (span, location, control) standardised by moments before the origin
    events: Array  # (span, event)
    trend: Array  # (span,) years from the middle of the known periods
    steps: Array  # (span, knot) of a wandering level
    season: Array  # (span, 2 harmonics)
    shift: Array  # (span, shift) what a break added to the mean
    shift_scale: Array  # (shift,) prior sd of each
    metric: Array  # (span, metric) what a break added to the log of the metric's scale
    metric_scale: Array  # (metric,)


class Scales(NamedTuple):
    """How to go back: outcome = scale * transform^-1(y)."""

    kpi: tuple[float, ...]  # (location,) mean outcome before the origin
    media: tuple[float, ...]  # (channel,) mean spend before the origin over all locations


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
    scales = Scales(
        kpi=tuple(_mean(panel.kpi[:origin, g].tolist()) for g in range(len(panel.locations))),
        media=tuple(_mean(panel.media[:origin, :, m].ravel().tolist()) for m in range(panel.media.shape[2])),
    )
    until = origin if planned else time
    year = float(spec.plan.year)
    media = _extended(panel.media, until, span, spec.plan.media, spec)
    controls = _extended(panel.controls, until, span, spec.plan.controls, spec)
    known = np.zeros((span, len(panel.locations)))
    known[:origin] = 1.0
    weight = np.zeros((span, 1))
    weight[:origin, 0] = asked.weight
    design = Design(
        y=jnp.asarray(_scaled_outcome(panel, spec, scales, origin, span)),
        weight=jnp.asarray(known * weight),
        known=jnp.asarray(known),
        media=lagged(jnp.asarray(media) / jnp.asarray(scales.media), spec.model.adstock.max_lag),
        controls=jnp.asarray(_standardised(controls, origin)),
        events=jnp.asarray(_events(panel, spec, span)),
        trend=line(spec.model.trend, span, origin, year),
        steps=steps(spec.model.trend, span, origin, year),
        season=fourier_basis(span, spec.model.season.period, spec.model.season.harmonics),
        shift=jnp.asarray(columns(asked.terms, span, year)),
        shift_scale=jnp.asarray([term.scale for term in asked.terms]),
        metric=jnp.asarray(columns(asked.metric, span, year)),
        metric_scale=jnp.asarray([term.scale for term in asked.metric]),
    )
    return design, scales


def _mean(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return mean if mean != 0.0 else 1.0  # a channel that never spent keeps its zeros


def _scaled_outcome(panel: Panel, spec: Spec, scales: Scales, origin: int, span: int) -> np.ndarray:
    transform = outcome_transform(spec)
    y = np.zeros((span, len(panel.locations)))
    for t in range(origin):
        for g, scale in enumerate(scales.kpi):
            value = float(panel.kpi[t, g]) / scale
            if spec.model.outcome == "log" and value <= 0.0:
                raise TableError(
                    f"kpi of {panel.locations[g]} on {panel.periods[t]}: expected > 0 for outcome: log, "
                    f"found {float(panel.kpi[t, g])!r}"
                )
            y[t, g] = transform(value)
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
        mean = math.fsum(before) / len(before)
        sd = math.sqrt(math.fsum((v - mean) ** 2 for v in before) / len(before))
        if sd > 0.0:
            out[(slice(None), *index)] = (x[(slice(None), *index)] - mean) / sd
    return out


def _events(panel: Panel, spec: Spec, span: int) -> np.ndarray:
    periods = period_dates(panel.periods[0], spec.data.frequency_days, span)
    return event_matrix(periods, spec.data.frequency_days, spec.model.country, spec.model.events)
