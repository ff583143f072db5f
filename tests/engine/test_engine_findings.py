"""Every limit on the data is told when it is passed, and not when it is not; sums of products against least squares."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from engine.before import before_fit, half_below, modified_scores, parameters
from engine.design import build
from engine.finding import NOTES, Finding, findings_table
from engine.gram import deviations, inflation, products, swept
from engine.spec import Spec
from engine.spec_transforms import Hill, Logistic, LogisticSymmetric, MichaelisMenten, Root, Saturation, Tanh
from engine.table import Panel
from tests import small

LIMITS: dict[str, Any] = {
    "inflation": 10.0, "outlier": 5.0, "demand": 0.8, "outside": 0.8, "active": 10, "precision": 0.5,
    "per_parameter": 2.0, "cycles": 2.0,
}  # fmt: skip
WEATHER = {"name": "weather", "column": "Weather", "unit": "sd", "role": "precision"}
LAW = settings(max_examples=40, deadline=None, derandomize=True)


def spec(limits: dict[str, Any] | None = None, **changes: object) -> Spec:
    return small.spec(checks={"before_fit": {**LIMITS, **(limits or {})}}, **changes)


def whats(findings: tuple[Finding, ...]) -> list[tuple[str, str]]:
    return [(finding.subject, finding.what) for finding in findings]


def spent(of: Spec, change: Callable[[np.ndarray], object]) -> Panel:
    """A panel whose media `change` altered in place."""
    panel = small.panel(of)
    media = panel.media.copy()
    change(media)
    return panel._replace(media=media)


def told(of: Spec, panel: Panel) -> tuple[Finding, ...]:
    """But for what is told of every specification without experiments."""
    return tuple(finding for finding in before_fit(of, panel) if finding.what != "no_experiment")


def test_nothing_is_told_of_data_within_every_limit() -> None:
    assert told(spec(), small.panel(spec())) == ()


def test_channels_without_an_experiment_are_named() -> None:
    assert whats(before_fit(spec(), small.panel(spec()))) == [("media", "no_experiment")]
    lift = {
        "name": "spring", "channel": "tv", "outcome": "sales", "locations": [], "spend_first": "2017-03-06",
        "spend_last": "2017-03-20", "measured_first": "2017-03-06", "measured_last": "2017-03-27",
        "change": {"kind": "holdout"}, "lift": 5.0, "error": 2.0, "unit": "USD", "spend_unit": "USD",
    }  # fmt: skip
    of = spec(model__lift_tests=[lift])
    assert [finding.found for finding in before_fit(of, small.panel(of))] == ["none of search"]


def test_nothing_is_told_where_nothing_is_asked() -> None:
    assert before_fit(small.spec(), spent(small.spec(), lambda media: media.fill(0.0))) == ()


def _outlier(media: np.ndarray) -> None:
    media[17, 1, 0] *= 200.0


def _sum(media: np.ndarray) -> None:
    media[:, :, 1] = 5.0 + media[:, :, 0] + 0.01 * media[:, :, 1]


def _seldom(media: np.ndarray) -> None:
    media[3:, :, 1] = 0.0


def _trend(media: np.ndarray) -> None:
    media[:, :, 0] = 10.0 + np.arange(len(media))[:, None]


@pytest.mark.parametrize(
    ("change", "subject", "what"),
    [
        (_outlier, "tv", "outlier"),
        (_sum, "search", "inflated"),
        (_seldom, "search", "few_spends"),
        (_trend, "tv", "follows_demand"),
    ],
)
def test_spend_that_tells_little_is_told(change: Callable[[np.ndarray], None], subject: str, what: str) -> None:
    assert (subject, what) in whats(before_fit(spec(), spent(spec(), change)))


def test_an_outlier_is_told_with_its_period_and_place() -> None:
    panel = spent(spec(), _outlier)
    found = next(each for each in before_fit(spec(), panel) if each.what == "outlier")
    assert found.found.endswith(f"on {panel.periods[17]} in West")


def test_half_of_an_effect_that_the_prior_puts_where_nobody_spends_is_told() -> None:
    curve = {"kind": "logistic", "shape": 2.0, "rate": 50.0, "shared": False}  # half at 17 times the mean
    assert whats(told(spec(model__media__saturation=curve), small.panel(spec()))) == [
        ("tv", "saturation_outside"),
        ("search", "saturation_outside"),
    ]


def test_a_silent_period_takes_what_is_carried_down_to_nothing() -> None:
    curve = {"kind": "logistic", "shape": 2.0, "rate": 0.01, "shared": False}  # half at a three-hundredth of the mean
    of = spec(model__media__saturation=curve)
    assert ("tv", "saturation_outside") in whats(before_fit(of, small.panel(of)))

    def silence(media: np.ndarray) -> None:
        media[5, 0, 0] = 0.0

    assert ("tv", "saturation_outside") not in whats(before_fit(of, spent(of, silence)))


def test_a_history_shorter_than_declared_is_told_with_its_counts() -> None:
    found = told(spec({"per_parameter": 5.0, "cycles": 4.0}), small.panel(spec()))
    assert whats(found) == [("history", "short_history"), ("season of 13 periods", "few_cycles")]
    assert found[0].found == "3.83: 88 outcomes, 23 parameters"  # levels, slopes, ... as the test below counts them


def test_parameters_are_those_that_are_sampled() -> None:
    of = spec()
    design, _ = build(small.panel(of), of, small.TIME)
    each = {"level": 2, "slope": 2, "season": 2, "event": 1, "control": 1, "population": 2 + 2, "deviation": 4}
    assert parameters(of, design) == sum(each.values()) + 2 + 2 + 2 + 1  # carry-over, saturation, noise, memory


def test_without_a_confounder_it_is_said_that_none_is_taken_to_be_there() -> None:
    of = spec(data__controls=[WEATHER])
    assert whats(told(of, small.panel(of))) == [("controls", "no_confounder")]


def test_a_precision_control_that_moves_with_spend_is_told() -> None:
    of = spec(data__controls=[{"name": "price", "column": "Price", "unit": "index"}, WEATHER])
    panel = small.panel(of)
    controls = panel.controls.copy()
    controls[:, :, 1] = -panel.media[:, :, 0]
    found = before_fit(of, panel._replace(controls=controls))
    assert ("weather", "precision_moves_with_media") in whats(found)


def test_findings_become_rows_in_their_order() -> None:
    findings = [Finding("tv", "outlier", "a", "b"), Finding("controls", "no_confounder", "c", "d")]
    assert findings_table(findings).to_pylist() == [
        {"severity": "warning", "subject": "tv", "what": "outlier", "expected": "a", "found": "b"},
        {"severity": "note", "subject": "controls", "what": "no_confounder", "expected": "c", "found": "d"},
    ]
    assert findings_table(()).num_rows == 0
    assert findings_table(()).schema == findings_table(findings).schema
    assert "outlier" not in NOTES


CURVES: list[tuple[Saturation, Callable[[float], float]]] = [
    (
        Logistic(kind="logistic", shared=False, shape=2.0, rate=1.5),
        lambda x: float(stats.gamma(2.0, scale=1 / 1.5).sf(math.log(2.0) / x)),
    ),
    (
        LogisticSymmetric(kind="logistic_symmetric", shared=False, shape=2.0, rate=1.5),
        lambda x: float(stats.gamma(2.0, scale=1 / 1.5).sf(math.log(3.0) / x)),
    ),
    (
        Hill(kind="hill", shared=False, k_median=0.7, k_sd=0.4, s_median=1.5, s_sd=0.2),
        lambda x: float(stats.lognorm(0.4, scale=0.7).cdf(x)),
    ),
    (
        MichaelisMenten(kind="michaelis_menten", shared=False, k_median=0.7, k_sd=0.4),
        lambda x: float(stats.lognorm(0.4, scale=0.7).cdf(x)),
    ),
    (
        Tanh(kind="tanh", shared=False, c_median=0.7, c_sd=0.4),
        lambda x: float(stats.lognorm(0.4, scale=0.7).cdf(x / math.atanh(0.5))),
    ),
]


@pytest.mark.parametrize(("curve", "expected"), CURVES)
@pytest.mark.parametrize("x", [0.05, 0.6, 4.0])
def test_the_prior_of_half_saturation_is_its_curves(
    curve: Saturation, expected: Callable[[float], float], x: float
) -> None:
    assert half_below(curve, x) == pytest.approx(expected(x), rel=1e-9, abs=1e-12)


def test_a_root_has_no_half() -> None:
    assert half_below(Root(kind="root", shared=False, p_a=2.0, p_b=2.0), 1.0) is None


POSITIVE = st.lists(st.floats(0.01, 1e4), min_size=3, max_size=30)


@LAW
@given(POSITIVE, st.floats(0.01, 100.0))
def test_scores_know_no_unit(spend: list[float], factor: float) -> None:
    before, after = modified_scores(spend), modified_scores([x * factor for x in spend])
    if before and after and max(abs(score) for _, score in before) < 1e6:  # else the spread is rounding
        assert [score for _, score in after] == pytest.approx([score for _, score in before], rel=1e-3, abs=1e-3)


def test_scores_of_mostly_equal_spends_are_the_worked_example() -> None:
    scores = dict(modified_scores([1.0] * 30 + [40.0] + [1.0] * 21))
    assert scores[30] == pytest.approx(math.log(40.0) / (1.2533 * math.log(40.0) / 52))
    assert modified_scores([2.0] * 9) == []
    assert modified_scores([0.0, 3.0, 5.0]) == []


def random_columns(seed: int, rows: int, count: int) -> list[list[float]]:
    drawn = np.random.default_rng(seed).standard_normal((rows, count, 1))
    drawn[:, -1] += 2.0 * drawn[:, 0]
    return [deviations(drawn[:, k]) for k in range(count)]


@LAW
@given(st.integers(0, 10_000), st.integers(2, 5))
def test_what_is_left_after_a_sweep_is_what_least_squares_leaves(seed: int, count: int) -> None:
    columns = random_columns(seed, 12, count + 1)
    after, done = swept(products(columns), range(count))
    x, y = np.asarray(columns[:count]).T, np.asarray(columns[count])
    left = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    assert done == tuple(range(count))
    assert after[count][count] == pytest.approx(float(left @ left), rel=1e-8, abs=1e-10)


@LAW
@given(st.integers(0, 10_000))
def test_inflation_is_that_of_least_squares(seed: int) -> None:
    columns = random_columns(seed, 15, 4)
    x = np.asarray(columns).T
    for k, factor in enumerate(inflation(columns)):
        others = np.delete(x, k, axis=1)
        left = x[:, k] - others @ np.linalg.lstsq(others, x[:, k], rcond=None)[0]
        assert factor == pytest.approx(float(x[:, k] @ x[:, k] / (left @ left)), rel=1e-6)


def test_a_column_that_others_explain_has_no_end_of_inflation() -> None:
    a, b, still = [*random_columns(1, 10, 2), [0.0] * 10]
    assert inflation([a, b, [x - 2.0 * y for x, y in zip(a, b, strict=True)], still])[2:] == [math.inf, 1.0]
