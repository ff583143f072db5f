"""Worlds whose truth is known: parameters drawn from a specification's own priors, outcomes made period by period.

Written from the equations in `engine.model`'s docstring, in NumPy and plain loops, not from its code: what depends on
covariates alone (`engine.model.levels`, which has twins of its own) is taken from the engine; residuals, states,
errors, disturbances of mediators, surveys and cross-effects are made here. Everything random comes in as `Shocks`, in
which a Gaussian world is linear: its whole covariance is that of a matrix that a test can write down.
"""

from __future__ import annotations

import math
import random
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jax import Array
from numpyro.handlers import seed as seeded

from engine.design import Design
from engine.layout import Layout, layout
from engine.model import Levels, Parameters, levels, sample_parameters
from engine.prng import stream
from engine.spec import Spec
from engine.table import Panel
from tests import classes


class Shocks(NamedTuple):
    """All that is random once parameters and covariates are given, in units of its own standard deviation."""

    innovation: np.ndarray  # (T, S) standard normal, or Student's t
    high: np.ndarray  # (T, S) 1 where a period is in its high state
    error: np.ndarray  # (T, S) of measurement, where errors are given
    disturbance: np.ndarray  # (T, L, N)
    survey: np.ndarray  # (T, L, N)


class Seen(NamedTuple):
    """What a world shows."""

    y: np.ndarray  # (T, S) on the model's scale
    mediators: np.ndarray  # (T, L, N) standardised, as a survey finds them


class World(NamedTuple):
    """One world: what is known of it, what made it, and what happened, the future included."""

    design: Design
    truth: Parameters
    y: np.ndarray  # (T, S)


class Maker:
    """Makes worlds of one specification; programs are compiled once for all of them."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._drawn = jax.jit(partial(_drawn, spec))
        self._levels = jax.jit(partial(levels, spec))

    def expected(self, truth: Parameters, design: Design) -> Levels:
        """What covariates alone let expect."""
        found: Levels = self._levels(truth, design)
        return found

    def drawn(self, design: Design, seed: int) -> Parameters:
        """Parameters drawn from the priors."""
        found: Parameters = self._drawn(design, stream(seed, "world", "truth"))
        return found

    def world(self, design: Design, seed: int, truth: Parameters | None = None) -> World:
        """A world with the covariates of `design`, of which its known periods are known.

        truth: None: drawn from the priors. Precondition: `design` is of no break (`engine.reaction`) and no experiment.
        """
        truth = self.drawn(design, seed) if truth is None else truth
        shocks = drawn_shocks(self._spec, truth, design, stream(seed, "world", "shocks"))
        seen = outcomes(self._spec, truth, design, self.expected(truth, design), shocks)
        known, mask = np.asarray(design.known), np.asarray(design.mediators.mask)
        observed = design.mediators._replace(seen=jax.numpy.asarray(seen.mediators * mask))
        shown = design._replace(y=jax.numpy.asarray(seen.y * known), mediators=observed)
        return World(shown, truth, seen.y)


def _drawn(spec: Spec, design: Design, key: Array) -> Parameters:
    found: Parameters = seeded(sample_parameters, key)(spec, design)
    return found


def drawn_shocks(spec: Spec, truth: Parameters, design: Design, key: Array) -> Shocks:
    """Independent shocks of the laws that `spec` declares."""
    places = layout(spec)
    time = design.y.shape[0]
    keys = jax.random.split(key, 6)
    innovation = np.asarray(jax.random.normal(keys[0], (time, places.series)))
    nu = float(truth.noise.nu)
    if np.isfinite(nu):  # t = z / sqrt(chi^2 / nu)
        square = 2.0 * np.asarray(jax.random.gamma(keys[1], nu / 2.0, innovation.shape))
        innovation = innovation / np.sqrt(square / nu)
    shape = (time, places.locations, len(spec.model.mediators))
    return Shocks(
        innovation=innovation,
        high=np.asarray(jax.random.uniform(keys[2], innovation.shape)) < float(truth.noise.share),
        error=np.asarray(jax.random.normal(keys[3], innovation.shape)),
        disturbance=np.asarray(jax.random.normal(keys[4], shape)),
        survey=np.asarray(jax.random.normal(keys[5], shape)),
    )


def outcomes(spec: Spec, truth: Parameters, design: Design, expected: Levels, shocks: Shocks) -> Seen:
    """Period by period, location by location: mediators, innovations, residuals, then outcomes that move each other."""
    places, noise = layout(spec), jax.tree.map(np.asarray, truth.noise)
    mediation = jax.tree.map(np.asarray, truth.mediation)
    level, built = np.asarray(expected.outcome), np.asarray(expected.mediator)
    promotion, given = np.asarray(design.promotion), np.asarray(design.error)
    effect = np.asarray(truth.cross.cross)
    size = places.outcomes
    y, mediators = np.zeros(level.shape), np.zeros(built.shape)
    for place in range(places.locations):
        own = slice(place * size, (place + 1) * size)
        residual, before = np.zeros(size), np.zeros(size)
        for t in range(level.shape[0]):
            error = given[t, own] if given.shape[1] else np.zeros(size)
            innovation = _innovation(spec, noise.sigma[own], noise.factor, error, shocks, t, own)
            innovation = innovation + np.where(shocks.high[t, own], noise.gap[own], 0.0)
            first = 1.0 / np.sqrt(1.0 - noise.rho**2)  # a stationary start
            residual = noise.rho * residual + innovation if t else first * innovation
            moved = mediation.mediator_noise * shocks.disturbance[t, place]
            mediators[t, place] = built[t, place] + moved + mediation.survey_noise * shocks.survey[t, place]
            now, then = _between(places, effect, promotion[t, place])
            right = level[t, own] + moved @ mediation.mediator_effect + residual + then @ before
            before = np.linalg.solve(np.eye(size) - now, right)
            y[t, own] = before
    return Seen(y, mediators)


def _innovation(
    spec: Spec, sigma: np.ndarray, factor: np.ndarray, error: np.ndarray, shocks: Shocks, t: int, own: slice
) -> np.ndarray:
    """Of one location and period: (O,)."""
    z = shocks.innovation[t, own]
    if spec.model.covariance is None:  # a given error is of the innovation's own law
        return np.asarray(np.sqrt(sigma**2 + error**2) * z)
    scatter = factor @ (sigma * z) if spec.model.covariance.kind == "ldl" else sigma * (factor @ z)
    return np.asarray(scatter + error * shocks.error[t, own])


def _between(places: Layout, effect: np.ndarray, promotion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Psi and Phi of one location and period: (O, O) each, a row an outcome that is moved."""
    now, then = np.zeros((places.outcomes, places.outcomes)), np.zeros((places.outcomes, places.outcomes))
    for x, each in enumerate(places.cross):
        (then if each.lagged else now)[each.target, each.source] += effect[x] * promotion[x]
    return now, then


