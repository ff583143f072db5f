"""The calibration: what is held out stays out, alarms are counted as the detector raises them, scores beat the rest."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
import pytest

from engine import hazard, operating
from engine.changepoint import Alarming, online, online_batch
from engine.errors import CalibrationError
from engine.hazard import Calibrated, Found
from engine.labelled import Change, Labelled, simulated
from engine.operating import MISSED, NOTICED, THRESHOLDS, WARM, YEAR
from engine.registered import Kind, KnownEvent
from engine.reliability import Block, step_of
from engine.spec_detect import Detect
from tests import small

SMALL = small.spec().detect
DETECT = SMALL.model_copy(
    update={
        "window": 8,
        "segments": SMALL.segments.model_copy(update={"max_run_length": 100}),
        "hazard": SMALL.hazard.model_copy(update={"hazards": (0.002, 0.02), "false_alarms_per_year": 0.3}),
    }
)
SHA = "0" * 64
KINDS: tuple[Kind, ...] = (
    "regime_change",
    "measurement_change",
    "artefact",
    "transient_promotion",
    "null_announcement",
)


def events(count: int) -> list[KnownEvent]:
    first = date(2021, 3, 1)
    return [
        KnownEvent(
            id=f"event_{n:02d}",
            kind=KINDS[n % 5],
            first=first,
            last=first + timedelta(days=6 if n % 5 in (2, 3) else 0),
            public=first,
            confidence="high",
        )
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def series() -> tuple[Labelled, ...]:
    return simulated(events(20), 4, 100, seed=5)


@pytest.fixture(scope="module")
def found(series: tuple[Labelled, ...]) -> Found:
    return hazard.calibrate(series, DETECT, SHA)


def plain(residuals: Sequence[float], group: str, changes: Sequence[int] = (), quiet: int = 0) -> Labelled:
    marks = tuple(Change(start, 1.0) for start in changes)
    return Labelled(group, "regime_change", True, tuple(residuals), marks, quiet, ((0, len(residuals)),))


def test_out_of_sample_it_beats_the_base_rate_and_what_the_detector_says(found: Found) -> None:
    said = found.calibration
    assert said.out.log < 0.95 * said.base_rate.log
    assert said.out.log < 0.95 * said.uncalibrated.log
    assert said.out.brier < said.base_rate.brier
    assert said.out.brier < said.uncalibrated.brier
    assert said.within.log <= said.out.log  # what was seen is never harder


def test_the_diagram_is_reliable_where_it_has_cases(found: Found) -> None:
    for each in found.mapped:
        if each.mean is not None and each.cases >= 100:
            sd = (each.mean * (1 - each.mean) / each.cases) ** 0.5
            # periods of a series depend on one another: as if one in eight counted
            assert abs(each.happened / each.cases - each.mean) < 4 * 8**0.5 * sd + 0.01
    assert sum(each.cases for each in found.mapped) == found.calibration.periods
    assert sum(each.happened for each in found.uncalibrated) == found.calibration.labelled


def test_false_alarms_stay_within_what_is_declared(found: Found) -> None:
    said = found.calibration.alarms_within
    assert said.false_alarms_per_year <= DETECT.hazard.false_alarms_per_year
    assert said.quiet_years > 50
    assert said.noticed / said.changes > 0.4
    assert said.delay is not None
    assert said.delay <= 6


def test_what_an_event_scores_does_not_depend_on_its_own_labels(series: tuple[Labelled, ...], found: Found) -> None:
    """Held out, an event's map, hazard and threshold are those of the others: a lie about it changes none of them."""
    lied = tuple(
        each._replace(changes=(Change(20, 1.0),), quiet=15) if each.group == "event_00" else each for each in series
    )
    other = {each.group: each for each in hazard.calibrate(lied, DETECT, SHA).held}
    mine = {each.group: each for each in found.held}
    lie, truth = other["event_00"], mine["event_00"]
    assert (lie.hazard, lie.threshold, lie.log_base_rate != truth.log_base_rate) == (
        truth.hazard,
        truth.threshold,
        True,
    )
    assert lie.log > truth.log
    assert any(other[name].log != mine[name].log for name in other if name != "event_00")  # but theirs sees the lie


def test_sums_of_the_held_out_are_the_whole(series: tuple[Labelled, ...], found: Found) -> None:
    said, held = found.calibration, found.held
    assert [each.group for each in held] == sorted({each.group for each in series})
    assert said.periods == sum(each.periods for each in held) == len(series) * (100 - WARM)
    assert said.labelled == sum(each.labelled for each in held)
    assert said.alarms_out.noticed == sum(each.noticed for each in held)
    assert said.alarms_out.changes == sum(each.changes for each in held) == sum(len(each.changes) for each in series)
    assert sum(said.chosen_without) == said.groups == 20
    assert (said.simulated_series, said.real_series) == (80, ())


