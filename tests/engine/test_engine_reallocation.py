"""Reallocation: known optima, constraints, dislike of uncertainty, and the same bytes from every search."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from engine.budget import Multiples, Problem
from engine.budget_search import optimised
from engine.errors import SpecError
from engine.reallocation import Proposal, first_draws, reallocated
from engine.reallocation_table import channels_table, gains_table
from engine.spec_data import DataSpec
from engine.spec_effects import Bound, Effects, Expected, MeanDeviation, TailMean, Utility, effects_faults
from engine.utility import UTILITIES, utility
from tests import classes, small, small_effects

ROOT = Path(__file__).resolve().parents[2]
EXPECTED = Expected(kind="expected")
PLAN: dict[str, Any] = {
    "name": "spring", "utility": {"kind": "expected"}, "total": 1.0, "low": 0.2, "high": 3.0, "bounds": [], "draws": 4,
}  # fmt: skip
RADIO = {"channel": "radio", "low": 0.5, "high": 1.0}


def _told(of: Callable[[jax.Array], jax.Array]) -> Callable[[Multiples], tuple[float, Sequence[float]]]:
    graded = jax.jit(jax.value_and_grad(of))

    def value(multiples: Multiples) -> tuple[float, Sequence[float]]:
        found, slope = graded(jnp.asarray(multiples))
        return float(found), slope.tolist()

    return value


def test_channels_with_equal_curves_and_plans_get_equal_budgets() -> None:
    problem = Problem((50.0, 50.0, 50.0), (0.1,) * 3, (2.5,) * 3, 150.0)
    found = optimised(problem, _told(lambda k: jnp.sum(jnp.log1p(k))))
    assert found.multiples == (1.0, 1.0, 1.0)
    assert found.status == 0


def test_inside_its_bounds_the_optimum_has_one_marginal_return_per_unit_of_budget() -> None:
    """Karush, Kuhn and Tucker: equal where free, lower at a lower bound, higher at an upper one."""
    planned, effect, bend = (
        np.asarray(x) for x in ((80.0, 20.0, 60.0, 40.0), (9.0, 6.0, 1.0, 30.0), (1.0, 2.0, 3.0, 0.5))
    )
    problem = Problem(tuple(planned.tolist()), (0.2,) * 4, (3.0, 3.0, 3.0, 1.5), 200.0)
    found = optimised(problem, _told(lambda k: jnp.sum(effect * -jnp.expm1(-bend * k))))
    k = np.asarray(found.multiples)
    slope = effect * bend * np.exp(-bend * k) / planned
    assert k[2] == 0.2
    assert k[3] == 1.5
    assert math.isclose(slope[0], slope[1], rel_tol=1e-3)
    assert slope[2] < slope[0] < slope[3]


def _with_threshold(k: jax.Array) -> jax.Array:
    """From equal budgets up the hill is the first channel's, and the higher one, the second's, out of sight."""
    return jax.nn.sigmoid(10.0 * (k[0] - 1.2)) + 3.0 * jax.nn.sigmoid(40.0 * (k[1] - 1.8))


def test_where_a_response_has_a_threshold_several_starts_find_the_better_optimum() -> None:
    problem = Problem((50.0, 50.0), (0.0, 0.0), (2.0, 2.0), 100.0)
    found = optimised(problem, _told(_with_threshold))
    assert found.multiples[1] > 1.8
    assert found.value > 2.9


def _returned(k: jax.Array) -> jax.Array:
    """(draw,): a channel that brings 1 in every draw, and one that brings 1.2 on average, from 0 to 2.4."""
    return jnp.log1p(k[0]) + jnp.linspace(0.0, 2.4, 25) * jnp.log1p(k[1])


@pytest.mark.parametrize(
    "rule", [MeanDeviation(kind="mean_deviation", aversion=0.5), TailMean(kind="tail_mean", share=0.2)]
)
def test_dislike_of_uncertainty_moves_budget_from_the_uncertain_channel(rule: Utility) -> None:
    problem = Problem((50.0, 50.0), (0.1, 0.1), (1.9, 1.9), 100.0)
    bold = optimised(problem, _told(lambda k: utility(EXPECTED, _returned(k))))
    careful = optimised(problem, _told(lambda k: utility(rule, _returned(k))))
    assert bold.multiples[1] > 1.0 > careful.multiples[1]


def test_utilities_of_the_worked_example() -> None:
    draws = jnp.asarray([4.0, 1.0, 3.0, 2.0])
    assert float(utility(EXPECTED, draws)) == 2.5
    averse, tail = MeanDeviation(kind="mean_deviation", aversion=0.5), TailMean(kind="tail_mean", share=0.5)
    assert math.isclose(float(utility(averse, draws)), 2.5 - 0.5 * math.sqrt(5.0 / 3.0), rel_tol=1e-14)
    assert float(utility(tail, draws)) == 1.5
    assert set(UTILITIES) == {"expected", "mean_deviation", "tail_mean"}
    for rule in (EXPECTED, averse, tail):
        assert bool(jnp.all(jnp.isfinite(jax.grad(lambda x, rule=rule: utility(rule, x))(jnp.ones(4)))))


SEARCH = """
import numpy as np
from engine.budget import Problem
from engine.budget_search import optimised
size = 12
rest = np.arange(1.0, size + 1.0)
def value(k):
    k = np.asarray(k)
    return float(np.sum(rest * np.log1p(k / rest))), (rest / (rest + k)).tolist()
