"""Change-points measured: segmentation of the Turing Change Point Dataset, alarms on simulations, speed.

The dataset (van den Burg & Williams 2020, arXiv:2003.06222) does not ship with the project: a folder `tcpd` with
`series/*.json`, `annotations.json` and `published_scores.csv`, in ../shared/data or where NOPTIK_SHARED_DATA says.
Every series found there is measured, with the one configuration of params.yaml's `change_points`.
"""

from __future__ import annotations

import csv
import json
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from engine.changepoint import Alarming, online, online_batch
from engine.changepoint_scores import covering, f1
from engine.changepoint_series import Hindsight, changes
from engine.declared import Count, Frozen, Positive, Unit
from engine.spec_detect import Robust, Segments
from stages.bench_row import Row
from stages.stage import load_params

Floats = npt.NDArray[np.float64]

WEEKS = 52
SIZES = (1.0, 2.0, 4.0)  # sd of a planted break of level
PUBLISHED = ("bocpd_default", "binseg_default", "zero", "bocpd_oracle")


class Online(Frozen):
    """Alarms, and the beta of the robust variant that is measured beside them."""

    segments: Segments
    hazard: Unit
    window: Count
    threshold: Unit
    beta: Positive


class ChangePoints(Frozen):
    """params.yaml's `change_points`."""

    margin: Count
    hindsight: Hindsight
    online: Online


class Score(NamedTuple):
    """Of one segmentation of one series."""

    f1: float
    covering: float

    def __str__(self) -> str:
        return f"{self.f1:.3f} / {self.covering:.3f}"


def rows(root: Path) -> Iterator[Row]:
    """Every line of the bench, as soon as it is known."""
    declared = ChangePoints.model_validate(load_params(root)["change_points"])
    yield from dataset(_shared(root) / "tcpd", declared)
    watching = declared.online
    steady = watching.segments.model_copy(update={"robust": Robust(kind="beta_divergence", beta=watching.beta)})
    for name, segments in (("likelihood", watching.segments), (f"beta {watching.beta}", steady)):
        yield from alarms(f"online, {name}", segments, watching, series=400, years=10)
        yield from speed(f"online, {name}", segments, watching)


def dataset(folder: Path, declared: ChangePoints) -> Iterator[Row]:
    """F1 and covering of every series of `folder`, beside what is published, and the means."""
    if not folder.is_dir():
        yield Row("tcpd", "absent", f"no folder {folder}; NOPTIK_SHARED_DATA names another")
        return
    annotations = json.loads((folder / "annotations.json").read_text("utf-8"))
    published = _published(folder / "published_scores.csv")
    scores: dict[str, Score] = {}
    for path in sorted((folder / "series").glob("*.json")):
        series = _read(path)
        marked = [tuple(each) for each in annotations.get(path.stem, {}).values()]
        if not marked:
            yield Row(f"tcpd {path.stem}", "skipped", "no annotation")
            continue
        starts = changes(series, declared.hindsight).starts
        scores[path.stem] = Score(f1(marked, starts, declared.margin), covering(marked, starts, len(series)))
        note = _beside(published[path.stem]) if path.stem in published else "nothing published"
        yield Row(f"tcpd {path.stem}: F1 / covering", str(scores[path.stem]), f"{note}; starts {_list(starts)}")
    if scores:
        yield Row(f"tcpd mean of {len(scores)}: F1 / covering", str(_mean(list(scores.values()))), "")
    both = sorted(set(scores) & set(published))
    if both:
        theirs = {name: _mean([published[series][name] for series in both]) for name in PUBLISHED}
        mean = _mean([scores[series] for series in both])
        yield Row(f"tcpd mean of the {len(both)} published: F1 / covering", str(mean), _beside(theirs))


def alarms(name: str, segments: Segments, watching: Online, series: int, years: int) -> Iterator[Row]:
    """False alarms a year on stationary Normal residuals, and how long breaks of level wait for theirs."""
    alarming = Alarming(watching.hazard, watching.window, watching.threshold)
    noise = np.random.default_rng(1).normal(size=(series, WEEKS * years))
    raised = _begins(_above(noise, segments, alarming))
    count, span = int(raised.sum()), series * years
    error = math.sqrt(max(count, 1)) / span
    note = f"+-{error:.3f}; the hazard implies {watching.hazard * WEEKS:.3f}; {count} in {span:,} years"
    yield Row(f"{name}: false alarms a year", f"{count / span:.3f}", note)
    for size in SIZES:
        delays, missed = _delays(size, segments, alarming, series)
        note = f"10, 50, 90 % of those alarmed; {missed}"
        yield Row(f"{name}: delay after {size:g} sd, weeks", _quantiles(delays), note)


