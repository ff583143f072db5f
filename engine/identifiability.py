"""What a channel's spend cannot tell of its effect, said before the fit: findings, not errors.

Glossary
--------
outside      Hill's k where nobody has spent: below the data the curve is at its limit, above them it is effect / k^s
             times x^s, and all effects and k with this ratio fit alike
slope one    a prior that holds s at 1 learns nothing of s: declare the curve it amounts to, michaelis_menten
few levels   fewer different spends than it takes to draw a curve through them
narrow       spends so alike that the curve between them is a line, which has two parameters and not three
collinear    channels that move together: the data know the sum of their effects
constant     a channel that never moves: its effect is part of the level
no spend     a channel that nothing was spent on: the data say nothing of it, its effect is its prior
Worked example: positive spends between .2 and 3 times their mean, with k_median 5: half_saturation_outside, expected a
median within [0.2, 3], found 5.

Sources: Jin et al. (2017), section 2.2: very different (k, s, effect) give nearly the same curve over the spends
observed, the more so with k outside them, and s fixed at 1 is more parsimonious; Chan & Perry (2017), "Challenges and
Opportunities in Media Mix Modeling", on correlated channels.
Carried spend is an average of spends, so its range lies within [0, the largest spend]: these tests are of spend itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from engine.finding import Finding
from engine.gram import correlation, deviations
from engine.spec_transforms import Hill, Identifiability, Saturation


def hill_findings(
    spec: Saturation, limits: Identifiability, spend: np.ndarray, names: Sequence[str]
) -> tuple[Finding, ...]:
    """What speaks against Hill's curve, channel by channel; nothing of any other curve.

    spend: (time, location, channel) in units of each channel's mean, known periods alone; names: (channel,).
    """
    if not isinstance(spec, Hill):
        return ()
    found: list[Finding] = []
    for m, name in enumerate(names):
        positive = sorted({value for value in spend[:, :, m].ravel().tolist() if value > 0.0})
        found += _levels(limits, name, positive)
        if positive:
            found += _range(spec, limits, name, positive[0], positive[-1])
        found += _slope(spec, limits, name)
    return tuple(found)


def _levels(limits: Identifiability, name: str, positive: Sequence[float]) -> list[Finding]:
    if len(positive) >= limits.levels:
        return []
    return [Finding(name, "few_levels", f"at least {limits.levels} different positive spends", str(len(positive)))]


def _range(spec: Hill, limits: Identifiability, name: str, least: float, most: float) -> list[Finding]:
    found = []
    if not least <= spec.k_median <= most:
        within = f"a prior median of k within [{least:.3g}, {most:.3g}]"
        found.append(Finding(name, "half_saturation_outside", within, f"{spec.k_median:.3g}"))
    if most < limits.spread * least:
        apart = f"a largest positive spend at least {limits.spread:.3g} times the smallest"
        found.append(Finding(name, "narrow", apart, f"{most / least:.3g} times"))
    return found


def _slope(spec: Hill, limits: Identifiability, name: str) -> list[Finding]:
    middle, near = math.log(spec.s_median), math.log1p(limits.near_one)
    mass = _normal_cdf((near - middle) / spec.s_sd) - _normal_cdf((-near - middle) / spec.s_sd)
    if mass <= limits.mass_near_one:
        return []
    allowed = (
        f"at most {limits.mass_near_one:.3g} of the prior of s within a factor of {1.0 + limits.near_one:.3g} of 1"
    )
    return [Finding(name, "slope_one", allowed, f"{mass:.3g}")]


def _normal_cdf(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2.0))


def collinear_findings(limits: Identifiability, spend: np.ndarray, names: Sequence[str]) -> tuple[Finding, ...]:
    """Channels that never move, and pairs that move together; arguments as `hill_findings`, whatever the curve.

    Correlations are of deviations from each location's mean: what only differs between locations is the level's.
    """
    moves = [deviations(spend[:, :, m]) for m in range(len(names))]
    found = [_still(name, spend[:, :, m]) for m, name in enumerate(names) if not any(moves[m])]
    for b in range(len(names)):
        for a in range(b):
            together = correlation(moves[a], moves[b])  # 0 of a channel that does not move: told above
            if abs(together) > limits.correlation:
                allowed = f"a correlation with {names[a]} within +-{limits.correlation:.3g}"
                found.append(Finding(names[b], "collinear", allowed, f"{together:.3g}"))
    return tuple(found)


def _still(name: str, spend: np.ndarray) -> Finding:
    if not np.any(spend):
        return Finding(name, "no_spend", "spend in some period; its effect is its prior", "none")
    return Finding(name, "constant", "spend that moves within a location", "none")
