"""The world that samplers are compared on: 208 weeks of one place, simulated, and the specification fitted to it.

5 channels and 2 controls; geometric carry-over over 8 weeks, symmetric logistic saturation, a line, a year of two
harmonics, white noise. Half of the weeks are dark for one channel, a third for another.
"""

from __future__ import annotations

import json
import math
import random
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from engine.spec import Spec, parse_spec, period_dates
from engine.table import Panel
from stages.stage import declared_spec

SEED = 1
WEEKS, CHANNELS, CONTROLS, START = 208, 5, 2, date(2020, 1, 6)


def declared(root: Path) -> Spec:
    """The specification that both fit: the shipped geographic one, of one place, white and without pooling."""
    raw: dict[str, Any] = json.loads(declared_spec(root, "geo"))
    raw["data"] |= {
        "layout": "wide", "locations": ["all"],
        "media": [{"name": f"media_{m}", "column": f"Media{m}", "unit": "USD"} for m in range(CHANNELS)],
        "controls": [{"name": f"control_{c}", "column": f"Control{c}", "unit": "index"} for c in range(CONTROLS)],
    }  # fmt: skip
    raw["model"] |= {"residual": {"kind": "white"}}
    raw["model"]["media"] |= {"pooling": {"kind": "complete"}}
    raw["model"]["media"]["saturation"]["kind"] = "logistic_symmetric"
    raw["inference"] |= {"chains": 4, "warmup": 500, "draws": 500, "target_accept": 0.8, "max_tree_depth": 10}
    return parse_spec(json.dumps(raw).encode())


def world(seed: int) -> Panel:
    """Simulated by Python's own generator: two fifths of sales are media's, a twentieth of them noise."""
    draw, wave = random.Random(seed), 2.0 * math.pi / 52.1775
    dark, alpha = (0.0, 0.0, 0.3, 0.0, 0.5), (0.3, 0.5, 0.2, 0.6, 0.4)  # share of weeks without spend; carry-over
    lam, beta = (0.8, 1.5, 2.0, 1.0, 1.2), (0.2, 0.15, 0.1, 0.25, 0.12)
    spend, controls = np.zeros((WEEKS, 1, CHANNELS)), np.zeros((WEEKS, 1, CONTROLS))
    for m in range(CHANNELS):
        state = 0.0
        for t in range(WEEKS):
            state = 0.6 * state + 0.4 * draw.gauss(0.0, 1.0)
            usual = 0.7 * state + 0.3 * math.cos(wave * (t - 7 * m)) + 0.3 * draw.gauss(0.0, 1.0)
            spend[t, 0, m] = 0.0 if draw.random() < dark[m] else 1000.0 * (m + 1) * math.exp(usual)
    mean = [math.fsum(spend[:, 0, m].tolist()) / WEEKS for m in range(CHANNELS)]
    kpi = np.zeros((WEEKS, 1))
    for t in range(WEEKS):
        controls[t, 0] = [draw.gauss(0.0, 1.0) for _ in range(CONTROLS)]
        sold = 1.0 + 0.05 * (t - WEEKS / 2) / 52 + 0.08 * math.sin(wave * t) + 0.05 * math.cos(wave * t)
        sold += 0.02 * math.sin(2.0 * wave * t) + 0.03 * controls[t, 0, 0] - 0.02 * controls[t, 0, 1]
        for m in range(CHANNELS):
            weight = [alpha[m] ** lag for lag in range(8)]
            carried = sum(w * spend[t - lag, 0, m] for lag, w in enumerate(weight) if lag <= t) / sum(weight) / mean[m]
            sold += beta[m] * math.tanh(lam[m] * carried / 2.0)
        kpi[t, 0] = 10_000.0 * (sold + 0.05 * draw.gauss(0.0, 1.0))
    return Panel(
        periods=tuple(period_dates(START, 7, WEEKS)), locations=("all",), outcomes=("sales",), kpi=kpi,
        error=np.zeros((WEEKS, 0)), media=spend, frequency=np.zeros((WEEKS, 1, 0)), controls=controls,
        mediators=np.zeros((WEEKS, 1, 0)),
    )  # fmt: skip


def terms(spec: Spec) -> dict[str, Any]:
    """The numbers of the priors and of the sampler, for the rival."""
    raw = spec.model_dump(mode="json")
    model, inference = raw["model"], raw["inference"]
    adstock, saturation = model["media"]["adstock"], model["media"]["saturation"]
    return {
        "start": START.isoformat(), "level_sd": model["level_scale"], "trend_sd": model["trend"]["scale"],
        "season_sd": model["seasons"][0]["scale"], "control_sd": model["controls"]["scale"],
        "media_scale": model["media"]["scale"], "noise_scale": model["noise_scale"], "max_lag": adstock["max_lag"],
        "alpha_a": adstock["alpha_a"], "alpha_b": adstock["alpha_b"],
        "lam_shape": saturation["shape"], "lam_rate": saturation["rate"],
        **{name: inference[name] for name in ("chains", "warmup", "draws", "target_accept")},
    }  # fmt: skip
