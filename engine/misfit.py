"""What a fit left over: statistics of the residuals z of one draw (`engine.pivot`), with their laws if it is right.

autocorrelation  Ljung & Box (1978), doi:10.1093/biomet/65.2.297: chi-squared of as many degrees as lags. Of z, whose
                 parameters are a draw's and not estimates, no degree is taken off
season left      Fisher (1929), doi:10.1098/rspa.1929.0151: the largest share g of the periodogram over q waves has
                 P(g > x) <= q (1 - x)^(q - 1), equal but for the square of it
break left       x on a step and a change of slope at every split, beside level, line and the period before: F of 2
                 degrees, P(F > f) = (what is left with them / without them)^(degrees / 2), over all splits by
                 Bonferroni's bound. The autocorrelation is estimated anew beside them, for a break that the fit took
                 for memory would hide itself (Vogelsang 1999, Journal of Econometrics 88, 283-299). Exact without
                 memory; with it, for long data (60 periods and rho = .4: 1.8 % of right models fail at level 1 %)
spend ahead      z on a channel's spend in the next periods, the j-th weighted 1 / j, free of its present and past: on
                 the log of its amount where it is on, and on whether it is on: chi-squared of as many degrees. Effects
                 do not come before their cause, so what follows is a sign that demand moved the spend: that the budget
                 answered it, or that something not in the model moves both
effect moved     z on a channel's transformed media in the second half less the first, free of level, line, a step at
                 the half and the effect itself: standard normal

x is the residual with its memory, in units of the noise: x[t] = rho x[t-1] + z[t], rho the draw's.
Regressors are freed of what the draw's own scatter would add; the laws would hold without.
A sum over (time, location) is one of all locations, which the model has as independent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import gammaincc, ndtr

from engine import noise
from engine.gram import COLLINEAR
from engine.noise import NoiseParameters
from engine.spec_checks import AfterFit


class Along(NamedTuple):
    """What tests look along, from covariates and the number of known periods alone. T known periods."""

    full: Array  # (T,) 1 where a period counts in full
    base: Array  # (T, B) level and, where the model has a trend, a line
    waves: Array  # (T, q, 2) cosine and sine
    steps: Array  # (T, K) 1 from a split on
    slopes: Array  # (T, K) periods since a split
    half: Array  # (T,) 1 in the second half, -1 in the first
    ahead: Array  # (M, T, L, 2) amount to come and whether it is on, orthonormal; 0 where the past tells it


class Left(NamedTuple):
    """Statistics of one draw; 0 of a channel that nothing is left of."""

    correlation: Array  # (lags, S)
    box: Array  # (S,) Ljung and Box's
    power: Array  # (q, S) share of the periodogram
    split: Array  # (K, S) -log of the p-value of each split
    ahead: Array  # (M, O, 2) standard normal each
    moved: Array  # (M, O) standard normal


class Chances(NamedTuple):
    """p-values."""

    box: Array  # (S,)
    power: Array  # (S,)
    split: Array  # (S,)
    ahead: Array  # (M, O)
    moved: Array  # (M, O)


def along(limits: AfterFit, full: np.ndarray, line: bool, spend: np.ndarray) -> Along:
    """full: (T,); line: whether the model has a trend; spend: (T, L, M)."""
    time = len(full)
    t = np.arange(time, dtype=np.float64)
    splits = np.arange(limits.edge, time - limits.edge + 1)
    columns = [np.ones(time), t / time - 0.5] if line else [np.ones(time)]
    return Along(
        full=jnp.asarray(full),
        base=jnp.asarray(np.stack(columns, axis=1)),
        waves=_waves(time, limits.cycles),
        steps=jnp.asarray((t[:, None] >= splits).astype(np.float64)),
        slopes=jnp.asarray(np.maximum(t[:, None] - splits, 0.0) / time),
        half=jnp.asarray(np.where(t < time // 2, -1.0, 1.0)),
        ahead=jnp.asarray(_leads(limits.leads, full, spend)),
    )


def _waves(time: int, cycles: float) -> Array:
    """Fourier frequencies from the slowest declared to below Nyquist's."""
    count = np.arange(max(1, math.ceil(cycles)), (time - 1) // 2 + 1, dtype=np.float64)
    angle = 2.0 * jnp.pi * jnp.arange(time, dtype=jnp.float64)[:, None] * jnp.asarray(count) / time
    return jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)


