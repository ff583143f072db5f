"""Experiments as likelihood terms: lift tests, and returns that are known from elsewhere.

    lift_e ~ Normal(L_e, error_e^2),            L_e = sum over measured t, l of  outcome - outcome without the test
    log median_r ~ Normal(log ROAS_r, sd_r^2),  ROAS_r = sum over known t, l of  outcome - outcome without the channel
                                                         / sum over known t, l of its spend
    outcome - outcome without = scale a                      where effects add (a: what spend added to the mean)
                              = scale exp(mean) (1 - exp(-a))  where they multiply

"Without" is a counterfactual: the channel's spend, and what of it is carried over, as it would have been; everything
else as it was. Effect that comes after the last measured period is not in a lift. On the log scale outcomes are
medians. A ROAS enters as what was measured of it, not as its density: the density of a LogNormal at ROAS has the
further factor 1 / ROAS, which would pull effects to zero as the evidence gets weaker. A test counts once all of its
measured periods are known: in a backtest not before. A ROAS counts from the first spend on.

What is added counts the channel's own effect, its interactions with other channels, and what goes through mediators.
What outcomes then do to one another (`engine.cross`) is the caller's to add, between `added` and `log_likelihood`.

Worked example: USD 500 of sales in a typical week, linear. In one location a test took all spend of a channel away that
adds .02 to the mean: without it sales are 10 a week lower. Measured over four weeks, the lift of spending is 40.

Sources: Zhang, Wurm, Li, Wakim, Kelly, Price & Liu (2024), "Media Mix Model Calibration With Bayesian Priors", Google
(returns, there as parameters); PyMC-Marketing, `add_lift_test_measurements` (tests as likelihood, there of the
saturation curve alone, without carry-over).
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array

from engine.adstock import lagged
from engine.errors import SpecError
from engine.media import MediaData, MediaParameters, Pairs, response, walk
from engine.spec import Spec
from engine.spec_experiments import Delta, LiftTest
from engine.spec_media import MediaSpec
from engine.table import Panel


class ExperimentData(NamedTuple):
    """What the terms are functions of, beside parameters. E tests, R returns, T = span, S series."""

    channel: Array  # (E,) int, media column
    altered: Array  # (T, location, E, lag) its scaled spend, or reach, without the test
    window: Array  # (T, S, E) 1 where the lift was counted
    lift: Array  # (E,)
    error: Array  # (E,)
    told: Array  # (E,) 1 where every measured period is known
    roi_channel: Array  # (R,) int
    roi_window: Array  # (T, S, R) 1 where the outcome is known
    roi_spend: Array  # (R,) in the channel's unit, over the known periods
    roi_log_median: Array  # (R,)
    roi_sd_log: Array  # (R,)
    roi_told: Array  # (R,) 1 where anything was spent


class Added(NamedTuple):
    """What the spend in question added to the mean of every series, on the model's scale."""

    lift: Array  # (T, S, E) by the tests
    roi: Array  # (T, S, R) by the channels as a whole


def build(panel: Panel, spec: Spec, origin: int, scale: tuple[float, ...], span: int) -> ExperimentData:
    """The experiments that `spec` declares, for a fit to the first `origin` periods of `panel`.

    scale: (M,) what media are divided by. Raises SpecError for dates that are no period's, and for a test that the
    table contradicts: spend that would have been below zero, or none where a holdout went without.
    """
    names = [column.name for column in spec.data.media]
    tests, priors = spec.model.lift_tests, spec.model.roi_priors
    channel, roi_channel = [names.index(test.channel) for test in tests], [names.index(r.channel) for r in priors]
    altered = np.zeros((span, len(panel.locations), len(tests)))
    window = np.zeros((span, panel.kpi.shape[1], len(tests)))
    told = [0.0] * len(tests)
    for e, test in enumerate(tests):
        altered[: len(panel.periods), :, e] = _without(panel, test, channel[e])
        first, last = (_period(panel, test, f"measured_{end}") for end in ("first", "last"))
        window[first : last + 1, _series(panel, test.outcome, _places(panel, test)), e] = 1.0
        told[e] = float(last < origin)
    everywhere = list(range(len(panel.locations)))
    roi_window = np.zeros((span, panel.kpi.shape[1], len(priors)))
    for r, prior in enumerate(priors):
        roi_window[:origin, _series(panel, prior.outcome, everywhere), r] = 1.0
    spent = [math.fsum(panel.media[:origin, :, m].ravel().tolist()) for m in roi_channel]
    divisor = jnp.asarray([scale[m] for m in channel])
    return ExperimentData(
        channel=jnp.asarray(channel, dtype=int),
        altered=lagged(jnp.asarray(altered) / divisor, spec.model.media.adstock.max_lag),
        window=jnp.asarray(window),
        lift=jnp.asarray([test.lift for test in tests]),
        error=jnp.asarray([test.error for test in tests]),
        told=jnp.asarray(told),
        roi_channel=jnp.asarray(roi_channel, dtype=int),
        roi_window=jnp.asarray(roi_window),
        roi_spend=jnp.asarray([value if value > 0.0 else 1.0 for value in spent]),
        roi_log_median=jnp.asarray([math.log(prior.median) for prior in priors]),
        roi_sd_log=jnp.asarray([prior.sd_log for prior in priors]),
        roi_told=jnp.asarray([float(value > 0.0) for value in spent]),
    )


def _places(panel: Panel, test: LiftTest) -> list[int]:
    return [panel.locations.index(name) for name in test.locations or panel.locations]


def _series(panel: Panel, outcome: str, places: list[int]) -> list[int]:
    return [place * len(panel.outcomes) + panel.outcomes.index(outcome) for place in places]


