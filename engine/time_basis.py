"""Functions of time that a trend, or any coefficient that moves, is a weighted sum of.

Glossary
--------
span        periods of the table and of the horizon after it: how many rows a basis has. How many columns follows from
            the span alone, never from the origin, so one compiled program serves every origin
origin      how many periods are known, the first rows; a column that is centred has mean 0 over them, so that the
            level is the mean of what is known
year        periods in a year: slopes are per year, and steps of sd 1 make a walk whose sd after a year is 1
knot        a period from which on a walk has a step of its own, climbed in equal parts up to the next knot
Worked example: knots 4 periods apart and steps of .1 and -.2 make the levels 0, .025, .05, .075, .1, .05, 0, -.05, -.1
of the periods 0 to 8, less their mean over the known ones.

Knots go on past the origin. What turns there has no data, keeps its prior, and so the bands widen.
Arithmetic is Python's: `math.fsum` is correctly rounded whatever the CPU. Preconditions of all: span >= 2, 1 <= origin
<= span.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from engine.errors import SpecError
from engine.spec_trend import Hsgp, Kernel

# functions >= WAVES boundary half / lengthscale (Riutort-Mayol et al. 2023, section 4)
WAVES = {"matern_5_2": 2.65, "squared_exponential": 1.75}
# at twice as many lengthscales the kernel has fallen to .01
EDGE = {"matern_5_2": 1.8, "squared_exponential": 1.55}

_MATERN = math.sqrt(16.0 / 3.0 * 25.0 * math.sqrt(5.0))
_GAUSSIAN = math.sqrt(math.sqrt(2.0 * math.pi))


class Hilbert(NamedTuple):
    """Eigenfunctions of the Laplacian on [-L, L] that vanish at both ends, and their frequencies."""

    functions: Array  # (span, m) sqrt(1/L) sin(omega (x + L)), x in years from the middle of the span
    frequencies: Array  # (m,) omega = pi j / (2 L), the roots of the eigenvalues, per year


def line(span: int, origin: int, year: float, damping: float) -> Array:
    """Years from the middle of the known periods; past them each period is `damping` of the one before: (span, 1).

    With .9 the line climbs at most nine more periods' worth past the origin; with 1 it goes on for ever.
    Source: Gardner & McKenzie (1985), doi:10.1287/mnsc.31.10.1237.
    """
    years = []
    place, stride = -(origin - 1) / 2, 1.0
    for t in range(span):
        years.append(place / year)
        stride *= damping if t >= origin - 1 else 1.0
        place += stride
    return jnp.asarray(years)[:, None]


def random_walk(span: int, origin: int, knot: int, year: float) -> Array:
    """How much of each step a walk has climbed, centred, in units of sqrt(knot / year): (span, ceil((span-1) / knot)).

    Source: Harvey (1989), Forecasting, Structural Time Series Models and the Kalman Filter, section 2.3.
    """
    columns = [[min(max((t - begin) / knot, 0.0), 1.0) for t in range(span)] for begin in range(0, span - 1, knot)]
    return centred(_matrix(span, columns), origin) * math.sqrt(knot / year)


def hinges(span: int, origin: int, knots: Sequence[int], year: float) -> Array:
    """Years since each knot, 0 before it, centred: (span, len(knots)); a coefficient is a change of slope per year.

    Source: Taylor & Letham (2018), doi:10.1080/00031305.2017.1380080, section 3.1.2.
    """
    return centred(_matrix(span, [[max(t - c, 0) / year for t in range(span)] for c in knots]), origin)


def bspline(span: int, degree: int, knot: int) -> Array:
    """B-splines of degree >= 1 on knots evenly `knot` periods apart, from before the first period to past the last.

    (span, ceil((span-1) / knot) + degree), not centred: each row is at least 0 and adds up to 1.
    """
    return _matrix(span, _bspline(span, degree, knot))


def spline_walk(span: int, origin: int, degree: int, knot: int, year: float) -> Array:
    """What each step of a walk of B-spline coefficients adds, centred, in units of sqrt(knot / year).

    (span, ceil((span-1) / knot) + degree - 1): column j is the sum of the B-splines after the j-th, and rises from 0
    to 1. Of degree 1 it is `random_walk`.
    Source: Lang & Brezger (2004), doi:10.1198/1061860043010, section 2.1 (first-order walks).
    """
    splines = _bspline(span, degree, knot)
    risen = [[math.fsum(b[t] for b in splines[j:]) for t in range(span)] for j in range(1, len(splines))]
    return centred(_matrix(span, risen), origin) * math.sqrt(knot / year)


def _bspline(span: int, degree: int, knot: int) -> list[list[float]]:
    """Columns, by the recursion of Cox and de Boor: de Boor (1978), A Practical Guide to Splines, chapter X."""
    intervals = -(-(span - 1) // knot)
    u = [[t / knot + degree - i for t in range(span)] for i in range(intervals + 2 * degree)]  # knots since the i-th
    splines = [[1.0 if 0.0 <= v < 1.0 else 0.0 for v in row] for row in u]
    for d in range(1, degree + 1):  # one spline fewer each time: intervals + degree are left
        splines = [
            [(v * b + (d + 1 - v) * c) / d for v, b, c in zip(u[i], splines[i], splines[i + 1], strict=True)]
            for i in range(len(splines) - 1)
        ]
    return splines


def hsgp(span: int, functions: int, boundary: float, year: float) -> Hilbert:
    """The basis of a Gaussian process of time over the whole span, L = boundary times half of it; not centred.

    Sources: Solin & Särkkä (2020), doi:10.1007/s11222-019-09886-w; Riutort-Mayol, Bürkner, Andersen, Solin & Vehtari
    (2023), doi:10.1007/s11222-022-10167-2, section 3.
    """
    half = (span - 1) / 2 / year
    L = boundary * half
    omega = [math.pi * j / (2.0 * L) for j in range(1, functions + 1)]
    columns = [[math.sin(w * (t / year - half + L)) / math.sqrt(L) for t in range(span)] for w in omega]
    return Hilbert(_matrix(span, columns), jnp.asarray(omega))


def _matrix(span: int, columns: Sequence[Sequence[float]]) -> Array:
    """(span, column)."""
    out = np.zeros((span, len(columns)))
    for k, column in enumerate(columns):
        out[:, k] = column
    return jnp.asarray(out)


def centred(basis: Array, origin: int) -> Array:
    """`basis` (span, column) less each column's mean over the first `origin` rows, the known periods."""
    out = np.array(basis)
    for k in range(out.shape[1]):
        out[:, k] -= math.fsum(out[:origin, k].tolist()) / origin
    return jnp.asarray(out)


