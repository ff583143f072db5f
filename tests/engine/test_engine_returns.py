"""Returns: the derivative against differences, units, the order of ROAS and mROAS, and what has no return to tell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.contribution import last_year
from engine.design import build
from engine.effect_table import ALL
from engine.returns import returns_table
from engine.spec import Spec
from engine.table import Panel
from tests import classes, small, small_effects
from tests.small_effects import NAMES, case, outcome

STEP = 1e-4


def _rows(spec: Spec, panel: Panel, contribution: np.ndarray, marginal: np.ndarray) -> list[dict[str, Any]]:
    window = last_year(spec, len(panel.periods))
    return list(returns_table(spec, panel, contribution, marginal, window).to_pylist())


def _told(name: str) -> list[dict[str, Any]]:
    of = case(name)
    return _rows(of.spec, of.panel, of.found.contributions.window[..., :-1], of.found.marginal)


@pytest.mark.parametrize("name", NAMES)
def test_a_marginal_return_is_what_a_little_more_of_all_the_channels_spend_adds(name: str) -> None:
    of = case(name)
    for index in (0, 4):
        for m in range(of.channels):
            more, less = (outcome(of, index, small_effects.times(of.design, m, 1.0 + h)) for h in (STEP, -STEP))
            slope = (more - less)[of.window.first : of.window.last].sum(axis=0) / (2.0 * STEP)
            np.testing.assert_allclose(of.found.marginal[index, :, m], slope, rtol=1e-5)


def test_without_a_threshold_and_with_effects_that_add_a_marginal_return_is_at_most_the_return() -> None:
    """In every draw: transformed spend is concave, through 0; mediators here help, and what outcomes do is linear."""
    of = case("portfolio")
    cross = of.draws.cross._replace(cross=0.0 * of.draws.cross.cross)  # what is taken from another is no return
    found = small_effects.again(of, of.design, of.draws._replace(cross=cross))
    assert np.all(found.contributions.window[..., :-1] > 0.0)
    assert np.all(found.marginal <= found.contributions.window[..., :-1])
    assert np.all(found.marginal > 0.0)


@pytest.mark.parametrize("name", NAMES)
def test_returns_are_contributions_over_spend_and_scale_with_the_unit_of_spend(name: str) -> None:
    of = case(name)
    cents = of.panel._replace(media=100.0 * of.panel.media)
    np.testing.assert_allclose(
        build(cents, of.spec, len(cents.periods))[0].media.spend, of.design.media.spend, rtol=1e-12
    )
    dollars = _told(name)
    same = _rows(of.spec, cents, of.found.contributions.window[..., :-1], of.found.marginal)
    compared = 0
    for one, other in zip(dollars, same, strict=True):
        if one["mean"] is None:
            continue
        compared += 1
        for field in ("mean", "sd", "lower", "upper"):
            np.testing.assert_allclose(one[field], 100.0 * other[field], rtol=1e-12)
    assert compared >= 6
    at = next(r for r in dollars if (r["location"], r["channel"], r["measure"]) == (ALL, "search", "roas"))
    summed = of.found.contributions.window.reshape(small_effects.DRAWS, 2, -1, of.channels + 1)[:, :, 0, 1].sum(axis=1)
    spend = float(of.panel.media[of.window.first :, :, 1].sum())
    np.testing.assert_allclose(at["mean"], (summed / spend).mean(), rtol=1e-12)
    assert at["probability_above_one"] == float((summed / spend > 1.0).mean())


def _made(panel: Panel, spec: Spec) -> list[dict[str, Any]]:
    series = len(spec.data.locations) * len(spec.data.outcomes)
    draws = 1.0 + np.arange(4.0)[:, None, None] * np.ones((4, series, len(spec.data.media)))
    return _rows(spec, panel, draws, draws)


def test_a_channel_without_spend_has_a_reason_and_no_number() -> None:
    spec = small.spec()
    panel = small.panel(spec)
    media = panel.media.copy()
    media[:, 0, 0] = 0.0
    rows = _made(panel._replace(media=media), spec)
    told = {(r["location"], r["channel"]): r for r in rows if r["measure"] == "roas"}
    assert told["East", "tv"]["reason"] == "nothing was spent"
    assert all(told["East", "tv"][field] is None for field in ("spend", "mean", "sd", "lower", "upper", "level"))
    assert told["East", "tv"]["probability_above_one"] is None
    assert told[ALL, "tv"]["mean"] > 0.0
    assert told["West", "tv"]["reason"] is None


def test_reach_is_no_spend_and_national_spend_has_no_place() -> None:
    told = {(r["location"], r["channel"]): r["reason"] for r in _told("everything")}
    assert told[ALL, "tv"] == told["East", "tv"] == "given as reach, not as spend"
    assert told[ALL, "search"] is None
    spec = small.spec(data__media=[{**classes.TV, "national": True}, classes.SEARCH])
    panel = small.panel(spec)
    shares, same = panel.media.copy(), panel.media.copy()
    shares[:, 1, 0], same[:, 1, 0] = 3.0 * shares[:, 0, 0], same[:, 0, 0]
    for media, reason in ((shares, None), (same, "every location shows the same")):
        found = {(r["location"], r["channel"]): r["reason"] for r in _made(panel._replace(media=media), spec)}
        assert found["East", "tv"] == "bought for all locations together"
        assert found[ALL, "search"] is None
        assert found[ALL, "tv"] is None if reason is None else found[ALL, "tv"].startswith(reason)


def test_more_than_one_means_nothing_where_units_differ() -> None:
    spec = small.spec(data__media=[{**classes.TV, "unit": "EUR"}, classes.SEARCH])
    rows = _made(small.panel(spec), spec)
    for row in rows:
        assert (row["probability_above_one"] is None) == (row["channel"] == "tv")
        assert row["unit"] == ("USD / EUR" if row["channel"] == "tv" else "USD / USD")
