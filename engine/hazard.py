"""Hazard, alarm threshold and reliability of the detector, chosen and measured against labelled series.

What is scored, at every period, is the detector's probability of a change within the last `window` periods, against
the label whether a change that lasts began there (engine.labelled). It is made believable by a map (engine.reliability)
and heard from a threshold on (engine.operating). All is out of sample by events: for the series of an event, hazard,
map and threshold are chosen on the series of all others. Beside the scores stand those of the base rate, the share of
labelled periods among the others, and those of the detector's probability as it comes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from engine import changepoint, operating, reliability
from engine.changepoint import Alarming
from engine.declared import Frozen, Unit
from engine.errors import CalibrationError
from engine.labelled import Labelled
from engine.operating import THRESHOLDS, WARM, Alarmed, Operation
from engine.reliability import STEPS, Bin, Block
from engine.spec_detect import Detect

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Calibrated(Frozen):
    """What detection takes from a calibration."""

    hazard: Unit
    threshold: Unit  # on the detector's own probability
    map: Annotated[tuple[Block, ...], Field(min_length=1)]  # of the detector's own probability, by its log odds

    def probability(self, reported: float) -> float:
        """The calibrated probability of a change within the window, of the detector's own."""
        return reliability.mapped(self.map, reliability.step_of(reported))


class Scores(Frozen):
    """Means over the scored periods; smaller is better."""

    log: Finite
    brier: Finite


class Calibration(Calibrated):
    """The choice, and what was measured. `out`: each event held out; `within`: on what was chosen by."""

    window: int
    periods: int  # scored
    labelled: int  # of them with a change begun within the window
    out: Scores
    within: Scores
    uncalibrated: Scores  # at the hazards chosen without the event
    base_rate: Scores
    alarms_out: Operation
    alarms_within: Operation
    chosen_without: tuple[int, ...]  # of the declared hazards: how many events, held out, left it the best
    simulated_series: int
    real_series: tuple[str, ...]
    groups: int
    registry_sha256: str


class Held(NamedTuple):
    """One group while it was held out; the scores are means over its periods."""

    group: str
    kind: str
    series: int
    periods: int
    labelled: int
    hazard: float
    threshold: float
    log: float
    brier: float
    log_uncalibrated: float
    brier_uncalibrated: float
    log_base_rate: float
    brier_base_rate: float
    changes: int
    noticed: int
    false_alarms: int
    quiet_periods: int


class Found(NamedTuple):
    """A calibration and its tables: by group, and the reliability diagrams out of sample."""

    calibration: Calibration
    held: tuple[Held, ...]
    mapped: tuple[Bin, ...]
    uncalibrated: tuple[Bin, ...]


class _Told(NamedTuple):
    """What the detector told at every candidate hazard."""

    still: Counts  # (hazard, group, step) periods without a label, by log odds
    moved: Counts  # (hazard, group, step) labelled periods
    alarms: tuple[Alarmed, ...]  # by hazard


class _Choice(NamedTuple):
    """What was chosen for, or without, a group."""

    hazard: int  # index of the candidate
    map: tuple[Block, ...]
    threshold: int  # index of THRESHOLDS


def calibrate(series: Sequence[Labelled], detect: Detect, registry_sha256: str) -> Found:
    """Chooses among the declared hazards, and measures, on `series` of at least two groups.

    Raises CalibrationError for fewer groups, or a series of which nothing can be scored.
    """
    groups = sorted({each.group for each in series})
    if len(groups) < 2:
        raise CalibrationError(f"labelled series: expected at least 2 groups, found {len(groups)}")
    for each in series:
        if max((end for _, end in each.judged), default=0) <= WARM:
            raise CalibrationError(f"labelled series {each.group}: expected labels after its first {WARM} periods")
    member = [groups.index(each.group) for each in series]
    told = _told(series, member, detect)
    everyone = np.ones(len(groups), dtype=bool)
    per_year = detect.hazard.false_alarms_per_year
    choice = _choose(told, everyone, per_year)
    without = [_choose(told, np.arange(len(groups)) != g, per_year) for g in range(len(groups))]
    held = tuple(_held(told, g, groups[g], series, member, without[g], detect) for g in range(len(groups)))
    return Found(
        calibration=_calibration(told, choice, without, held, series, detect, registry_sha256),
        held=held,
        mapped=_diagram(told, without, calibrated=True),
        uncalibrated=_diagram(told, without, calibrated=False),
    )


def _told(series: Sequence[Labelled], member: Sequence[int], detect: Detect) -> _Told:
    groups, time = max(member) + 1, max(len(each.residuals) for each in series)
    panel = np.full((len(series), time), np.nan)
    labelled, scored = np.zeros(panel.shape, dtype=bool), np.zeros(panel.shape, dtype=bool)
    for row, each in enumerate(series):
        panel[row, : len(each.residuals)] = each.residuals
        for first, end in each.judged:
            scored[row, max(first, WARM) : end] = True
        for moved_at in each.changes:
            labelled[row, moved_at.start : moved_at.start + detect.window] = True
    of = np.broadcast_to(np.asarray(member)[:, None], panel.shape)
    tables, alarms = [], []
    for hazard in detect.hazard.hazards:
        alarming = Alarming(hazard, detect.window, THRESHOLDS[-1])  # no alarm of it is read
        change = changepoint.online_batch(panel, detect.segments, alarming).change_probability
        place = of * STEPS + reliability.steps(change)
        counted = [np.bincount(place[scored & which], minlength=groups * STEPS) for which in (~labelled, labelled)]
        tables.append([each.reshape(groups, STEPS) for each in counted])
        alarms.append(operating.alarmed(change, series, member))
    still, moved = (np.stack(each) for each in zip(*tables, strict=True))
    return _Told(still, moved, tuple(alarms))