def spectral_sd(kernel: Kernel, amplitude: Array, lengthscale: Array, frequencies: Array) -> Array:
    """Prior sd of each coefficient of `hsgp`, the root of the kernel's spectral density: (m, series).

    amplitude, lengthscale: (series,) > 0. Source: Riutort-Mayol et al. (2023), section 3, in one dimension.
    """
    u = lengthscale * frequencies[:, None]
    if kernel == "squared_exponential":
        return amplitude * _GAUSSIAN * jnp.sqrt(lengthscale) * jnp.exp(-0.25 * u * u)
    v = 5.0 + u * u
    return amplitude * _MATERN * jnp.sqrt(lengthscale) / (v * jnp.sqrt(v))


def gaussian_process(process: Hsgp, span: int, origin: int, year: float, of: str) -> Hilbert:
    """The basis of a declared process, centred over the known periods.

    Raises SpecError, naming the part `of`, unless it is right for the middle two thirds of the lengthscale's prior.
    """
    factor = math.exp(process.lengthscale_log_sd)
    likely = (process.lengthscale / factor, process.lengthscale * factor)
    require_resolved(process, likely, (span - 1) / 2 / year, of)
    functions, frequencies = hsgp(span, process.functions, process.boundary, year)
    return Hilbert(centred(functions, origin), frequencies)


def require_resolved(process: Hsgp, lengthscales: tuple[float, float], half: float, of: str) -> None:
    """Raises SpecError where `hsgp` is not within 2 % of the variance for lengthscales (shortest, longest), in years.

    With endless functions the basis has the covariance k(x - x') - k(x + x' + 2L) and so on, its images mirrored at
    the ends (Poisson's sum): the edge of the span is 2 (boundary - 1) half away from its own. The boundary of 1.2 that
    Riutort-Mayol et al. (2023) call the least can lose a quarter of the variance there, where the forecast is.
    half: of the span, in years; of: the part, for the message.
    """
    shortest, longest = lengthscales
    wide = 1.0 + EDGE[process.kernel] * longest / half
    if process.boundary < wide:
        raise SpecError(
            f"{of}.boundary: expected at least {wide:.3f} for lengthscales up to {longest:.3f} years over "
            f"{2.0 * half:.3f}, found {process.boundary:g}"
        )
    many = math.ceil(WAVES[process.kernel] * process.boundary * half / shortest)
    if process.functions < many:
        raise SpecError(
            f"{of}.functions: expected at least {many} for lengthscales from {shortest:.3f} years over "
            f"{2.0 * half:.3f} with boundary {process.boundary:g}, found {process.functions}"
        )
