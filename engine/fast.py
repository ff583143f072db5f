"""The fast twin: ridge with media effects that are not negative, for iteration only. Its results are never released.

    y[t,l] = level[l] + basis[t] . c + controls[t,l] . d + sum_m b[m] x[t,l,m] + e,   b >= 0

x are media after carry-over and saturation under fixed parameters, of which each channel has those that forecast best
(`engine.fast_choice`); level has no penalty, c, d and b have (`engine.fast_ridge`). Intervals are the percentiles of a
bootstrap (`engine.fast_bootstrap`).

No priors, curves from a short list, and NumPy, SciPy and LAPACK compute: bytes differ between machines. So every result
says that it is released never, and none is on the replayed path.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engine.effect_table import NUMBER, TEXT, WHOLE, schema, table
from engine.errors import SpecError
from engine.fast_bootstrap import rechosen, resampled
from engine.fast_choice import choose
from engine.fast_ridge import coefficients, degrees, eliminate, problem, solve
from engine.spec_fast import FastSpec, Shape

Floats = npt.NDArray[np.float64]
Release = Literal["never"]


class FastData(NamedTuple):
    """Known periods only. T periods, L locations, O outcomes, S = L O series (location-major), M channels."""

    y: Floats  # (T, S) on the model's scale
    media: Floats  # (T, L, M, lag) spend over its mean, 0 .. lag-1 periods ago
    basis: Floats  # (T, K) trend, season, events
    controls: Floats  # (T, L, C) standardised


class FastResult(NamedTuple):
    """What the twin says. Contributions are on the model's scale: with a linear one, shares of the mean outcome."""

    release: Release
    shape: npt.NDArray[np.int64]  # (S, M) which transformation
    effect: Floats  # (S, M) b
    control: Floats  # (S, C) d
    fitted: Floats  # (T, S)
    contribution: Floats  # (S, M) mean over periods
    lower: Floats  # (S, M) its interval
    upper: Floats  # (S, M)
    error: Floats  # (S,) root mean square of the rolling forecasts


class _Group(NamedTuple):
    """One regression: an outcome at one location, or at all of them."""

    effect: Floats  # (M,)
    control: Floats  # (C,)
    shape: tuple[int, ...]
    error: float
    fitted: Floats  # (T, L)
    contribution: Floats  # (L, M)
    drawn: Floats  # (bootstrap, L, M) contributions


def geometric_logistic(media: Floats, shapes: Sequence[Shape]) -> Floats:
    """1 - exp(-lam sum_l alpha^l x[t-l] / sum_l alpha^l) under each shape: (T, L, M, lag) -> (G, T, L, M)."""
    lags = np.arange(media.shape[-1])
    weights = [shape.alpha**lags for shape in shapes]
    return np.stack([1.0 - np.exp(-s.lam * (media @ (w / np.sum(w)))) for s, w in zip(shapes, weights, strict=True)])


def fit(data: FastData, carried: Floats, spec: FastSpec, draws: np.random.Generator) -> FastResult:
    """The twin of `data`.

    carried: (G, T, L, M) media under each transformation, `geometric_logistic`'s or the model's own at prior medians;
    draws: a stream of the bootstrap's own, PCG64, moved on by it. Equal arguments, and a stream in the same state, give
    equal results on one machine. Raises SpecError for blocks longer than the data, or too many folds for them.
    """
    time, locations = data.media.shape[:2]
    if spec.block > time:
        raise SpecError(f"fast.block: expected at most the {time} periods there are, found {spec.block}")
    outcomes = data.y.shape[1] // locations
    y = data.y.reshape(time, locations, outcomes)
    everywhere = list(range(locations))
    groups = [everywhere] if spec.pooling == "complete" else [[place] for place in everywhere]
    result = _empty(data, carried.shape[3])
    for outcome in range(outcomes):
        for places in groups:
            found = _group(data, carried[:, :, places], y[:, places, outcome], places, spec, draws)
            _enter(result, found, [place * outcomes + outcome for place in places], spec.level)
    return result