def speed(name: str, segments: Segments, watching: Online) -> Iterator[Row]:
    """Observations a CPU second: many series at once, one long one, and whether length matters."""
    alarming = Alarming(watching.hazard, watching.window, watching.threshold)
    rng = np.random.default_rng(2)
    for memory in (segments.max_run_length, 260):
        remembering = segments.model_copy(update={"max_run_length": memory})
        panel = rng.normal(size=(256, 520))
        rate = _rate(panel.size, partial(online_batch, panel, remembering, alarming))
        note = f"{panel.shape[0]} series of {panel.shape[1]}"
        yield Row(f"{name}: obs a CPU s, batch, memory {memory}", f"{rate:,.0f}", note)
    rates = []
    for length in (1_000, 10_000, 100_000):
        one = rng.normal(size=length)
        rates.append(_rate(length, partial(online, one, segments, alarming)))
    note = f"of 10,000, memory {segments.max_run_length}; of 1,000: {rates[0]:,.0f}, of 100,000: {rates[2]:,.0f}"
    yield Row(f"{name}: obs a CPU s, one series", f"{rates[1]:,.0f}", note)


def _delays(size: float, segments: Segments, alarming: Alarming, series: int) -> tuple[list[int], str]:
    """Weeks from a break in week 104, up or down, to the first alarm, 0 the same week; and how many had none.

    A series whose false alarm still stands when the break comes cannot alarm anew: it is counted apart.
    """
    rng = np.random.default_rng(3)
    begin = 2 * WEEKS
    panel = rng.normal(size=(series, begin + WEEKS))
    panel[:, begin:] += size * rng.choice([-1.0, 1.0], size=(series, 1))
    above = _above(panel, segments, alarming)
    standing = above[:, begin - 1]
    found = [np.flatnonzero(row) for row in _begins(above)[~standing, begin:]]
    delays = [int(row[0]) for row in found if row.size]
    return delays, f"{len(found) - len(delays)} of {len(found)} not within a year"


def _above(panel: Floats, segments: Segments, alarming: Alarming) -> npt.NDArray[np.bool_]:
    return online_batch(panel, segments, alarming).change_probability > alarming.threshold


def _begins(above: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """(series, time): an alarm begins, as engine.changepoint.online_panel defines it."""
    begins = np.zeros_like(above)
    begins[:, 1:] = above[:, 1:] & ~above[:, :-1]
    return begins


def _quantiles(delays: Sequence[int]) -> str:
    if not delays:
        return "none"
    ordered = sorted(delays)
    return ", ".join(str(ordered[math.ceil(share * len(ordered)) - 1]) for share in (0.1, 0.5, 0.9))


def _rate(observations: int, work: Callable[[], object]) -> float:
    work()  # compiles
    seconds = []
    for _ in range(3):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return observations / statistics.median(seconds)


def _shared(root: Path) -> Path:
    named = os.environ.get("NOPTIK_SHARED_DATA")
    return Path(named) if named else root.parent / "shared" / "data"


def _read(path: Path) -> Floats:
    """(time, dimension), NaN where the file has null."""
    dimensions = json.loads(path.read_text("utf-8"))["series"]
    columns = [[math.nan if x is None else float(x) for x in each["raw"]] for each in dimensions]
    return np.array(columns, dtype=np.float64).T


def _published(path: Path) -> Mapping[str, Mapping[str, Score]]:
    with path.open(encoding="utf-8", newline="") as file:
        lines: list[dict[str, Any]] = list(csv.DictReader(file))
    return {
        line["series"]: {name: Score(float(line[f"{name}_f1"]), float(line[f"{name}_cover"])) for name in PUBLISHED}
        for line in lines
    }


def _beside(scores: Mapping[str, Score]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {scores[name]}" for name in PUBLISHED)


def _mean(scores: Sequence[Score]) -> Score:
    return Score(*(math.fsum(values) / len(scores) for values in zip(*scores, strict=True)))


def _list(starts: Sequence[int]) -> str:
    shown = ", ".join(str(start) for start in starts[1:13])
    return f"{shown} and {len(starts) - 13} more" if len(starts) > 13 else shown or "none"
