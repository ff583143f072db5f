"""The report's sentences: verdicts, comparisons, claims."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, NamedTuple

from stages import drawing
from stages.drawing import THIN, Magnitude, level, magnitude, percent
from stages.report_input import (
    METHODS,
    METRICS,
    Backtest,
    Claim,
    Comparison,
    Coverage,
    Detection,
    Headline,
    LocationForecast,
    Metric,
    ReportInput,
    Sampling,
    Subject,
)

SHOWN_PERIODS = 104
SHOWN_LOCATIONS = 12
HUGE = 100.0  # a relative difference beyond this share is only called "more than 10 000 %"
CLAIMS: dict[Claim, tuple[str, str]] = {
    "exchangeable": (
        "Exact under exchangeability only",
        (
            "All calibration scores weigh the same. Coverage of at least the nominal level is then exact "
            "under exchangeability only: when past and coming scores could be shuffled without anyone "
            "noticing. Outcomes over time drift, so read it together with the coverage measured here."
        ),
    ),
    "disjoint_moments": (
        "A bound less a drift penalty, exact under exchangeability only",
        (
            "The weights come from moments of data disjoint from the calibration scores, so they are fixed "
            "before the scores are seen. Coverage is then at least 1 − α − Σ w̃ᵢ d_TV(R(Z), R(Zⁱ)) (Barber, "
            "Candès, Ramdas and Tibshirani 2023): the nominal level less a penalty for how far the past "
            "differs from the present. It is exact under exchangeability only, and the penalty cannot be "
            "computed from data, so the measured coverage is shown beside it."
        ),
    ),
    "long_run": (
        "The share of misses over many forecasts, not this forecast",
        (
            "The intervals follow the misses of past forecasts: wider after more misses than the level allows, "
            "narrower after fewer. Whatever the outcomes, the share of misses over a long run of forecasts then "
            "comes close to the nominal one (Gibbs and Candès 2021; Angelopoulos, Candès and Tibshirani 2023). "
            "That says nothing of any single forecast, and the run so far is no longer than the one whose coverage "
            "was measured here."
        ),
    ),
    "empirical": (
        "Empirically validated",
        (
            "The calibration scores depend on their weights, or on each other where locations share a week, so no "
            "bound on coverage applies. These intervals are empirically validated: what speaks for them is the "
            "coverage measured here."
        ),
    ),
}


class Verdict(NamedTuple):
    """One finding of the first screen; `sign` is said in a symbol, a colour and in `words`."""

    topic: str
    sign: Literal["good", "bad", "note"]
    words: str
    detail: str


def periods(days: int, count: int) -> str:
    """The count with its word: "13 weeks" where a period has seven days."""
    word = {1: "day", 7: "week"}.get(days, "period")
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def ranges(numbers: Iterable[int]) -> str:
    """Ascending numbers with runs drawn together: 1, 2, 3, 5 is "1–3, 5"."""
    runs: list[list[int]] = []
    for n in numbers:
        if runs and runs[-1][1] == n - 1:
            runs[-1][1] = n
        else:
            runs.append([n, n])
    return ", ".join(f"{a}–{b}" if a < b else f"{a}" for a, b in runs)


def versus(ours: float, rival: float, metric: Metric, name: str) -> str:
    """How an error compares with that of `name`: in points of MAPE, in per cent of MAE and WIS."""
    if ours == rival:
        return f"as good as {name}"
    if math.isinf(ours) or math.isinf(rival) or (metric != "mape" and rival == 0):
        return f"{'better' if ours < rival else 'worse'} than {name}"
    share = abs(ours - rival) if metric == "mape" else abs(ours - rival) / rival
    if share > HUGE:
        return f"{'better' if ours < rival else 'worse'} than {name} by more than {percent(HUGE, 0)}"
    gap = drawing.number(100 * share, 1)
    if gap == "0.0":
        return f"as good as {name}"
    unit = " points" if metric == "mape" else THIN + "%"
    return f"{'better' if ours < rival else 'worse'} than {name} by {gap}{unit}"


def compared(scores: Comparison, metric: Metric, unit: str) -> str:
    """The sentence on one metric against both naive forecasts."""
    name, ours, scale = dict(METRICS)[metric], scores.ours.of(metric), error_scale([scores], metric)
    if ours is None:
        return f"{name} was not measured."
    found = []
    for method, label in METHODS[1:]:
        rival = scores.by(method).of(metric)
        if rival is None:
            found.append(f"there is no {label} to compare with")
        else:
            found.append(versus(ours, rival, metric, f"{label} ({error(rival, scale, metric, unit)})"))
    return f"{name} {error(ours, scale, metric, unit)}: {', '.join(found)}."


def error_scale(compared: Iterable[Comparison], metric: Metric) -> Magnitude:
    """The magnitude that all errors of these comparisons are written in; MAPE is always in per cent."""
    if metric == "mape":
        return Magnitude(0.01, 1, "")
    values = (scores.by(method).of(metric) for scores in compared for method, _ in METHODS)
    return magnitude((value for value in values if value is not None), 3)


def error(value: float | None, scale: Magnitude, metric: Metric, unit: str) -> str:
    """One error with its unit."""
    return "not measured" if value is None else scale.full(value, "%" if metric == "mape" else unit)


def diagnostic(value: float | None, threshold: float) -> str:
    """A diagnostic in four significant digits, or as many as tell it from the threshold."""
    if value is None or math.isnan(value):
        return "not available"
    if math.isinf(value):
        return "infinite"
    for decimals in range(4 - len(str(int(abs(value)))) if abs(value) < 1000 else 0, 18):
        text = drawing.number(value, decimals)
        if value == threshold or text != drawing.number(threshold, decimals):
            break
    return text.rstrip("0").rstrip(".") if "." in text else text


def odds(value: float) -> str:
    """Odds as people say them: 12 : 1, 1 : 3.5; beyond a million only that."""
    one, other = (value, 1.0) if value >= 1.0 else (1.0, 1.0 / value)
    return f"{_side(one)} : {_side(other)}"


def _side(value: float) -> str:
    if value > 1e6:
        return "over a million"
    return drawing.number(value, 0 if value >= 10.0 or value == 1.0 else 1)


def score(value: float) -> str:
    """A score or a rate in three significant digits."""
    if math.isinf(value):
        return "infinite"
    exponent = int(f"{value:.2e}".split("e")[1])
    return drawing.number(value, min(max(0, 2 - exponent), 6))


def beside(headline: Headline, subject: Subject) -> str:
    """The headline against the same periods last year, interval included."""
    before = headline.last_year
    same = f"the same {periods(subject.frequency_days, subject.horizon).removeprefix('1 ')} last year"
    if before is None:
        return f"The data do not reach back to {same}."
    scale = magnitude((headline.median, before), 3)
    shown = scale.full(before, subject.unit)
    if before <= 0 or abs(headline.median) > HUGE * before:
        return f"In {same}: {shown}."
    change = headline.median / before - 1
    low, high = (_change(end, before) for end in (headline.interval.low, headline.interval.high))
    side = "more" if change >= 0 else "less"
    return f"{percent(abs(change))} {side} than {same} ({shown}); the interval runs from {low} to {high}."


def _change(end: float, before: float) -> str:
    if math.isinf(end):
        return "unbounded"
    share = end / before - 1
    if abs(share) > HUGE:
        return f"more than {percent(HUGE, 0)} {'above' if share > 0 else 'below'}"
    return ("+" if share > 0 else "") + percent(share)


def wilson(inside: int, n: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of the share inside / n of independent outcomes; n >= 1."""
    z = 1.959963984540054
    p = inside / n
    centre, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, (centre - spread) / (1 + z * z / n)), min(1.0, (centre + spread) / (1 + z * z / n))


