"""One stress world: made, fitted, and what was said of it. Programs are compiled once a specification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from engine.after import after_fit
from engine.before import before_fit
from engine.design import Design, build
from engine.finding import Finding
from engine.fit import Chain, Sampler
from engine.prng import stream
from engine.spec import Spec
from engine.table import Panel
from tests import worlds
from tests.stress import model
from tests.stress.scenes import SIGMA, Scene, usual
from tests.worlds import Maker, World

WARMUP, DRAWS = 300, 400


class Stressed(NamedTuple):
    """One world of a scene, and its fit."""

    panel: Panel
    world: World
    chain: Chain
    findings: tuple[Finding, ...]

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Those that speak against the fit or its data."""
        return tuple(finding for finding in self.findings if finding.severity == "warning")


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
        return Stressed(panel, world, chain, found)

    def chain(self, residual: str, design: Design, seed: int) -> Chain:
        """One chain."""
        return self._samplers[residual].chain(design, stream(seed, "stress", "fit"))


def known(panel: Panel, count: int) -> Panel:
    """Its first periods."""
    cut = {name: getattr(panel, name)[:count] for name in ("periods", "kpi", "error", "media", "frequency", "controls")}
    return panel._replace(**cut, mediators=panel.mediators[:count])


def raised(scene: Scene, findings: Sequence[Finding]) -> bool:
    """Whether a finding that the scene asks for is there."""
    return any(each.what in scene.raised and scene.subject in ("", each.subject) for each in findings)
