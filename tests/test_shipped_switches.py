"""Every part of the model can be switched on in params.yaml for a forecast that ships, with the data that ship."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from audit import canonical
from engine import ingest
from engine.adstock import ADSTOCKS
from engine.choices import chosen
from engine.design import build
from engine.fit import unconstrained
from engine.prepared import prepare
from engine.saturation import SATURATIONS
from engine.selection import SELECTIONS
from engine.spec import Spec, parse_spec
from engine.table import Panel, to_panel
from engine.trend import TRENDS
from stages.stage import load_params

ROOT = Path(__file__).resolve().parents[1]
LAGS = {"max_lag": 8, "shared": False}
BETA = {"alpha_a": 3.0, "alpha_b": 3.0}
WEIBULL = {"k_shape": 2.0, "k_rate": 1.0, "lam_shape": 2.0, "lam_rate": 1.0}
ADSTOCK: Mapping[str, Mapping[str, Any]] = {
    "geometric": BETA,
    "delayed": {**BETA, "theta_a": 2.0, "theta_b": 4.0},
    "weibull_pdf": WEIBULL,
    "weibull_cdf": WEIBULL,
    "binomial": BETA,
}
GAMMA = {"shape": 2.0, "rate": 1.0}
SATURATION: Mapping[str, Mapping[str, Any]] = {
    "logistic": GAMMA,
    "logistic_symmetric": GAMMA,
    "hill": {"k_median": 1.0, "k_sd": 0.5, "s_median": 1.5, "s_sd": 0.3},
    "tanh": {"c_median": 1.0, "c_sd": 0.5},
    "michaelis_menten": {"k_median": 1.0, "k_sd": 0.5},
    "root": {"p_a": 3.0, "p_b": 3.0},
}
TREND: Mapping[str, Mapping[str, Any]] = {
    "none": {},
    "linear": {"scale": 0.1},
    "damped": {"scale": 0.1, "damping": 0.9},
    "local_level": {"scale": 0.1, "knot": 4},
    "local_linear": {"scale": 0.1, "level_scale": 0.1, "slope_scale": 0.1, "knot": 8},
    "piecewise": {"scale": 0.1, "knot": 13, "share": 0.8, "change_scale": 0.1},
    "bspline": {"scale": 0.1, "degree": 3, "knot": 8},
    "hsgp": {
        "kernel": "matern_5_2", "scale": 0.1, "lengthscale": 0.5, "lengthscale_log_sd": 0.2, "functions": 40,
        "boundary": 2.5,
    },
}  # fmt: skip
PRECISION = ["markdown", "value_added"]
SELECTION: Mapping[str, Mapping[str, Any]] = {
    "horseshoe": {"expected": 1.0, "slab_scale": 2.0, "slab_df": 4.0, "local_df": 1.0, "global_df": 1.0},
    "spike_slab": {"inclusion": 0.5, "temperature": 0.5, "slab_scale": 0.5, "spike_scale": 0.02},
    "lasso": {"penalty": 10.0},
}
CHECKS = {
    "stationarity": {
        "regression": "c", "lags": "auto", "level": 0.05, "before": 105,
        "consequence": {
            "kind": "decompose", "trend": {"kind": "local_level", "scale": 0.1, "knot": 4}, "period": 52, "seasonal": 7,
        },
    },
    "screening": {"before": 105, "keep": 1, "path": 30, "shortest": 0.01, "gamma": 0.5},
}  # fmt: skip
HSGP = {"kind": "hsgp", **TREND["hsgp"]}
WALK = {"kind": "random_walk", "knot": 13, "scale": 0.1}
EXPERIMENT = {
    "name": "tv_holdout", "channel": "tv", "outcome": "sales", "locations": [], "spend_first": "2016-05-01",
    "spend_last": "2016-05-22", "measured_first": "2016-05-01", "measured_last": "2016-06-12",
    "change": {"kind": "holdout"}, "lift": 1.0e6, "error": 5.0e5, "unit": "USD", "spend_unit": "USD",
}  # fmt: skip
ROI = {"channel": "search", "outcome": "sales", "median": 2.0, "sd_log": 0.5, "unit": "USD per USD"}

Switch = tuple[str, str, object]  # forecast, path from the specification, value
SWITCHES: Mapping[str, tuple[Switch, ...]] = {
    **{k: (("retail", "model/media/adstock", {"kind": k, **LAGS, **v}),) for k, v in ADSTOCK.items()},
    **{k: (("retail", "model/media/saturation", {"kind": k, "shared": True, **v}),) for k, v in SATURATION.items()},
    **{f"trend {k}": (("geo", "model/trend", {"kind": k, **v}),) for k, v in TREND.items()},
    "saturation first": (("retail", "model/media/order", "saturation_first"),),
    "varying effects": (("retail", "model/media/variation", WALK),),
    "effects that wander smoothly": (("geo", "model/media/variation", HSGP),),
    "interaction": (("geo", "model/media/interactions", [{"first": "tv", "second": "search", "sd": 0.1}]),),
    "centring by data": (
        (
            "geo",
            "model/media/pooling",
            {"kind": "partial", "over": ["location"], "tau_scale": 1.0, "centring": {"kind": "by_data", "active": 52}},
        ),
    ),
    "experiments": (("retail", "model/lift_tests", [EXPERIMENT]), ("retail", "model/roi_priors", [ROI])),
    "checks": (("retail", "checks", CHECKS),),
    **{
        f"selection {k}": (("retail", "model/controls/selection", {"kind": k, "controls": PRECISION, **v}),)
        for k, v in SELECTION.items()
    },
}


def switched(switches: tuple[Switch, ...]) -> Spec:
    """The shipped specification with parts switched on; controls are precision controls where a prior selects."""
    (forecast, _, _), *_ = switches
    values = copy.deepcopy(load_params(ROOT)["specs"][forecast])
    for _, path, value in switches:
        *parents, name = path.split("/")
        place = values
        for parent in parents:
            place = place[parent]
        place[name] = value
    if any("selection" in path or path == "checks" for _, path, _ in switches):
        for column in values["data"]["controls"]:
            column["role"] = "precision"
    return parse_spec(canonical.encode(json.loads(json.dumps(values))))


@lru_cache(maxsize=2)
def shipped(path: str, columns: bytes) -> Panel:
    """The shipped table, read once."""
    data = parse_spec(columns).data
    return to_panel(ingest.read((ROOT / path).read_bytes(), data).table, data)


@pytest.mark.parametrize("name", SWITCHES)
def test_a_part_is_switched_on_by_params(name: str) -> None:
    spec = switched(SWITCHES[name])
    plain = load_params(ROOT)["specs"][spec.name]
    panel = shipped(spec.data.path, canonical.encode(plain))
    fitted = chosen(spec, prepare(spec, panel).choices) if spec.checks is not None else spec
    kept = [c for c, column in enumerate(spec.data.controls) if column in fitted.data.controls]
    panel = panel._replace(controls=panel.controls[:, :, kept])
    design, _ = build(panel, fitted, len(panel.periods))
    density = unconstrained(fitted, design)
    value = jax.jit(density.log_density)(jnp.full(density.dimension, 0.05), design)
    assert jnp.isfinite(value)


def test_every_registered_kind_is_switched_on() -> None:
    assert set(ADSTOCK) == set(ADSTOCKS)
    assert set(SATURATION) == set(SATURATIONS)
    assert set(TREND) == set(TRENDS)
    assert set(SELECTION) == set(SELECTIONS)
