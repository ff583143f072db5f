"""Alarms and their causes measured: the detector's calibration, and how often the true cause is named.

For every declared forecast hazard and threshold are calibrated, as its `hazard` stage does; then series are simulated
(white, 130 weeks, something new after 100) in which a level moves by 2.5 sd for good, or by 5 sd for two weeks, either
where a registered event of that kind is, or at a random date between 2019 and 2025. What a verdict makes of them tells
how far coincidence with a dense registry may be believed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np

from engine import changepoint, hazard
from engine.changepoint import Alarming
from engine.detection import Heard, judge
from engine.hazard import Calibration
from engine.registered import KnownEvent
from engine.spec import parse_spec, period_dates
from engine.spec_detect import Detect
from registry import regimes
from stages.bench_row import Row
from stages.hazard import labelled_series
from stages.known_events import known_event
from stages.registered import REGIMES
from stages.stage import declared_spec, load_params

WEEKS, AT, NEAR = 130, 100, 28  # periods, the first new one; days within which a finding is about it
LEVEL, PULSE, BRIEF = 2.5, 5.0, 2  # sd, sd, and for how many weeks at least
DATES, REPEATS = 100, 3  # random dates; series an event
FIRST, SPAN = date(2019, 1, 7), 2500  # days


class Planted(NamedTuple):
    """Something new in a series: when, how large and for how many weeks; None: for good."""

    day: date
    size: float
    weeks: int | None


class World(NamedTuple):
    """A forecast's detection."""

    detect: Detect
    calibration: Calibration
    events: tuple[KnownEvent, ...]


def rows(root: Path) -> Iterator[Row]:
    """Every line of the bench, as soon as it is known."""
    for forecast in load_params(root)["forecasts"]:
        spec = parse_spec(declared_spec(root, forecast))
        known = regimes.load(root / REGIMES)
        found = hazard.calibrate(labelled_series(root, spec, known), spec.detect, known.digest).calibration
        yield from _calibration(forecast, found)
        asked = spec.detect.registered
        events = tuple(known_event(event) for event in known.concerning(asked.channels, asked.regions))
        yield from verdicts(forecast, World(spec.detect, found, events), DATES, REPEATS)


def _calibration(forecast: str, found: Calibration) -> Iterator[Row]:
    basis = f"{found.groups} events held out in turn, {found.simulated_series} simulated series and {found.real_series}"
    for name in ("log", "brier"):
        ours, base, plain = (getattr(each, name) for each in (found.out, found.base_rate, found.uncalibrated))
        note = f"base rate {base:.4f}, the detector's own {plain:.4f}; {basis}"
        yield Row(f"{forecast}: {name} score of P(change), out of sample", f"{ours:.4f}", note)
    alarms = found.alarms_out
    note = f"in {alarms.quiet_years:.0f} quiet years; hazard {found.hazard:g}, threshold {found.threshold:g}"
    yield Row(f"{forecast}: false alarms, out of sample", f"{alarms.false_alarms_per_year:.3f} a year", note)
    note = f"{alarms.noticed} of {alarms.changes} within a quarter; median delay {alarms.delay} weeks"
    yield Row(f"{forecast}: changes noticed, out of sample", f"{alarms.noticed / max(alarms.changes, 1):.0%}", note)


def verdicts(forecast: str, world: World, dates: int, repeats: int) -> Iterator[Row]:
    """What is made of something planted at random dates, and where registered events are."""
    draw = np.random.default_rng(1)
    for what, size, weeks in (("level", LEVEL, None), ("pulse", PULSE, BRIEF)):
        days = [FIRST + timedelta(days=int(day)) for day in draw.integers(0, SPAN, dates)]
        said = Counter(_said(world, Planted(day, size, weeks), draw) for day in days)
        yield _row(f"{forecast}: unregistered {what} called unexplained", said, "unexplained")
    for what, size in (("level", LEVEL), ("pulse", PULSE)):
        mine = [event for event in world.events if event.pulse == (what == "pulse")]
        mine = [event for event in mine if event.kind != "null_announcement"]
        if mine:
            said = Counter(_named(world, event, size, draw) for event in mine for _ in range(repeats))
            yield _row(f"{forecast}: registered {what} given to its event", said, "its event")


def _row(what: str, said: Counter[str], right: str) -> Row:
    total = sum(said.values())
    others = ", ".join(f"{name} {count}" for name, count in sorted(said.items()) if name != right)
    return Row(what, f"{said[right] / total:.0%}", f"of {total}; else {others or 'nothing'}")


def _said(world: World, planted: Planted, draw: np.random.Generator) -> str:
    finding = _finding(world, planted, draw)
    return finding[0] if finding else "missed"


def _named(world: World, event: KnownEvent, size: float, draw: np.random.Generator) -> str:
    weeks = max(BRIEF, (event.last - event.first).days // 7 + 1) if event.pulse else None
    finding = _finding(world, Planted(event.first, size, weeks), draw)
    if finding is None:
        return "missed"
    return "its event" if finding[1] == event.id else finding[0]


def _finding(world: World, planted: Planted, draw: np.random.Generator) -> tuple[str, str | None] | None:
    """Cause and event of the first finding about what was planted."""
    monday = planted.day - timedelta(days=planted.day.weekday())
    periods = period_dates(monday - timedelta(days=7 * AT), 7, WEEKS)
    residuals = draw.normal(size=(WEEKS, 1))
    residuals[AT : WEEKS if planted.weeks is None else AT + planted.weeks] += planted.size
    found = world.calibration
    alarming = Alarming(found.hazard, world.detect.window, found.threshold)
    online = changepoint.online_panel(residuals, world.detect.segments, alarming)
    verdict = judge(Heard(online, residuals, periods), WEEKS, world.events, world.detect, found, "")
    near = [each for each in verdict.findings if abs((each.start - monday).days) <= NEAR]
    return (near[0].cause, near[0].event) if near else None
