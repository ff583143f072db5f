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

OPTIONAL = {
    "further", "errors", "mediators", "covariance", "cross_effects", "lift_tests", "roi_priors", "interactions",
    "variation", "selection", "orthogonalise", "checks", "creatives",
}  # fmt: skip
TIME = 44  # weeks of `panel`
START = date(2016, 10, 3)  # a Monday


def raw() -> dict[str, Any]:
    """The specification as nested JSON values, made anew at each call."""
    return {
        "schema_version": 1,
        "name": "small",
        "seed": 7,
        "target": "weekly sales",
        "point": "median",
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
            "likelihood": {"kind": "normal"},
            "residual": {"kind": "ar1", "scale": 0.5},
            "noise_scale": 0.5,
            "level_scale": 0.5,
            "trend": {"kind": "linear", "scale": 0.1},
            "seasons": [{"period": 13.0, "harmonics": 1, "scale": 0.2}],
            "country": "US",
            "events": [
                {
                    "kind": "holiday",
                    "name": "christmas",
                    "holiday": "Christmas Day",
                    "offset_days": 0,
                    "days": 1,
                    "decay": 0.0,
                }
            ],
            "event_scale": 0.5,
            "controls": {"scale": 0.2},
            "media": {
                "scale": 0.2,
                "order": "adstock_first",
                "adstock": {"kind": "geometric", "max_lag": 4, "alpha_a": 3.0, "alpha_b": 3.0, "shared": False},
                "saturation": {"kind": "logistic", "shape": 2.0, "rate": 1.0, "shared": False},
                "pooling": {
                    "kind": "partial",
                    "over": ["location"],
                    "tau_scale": 1.0,
                    "centring": {"kind": "non_centred"},
                },
            },
        },
        "inference": {
            "chains": 2,
            "warmup": 60,
            "draws": 50,
            "target_accept": 0.8,
            "max_tree_depth": 6,
            "start": {"kind": "near_origin", "jitter": 0.1},
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
            "lag": 4,
            "segments": {
                "mean_precision": 0.1,
                "shape": 2.0,
                "rate": 2.0,
                "slope_scale": 0.05,
                "linear_weight": 0.2,
                "max_run_length": 44,
                "settled": 0,
                "robust": {"kind": "none", "beta": 0.0},
            },
            "window": 4,
            "hazard": {"hazards": [0.01, 0.02], "repeats": 1, "periods": 60, "false_alarms_per_year": 0.5},
            "registered": {"match_days": 28, "channels": [], "regions": ["US"], "private": None},
            "explanation": {
                "lasting": 0.5,
                "passing": 0.3,
                "pulse_periods": 4,
                "trust_high": 0.9,
                "trust_medium": 0.7,
                "trust_low": 0.4,
            },
            "consequences": {
                "registered_change": "re_anchor",
                "unexplained_lasting": "re_anchor",
                "unexplained_passing": "mask",
                "measurement_change": "rescale",
                "artefact": "mask",
                "transient": "model",
                "power": 0.3,
                "level_scale": 0.5,
                "slope_scale": 0.2,
                "widen": 1.5,
                "widen_periods": 13,
            },
        },
        "calibrate": {
            "levels": [0.5, 0.8],
            "groups": "pooled",
            "method": {"kind": "split"},
            "decay": 0.99,
            "moments": "media",
            "bandwidth": 2.0,
            "moment_window": 8,
            "support": 4.0,
        },
        "effects": {"level": 0.9, "curve": {"points": 5, "most": 2.0}, "reallocations": []},
    }


def spec(**changes: object) -> Spec:
    """The specification with values replaced by path, parts joined by two underscores: model__outcome="log"."""
    values = raw()
    for path, value in changes.items():
        *parents, name = path.split("__")
        place = values
        for parent in parents:
            place = place[parent]
        if name not in place and name not in OPTIONAL:
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
        outcomes=tuple(column.name for column in of.data.outcomes),
        kpi=np.repeat(100.0 + effect, len(of.data.outcomes), axis=1),
        error=np.zeros((time, 0)),
        media=media,
        frequency=np.zeros((time, places, 0)),
        controls=positive(time, places, controls),
        mediators=np.zeros((time, places, 0)),
    )
