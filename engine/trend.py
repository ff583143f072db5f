"""How the level moves with time: every kind a weighted sum of the functions of `engine.time_basis`.

    level[t,s] = sum_k basis[t,k] trend[k,s]

Each kind is a basis, known before the fit, and a prior of its coefficients, some with a scale that is learned for each
series. All columns have mean 0 over the known periods: the model's level is the mean of what is known. Past the origin
the same prior goes on without data, so the bands widen for every kind but none.
The kinds, their priors and their sources are in `engine.spec_trend`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import Array

from engine import time_basis
from engine.spec_trend import Bspline, Damped, Hsgp, Linear, LocalLevel, LocalLinear, NoTrend, Piecewise, Trend


class TrendParameters(NamedTuple):
    """One draw. K columns of the basis, S series."""

    trend: Array  # (K, S) coefficients, scaled


DIMS: dict[str, tuple[str, ...]] = {"trend": ("trend_term", "series")}


class TrendBasis(NamedTuple):
    """What a trend is a function of, beside its parameters. Sizes follow from the span alone, never from the origin."""

    columns: Array  # (span, K)
    frequencies: Array  # (K,) of a Gaussian process, per year; else (0,)


class TrendKind(NamedTuple):
    """One kind of trend; `trend` is of the kind's own class."""

    basis: Callable[[Any, int, int, float], TrendBasis]  # of (trend, span, origin, year)
    sample: Callable[[Any, TrendBasis, int], Array]  # (trend, basis, S) -> (K, S)
    linear_scale: Callable[[Any], Array | None]  # trend -> (K,) or None


def basis(trend: Trend, span: int, origin: int, year: float) -> TrendBasis:
    """The columns of `trend` over `span` periods of which `origin` are known; `year` periods are a year.

    Preconditions: span >= 2, 1 <= origin <= span. Raises SpecError where a Gaussian process does not fit its basis.
    """
    return TRENDS[trend.kind].basis(trend, span, origin, year)


def sample(trend: Trend, basis: TrendBasis, series: int) -> TrendParameters:
    """One draw from the prior of `trend`."""
    return TrendParameters(TRENDS[trend.kind].sample(trend, basis, series))


def effect(parameters: TrendParameters, basis: TrendBasis) -> Array:
    """(span, series), on the model's scale."""
    return jnp.sum(basis.columns[:, :, None] * parameters.trend, axis=1)


def linear_scale(trend: Trend) -> Array | None:
    """Prior sd of each coefficient, (K,), where they are independent Normal with a known sd; else None."""
    return TRENDS[trend.kind].linear_scale(trend)


def _plain(columns: Array) -> TrendBasis:
    return TrendBasis(columns, jnp.zeros(0))


def _unknown(_: Trend) -> None:
    """The sd is learned, or the prior is not Normal."""


def _slope(trend: Linear | Damped | LocalLinear | Piecewise, series: int) -> Array:
    return numpyro.sample("slope", dist.Normal(0.0, trend.scale).expand([series]))[None, :]


def _wander(prefix: str, scale: float, steps: int, series: int) -> Array:
    """(step, series) of a random walk, their sd learned a series: non-centred, for a walk that hardly moves."""
    if steps == 0:
        return jnp.zeros((0, series))
    tau = numpyro.sample(f"{prefix}drift", dist.HalfNormal(scale).expand([series]))
    return tau * numpyro.sample(f"{prefix}walk", dist.Normal(0.0, 1.0).expand([steps, series]))


def _no_basis(_: NoTrend, span: int, __: int, ___: float) -> TrendBasis:
    return _plain(jnp.zeros((span, 0)))


def _no_sample(_: NoTrend, __: TrendBasis, series: int) -> Array:
    return jnp.zeros((0, series))


def _no_scale(_: NoTrend) -> Array:
    return jnp.zeros(0)


def _linear_basis(_: Linear, span: int, origin: int, year: float) -> TrendBasis:
    return _plain(time_basis.line(span, origin, year, 1.0))


def _damped_basis(trend: Damped, span: int, origin: int, year: float) -> TrendBasis:
    return _plain(time_basis.line(span, origin, year, trend.damping))