def verdicts(report: ReportInput) -> tuple[Verdict, ...]:
    """The findings of the first screen, in the order they are shown."""
    found = (_gated(report.sampling), _changed(report.detection), _skilled(report.backtest))
    return (*found, _held(report.coverage)) if report.coverage else found


def _gated(sampling: Sampling) -> Verdict:
    topic, stopping = "Sampling gates passed?", [g for g in sampling.gates if g.stops]
    failed = [g.name for g in stopping if not g.passed]
    noted = [g.name for g in sampling.gates if not g.passed and not g.stops]
    extra = f" Recorded only, threshold not reached: {', '.join(noted)}." if noted else ""
    if failed:
        detail = f"Failed: {', '.join(failed)}.{extra}"
        return Verdict(topic, "bad", f"No: {len(failed)} of {len(stopping)} failed", detail)
    return Verdict(topic, "good", f"Yes, all {len(stopping)}", f"No cause to distrust the sampler.{extra}")


def _changed(detection: Detection) -> Verdict:
    topic, count = "Change detected?", len(detection.alarms)
    if not detection.series:
        return Verdict(topic, "note", "Not looked for", "The detector was not run.")
    if not count:
        return Verdict(topic, "good", "No", "No alarm was raised.")
    alarms = f"{count} alarm" if count == 1 else f"{count} alarms"
    breaks = [alarm.start for alarm in detection.alarms if alarm.breaks]
    pulses = sum(alarm.action in ("mask", "model") for alarm in detection.alarms)
    passing = f" {pulses} passing pulse{'s' if pulses > 1 else ''} kept out of the fit." if pulses else ""
    if not breaks:
        return Verdict(topic, "note", f"No: {alarms}, no break", passing.strip() or "Nothing followed from any.")
    words = f"Yes: {len(breaks)} break{'s' if len(breaks) > 1 else ''}, {alarms}"
    return Verdict(topic, "note", words, f"The forecast follows them; the latest is {max(breaks)}.{passing}")


