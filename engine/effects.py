"""Every effect of media in every draw of a posterior, by one compiled program."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
from jax import Array

from engine import counterfactual
from engine.contribution import Contributions, Window, contributions
from engine.curve import Budgets, budgets, curve, half
from engine.design import Design
from engine.mediated import Mediated, mediated
from engine.model import Parameters
from engine.outcome_links import correlation, crossed
from engine.returns import marginal
from engine.spec import Spec


class EffectDraws(NamedTuple):
    """Each (draw, ...), as the functions that they are named after give one draw."""

    contributions: Contributions
    marginal: Array  # (draw, S, M)
    curve: Array  # (draw, M, K, O)
    half: Array  # (draw, M)
    mediated: Mediated
    crossed: Array  # (draw, X)
    correlation: Array  # (draw, L or 0, O, O)


def drawn(spec: Spec, draws: Parameters, design: Design, window: Window) -> EffectDraws:
    """Of `draws`, each (draw, ...); `design` as they were fitted with; the window ends with the known periods."""
    return _drawn(spec, window, draws, design, budgets(spec, design, window))


@partial(jax.jit, static_argnums=(0, 1))
def _drawn(spec: Spec, window: Window, draws: Parameters, design: Design, steady: Budgets) -> EffectDraws:
    def one(p: Parameters) -> EffectDraws:
        media = counterfactual.effects(spec, p, design)
        return EffectDraws(
            contributions=contributions(spec, p, design, media, window),
            marginal=marginal(spec, p, design, media, window),
            curve=curve(spec, p, design, media, steady, window),
            half=half(spec, p),
            mediated=mediated(spec, p, design, media, window),
            crossed=crossed(spec, p, design, media, window),
            correlation=correlation(spec, p),
        )

    return jax.lax.map(one, draws)
