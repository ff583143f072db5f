"""Correlated controls made uncorrelated: one is replaced by what another leaves unexplained of it.

    r[t] = z[t] - a - b w[t],  b = sum_t (w[t] - w~)(z[t] - z~) / sum_t (w[t] - w~)^2,  a = z~ - b w~

a and b are estimated on periods before an origin, per location, and applied to all periods: what comes later changes
nothing before it. The coefficient of w is then that of a regression without z: what both share is counted as w's
(Frisch & Waugh 1933, doi:10.2307/1907330). Which of a pair is replaced is therefore declared, and never chosen by fit.

Arithmetic is Python's and `math.fsum`'s; NumPy is only the container.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from engine.errors import TableError
from engine.spec_controls import Orthogonal

COLLINEAR = 1e-12  # share of variance left, below which a residual is the rounding of the sums it comes from


class Line(NamedTuple):
    """a + b w."""

    intercept: float
    slope: float


def orthogonalised(controls: np.ndarray, names: Sequence[str], pairs: Sequence[Orthogonal], origin: int) -> np.ndarray:
    """`controls` (T, L, C) with each pair's control replaced by its residual, one pair after the other.

    Over the first `origin` periods every pair is then uncorrelated at each location. A control that is constant there
    explains nothing: residuals on it are deviations from the mean. Precondition: 2 <= origin <= T; names (C,) hold
    those of `pairs`. Raises TableError for a control that its partner explains wholly.
    """
    out = np.array(controls, dtype=np.float64)
    for pair in pairs:
        z, w = names.index(pair.control), names.index(pair.on)
        for place in range(out.shape[1]):
            column, on = out[:, place, z].tolist(), out[:, place, w].tolist()
            line = regression(column[:origin], on[:origin])
            residual = [value - (line.intercept + line.slope * other) for value, other in zip(column, on, strict=True)]
            _require_left(pair, place, column[:origin], residual[:origin])
            out[:, place, z] = residual
    return out


def regression(z: Sequence[float], w: Sequence[float]) -> Line:
    """Of z on w by least squares; slope 0 where either is constant. Precondition: as many of both, at least one."""
    if max(z) == min(z):  # its mean may be off by a rounding error, which would then be all there is
        return Line(z[0], 0.0)
    z_mean, w_mean = math.fsum(z) / len(z), math.fsum(w) / len(w)
    if max(w) == min(w):
        return Line(z_mean, 0.0)
    slope = math.fsum((b - w_mean) * (a - z_mean) for a, b in zip(z, w, strict=True)) / _squares(w)
    return Line(z_mean - slope * w_mean, slope)


def _squares(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values)


def _require_left(pair: Orthogonal, place: int, before: Sequence[float], after: Sequence[float]) -> None:
    """Standardising a column of rounding errors would make a control of it."""
    if max(before) == min(before):
        return
    left = math.fsum(value * value for value in after) / _squares(before)
    if left < COLLINEAR:
        raise TableError(
            f"control {pair.control} at location {place}: expected a part that {pair.on} does not explain, found "
            f"{left:.1e} of its variance; one of the two says all that both say, leave the other out"
        )
