"""The one specification of every stress world: what an analyst would declare who knows nothing of what is wrong.

National, three channels, a price, a line, a year of two harmonics, AR(1) residuals; three years of weeks.
"""

from __future__ import annotations

from typing import Any

from engine.spec import Spec
from tests import classes

TIME = 156
HORIZON = 13
CHANNELS = ("tv", "search", "radio")
BEFORE: dict[str, Any] = {
    "inflation": 10.0,
    "outlier": 5.0,
    "demand": 0.8,
    "outside": 0.5,
    "active": 10,
    "precision": 0.5,
    "per_parameter": 3.0,
    "cycles": 2.0,
}
AFTER: dict[str, Any] = {
    "draws": 200,
    "level": 0.05,
    "lags": 4,
    "cycles": 3.0,
    "edge": 8,
    "leads": 4,
    "contraction": 0.3,
    "tangled": 0.7,
    "rising": 0.33,
    "memory": 0.4,
    "tail": 0.01,
}
IDENTIFIABLE: dict[str, Any] = {
    "levels": 6, "spread": 2.0, "near_one": 0.1, "mass_near_one": 0.5, "correlation": 0.9
}  # fmt: skip
CHECKS = {"identifiability": IDENTIFIABLE, "before_fit": BEFORE, "after_fit": AFTER}


def spec(residual: str = "ar1", **changes: object) -> Spec:
    """residual: of the model that is fitted, ar1 or white."""
    declared = {"kind": "white"} if residual == "white" else {"kind": "ar1", "scale": 0.5}
    return classes.spec(
        "national",
        **{
            "data__media": [{"name": name, "column": name.title(), "unit": "USD"} for name in CHANNELS],
            "model__residual": declared,
            "model__noise_scale": 0.1,
            "model__seasons": [{"period": 52.1775, "harmonics": 2, "scale": 0.1}],
            "model__event_scale": 0.2,
            "inference__target_accept": 0.9,
            "inference__max_tree_depth": 10,
            "inference__start": {"kind": "near_origin", "jitter": 0.1},
            "backtest__horizon": HORIZON,
            "backtest__first_origin": 60,
            "holdout__periods": HORIZON,
            "plan": {"media": "recent_mean", "controls": "recent_mean", "year": 52, "recent": 4},
            "checks": CHECKS,
            **changes,
        },
    )
