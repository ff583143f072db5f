"""Slow, obvious twins with a closed form: conjugate normal regression, and what is left of it summed over a grid.

Sources: Gelman et al. (2013), Bayesian Data Analysis, 3rd ed., section 14.8 (regression with a known covariance, a
prior being further rows), section 5.5 (eight schools); Hamilton (1994), Time Series Analysis, section 3.4 (AR(1)).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg import block_diag

SCHOOLS = ((28.0, 15.0), (8.0, 10.0), (-3.0, 16.0), (7.0, 11.0), (-1.0, 9.0), (1.0, 11.0), (18.0, 10.0), (12.0, 18.0))


class Normal(NamedTuple):
    """A normal law."""

    mean: np.ndarray  # (k,)
    covariance: np.ndarray  # (k, k)


class Moments(NamedTuple):
    """Mean and standard deviation of every quantity."""

    mean: np.ndarray
    sd: np.ndarray


def ar1(time: int, rho: float, sigma: float) -> np.ndarray:
    """Covariance of r[t] = rho r[t-1] + e[t], stationary from the first period on: (time, time)."""
    apart = np.abs(np.arange(time)[:, None] - np.arange(time))
    return np.asarray(sigma**2 / (1.0 - rho**2) * rho**apart)


def independent(blocks: Sequence[np.ndarray]) -> np.ndarray:
    """Covariance of series that do not move together, one after the other."""
    return np.asarray(block_diag(*blocks))


def posterior(X: np.ndarray, y: np.ndarray, covariance: np.ndarray, prior_sd: np.ndarray) -> Normal:
    """Of b in y ~ Normal(X b, covariance), b ~ Normal(0, prior_sd^2); an infinite sd is a flat prior."""
    weighed = np.linalg.solve(covariance, X)
    found = np.linalg.inv(X.T @ weighed + np.diag(1.0 / prior_sd**2))
    return Normal(found @ weighed.T @ y, found)


def log_evidence(X: np.ndarray, y: np.ndarray, covariance: np.ndarray, prior_sd: np.ndarray) -> float:
    """log of the density of y with b integrated out."""
    whole = covariance + X @ np.diag(prior_sd**2) @ X.T
    log_det = np.linalg.slogdet(whole)[1]
    return float(-0.5 * (y @ np.linalg.solve(whole, y) + log_det + len(y) * math.log(2.0 * math.pi)))


def mixed(weight: np.ndarray, mean: np.ndarray, second: np.ndarray) -> Moments:
    """Of a mixture: weight (g,) adding up to 1, the parts' means (g, k) and mean squares (g, k)."""
    middle = weight @ mean
    return Moments(middle, np.sqrt(weight @ second - middle**2))


def autocorrelated_regression(
    X: np.ndarray, y: np.ndarray, prior_sd: np.ndarray, noise_scale: float, rho_scale: float, points: int = 61
) -> Moments:
    """Of (b, rho, sigma) in y = X b + r, r AR(1); sigma ~ HalfNormal(noise_scale), atanh rho ~ Normal(0, rho_scale^2).

    b is integrated out, (atanh rho, log sigma) summed over a grid six prior sds or six residual sds wide.
    """
    raw = np.linspace(-4.0, 4.0, points) * rho_scale
    around = math.log(float(np.std(y)))
    log_sigma = np.linspace(around - 3.0, around + 1.5, points)
    log_weight, means, seconds = [], [], []
    for z in raw:
        for log_s in log_sigma:
            rho, sigma = math.tanh(z), math.exp(log_s)
            covariance = ar1(len(y), rho, sigma)
            found = posterior(X, y, covariance, prior_sd)
            prior = (
                -0.5 * (z / rho_scale) ** 2 - 0.5 * (sigma / noise_scale) ** 2 + log_s
            )  # d sigma = sigma d log sigma
            log_weight.append(log_evidence(X, y, covariance, prior_sd) + prior)
            means.append([*found.mean, rho, sigma])
            seconds.append([*(found.mean**2 + np.diag(found.covariance)), rho**2, sigma**2])
    weight = np.exp(np.asarray(log_weight) - max(log_weight))
    return mixed(weight / weight.sum(), np.asarray(means), np.asarray(seconds))


class Pooled(NamedTuple):
    """log beta[l] = mu + tau z[l]; mu ~ Normal(middle, 1), tau ~ HalfNormal(tau_scale), z ~ Normal(0, 1)."""

    middle: float
    tau_scale: float


def pooled_effects(prior: Pooled, estimate: np.ndarray, error: np.ndarray, points: int = 201) -> Moments:
    """Of log beta (L,) where a location's data say beta ~ Normal(estimate, error^2), by quadrature over mu, tau, z."""
    mu = np.linspace(prior.middle - 6.0, prior.middle + 5.0, points)[:, None, None]
    tau = prior.tau_scale * np.linspace(0.0, 5.0, points)[None, :, None]
    z = np.linspace(-6.0, 6.0, 241)[None, None, :]
    log_beta = mu + tau * z
    parts = []
    for b, s in zip(estimate, error, strict=True):
        density = np.exp(-0.5 * ((np.exp(log_beta) - b) / s) ** 2 - 0.5 * z**2)
        parts.append([np.sum(density * log_beta**k, axis=-1) for k in (0, 1, 2)])
    hyper = np.exp(-0.5 * (mu[..., 0] - prior.middle) ** 2 - 0.5 * (tau[..., 0] / prior.tau_scale) ** 2)
    joint = hyper * np.prod([part[0] for part in parts], axis=0)
    whole = joint.sum()
    mean, second = (
        np.asarray([np.sum(joint * part[k] / np.maximum(part[0], 1e-300)) / whole for part in parts]) for k in (1, 2)
    )
    return Moments(mean, np.sqrt(second - mean**2))


def eight_schools() -> Moments:
    """Of (theta[0..7], mu, tau): theta ~ Normal(mu, tau^2), mu ~ Normal(0, 5^2), tau ~ HalfCauchy(5).

    theta given mu and tau is conjugate; mu and log tau are summed over a grid. posteriordb's reference draws, 10,000 of
    them, give means 4.41 of mu and 3.60 of tau.
    """
    mu, log_tau = np.linspace(-25.0, 35.0, 1201)[:, None], np.linspace(-8.0, 6.0, 1401)[None, :]
    tau = np.exp(log_tau)
    log_joint = -0.5 * (mu / 5.0) ** 2 - np.log1p((tau / 5.0) ** 2) + log_tau
    for y, s in SCHOOLS:
        variance = s**2 + tau**2
        log_joint = log_joint - 0.5 * (np.log(variance) + (y - mu) ** 2 / variance)
    weight = np.exp(log_joint - log_joint.max())
    weight = weight / weight.sum()
    means, seconds = [], []
    for y, s in SCHOOLS:
        share = tau**2 / (tau**2 + s**2)  # of the school's own mean
        middle = share * y + (1.0 - share) * mu
        means.append(np.sum(weight * middle))
        seconds.append(np.sum(weight * (middle**2 + share * s**2)))
    for value in (mu, tau):
        means.append(np.sum(weight * value))
        seconds.append(np.sum(weight * value**2))
    return Moments(np.asarray(means), np.sqrt(np.asarray(seconds) - np.asarray(means) ** 2))