def _line_sample(trend: Linear | Damped, _: TrendBasis, series: int) -> Array:
    return _slope(trend, series)


def _line_scale(trend: Linear | Damped) -> Array:
    return jnp.asarray([trend.scale])


def _level_basis(trend: LocalLevel, span: int, origin: int, year: float) -> TrendBasis:
    return _plain(time_basis.random_walk(span, origin, trend.knot, year))


def _spline_basis(trend: Bspline, span: int, origin: int, year: float) -> TrendBasis:
    return _plain(time_basis.spline_walk(span, origin, trend.degree, trend.knot, year))


def _walk_sample(trend: LocalLevel | Bspline, basis: TrendBasis, series: int) -> Array:
    return _wander("", trend.scale, basis.columns.shape[1], series)


def _local_linear_basis(trend: LocalLinear, span: int, origin: int, year: float) -> TrendBasis:
    """The line, N steps of the level, N - 1 of its slope: the first slope is the line's."""
    turns = time_basis.hinges(span, origin, range(trend.knot, span - 1, trend.knot), year)
    line, walk = time_basis.line(span, origin, year, 1.0), time_basis.random_walk(span, origin, trend.knot, year)
    return _plain(jnp.concatenate([line, walk, turns * math.sqrt(trend.knot / year)], axis=1))


def _local_linear_sample(trend: LocalLinear, basis: TrendBasis, series: int) -> Array:
    steps = basis.columns.shape[1] // 2
    level = _wander("", trend.level_scale, steps, series)
    turns = _wander("slope_", trend.slope_scale, steps - 1, series)
    return jnp.concatenate([_slope(trend, series), level, turns])


def _piecewise_basis(trend: Piecewise, span: int, origin: int, year: float) -> TrendBasis:
    """The line and its turns; at a knot after the share of the known periods and before the last of them, 0."""
    knots = range(trend.knot, span - 1, trend.knot)
    may_turn = jnp.asarray([float(c < trend.share * origin or c >= origin - 1) for c in knots])
    turns = time_basis.hinges(span, origin, knots, year) * may_turn
    return _plain(jnp.concatenate([time_basis.line(span, origin, year, 1.0), turns], axis=1))


def _piecewise_sample(trend: Piecewise, basis: TrendBasis, series: int) -> Array:
    slope, turns = _slope(trend, series), basis.columns.shape[1] - 1
    if turns == 0:
        return slope
    unit = numpyro.sample("slope_change", dist.Laplace(0.0, 1.0).expand([turns, series]))
    return jnp.concatenate([slope, trend.change_scale * unit])


def _hsgp_basis(trend: Hsgp, span: int, origin: int, year: float) -> TrendBasis:
    return TrendBasis(*time_basis.gaussian_process(trend, span, origin, year, "model.trend"))


def _hsgp_sample(trend: Hsgp, basis: TrendBasis, series: int) -> Array:
    amplitude = numpyro.sample("trend_amplitude", dist.HalfNormal(trend.scale).expand([series]))
    prior = dist.LogNormal(math.log(trend.lengthscale), trend.lengthscale_log_sd)
    lengthscale = numpyro.sample("trend_lengthscale", prior.expand([series]))
    unit = numpyro.sample("trend_wave", dist.Normal(0.0, 1.0).expand([trend.functions, series]))
    return time_basis.spectral_sd(trend.kernel, amplitude, lengthscale, basis.frequencies) * unit


TRENDS: Mapping[str, TrendKind] = {
    "none": TrendKind(_no_basis, _no_sample, _no_scale),
    "linear": TrendKind(_linear_basis, _line_sample, _line_scale),
    "damped": TrendKind(_damped_basis, _line_sample, _line_scale),
    "local_level": TrendKind(_level_basis, _walk_sample, _unknown),
    "local_linear": TrendKind(_local_linear_basis, _local_linear_sample, _unknown),
    "piecewise": TrendKind(_piecewise_basis, _piecewise_sample, _unknown),
    "bspline": TrendKind(_spline_basis, _walk_sample, _unknown),
    "hsgp": TrendKind(_hsgp_basis, _hsgp_sample, _unknown),
}
