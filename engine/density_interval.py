"""Draws told in four numbers: their mean, standard deviation, and highest-density interval.

The interval of a level is the narrowest that holds more than that share of the draws, the lowest of equally narrow
ones (Chen & Shao 1999, doi:10.1080/10618600.1999.10474802), by arviz-stats; of a posterior with two peaks it may span
what lies between. Its ends are draws: no arithmetic has touched them.
Worked example: of 1, 2, 3, 4, 100 the interval of level .6 is 1 to 4, four of the five draws.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from arviz_stats.base import array_stats
from jax import Array

BLOCK = 256  # columns that are summed side by side, each in the order of its draws


class Summary(NamedTuple):
    """Of draws of anything, each of its shape."""

    mean: np.ndarray
    sd: np.ndarray  # divided by draws - 1; 0 of a single draw
    lower: np.ndarray  # of the highest-density interval
    upper: np.ndarray


def summarised(values: np.ndarray | Array, level: float) -> Summary:
    """Over the first axis: (draw, ...) -> (...). Preconditions: 0 < level < 1, at least one draw, all finite."""
    plain = np.asarray(values, dtype=np.float64) + 0.0  # zeros of either sign are one number to a sort
    shape = plain.shape[1:]
    flat = plain.reshape(plain.shape[0], -1)
    if flat.shape[1] == 0:
        none = np.zeros(shape)
        return Summary(none, none, none, none)
    mean, sd = (each.reshape(shape) for each in _in_blocks(flat))
    ends = np.asarray(array_stats.hdi(flat, level, axis=0)).reshape(*shape, 2)
    return Summary(mean, sd, ends[..., 0], ends[..., 1])


def _in_blocks(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the columns of (draw, any number), by one program for all tables."""
    columns = flat.shape[1]
    padded = np.zeros((flat.shape[0], -(-columns // BLOCK) * BLOCK))
    padded[:, :columns] = flat
    found = [_moments(jnp.asarray(padded[:, at : at + BLOCK])) for at in range(0, padded.shape[1], BLOCK)]
    mean, sd = (np.concatenate([np.asarray(each[k]) for each in found])[:columns] for k in (0, 1))
    return mean, sd


@jax.jit
def _moments(values: Array) -> tuple[Array, Array]:
    """Mean and standard deviation over the first axis, the second around the first."""
    count = values.shape[0]
    mean = jnp.sum(values, axis=0) / count
    away = values - mean
    return mean, jnp.sqrt(jnp.sum(away * away, axis=0) / max(count - 1, 1))
