"""A small valid specification and a small panel: enough of everything, seconds to fit."""

from __future__ import annotations

import json
import math
import random
from datetime import date
from typing import Any

import numpy as np

from engine.spec import Spec, parse_spec, period_dates
from engine.table import Panel

TIME = 44  # weeks of `panel`
START = date(2016, 10, 3)  # a Monday


def raw() -> dict[str, Any]:
    """The specification as nested JSON values, made anew at each call."""
    return {
        "schema_version": 1,
        "name": "small",
        "seed": 7,
        "target": "weekly sales",
        "data": {
            "path": "data/small.csv",
            "layout": "mff",
            "max_bytes": 100_000,
            "period": "Period",
            "frequency_days": 7,
            "locations": ["East", "West"],
            "kpi": {"name": "sales", "column": "Sales", "unit": "USD"},
            "media": [
                {"name": "tv", "column": "TV", "unit": "USD"},
                {"name": "search", "column": "Search", "unit": "USD"},
            ],
            "controls": [{"name": "price", "column": "Price", "unit": "index"}],
            "ignored": [],
            "origin": "made by tests/small.py",
            "licence": "Apache-2.0",
        },
        "model": {
            "outcome": "linear",
            "likelihood": "normal",
            "level_scale": 0.5,
            "trend": "linear",
            "trend_scale": 0.1,
            "season": {"period": 13.0, "harmonics": 1, "scale": 0.2},
            "country": "US",
            "events": [{"name": "christmas", "holiday": "Christmas Day", "offset_days": 0}],
            "event_scale": 0.5,
            "control_scale": 0.2,
            "media_scale": 0.2,
            "adstock": {"kind": "geometric", "max_lag": 4, "alpha_a": 3.0, "alpha_b": 3.0},
            "saturation": {"kind": "logistic", "shape": 2.0, "rate": 1.0},
            "pooling": {"kind": "partial", "tau_scale": 1.0},
            "residual": "ar1",
            "rho_scale": 0.5,
            "noise_scale": 0.5,
        },
        "inference": {
            "chains": 2,
            "warmup": 60,
            "draws": 50,
            "target_accept": 0.8,
            "max_tree_depth": 6,
            "pathfinder": {"maxiter": 20, "samples": 60, "jitter": 0.1},
            "gates": {
                "rhat_below": 1.01,
                "ess_bulk_above": 400.0,
                "ess_tail_above": 400.0,
                "divergences_at_most": 0,
                "ebfmi_above": 0.2,
            },
        },
        "backtest": {"horizon": 4, "first_origin": 20, "step": 4, "warmup": 60, "draws": 50},
        "plan": {"media": "last_year", "controls": "recent_mean", "year": 13, "recent": 4},
        "holdout": {"periods": 8},
        "detect": {
            "hazard": 0.02,
            "threshold": 0.5,
            "window": 4,
            "mean_precision": 0.1,
            "shape": 2.0,
            "rate": 2.0,
            "slope_scale": 0.05,
            "linear_weight": 0.2,
            "max_run_length": 44,
            "match_days": 28,
            "channels": [],
            "regions": ["US"],
            "power": 0.3,
            "widen": 1.5,
        },
        "calibrate": {
            "levels": [0.5, 0.8],
            "decay": 0.99,
            "bandwidth": 2.0,
            "moment_window": 8,
            "ess_floor": 4.0,
        },
    }


def spec(**changes: object) -> Spec:
    """The specification with values replaced by path, parts joined by two underscores: model__outcome="log"."""
    values = raw()
    for path, value in changes.items():
        *parents, name = path.split("__")
        place = values
        for parent in parents:
            place = place[parent]
        if name not in place:
            raise KeyError(path)
        place[name] = value
    return parse_spec(json.dumps(values).encode())


def panel(of: Spec, seed: int = 1, time: int = TIME) -> Panel:
    """Numbers from Python's own generator, every one positive: periods from START."""
    draw = random.Random(seed)
    places, channels, controls = len(of.data.locations), len(of.data.media), len(of.data.controls)

    def positive(*shape: int) -> np.ndarray:
        return np.asarray([draw.lognormvariate(3.0, 0.3) for _ in range(math.prod(shape))]).reshape(shape)

    media = positive(time, places, channels)
    effect = 0.2 * np.sum(media, axis=2) + positive(time, places)
    return Panel(
        periods=tuple(period_dates(START, of.data.frequency_days, time)),
        locations=of.data.locations,
        kpi=100.0 + effect,
        media=media,
        controls=positive(time, places, controls),
    )
