"""The models that are calibrated: classes of `tests.classes`, on little data, so that the prior still speaks.

Populations of effects are a little narrower than in the classes themselves. There, one world in ten has effects of
several times the outcome beside noise of a hundredth of it: a ridge that NUTS walks in 511 steps a draw and still does
not cover, so that ranks would tell of that and of nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.design import Design, build
from engine.spec import Spec
from tests import classes, worlds

TIME = 40  # known periods
COVARIATES = 3  # seed of what spend and controls were, the same in every world: calibration is given covariates
CAREFUL = {"inference__target_accept": 0.95, "inference__max_tree_depth": 9, "backtest__horizon": 1}
ONE = {"data__locations": ["East"], "model__media__pooling": {"kind": "complete"}}
POOLING = {"kind": "partial", "over": ["location"], "tau_scale": 0.5, "centring": {"kind": "non_centred"}}
MODELS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "national": ("national", {}),
    "hierarchical": (
        "hierarchical",
        {
            "data__locations": ["East", "North", "West"],
            "model__media__scale": 0.1,
            "model__media__pooling": POOLING,
        },
    ),
    "multivariate": ("portfolio", ONE),
    "mediated": ("surveyed", ONE),
}


def spec(name: str, **changes: object) -> Spec:
    """The specification of the model `name`, with further values replaced."""
    of, own = MODELS[name]
    return classes.spec(of, **{**CAREFUL, **own, **changes})


def design(of: Spec) -> Design:
    """The covariates of every world of `of`; its outcomes mean nothing."""
    return build(worlds.panel(of, COVARIATES, TIME), of, TIME)[0]
