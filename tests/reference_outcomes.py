"""Slow, obvious twins of what joins outcomes: whole covariance matrices, one period and location at a time.

Sources: Anderson (2003), An Introduction to Multivariate Statistical Analysis, 3rd ed., section 2.5 (a subvector of a
normal vector is normal); Hamilton (1994), Time Series Analysis, section 11.6.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np


def log_normal(x: np.ndarray, covariance: np.ndarray) -> float:
    """log N(x; 0, covariance)."""
    sign, log_det = np.linalg.slogdet(covariance)
    assert sign > 0
    return float(-0.5 * (x @ np.linalg.solve(covariance, x) + log_det + len(x) * math.log(2.0 * math.pi)))


def joint(
    innovation: np.ndarray, surprise: np.ndarray, seen: np.ndarray, sigma: np.ndarray, gamma: np.ndarray,
    disturbance: np.ndarray, survey: np.ndarray,
) -> float:  # fmt: skip
    """Log density of outcomes and of those mediators that were seen.

    innovation: (O,), surprise: (N,), seen: (N,) bool, sigma: (O, O) covariance, gamma: (N, O), disturbance and survey:
    (N,) standard deviations.
    """
    spread = np.diag(disturbance**2)
    top = np.concatenate([sigma + gamma.T @ spread @ gamma, gamma.T @ spread], axis=1)
    bottom = np.concatenate([spread @ gamma, spread + np.diag(survey**2)], axis=1)
    kept = np.concatenate([np.ones(len(innovation), bool), seen])
    whole = np.concatenate([top, bottom])[np.ix_(kept, kept)]
    return log_normal(np.concatenate([innovation, surprise])[kept], whole)


class Place(NamedTuple):
    """One location's Gaussian structure: T periods, O outcomes, N mediators."""

    level: np.ndarray  # (T, O) what is expected of the outcomes before they move one another
    built: np.ndarray  # (T, N) what is expected of the mediators
    rho: float
    scatter: np.ndarray  # (T, O, O) covariance of the innovation, given errors included
    gamma: np.ndarray  # (N, O)
    disturbance: np.ndarray  # (N,) standard deviations
    survey: np.ndarray  # (N,) standard deviations
    now: np.ndarray  # (T, O, O) Psi, a row an outcome that is moved
    then: np.ndarray  # (T, O, O) Phi


class Normal(NamedTuple):
    """The joint law of all outcomes, then all surveys, each period by period."""

    mean: np.ndarray  # (T (O + N),)
    covariance: np.ndarray


def whole(place: Place) -> Normal:
    """Of all a location can show: A y = level + G d + r, A = I - Psi - Phi, r = K e, and surveys built + d + s.

    The first residual is e / sqrt(1 - rho^2), so that all have one variance.
    """
    time, size = place.level.shape
    extra = place.built.shape[1]
    A, K = np.eye(time * size), np.zeros((time * size, time * size))
    E, G = np.zeros((time * size, time * size)), np.zeros((time * size, time * extra))
    for t in range(time):
        rows = slice(t * size, (t + 1) * size)
        A[rows, rows] -= place.now[t]
        E[rows, rows] = place.scatter[t]
        G[rows, t * extra : (t + 1) * extra] = place.gamma.T
        if t:
            A[rows, (t - 1) * size : t * size] -= place.then[t]
        for s in range(t + 1):
            weight = place.rho ** (t - s) / (math.sqrt(1.0 - place.rho**2) if s == 0 else 1.0)
            K[rows, s * size : (s + 1) * size] = weight * np.eye(size)
    D, S = (np.kron(np.eye(time), np.diag(sd**2)) for sd in (place.disturbance, place.survey))
    inverse = np.linalg.inv(A)
    shared = inverse @ G @ D
    own = inverse @ (K @ E @ K.T + G @ D @ G.T) @ inverse.T
    mean = np.concatenate([inverse @ place.level.ravel(), place.built.ravel()])
    return Normal(mean, np.block([[own, shared], [shared.T, D + S]]))


def given(law: Normal, wanted: np.ndarray, known: np.ndarray, values: np.ndarray) -> Normal:
    """The law of the entries `wanted` once the entries `known` are `values` (Anderson 2003, theorem 2.5.1)."""
    between = law.covariance[np.ix_(wanted, known)]
    weight = np.linalg.solve(law.covariance[np.ix_(known, known)], between.T).T
    mean = law.mean[wanted] + weight @ (values - law.mean[known])
    return Normal(mean, law.covariance[np.ix_(wanted, wanted)] - weight @ between.T)
