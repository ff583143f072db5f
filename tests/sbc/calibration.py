"""One model's calibration: worlds from its prior, one compiled sampler for all of them, and the ranks of the truths."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from engine.design import Design
from engine.fit import Sampler
from engine.model import Parameters
from engine.prng import stream
from engine.spec import Spec
from tests.sbc import quantities
from tests.sbc.uniform import chi_square, envelope, holm
from tests.worlds import Maker


class Length(NamedTuple):
    """How long one chain is."""

    warmup: int
    draws: int  # kept and ranked among
    thin: int  # draws made for one that is kept


class Ranked(NamedTuple):
    """One world."""

    ranks: dict[str, int]
    divergences: int
    leapfrogs: int


class Ranker:
    """Ranks truths of one specification; its programs are compiled once.

    truth: a specification of the same shapes whose prior the truths come from instead, to see a wrong one caught.
    """

    def __init__(self, spec: Spec, design: Design, length: Length, truth: Spec | None = None) -> None:
        self._spec, self._design, self._length = spec, design, length
        self._maker = Maker(truth or spec)
        self._sampler = Sampler(spec, length.warmup, length.draws * length.thin, design)
        self._derived = jax.jit(partial(quantities.mapped, spec))

    def truths_of(self, truth: Spec) -> None:
        """From here on, truths come from the prior of `truth`."""
        self._maker = Maker(truth)

    def rank(self, seed: int) -> Ranked:
        """The world `seed`: how many draws lie below the truth, of everything that varies."""
        world = self._maker.world(self._design, seed)
        chain = self._sampler.chain(world.design, stream(seed, "sbc"))
        kept = jax.tree.map(lambda x: x[self._length.thin - 1 :: self._length.thin], chain.parameters)
        both = Parameters(*jax.tree.map(lambda t, x: np.concatenate([np.asarray(t)[None], x]), world.truth, kept))
        values = {**quantities.scalars(both), **self._derived(both, world.design)}
        ranks = {name: int(np.sum(np.asarray(x[1:]) < x[0])) for name, x in values.items() if np.any(x != x[0])}
        return Ranked(ranks, int(chain.diverging.sum()), int(chain.steps.sum()))


class Row(NamedTuple):
    """What was found of one quantity."""

    envelope: float  # p-values
    chi_square: float
    holm: float  # of the smaller one, over both tests of every quantity
    middle: float  # mean rank over the number of draws: .5 but for bias
    spread: float  # variance of ranks over that of uniform ones: 1 but for a wrong width


def table(ranks: Mapping[str, Sequence[int]], draws: int, bins: int) -> dict[str, Row]:
    """Of every quantity, its tests."""
    p = {}
    for name, values in ranks.items():
        p[f"{name} envelope"] = envelope(values, draws)
        p[f"{name} chi"] = chi_square(values, draws, bins)
    bound = holm(p)
    rows = {}
    for name, values in ranks.items():
        x = np.asarray(values)
        rows[name] = Row(
            p[f"{name} envelope"], p[f"{name} chi"], min(bound[f"{name} envelope"], bound[f"{name} chi"]),
            float(x.mean() / draws), float(np.mean((x - draws / 2.0) ** 2) / (((draws + 1) ** 2 - 1) / 12.0)),
        )  # fmt: skip
    return rows


def gathered(found: Iterable[Ranked]) -> dict[str, list[int]]:
    """Ranks by quantity, one a world. Raises ValueError where a quantity is not in every world."""
    worlds = list(found)
    names = list(worlds[0].ranks)
    for world in worlds:
        if list(world.ranks) != names:
            raise ValueError(f"ranks: expected {names} of every world, found {list(world.ranks)}")
    return {name: [world.ranks[name] for world in worlds] for name in names}
