"""What a posterior learned of media from the data, and what is its prior still: notes, no fault of anybody's.

- prior_speaks, curve_is_prior: 1 - (w / w0)^2 is small, w and w0 the widths of the middle 80 % of a channel's mean
  effect (of the log of its half-saturation) in posterior and prior (`contraction`).
- tangled: the effects of two channels are negatively correlated in the posterior: the data know their sum.
- saturation_unbounded: the data do not speak against a curve that is still rising: the odds of a half-saturation in the
  upper tenth of its prior, in the posterior over those in the prior, are not small. How the curve goes on above the
  spends seen is then the prior's.
- effect_beyond_prior: the effect's median lies in the upper tail of its prior: the data ask for more than was thought
  plausible, and so does a confounder that was left out.
- shared_memory: spend and residual are both correlated with themselves a period before. Demand that has memory, moves
  both and is not in the model looks like this, and the fit takes it for effect (Yule 1926, doi:10.2307/2341482).
Source of contraction: Betancourt (2018), section 4 of "Calibrating Model-Based Inferences and Decisions",
arXiv:1803.08393.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.handlers import seed

from engine import counterfactual, model
from engine.curve import half
from engine.design import Design
from engine.finding import Finding
from engine.gram import correlation, deviations
from engine.layout import layout
from engine.model import Parameters
from engine.prng import stream
from engine.spec import Spec
from engine.spec_checks import AfterFit

MIDDLE = (0.1, 0.9)


class Known(NamedTuple):
    """What a posterior, or a prior, says of media."""

    effect: Array  # (draw, O, M) mean over the known periods and locations, on the model's scale
    half: Array  # (draw, M) half-saturation, in units of mean spend or frequency; infinity where there is none


@partial(jax.jit, static_argnums=0)
def _posterior(spec: Spec, draws: Parameters, design: Design) -> Known:
    return jax.lax.map(lambda p: _known(spec, p, design), draws)


@partial(jax.jit, static_argnums=0)
def _prior(spec: Spec, keys: Array, design: Design) -> Known:
    def one(key: Array) -> Known:
        return _known(spec, seed(partial(model.sample_parameters, spec), key)(design), design)

    return jax.lax.map(one, keys)


def _known(spec: Spec, p: Parameters, design: Design) -> Known:
    """Of one draw."""
    places = layout(spec)
    added = counterfactual.effects(spec, p, design).added * design.known[..., None]  # (T, S, M)
    each = jnp.sum(added, axis=0).reshape(places.locations, places.outcomes, -1)
    return Known(jnp.sum(each, axis=0) / jnp.sum(design.known) * places.outcomes, half(spec, p))


def notes(
    spec: Spec, limits: AfterFit, draws: Parameters, some: Parameters, design: Design, known: int
) -> Iterator[Finding]:
    """Of the posterior's `draws`, or `some` of them where each costs, beside as many of the prior as `limits` says.

    The first `known` periods are known.
    """
    keys = jax.random.split(stream(spec.seed, "findings", "prior"), limits.draws)
    posterior, prior = _posterior(spec, some, design), _prior(spec, keys, design)
    names = [column.name for column in spec.data.media]
    after, before = np.asarray(posterior.effect), np.asarray(prior.effect)
    for o, outcome in enumerate(spec.data.outcomes):
        subjects = names if len(spec.data.outcomes) == 1 else [f"{name} on {outcome.name}" for name in names]
        for m, subject in enumerate(subjects):
            yield from _of_effect(limits, subject, after[:, o, m], before[:, o, m])
        yield from _tangled(limits, subjects, after[:, o])
    rho = _quantile(np.asarray(draws.noise.rho), 0.5)
    for m, name in enumerate(names):
        yield from _shared(limits, name, rho, np.asarray(design.media.spend)[:known, :, m, 0])
    halves = np.asarray(jax.vmap(partial(half, spec))(jax.tree.map(jnp.asarray, draws)))
    for m, name in enumerate(names):
        rated = spec.data.media[m].frequency is not None
        seen = np.asarray(design.media.frequency[..., m] if rated else design.media.spend[:, :, m, 0])[:known]
        if seen.any() and np.isfinite(halves[:, m]).all():
            yield from _of_curve(limits, name, halves[:, m], np.asarray(prior.half)[:, m])
            yield from _unbounded(limits, name, halves[:, m], np.asarray(prior.half)[:, m])


def _of_effect(limits: AfterFit, subject: str, after: np.ndarray, before: np.ndarray) -> Iterator[Finding]:
    if not before.any():
        return  # nothing was spent: told before the fit
    learned = contraction(after, before)
    if learned < limits.contraction:
        allowed = f"a posterior narrower than its prior: contraction at least {limits.contraction:.3g}"
        yield Finding(subject, "prior_speaks", allowed, f"{learned:.2g}")
    middle, plausible = _quantile(after, 0.5), _quantile(before, 1.0 - limits.tail)
    if middle > plausible:
        allowed = f"a median effect within {1.0 - limits.tail:.3g} of its prior, at most {plausible:.3g}"
        yield Finding(subject, "effect_beyond_prior", allowed, f"{middle:.3g}")


def contraction(after: np.ndarray, before: np.ndarray) -> float:
    """1 - (w / w0)^2, w the width of the middle 80 %: of normal draws, 1 less the ratio of their variances."""
    widths = [_quantile(x, MIDDLE[1]) - _quantile(x, MIDDLE[0]) for x in (after, before)]
    return 1.0 - (widths[0] / widths[1]) ** 2 if widths[1] > 0.0 else 0.0


def _quantile(x: np.ndarray, probability: float) -> float:
    """Of draws in their order, the one at that share."""
    return float(sorted(x.tolist())[min(int(probability * len(x)), len(x) - 1)])


def _tangled(limits: AfterFit, subjects: Sequence[str], effects: np.ndarray) -> Iterator[Finding]:
    """effects: (draw, M)."""
    moves = [deviations(effects[:, m][:, None]) for m in range(len(subjects))]
    for b, second in enumerate(subjects):
        for a, first in enumerate(subjects[:b]):
            found = correlation(moves[a], moves[b])
            if found < -limits.tangled:
                allowed = f"effects correlated above {-limits.tangled:.3g} in the posterior"
                yield Finding(f"{first} and {second}", "tangled", allowed, f"{found:.2g}")


def _shared(limits: AfterFit, name: str, rho: float, spend: np.ndarray) -> Iterator[Finding]:
    """spend: (known, L)."""
    logs = np.asarray(jnp.log1p(jnp.asarray(spend)))
    memory = correlation(deviations(logs[1:]), deviations(logs[:-1]))
    if min(rho, memory) > limits.memory:
        allowed = f"residual or spend with a correlation of at most {limits.memory:.3g} with the period before"
        yield Finding(name, "shared_memory", allowed, f"{rho:.2g} and {memory:.2g}")


def _of_curve(limits: AfterFit, name: str, after: np.ndarray, before: np.ndarray) -> Iterator[Finding]:
    learned = contraction(_logs(after), _logs(before))
    if learned < limits.contraction:
        allowed = f"a half-saturation narrower than its prior: contraction at least {limits.contraction:.3g}"
        yield Finding(name, "curve_is_prior", allowed, f"{learned:.2g}")


def _unbounded(limits: AfterFit, name: str, after: np.ndarray, before: np.ndarray) -> Iterator[Finding]:
    """Odds of either sample by half a draw more on either side: the posterior's may all lie on one."""
    high = _quantile(before, MIDDLE[1])
    odds = [(float(np.sum(x > high)) + 0.5) / (float(np.sum(x <= high)) + 0.5) for x in (after, before)]
    if odds[0] / odds[1] > limits.rising:
        allowed = f"data against a half-saturation above {high:.3g} times the mean: odds at most {limits.rising:.3g}"
        yield Finding(name, "saturation_unbounded", allowed, f"{odds[0] / odds[1]:.2g} times those of the prior")


def _logs(x: np.ndarray) -> np.ndarray:
    return np.asarray(jnp.log(jnp.asarray(x)))
