"""One small specification of every model class, by name: each meets the same tests.

Every one is the specification of `tests.small` with some values replaced; `panel` gives data that suit it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any

import numpy as np

from engine.spec import Spec
from engine.table import Panel
from tests import small

NORMAL: dict[str, Any] = {"kind": "normal"}
WHITE: dict[str, Any] = {"kind": "white"}
GEOMETRIC: dict[str, Any] = {"kind": "geometric", "max_lag": 4, "alpha_a": 3.0, "alpha_b": 3.0, "shared": False}
TV: dict[str, Any] = {"name": "tv", "column": "TV", "unit": "USD"}
SEARCH: dict[str, Any] = {"name": "search", "column": "Search", "unit": "USD"}
PRICE: dict[str, Any] = {"name": "price", "column": "Price", "unit": "index"}
MULTIPACK = {"name": "multipack", "column": "Multipack", "unit": "USD"}
PROMOTION: dict[str, Any] = {"name": "promotion", "column": "Promotion", "unit": "share"}
WEATHER = [{"name": f"weather_{k}", "column": f"W{k}", "unit": "sd", "role": "precision"} for k in range(6)]
NAMES = tuple(str(column["name"]) for column in WEATHER)


def _walk(knot: int = 4, scale: float = 0.3) -> dict[str, Any]:
    return {"kind": "random_walk", "knot": knot, "scale": scale}


def _mediator(kind: str, survey: float | None, outcomes: tuple[str, ...] = ("sales",)) -> dict[str, Any]:
    return {
        "name": "awareness", "kind": kind, "channels": ["tv"], "outcomes": list(outcomes), "path_scale": 1.0,
        "effect_scale": 0.2, "positive": True, "noise_scale": 0.5, "survey_scale": survey,
    }  # fmt: skip


def _cross(kind: str, lagged: bool = False, promotion: str | None = None, back: bool = False) -> dict[str, Any]:
    ends = ("multipack", "sales") if back else ("sales", "multipack")
    return {
        "source": ends[1], "target": ends[0], "kind": kind, "scale": 0.3, "promotion": promotion, "lagged": lagged
    }  # fmt: skip


AWARENESS = [{"name": "awareness", "column": "Awareness", "unit": "percent"}]
PORTFOLIO: dict[str, Any] = {
    "data__further": [MULTIPACK],
    "model__residual": WHITE,
    "model__media__pooling": {"kind": "complete"},
}
LKJ: dict[str, Any] = {"model__covariance": {"kind": "lkj", "eta": 2.0}}


def _adstock(kind: str, **priors: float) -> dict[str, Any]:
    return {"model__media__adstock": {"kind": kind, "max_lag": 4, "shared": False, **priors}}


def _selection(**prior: object) -> dict[str, Any]:
    return {
        "data__controls": [PRICE, *WEATHER],
        "model__controls__selection": {"controls": list(NAMES), **prior},
    }


CLASSES: Mapping[str, Mapping[str, Any]] = {
    "hierarchical": {},
    "national": {"data__locations": ["East"], "model__media__pooling": {"kind": "complete"}},
    "multiplicative": {"model__outcome": "log"},
    "robust": {"model__likelihood": {"kind": "student_t", "shape": 2.0, "rate": 0.1}},
    "two_states": {
        "model__likelihood": {"kind": "two_state", "gap_scale": 0.5, "share_a": 4.0, "share_b": 4.0},
        "model__residual": WHITE,
    },
    "given_errors": {
        "data__errors": [{"name": "sales_error", "column": "SalesError", "unit": "USD"}],
        "model__residual": WHITE,
    },
    "separate": {"model__media__pooling": {"kind": "none"}},
    "crossed_pooling": {
        "data__media": [
            {**TV, "group": "video"},
            {"name": "clips", "column": "Clips", "unit": "USD", "group": "video"},
            SEARCH,
        ],
        "model__media__pooling": {
            "kind": "partial", "over": ["location", "campaign"], "tau_scale": 0.5,
            "centring": {"kind": "by_data", "active": 10},
        },
    },
    "delayed_hill": {
        **_adstock("delayed", alpha_a=3.0, alpha_b=3.0, theta_a=2.0, theta_b=4.0),
        "model__media__saturation": {
            "kind": "hill", "shared": False, "k_median": 1.0, "k_sd": 0.3, "s_median": 1.5, "s_sd": 0.2,
        },
    },
    "saturation_first": {"model__media__order": "saturation_first"},
    "varying": {"model__media__variation": _walk()},
    "reach_frequency": {
        "data__media": [{**TV, "frequency": "Contacts"}, SEARCH],
        "model__media__saturation": {"kind": "logistic", "shape": 2.0, "rate": 1.0, "shared": False},
    },
    "interacting": {"model__media__interactions": [{"first": "tv", "second": "search", "sd": 0.2}]},
    "gaussian_process": {
        "model__trend": {
            "kind": "hsgp", "kernel": "matern_5_2", "scale": 0.2, "lengthscale": 0.6, "lengthscale_log_sd": 0.2,
            "functions": 20, "boundary": 2.0,
        }
    },
    "horseshoe": _selection(
        kind="horseshoe", expected=2.0, slab_scale=2.0, slab_df=4.0, local_df=1.0, global_df=1.0
    ),
    "spike_slab": _selection(
        kind="spike_slab", inclusion=0.3, temperature=0.5, slab_scale=0.3, spike_scale=0.02
    ),
    "lasso": _selection(kind="lasso", penalty=10.0),
    "portfolio": {**PORTFOLIO, **LKJ},
    "modified_cholesky": {**PORTFOLIO, "model__covariance": {"kind": "ldl", "scale": 0.5}},
    "cannibalised": {
        **PORTFOLIO,
        **LKJ,
        "data__controls": [PRICE, PROMOTION],
        "model__cross_effects": [_cross("cannibalisation", promotion="promotion")],
    },
    "simultaneous": {
        **PORTFOLIO,
        **LKJ,
        "model__cross_effects": [_cross("cannibalisation"), _cross("halo", lagged=True, back=True)],
    },
    "mediated": {
        "data__mediators": AWARENESS,
        "model__mediators": [_mediator("full", None)],
    },
    "surveyed": {
        "data__mediators": AWARENESS,
        "model__mediators": [_mediator("partial", 0.3)],
        "model__residual": WHITE,
    },
    "latent": {"model__mediators": [_mediator("latent", None)]},
    "combined": {
        **PORTFOLIO,
        **LKJ,
        "data__mediators": AWARENESS,
        "model__mediators": [_mediator("partial", 0.3, ("sales", "multipack"))],
        "model__cross_effects": [_cross("cannibalisation")],
    },
}  # fmt: skip


def spec(name: str, **changes: object) -> Spec:
    """The specification of the class `name`, with further values replaced."""
    return small.spec(**{**CLASSES[name], **changes})


def panel(of: Spec, seed: int = 1, time: int = small.TIME) -> Panel:
    """Numbers that suit `of`: promotions of 0 and 1, surveys every fourth period, errors of a tenth of the outcome."""
    draw = random.Random(seed)
    base = small.panel(of, seed, time)
    places, data = len(of.data.locations), of.data

    def noise(*shape: int) -> np.ndarray:
        return np.asarray([draw.gauss(0.0, 1.0) for _ in range(math.prod(shape))]).reshape(shape)

    controls = base.controls.copy()
    for c, column in enumerate(data.controls):
        if column.name == "promotion":
            controls[:, :, c] = np.asarray([[float(draw.random() < 0.3)] * places for _ in range(time)])
        elif column.role == "precision":
            controls[:, :, c] = noise(time, places)
    kinds = {mediator.name: mediator.kind for mediator in of.model.mediators}
    mediators = 40.0 + 5.0 * noise(time, places, len(data.mediators))
    for n, column in enumerate(data.mediators):
        if kinds[column.name] == "partial":
            mediators[[t for t in range(time) if t % 4], :, n] = np.nan
    kpi = base.kpi * (1.0 + 0.05 * noise(time, base.kpi.shape[1]))
    return base._replace(
        kpi=kpi,
        error=np.abs(0.1 * kpi) if data.errors else base.error,
        frequency=np.abs(3.0 + noise(time, places, len(data.media)))
        if any(column.frequency for column in data.media)
        else base.frequency,
        controls=controls,
        mediators=mediators,
    )
