"""Trend terms: a line, a line that flattens past the origin, a level that wanders.

Glossary
--------
slope      of the line, per year; time is measured from the middle of the known periods, where level and slope are
           uncorrelated
damping    share of the slope that is left after each period past the origin (Gardner & McKenzie 1985,
           doi:10.1287/mnsc.31.10.1237): with .9 the line climbs at most nine more periods' worth
knot       a period from which on the wandering level has a step of its own, climbed in equal parts up to the next knot
Worked example: knots 4 periods apart and steps of .1 and -.2 make the levels 0, .025, .05, .075, .1, .05, 0, -.05, -.1
of the periods 0 to 8, less their mean over the known ones.

The wandering level is a random walk seen at its knots (Harvey 1989, Forecasting, Structural Time Series Models and the
Kalman Filter, section 2.3). Steps past the origin have no data: they keep their prior, and so the bands widen.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jax import Array

from engine.spec_model import Trend


def line(trend: Trend, span: int, origin: int, year: float) -> Array:
    """Years from the middle of the `origin` known periods, damped past them where that is declared: (span,)."""
    left = trend.damping if trend.kind == "damped" else 1.0
    years = []
    place, stride = -(origin - 1) / 2, 1.0
    for t in range(span):
        years.append(place / year)
        stride *= left if t >= origin - 1 else 1.0
        place += stride
    return jnp.asarray(years)


def steps(trend: Trend, span: int, origin: int, year: float) -> Array:
    """How much of each step the level has climbed, less the mean over the known periods: (span, knot).

    Scaled by sqrt(knot / year): independent steps of sd 1 make a walk whose sd after a year is 1. No knots, and so
    (span, 0), unless the level wanders.
    """
    first = range(0, span - 1, trend.knot) if trend.kind == "local_level" else ()
    unit = math.sqrt(trend.knot / year)
    out = np.zeros((span, len(first)))
    for k, begin in enumerate(first):
        climbed = [min(max((t - begin) / trend.knot, 0.0), 1.0) for t in range(span)]
        middle = math.fsum(climbed[:origin]) / origin
        out[:, k] = [(share - middle) * unit for share in climbed]
    return jnp.asarray(out)
