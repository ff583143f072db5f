"""One fit of one world: what each channel added, as the world says and as the fit says.

A contribution is a counterfactual: the outcome expected with the media as they were, less the outcome expected with
one channel silent all along, over the known periods, in the outcome's unit. What goes through mediators and other
outcomes is in it.
"""

from __future__ import annotations

import time
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from arviz_stats.base import array_stats
from jax import Array

from engine.design import Design
from engine.fit import Chain, Sampler
from engine.layout import layout
from engine.model import Parameters, mean
from engine.prng import stream
from engine.spec import Spec

TAIL = 0.05  # left out on either side by an interval of 90 %


class Recovered(NamedTuple):
    """Of one world, each (pair,): a pair is a channel and an outcome, or a channel and a series."""

    truth: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    rhat: float  # the largest, of the two halves of the chain
    diverging: float  # share of draws
    seconds: float  # of the processor

    @property
    def covered(self) -> np.ndarray:
        """(pair,) whether truth lies within the interval."""
        return np.asarray((self.low <= self.truth) & (self.truth <= self.high))

    @property
    def of_each(self) -> np.ndarray:
        """(pair,) absolute error over truth."""
        return np.asarray(np.abs(self.mean - self.truth) / np.abs(self.truth))


def contributions(spec: Spec, p: Parameters, design: Design) -> Array:
    """What each channel added to each series over the known periods: (M, S)."""

    def shown(spend: Array) -> Array:
        y = mean(spec, p, design, design.media._replace(spend=spend))
        return design.kpi_scale * (jnp.exp(y) if spec.model.outcome == "log" else 1.0 + y)

    spend, whole = design.media.spend, shown(design.media.spend)
    silent = [shown(spend.at[:, :, m].set(0.0)) for m in range(spend.shape[2])]
    return jnp.stack([jnp.sum((whole - each) * design.known, axis=0) for each in silent])


class Fitter:
    """Fits worlds of one specification and one shape, each by one chain."""

    def __init__(self, spec: Spec, warmup: int, draws: int, design: Design) -> None:
        self._spec = spec
        self._sampler = Sampler(spec, warmup, draws, design)
        one = partial(contributions, spec)
        self._truth = jax.jit(one)
        self._draws = jax.jit(lambda draws, design: jax.lax.map(lambda p: one(p, design), draws))

    def recovered(self, design: Design, truth: Parameters, seed: int) -> Recovered:
        """What a fit to `design` says of each channel and outcome, all locations together."""
        true = self.by_outcome(np.asarray(self._truth(truth, design)))
        start = time.process_time()
        chain = self.chain(design, seed)
        found = self.by_outcome(self.drawn(chain, design))
        return summary(true, found, chain, time.process_time() - start)

    def chain(self, design: Design, seed: int) -> Chain:
        """One chain."""
        return self._sampler.chain(design, stream(seed, "recovery", "fit"))

    def drawn(self, chain: Chain, design: Design) -> np.ndarray:
        """(draw, M, S)."""
        return np.asarray(self._draws(jax.tree.map(jnp.asarray, chain.parameters), design))

    def by_outcome(self, added: np.ndarray) -> np.ndarray:
        """(..., M, S) -> (..., M * O)."""
        places = layout(self._spec)
        split: np.ndarray = added.reshape(*added.shape[:-1], places.locations, places.outcomes).sum(axis=-2)
        return split.reshape(*split.shape[:-2], -1)


def summary(truth: np.ndarray, draws: np.ndarray, chain: Chain, seconds: float) -> Recovered:
    """truth: (pair,), draws: (draw, pair)."""
    low, high = np.quantile(draws, [TAIL, 1.0 - TAIL], axis=0, method="weibull")  # 90 % however few the draws
    halves = draws[: len(draws) // 2 * 2].reshape(2, -1, draws.shape[1])
    rhat = max(float(array_stats.rhat(halves[:, :, pair], chain_axis=0, draw_axis=1)) for pair in range(len(truth)))
    return Recovered(truth, draws.mean(axis=0), low, high, rhat, float(np.mean(chain.diverging)), seconds)