problem = Problem(tuple((10.0 + rest).tolist()), (0.1,) * size, (3.0,) * size, 200.0)
print([m.hex() for m in optimised(problem, value).multiples])
"""


def test_a_search_ends_at_the_same_bytes_whatever_the_threads_of_linear_algebra() -> None:
    found = set()
    for threads in ("1", "2"):
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
        command = [sys.executable, "-c", SEARCH]
        found.add(subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout)
    assert len(found) == 1
    assert "0x1" in found.pop()


@cache
def _proposal(name: str, rule: str = "expected") -> tuple[small_effects.Case, Proposal]:
    """From a model: the case with this one reallocation in its specification."""
    kinds: dict[str, dict[str, Any]] = {
        "expected": {"kind": "expected"},
        "tail_mean": {"kind": "tail_mean", "share": 0.4},
    }
    spec = small_effects.spec(name, effects__reallocations=[{**PLAN, "utility": kinds[rule]}])
    of = small_effects.case(name)._replace(spec=spec)
    return of, _reallocated(of)


def _reallocated(of: small_effects.Case) -> Proposal:
    return reallocated(of.spec, of.draws, of.design, of.scales, len(of.panel.periods), of.spec.effects.reallocations[0])


def test_of_a_model_the_gain_is_what_the_whole_model_says_of_the_proposed_spend() -> None:
    of, proposal = _proposal("portfolio")
    origin = len(of.panel.periods)
    span, lags = of.design.media.spend.shape[0], of.design.media.spend.shape[3]
    ahead = np.arange(span)[:, None] - np.arange(lags) >= origin
    factor = np.where(ahead[:, None, None, :], np.asarray(proposal.multiples)[:, None], 1.0)
    seen = small_effects.with_spend(of.design, lambda x: x * factor)
    for index in range(3):
        whole, plan = (small_effects.outcome(of, index, media)[origin:] for media in (seen, of.design.media))
        assert math.isclose(proposal.gain[index], (whole - plan).sum(), rel_tol=1e-7)


def test_of_a_model_marginal_returns_are_equal_inside_the_bounds() -> None:
    _of, proposal = _proposal("portfolio")
    spend = [each.value or 0.0 for each in proposal.spend]
    slope = proposal.slope.mean(axis=0) / np.asarray(spend)
    assert all(0.2 < k < 3.0 for k in proposal.multiples)
    assert math.isclose(slope[0], slope[1], rel_tol=1e-3)
    proposed = math.fsum(k * s for k, s in zip(proposal.multiples, spend, strict=True))
    assert math.isclose(proposed, math.fsum(spend), rel_tol=1e-12)
    assert proposal.gain.mean() > 0.0


def test_of_a_model_a_reallocation_is_the_same_bytes_again() -> None:
    of, proposal = _proposal("portfolio")
    again = _reallocated(of)
    assert again.multiples == proposal.multiples
    assert again.gain.tobytes() == proposal.gain.tobytes()
    assert again.slope.tobytes() == proposal.slope.tobytes()


def test_the_first_draws_of_every_chain_are_searched() -> None:
    of = small_effects.case("portfolio")  # two chains, laid end to end
    found = first_draws(of.spec, of.draws, 3).noise.sigma
    kept = [0, 1, 2, 4, 5, 6]
    assert np.asarray(found).tobytes() == np.asarray(of.draws.noise.sigma)[kept].tobytes()
    assert first_draws(of.spec, of.draws, 50).noise.sigma.shape == of.draws.noise.sigma.shape


def test_tables_tell_the_distribution_of_the_gain_and_of_the_last_units_return() -> None:
    of, proposal = _proposal("portfolio")
    channels, (gain,) = (t(of.spec, [proposal]).to_pylist() for t in (channels_table, gains_table))
    assert [row["channel"] for row in channels] == ["tv", "search"]
    for m, row in enumerate(channels):
        assert math.isclose(row["proposed_spend"], row["multiple"] * row["planned_spend"])
        assert math.isclose(row["mean"], proposal.slope[:, m].mean() / row["planned_spend"], rel_tol=1e-12)
    assert math.isclose(gain["proposed_spend"], gain["planned_spend"], rel_tol=1e-12)
    assert gain["probability_of_gain"] == float(np.mean(proposal.gain > 0.0))
    assert gain["q05"] <= gain["q25"] <= gain["q50"] == float(np.median(proposal.gain)) <= gain["q75"] <= gain["q95"]
    assert (gain["status"], gain["message"], gain["utility"]) == (0, "Optimization terminated successfully", "expected")


def test_a_channel_given_as_reach_keeps_its_plan_and_the_total_is_the_others() -> None:
    of, proposal = _proposal("everything")
    assert proposal.multiples == (1.0, 1.0)  # the one other channel must spend the total
    assert not np.any(proposal.gain)
    tv, search = channels_table(of.spec, [proposal]).to_pylist()
    assert tv["reason"] == "given as reach, not as spend"
    assert tv["multiple"] is None
    assert tv["proposed_spend"] is None
    assert search["multiple"] == 1.0
    assert search["reason"] is None


def test_what_the_plan_cannot_meet_is_refused() -> None:
    of = small_effects.case("portfolio")
    narrow = {**PLAN, "total": 3.0, "high": 2.0}
    with pytest.raises(SpecError, match=r"effects\.reallocations\.spring: expected bounds between which a total of"):
        _reallocated(of._replace(spec=small_effects.spec("portfolio", effects__reallocations=[narrow])))
    spec = small_effects.spec("portfolio", effects__reallocations=[PLAN])
    silent = of.design._replace(media=of.design.media._replace(spend=0.0 * of.design.media.spend))
    with pytest.raises(SpecError, match="expected a channel with a planned budget, found none"):
        _reallocated(of._replace(spec=spec, design=silent))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"effects__reallocations": [PLAN, PLAN]}, "expected each name once, found spring 2 times"),
        ({"data__media": [{**classes.TV, "unit": "EUR"}, classes.SEARCH]}, "channels of one unit, found EUR, USD"),
        ({"data__further": [{**classes.MULTIPACK, "unit": "packs"}]}, "outcomes of one unit, found USD, packs"),
        ({"effects__reallocations": [{**PLAN, "bounds": [RADIO]}]}, "declared channel (tv, search), found radio"),
        ({"effects__reallocations": [{**PLAN, "bounds": [{**RADIO, "channel": "tv"}] * 2}]}, "expected tv once"),
    ],
)  # fmt: skip
def test_a_reallocation_that_speaks_of_what_is_not_there_is_a_fault(changes: dict[str, Any], fault: str) -> None:
    raw = small.raw()
    raw["effects"]["reallocations"] = changes.get("effects__reallocations", [PLAN])
    for name in ("media", "further"):
        raw["data"][name] = changes.get(f"data__{name}", raw["data"].get(name, []))
    effects, data = Effects.model_validate_json(json.dumps(raw["effects"])), json.dumps(raw["data"])
    (found,) = effects_faults(effects, DataSpec.model_validate_json(data))
    assert fault in found


def test_bounds_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(ValueError, match="expected low <= high"):
        Bound(channel="tv", low=2.0, high=1.0)