def _choose(told: _Told, groups: npt.NDArray[np.bool_], per_year: float) -> _Choice:
    """The hazard of the best logarithmic score over `groups`, its map and its threshold."""
    still, moved = told.still[:, groups].sum(axis=1), told.moved[:, groups].sum(axis=1)
    maps = [reliability.isotonic(no, yes) for no, yes in zip(still.tolist(), moved.tolist(), strict=True)]
    told_all = np.stack([reliability.told(each) for each in maps])
    hazard = int(np.argmin(reliability.losses(still, moved, told_all).log))
    return _Choice(hazard, maps[hazard], operating.choose(told.alarms[hazard], groups, per_year))


def _held(
    told: _Told,
    g: int,
    name: str,
    series: Sequence[Labelled],
    member: Sequence[int],
    choice: _Choice,
    detect: Detect,
) -> Held:
    own = [each for each, group in zip(series, member, strict=True) if group == g]
    still, moved = told.still[choice.hazard], told.moved[choice.hazard]
    labelled, periods = int(moved[g].sum()), int((still[g] + moved[g]).sum())
    rate = (int(moved.sum()) - labelled + 0.5) / (int((still + moved).sum()) - periods + 1.0)
    rivals = np.stack([reliability.told(choice.map), reliability.as_it_comes(), np.full(STEPS, rate)])
    cost = reliability.losses(np.stack([still[g]] * 3), np.stack([moved[g]] * 3), rivals)
    alarms = told.alarms[choice.hazard]
    delays = alarms.delay[alarms.owner == g, choice.threshold]
    log, brier = (np.asarray(each / periods).tolist() for each in cost)
    return Held(
        group=name,
        kind=own[0].kind,
        series=len(own),
        periods=periods,
        labelled=labelled,
        hazard=detect.hazard.hazards[choice.hazard],
        threshold=THRESHOLDS[choice.threshold],
        log=log[0],
        brier=brier[0],
        log_uncalibrated=log[1],
        brier_uncalibrated=brier[1],
        log_base_rate=log[2],
        brier_base_rate=brier[2],
        changes=len(delays),
        noticed=int((delays != operating.MISSED).sum()),
        false_alarms=int(alarms.false[g, choice.threshold]),
        quiet_periods=int(alarms.quiet[g]),
    )


def _calibration(
    told: _Told,
    choice: _Choice,
    without: Sequence[_Choice],
    held: Sequence[Held],
    series: Sequence[Labelled],
    detect: Detect,
    registry_sha256: str,
) -> Calibration:
    still, moved = told.still[choice.hazard].sum(axis=0), told.moved[choice.hazard].sum(axis=0)
    cost = reliability.losses(still[None], moved[None], reliability.told(choice.map)[None])
    periods = int((still + moved).sum())
    alarms = told.alarms[choice.hazard]
    return Calibration(
        hazard=detect.hazard.hazards[choice.hazard],
        threshold=THRESHOLDS[choice.threshold],
        map=choice.map,
        window=detect.window,
        periods=periods,
        labelled=int(moved.sum()),
        out=_scores([(each.periods, each.log, each.brier) for each in held]),
        within=Scores(log=cost.log.tolist()[0] / periods, brier=cost.brier.tolist()[0] / periods),
        uncalibrated=_scores([(each.periods, each.log_uncalibrated, each.brier_uncalibrated) for each in held]),
        base_rate=_scores([(each.periods, each.log_base_rate, each.brier_base_rate) for each in held]),
        alarms_out=operating.operation(
            sum(each.false_alarms for each in held),
            sum(each.quiet_periods for each in held),
            [delay for g, each in enumerate(without) for delay in _delays(told, g, each)],
        ),
        alarms_within=operating.operation(
            int(alarms.false[:, choice.threshold].sum()),
            int(alarms.quiet.sum()),
            alarms.delay[:, choice.threshold].tolist(),
        ),
        chosen_without=tuple(sum(each.hazard == h for each in without) for h in range(len(detect.hazard.hazards))),
        simulated_series=sum(each.simulated for each in series),
        real_series=tuple(sorted({each.group for each in series if not each.simulated})),
        groups=len(held),
        registry_sha256=registry_sha256,
    )


def _delays(told: _Told, g: int, choice: _Choice) -> list[int]:
    alarms = told.alarms[choice.hazard]
    return list(alarms.delay[alarms.owner == g, choice.threshold].tolist())


def _scores(rows: Sequence[tuple[int, float, float]]) -> Scores:
    """Means over periods of (periods, log, brier) by group."""
    periods = sum(count for count, _, _ in rows)
    return Scores(
        log=math.fsum(count * log for count, log, _ in rows) / periods,
        brier=math.fsum(count * brier for count, _, brier in rows) / periods,
    )


def _diagram(told: _Told, without: Sequence[_Choice], calibrated: bool) -> tuple[Bin, ...]:
    still = np.stack([told.still[choice.hazard, g] for g, choice in enumerate(without)])
    moved = np.stack([told.moved[choice.hazard, g] for g, choice in enumerate(without)])
    plain = reliability.as_it_comes()
    probability = np.stack([reliability.told(choice.map) if calibrated else plain for choice in without])
    return reliability.diagram(still, moved, probability)