def _leads(leads: int, full: np.ndarray, spend: np.ndarray) -> np.ndarray:
    """(M, T, L, 2): sum_j v[t + j] / j, j = 1..leads, of amounts and of whether a channel is on, free of location means
    and of both in the present and past. 0 where a lead or a lag is not known.
    """
    time, places, channels = spend.shape
    out = np.zeros((channels, time, places, 2))
    rows = [t for t in range(leads, time - leads) if full[t] > 0.0]
    for m in range(channels):
        kinds = _amounts(spend[:, :, m])
        units: list[list[float]] = []
        for lag in range(leads + 1):
            for values in kinds:
                unit = _free(_centred([[value[t - lag] for t in rows] for value in values]), units)
                units += [unit] if unit else []
        for kind, values in enumerate(kinds):
            coming = [[math.fsum(value[t + j] / j for j in range(1, leads + 1)) for t in rows] for value in values]
            unit = _free(_centred(coming), units)
            if unit:
                units.append(unit)
                out[m, rows, :, kind] = np.asarray(unit).reshape(places, len(rows)).T
    return out


def _amounts(spend: np.ndarray) -> tuple[list[list[float]], list[list[float]]]:
    """Of each location: the log of the spend less its mean where there is any, else 0; and 1 where there is any."""
    amounts, on = [], []
    for row in spend.T.tolist():
        logs = [math.log(value) for value in row if value > 0.0]
        mean = math.fsum(logs) / len(logs) if logs else 0.0
        amounts.append([math.log(value) - mean if value > 0.0 else 0.0 for value in row])
        on.append([float(value > 0.0) for value in row])
    return amounts, on


def _centred(columns: Sequence[Sequence[float]]) -> list[float]:
    """One after the other, each less its mean."""
    out: list[float] = []
    for column in columns:
        mean = math.fsum(column) / len(column) if column else 0.0
        out += [value - mean for value in column]
    return out


def _free(column: list[float], units: Sequence[Sequence[float]]) -> list[float]:
    """`column` without its parts along `units`, of length 1; empty where nothing is left."""
    before = math.fsum(value * value for value in column)
    for _ in range(2):  # the second pass takes out what rounding left in the first
        for unit in units:
            part = math.fsum(a * b for a, b in zip(column, unit, strict=True))
            column = [a - part * b for a, b in zip(column, unit, strict=True)]
    after = math.fsum(value * value for value in column)
    if after <= COLLINEAR * before or after == 0.0:
        return []
    return [value / math.sqrt(after) for value in column]


def ranks(tests: Along) -> np.ndarray:
    """(M,) directions of each channel's spend to come: 0 where the past tells all of it."""
    return np.asarray(tests.ahead != 0.0).any(axis=(1, 2)).sum(axis=-1)


def left(limits: AfterFit, memory: bool, tests: Along, z: Array, noise_of: NoiseParameters, response: Array) -> Left:
    """Of one draw. z: (T, S); response: (T, L, M) transformed media; memory: whether the model has one."""
    correlation, box = _box(limits.lags, tests.full, z)
    waves = jnp.sum(jnp.sum(tests.waves[..., None] * z[:, None, None, :], axis=0) ** 2, axis=1)  # (q, S)
    places = response.shape[1]
    each = z.reshape(z.shape[0], places, -1)  # (T, L, O)
    return Left(
        correlation,
        box,
        waves / jnp.sum(waves, axis=0),
        _split(tests, z, noise_of, memory),
        _ahead(tests.ahead, each),
        _moved(tests, each, noise_of, response),
    )


def _ahead(ahead: Array, z: Array) -> Array:
    """(M, O, 2)."""
    kinds = [jnp.sum(jnp.sum(ahead[..., k, None] * z, axis=1), axis=1) for k in range(ahead.shape[3])]
    return jnp.stack(kinds, axis=-1)


def _box(lags: int, full: Array, z: Array) -> tuple[Array, Array]:
    square, count = jnp.sum(z * z, axis=0), jnp.sum(full)
    correlation = jnp.stack([jnp.sum(z[lag:] * z[:-lag], axis=0) / square for lag in range(1, lags + 1)])
    pairs = jnp.stack([jnp.sum(full[lag:] * full[:-lag]) for lag in range(1, lags + 1)])
    return correlation, jnp.sum(count * (count + 2.0) / pairs[:, None] * correlation**2, axis=0)


def _split(tests: Along, z: Array, noise_of: NoiseParameters, memory: bool) -> Array:
    """-log p of each split and series, (K, S), by least squares over periods that count and follow one that does."""
    x = _remembered(z, noise_of)
    before = _shifted(tests.full) if memory else tests.full
    rows = (tests.full * before)[:, None]  # (T, 1)
    units = _units([tests.base[:, b, None] * rows for b in range(tests.base.shape[1])])
    x, lag = _without(x * rows, units), _unit(_without(_shifted(x) * rows, units))  # (T, S)
    series = [lag[:, None, :]] if memory else []
    x = _without(x, [lag] if memory else [])
    step = _unit(_without(_without(tests.steps * rows, units)[..., None], series))  # (T, K, S) or (T, K, 1)
    slope = _unit(_without(_without(tests.slopes * rows, units)[..., None], [*series, step]))
    gained = sum((jnp.sum(unit * x[:, None, :], axis=0) ** 2 for unit in (step, slope)), jnp.zeros(()))
    degrees = jnp.sum(rows) - len(units) - len(series) - 2.0
    return -0.5 * degrees * jnp.log1p(-gained / jnp.sum(x * x, axis=0))


