"""Screening: what is planted is found, confounders stay, later periods and threads change nothing."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from threadpoolctl import threadpool_limits

from engine.errors import SpecError, TableError
from engine.screening import Screened, ScreeningData, screen
from engine.spec_checks import Screening
from engine.spec_data import ControlColumn
from tests import reference_selection as twin
from tests.small_controls import columns

TIME, BEFORE, CANDIDATES = 208, 180, 400
PLANTED = (3, 50, 100, 200, 399)
PROXY = 10  # moves with media, and has no effect of its own
HIDDEN = 200  # planted, and hidden by the trend


def rule(**changes: Any) -> Screening:
    values: dict[str, Any] = {"before": BEFORE, "keep": 30, "path": 50, "shortest": 0.02, "gamma": 0.5}
    return Screening(**{**values, **changes})


@lru_cache(maxsize=8)
def world(seed: int, count: int = CANDIDATES, places: int = 1, outcomes: int = 1) -> ScreeningData:
    """Two confounders without any effect, then `count` precision controls, those of PLANTED with one of .6 sd."""
    draw = np.random.default_rng(seed)
    media = draw.gamma(2.0, 0.5, size=(TIME, places, 5))
    trend = np.broadcast_to(np.arange(TIME)[:, None, None] / 52.0, (TIME, places, 1))
    z = draw.normal(size=(TIME, places, count))
    confounders = draw.normal(size=(TIME, places, 2))
    y = 0.3 * np.sum(media, axis=2, keepdims=True) + trend + 0.1 * draw.normal(size=(TIME, places, outcomes))
    y = y + draw.normal(size=(1, places, 1))
    for j in PLANTED:
        y = y + 0.06 * z[:, :, j : j + 1] if j < count else y
    if count > PROXY:
        z[:, :, PROXY] = np.sum(media, axis=2) + 0.1 * z[:, :, PROXY]
    if count > HIDDEN:
        z[:, :, HIDDEN] -= 10.0 * trend[:, :, 0]
    return ScreeningData(y, np.concatenate([confounders, z], axis=2), np.concatenate([media, trend], axis=2))


def declared(count: int = CANDIDATES) -> tuple[ControlColumn, ...]:
    return (*columns("q", 2, "confounder"), *columns("p", count, "precision"))


@lru_cache(maxsize=8)
def found(seed: int = 1) -> Screened:
    return screen(world(seed), declared(), rule())


def test_five_of_four_hundred_are_found() -> None:
    """Every one of the five, in 3 worlds, and at most 2 of 395 others; the trend hides one and media feign another."""
    for seed in (1, 2, 3):
        kept = set(found(seed).kept)
        assert {f"p{j}" for j in PLANTED} <= kept
        assert len(kept) <= 2 + len(PLANTED) + 2
        assert f"p{PROXY}" not in kept


def test_a_confounder_is_never_dropped() -> None:
    """Two that have no effect at all, and when nothing may be kept."""
    nothing = screen(world(1), declared(), rule(keep=0))
    assert nothing.kept == ("q0", "q1")
    assert {v.reason for v in nothing.verdicts if v.kept} == {"confounder"}
    assert {"q0", "q1"} <= set(found().kept)


def test_without_partialling_out_a_proxy_of_media_would_be_kept() -> None:
    """Why it is done: the same world, of which the model is said to have nothing."""
    data = world(1)
    naive = screen(data._replace(others=np.zeros((TIME, 1, 0))), declared(), rule())
    assert f"p{PROXY}" in naive.kept


def test_a_mediator_is_neither_candidate_nor_adjusted_for() -> None:
    """It moves with media: to adjust for it would take media's part of it out of what is explained."""
    roles = (*columns("q", 2, "confounder"), *columns("p", PROXY, "precision"), *columns("m", 1, "mediator"))
    data = world(1, PROXY + 1)
    result = screen(data, roles, rule())
    without = screen(data._replace(controls=data.controls[:, :, :-1]), roles[:-1], rule())
    assert result.verdicts[-1] == ("m0", True, "mediator")
    assert result.verdicts[:-1] == without.verdicts
    assert result.chosen == without.chosen


def test_what_comes_later_changes_nothing() -> None:
    data = world(1)
    later = ScreeningData(*(part.copy() for part in data))
    for part in later:
        part[BEFORE:] = 1e3
    assert screen(later, declared(), rule()) == found()


