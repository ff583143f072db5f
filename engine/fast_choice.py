"""Which transformation each channel has in the fast twin: the one that forecasts best, over rolling origins.

Never random folds: a period's neighbours know its residual, and a curve that fits noise would win. One channel is
changed at a time and the others are held (coordinate descent), in rounds, until a round changes nothing.
Source: Tashman (2000), doi:10.1016/S0169-2070(00)00065-0 (rolling origins).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from engine.errors import SpecError
from engine.fast_ridge import Problem, coefficients, eliminate, problem, solve
from engine.spec_fast import FastSpec

Floats = npt.NDArray[np.float64]
BETTER = 1e-9  # relative: a smaller gain is rounding, and the shape declared first stays


class Fold(NamedTuple):
    """One origin: what to fit, and rows to forecast once the free columns' share is known. G shapes, M channels."""

    problem: Problem
    answers: Floats  # (G M,)
    later: Floats  # (later rows, G, M) of X, less the free columns' answer to X
    missed: Floats  # (later rows,) of y, less the free columns' answer to y


class Choice(NamedTuple):
    """A shape for each channel, and the root mean square of its rolling forecasts' errors."""

    shapes: tuple[int, ...]
    error: float


def choose(X: Floats, Z: Floats, y: Floats, penalties: Floats, spec: FastSpec) -> Choice:
    """X: (T, L, G, M) media under each shape, Z: (T, L, F), y: (T, L), penalties: (F,).

    Raises SpecError where the first origin leaves no more rows than there are columns.
    """
    folds = [_fold(X, Z, y, penalties, origin, spec) for origin in _origins(X, Z, spec)]
    shapes = [0] * X.shape[3]
    best = _error(folds, shapes)
    for _ in range(spec.passes):
        before = list(shapes)
        for channel in range(X.shape[3]):
            for shape in range(X.shape[2]):
                trial = [*shapes[:channel], shape, *shapes[channel + 1 :]]
                error = _error(folds, trial)
                if error < best * (1.0 - BETTER):
                    shapes, best = trial, error
        if shapes == before:
            break
    return Choice(tuple(shapes), float(np.sqrt(best)))


def _origins(X: Floats, Z: Floats, spec: FastSpec) -> list[int]:
    first, columns = X.shape[0] - spec.folds * spec.ahead, Z.shape[2] + X.shape[3]
    if first * X.shape[1] <= columns:
        raise SpecError(
            f"fast.folds: expected more than {columns} rows before the first of {spec.folds} origins {spec.ahead} "
            f"periods apart, found {max(first, 0) * X.shape[1]}"
        )
    return [first + k * spec.ahead for k in range(spec.folds)]


def _fold(X: Floats, Z: Floats, y: Floats, penalties: Floats, origin: int, spec: FastSpec) -> Fold:
    media, others, outcome = (_rows(each[:origin]) for each in (X, Z, y))
    media_later, others_later, outcome_later = (_rows(each[origin : origin + spec.ahead]) for each in (X, Z, y))
    free = eliminate(others, penalties)
    found = problem(free, media, spec.media_penalty)
    to_media = others_later @ coefficients(free, media.reshape(media.shape[0], -1))
    return Fold(
        problem=found,
        answers=found.left.T @ outcome,
        later=media_later - to_media.reshape(media_later.shape),
        missed=outcome_later - others_later @ coefficients(free, outcome),
    )


def _rows(values: Floats) -> Floats:
    """(T, L, ...) -> (T L, ...)."""
    return values.reshape(values.shape[0] * values.shape[1], *values.shape[2:])


def _error(folds: Sequence[Fold], shapes: Sequence[int]) -> float:
    """Mean square of the forecasts' errors."""
    each = np.arange(len(shapes))
    squares, count = 0.0, 0
    for fold in folds:
        b = solve(fold.problem, fold.answers, shapes).effects
        squares += float(np.sum((fold.missed - fold.later[:, shapes, each] @ b) ** 2))
        count += fold.missed.size
    return squares / count