def panel(of: Spec, seed: int, time: int) -> Panel:
    """Covariates that can tell parameters apart: flights of media, a price that wanders; outcomes that nobody uses.

    Channels are on and silent by turns, the first, third, ... for 3 to 8 and 2 to 6 periods, the others for 8 to 20 and
    3 to 6: what a channel adds that is always on and saturated, the level adds as well. Levels are lognormal
    with sd .7, and differ between locations by up to a half. The rest is as `tests.classes.panel` makes it, given
    errors spread by a factor of e.
    """
    draw = random.Random(seed)
    base = classes.panel(of, seed, time)
    media = np.zeros(base.media.shape)
    for m, column in enumerate(of.data.media):
        rows = [_flown(draw, time, m % 2 == 0, 100.0 * draw.uniform(0.5, 1.5)) for _ in base.locations]
        for place in range(len(base.locations)):
            media[:, place, m] = rows[0 if column.national else place]
    frequency = _lognormal(draw, base.frequency.shape, 1.0, 0.5)
    error = base.error * _lognormal(draw, base.error.shape, 0.0, 1.0)
    return base._replace(media=media, frequency=frequency, error=error)


def _lognormal(draw: random.Random, shape: tuple[int, ...], mean: float, sd: float) -> np.ndarray:
    return np.asarray([draw.lognormvariate(mean, sd) for _ in range(math.prod(shape))]).reshape(shape)


def _flown(draw: random.Random, time: int, flights: bool, level: float) -> list[float]:
    """Spend of one channel in one location."""
    on, off = ((3, 8), (2, 6)) if flights else ((8, 20), (3, 6))
    out: list[float] = []
    while len(out) < time:
        out += [level * draw.lognormvariate(0.0, 0.7) for _ in range(draw.randint(*on))]
        out += [0.0] * draw.randint(*off)
    return out[:time]
