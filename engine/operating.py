"""Where an alarm's threshold stands: false alarms a year where nothing changes, against changes noticed.

Glossary
--------
quiet        periods in which nothing labelled happens: an alarm there is false
noticed      an alarm within NOTICED periods of the change, the first of them its own; its delay counts from there
Worked example: a change at index 40 and alarms at 12 and 42: one false alarm, one change noticed after 2 periods.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from engine.declared import Frozen
from engine.labelled import Labelled

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Finite = Annotated[float, Field(allow_inf_nan=False)]

WARM = 13  # first periods that count for nothing: the detector has seen too little
NOTICED = 13
YEAR = 52  # weeks; a period of a real series counts as a week whatever it is
THRESHOLDS = tuple(k / 100 for k in range(5, 100))
MISSED = -1


class Operation(Frozen):
    """What alarms are worth."""

    false_alarms_per_year: Finite
    quiet_years: Finite
    changes: int
    noticed: int
    delay: Finite | None  # median of those noticed


class Alarmed(NamedTuple):
    """What alarms at each of THRESHOLDS would have done."""

    false: Counts  # (group, threshold) false alarms
    quiet: Counts  # (group,) quiet periods
    owner: Counts  # (change,) its group
    delay: Counts  # (change, threshold) periods, or MISSED


def alarmed(change: Floats, series: Sequence[Labelled], member: Sequence[int]) -> Alarmed:
    """Counts of the change probabilities (series, time); member: each series' group, 0 .. groups - 1."""
    groups, time = max(member) + 1, change.shape[1]
    of = np.asarray(member)
    t = np.arange(time)
    calm = (t >= WARM) & (t < np.asarray([each.quiet for each in series])[:, None])
    marks = [(row, each.start) for row, labelled in enumerate(series) for each in labelled.changes]
    rows, starts = np.asarray(marks, dtype=np.int64).reshape(-1, 2).T
    after = starts[:, None] + np.arange(NOTICED)
    inside = after < np.asarray([len(series[row].residuals) for row in rows.tolist()], dtype=np.int64)[:, None]
    false = np.zeros((groups, len(THRESHOLDS)), dtype=np.int64)
    delay = np.zeros((len(marks), len(THRESHOLDS)), dtype=np.int64)
    for k, threshold in enumerate(THRESHOLDS):
        above = change > threshold
        raised = np.concatenate([np.zeros((len(series), 1), bool), above[:, 1:] & ~above[:, :-1]], axis=1)
        np.add.at(false[:, k], of, (raised & calm).sum(axis=1))
        near = raised[rows[:, None], np.minimum(after, time - 1)] & inside
        delay[:, k] = np.where(near.any(axis=1), near.argmax(axis=1), MISSED)
    quiet = np.zeros(groups, dtype=np.int64)
    np.add.at(quiet, of, calm.sum(axis=1))
    return Alarmed(false, quiet, of[rows], delay)


def choose(told: Alarmed, groups: npt.NDArray[np.bool_], per_year: float) -> int:
    """The index of the threshold by which these groups' changes are noticed most, at no more false alarms.

    Of equals the highest; the highest of all where every threshold has too many false alarms.
    """
    false, quiet = told.false[groups].sum(axis=0), int(told.quiet[groups].sum())
    noticed = (told.delay[groups[told.owner]] != MISSED).sum(axis=0)
    allowed = false * YEAR <= per_year * quiet
    if not allowed.any():
        return len(THRESHOLDS) - 1
    worth = np.where(allowed, noticed, -1)
    return int(np.flatnonzero(worth == worth.max())[-1])


def operation(false: int, quiet: int, delays: Sequence[int]) -> Operation:
    """The summary of `false` alarms in `quiet` periods, and of each change's delay."""
    found = [delay for delay in delays if delay != MISSED]
    return Operation(
        false_alarms_per_year=false * YEAR / quiet if quiet else 0.0,
        quiet_years=quiet / YEAR,
        changes=len(delays),
        noticed=len(found),
        delay=float(median(found)) if found else None,
    )
