"""A slice of `python -m tests.stress.run`: what is wrong with a world is said, and nothing is said of a clean one.

One model without a memory, so that one program is compiled; the whole, with rates and coverages, is `make stress`.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from engine.after import after_fit, thinned
from engine.errors import SpecError
from engine.finding import Finding
from engine.model import Parameters
from engine.pivot import pivots
from engine.prng import stream
from engine.table import Panel
from tests import worlds
from tests.drawn import changed
from tests.stress import model, table
from tests.stress.alarmed import Alarmed
from tests.stress.coverage import Covered, Rate, rates
from tests.stress.measure import Stress, Stressed, raised
from tests.stress.scenes import CLEAN, SCENES, Scene

pytestmark = pytest.mark.slow


def _white(truth: Parameters, _: Panel) -> Parameters:
    return changed(truth, rho=jnp.zeros(()))


def _plain(scene: Scene) -> Scene:
    """Fitted by a model without a memory, of residuals without one."""
    return scene._replace(residual="white", truth=_white)


@pytest.fixture(scope="module")
def stress() -> Stress:
    return Stress(("white",))


@pytest.fixture(scope="module")
def clean(stress: Stress) -> Stressed:
    return stress.fitted(_plain(CLEAN), 0)


WRONG = (
    "trend break", "season of a month", "budget answers sales", "collinear pair", "collinear sum", "spend outlier",
    "zero spend", "short history",
)  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said(stress: Stress, name: str) -> None:
    scene = _plain(SCENES[name])
    found = stress.fitted(scene, 1).findings
    assert raised(scene, found), [str(finding) for finding in found]


def test_memory_that_the_model_has_not_is_said(stress: Stress) -> None:
    scene = SCENES["autocorrelated errors"]
    assert raised(scene, stress.fitted(scene, 1).findings)


def test_a_curve_that_data_do_not_bound_is_said(stress: Stress) -> None:
    scene = SCENES["saturation outside"]

    def both(truth: Parameters, panel: Panel) -> Parameters:
        return _white(scene.truth(truth, panel), panel)

    found = stress.fitted(scene._replace(residual="white", truth=both), 1).findings
    assert raised(scene, found)


def test_nothing_is_wrong_with_a_clean_world(clean: Stressed) -> None:
    assert [str(finding) for finding in clean.findings if finding.severity == "warning"] == []


def test_a_channel_that_never_spent_has_nothing_said_of_its_fit(stress: Stress) -> None:
    found = stress.fitted(_plain(SCENES["zero spend"]), 2).findings
    assert [finding.what for finding in found if finding.subject == "radio"] == ["no_spend"]


def test_residuals_at_the_truth_are_the_shocks_that_made_the_world(stress: Stress) -> None:
    spec = model.spec()  # with a memory
    _, world = stress.world(CLEAN, 3)
    shocks = worlds.drawn_shocks(spec, world.truth, world.design, stream(3, "world", "shocks"))
    found = np.asarray(jax.jit(partial(pivots, spec))(world.truth, world.design))
    assert found[: model.TIME] == pytest.approx(shocks.innovation[: model.TIME], abs=1e-9)
    assert np.all(found[model.TIME :] == 0.0)


def test_fewer_periods_than_lags_are_refused(stress: Stress) -> None:
    _, world = stress.world(CLEAN._replace(known=4), 0)
    draws = jax.tree.map(lambda x: jnp.asarray(x)[None], world.truth)
    with pytest.raises(SpecError, match=r"after_fit\.lags: expected fewer than the 4 known periods, found 4"):
        after_fit(model.spec(), draws, world.design)


def test_what_was_not_asked_for_is_not_said(stress: Stress) -> None:
    _, world = stress.world(CLEAN, 0)
    silent = model.spec().model_copy(update={"checks": None})
    assert after_fit(silent, jax.tree.map(lambda x: jnp.asarray(x)[None], world.truth), world.design) == ()


def test_draws_are_thinned_evenly(stress: Stress) -> None:
    _, world = stress.world(CLEAN, 0)
    draws = jax.tree.map(lambda x: jnp.broadcast_to(jnp.asarray(x), (10, *x.shape)), world.truth)
    draws = changed(draws, rho=jnp.arange(10.0) / 10.0)
    assert np.asarray(thinned(draws, 4).noise.rho) == pytest.approx([0.0, 0.2, 0.5, 0.7])
    assert len(thinned(draws, 11).noise.rho) == 10


def _stressed(*findings: Finding) -> Stressed:
    return Stressed(None, None, findings, np.asarray([[True, False], [True, True]]))  # type: ignore[arg-type]


def test_a_verdict_that_is_met_too_seldom_fails() -> None:
    there, elsewhere = Finding("East", "season_left", "", ""), Finding("West", "season_left", "", "")
    scene = Scene("a wave", ("season_left",), "East", 0.8)
    for met in (4, 3):
        found = [_stressed(there)] * met + [_stressed(elsewhere)] * (5 - met)
        row = table.row("wave", scene, found, [_stressed(), _stressed(there)])
        assert (row.hits, row.worlds, row.falsely, row.clean, row.held, row.failed) == (met, 5, 1, 2, 1.0, met < 4)
    assert f"| {row.hits} of 5 | 1 of 2 | 100% | FAILED |" in table.scenes([row])


def test_more_warnings_of_clean_worlds_than_declared_fail() -> None:
    """100 worlds, 5 % of which may warn, three standard errors of it more."""
    warned, noted = Finding("tv", "spend_ahead", "", ""), Finding("tv", "prior_speaks", "", "")
    for count in (11, 12):
        found = [_stressed(warned)] * count + [_stressed(noted)] * (100 - count)
        assert table.clean_row(found, 0.05).failed == (count == 12)


def test_a_coverage_that_is_off_by_more_than_allowed_fails() -> None:
    right = Covered(np.asarray([[True] * 4 + [False], [True] * 5]), np.asarray([[True] * 4 + [False]] * 2))
    found = rates([right, right])
    assert found == {
        "forecast 80%": Rate(0.8, 0.0), "added 80%": Rate(0.8, 0.0),
        "forecast 90%": Rate(1.0, 0.0), "added 90%": Rate(0.8, 0.0),
    }  # fmt: skip
    assert table.outside(found) == ["forecast 90%", "added 90%"]
    assert table.outside({"forecast 90%": Rate(0.85, 0.011)}) == []
    assert "| ar1 | forecast 80% | 80.0% (0.0%) |" in table.coverages({"ar1": found})


def test_alarms_are_counted_with_the_median_of_their_delays() -> None:
    heard = [Alarmed(True, 3), Alarmed(True, 5), Alarmed(True, 9), Alarmed(False, None)]
    assert "| break | 3 of 4 | 5 |" in table.alarms({"break": heard})