def _remembered(z: Array, noise_of: NoiseParameters) -> Array:
    """x (T, S)."""

    def on(before: Array, now: Array) -> tuple[Array, Array]:
        x = noise_of.rho * before + now
        return x, x

    first = z[0] / jnp.sqrt(1.0 - noise_of.rho * noise_of.rho)
    _, later = jax.lax.scan(on, first, z[1:])
    return jnp.concatenate([first[None], later])


def _shifted(x: Array) -> Array:
    """What was a period before; 0 at the first."""
    return jnp.concatenate([jnp.zeros_like(x[:1]), x[:-1]])


def _moved(tests: Along, z: Array, noise_of: NoiseParameters, response: Array) -> Array:
    """Each series' regressor in units of its own noise."""
    columns = jnp.concatenate([tests.base, tests.half[:, None]], axis=1)
    base = _filtered(tests, columns, noise_of)
    usual = _filtered(tests, response, noise_of)  # (T, L, M)
    units = _units([*(base[:, b, None, None] for b in range(base.shape[1])), usual])
    turned = _without(_filtered(tests, response * tests.half[:, None, None], noise_of), units)
    sigma = noise_of.sigma.reshape(z.shape[1:])  # (L, O)
    size = jnp.sum(jnp.sum(turned**2, axis=0)[:, None, :] / sigma[:, :, None] ** 2, axis=0)  # (O, M)
    found = jnp.sum(turned[:, :, None, :] * z[:, :, :, None], axis=0)  # (L, O, M)
    added = jnp.sum(found / sigma[:, :, None], axis=0)
    return jnp.where(size > 0.0, added / jnp.sqrt(jnp.where(size > 0.0, size, 1.0)), 0.0).T


def _filtered(tests: Along, x: Array, noise_of: NoiseParameters) -> Array:
    """What a regressor of the outcome becomes as one of z."""
    full = tests.full.reshape(-1, *[1] * (x.ndim - 1))
    return noise.standardised(noise_of, x) * full


def _without(x: Array, units: Sequence[Array]) -> Array:
    for unit in units:
        x = x - unit * jnp.sum(unit * x, axis=0)
    return x


def _unit(x: Array) -> Array:
    square = jnp.sum(x * x, axis=0)
    return x / jnp.sqrt(jnp.where(square > 0.0, square, 1.0))


def _units(columns: Sequence[Array]) -> list[Array]:
    """Gram and Schmidt's, in the order given."""
    units: list[Array] = []
    for column in columns:
        units.append(_unit(_without(column, units)))
    return units


def chances(found: Left, ranks: Array) -> Chances:
    """p-values of each draw: (draw, ...) as `found` is. ranks: (M,) as `ranks` gives them."""
    lags, waves, splits = found.correlation.shape[1], found.power.shape[1], found.split.shape[1]
    largest = jnp.max(found.power, axis=1, initial=0.0)
    return Chances(
        box=gammaincc(lags / 2.0, found.box / 2.0),
        power=jnp.minimum(1.0, waves * jnp.exp((waves - 1) * jnp.log1p(-largest))),
        split=jnp.minimum(1.0, splits * jnp.exp(-jnp.max(found.split, axis=1, initial=0.0))),
        ahead=gammaincc(jnp.maximum(ranks, 1)[:, None] / 2.0, jnp.sum(found.ahead**2, axis=-1) / 2.0),
        moved=2.0 * ndtr(-jnp.abs(found.moved)),
    )


def agreed(p: Array) -> Array:
    """One p-value from those of many draws (draw, ...): twice their (upper) median, however they depend on one another.

    Source: Rueger (1978), Metrika 25, 171-178; Vovk & Wang (2020), section 2, doi:10.1093/biomet/asaa027.
    """
    ordered = jnp.sort(p, axis=0)
    return jnp.minimum(1.0, 2.0 * ordered[p.shape[0] // 2])


def holm(p: Sequence[float]) -> list[float]:
    """p-values that each bound the chance of one false alarm among all of `p` (Holm 1979)."""
    out, reached = [0.0] * len(p), 0.0
    for place, which in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        reached = max(reached, min(1.0, (len(p) - place) * p[which]))
        out[which] = reached
    return out
