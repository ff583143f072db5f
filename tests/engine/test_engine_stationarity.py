"""The KPSS test before the fit, and what follows from it; decompositions and their strengths."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from statsmodels.tsa.seasonal import STL
from statsmodels.tsa.stattools import kpss

from engine.decomposition import COMPONENTS, STRENGTHS, components_table, decomposed, strengths_table
from engine.errors import SpecError, TableError
from engine.rounding import rounded
from engine.spec_checks import Checks, Consequence, Decompose, Note, Refuse, Stationarity
from engine.spec_trend import Linear, LocalLevel
from engine.stationarity import examine, judge
from tests import reference_selection as twin

LINEAR = Linear(kind="linear", scale=0.1)
WANDERING = LocalLevel(kind="local_level", scale=0.1, knot=4)
DECOMPOSE = Decompose(kind="decompose", trend=WANDERING, period=13, seasonal=7)


def check(consequence: Consequence | None = None, **changes: Any) -> Stationarity:
    values: dict[str, Any] = {"regression": "c", "lags": 4, "level": 0.05, "before": 156}
    return Stationarity(**{**values, **changes}, consequence=consequence or Note(kind="note"))


def noise(seed: int, count: int = 156) -> list[float]:
    return [float(v) for v in np.random.default_rng(seed).normal(size=count)]


def walk(seed: int, count: int = 156) -> list[float]:
    return [float(v) for v in np.cumsum(np.random.default_rng(seed).normal(size=count))]


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10_000), regression=st.sampled_from(["c", "ct"]), lags=st.sampled_from(["auto", 0, 4]),
    walks=st.booleans(), level=st.sampled_from([0.1, 0.05, 0.025, 0.01]),
)  # fmt: skip
def test_the_statistic_is_the_librarys_and_the_textbooks(
    seed: int, regression: Any, lags: Any, walks: bool, level: float
) -> None:
    values = walk(seed) if walks else noise(seed)
    found = examine(check(regression=regression, lags=lags, level=level), "sales", values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = kpss(np.asarray(values), regression=regression, nlags=lags, result_object=True)
    assert found.statistic == rounded(theirs.statistic)
    assert found.lags == theirs.lags
    assert found.statistic == pytest.approx(twin.kpss(values, regression == "ct", found.lags), rel=1e-5)
    assert found.critical == theirs.critical_values[f"{100 * level:g}%"]
    assert found.stationary == (found.statistic <= found.critical)
    assert {"equal": 0.01 < found.p_value < 0.1, "at_most": found.p_value == 0.01, "at_least": found.p_value == 0.1}[
        found.p_is
    ]


def test_white_noise_is_stationary_at_the_declared_rate() -> None:
    """200 series at level .1: rejections within 4 standard errors of 20."""
    rule = check(level=0.1, lags=4)
    rejected = sum(not examine(rule, "sales", noise(seed)).stationary for seed in range(200))
    assert abs(rejected - 20) < 4.0 * math.sqrt(200 * 0.1 * 0.9)


def test_a_random_walk_is_not_stationary() -> None:
    """Of 156 steps: more than 9 of 10 are found, with few lags."""
    rejected = sum(not examine(check(lags=4), "sales", walk(seed)).stationary for seed in range(50))
    assert rejected > 45


def test_a_line_is_stationary_about_a_line_only() -> None:
    values = [0.05 * t + e for t, e in enumerate(noise(3))]
    assert not examine(check(regression="c"), "sales", values).stationary
    assert examine(check(regression="ct"), "sales", values).stationary


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.sampled_from([1e-6, 0.5, 1e6]), shift=st.floats(-100, 100))
def test_a_unit_of_measurement_changes_nothing(seed: int, scale: float, shift: float) -> None:
    values = noise(seed)
    moved = [scale * (v + shift) for v in values]
    first, second = (examine(check(lags=4), "sales", v).statistic for v in (values, moved))
    assert second == pytest.approx(first, rel=1e-5)


def test_only_periods_before_the_declared_one_are_looked_at() -> None:
    y = np.asarray(noise(5, 200))[:, None]
    later = y.copy()
    later[156:] += 1000.0
    assert judge(check(), ["sales"], y, LINEAR) == judge(check(), ["sales"], later, LINEAR)


def moving(*seeds: int) -> np.ndarray:
    """The first series is noise, the others walk."""
    return np.stack([noise(1), *(walk(seed) for seed in seeds)], axis=1)


def test_a_note_leaves_the_model_as_it_is() -> None:
    found = judge(check(), ["East", "West"], moving(2), LINEAR)
    assert (found.moving, found.decomposed, found.trend) == (("West",), False, LINEAR)
    assert [result.stationary for result in found.tests] == [True, False]


def test_a_refusal_names_the_series_and_its_statistic() -> None:
    with pytest.raises(SpecError, match=r"stationary at level 0.05 \(c\), found West; West: statistic .* over 0.463"):
        judge(check(Refuse(kind="refuse")), ["East", "West"], moving(2), LINEAR)
    assert judge(check(Refuse(kind="refuse")), ["East"], moving()[:, :1], LINEAR).moving == ()


def test_the_declared_trend_takes_the_models_place_where_a_series_moves() -> None:
    found = judge(check(DECOMPOSE), ["East", "West"], moving(2), LINEAR)
    assert (found.decomposed, found.trend) == (True, WANDERING)
    still = judge(check(DECOMPOSE), ["East"], moving()[:, :1], LINEAR)
    assert (still.decomposed, still.trend) == (False, LINEAR)


@pytest.mark.parametrize(
    ("regression", "values"),
    [("c", [0.1] * 156), ("ct", [0.1 * t for t in range(156)]), ("ct", [5.0] * 156)],
)
def test_a_series_of_rounding_errors_is_not_tested(regression: Any, values: list[float]) -> None:
    with pytest.raises(TableError, match="stationarity of sales: expected a series that moves"):
        examine(check(regression=regression), "sales", values)


def test_a_warning_of_another_kind_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def warns(*values: Any, **options: Any) -> Any:
        warnings.warn("a lag was dropped", RuntimeWarning, stacklevel=1)
        return kpss(*values, **options)

    monkeypatch.setattr("engine.stationarity.kpss", warns)
    with pytest.raises(TableError, match="without a warning, found: a lag was dropped"):
        examine(check(), "sales", noise(1))


@pytest.mark.parametrize(("changes", "message"), [({"lags": 156}, "lags"), ({"before": 157}, "before: expected 3 to")])
def test_what_the_data_do_not_reach_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        judge(check(**changes), ["sales"], np.asarray(noise(1))[:, None], LINEAR)


@pytest.mark.parametrize(
    "wrong", [{"level": 0.2}, {"lags": "legacy"}, {"lags": -1}, {"regression": "n"}, {"before": 0}]
)
def test_a_check_that_cannot_be_made_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        check(**wrong)


def test_an_even_smoother_is_refused() -> None:
    with pytest.raises(ValidationError, match="odd number"):
        Decompose(kind="decompose", trend=WANDERING, period=13, seasonal=8)


def test_checks_survive_their_canonical_form() -> None:
    declared = Checks(stationarity=check(DECOMPOSE), screening=None)
    assert Checks.model_validate_json(declared.model_dump_json()) == declared


def seasonal(trend: float, season: float, remainder: float) -> list[float]:
    e = noise(9, 130)
    return [
        trend * t / 130 + season * math.sin(2.0 * math.pi * t / 13.0) + remainder * e[t] for t in range(130)
    ]  # fmt: skip


def test_parts_are_the_librarys_and_add_up() -> None:
    values = seasonal(1.0, 0.5, 0.1)
    found = decomposed(DECOMPOSE, "sales", values)
    theirs = STL(np.asarray(values), period=13, seasonal=7, robust=True).fit()
    assert found.trend == tuple(rounded(v) for v in theirs.trend)
    total = [a + b + c for a, b, c in zip(found.trend, found.season, found.remainder, strict=True)]
    assert total == pytest.approx(values, abs=1e-4)


def test_strengths_say_which_part_is_there() -> None:
    trending, seasonal_ = (
        decomposed(DECOMPOSE, "a", seasonal(3.0, 0.0, 0.1)),
        decomposed(DECOMPOSE, "b", seasonal(0.0, 1.0, 0.1)),
    )
    assert trending.trend_strength > 0.9
    assert seasonal_.season_strength > 0.9
    assert seasonal_.trend_strength < 0.5
    assert trending.season_strength < 0.7


def test_strength_is_the_share_of_variance_that_the_remainder_leaves() -> None:
    found = decomposed(DECOMPOSE, "sales", seasonal(1.0, 0.5, 0.1))
    rest, trend = np.asarray(found.remainder), np.asarray(found.trend)
    assert found.trend_strength == pytest.approx(1.0 - np.var(rest) / np.var(rest + trend), abs=1e-4)


def test_a_unit_of_measurement_changes_no_strength() -> None:
    first, second = (decomposed(DECOMPOSE, "a", [k * v for v in seasonal(1.0, 0.5, 0.1)]) for k in (1.0, 1e6))
    assert first.trend_strength == pytest.approx(second.trend_strength, rel=1e-5)


def test_one_season_cannot_be_decomposed() -> None:
    with pytest.raises(TableError, match="expected two seasons, 26 periods, found 25"):
        decomposed(DECOMPOSE, "sales", noise(1, 25))


def test_tables_have_a_row_for_every_series_and_period() -> None:
    parts = [decomposed(DECOMPOSE, name, seasonal(1.0, 0.5, 0.1)) for name in ("East", "West")]
    table = components_table(parts)
    assert table.schema.equals(COMPONENTS)
    assert table.num_rows == 260
    assert table.column("period").to_pylist()[129:131] == [129, 0]
    assert strengths_table(parts).schema.equals(STRENGTHS)
    assert strengths_table(parts).column("series").to_pylist() == ["East", "West"]
