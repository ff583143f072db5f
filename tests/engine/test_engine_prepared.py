"""What checks before the fit decide, and that nothing later has a part in it."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from engine.choices import Choices, chosen, kept_panel
from engine.errors import SpecError
from engine.prepared import prepare
from engine.spec import Spec
from engine.table import Panel
from tests import classes, small

BEFORE = 20
SCREENING = {"before": BEFORE, "keep": 2, "path": 30, "shortest": 0.01, "gamma": 0.5}
WANDERS = {"kind": "local_level", "scale": 0.2, "knot": 4}
DECOMPOSE = {"kind": "decompose", "trend": WANDERS, "period": 10, "seasonal": 7}


def stationarity(consequence: dict[str, Any]) -> dict[str, Any]:
    return {"regression": "c", "lags": 2, "level": 0.05, "before": BEFORE, "consequence": consequence}


def rising(of: Spec) -> Panel:
    """Sales that grow by three tenths a period."""
    panel = classes.panel(of)
    growth = np.asarray([1.3**t for t in range(len(panel.periods))])
    return panel._replace(kpi=panel.kpi * growth[:, None])


def driven(of: Spec) -> Panel:
    """Sales that the fourth weather column moves, and nothing else but noise."""
    panel, draw = classes.panel(of), random.Random(3)
    noise = np.asarray([[draw.gauss(0.0, 1.0) for _ in row] for row in panel.kpi])
    return panel._replace(kpi=200.0 + 30.0 * panel.controls[:, :, 4] + noise)


def test_without_checks_nothing_is_decided() -> None:
    spec = small.spec()
    found = prepare(spec, small.panel(spec))
    assert found == (Choices(tests=(), decomposed=False, dropped=()), (), None)
    assert chosen(spec, found.choices) == spec


def test_an_outcome_that_wanders_gets_the_declared_trend_and_is_taken_apart() -> None:
    spec = small.spec(checks={"stationarity": stationarity(DECOMPOSE)})
    found = prepare(spec, rising(spec))
    assert found.choices.decomposed
    assert [test.series for test in found.choices.tests] == ["East", "West"]
    assert [part.series for part in found.components] == ["East", "West"]
    assert chosen(spec, found.choices).model.trend.kind == "local_level"


def test_an_outcome_that_stays_keeps_its_trend() -> None:
    spec = small.spec(checks={"stationarity": stationarity(DECOMPOSE)})
    found = prepare(spec, classes.panel(spec))
    assert not found.choices.decomposed
    assert found.components == ()
    assert chosen(spec, found.choices) == spec


def test_an_outcome_that_wanders_is_refused_where_that_was_declared() -> None:
    spec = small.spec(checks={"stationarity": stationarity({"kind": "refuse"})})
    with pytest.raises(SpecError, match=r"checks.stationarity: expected outcomes stationary.*East"):
        prepare(spec, rising(spec))


def test_screening_keeps_what_drives_the_outcome_and_every_confounder() -> None:
    spec = classes.spec("lasso", checks={"screening": SCREENING})
    panel = driven(spec)
    choices = prepare(spec, panel).choices
    fitted = chosen(spec, choices)
    names = [column.name for column in fitted.data.controls]
    assert "price" in names
    assert "weather_3" in names
    assert 2 <= len(names) <= 3
    selection = fitted.model.controls.selection
    assert selection is None or set(selection.controls) <= set(names)
    kept = kept_panel(panel, spec, choices)
    np.testing.assert_array_equal(kept.controls[:, :, names.index("weather_3")], panel.controls[:, :, 4])


def test_what_comes_later_has_no_part_in_any_decision() -> None:
    spec = classes.spec("lasso", checks={"screening": SCREENING, "stationarity": stationarity(DECOMPOSE)})
    panel = driven(spec)
    later = panel.kpi.copy()
    later[BEFORE:] = 7.0
    controls = panel.controls.copy()
    controls[BEFORE:] = 0.5
    assert prepare(spec, panel._replace(kpi=later, controls=controls)) == prepare(spec, panel)


def test_a_check_that_looks_at_what_past_forecasts_are_judged_on_is_refused() -> None:
    with pytest.raises(SpecError, match=r"checks: expected `before` at most backtest.first_origin 20.*found 21"):
        small.spec(checks={"stationarity": {**stationarity({"kind": "note"}), "before": 21}})
