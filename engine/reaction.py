"""What a verdict does to the fit: older data weigh less, terms of their own for what is new, wider intervals.

Glossary
--------
break       the start of a finding whose consequence is re_anchor, rescale, mask or model
re_anchor   periods before the last such break keep the weight `power` in the likelihood (a power prior, Ibrahim & Chen
            2000, doi:10.1214/ss/1009212673), and from every such break on the level, and the slope, change
rescale     from the break on the metric counts in other units: outcome = factor * what it would have been; the model of
            demand stays, and with it every datum
mask, model the periods of a pulse have an effect of their own, each one its own or all of them the same
Worked example: a break re-anchors at index 40 of 60 periods with power .3. The first 40 weigh .3; one column is 0 for
t < 40 and 1 from there on, past the origin too; another is the years since.

A masked period's effect has a prior so wide (MASK_SCALE times the outcome's mean, or as many powers of e) that its
outcome says nothing about anything else, and yet the residuals before and after it stay joined by their
autocorrelation: left out altogether, the period would break the chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Literal, NamedTuple

import numpy as np

from engine.spec_detect import Consequences
from engine.verdict import Finding, Verdict

MASK_SCALE = 5.0

Form = Literal["step", "kink", "pulse"]


class Term(NamedTuple):
    """One column of the design: 1 from `first` on (step), years since it (kink), 1 from first to last (pulse)."""

    form: Form
    first: int  # index of a period
    last: int  # the same, included; of a pulse
    scale: float  # prior sd of its effect


class Reaction(NamedTuple):
    """What is asked of a fit to the first `origin` periods."""

    weight: tuple[float, ...]  # (origin,) in the likelihood
    terms: tuple[Term, ...]  # added to the mean
    metric: tuple[Term, ...]  # added to the log of the metric's scale
    widening: tuple[float, ...]  # (horizon,) factor on the distance of a quantile from the median
    re_anchored_at: int | None  # index of the last re-anchoring break


def none(origin: int, horizon: int) -> Reaction:
    """Nothing is asked: the model as declared."""
    return Reaction((1.0,) * origin, (), (), (1.0,) * horizon, None)


def acts(verdict: Verdict) -> bool:
    """Whether anything follows from `verdict`."""
    return any(finding.consequence != "keep" for finding in verdict.findings)


def reaction(
    consequences: Consequences, verdict: Verdict, periods: Sequence[date], origin: int, horizon: int
) -> Reaction:
    """What `verdict`, known at `origin`, asks of a fit to the first `origin` of `periods`."""
    place = {period: index for index, period in enumerate(periods[:origin])}
    terms: list[Term] = []
    metric: list[Term] = []
    anchors: list[int] = []
    for finding in verdict.findings:
        if finding.start not in place:
            continue
        first = place[finding.start]
        match finding.consequence:
            case "re_anchor":
                anchors.append(first)
                terms.append(Term("step", first, first, consequences.level_scale))
                if consequences.slope_scale > 0.0:
                    terms.append(Term("kink", first, first, consequences.slope_scale))
            case "rescale":
                metric.append(Term("step", first, first, consequences.level_scale))
            case "mask":
                terms += [Term("pulse", t, t, MASK_SCALE) for t in range(first, _last(finding, place, origin) + 1)]
            case "model":
                terms.append(Term("pulse", first, _last(finding, place, origin), consequences.level_scale))
            case "keep":
                continue
    anchor = max(anchors) if anchors else None
    return Reaction(
        weight=tuple(consequences.power if anchor is not None and t < anchor else 1.0 for t in range(origin)),
        terms=tuple(dict.fromkeys(terms)),
        metric=tuple(dict.fromkeys(metric)),
        widening=tuple(_widening(consequences, anchor, origin + h) for h in range(horizon)),
        re_anchored_at=anchor,
    )


def _last(finding: Finding, place: dict[date, int], origin: int) -> int:
    """The index of the last period of a pulse; the last known one while it goes on."""
    return place.get(finding.last, origin - 1) if finding.last is not None else origin - 1


def _widening(consequences: Consequences, anchor: int | None, period: int) -> float:
    """`widen` at the break, falling in a straight line to 1 over `widen_periods`."""
    if anchor is None:
        return 1.0
    left = 1.0 - (period - anchor) / consequences.widen_periods
    return 1.0 + (consequences.widen - 1.0) * max(left, 0.0)


def columns(terms: Sequence[Term], span: int, year: float) -> np.ndarray:
    """The terms' columns over `span` periods: (span, term)."""
    out = np.zeros((span, len(terms)))
    for k, term in enumerate(terms):
        for t in range(term.first, span):
            if term.form == "step" or (term.form == "pulse" and t <= term.last):
                out[t, k] = 1.0
            elif term.form == "kink":
                out[t, k] = (t - term.first) / year
    return out
