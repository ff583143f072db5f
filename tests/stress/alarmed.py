"""Whether detection hears a break: alarms on the one-step residuals of a model that was fitted before it."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from engine import forecast
from engine.changepoint import Alarming, online_panel
from engine.design import build, build_hindsight
from engine.spec_detect import Robust, Segments
from tests.stress.measure import Stress
from tests.stress.model import TIME
from tests.stress.scenes import BREAK, Scene

ORIGIN = BREAK - 4  # periods known to the fit
SEGMENTS = Segments(
    mean_precision=0.25, shape=8.0, rate=8.0, slope_scale=0.05, linear_weight=0.2, max_run_length=156, settled=52,
    robust=Robust(kind="beta_divergence", beta=0.2),
)  # fmt: skip
ALARMING = Alarming(hazard=0.0048, window=13, threshold=0.5)  # one change in four years


class Alarmed(NamedTuple):
    """What was heard in the periods after ORIGIN."""

    alarm: bool
    delay: int | None  # periods from the break to the first alarm


def alarmed(stress: Stress, scene: Scene, seed: int) -> Alarmed:
    """Of the world `seed`."""
    panel, world = stress.world(scene, seed)
    spec = stress.spec("ar1")
    design, _ = build(panel, spec, ORIGIN)
    fitted = design._replace(y=jnp.asarray(world.y) * design.known)
    chain = stress.chain("ar1", fitted, seed)
    draws = jax.tree.map(jnp.asarray, chain.parameters)
    step = forecast.one_step(spec, draws, build_hindsight(panel, spec, ORIGIN), jnp.asarray(world.y))
    residuals = (world.y - np.asarray(step.mean)) / np.asarray(step.sd)
    found = online_panel(residuals[ORIGIN:TIME], SEGMENTS, ALARMING).alarms
    return Alarmed(bool(found), found[0].period + ORIGIN - BREAK if found else None)
