"""Whether a probability can be believed: proper scores, the map that makes it so, and the reliability diagram.

A reported probability p is read by its log odds, in steps of STEP; how often what was asked happened is counted for
each step. The map is isotonic: the non-decreasing function of the step that makes these counts most probable, found by
pooling adjacent violators (Ayer et al. 1955, doi:10.1214/aoms/1177728423; Zadrozny & Elkan 2002,
doi:10.1145/775047.775151). It is constant over a block of steps, (happened + 1/2) / (cases + 1) there; blocks are
compared as whole numbers, exactly. A logistic map would have to send the largest p to certainty: but a pulse moves p as
far as any change does, and is none.

Scores are the logarithmic and Brier's (Gneiting & Raftery 2007, doi:10.1198/016214506000001437): sums over what was
counted, smaller is better.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

EDGE = 1e-6  # p counts as at least this far from 0 and 1
STEP = 0.1  # of log odds
REACH = 139  # steps either side of even odds: just past EDGE
STEPS = 2 * REACH + 1
BINS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class Block(NamedTuple):
    """Steps `first` .. the next block's are told `probability`."""

    first: int
    probability: float


class Losses(NamedTuple):
    """Sums of both scores, each (case,)."""

    log: Floats
    brier: Floats


class Bin(NamedTuple):
    """One bin of the reliability diagram: how many cases were told a probability in (low, high], how many happened."""

    low: float
    high: float
    cases: int
    happened: int
    mean: float | None  # of the probabilities told; None in an empty bin


def step_of(reported: float) -> int:
    """The step of log odds, 0 .. STEPS - 1, of one reported probability."""
    p = min(max(reported, EDGE), 1.0 - EDGE)
    return min(max(round((math.log(p) - math.log1p(-p)) / STEP), -REACH), REACH) + REACH


def steps(reported: Floats) -> npt.NDArray[np.int64]:
    """The step of each reported probability; any shape."""
    return np.asarray(_steps(reported)).astype(np.int64)


def isotonic(missed: Sequence[int], happened: Sequence[int]) -> tuple[Block, ...]:
    """The map of these counts by step: blocks ascending in step and in probability, the first from step 0."""
    pools: list[tuple[int, int, int]] = []  # first step, happened, cases
    for step, (no, yes) in enumerate(zip(missed, happened, strict=True)):
        if not no + yes:
            continue
        pool = (step, yes, yes + no)
        while pools and pools[-1][1] * pool[2] >= pool[1] * pools[-1][2]:  # the rate before is not below this one
            first, before, cases = pools.pop()
            pool = (first, before + pool[1], cases + pool[2])
        pools.append(pool)
    blocks: list[Block] = []
    for first, yes, cases in pools:
        rate = (yes + 0.5) / (cases + 1.0)
        if not blocks or rate > blocks[-1].probability:
            blocks.append(Block(first if blocks else 0, rate))
    return tuple(blocks) or (Block(0, 0.5),)


def mapped(blocks: Sequence[Block], step: int) -> float:
    """What the map tells at `step`."""
    return max((block for block in blocks if block.first <= step), key=lambda block: block.first).probability


def told(blocks: Sequence[Block]) -> Floats:
    """What the map tells at every step (step,)."""
    return np.asarray([mapped(blocks, step) for step in range(STEPS)])


def as_it_comes() -> Floats:
    """Every step's own probability (step,)."""
    return np.asarray(jax.nn.sigmoid(STEP * (jnp.arange(STEPS) - REACH)))


def losses(missed: Counts, happened: Counts, probability: Floats) -> Losses:
    """What telling `probability` costs; all (case, step)."""
    log, brier = _losses(missed.astype(np.float64), happened.astype(np.float64), probability)
    return Losses(np.asarray(log), np.asarray(brier))


def diagram(missed: Counts, happened: Counts, probability: Floats) -> tuple[Bin, ...]:
    """The bins of all cases together; all (case, step)."""
    found = []
    for low, high in pairwise(BINS):
        inside = (probability > low) & (probability <= high)
        cases = (missed + happened)[inside]
        count = int(cases.sum())
        total = math.fsum((cases * probability[inside]).tolist())
        found.append(Bin(low, high, count, int(happened[inside].sum()), total / count if count else None))
    return tuple(found)


@jax.jit
def _steps(reported: Any) -> Any:
    p = jnp.clip(reported, EDGE, 1.0 - EDGE)
    return jnp.clip(jnp.round((jnp.log(p) - jnp.log1p(-p)) / STEP), -REACH, REACH).astype(jnp.int32) + REACH


@jax.jit
def _losses(missed: Any, happened: Any, probability: Any) -> tuple[Any, Any]:
    log = missed * jnp.log1p(-probability) + happened * jnp.log(probability)
    apart = 1.0 - probability
    return -jnp.sum(log, axis=1), jnp.sum(missed * probability * probability + happened * apart * apart, axis=1)
