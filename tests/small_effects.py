"""Two small models whose effects are told, each compiled once: one where effects add, one where they multiply.

portfolio: two outcomes that move one another, a mediator, two locations, on the linear scale.
everything: reach and frequency, channels that interact, effects that vary in time, saturation first, on the log scale.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.handlers import seed

from engine import effects, model
from engine.contribution import Window, last_year
from engine.design import Design, Scales, build
from engine.effects import EffectDraws
from engine.media import MediaData
from engine.model import Parameters
from engine.prng import stream
from engine.spec import Spec
from engine.table import Panel
from tests import classes

DRAWS = 8
WALK = {"kind": "random_walk", "knot": 11, "scale": 0.3}
CHANGES: dict[str, tuple[str, dict[str, Any]]] = {
    "portfolio": ("combined", {}),
    "everything": (
        "reach_frequency",
        {
            "model__outcome": "log",
            "model__media__order": "saturation_first",
            "model__media__variation": WALK,
            "model__media__interactions": [{"first": "tv", "second": "search", "sd": 0.2}],
        },
    ),
}
NAMES = tuple(CHANGES)


class Case(NamedTuple):
    """A model, data, draws from its prior, and every effect in them."""

    spec: Spec
    panel: Panel
    design: Design
    scales: Scales
    draws: Parameters  # each (draw, ...)
    window: Window
    found: EffectDraws

    def draw(self, index: int) -> Parameters:
        """One of the draws."""
        return jax.tree.map(lambda x: x[index], self.draws)

    @property
    def channels(self) -> int:
        """M."""
        return len(self.spec.data.media)


def spec(name: str, **changes: object) -> Spec:
    """The specification of that name, with further values replaced."""
    base, own = CHANGES[name]
    return classes.spec(base, **{**own, **changes})


def drawn(of: Spec, design: Design, count: int = DRAWS) -> Parameters:
    """Draws from the prior, each (draw, ...)."""
    keys = [stream(of.seed, "effects", k) for k in range(count)]
    one = jax.jit(lambda key: seed(model.sample_parameters, key)(of, design))
    return jax.tree.map(lambda *x: np.stack(x), *[jax.tree.map(np.asarray, one(key)) for key in keys])


@cache
def case(name: str) -> Case:
    """The case of that name."""
    of = spec(name)
    panel = classes.panel(of)
    design, scales = build(panel, of, len(panel.periods))
    draws = drawn(of, design)
    window = last_year(of, len(panel.periods))
    found = jax.tree.map(np.asarray, effects.drawn(of, draws, design, window))
    return Case(of, panel, design, scales, draws, window, found)


def again(of: Case, design: Design, draws: Parameters) -> EffectDraws:
    """Every effect under another design, or in other draws, of the same shapes: nothing is compiled."""
    return jax.tree.map(np.asarray, effects.drawn(of.spec, draws, design, of.window))


def outcome(of: Case, index: int, seen: MediaData) -> np.ndarray:
    """(T, S) the twin: the model's whole mean under other media, taken to the outcome's unit."""
    p = of.draw(index)
    y = np.asarray(_mean(of.spec, p, of.design, seen))
    scale = np.asarray(of.scales.kpi)
    return scale * (1.0 + y) if of.spec.model.outcome == "linear" else scale * np.exp(y)


@partial(jax.jit, static_argnums=0)
def _mean(of: Spec, p: Parameters, design: Design, seen: MediaData) -> Array:
    return model.mean(of, p, design, seen)


def with_spend(design: Design, change: Callable[[Array], Array]) -> MediaData:
    """The design's media with their spend (T, L, M, lag) changed."""
    return design.media._replace(spend=change(design.media.spend))


def times(design: Design, channel: int, factor: float) -> MediaData:
    """All of one channel's spend times a factor."""
    return with_spend(design, lambda x: x.at[:, :, channel].multiply(jnp.asarray(factor)))
