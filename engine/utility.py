"""What a budget is chosen by: one number from what it returned in every draw.

    expected        mean
    mean_deviation  mean - aversion sd          (Markowitz 1952, doi:10.1111/j.1540-6261.1952.tb01525.x)
    tail_mean       mean of the lowest share    (Rockafellar & Uryasev 2000, doi:10.21314/JOR.2000.038)

Worked example: draws 1, 2, 3, 4. Their mean is 2.5, with an aversion of .5 it is 2.5 - .5 * 1.29 = 1.85, and the worst
half has the mean 1.5.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
from jax import Array

from engine.spec_effects import Expected, MeanDeviation, TailMean, Utility


def utility(rule: Utility, returned: Array) -> Array:
    """Of `returned` (draw,): (). Its gradient is finite, where all draws are equal too."""
    return UTILITIES[rule.kind](rule, returned)


def _expected(_: Expected, returned: Array) -> Array:
    return jnp.sum(returned) / returned.shape[0]


def _mean_deviation(rule: MeanDeviation, returned: Array) -> Array:
    count = returned.shape[0]
    mean = jnp.sum(returned) / count
    away = returned - mean
    variance = jnp.sum(away * away) / max(count - 1, 1)
    spread = variance > 0.0
    sd = jnp.where(spread, jnp.sqrt(jnp.where(spread, variance, 1.0)), 0.0)
    return mean - rule.aversion * sd


def _tail_mean(rule: TailMean, returned: Array) -> Array:
    worst = math.ceil(rule.share * returned.shape[0])
    return jnp.sum(jnp.sort(returned)[:worst]) / worst


UTILITIES: Mapping[str, Callable[[Any, Array], Array]] = MappingProxyType(
    {"expected": _expected, "mean_deviation": _mean_deviation, "tail_mean": _tail_mean}
)
