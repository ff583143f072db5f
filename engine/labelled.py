"""Labelled series: residuals in which it is known where something changed, to calibrate the detector against.

Simulated: around the date of every registered event, `repeats` series of weekly standardised one-step residuals, whose
shape its class gives:

    regime_change        a level shift (three in four) or a slope; back again at its end, where that is known
    measurement_change   a level shift, with the same return
    transient_promotion  a pulse upwards, as long as the event
    artefact             a pulse up or down, as long as the event; of half a year or more, two changes that last
    null_announcement    nothing

A shift is 0.75 to 4 sd, either way, log-uniform; a slope reaches its size in a quarter and stops at twice it; a pulse
is 1.5 to 8 sd. A third of the series has Normal noise, a third Student's t with 4 degrees of freedom, a third is
autoregressive with rho 0.3; all of variance 1. The event begins in the third quarter of the series.

Real: files that ship with the project (`Observed`). The first `known` values, or their logarithms, give a mean, or a
trend and a season, and a noise scale; what these leave of every value, in units of that scale, is its residual.

An event's series are one group, and a real series is one with all events that its labels rest on.

Label of a period: whether a change that lasts began among the last `window` periods. What a pulse does is no change.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from engine.declared import Count, Frozen, Positive, Text
from engine.errors import CalibrationError
from engine.prng import stream
from engine.registered import KnownEvent
from engine.seasonality import fourier_basis

Floats = npt.NDArray[np.float64]
Finite = Annotated[float, Field(allow_inf_nan=False)]
NonNegativeInt = Annotated[int, Field(ge=0)]

SHIFT = (0.75, 4.0)  # sd
PULSE = (1.5, 8.0)
SLOPES = 0.25  # of the changes of regime
HARMONICS = 3  # of a real series' season
QUARTER = 13  # weeks in which a slope reaches its size
RHO = 0.3
WEEK = 7


class Change(NamedTuple):
    """A labelled change that lasts: its first period, and how far it moves then, in sd, where that is known."""

    start: int
    size: float


class Labelled(NamedTuple):
    """One series and its labels."""

    group: str  # held out together: an event's id, or a real series' name
    kind: str
    simulated: bool
    residuals: tuple[float, ...]
    changes: tuple[Change, ...]
    quiet: int  # the first so many periods hold nothing labelled: alarms there are false
    judged: tuple[tuple[int, int], ...]  # ranges [from, to) of periods whose labels are known


class Observed(Frozen):
    """A real series, as its file says. Periods are indices into `values`."""

    name: Text
    source: Text  # who published the values
    labels: Text  # who says what changed
    kind: Text
    events: tuple[Text, ...]  # ids of the registered events that the labels rest on
    log: bool  # whether logarithms are looked at
    season: Positive | None  # periods in a year; None: neither season nor trend
    known: Count  # values that the standards come from
    changes: tuple[NonNegativeInt, ...]  # first periods of changes that last
    quiet: NonNegativeInt  # the first so many periods hold no change
    judged: tuple[tuple[NonNegativeInt, NonNegativeInt], ...]  # ranges [from, to) whose labels are known
    values: Annotated[tuple[Finite, ...], Field(min_length=2)]

    @model_validator(mode="after")
    def _inside(self) -> Self:
        ends = (self.known, self.quiet, *self.changes, *(end for span in self.judged for end in span))
        if max(ends) > len(self.values):
            raise ValueError(f"{self.name}: expected periods within its {len(self.values)} values, found {max(ends)}")
        return self


class _Draws(NamedTuple):
    """What chance decides, of n series of T periods."""

    noise: Any  # (n, T) of variance 1
    place: Any  # (n,) in [0, 1): where in the third quarter the event begins
    shift: Any  # (n,) sd
    pulse: Any  # (n,) sd
    down: Any  # (n,) whether downwards
    slope: Any  # (n,) whether a change of regime is a slope


def simulated(events: Sequence[KnownEvent], repeats: int, periods: int, seed: int) -> tuple[Labelled, ...]:
    """`repeats` series of `periods` >= 8 around each event, in order of events; equal arguments give equal series."""
    if not events:
        return ()
    keys = jnp.stack([stream(seed, "hazard", event.id) for event in events])
    drawn = _Draws(*(np.asarray(each).tolist() for each in _draw(keys, repeats, periods)))
    return tuple(
        _series(events[row // repeats], _Draws(*each), periods) for row, each in enumerate(zip(*drawn, strict=True))
    )


@partial(jax.jit, static_argnums=(1, 2))
def _draw(keys: Any, repeats: int, periods: int) -> _Draws:
    def of_event(key: Any) -> Any:
        normal, tail, share = jax.random.split(key, 3)
        z = jax.random.normal(normal, (repeats, periods))
        return z, jax.random.uniform(tail, (repeats, periods, 2)), jax.random.uniform(share, (repeats, 4))

    z, tail, share = (each.reshape(-1, *each.shape[2:]) for each in jax.vmap(of_event)(keys))
    squares = -2.0 * jnp.sum(jnp.log1p(-tail), axis=2)  # chi-squared with 4 degrees of freedom
    heavy = z * jnp.sqrt(2.0 / squares)  # t with 4 degrees of freedom over its sd
    form = (jnp.arange(z.shape[0]) % 3)[:, None]
    noise = jnp.where(form == 0, z, jnp.where(form == 1, heavy, _autoregressive(z)))
    place, size, way, shape = share.T
    return _Draws(noise, place, _between(SHIFT, size), _between(PULSE, size), way < 0.5, shape < SLOPES)


def _autoregressive(z: Any) -> Any:
    """x[t] = rho x[t-1] + sqrt(1 - rho^2) z[t] of each row, stationary from the first period on."""

    def step(before: Any, now: Any) -> Any:
        x = RHO * before + math.sqrt(1.0 - RHO * RHO) * now
        return x, x

    rest = jax.lax.scan(step, z[:, 0], z[:, 1:].T)[1]
    return jnp.concatenate([z[:, :1], rest.T], axis=1)


def _between(ends: tuple[float, float], share: Any) -> Any:
    """Log-uniform between two sizes."""
    low, high = (jnp.log(end) for end in ends)
    return jnp.exp(low + share * (high - low))


def _series(event: KnownEvent, drawn: _Draws, periods: int) -> Labelled:
    start = periods // 2 + int(drawn.place * (periods // 4))
    lasts = (event.last - event.first).days // WEEK + 1
    until = min(start + lasts, periods) if event.temporary else periods
    match event.kind:
        case "regime_change" | "measurement_change":
            size = -drawn.shift if drawn.down else drawn.shift
            slope = drawn.slope and event.kind == "regime_change"
            effect = [_ramp(t, start, size) if slope else size for t in range(start, until)]
        case "transient_promotion":
            effect = [drawn.pulse] * (until - start)
        case "artefact":
            effect = [-drawn.pulse if drawn.down else drawn.pulse] * (until - start)
        case "null_announcement":
            effect = []
    changes: tuple[Change, ...] = ()
    if effect and not event.pulse:
        ends = (Change(start, abs(effect[0])), Change(until, abs(effect[-1])))
        changes = ends if until < periods else ends[:1]
    quiet = periods if event.kind == "null_announcement" else start
    residuals = list(drawn.noise)
    for t, moved in enumerate(effect, start):
        residuals[t] += moved
    return Labelled(event.id, event.kind, True, tuple(residuals), changes, quiet, ((0, periods),))


def _ramp(t: int, start: int, size: float) -> float:
    return size * min((t - start + 1) / QUARTER, 2.0)


def observed(real: Observed) -> Labelled:
    """The series with its residuals and labels."""
    values = [math.log(value) for value in real.values] if real.log else list(real.values)
    time = len(values)
    columns = [[1.0] * time]
    if real.season is not None:
        columns.append([t - (real.known - 1) / 2.0 for t in range(time)])
        columns += np.asarray(fourier_basis(time, real.season, HARMONICS)).T.tolist()
    left = _left(values, columns, real.known)
    sd = math.sqrt(math.fsum(x * x for x in left[: real.known]) / (real.known - len(columns)))
    changes = tuple(Change(start, math.nan) for start in real.changes)
    return Labelled(real.name, real.kind, False, tuple(x / sd for x in left), changes, real.quiet, real.judged)


def together(series: Sequence[Labelled], real: Sequence[Observed]) -> tuple[Labelled, ...]:
    """All of them, simulated and real; what is around an event that a real series rests on is held out with it.

    Raises CalibrationError where two real series rest on one event.
    """
    owner: dict[str, str] = {}
    for each in real:
        for event in each.events:
            if owner.setdefault(event, each.name) != each.name:
                raise CalibrationError(f"{each.name}: expected events of its own, found {event} of {owner[event]} too")
    joined = (each._replace(group=owner.get(each.group, each.group)) for each in series)
    return (*joined, *(observed(each) for each in real))


def _left(values: Sequence[float], columns: Sequence[Sequence[float]], known: int) -> list[float]:
    """What least squares on the first `known` rows leaves of all, by eliminating one column after the other."""
    rest = [list(column) for column in (*columns, values)]
    for k in range(len(columns)):
        pivot = rest[k]
        norm = math.fsum(x * x for x in pivot[:known])
        for j in range(k + 1, len(rest)):
            share = math.fsum(x * y for x, y in zip(pivot[:known], rest[j][:known], strict=True)) / norm
            rest[j] = [y - share * x for x, y in zip(pivot, rest[j], strict=True)]
    return rest[-1]
