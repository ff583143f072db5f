"""Change-points in one-step residuals: Bayesian online detection, and the most probable segmentation.

Source: Adams & MacKay 2007, arXiv:0710.3742 ("A&M" below).

Glossary
--------
segment         a stretch of consecutive periods with one mean (or one line) and one noise scale
start           the first period of a segment, an index into time; the first segment starts at 0
run length r    periods since the start of the segment that period t lies in: 0 at the start itself
change          a segment starting at t > 0. "A change within `window` at t" means r < window, that is a start
                among the last `window` periods, t itself included
Worked example: residuals 0.1, -0.2, 4.1, 3.9 with a change at index 2 have run lengths 0, 1, 0, 1.

The model. Before every period but the first a segment ends with probability `hazard`, independently. Within a
segment, of each location separately, the observation tau periods after the start is Normal, under one of

    constant   x[tau] ~ N(mu, s2)          mu | s2 ~ N(0, s2 / mean_precision)
    linear     x[tau] ~ N(a + b tau, s2)   a | s2 ~ N(0, s2 / mean_precision), b | s2 ~ N(0, s2 slope_scale^2)

with s2 ~ InverseGamma(shape, rate) in both, and prior odds linear : constant = `linear_weight` : 1. So
slope_scale is in units of the segment's noise sd per period. All locations share the starts; parameters,
noise scales and the choice of constant or linear are each location's own: the predictive density of a
period is the product over locations.

Memory. A segment predicts from at most its last `max_run_length` periods, as if it had started that long
ago. The run lengths kept are 0 .. max_run_length - 1, and the last one stands for "at least that": the mass
that would grow past it is folded into it. Given this memory the recursions are exact; and where
max_run_length is not below the number of periods, nothing is forgotten.

Belief. Residuals of a model that fits have mean 0 and variance 1. With `settled` = n the first segment knows it from n
periods before the first, half of them at 1 and half at -1: a change is then a departure from that, and one may be
found from the first period on. With 0 the first segment is like every other.

A missing value (NaN) brings no evidence: run lengths grow by the hazard alone, and time goes on.

Outliers. With `robust.kind` beta_divergence the density of an observation is replaced by its beta-score, and a
segment weighs its observations: engine/changepoint_robust.py. Probabilities below are then generalised ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from engine.changepoint_law import law_of
from engine.changepoint_recursion import forward, forward_batch, viterbi
from engine.errors import EngineError, SpecError
from engine.spec_detect import Segments

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]

TOGETHER = 8  # series that a batch computes side by side
LARGEST = 1e100  # of a residual: its square, and that over any sensible rate, is still a float64


class ResidualError(EngineError):
    """Residuals in which no change can be looked for."""


@dataclass(frozen=True)
class Alarm:
    """A change reported at the end of `period`, on nothing later than `period`.

    `start` is the most probable start among the last `window` periods; `probability`, that one lies there.
    """

    period: int
    start: int
    probability: float

    @property
    def delay(self) -> int:
        """Periods from the start, as it is dated here, to this alarm; 0: in the same one."""
        return self.period - self.start


@dataclass(frozen=True)
class Online:
    """What was known at the end of each period from the residuals up to it. All arrays are (time,)."""

    change_probability: Floats  # P(r < window)
    map_run_length: Ints  # most probable r; max_run_length - 1 means at least that
    expected_run_length: Floats  # E(r), counting the last kept run length as itself
    recent_run_length: Ints  # most probable r among r < window
    log_predictive: Floats  # log p(x[t] | x[:t]), or its score; the sum is the log evidence of the residuals
    alarms: tuple[Alarm, ...]  # in order of period


@dataclass(frozen=True)
class Segmentation:
    """The most probable sequence of starts, ascending from 0, and log p(starts, residuals)."""

    starts: tuple[int, ...]
    log_joint: float


class Batch(NamedTuple):
    """`Online` of many series at once, in short. Arrays are (series, time)."""

    change_probability: Floats
    recent_run_length: Ints


class Alarming(NamedTuple):
    """When to raise an alarm: a change begun among the last `window` periods is likelier than `threshold`."""

    hazard: float  # prior probability of a change at any period
    window: int
    threshold: float


def online(residuals: Floats, segments: Segments, alarming: Alarming) -> Online:
    """Run-length summaries and alarms of one series (time,); see `online_panel`."""
    _check_rank(residuals, 1)
    return online_panel(residuals[:, None], segments, alarming)


def online_panel(residuals: Floats, segments: Segments, alarming: Alarming) -> Online:
    """Run-length summaries and alarms of residuals (time, location) whose locations change together.

    An alarm is raised at the first period whose change probability exceeds `threshold` after one at or
    below it, and not again before it has come back to or below it. Without `settled` the first `window` periods
    have probability one by definition and never alarm; nor does a change among them, unless the probability falls and
    rises again.

    NaN is missing. Raises ResidualError for an empty panel or a value beyond LARGEST, SpecError unless
    window < max_run_length.
    """
    _check_rank(residuals, 2)
    _check_window(segments, alarming)
    panel, lead = _led(residuals, segments)
    law = law_of(segments, alarming.hazard)
    out = forward(panel, law, alarming.window, _kept(segments, len(panel)), False, _robust(segments))
    change, longest, expected, recent, predictive = (np.asarray(o)[lead:] for o in out)
    alarms = _alarms(change, recent, alarming.threshold, armed=lead > 0)
    return Online(change, longest, expected, recent, predictive, alarms)


def online_batch(residuals: Floats, segments: Segments, alarming: Alarming) -> Batch:
    """What `online` says of each row of residuals (series, time), every series on its own.

    NaN is missing, so shorter series are filled up with it. Errors as `online_panel`.
    """
    _check_rank(residuals, 2)
    _check_window(segments, alarming)
    columns, lead = _led(residuals.T, segments)
    time, count = columns.shape
    rows = np.full((-(-count // TOGETHER) * TOGETHER, time), np.nan)
    rows[:count] = columns.T
    panels, law = rows.reshape(-1, TOGETHER, time, 1), law_of(segments, alarming.hazard)
    found = forward_batch(panels, law, alarming.window, _kept(segments, time), _robust(segments))
    change, recent = (np.asarray(each).reshape(-1, time)[:count, lead:] for each in found)
    return Batch(change, recent)


def run_length_posterior(residuals: Floats, segments: Segments, hazard: float) -> Floats:
    """P(r | residuals up to t), (time, max_run_length), of residuals (time, location); rows sum to one.

    Run lengths count the `settled` periods too. Errors as `online_panel`.
    """
    _check_rank(residuals, 2)
    panel, lead = _led(residuals, segments)
    rows = np.zeros((len(residuals), segments.max_run_length))
    kept = _kept(segments, len(panel))
    rows[:, :kept] = forward(panel, law_of(segments, hazard), 1, kept, True, _robust(segments))[lead:]
    return rows


def segmentation(residuals: Floats, segments: Segments, hazard: float) -> Segmentation:
    """The most probable starts of residuals (time,) or (time, location), in hindsight.

    Viterbi's recursion, O(time * max_run_length): max in the place of A&M's sum. Errors as `online_panel`.
    """
    columns = residuals[:, None] if residuals.ndim == 1 else residuals
    _check_rank(columns, 2)
    panel, lead = _led(columns, segments)
    starts, best = viterbi(panel, law_of(segments, hazard), _kept(segments, len(panel)), _robust(segments))
    began = np.asarray(starts).tolist()
    found: list[int] = []
    end = len(began)
    while end > 0:
        end = began[end - 1]
        found.append(end)
    return Segmentation(tuple(sorted({max(start - lead, 0) for start in found})), float(best))


def _led(residuals: Floats, segments: Segments) -> tuple[Floats, int]:
    """Residuals (time, column) with the settled periods before them, and how many these are."""
    sign = np.where(np.arange(segments.settled) % 2 == 0, 1.0, -1.0)
    return np.concatenate([np.repeat(sign[:, None], residuals.shape[1], axis=1), residuals]), segments.settled


def _kept(segments: Segments, time: int) -> int:
    """Run lengths worth keeping: none is longer than the series, so the rest would stay empty."""
    return min(segments.max_run_length, time)


def _robust(segments: Segments) -> bool:
    return segments.robust.kind != "none"


def _alarms(change: Floats, recent: Ints, threshold: float, armed: bool) -> tuple[Alarm, ...]:
    found: list[Alarm] = []
    for period, (probability, run) in enumerate(zip(change.tolist(), recent.tolist(), strict=True)):
        above = probability > threshold
        if above and armed:
            found.append(Alarm(period, max(period - run, 0), probability))
        armed = not above
    return tuple(found)


def _check_window(segments: Segments, alarming: Alarming) -> None:
    if alarming.window >= segments.max_run_length:
        raise SpecError(
            f"detect.window: expected less than max_run_length {segments.max_run_length}, found {alarming.window}"
        )


def _check_rank(residuals: Floats, rank: int) -> None:
    if residuals.ndim != rank or residuals.size == 0:
        raise ResidualError(f"residuals: expected {rank} axes and a value, found shape {residuals.shape}")
    wild = np.argwhere((residuals > LARGEST) | (residuals < -LARGEST))
    if wild.size:
        where = wild[0].tolist()
        found = residuals[tuple(where)]
        raise ResidualError(f"residuals{where}: expected NaN or a value within {LARGEST:g}, found {found}")
