"""One model's calibration: worlds from its prior, one compiled sampler for all of them, and the ranks of the truths."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import numpy as np
from arviz_stats.base import array_stats

from engine.design import Design
from engine.fit import Sampler
from engine.model import Parameters
from engine.prng import stream
from engine.spec import Spec
from tests.sbc import models, quantities
from tests.worlds import Maker, World


class Length(NamedTuple):
    """How long one chain is."""

    warmup: int
    draws: int  # kept, and ranked among
    thin: int  # draws made for one that is kept, so that those kept are nearly independent


LENGTH = Length(warmup=250, draws=63, thin=5)


class Ranked(NamedTuple):
    """One world."""

    ranks: dict[str, int]  # by quantity: how many of the kept draws lie below the truth
    effective: dict[str, float]  # bulk ESS of the kept draws
    divergences: int
    deepest: int  # leapfrog steps of the longest trajectory


class Ranker:
    """Ranks truths of one specification in data of one shape; its programs are compiled once."""

    def __init__(self, spec: Spec, design: Design, length: Length) -> None:
        """design: the covariates of every world."""
        self.spec, self.design, self._length = spec, design, length
        self._world = Maker(spec).world
        self.sampler = Sampler(spec, length.warmup, length.draws * length.thin, design)
        self._derived = jax.jit(partial(quantities.mapped, spec))

    def rank(self, seed: int, world: Callable[[Design, int], World] | None = None) -> Ranked:
        """What the truth of the world `seed` ranks. world: another maker of worlds, to see a wrong prior caught."""
        made = (world or self._world)(self.design, seed)
        chain = self.sampler.chain(made.design, stream(seed, "sbc"))
        kept = jax.tree.map(lambda x: x[self._length.thin - 1 :: self._length.thin], chain.parameters)
        both: Parameters = jax.tree.map(lambda t, x: np.concatenate([np.asarray(t)[None], x]), made.truth, kept)
        values = {**quantities.scalars(both), **self._derived(both, made.design)}
        varying = {name: np.asarray(x) for name, x in values.items() if bool(np.any(np.asarray(x) != x[0]))}
        return Ranked(
            ranks={name: int(np.sum(x[1:] < x[0])) for name, x in varying.items()},
            effective={name: float(array_stats.ess(x[None, 1:], method="bulk")) for name, x in varying.items()},
            divergences=int(chain.diverging.sum()),
            deepest=int(chain.steps.max()),
        )


@lru_cache(maxsize=len(models.MODELS))
def ranker(name: str) -> Ranker:
    """Of the model `name`."""
    spec = models.spec(name)
    return Ranker(spec, models.design(spec), LENGTH)


def by_quantity(worlds: Sequence[Ranked]) -> dict[str, list[int]]:
    """Ranks of every quantity, one a world. Raises ValueError where a world lacks one."""
    names = list(worlds[0].ranks)
    for world in worlds:
        if list(world.ranks) != names:
            raise ValueError(f"ranks: expected {names} of every world, found {list(world.ranks)}")
    return {name: [world.ranks[name] for world in worlds] for name in names}


class Task(NamedTuple):
    """Some worlds of one model."""

    model: str
    first: int  # seed
    worlds: int


class Done(NamedTuple):
    """What became of a task."""

    worlds: list[Ranked]
    seconds: float  # of CPU, compilation included


def ranked(task: Task) -> Done:
    """Every world of `task`."""
    start = time.process_time()
    rank = ranker(task.model).rank
    worlds = [rank(seed) for seed in range(task.first, task.first + task.worlds)]
    return Done(worlds, time.process_time() - start)