def _empty(data: FastData, channels: int) -> FastResult:
    (time, series), controls = data.y.shape, data.controls.shape[2]
    zeros = np.zeros
    return FastResult(
        release="never",
        shape=zeros((series, channels), np.int64),
        effect=zeros((series, channels)),
        control=zeros((series, controls)),
        fitted=zeros((time, series)),
        contribution=zeros((series, channels)),
        lower=zeros((series, channels)),
        upper=zeros((series, channels)),
        error=zeros(series),
    )


def _enter(result: FastResult, found: _Group, series: Sequence[int], level: float) -> None:
    bounds = np.quantile(found.drawn, [0.5 - 0.5 * level, 0.5 + 0.5 * level], axis=0)
    for place, s in enumerate(series):
        result.shape[s], result.effect[s], result.control[s] = found.shape, found.effect, found.control
        result.error[s], result.fitted[:, s] = found.error, found.fitted[:, place]
        result.contribution[s] = found.contribution[place]
        result.lower[s], result.upper[s] = bounds[:, place]


def _group(
    data: FastData, carried: Floats, y: Floats, places: Sequence[int], spec: FastSpec, draws: np.random.Generator
) -> _Group:
    """carried: (G, T, L, M), y: (T, L), of the group's L locations."""
    X = np.moveaxis(carried, 0, 2)  # (T, L, G, M)
    Z, penalties = _free_columns(data, places, spec)
    rows, F = y.size, Z.shape[2]
    choice = choose(X, Z, y, penalties, spec)
    free = eliminate(Z.reshape(rows, F), penalties)
    of = problem(free, X.reshape(rows, *X.shape[2:]), spec.media_penalty)
    b = solve(of, of.left.T @ y.ravel(), choice.shapes).effects
    each = np.arange(b.size)
    media = X[:, :, choice.shapes, each] @ b  # (T, L)
    c = coefficients(free, (y - media).ravel())
    fitted = media + Z @ c
    means = np.mean(X, axis=0)  # (L, G, M)
    residuals = resampled(y - fitted, degrees(free, b), spec.block, spec.bootstraps, draws)
    drawn = [rechosen(of, choice.shapes, (fitted + e).ravel()) for e in residuals]
    return _Group(
        effect=b,
        control=c[F - data.controls.shape[2] :],
        shape=choice.shapes,
        error=choice.error,
        fitted=fitted,
        contribution=b * means[:, choice.shapes, each],
        drawn=np.stack([effects * means[:, shapes, each] for shapes, effects in drawn]),
    )


def _free_columns(data: FastData, places: Sequence[int], spec: FastSpec) -> tuple[Floats, Floats]:
    """Each location's level, the time basis and controls (T, L, F), and their penalties (F,)."""
    time, locations = data.y.shape[0], len(places)
    controls = data.controls[:, places]
    level = np.broadcast_to(np.eye(locations), (time, locations, locations))
    basis = np.broadcast_to(data.basis[:, None], (time, locations, data.basis.shape[1]))
    sizes = (locations, basis.shape[2], controls.shape[2])
    penalties = np.repeat([0.0, spec.basis_penalty, spec.control_penalty], sizes)
    return np.concatenate([level, basis, controls], axis=2), penalties


TABLE = schema(
    ("release", TEXT), ("series", TEXT), ("channel", TEXT), ("shape", WHOLE), ("effect", NUMBER),
    ("contribution", NUMBER), ("level", NUMBER), ("lower", NUMBER), ("upper", NUMBER),
)  # fmt: skip


def contributions_table(result: FastResult, series: Sequence[str], channels: Sequence[str], level: float) -> pa.Table:
    """A row for every series and channel; every row says that it is released never."""
    rows = [
        (result.release, name, channel, int(result.shape[s, m]), float(result.effect[s, m]),
         float(result.contribution[s, m]), level, float(result.lower[s, m]), float(result.upper[s, m]))
        for s, name in enumerate(series)
        for m, channel in enumerate(channels)
    ]  # fmt: skip
    return table(TABLE, rows)