def test_one_thread_and_two_give_the_same() -> None:
    """The libraries' threads are set while they run; the profile's own setting is one."""
    for threads in (1, 2):
        with threadpool_limits(limits=threads):
            assert screen(world(1), declared(), rule()) == found()


def test_no_more_than_declared_are_kept() -> None:
    few = screen(world(1), declared(), rule(keep=3))
    assert len([v for v in few.verdicts if v.reason == "on_the_path"]) <= 3
    assert all(len(step.active) <= 3 for step in few.path)


def test_every_control_has_a_verdict_and_a_reason() -> None:
    verdicts = found().verdicts
    assert [v.control for v in verdicts] == [c.name for c in declared()]
    assert all(v.kept == (v.reason in ("confounder", "mediator", "on_the_path")) for v in verdicts)


def test_what_the_rest_says_already_is_explained() -> None:
    data = world(1, 12)
    controls = data.controls.copy()
    before = 177
    constant = next(v for v in (k / 7.0 for k in range(1, 99)) if math.fsum([v] * before) / before != v)
    controls[:, :, 4] = constant  # whose mean is another number, by a rounding error
    controls[:, :, 5] = 2.0 * controls[:, :, 0] - data.others[:, :, 1] + 7.0
    verdicts = screen(data._replace(controls=controls), declared(12), rule(before=before)).verdicts
    assert [v.control for v in verdicts if v.reason == "explained"] == ["p2", "p3"]


def test_the_chosen_step_has_the_least_criterion_and_it_is_the_textbooks() -> None:
    """Extended BIC from NumPy's least squares on everything at once, no partialling out."""
    data, result = world(1), found()
    assert result.chosen.criterion == min(step.criterion for step in result.path)
    rows = np.ones((BEFORE, 1))
    base = np.concatenate([rows, data.others[:BEFORE, 0], data.controls[:BEFORE, 0, :2]], axis=1)
    y = data.y[:BEFORE, 0, 0]
    empty = float(np.linalg.lstsq(base, y)[1][0])
    left = BEFORE - base.shape[1]
    for step in result.path[:12]:
        X = np.concatenate([base, data.controls[:BEFORE, 0, [2 + j for j in step.active]]], axis=1)
        rss = float(np.linalg.lstsq(X, y)[1][0]) * BEFORE / empty  # outcomes are scaled to variance 1
        expected = twin.extended_bic([rss], left, len(step.active), CANDIDATES, 0.5)
        assert step.criterion == pytest.approx(expected, rel=1e-5)


def test_a_greater_gamma_keeps_no_more() -> None:
    kept = [len(screen(world(2), declared(), rule(gamma=gamma)).kept) for gamma in (0.0, 0.5, 1.0)]
    assert kept == sorted(kept, reverse=True)
    assert kept[0] > kept[2]


def test_a_unit_of_measurement_changes_nothing() -> None:
    """Powers of two, so that no product is rounded differently."""
    data = world(1)
    scaled = ScreeningData(4.0 * data.y, 1024.0 * data.controls, 0.5 * data.others)
    assert screen(scaled, declared(), rule()) == found()


def test_outcomes_are_screened_together() -> None:
    """Of two outcomes at three locations, each with its own level, one set of controls."""
    result = screen(world(5, 60, 3, 2), declared(60), rule())
    assert {v.control for v in result.verdicts if v.reason == "on_the_path"} == {"p3", "p50"}


def test_a_path_starts_with_nothing_and_its_penalties_fall() -> None:
    path = found().path
    assert (path[0].penalty, path[0].active) == (math.inf, ())
    assert all(a.penalty > b.penalty for a, b in pairwise(path))


def test_an_outcome_that_the_model_explains_wholly_is_refused() -> None:
    data = world(1, 12)
    with pytest.raises(TableError, match="outcome 0 to vary"):
        screen(data._replace(y=np.sum(data.others, axis=2, keepdims=True)), declared(12), rule())


@pytest.mark.parametrize(("before", "error"), [(TIME + 1, SpecError), (8, TableError)])
def test_periods_that_are_not_there_or_too_few_are_refused(before: int, error: type[Exception]) -> None:
    with pytest.raises(error, match="expected"):
        screen(world(1, 12), declared(12), rule(before=before))


@pytest.mark.parametrize("wrong", [{"gamma": 1.5}, {"shortest": 1.0}, {"path": 1}, {"keep": -1}])
def test_a_rule_that_cannot_be_followed_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        rule(**wrong)
