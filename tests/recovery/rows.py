"""Rows of the table: many worlds of one class, fitted, and how often and how nearly truth was found."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy import stats

from engine import ingest
from engine.design import build
from engine.media import MediaParameters
from engine.model import Parameters
from engine.spec import Spec, parse_spec
from engine.table import to_panel
from stages.stage import declared_spec
from tests import worlds
from tests.fresh import REPOSITORY
from tests.recovery import measure, sizes
from tests.recovery.measure import Fitter, Recovered

NOMINAL = 0.9
CONFIDENCE = 0.99  # of the bounds on a rate: the table has two dozen rows
UNMIXED = 1.05  # R-hat from which a chain is counted as not mixed; its world stays in the row
SEVEN, GEO = "seven_channels", "geo_simulated"


class Task(NamedTuple):
    """What one row needs."""

    name: str
    worlds: int
    warmup: int
    draws: int


class Row(NamedTuple):
    """One row of the table. `bounded`: truth was drawn from the fit's priors, so coverage must be nominal."""

    name: str
    found: tuple[Recovered, ...]  # one a world
    seconds: float  # of the processor, compilation included
    bounded: bool


def seed_of(name: str, world: int) -> int:
    """Seeds of different classes and worlds have nothing in common."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") * 1000 + world


def rows(task: Task) -> tuple[Row, ...]:
    """The rows of `task`: importable by name, so that processes can make them."""
    start = time.process_time()
    if task.name == GEO:
        places, channels = _geo(task)
        seconds = time.process_time() - start
        return Row(f"{GEO}, by location", (places,), seconds, False), Row(f"{GEO}, in all", (channels,), 0.0, False)
    fixed = task.name == SEVEN
    spec, periods = (sizes.seven(), sizes.SEVEN_TIME) if fixed else (sizes.spec(task.name), sizes.time(task.name))
    found = _recovered(task, spec, periods, fixed)
    return (Row(task.name, found, time.process_time() - start, not fixed),)


def _recovered(task: Task, spec: Spec, periods: int, fixed: bool) -> tuple[Recovered, ...]:
    found: list[Recovered] = []
    maker, fitter = worlds.Maker(spec), None
    for place in range(task.worlds):
        seed = seed_of(task.name, place)
        design, _ = build(worlds.panel(spec, seed, periods), spec, periods)
        truth = _seven(maker.drawn(design, seed)) if fixed else None
        world = maker.world(design, seed, truth)
        fitter = fitter or Fitter(spec, task.warmup, task.draws, design)
        found.append(fitter.recovered(world.design, world.truth, seed))
    return tuple(found)


def _seven(drawn: Parameters) -> Parameters:
    """The fixed truth of seven channels; level, trend and season are as drawn."""
    media = MediaParameters(
        beta=jnp.asarray(sizes.SEVEN_EFFECT)[None],
        adstock=jnp.asarray(sizes.SEVEN_ALPHA)[None],
        saturation=jnp.asarray(sizes.SEVEN_LAMBDA)[None],
        interaction=drawn.media.interaction,
        variation=drawn.media.variation,
    )
    noise = drawn.noise._replace(
        sigma=jnp.full_like(drawn.noise.sigma, sizes.SEVEN_SIGMA), rho=jnp.asarray(sizes.SEVEN_RHO)
    )
    return drawn._replace(media=media, noise=noise)


def _geo(task: Task) -> tuple[Recovered, Recovered]:
    """The simulated table that ships with the project, as params.yaml declares it: by channel and place, by channel."""
    spec = parse_spec(declared_spec(REPOSITORY, "geo"))
    panel = to_panel(ingest.read(Path(REPOSITORY, spec.data.path).read_bytes(), spec.data).table, spec.data)
    design, _ = build(panel, spec, len(panel.periods))
    start = time.process_time()
    fitter = Fitter(spec, task.warmup, task.draws, design)
    chain = fitter.chain(design, seed_of(GEO, 0))
    draws, truth = fitter.drawn(chain, design), geo_truth(spec)
    seconds = time.process_time() - start
    return (
        measure.summary(truth.ravel(), draws.reshape(draws.shape[0], -1), chain, seconds),
        measure.summary(truth.sum(axis=1), draws.sum(axis=2), chain, seconds),
    )


def geo_truth(spec: Spec) -> np.ndarray:
    """What each channel really added in each location: (M, L)."""
    told = json.loads((REPOSITORY / "data" / "mmmfw_geo_truth.json").read_text("utf-8"))["true_contribution_by_geo"]
    return np.asarray([[told[place][channel.column] for place in spec.data.locations] for channel in spec.data.media])


def coverage(found: Sequence[Recovered]) -> float:
    """Share of pairs whose truth lies within its interval, the mean over worlds."""
    return float(np.mean([np.mean(each.covered) for each in found]))


def bounds(rate: float, worlds: int) -> tuple[float, float]:
    """Clopper & Pearson's (1934, doi:10.1093/biomet/26.4.404) of a rate seen in so many worlds.

    Pairs of one world depend on each other, so worlds are counted, and not pairs: the bounds are too wide rather than
    too narrow. A share of a world counts as a share of a success.
    """
    hits, tail = rate * worlds, (1.0 - CONFIDENCE) / 2.0
    low = float(stats.beta.ppf(tail, hits, worlds - hits + 1.0)) if hits > 0.0 else 0.0
    high = float(stats.beta.ppf(1.0 - tail, hits + 1.0, worlds - hits)) if hits < worlds else 1.0
    return low, high


def of_total(found: Sequence[Recovered]) -> float:
    """Absolute errors of all pairs and worlds added up, over truths added up: no world of next to no effect rules."""
    wrong = sum(float(np.sum(np.abs(each.mean - each.truth))) for each in found)
    return wrong / sum(float(np.sum(np.abs(each.truth))) for each in found)


def nominal(found: Sequence[Recovered]) -> bool:
    """Whether the nominal rate lies within the bounds of the rate that was seen."""
    low, high = bounds(coverage(found), len(found))
    return low <= NOMINAL <= high
