"""The worlds of each class: how long, how large, under which priors.

Every class is `tests.classes`' with priors of realistic size: a year of 52 weeks, two years of data in two locations,
noise as large on average as that of the simulated table that ships with the project (HalfNormal(.08) of the outcome's
mean), and channels that add a fifth of the outcome when saturated.
Truth is drawn from the same priors that the fit has, so that its intervals must hold at their nominal rate exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.spec import Spec
from tests import classes

TIME = 104
COMMON: dict[str, Any] = {
    "model__noise_scale": 0.08,
    "model__seasons": [{"period": 52.1775, "harmonics": 2, "scale": 0.1}],
    "model__event_scale": 0.2,
    "inference__target_accept": 0.9,
    "inference__max_tree_depth": 10,
    "inference__start": {"kind": "near_origin", "jitter": 0.1},
    "backtest__first_origin": 60,
    "plan": {"media": "recent_mean", "controls": "recent_mean", "year": 52, "recent": 4},
    "detect__segments__max_run_length": TIME,
}
OWN: Mapping[str, dict[str, Any]] = {
    "gaussian_process": {
        "model__trend": {
            "kind": "hsgp", "kernel": "matern_5_2", "scale": 0.2, "lengthscale": 0.6, "lengthscale_log_sd": 0.2,
            "functions": 24, "boundary": 2.5,
        }
    },
    "varying": {"model__media__variation": {"kind": "random_walk", "knot": 13, "scale": 0.3}},
}  # fmt: skip
TIMES: Mapping[str, int] = {"national": 156}

# Seven channels in one location, as large sets of known truth have; effects, carry-over and saturation are fixed.
SEVEN = ("tv", "search", "radio", "social", "print", "display", "video")
SEVEN_TIME = 156
SEVEN_EFFECT = (0.30, 0.22, 0.18, 0.14, 0.11, 0.08, 0.05)
SEVEN_ALPHA = (0.7, 0.2, 0.5, 0.4, 0.6, 0.3, 0.1)
SEVEN_LAMBDA = (0.5, 1.0, 1.5, 2.0, 0.8, 1.2, 2.5)
SEVEN_SIGMA, SEVEN_RHO = 0.05, 0.3


def spec(name: str) -> Spec:
    """The specification of the class `name`, of realistic size."""
    return classes.spec(name, **{**COMMON, **OWN.get(name, {})})


def time(name: str) -> int:
    """Known periods of its worlds."""
    return TIMES.get(name, TIME)


def seven() -> Spec:
    """A national forecast of seven channels."""
    media = [{"name": channel, "column": channel.title(), "unit": "USD"} for channel in SEVEN]
    return classes.spec("national", **{**COMMON, "data__media": media})