def test_equal_series_give_equal_bytes(series: tuple[Labelled, ...], found: Found) -> None:
    again = hazard.calibrate(series, DETECT, SHA)
    assert again.calibration.model_dump_json() == found.calibration.model_dump_json()
    assert again.held == found.held


def test_series_of_several_lengths_are_scored_to_their_ends(series: tuple[Labelled, ...]) -> None:
    short = plain(series[0].residuals[:40], "short", quiet=40)._replace(simulated=False)
    alone = {each.group: each for each in hazard.calibrate([*series, short], DETECT, SHA).held}["short"]
    assert (alone.periods, alone.quiet_periods) == (40 - WARM, 40 - WARM)


def test_without_a_single_change_little_is_promised_and_nothing_breaks() -> None:
    few = simulated([each for each in events(5) if each.kind in ("artefact", "null_announcement")], 1, 60, 3)
    said = hazard.calibrate(few, DETECT, SHA).calibration
    assert said.labelled == 0
    assert said.probability(0.99) < 0.05
    assert said.alarms_within.delay is None


def test_too_little_to_learn_from_is_refused(series: tuple[Labelled, ...]) -> None:
    with pytest.raises(CalibrationError, match="at least 2 groups, found 1"):
        hazard.calibrate(series[:4], DETECT, SHA)
    with pytest.raises(CalibrationError, match="event_x: expected labels after its first 13"):
        hazard.calibrate([*series, plain([0.0] * 9, "event_x")], DETECT, SHA)


def test_the_map_is_read_by_log_odds() -> None:
    calibrated = Calibrated(hazard=0.01, threshold=0.5, map=(Block(0, 0.01), Block(step_of(0.6), 0.4)))
    assert [calibrated.probability(p) for p in (0.0, 0.5, 0.6, 1.0)] == [0.01, 0.01, 0.4, 0.4]


# The operating point.


def test_alarms_are_counted_as_the_detector_raises_them(series: tuple[Labelled, ...]) -> None:
    panel = np.asarray([each.residuals for each in series[:12]])
    change = online_batch(panel, DETECT.segments, Alarming(0.02, 8, 0.5)).change_probability
    member = [0] * 12
    for k in (20, 45, 70):
        told = operating.alarmed(change, series[:12], member)
        raised = [online(row, DETECT.segments, Alarming(0.02, 8, THRESHOLDS[k])).alarms for row in panel]
        false = sum(
            WARM <= alarm.period < each.quiet for each, alarms in zip(series, raised, strict=False) for alarm in alarms
        )
        assert told.false[0, k] == false
        delays = [
            min((a.period - c.start for a in alarms if 0 <= a.period - c.start < NOTICED), default=MISSED)
            for each, alarms in zip(series, raised, strict=False)
            for c in each.changes
        ]
        assert told.delay[:, k].tolist() == delays
    assert told.quiet.tolist() == [sum(each.quiet - WARM for each in series[:12])]


def test_the_threshold_notices_most_within_the_allowance() -> None:
    count = len(THRESHOLDS)
    false = np.maximum(30 - np.arange(count), 0)[None].astype(np.int64)
    delay = np.where(np.arange(count) < 60, 1, MISSED)[None].astype(np.int64)
    told = operating.Alarmed(false, np.asarray([52 * 10]), np.asarray([0]), delay)
    everyone = np.asarray([True])
    assert operating.choose(told, everyone, 1.0) == 59  # of those that notice it, the highest
    late = told._replace(delay=np.where(np.arange(count) < 10, 1, MISSED)[None].astype(np.int64))
    assert false[0, operating.choose(late, everyone, 1.0)] <= 10  # the lower ones are not allowed
    assert operating.choose(told._replace(false=false + 999), everyone, 1.0) == count - 1


def test_operation_counts_years_and_the_median_delay() -> None:
    said = operating.operation(3, 2 * YEAR, [0, 4, MISSED, 2])
    assert (said.false_alarms_per_year, said.quiet_years, said.changes, said.noticed, said.delay) == (
        1.5,
        2.0,
        4,
        3,
        2.0,
    )


@pytest.mark.parametrize("asked", [DETECT, SMALL])
def test_a_declared_candidate_is_chosen(series: tuple[Labelled, ...], asked: Detect) -> None:
    said = hazard.calibrate(series[:24], asked.model_copy(update={"segments": DETECT.segments}), SHA).calibration
    assert said.hazard in asked.hazard.hazards
    assert said.threshold in THRESHOLDS
    assert said.window == asked.window
