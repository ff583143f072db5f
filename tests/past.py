"""Backtest windows made by hand: forecasts and outcomes as numbers, nothing fitted."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa

from engine.backtest import Window, forecasts_table
from engine.levels import interval_probabilities
from engine.origins import origins
from engine.spec import Spec
from engine.table import Panel


def windows(spec: Spec, panel: Panel, seed: int = 5) -> list[Window]:
    """One window an origin: quantiles about the outcome, off by noise; one-step means off by noise of sd 1."""
    draw = random.Random(seed)
    time, places = panel.kpi.shape
    known = origins(spec, time)
    found = []
    for origin in known:
        horizons = min(spec.backtest.horizon, time - origin)
        shape = (horizons, places)
        centre = panel.kpi[origin : origin + horizons] + np.asarray(
            [[draw.gauss(0.0, 8.0) for _ in range(places)] for _ in range(horizons)]
        )
        offsets = np.asarray(interval_probabilities(spec.calibrate.levels)) - 0.5
        steps = (time - origin, places)
        outcome = np.asarray([[draw.gauss(0.0, 1.0) for _ in range(places)] for _ in range(steps[0])])
        found.append(
            Window(
                origin=origin,
                quantiles=centre[None] + 20.0 * offsets[:, None, None],
                point=centre,
                pit=np.full(shape, 0.5),
                scale=tuple(panel.kpi[:origin].mean(axis=0).tolist()),
                one_step_mean=np.zeros(steps),
                one_step_sd=np.full(steps, 2.0),
                outcome=outcome,
                rhat=1.0,
                ess_bulk=100.0,
                divergences=0,
                khat=0.3,
            )
        )
    return found


def forecasts(spec: Spec, panel: Panel, seed: int = 5) -> pa.Table:
    """The backtest's table of `windows`."""
    return forecasts_table(spec, panel, windows(spec, panel, seed))
