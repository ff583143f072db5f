"""What checks before the fit decided, and the specification that follows: what every later stage fits.

Nothing here computes: `engine.prepared` makes the decisions.
"""

from __future__ import annotations

from typing import Literal

from engine.declared import Frozen
from engine.spec import Spec, parse_spec
from engine.spec_checks import Decompose
from engine.table import Panel


class Test(Frozen):
    """One series' KPSS test (`engine.stationarity.Kpss`)."""

    series: str
    statistic: float
    critical: float
    lags: int
    p_value: float
    p_is: Literal["equal", "at_most", "at_least"]
    stationary: bool


class Choices(Frozen):
    """What the checks decided: the trend, and the controls that the model goes without."""

    tests: tuple[Test, ...]
    decomposed: bool  # the trend declared for outcomes that are not stationary took the model's place
    dropped: tuple[str, ...]  # controls


def chosen(spec: Spec, choices: Choices) -> Spec:
    """`spec` with what was decided in place: the specification of the model that is fitted.

    Raises SpecError where a selection prior is left with too few controls.
    """
    check = spec.checks.stationarity if spec.checks is not None else None
    declared = spec.model
    if choices.decomposed and check is not None and isinstance(check.consequence, Decompose):
        declared = declared.model_copy(update={"trend": check.consequence.trend})
    controls = tuple(column for column in spec.data.controls if column.name not in choices.dropped)
    selection = declared.controls.selection
    if choices.dropped and selection is not None:
        left = tuple(name for name in selection.controls if name not in choices.dropped)
        kept = selection.model_copy(update={"controls": left}) if left else None
        declared = declared.model_copy(update={"controls": declared.controls.model_copy(update={"selection": kept})})
    data = spec.data.model_copy(update={"controls": controls})
    found = spec.model_copy(update={"data": data, "model": declared})
    return parse_spec(found.model_dump_json().encode())  # what was put together is as valid as what was declared


def kept_panel(panel: Panel, spec: Spec, choices: Choices) -> Panel:
    """`panel`, of the registered `spec`, without the controls that were dropped."""
    left = [c for c, column in enumerate(spec.data.controls) if column.name not in choices.dropped]
    return panel._replace(controls=panel.controls[:, :, left])
