"""The models that are calibrated: classes of `tests.classes`, on little data, so that the prior still speaks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.design import Design, build
from engine.spec import Spec
from tests import classes, worlds

TIME = 40  # known periods
COVARIATES = 3  # seed of what spend and controls were, the same in every world: calibration is given covariates
ONE = {"data__locations": ["East"], "model__media__pooling": {"kind": "complete"}}
NAMES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "national": ("national", {}),
    "hierarchical": ("hierarchical", {"data__locations": ["East", "North", "West"]}),
    "multivariate": ("portfolio", ONE),
    "mediated": ("surveyed", ONE),
}


def spec(name: str, **changes: object) -> Spec:
    """The specification of the model `name`, with further values replaced."""
    of, own = NAMES[name]
    return classes.spec(
        of,
        **{
            "backtest__horizon": 1,
            "inference__target_accept": 0.9,
            "inference__max_tree_depth": 9,
            **own,
            **changes,
        },
    )


def design(of: Spec) -> Design:
    """The covariates of every world of `of`; its outcomes mean nothing."""
    return build(worlds.panel(of, COVARIATES, TIME), of, TIME)[0]
