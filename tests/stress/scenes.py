"""What is wrong in each stress world, and what must then be said.

Truths are drawn from the specification's own priors but for the scale of the residuals, .05 of the outcome, and their
correlation, .3. A scene changes the spend, the truth, or the outcomes; nothing else differs from the clean world of the
same seed. "Twice the noise" below is twice that scale.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from engine.finding import What
from engine.model import Parameters
from engine.table import Panel
from tests.drawn import changed
from tests.stress.model import TIME

SIGMA, RHO = 0.05, 0.3
BREAK = 94  # the first period of another level, or slope
TV, SEARCH, RADIO = 0, 1, 2


def _same_panel(panel: Panel, _: int) -> Panel:
    return panel


def _same_truth(truth: Parameters, _: Panel) -> Parameters:
    return truth


def _same_outcome(y: np.ndarray, _: int) -> np.ndarray:
    return y


class Scene(NamedTuple):
    """One kind of world. `raised`: findings of which at least one must be raised, of `subject` where one is named.

    least: the share of worlds in which that must happen; 0 where it is known that it does not.
    """

    verdict: str
    raised: tuple[What, ...]
    subject: str = ""
    least: float = 0.8
    panel: Callable[[Panel, int], Panel] = _same_panel  # of (panel, seed)
    truth: Callable[[Parameters, Panel], Parameters] = _same_truth
    outcome: Callable[[np.ndarray, int], np.ndarray] = _same_outcome  # of (y (T, S) on the model's scale, seed)
    known: int = TIME  # periods
    residual: str = "ar1"  # of the model that is fitted
    answers: float = 0.0  # by which power of e spend rises where the period before left one noise scale


def usual(truth: Parameters) -> Parameters:
    """With residuals of the usual size."""
    return changed(truth, sigma=jnp.full_like(truth.noise.sigma, SIGMA), rho=jnp.asarray(RHO))


def demand(seed: int, memory: float, time: int) -> list[float]:
    """What nobody recorded: AR(1) of variance 1, from Python's own generator."""
    draw = random.Random(f"demand {seed}")
    out = [draw.gauss(0.0, 1.0)]
    while len(out) < time:
        out.append(memory * out[-1] + math.sqrt(1.0 - memory * memory) * draw.gauss(0.0, 1.0))
    return out


def _break(y: np.ndarray, _: int) -> np.ndarray:
    """Four noise scales down from the 95th week on."""
    out = y.copy()
    out[BREAK:] -= 4.0 * SIGMA
    return out


def _turn(y: np.ndarray, _: int) -> np.ndarray:
    """From the 95th week on, a tenth of a noise scale less each week."""
    out = y.copy()
    out[BREAK:] -= 0.1 * SIGMA * np.arange(len(y) - BREAK)[:, None]
    return out


def _wave(period: float, height: float) -> Callable[[np.ndarray, int], np.ndarray]:
    """As high as `height` times the noise."""

    def outcome(y: np.ndarray, _: int) -> np.ndarray:
        return y + height * SIGMA * np.sin(2.0 * np.pi * np.arange(len(y)) / period)[:, None]

    return outcome


def _unsaturated(truth: Parameters, panel: Panel) -> Parameters:
    """Half of search's effect at twice its largest spend; at its mean spend it adds as much as at half of its limit."""
    spend = panel.media[:, 0, SEARCH]
    half = 2.0 * float(spend.max() / spend.mean())
    lam = math.log(2.0) / half
    added = 0.5 * float(truth.media.beta[0, SEARCH])
    return changed(
        truth,
        saturation=truth.media.saturation.at[0, SEARCH].set(lam),
        beta=truth.media.beta.at[:, SEARCH].set(added / (1.0 - math.exp(-lam))),
    )


def _outlier(panel: Panel, seed: int) -> Panel:
    """A year's spend of search is booked in one week beside the others."""
    media = panel.media.copy()
    media[random.Random(seed).randrange(TIME), :, SEARCH] = 52.0 * np.mean(media[:, :, SEARCH])
    return panel._replace(media=media)


