"""Linear algebra of small systems, one of them at every period and location, written out element by element.

A matrix is a list of rows of arrays that broadcast against each other; `None` is an entry known to be zero. LAPACK's
routines would do one system a call, through a library whose kernels differ between CPUs; a handful of multiplications
over (time, location) has one order on every CPU.
Source: Golub & Van Loan (2013), Matrix Computations, 4th ed., sections 3.2 (elimination) and 4.2 (Cholesky).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import jax.numpy as jnp
from jax import Array

Entry: TypeAlias = Array | None
Matrix: TypeAlias = Sequence[Sequence[Entry]]


class Solved(NamedTuple):
    """x with A x = b, and log |det A|."""

    x: list[Array]
    log_det: Array


def times(a: Entry, b: Entry) -> Entry:
    """a * b; zero times anything is zero."""
    return None if a is None or b is None else a * b


def minus(a: Entry, b: Entry) -> Entry:
    """a - b."""
    if b is None:
        return a
    return -b if a is None else a - b


def solve(matrix: Matrix, right: Sequence[Array]) -> Solved:
    """Gaussian elimination without exchanging rows: exact where no pivot vanishes, as near the identity.

    `matrix` is square; a pivot that is zero gives infinities, which a sampler rejects.
    """
    size = len(right)
    a = [list(row) for row in matrix]
    b: list[Array] = list(right)
    log_det = jnp.zeros(())
    for k in range(size):
        pivot = a[k][k]
        if pivot is None:
            raise ValueError(f"pivot {k}: expected an entry, found a structural zero")
        log_det = log_det + jnp.log(jnp.abs(pivot))
        for i in range(k + 1, size):
            below = a[i][k]
            if below is None:
                continue
            factor = below / pivot
            for j in range(k, size):
                a[i][j] = minus(a[i][j], times(factor, a[k][j]))
            b[i] = b[i] - factor * b[k]
    x: list[Array] = [b[0]] * size
    for k in reversed(range(size)):
        value = b[k]
        for j in range(k + 1, size):
            known = times(a[k][j], x[j])
            value = value if known is None else value - known
        x[k] = value / a[k][k]
    return Solved(x, log_det)


def cholesky(matrix: Matrix) -> list[list[Array]]:
    """Lower L with L L' = matrix, which is positive definite; entries above the diagonal are left out."""
    out: list[list[Array]] = []
    for i in range(len(matrix)):
        row: list[Array] = []
        for j in range(i + 1):
            entry = matrix[i][j]
            value = jnp.zeros(()) if entry is None else entry
            for k in range(j):
                value = value - row[k] * (row[k] if i == j else out[j][k])
            row.append(jnp.sqrt(value) if i == j else value / out[j][j])
        out.append(row)
    return out


def forward(lower: Sequence[Sequence[Array]], right: Sequence[Array]) -> Solved:
    """x with L x = right, and log |det L|."""
    x: list[Array] = []
    log_det = jnp.zeros(())
    for i, b in enumerate(right):
        value = b
        for j in range(i):
            value = value - lower[i][j] * x[j]
        x.append(value / lower[i][i])
        log_det = log_det + jnp.log(lower[i][i])
    return Solved(x, log_det)
