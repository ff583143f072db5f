"""Draws of a model's parameters by hand: flat, by the names that are the arrays' own on disk."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array

from engine.model import Parameters, named, unnamed


def absent(series: int, channels: int) -> dict[str, tuple[int, ...]]:
    """Shapes of what a model of one outcome has no part for, unless one is declared."""
    return {
        "shift": (0, series),
        "metric": (0, series),
        "shrinkage": (0, 1),
        "inclusion": (0, 1),
        "interaction": (0, 1),
        "variation": (0, channels),
        "mediator_level": (0,),
        "path": (0, channels),
        "mediator_effect": (0, 1),
        "mediator_noise": (0,),
        "survey_noise": (0,),
        "cross": (0,),
    }


def parameters(**given: Array) -> Parameters:
    """One draw of a model of one outcome; what is not given is absent. Precondition: `beta` is among them."""
    empty = {name: jnp.zeros(shape) for name, shape in absent(*given["beta"].shape).items()}
    return unnamed({**empty, "factor": jnp.eye(1), **given})


def changed(p: Parameters, **others: Array) -> Parameters:
    """`p` with some arrays replaced by name."""
    arrays = named(p)
    assert set(others) <= set(arrays), sorted(set(others) - set(arrays))
    return unnamed({**arrays, **others})


def stacked(draws: Sequence[Parameters]) -> Parameters:
    """Draws along a first axis of their own."""
    return jax.tree.map(lambda *values: jnp.stack(values), *draws)


def at(p: Parameters, index: int) -> Parameters:
    """One of the draws that `p` holds along its first axis."""
    return jax.tree.map(lambda value: value[index], p)