def _period(panel: Panel, test: LiftTest, field: str) -> int:
    """The index of the period that begins on the day in `field`."""
    day = getattr(test, field)
    if day not in panel.periods:
        raise SpecError(
            f"model.lift_tests.{test.name}.{field}: expected the first day of a period of the table "
            f"({panel.periods[0]} to {panel.periods[-1]}), found {day}"
        )
    return panel.periods.index(day)


def _without(panel: Panel, test: LiftTest, channel: int) -> np.ndarray:
    """(time, location) spend of the channel as it would have been without the test."""
    first, last = (_period(panel, test, f"spend_{end}") for end in ("first", "last"))
    spend = panel.media[:, :, channel].copy()
    where = f"model.lift_tests.{test.name}"
    change = test.change
    if not isinstance(change, Delta):
        cells = np.ix_(range(first, last + 1), _places(panel, test))
        if not np.any(spend[cells] > 0.0):
            raise SpecError(
                f"{where}: expected spend on {test.channel} between {test.spend_first} and {test.spend_last}, which a "
                f"holdout goes without, found none; where the test itself made the silence it is a delta below 0"
            )
        spend[cells] = 0.0
        return spend
    for t in range(first, last + 1):
        for place in _places(panel, test):
            before = float(spend[t, place]) - change.spend
            if before < 0.0:
                raise SpecError(
                    f"{where}.change.spend: expected at most {float(spend[t, place])!r}, what {panel.locations[place]} "
                    f"spent on {test.channel} on {panel.periods[t]}, found {change.spend!r}"
                )
            spend[t, place] = before
    return spend


def added(
    spec: MediaSpec, p: MediaParameters, data: MediaData, tests: ExperimentData, pairs: Pairs, indirect: Array
) -> Added:
    """What the tests' spend, and each channel with a known return, added to the mean of every series.

    indirect: (M, outcome) a channel's effect through mediators at full saturation, zeros without mediators.
    """
    actual = response(spec, p, data)
    change = actual[:, :, tests.channel] - response(spec, *_tested(p, data, tests))
    return Added(
        lift=_summed(spec, p, data, actual, change, tests.channel, pairs, indirect),
        roi=_summed(spec, p, data, actual, actual[:, :, tests.roi_channel], tests.roi_channel, pairs, indirect),
    )


def _tested(p: MediaParameters, data: MediaData, tests: ExperimentData) -> tuple[MediaParameters, MediaData]:
    """As if every test were a media column: its parameters, and its spend without the test."""
    channel = tests.channel
    frequency = data.frequency[:, :, channel] if data.frequency.shape[2] else data.frequency
    return (
        p._replace(adstock=p.adstock[:, channel], saturation=p.saturation[:, channel]),
        data._replace(spend=tests.altered, frequency=frequency, reach=data.reach[channel]),
    )


def _summed(
    spec: MediaSpec,
    p: MediaParameters,
    data: MediaData,
    actual: Array,
    change: Array,
    channel: Array,
    pairs: Pairs,
    indirect: Array,
) -> Array:
    """(T, S, E): what `change` (T, location, E) of transformed media of `channel` (E,) comes to, all else as it was."""
    span, locations, _ = change.shape
    slope = p.beta.reshape(locations, -1, p.beta.shape[1])[None, :, :, channel]  # (1, location, outcome, E)
    if spec.variation is not None:
        slope = slope * jnp.exp(walk(p, data))[:, None, None, channel]
    slope = slope + jnp.swapaxes(indirect, 0, 1)[:, channel]
    for i, (a, b) in enumerate(pairs):
        other = jnp.where(channel == a, actual[..., b, None], jnp.where(channel == b, actual[..., a, None], 0.0))
        slope = slope + other[:, :, None, :] * p.interaction[i][:, None]
    return (slope * change[:, :, None, :]).reshape(span, p.beta.shape[0], channel.shape[0])


def log_likelihood(
    outcome: Literal["linear", "log"], tests: ExperimentData, added: Added, mean: Array, kpi_scale: Array
) -> Array:
    """Log density of every lift and return that is told, given what spend added: ().

    mean: (T, S) of the outcomes on the model's scale as they happened; kpi_scale: (S,) what 1 is in the outcome's unit.
    Minus infinity where a channel with a known return has added nothing or less.
    """
    lifts = _counted(outcome, tests.window, added.lift, mean, kpi_scale)
    returns = _counted(outcome, tests.roi_window, added.roi, mean, kpi_scale) / tests.roi_spend
    of_lifts = jnp.where(tests.told > 0.0, dist.Normal(lifts, tests.error).log_prob(tests.lift), 0.0)
    sound = returns > 0.0
    log_return = jnp.log(jnp.where(sound, returns, 1.0))  # what is left out below must have a finite gradient too
    density = dist.Normal(log_return, tests.roi_sd_log).log_prob(tests.roi_log_median)
    of_returns = jnp.where(tests.roi_told > 0.0, jnp.where(sound, density, -jnp.inf), 0.0)
    return jnp.sum(of_lifts) + jnp.sum(of_returns)


def _counted(outcome: Literal["linear", "log"], window: Array, added: Array, mean: Array, kpi_scale: Array) -> Array:
    """Outcome less outcome without, summed over the window, in the outcome's unit: (E,)."""
    added = jnp.where(window > 0.0, added, 0.0)  # what lies outside may overflow, and 0 times infinity is no number
    if outcome == "log":
        added = jnp.exp(jnp.where(window > 0.0, mean[:, :, None], 0.0)) * -jnp.expm1(-added)
    return jnp.sum(jnp.sum(window * kpi_scale[:, None] * added, axis=1), axis=0)
