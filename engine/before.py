"""What the data cannot tell, found before the fit: a function of panel and specification, over all known periods.

Findings choose nothing, so they may look at every known period; checks that choose look at fewer (`engine.prepared`).

Glossary
--------
inflated       the other channels together explain a channel: 1 / (1 - R^2) times the variance it would have alone
outlier        one spend far above a location's others: the effect at high spend rests on that period. Modified z-score
               of the log of positive spends, (log x - median) / (1.4826 MAD), or over 1.2533 times the mean absolute
               deviation where MAD is 0 (Iglewicz & Hoaglin 1993, How to Detect and Handle Outliers)
follows demand trend, seasons, events and controls explain the spend (adjusted R^2): set by expected demand, it can be
               told from demand by what is left alone, and demand that is not in the model looks like its effect
               (Chan & Perry 2017)
saturation     where the prior puts half of an effect, and whether anybody spent there
  outside
no experiment  nothing but the assumption that no confounder is left out says that what is found is an effect; a
               confounder without memory leaves no trace at all in such data
precision ...  a control declared to move the outcome alone moves with a channel: it may be a confounder, which must not
               be shrunk
Worked example: spends of 1 in every week and of 40 in one: MAD 0, mean absolute deviation of the logs 3.69 / 52, so a
score of 41: outlier.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.handlers import seed, trace

from engine import design as designs
from engine import model
from engine.design import Design
from engine.finding import Finding
from engine.gram import correlation, deviations, inflation, products, swept
from engine.identifiability import collinear_findings, hill_findings
from engine.prng import stream
from engine.spec import Spec
from engine.spec_checks import BeforeFit
from engine.spec_transforms import Hill, Logistic, LogisticSymmetric, MichaelisMenten, Saturation, Tanh
from engine.table import Panel

FEWEST = 3  # positive spends of which a spread is taken


def before_fit(spec: Spec, panel: Panel) -> tuple[Finding, ...]:
    """Everything that `spec.checks` asks to be told of `panel`, and nothing where it asks for nothing.

    `spec` is that of the model which is fitted, `panel` what this model sees (`engine.prepared.chosen`).
    """
    if spec.checks is None:
        return ()
    found: list[Finding] = []
    names = [column.name for column in spec.data.media]
    if spec.checks.identifiability is not None:
        spend, curve = _scaled(panel.media), spec.model.media.saturation
        found += hill_findings(curve, spec.checks.identifiability, _curved(spec, panel, spend), names)
        found += collinear_findings(spec.checks.identifiability, spend, names)
    if spec.checks.before_fit is not None:
        limits = spec.checks.before_fit
        design, _ = designs.build(panel, spec, len(panel.periods))
        found += _media(spec, limits, panel, names)
        found += _demand(spec, limits, panel, design)
        found += _controls(spec, limits, panel)
        found += _untested(spec)
        found += _history(spec, limits, panel, design)
    return tuple(found)


def _scaled(x: np.ndarray) -> np.ndarray:
    """(T, L, M) over each column's mean; zeros stay zeros."""
    out = np.zeros(x.shape)
    for m in range(x.shape[2]):
        mean = math.fsum(x[:, :, m].ravel().tolist()) / x[:, :, m].size
        out[:, :, m] = x[:, :, m] / (mean or 1.0)
    return out


def _curved(spec: Spec, panel: Panel, spend: np.ndarray) -> np.ndarray:
    """(T, L, M) what each channel's curve is a function of: spend, or frequency where it is given."""
    if panel.frequency.shape[2] == 0:
        return spend
    rated = np.asarray([column.frequency is not None for column in spec.data.media])
    return np.where(rated, _scaled(panel.frequency), spend)


def _media(spec: Spec, limits: BeforeFit, panel: Panel, names: Sequence[str]) -> Iterator[Finding]:
    spend = _scaled(panel.media)
    curved = _curved(spec, panel, spend)
    factors = inflation([deviations(spend[:, :, m]) for m in range(len(names))])
    for m, name in enumerate(names):
        if factors[m] > limits.inflation:
            allowed = f"a variance at most {limits.inflation:.3g} times that of the channel alone"
            yield Finding(name, "inflated", allowed, f"{factors[m]:.3g} times, by the other channels")
        active = int(np.sum(spend[:, :, m] > 0.0))
        if 0 < active < limits.active:
            yield Finding(name, "few_spends", f"at least {limits.active} periods with spend", str(active))
        yield from _outlier(limits, panel, name, panel.media[:, :, m])
        yield from _outside(limits, spec.model.media.saturation, name, curved[:, :, m])


def _outlier(limits: BeforeFit, panel: Panel, name: str, spend: np.ndarray) -> Iterator[Finding]:
    """The largest score of the channel, if it is too large."""
    scores = [
        (score, t, place) for place in range(spend.shape[1]) for t, score in modified_scores(spend[:, place].tolist())
    ]
    if scores and max(scores)[0] > limits.outlier:
        score, t, place = max(scores)
        where = f"{panel.periods[t]} in {panel.locations[place]}"
        yield Finding(name, "outlier", f"spends of a score at most {limits.outlier:.3g}", f"{score:.3g} on {where}")


def modified_scores(spend: Sequence[float]) -> list[tuple[int, float]]:
    """Of every positive spend its place and its modified z-score; none from fewer than FEWEST, or all alike."""
    logs = [(t, math.log(x)) for t, x in enumerate(spend) if x > 0.0]
    if len(logs) < FEWEST:
        return []
    middle = statistics.median(x for _, x in logs)
    away = [abs(x - middle) for _, x in logs]
    spread = 1.4826 * statistics.median(away) or 1.2533 * math.fsum(away) / len(away)
    return [(t, (x - middle) / spread) for t, x in logs] if spread > 0.0 else []


