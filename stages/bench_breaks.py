"""Breaks planted in simulated sales: what is found, and what the intervals after it are worth.

Each world is two years of weekly sales of one place: level, trend, a yearly season, two channels, residuals with
autocorrelation. At week BREAK the log level moves by .3, or a slope of 4/3 a year begins, or sales rise by a half for
two weeks (a registered promotion), or half of two weeks goes unreported (a registered artefact), or nothing happens.
The backtest runs as for any forecast, from origins two weeks apart: detection at each origin sees what was known there,
and the window is run again with what follows. Rows compare the central 80 % interval of the next 13 weeks with and
without that, before any calibration, at the origins of the quarter after the break.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from engine import backtest, detection
from engine.changepoint import Alarming
from engine.detection import Heard
from engine.hazard import Calibration
from engine.looks import Looks, judged
from engine.reaction import acts, reaction
from engine.registered import KnownEvent
from engine.spec import Spec, parse_spec, period_dates
from engine.spec_data import MediaColumn
from engine.table import Panel
from engine.verdict import Verdict
from stages.bench_row import Row
from stages.progress import Progress
from stages.stage import declared_spec, worker_count
from stages.workers import Workers

Kind = Literal["none", "level", "slope", "promotion", "outage"]
KINDS: tuple[Kind, ...] = ("none", "level", "slope", "promotion", "outage")
WORLDS = 12  # of each kind
BREAK, FIRST, STEP, LAST, HORIZON = 91, 79, 2, 103, 13  # weeks; origins from FIRST to LAST
LEVEL = 0.8
START = date(2019, 1, 7)
PULSE = 2  # weeks that a promotion or an outage lasts


class Task(NamedTuple):
    """One world."""

    spec: Spec
    kind: Kind
    seed: int
    calibrated: Calibration


class At(NamedTuple):
    """One origin of a world, of which the next HORIZON outcomes are scored."""

    since: int  # weeks known since the break
    acted: bool
    inside: tuple[int, int]  # outcomes in the interval: without consequences, with them
    width: tuple[float, float]  # mean, as a share of the mean outcome
    causes: tuple[str, ...]


def rows(root: Path) -> Iterator[Row]:
    """One row a kind of break and time since it."""
    spec = _spec(parse_spec(declared_spec(root, "retail")))
    calibrated = _calibrated(root)
    workers = Workers(worker_count(), None, Progress())
    for kind in KINDS:
        tasks = [Task(spec, kind, seed, calibrated) for seed in range(WORLDS)]
        worlds = workers.map(f"worlds with {kind}", run, tasks)
        yield from _summary(kind, worlds)


def _summary(kind: Kind, worlds: Sequence[tuple[At, ...]]) -> Iterator[Row]:
    for what, low, high in (("first 3 weeks", 0, 3), ("4 to 8 weeks", 4, 8), ("9 to 13 weeks", 9, 13)):
        at = [each for world in worlds for each in world if low <= each.since <= high]
        if at:
            yield _row(f"{kind}, {what} after", at)
    noticed = [each for world in worlds for each in world if each.acted]
    if noticed:
        yield _row(f"{kind}, once something follows", noticed)
    found = sorted({cause for world in worlds for each in world for cause in each.causes})
    reached = [next((each.since for each in world if each.acted), None) for world in worlds]
    when = sorted(since for since in reached if since is not None)
    note = f"causes named: {', '.join(found) or 'none'}; weeks until then: {', '.join(map(str, when)) or '-'}"
    yield Row(f"{kind}: worlds in which something follows", f"{len(when)} of {len(worlds)}", note)


def _row(what: str, at: Sequence[At]) -> Row:
    count = HORIZON * len(at)
    plain, reacted = (100 * sum(each.inside[k] for each in at) / count for k in (0, 1))
    ratio = math.fsum(each.width[1] for each in at) / math.fsum(each.width[0] for each in at)
    note = f"of {count} outcomes in the 80 % interval; {plain:.0f} % without; width {ratio:.2f} times"
    return Row(what, f"{reacted:.0f} %", note)


def run(task: Task) -> tuple[At, ...]:
    """What each origin after the break (or, without one, every origin) gives."""
    spec = task.spec
    panel = world(spec, task.kind, task.seed)
    origins = list(range(FIRST, LAST + 1, STEP))
    plain = {origin: backtest.run_window(spec, panel, origin) for origin in origins}
    looks = Looks(
        tuple(origins),
        tuple((plain[o].outcome - plain[o].one_step_mean) / plain[o].one_step_sd for o in origins),
        panel.periods[FIRST:],
    )
    alarming = Alarming(task.calibrated.hazard, spec.detect.window, task.calibrated.threshold)
    found = []
    for origin in origins:
        if origin < BREAK and task.kind != "none":
            continue
        judge = partial(_judge, known=origin - FIRST, task=task)
        verdict, _, _ = judged(looks, spec.detect, alarming, judge)
        again = plain[origin]
        if acts(verdict):
            asked = reaction(spec.detect.consequences, verdict, panel.periods, origin, HORIZON)
            again = backtest.run_window(spec, panel, origin, asked)
        outcome = panel.kpi[origin : origin + HORIZON, 0]
        scored = [_scored(window.quantiles, outcome) for window in (plain[origin], again)]
        causes = tuple(finding.cause for finding in verdict.findings)
        inside, width = zip(*scored, strict=True)
        found.append(At(max(origin - BREAK, 0), acts(verdict), inside, width, causes))
    return tuple(found)


def _judge(heard: Heard, known: int, task: Task) -> Verdict:
    return detection.judge(heard, known, events(task.kind), task.spec.detect, task.calibrated, "")


def _scored(quantiles: np.ndarray, outcome: np.ndarray) -> tuple[int, float]:
    low, high = quantiles[0, :, 0], quantiles[-1, :, 0]
    inside = int(np.sum((low <= outcome) & (outcome <= high)))
    return inside, float(np.mean(high - low) / np.mean(outcome))


def events(kind: Kind) -> tuple[KnownEvent, ...]:
    """What the registry knows of the planted break."""
    names: dict[Kind, Literal["transient_promotion", "artefact"]] = {
        "promotion": "transient_promotion", "outage": "artefact",
    }  # fmt: skip
    if kind not in names:
        return ()
    first, last = period_dates(START, 7, BREAK + PULSE)[BREAK], period_dates(START, 7, BREAK + PULSE)[-1]
    event = KnownEvent(id="planted", kind=names[kind], first=first, last=last, public=first, confidence="high")
    return (event,)


def world(spec: Spec, kind: Kind, seed: int) -> Panel:
    """Simulated sales; numbers from Python's own generator."""
    draw = random.Random(f"{kind} {seed}")
    time = LAST + HORIZON
    media = np.asarray([[draw.lognormvariate(3.0, 0.5) for _ in spec.data.media] for _ in range(time)])[:, None, :]
    residual, sales = 0.0, []
    sign = draw.choice((-1.0, 1.0))
    for t in range(time):
        residual = 0.3 * residual + draw.gauss(0.0, 0.08)
        log = 0.05 * t / 52 + 0.15 * math.cos(2 * math.pi * t / 52.1775) + residual
        log += math.fsum(0.2 * (1 - math.exp(-x / 20.0)) for x in media[t, 0].tolist())
        since = t - BREAK
        if kind == "level" and since >= 0:
            log += sign * 0.3
        if kind == "slope" and since >= 0:
            log += sign * since / 52 / 3 * 4
        if kind == "promotion" and 0 <= since < PULSE:
            log += math.log(1.5)
        if kind == "outage" and 0 <= since < PULSE:
            log += math.log(0.5)
        sales.append([1000.0 * math.exp(log)])
    return Panel(
        periods=tuple(period_dates(START, 7, time)),
        locations=spec.data.locations,
        outcomes=(spec.data.kpi.name,),
        kpi=np.asarray(sales),
        error=np.zeros((time, 0)),
        media=media,
        frequency=np.zeros((time, 1, 0)),
        controls=np.zeros((time, 1, 0)),
        mediators=np.zeros((time, 1, 0)),
    )


def _spec(retail: Spec) -> Spec:
    """Retail's specification of inference, detection and consequences; the model of the simulated worlds."""
    values = json.loads(retail.model_dump_json())
    columns = [MediaColumn(name=name, column=name, unit="EUR") for name in ("tv", "search")]
    values["data"] |= {"media": [json.loads(c.model_dump_json()) for c in columns], "controls": []}
    values["model"] |= {
        "likelihood": {"kind": "student_t", "shape": 2.0, "rate": 0.1},
        "residual": {"kind": "ar1", "scale": 0.5},
        "trend": {"kind": "linear", "scale": 0.1},
        "seasons": [{"period": 52.1775, "harmonics": 1, "scale": 0.2}],
        "events": [],
    }
    values["model"]["media"]["scale"] = 0.2
    values["backtest"] |= {"first_origin": FIRST, "step": STEP}
    values["plan"] |= {"media": "recent_mean", "controls": "recent_mean"}
    values["calibrate"]["levels"] = [LEVEL]
    return parse_spec(json.dumps(values).encode())


def _calibrated(root: Path) -> Calibration:
    """Retail's calibrated detector, as the last run left it."""
    return Calibration.model_validate_json((root / "artifacts/retail/hazard/calibration.json").read_bytes())
