"""Inference: NUTS, one chain a call, warm-started by Pathfinder.

A chain is a pure function of (spec, design, key): chains run in as many processes as there are cores, or one after
the other in one process, to the same bytes. One chain per program for ever: vectorised and sequential chains are
different programs with different rounding.

Sources: Hoffman & Gelman (2014), JMLR 15:1593; Zhang, Carpenter, Gelman & Vehtari (2022), JMLR 23:306 (Pathfinder);
Vehtari, Simpson, Gelman, Yao & Gabry (2024), JMLR 25:72 (k-hat).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from arviz_stats.base import array_stats
from blackjax.vi import pathfinder
from jax import Array
from jax.flatten_util import ravel_pytree
from numpyro.handlers import seed, substitute
from numpyro.infer.hmc import hmc
from numpyro.infer.util import constrain_fn, initialize_model

from engine.design import Design
from engine.errors import FitError
from engine.model import Parameters, model
from engine.spec import Inference, Pathfinder, Spec

KHAT_DIGITS = 6  # an optimiser's output: its last digits carry no information, so they are not published
MAX_LINE_SEARCH = 50  # steps of one L-BFGS line search


class Chain(NamedTuple):
    """One chain: its draws of every parameter, and what the sampler said of each draw."""

    parameters: Parameters  # each (draw, ...), float64 NumPy
    diverging: np.ndarray  # (draw,) bool
    energy: np.ndarray  # (draw,) float64
    steps: np.ndarray  # (draw,) int64: leapfrog steps
    khat: float  # Pathfinder's Pareto k-hat; above 0.7 its draws are no approximation of the posterior


class WarmStart(NamedTuple):
    """Where NUTS begins, and how good an approximation it came from."""

    position: Array  # (dimension,) unconstrained: a draw of the approximation
    log_ratios: Array  # (sample,) log p - log q


class Density(NamedTuple):
    """A model as a function of one unconstrained vector: a tenth of the operations a sampler does on a tree of them."""

    dimension: int
    log_density: Callable[[Array, Design], Array]  # (dimension,) -> ()
    parameters: Callable[[Array, Design], Parameters]  # (dimension,) -> constrained


class Draws(NamedTuple):
    """What the sampler returns."""

    parameters: Parameters  # each (draw, ...)
    diverging: Array  # (draw,)
    energy: Array  # (draw,)
    steps: Array  # (draw,)


class Sampler:
    """The compiled programs of one specification, reused for every design of one shape."""

    def __init__(self, spec: Spec, warmup: int, draws: int, design: Design) -> None:
        """design: any design of the shapes that `chain` will be given."""
        density = unconstrained(spec, design)
        self._warm = jax.jit(partial(_warm_start, density, spec.inference.pathfinder))
        self._nuts = jax.jit(partial(_nuts, density, spec.inference, warmup, draws))

    def chain(self, design: Design, key: Array) -> Chain:
        """One chain from `key`. Raises FitError when the starting point is not finite."""
        pathfinder_key, nuts_key = jax.random.split(key)
        start: WarmStart = self._warm(pathfinder_key, design)
        if not bool(jnp.all(jnp.isfinite(start.position))):
            raise FitError(
                "Pathfinder: expected a finite starting point, found one that is not; check the data's scale"
            )
        draws: Draws = self._nuts(nuts_key, design, start.position)
        return Chain(
            parameters=jax.tree.map(np.asarray, draws.parameters),
            diverging=np.asarray(draws.diverging),
            energy=np.asarray(draws.energy),
            steps=np.asarray(draws.steps, dtype=np.int64),
            khat=_khat(start.log_ratios),
        )


def unconstrained(spec: Spec, design: Design) -> Density:
    """The model on the real line, log Jacobians included; `design` gives the shapes alone."""
    program = partial(model, spec)
    key = jax.random.key(0)  # only the shapes of what it draws are used
    info = initialize_model(key, program, model_args=(design,), dynamic_args=True, validate_grad=False)
    flat, unravel = ravel_pytree(info.param_info.z)

    def log_density(q: Array, design: Design) -> Array:
        return -info.potential_fn(design)(unravel(q))

    def parameters(q: Array, design: Design) -> Parameters:
        sites = constrain_fn(program, (design,), {}, unravel(q))
        return substitute(seed(program, key), sites)(design)

    return Density(flat.shape[0], log_density, parameters)


def _nuts(
    density: Density,
    inference: Inference,
    warmup: int,
    count: int,
    key: Array,
    design: Design,
    position: Array,
) -> Draws:
    """One chain as one program: adaptation, then `count` draws.

    NumPyro's kernel is driven here and not by its MCMC class, which traces the model anew for every data set.
    """
    init, step = hmc(potential_fn_gen=lambda design: lambda q: -density.log_density(q, design), algo="NUTS")
    state = init(
        position,
        num_warmup=warmup,
        target_accept_prob=inference.target_accept,
        max_tree_depth=inference.max_tree_depth,
        model_args=(design,),
        rng_key=key,
    )

    def draw(state: Any, _: None) -> tuple[Any, tuple[Array, ...]]:
        state = step(state, (design,))
        return state, (state.z, state.diverging, state.energy, state.num_steps)

    # one loop and not two: the step, most of what there is to compile, is then compiled once
    _, found = jax.lax.scan(draw, state, length=warmup + count)
    z, diverging, energy, steps = (values[warmup:] for values in found)
    parameters = jax.lax.map(lambda q: density.parameters(q, design), z)
    return Draws(parameters, diverging, energy, steps)


def _warm_start(density: Density, settings: Pathfinder, key: Array, design: Design) -> WarmStart:
    """One Pathfinder path from near the origin, and one draw of its best approximation."""
    start_key, path_key, draw_key = jax.random.split(key, 3)

    def log_density(q: Array) -> Array:
        return density.log_density(q, design)

    start = settings.jitter * jax.random.normal(start_key, (density.dimension,))
    state, _ = pathfinder.approximate(
        path_key, log_density, start, settings.samples, maxiter=settings.maxiter, maxls=MAX_LINE_SEARCH
    )
    draws, log_q = pathfinder.sample(draw_key, state, settings.samples)
    return WarmStart(draws[0], jax.vmap(log_density)(draws) - log_q)


def _khat(log_ratios: Array) -> float:
    """Pareto k-hat of the importance ratios, rounded; infinity where a ratio is not finite."""
    ratios = np.asarray(log_ratios)
    if not np.all(np.isfinite(ratios)):
        return float("inf")
    return round(float(array_stats.psislw(ratios)[1]), KHAT_DIGITS)
