"""Contributions against the slow way, what they add up to, and the outcome taken apart."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
import pytest

from engine import counterfactual, outcome_parts
from engine.contribution import by_period_table, contributions_table
from engine.effect_table import ALL, together
from engine.mediated import mediation_table
from engine.outcome_links import correlation_table, cross_table
from tests import small_effects
from tests.small_effects import NAMES, again, case, outcome

EVERYWHERE = (0, 1)


@pytest.mark.parametrize("name", NAMES)
def test_a_contribution_is_the_outcome_less_the_outcome_without_the_channel(name: str) -> None:
    of = case(name)
    for index in (0, 5):
        whole = outcome(of, index, of.design.media)
        for m in range(of.channels + 1):
            silent = counterfactual.silent(of.design.media)
            if m < of.channels:
                silent = small_effects.times(of.design, m, 0.0)
            lost = (whole - outcome(of, index, silent))[of.window.first : of.window.last]
            np.testing.assert_allclose(of.found.contributions.window[index, :, m], lost.sum(axis=0), rtol=1e-8)


def test_where_effects_add_contributions_add_up_and_where_they_multiply_they_need_not() -> None:
    added, multiplied = (case(name).found.contributions.window for name in NAMES)
    np.testing.assert_allclose(added[..., :-1].sum(axis=-1), added[..., -1], rtol=1e-10)
    assert np.all(np.abs(multiplied[..., :-1].sum(axis=-1) / multiplied[..., -1] - 1.0) > 1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_channel_that_never_spent_contributes_exactly_nothing(name: str) -> None:
    of = case(name)
    found = again(of, of.design._replace(media=small_effects.times(of.design, 0, 0.0)), of.draws)
    assert not np.any(found.contributions.window[..., 0])
    assert not np.any(found.contributions.period[..., 0])
    assert not np.any(found.marginal[..., 0])
    assert np.all(found.contributions.window[..., 1] != 0.0)


@pytest.mark.parametrize("name", NAMES)
def test_periods_add_up_to_the_window(name: str) -> None:
    of = case(name)
    by_period = of.found.contributions.period[:, of.window.first : of.window.last].sum(axis=1)
    whole = together(of.spec.data, of.found.contributions.window, EVERYWHERE)
    np.testing.assert_allclose(by_period, whole, rtol=1e-10)


def test_tables_have_a_row_for_everything_and_the_means_of_locations_add_up() -> None:
    of = case("portfolio")
    rows = contributions_table(of.spec, of.panel, of.found.contributions.window, of.window).to_pylist()
    assert len(rows) == 3 * 2 * 3  # all, East and West; two outcomes; two channels and all
    for name in ("sales", "multipack"):
        for channel in ("tv", "search", ALL):
            means = {r["location"]: r["mean"] for r in rows if (r["outcome"], r["channel"]) == (name, channel)}
            assert math.isclose(means[ALL], means["East"] + means["West"], rel_tol=1e-12)
    spend = {r["channel"]: r["spend"] for r in rows if r["location"] == "East"}
    assert math.isclose(spend[ALL], float(of.panel.media[of.window.first :, 0].sum()), rel_tol=1e-12)
    periods = by_period_table(of.spec, of.panel.periods, of.found.contributions.period).to_pylist()
    assert len(periods) == len(of.panel.periods) * 2 * 3
    assert all(row["lower"] <= row["mean"] <= row["upper"] for row in (*rows, *periods))


@pytest.mark.parametrize("name", NAMES)
def test_the_parts_of_the_outcome_add_up_to_the_outcome_in_every_draw(name: str) -> None:
    of = case(name)
    parts = dict(outcome_parts.drawn(of.spec, of.draws, of.design, of.panel))
    total = np.sum(list(parts.values()), axis=0)
    np.testing.assert_allclose(total, np.broadcast_to(of.panel.kpi, total.shape), rtol=1e-9)
    assert ("remainder" in parts) == (of.spec.model.outcome == "log")
    np.testing.assert_allclose(parts["level"], parts["level"][:, :1] + 0.0 * parts["level"], rtol=1e-9, atol=1e-9)
    if "cross_effects" not in parts:
        return
    # were outcomes apart, what all channels add would be their direct and their mediated part
    apart = of.design._replace(promotion=0.0 * of.design.promotion)
    without = dict(outcome_parts.drawn(of.spec, of.draws, apart, of.panel))
    assert np.all(np.abs(without["cross_effects"]) < 1e-9)
    assert np.any(np.abs(parts["cross_effects"]) > 0.1)
    alone = together(of.spec.data, again(of, apart, of.draws).contributions.window[..., -1], EVERYWHERE)
    told = (without["media"] + without["mediators"])[:, of.window.first : of.window.last].sum(axis=1)
    np.testing.assert_allclose(together(of.spec.data, told, EVERYWHERE), alone, rtol=1e-9)


def test_where_effects_multiply_a_part_is_the_outcome_less_the_outcome_without_it() -> None:
    of = case("everything")
    parts = dict(outcome_parts.drawn(of.spec, of.draws, of.design, of.panel))
    media = parts["media"].reshape(small_effects.DRAWS, -1, 2).sum(axis=2)
    np.testing.assert_allclose(media, of.found.contributions.period[:, :, 0, -1], rtol=1e-8, atol=1e-8)
    known = len(of.panel.periods)
    flat = of.draws._replace(trend=of.draws.trend._replace(trend=0.0 * of.draws.trend.trend))
    for index in range(2):
        whole, without = (outcome(each, index, of.design.media) for each in (of, of._replace(draws=flat)))
        np.testing.assert_allclose(parts["trend"][index], (whole - without)[:known], rtol=1e-8, atol=1e-8)


def test_the_tables_of_parts_have_the_window_and_every_period() -> None:
    of = case("everything")
    window, by_period = outcome_parts.parts_tables(of.spec, of.draws, of.design, of.panel, of.window)
    names = outcome_parts.present(of.spec, of.design)
    assert names == ("level", "trend", "seasons", "events", "controls", "media", "remainder", "residual")
    assert list(dict.fromkeys(window.column("part").to_pylist())) == list(names)
    assert by_period.num_rows == len(names) * len(of.panel.periods) * 2
    known = of.panel.kpi[of.window.first : of.window.last].sum()
    assert math.isclose(sum(r["mean"] for r in window.to_pylist() if r["location"] == ALL), known, rel_tol=1e-9)


def test_direct_and_indirect_add_up_to_the_contribution_where_effects_add() -> None:
    of = case("portfolio")
    whole = together(of.spec.data, of.found.contributions.window, EVERYWHERE)[..., :-1]  # (draw, O, M)
    parts = of.found.mediated
    np.testing.assert_allclose(parts.direct + parts.indirect.sum(axis=-1), whole, rtol=1e-9)
    assert not np.any(parts.indirect[:, :, 1])  # the mediator is built by television alone
    assert np.all(parts.share[:, :, 1] == 0.0)
    assert np.all((parts.share[:, :, 0] > 0.0) & (parts.share[:, :, 0] < 1.0))


def test_what_only_a_mediator_passes_on_is_all_of_the_contribution() -> None:
    of = case("portfolio")
    media = of.draws.media._replace(beta=0.0 * of.draws.media.beta)
    found = again(of, of.design, of.draws._replace(media=media))
    whole = together(of.spec.data, found.contributions.window, EVERYWHERE)[..., 0]
    assert np.all(whole != 0.0)
    np.testing.assert_allclose(found.mediated.indirect[:, :, 0, 0], whole, rtol=1e-12)
    assert not np.any(found.mediated.direct)
    assert np.all(found.mediated.share[:, :, 0] == 1.0)
    assert np.all(np.isnan(found.mediated.share[:, :, 1]))
    rows = mediation_table(of.spec, found.mediated, together(of.spec.data, found.contributions.window, EVERYWHERE))
    told = {(r["outcome"], r["channel"], r["effect"]): r for r in rows.to_pylist()}
    assert told["sales", "search", "share"]["reason"] == "the channel added nothing"
    assert told["sales", "search", "share"]["mean"] is None
    assert told["sales", "tv", "share"]["mean"] == 1.0
    assert ("sales", "search", "indirect") not in told


def test_a_cross_effect_is_the_targets_outcome_less_the_outcome_without_it() -> None:
    of = case("portfolio")  # multipack takes from sales
    index = 2
    none = of.draws._replace(cross=of.draws.cross._replace(cross=0.0 * of.draws.cross.cross))
    whole, without = outcome(of, index, of.design.media), outcome(of._replace(draws=none), index, of.design.media)
    lost = (whole - without)[of.window.first : of.window.last].reshape(-1, 2, 2).sum(axis=(0, 1))
    assert math.isclose(of.found.crossed[index, 0], lost[0], rel_tol=1e-9)
    assert lost[1] == 0.0
    rows = cross_table(of.spec, np.asarray(of.draws.cross.cross), of.found.crossed).to_pylist()
    assert [(r["source"], r["target"], r["of"], r["unit"]) for r in rows] == [
        ("multipack", "sales", "psi", ""), ("multipack", "sales", "contribution", "USD"),
    ]  # fmt: skip
    assert rows[0]["upper"] < 0.0


def test_correlations_are_those_of_the_drawn_covariance() -> None:
    of = case("portfolio")
    factor = np.asarray(of.draws.noise.factor)  # of the correlation matrix, by LKJ
    for place in range(2):
        np.testing.assert_allclose(of.found.correlation[:, place], factor @ np.swapaxes(factor, 1, 2), atol=1e-12)
    rows = correlation_table(of.spec, of.found.correlation).to_pylist()
    assert [(r["location"], r["outcome"], r["other_outcome"]) for r in rows] == [
        ("East", "multipack", "sales"), ("West", "multipack", "sales"),
    ]  # fmt: skip
    assert math.isclose(rows[0]["mean"], float(np.mean(of.found.correlation[:, 0, 1, 0])), rel_tol=1e-12)
    assert jnp.isfinite(rows[0]["sd"])
