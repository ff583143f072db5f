"""One stress world: made, fitted, and what was said of it. Programs are compiled once a specification."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from engine import counterfactual
from engine.after import after_fit
from engine.before import before_fit
from engine.design import Design, build
from engine.finding import Finding
from engine.fit import Chain, Sampler
from engine.model import Parameters
from engine.prng import stream
from engine.spec import Spec
from engine.table import Panel
from tests import worlds
from tests.stress import model
from tests.stress.scenes import SIGMA, Scene, usual
from tests.worlds import Maker, World

WARMUP, DRAWS = 300, 400
LEVELS = (0.8, 0.9)  # of intervals


class Stressed(NamedTuple):
    """One world of a scene, and its fit."""

    panel: Panel
    world: World
    findings: tuple[Finding, ...]
    held: np.ndarray  # (level, M) whether each interval of what a channel added holds the truth


class Stress:
    """Makes and fits worlds of every scene."""

    def __init__(self, residuals: Sequence[str] = ("ar1", "white")) -> None:
        """residuals: of the models that will be fitted."""
        self._specs = {residual: model.spec(residual) for residual in residuals}
        any_panel = worlds.panel(model.spec(), 0, model.TIME)
        self._truth = model.spec()
        self._maker = Maker(self._truth)
        self._samplers: Mapping[str, Sampler] = {
            residual: Sampler(spec, WARMUP, DRAWS, build(any_panel, spec, model.TIME)[0])
            for residual, spec in self._specs.items()
        }
        self._truly = jax.jit(partial(added, self._truth))
        self._added = {
            residual: jax.jit(partial(_each, partial(added, spec))) for residual, spec in self._specs.items()
        }

    def spec(self, residual: str) -> Spec:
        """What is fitted."""
        return self._specs[residual]

    def world(self, scene: Scene, seed: int) -> tuple[Panel, World]:
        """The world `seed` of a scene."""
        panel = scene.panel(worlds.panel(self._truth, seed, model.TIME), seed)
        world = self._made(scene, panel, seed)
        if scene.answers:
            expected = np.asarray(self._maker.expected(world.truth, world.design).outcome)
            left = (world.y - expected)[: model.TIME, 0] / SIGMA
            media = panel.media.copy()
            media[1:, 0, 1] *= np.exp(scene.answers * left[:-1])
            panel = panel._replace(media=media)
            world = self._made(scene, panel, seed)  # the same shocks
        y = scene.outcome(world.y, seed)
        shown = world.design._replace(y=jnp.asarray(y) * world.design.known)
        return panel, World(shown, world.truth, y)

    def _made(self, scene: Scene, panel: Panel, seed: int) -> World:
        design, _ = build(panel, self._truth, scene.known)
        truth = scene.truth(usual(self._maker.world(design, seed).truth), panel)
        return self._maker.world(design, seed, truth)

    def fitted(self, scene: Scene, seed: int) -> Stressed:
        """That world, what the ordinary model makes of it, and what is said of both."""
        panel, world = self.world(scene, seed)
        spec = self._specs[scene.residual]
        chain = self.chain(scene.residual, world.design, seed)
        found = (*before_fit(spec, known(panel, scene.known)), *after_fit(spec, chain.parameters, world.design))
        return Stressed(panel, world, found, self.held(scene.residual, chain, world))

    def held(self, residual: str, chain: Chain, world: World) -> np.ndarray:
        """(level, M)."""
        draws = jax.tree.map(jnp.asarray, chain.parameters)
        true = np.asarray(self._truly(world.truth, world.design))
        return within(np.asarray(self._added[residual](draws, world.design)), true)

    def chain(self, residual: str, design: Design, seed: int) -> Chain:
        """One chain."""
        return self._samplers[residual].chain(design, stream(seed, "stress", "fit"))


def added(spec: Spec, p: Parameters, design: Design) -> Array:
    """What each channel added over the known periods, in one draw: (M,)."""
    return jnp.sum(jnp.sum(counterfactual.effects(spec, p, design).added * design.known[..., None], axis=0), axis=0)


def _each(of: Callable[[Parameters, Design], Array], draws: Parameters, design: Design) -> Array:
    return jax.lax.map(lambda p: of(p, design), draws)


def within(draws: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(level, k): whether central intervals of draws (draw, k) hold the truth (k,)."""
    rows = []
    for level in LEVELS:
        low, high = np.quantile(draws, [0.5 - level / 2.0, 0.5 + level / 2.0], axis=0)
        rows.append((low <= truth) & (truth <= high))
    return np.asarray(rows)


def known(panel: Panel, count: int) -> Panel:
    """Its first periods."""
    cut = {name: getattr(panel, name)[:count] for name in ("periods", "kpi", "error", "media", "frequency", "controls")}
    return panel._replace(**cut, mediators=panel.mediators[:count])


def raised(scene: Scene, findings: Sequence[Finding]) -> bool:
    """Whether a finding that the scene asks for is there."""
    return any(each.what in scene.raised and scene.subject in ("", each.subject) for each in findings)