def _skilled(backtest: Backtest) -> Verdict:
    topic = "Better than seasonal naive?"
    card, where = (backtest.holdout, "holdout") if backtest.holdout else (backtest.rolling, "backtest")
    ours, naive = card.overall.ours.mape, card.overall.seasonal_naive.mape
    if ours is None or naive is None or math.isinf(ours) or math.isinf(naive):
        return Verdict(topic, "note", "Not comparable", f"The {where} has no pair of MAPEs.")
    gap = drawing.number(100 * abs(ours - naive), 1)
    detail = f"MAPE on the {where}: {percent(ours)} against {percent(naive)}."
    if gap == "0.0":
        return Verdict(topic, "bad", "No: equal", detail)
    if ours < naive:
        return Verdict(topic, "good", f"Yes, by {gap} points", detail)
    return Verdict(topic, "bad", f"No: worse by {gap} points", detail)


def _held(coverage: Coverage) -> Verdict:
    topic, claim = "Do the intervals hold?", CLAIMS[coverage.claim][0] + "."
    measured, where = (coverage.holdout, "holdout") if coverage.holdout else (coverage.rolling, "backtest")
    top = measured[-1]
    low, high = wilson(top.inside_after, top.targets)
    share = f"{percent(top.inside_after / top.targets)} inside the {level(top.level)} interval"
    detail = f"{share}: {top.inside_after} of {top.targets} outcomes of the {where}. {claim}"
    if high < top.level:
        return Verdict(topic, "bad", "No: too narrow", detail)
    if low > top.level:
        return Verdict(topic, "note", "Yes, but wider than needed", detail)
    return Verdict(topic, "good", "Yes, within sampling error", detail)


def measured_levels(coverage: Coverage) -> list[str]:
    """The levels whose coverage was measured, as they are written."""
    return [level(each.level) for each in coverage.rolling]


def levels_of(location: LocationForecast) -> list[str]:
    """The levels of a location's intervals, as they are written; empty without a forecast."""
    return [level(interval.level) for interval in location.forecast[0].intervals] if location.forecast else []
