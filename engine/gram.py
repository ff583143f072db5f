"""Least squares from sums of products alone: what is left of columns once others are taken out of them.

Sweeping a matrix of products A = X'X on the column k replaces every other column by what k leaves unexplained of it;
swept on a set P, the diagonal holds the sum of squares that P leaves of each other column, and, of P itself, the
diagonal of the inverse of P's own block. Source: Goodnight (1979), doi:10.1080/00031305.1979.10482685.

Arithmetic is Python's and `math.fsum`'s; NumPy is only the container.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

COLLINEAR = 1e-10  # share of a column's squares left, below which it is the rounding of the sums it comes from

Matrix = list[list[float]]


def deviations(x: np.ndarray) -> list[float]:
    """(time, location), each less its location's mean, location after location; exactly 0 where nothing moves."""
    out: list[float] = []
    for column in x.T.tolist():
        mean = math.fsum(column) / len(column)
        out += [0.0] * len(column) if min(column) == max(column) else [value - mean for value in column]
    return out


def products(columns: Sequence[Sequence[float]]) -> Matrix:
    """Of every pair of columns, their sum of products."""
    out = [[0.0] * len(columns) for _ in columns]
    for i, a in enumerate(columns):
        for j in range(i + 1):
            out[i][j] = out[j][i] = math.fsum(x * y for x, y in zip(a, columns[j], strict=True))
    return out


def correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Of two columns of deviations; 0 where either does not move."""
    matrix = products([a, b])
    norm = math.sqrt(matrix[0][0] * matrix[1][1])
    return matrix[0][1] / norm if norm > 0.0 else 0.0


def swept(matrix: Matrix, pivots: Sequence[int]) -> tuple[Matrix, tuple[int, ...]]:
    """`matrix` swept on `pivots` in their order, and those that were: what earlier ones explain is left out."""
    a, done = [list(row) for row in matrix], []
    for k in pivots:
        pivot = a[k][k]
        if pivot <= COLLINEAR * matrix[k][k]:
            continue
        row = [value / pivot for value in a[k]]
        for i in range(len(a)):
            if i != k:
                below = a[i][k]
                a[i] = [value - below * r for value, r in zip(a[i], row, strict=True)]
                a[i][k] = -below / pivot
        row[k] = 1.0 / pivot
        a[k] = row
        done.append(k)
    return a, tuple(done)


def inflation(columns: Sequence[Sequence[float]]) -> list[float]:
    """Of each column 1 / (1 - R^2), R^2 by all the others; infinity where earlier ones explain it. Columns that do not
    move have 1. Source: Marquardt (1970), doi:10.1080/00401706.1970.10488699.
    """
    whole = products(columns)
    moving = [k for k in range(len(columns)) if whole[k][k] > 0.0]
    after, done = swept(whole, moving)
    return [
        1.0 if k not in moving else whole[k][k] * after[k][k] if k in done else math.inf for k in range(len(columns))
    ]
