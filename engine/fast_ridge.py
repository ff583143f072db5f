"""Least squares with ridge penalties on some coefficients and a sign on others: the fast twin's inner problem.

    min  |y - X b - Z c|^2 + penalty |b|^2 + sum_k penalties_k c_k^2,   b >= 0

c is free, and is eliminated by the thin QR of Z over diag(sqrt(penalties)) (Golub & Van Loan 2013, section 5.3; ridge
as rows added to the data: Hoerl & Kennard 1970, doi:10.1080/00401706.1970.10488634). What is left is a problem in b
alone, of as many unknowns as channels: non-negative least squares (Lawson & Hanson 1974, Solving Least Squares
Problems, chapter 23). X holds every channel under every shape, and their products are formed once: what one choice of
shapes costs then takes microseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

Floats = npt.NDArray[np.float64]
FLOOR = (
    1e-10  # of the greatest product, added to the penalty: a channel that never spends has an effect of 0, not of 0 / 0
)


class Free(NamedTuple):
    """The eliminated part: n rows, F columns."""

    top: Floats  # (n, F) rows of Q that belong to the data
    R: Floats  # (F, F)


class Problem(NamedTuple):
    """What is left of G shapes of M channels."""

    products: Floats  # (G M, G M), the penalty on the diagonal
    left: Floats  # (n, G M)
    shapes: int


class Solution(NamedTuple):
    """Effects under one choice of shapes, and the penalised sum of squares, less |y|^2, which no choice changes."""

    effects: Floats  # (M,)
    cost: float


def eliminate(Z: Floats, penalties: Floats) -> Free:
    """Z (n, F), ready to be eliminated. Precondition: columns whose penalty is 0 are independent."""
    Q, R = np.linalg.qr(np.concatenate([Z, np.diag(np.sqrt(penalties))]))
    return Free(Q[: Z.shape[0]], R)


def problem(free: Free, X: Floats, penalty: float) -> Problem:
    """X (n, G, M), what the free columns leave of it."""
    columns = X.reshape(X.shape[0], -1)
    left = columns - free.top @ (free.top.T @ columns)
    products = columns.T @ left
    size = products.shape[0]
    floor = FLOOR * max(float(np.max(products)), 1.0)
    return Problem(products + (penalty + floor) * np.eye(size), left, X.shape[1])


def solve(of: Problem, answers: Floats, shapes: Sequence[int]) -> Solution:
    """b >= 0 under `shapes` (M,). answers: (G M,), `of.left` transposed times y."""
    places = [shape * len(shapes) + channel for channel, shape in enumerate(shapes)]
    products, right = of.products[np.ix_(places, places)], answers[places]
    lower = np.linalg.cholesky(products)
    b = np.asarray(nnls(lower.T, np.linalg.solve(lower, right))[0])
    return Solution(b, float(b @ products @ b - 2.0 * right @ b))


def coefficients(free: Free, rest: Floats) -> Floats:
    """c for what b leaves, `rest` = y - X b: (n,) -> (F,), or (n, k) -> (F, k)."""
    return np.asarray(np.linalg.solve(free.R, free.top.T @ rest))


def degrees(free: Free, b: Floats) -> float:
    """Degrees of freedom that a fit takes: the trace of Z's smoother, and one for every effect above zero."""
    return float(np.sum(free.top**2)) + float(np.count_nonzero(b))
