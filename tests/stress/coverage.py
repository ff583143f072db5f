"""How often intervals hold what they are about, where residuals have a memory of .6: of what comes, and of effects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from engine import forecast
from engine.design import build
from engine.prng import stream
from tests.stress.measure import LEVELS, Stress, within
from tests.stress.model import HORIZON, TIME
from tests.stress.scenes import Scene


class Covered(NamedTuple):
    """Whether each interval of one world holds: levels first."""

    forecast: np.ndarray  # (level, HORIZON)
    added: np.ndarray  # (level, M)


def covered(stress: Stress, scene: Scene, residual: str, seed: int) -> Covered:
    """What the intervals of the world `seed` hold, fitted by the model of that residual."""
    panel, world = stress.world(scene, seed)
    spec = stress.spec(residual)
    chain = stress.chain(residual, world.design, seed)
    _, scales = build(panel, spec, TIME)
    key = stream(seed, "stress", "paths")
    draws = jax.tree.map(jnp.asarray, chain.parameters)
    paths = np.asarray(forecast.paths(spec, draws, world.design, scales, TIME, key, np.ones(HORIZON)))
    came = (1.0 + world.y[TIME:, 0]) * scales.kpi[0]
    return Covered(within(paths[:, :, 0], came), stress.held(residual, chain, world))


class Rate(NamedTuple):
    """A coverage, and its standard error over worlds."""

    share: float
    error: float


def rates(found: Sequence[Covered]) -> Mapping[str, Rate]:
    """Of forecasts and of contributions, at each level."""
    out = {}
    for place, level in enumerate(LEVELS):
        for name in ("forecast", "added"):
            each = np.asarray([getattr(one, name)[place].mean() for one in found])
            out[f"{name} {level:.0%}"] = Rate(float(each.mean()), float(each.std(ddof=1) / np.sqrt(len(each))))
    return out