def _together(panel: Panel, seed: int) -> Panel:
    """Search is bought in proportion to tv, but for a twentieth."""
    draw, media = random.Random(seed), panel.media.copy()
    media[:, 0, SEARCH] = [x * draw.lognormvariate(0.0, 0.05) for x in media[:, 0, TV].tolist()]
    return panel._replace(media=media)


def _sum(panel: Panel, seed: int) -> Panel:
    """Radio is what is left of a budget that the other two share: no pair tells."""
    draw, media = random.Random(seed), panel.media.copy()
    both = (media[:, 0, TV] / media[:, 0, TV].mean() + media[:, 0, SEARCH] / media[:, 0, SEARCH].mean()).tolist()
    media[:, 0, RADIO] = [100.0 * x * draw.lognormvariate(0.0, 0.05) for x in both]
    return panel._replace(media=media)


def _silent(panel: Panel, _: int) -> Panel:
    """Nothing was ever spent on radio."""
    media = panel.media.copy()
    media[:, :, RADIO] = 0.0
    return panel._replace(media=media)


def _confounded(memory: float) -> Callable[[Panel, int], Panel]:
    """Demand moves the log of search's spend as much as everything else does."""

    def panel(of: Panel, seed: int) -> Panel:
        draw, media = random.Random(seed), of.media.copy()
        media[:, 0, SEARCH] = [100.0 * math.exp(0.7 * (u + draw.gauss(0.0, 1.0))) for u in demand(seed, memory, TIME)]
        return of._replace(media=media)

    return panel


def _demanded(memory: float) -> Callable[[np.ndarray, int], np.ndarray]:
    """And the outcome by twice the noise."""

    def outcome(y: np.ndarray, seed: int) -> np.ndarray:
        return y + 2.0 * SIGMA * np.asarray(demand(seed, memory, len(y)))[:, None]

    return outcome


def _lasting(truth: Parameters, _: Panel) -> Parameters:
    """Six tenths of a residual are left a period later."""
    return changed(truth, rho=jnp.asarray(0.6))


SCENES: Mapping[str, Scene] = {
    "trend break": Scene("a break is left", ("break_left",), "East", 0.7, outcome=_break),
    "trend turn": Scene("a break is left", ("break_left",), "East", outcome=_turn),
    "season of a month": Scene("a wave is left", ("season_left",), "East", outcome=_wave(30.4 / 7.0, 1.0)),
    "season of 9 weeks": Scene("a wave is left", ("season_left",), "East", outcome=_wave(9.0, 1.5)),
    "season of 9 weeks, low": Scene("a wave is left", ("season_left",), "East", 0.1, outcome=_wave(9.0, 1.0)),
    "saturation outside": Scene(
        "data do not bound the curve", ("saturation_unbounded",), "search", truth=_unsaturated
    ),
    "spend outlier": Scene("an outlier", ("outlier",), "search", panel=_outlier),
    "collinear pair": Scene("collinear", ("collinear",), "search", panel=_together),
    "collinear sum": Scene("inflated", ("inflated",), "radio", panel=_sum),
    "confounder with memory": Scene(
        "spend is foretold, or shares memory", ("spend_ahead", "shared_memory"), "search", 0.3,
        panel=_confounded(0.8), outcome=_demanded(0.8),
    ),
    "confounder without memory": Scene(
        "nothing shows it: only `no_experiment` says so", ("spend_ahead", "shared_memory"), "search", 0.0,
        panel=_confounded(0.0), outcome=_demanded(0.0),
    ),
    "budget answers sales": Scene("residuals foretell spend", ("spend_ahead",), "search", 0.7, answers=0.5),
    "autocorrelated errors": Scene(
        "autocorrelation, of a model without", ("autocorrelation",), "East", truth=_lasting, residual="white"
    ),
    "short history": Scene("too short", ("short_history", "few_cycles"), known=44),
    "zero spend": Scene("no spend", ("no_spend",), "radio", panel=_silent),
}  # fmt: skip
CLEAN = Scene("no warning", ())
