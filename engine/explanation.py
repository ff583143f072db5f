"""What lies behind an alarm: a change that lasts, a pulse that passes, or nothing; posterior odds of each cause.

Glossary
--------
shape     what the residuals did: nothing, a change that lasts, or a pulse of so many periods with its return
cause     why: one of the registered events nearby, something unregistered, or nothing at all
stretch   the residuals that are looked at: from the start of the regime they lie in to what is known
Worked example: residuals 0.1, -0.2, 4.1, 3.9, 0.0 are, beside "nothing", a change that lasts from index 2, or a pulse
of two periods from index 2, whose return at index 4 belongs to it.

Within a stretch of one shape the periods fall into two parts, the old and the new, and each part of each location has
its own mean or line and its own noise, as a segment of the change-point model has (engine.changepoint). Its evidence
is closed: conjugate regression (Bishop 2006, exercise 3.23) with precision L0 = diag(mean_precision, 1 / slope_scale^2)
for the line, and L0 = mean_precision for the mean,

    log p = lgamma(a_n) - lgamma(a_0) - n/2 log(2 pi) + a_0 log b_0 - a_n log b_n + 1/2 log(|L0| / |L_n|),

a_n = a_0 + n/2, b_n = b_0 + 1/2 (|x - X m|^2 + m' L0 m), m the posterior mean; line and mean are mixed with prior odds
`linear_weight` : 1. A pulse's return belongs to the old part: one regime, interrupted. Here an outlier counts in full,
whatever the detector's `robust`: to explain it is the point.

Prior. The start is any of the candidates, equally. An event is the cause with the probability that it is trusted with,
independently of other events; where none is, the alarm is a change that lasts (`lasting`), a pulse of 1 ..
pulse_periods, each as probable (`passing`), or nothing. An event that is a pulse has its own length with probability
one half, else any of these lengths; a change whose end is known lasts or has its own length, each with one half.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from engine.spec_detect import Explanation, Segments

Floats = npt.NDArray[np.float64]

BUCKET = 64  # periods and shapes are padded to multiples of it: few programs are compiled
LOG_ODDS = 27.6  # odds are cut at about 1e12 : 1, beyond which the priors mean nothing


class Shape(NamedTuple):
    """Periods `start` .. `start + length - 1` are new; all from `start` where `length` is None."""

    start: int
    length: int | None

    def end(self, time: int) -> int:
        """The first of `time` periods that is old again, or `time`."""
        return time if self.length is None else min(self.start + self.length, time)


class Candidate(NamedTuple):
    """A registered event that may be the cause."""

    name: str
    lasts: bool  # a change of regime or metric; otherwise a pulse
    length: int | None  # periods, of what has an end
    trust: tuple[float, ...]  # (start,) probability that it is the cause of something that began there


class Belief(NamedTuple):
    """One joint hypothesis and its posterior probability. No shape: nothing happened."""

    shape: Shape | None
    event: str | None  # None: unregistered
    probability: float


def explain(
    stretch: Floats,
    starts: Sequence[int],
    candidates: Sequence[Candidate],
    explanation: Explanation,
    segments: Segments,
) -> tuple[Belief, ...]:
    """Every hypothesis about an alarm, its posterior probability beside it; they sum to one.

    stretch: (time, location) residuals, NaN where missing; starts: indices into it, at least one, each > 0.
    """
    priors = _priors(starts, candidates, explanation)
    shapes = list(dict.fromkeys(shape for shape, _, _ in priors))
    evidence = dict(zip(shapes, log_evidence(stretch, shapes, segments), strict=True))
    logs = [math.log(prior) + evidence[shape] for shape, _, prior in priors]
    top = max(logs)
    weights = [math.exp(log - top) for log in logs]
    total = math.fsum(weights)
    return tuple(
        Belief(shape, event, weight / total) for (shape, event, _), weight in zip(priors, weights, strict=True)
    )


def _priors(
    starts: Sequence[int], candidates: Sequence[Candidate], explanation: Explanation
) -> list[tuple[Shape | None, str | None, float]]:
    """Shape, event and prior probability; the hypotheses of probability zero are left out."""
    found: list[tuple[Shape | None, str | None, float]] = []
    lengths = range(1, explanation.pulse_periods + 1)
    nothing = 0.0
    for s, start in enumerate(starts):
        trusts = [event.trust[s] for event in candidates]
        unregistered = math.prod(1.0 - trust for trust in trusts)
        together = math.fsum(trusts)
        for event, trust in zip(candidates, trusts, strict=True):
            cause = (1.0 - unregistered) * trust / (together or 1.0)
            found += [(shape, event.name, cause * part) for shape, part in _of_event(event, start, lengths)]
        found.append((Shape(start, None), None, unregistered * explanation.lasting))
        found += [(Shape(start, n), None, unregistered * explanation.passing / len(lengths)) for n in lengths]
        nothing += unregistered * (1.0 - explanation.lasting - explanation.passing)
    every = [*found, (None, None, nothing)]
    return [(shape, event, prior / len(starts)) for shape, event, prior in every if prior > 0.0]


def _of_event(event: Candidate, start: int, lengths: range) -> list[tuple[Shape, float]]:
    """The shapes that the event may have from `start` on, with their shares."""
    if event.length is None:
        return [(Shape(start, None), 1.0)]
    if event.lasts:
        return [(Shape(start, None), 0.5), (Shape(start, event.length), 0.5)]
    shares = dict.fromkeys(lengths, 0.5 / len(lengths))
    shares[event.length] = shares.get(event.length, 0.0) + 0.5
    return [(Shape(start, length), share) for length, share in shares.items()]


def odds(probability: float, others: float) -> float:
    """`probability` against `others`, within 1e-12 .. 1e12."""
    if probability <= 0.0 or others <= 0.0:
        return math.exp(LOG_ODDS if others <= 0.0 else -LOG_ODDS)
    return math.exp(min(max(math.log(probability) - math.log(others), -LOG_ODDS), LOG_ODDS))


def log_evidence(stretch: Floats, shapes: Sequence[Shape | None], segments: Segments) -> list[float]:
    """log p(stretch | shape) of each shape, summed over locations; NaN in `stretch` (time, location) is missing."""
    time, locations = stretch.shape
    rows = _bucket(time)
    panel = np.full((rows, locations), np.nan)
    panel[:time] = stretch
    bounds = np.zeros((_bucket(len(shapes)), 2), np.int32)
    for row, shape in zip(bounds, shapes, strict=False):
        row[:] = (0, 0) if shape is None else (shape.start, shape.end(time))
    law = (segments.mean_precision, segments.shape, segments.rate, segments.slope_scale, segments.linear_weight)
    found: list[float] = np.asarray(_evidence(panel, bounds, jnp.asarray(law))).tolist()
    return found[: len(shapes)]


@jax.jit
def _evidence(panel: Any, bounds: Any, law: Any) -> Any:
    seen = ~jnp.isnan(panel)  # (time, location)
    x = jnp.where(seen, panel, 0.0)
    t = jnp.arange(panel.shape[0])
    new = (t >= bounds[:, :1]) & (t < bounds[:, 1:])  # (shape, time)
    old = _part(x, seen[None] & ~new[:, :, None], t, law)
    since = t - bounds[:, :1]  # (shape, time)
    return jnp.sum(old + _part(x, seen[None] & new[:, :, None], since, law), axis=1)


def _part(x: Any, inside: Any, tau: Any, law: Any) -> Any:
    """Log evidence of the periods `inside` (shape, time, location), as one segment: (shape, location)."""
    kappa, shape, rate, slope_scale, linear_weight = law
    w = inside.astype(jnp.float64)
    tau = jnp.broadcast_to(tau, inside.shape[:2])[:, :, None].astype(jnp.float64)
    ridge = 1.0 / (slope_scale * slope_scale)
    n, time, square = (jnp.sum(w * power, axis=1) for power in (jnp.ones_like(tau), tau, tau * tau))
    total, moment = jnp.sum(w * x, axis=1), jnp.sum(w * tau * x, axis=1)

    mean = total / (kappa + n)
    apart = w * (x - mean[:, None])
    spread = rate + 0.5 * (jnp.sum(apart * apart, axis=1) + kappa * mean * mean)
    constant = 0.5 * jnp.log(kappa / (kappa + n))

    det = (kappa + n) * (ridge + square) - time * time
    level = ((ridge + square) * total - time * moment) / det
    slope = ((kappa + n) * moment - time * total) / det
    apart = w * (x - level[:, None] - slope[:, None] * tau)
    penalty = kappa * level * level + ridge * slope * slope
    linear_spread = rate + 0.5 * (jnp.sum(apart * apart, axis=1) + penalty)
    linear = 0.5 * jnp.log(kappa * ridge / det)

    a = shape + 0.5 * n
    constant = constant - a * jnp.log(spread / rate)
    linear = jnp.log(linear_weight) + linear - a * jnp.log(linear_spread / rate)
    gammas = jax.scipy.special.gammaln(a) - jax.scipy.special.gammaln(shape)
    common = gammas - 0.5 * n * jnp.log(2.0 * jnp.pi * rate) - jnp.log1p(linear_weight)
    return common + jnp.logaddexp(constant, linear)


def _bucket(n: int) -> int:
    return -(-n // BUCKET) * BUCKET