def _outside(limits: BeforeFit, curve: Saturation, name: str, seen: np.ndarray) -> Iterator[Finding]:
    """Where a channel was silent, what is carried over takes every value down to nothing."""
    least, most = float(seen.min()), float(seen.max())
    above = half_below(curve, most) if most > 0.0 else None
    below = half_below(curve, least) if least > 0.0 else 0.0
    if above is None or below is None:
        return
    mass = below + (1.0 - above)
    if mass > limits.outside:
        allowed = f"at most {limits.outside:.3g} of the prior of half-saturation outside of "
        yield Finding(name, "saturation_outside", allowed + f"[{least:.3g}, {most:.3g}] times the mean", f"{mass:.3g}")


def half_below(curve: Saturation, x: float) -> float | None:
    """Prior probability that half of the whole effect is reached below `x`, x > 0; None where a curve has no half."""
    match curve:
        case Logistic():
            return _gamma_above(curve.shape, curve.rate * math.log(2.0) / x)
        case LogisticSymmetric():
            return _gamma_above(curve.shape, curve.rate * math.log(3.0) / x)
        case Hill() | MichaelisMenten():
            return _log_normal_below(curve.k_median, curve.k_sd, x)
        case Tanh():
            return _log_normal_below(curve.c_median * math.atanh(0.5), curve.c_sd, x)
        case _:
            return None


def _gamma_above(shape: float, x: float) -> float:
    return float(jax.scipy.special.gammaincc(jnp.asarray(shape), jnp.asarray(x)))


def _log_normal_below(median: float, sd: float, x: float) -> float:
    return 0.5 * math.erfc(-(math.log(x) - math.log(median)) / (sd * math.sqrt(2.0)))


def _demand(spec: Spec, limits: BeforeFit, panel: Panel, design: Design) -> Iterator[Finding]:
    """Channels that are explained by what drives demand, as far as the model knows it."""
    time, places = panel.media.shape[:2]
    common = np.asarray(jnp.concatenate([design.trend.columns, design.season, design.events], axis=1))[:time]
    drivers = [np.broadcast_to(common[:, k, None], (time, places)) for k in range(common.shape[1])]
    roles = [column.role for column in spec.data.controls]
    drivers += [panel.controls[:, :, c] for c, role in enumerate(roles) if role != "mediator"]
    columns = [deviations(each) for each in drivers]
    columns += [deviations(panel.media[:, :, m]) for m in range(panel.media.shape[2])]
    whole = products(columns)
    moving = [k for k in range(len(drivers)) if whole[k][k] > 0.0]
    after, used = swept(whole, moving)
    free = (time - 1) * places
    if free - len(used) < 1:
        return  # as many drivers as data: told as short_history
    for m, column in enumerate(spec.data.media):
        k = len(drivers) + m
        share = 1.0 - after[k][k] / whole[k][k] * free / (free - len(used)) if whole[k][k] > 0.0 else 0.0
        if share > limits.demand:
            allowed = f"at most {limits.demand:.3g} of its variance explained by trend, seasons, events and controls"
            yield Finding(column.name, "follows_demand", allowed, f"{share:.3g}")


def _controls(spec: Spec, limits: BeforeFit, panel: Panel) -> Iterator[Finding]:
    if all(column.role != "confounder" for column in spec.data.controls):
        allowed = "a control that moves media and the outcome"
        yield Finding("controls", "no_confounder", allowed, "none: whatever moves both is taken to be absent")
    for c, control in enumerate(spec.data.controls):
        if control.role != "precision":
            continue
        for m, channel in enumerate(spec.data.media):
            found = correlation(deviations(panel.controls[:, :, c]), deviations(panel.media[:, :, m]))
            if abs(found) > limits.precision:
                allowed = f"a correlation with {channel.name} within +-{limits.precision:.3g}, as declared precision"
                yield Finding(control.name, "precision_moves_with_media", allowed, f"{found:.3g}")


def _untested(spec: Spec) -> Iterator[Finding]:
    """Channels whose effect rests on the model's assumption alone that nothing else moves spend and outcome."""
    tested = {test.channel for test in spec.model.lift_tests}
    alone = [column.name for column in spec.data.media if column.name not in tested]
    if alone:
        allowed = "a lift test of every channel: what moves spend and outcome and is no control counts as effect"
        yield Finding("media", "no_experiment", allowed, f"none of {', '.join(alone)}")


def _history(spec: Spec, limits: BeforeFit, panel: Panel, design: Design) -> Iterator[Finding]:
    count, known = parameters(spec, design), int(panel.kpi.size)
    if known < limits.per_parameter * count:
        allowed = f"at least {limits.per_parameter:.3g} known outcomes per parameter"
        yield Finding("history", "short_history", allowed, f"{known / count:.3g}: {known} outcomes, {count} parameters")
    for season in spec.model.seasons:
        seen = len(panel.periods) / season.period
        if seen < limits.cycles:
            subject = f"season of {season.period:.6g} periods"
            yield Finding(subject, "few_cycles", f"at least {limits.cycles:.3g} of its cycles", f"{seen:.3g}")


def parameters(spec: Spec, design: Design) -> int:
    """How many numbers the model of `spec` estimates, those of its populations included."""
    sizes: list[int] = []

    def program() -> None:
        sampled = seed(partial(model.sample_parameters, spec), stream(spec.seed, "findings", "shapes"))
        sites = trace(sampled).get_trace(design)
        sizes.extend(math.prod(jnp.shape(site["value"])) for site in sites.values() if site["type"] == "sample")

    jax.eval_shape(program)
    return sum(sizes)
