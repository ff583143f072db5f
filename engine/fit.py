"""Inference: NUTS, one chain a call.

A chain is a pure function of (spec, design, key): chains run in as many processes as there are cores, or one after
the other in one process, to the same bytes. One chain per program for ever: vectorised and sequential chains are
different programs with different rounding.

Sources: Hoffman & Gelman (2014), JMLR 15:1593; Zhang, Carpenter, Gelman & Vehtari (2022), JMLR 23:306 (Pathfinder);
Vehtari, Simpson, Gelman, Yao & Gabry (2024), JMLR 25:72 (k-hat).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from blackjax.vi import pathfinder
from jax import Array
from numpyro.distributions import biject_to
from numpyro.handlers import seed, substitute, trace
from numpyro.infer.hmc import hmc
from numpyro.infer.util import constrain_fn, potential_energy

from engine.design import Design
from engine.errors import FitError
from engine.model import Parameters, model
from engine.spec import Inference, NearOrigin, Pathfinder, Spec
from engine.spread import spread

KHAT_DIGITS = 6  # an optimiser's output: its last digits carry no information, so they are not published
_EXPECTED = "start: expected a finite starting point, found one that is not"
MAX_LINE_SEARCH = 50  # steps of one L-BFGS line search


class Chain(NamedTuple):
    """One chain: its draws of every parameter, and what the sampler said of each draw."""

    parameters: Parameters  # each (draw, ...), float64 NumPy
    diverging: np.ndarray  # (draw,) bool
    energy: np.ndarray  # (draw,) float64
    steps: np.ndarray  # (draw,) int64: leapfrog steps
    khat: float | None  # Pathfinder's Pareto k-hat, None without it; above 0.7 its draws approximate no posterior


class WarmStart(NamedTuple):
    """Where NUTS begins, and how good an approximation it came from."""

    position: Array  # (dimension,) unconstrained: a draw of the approximation
    log_ratios: Array  # (sample,) log p - log q


class Place(NamedTuple):
    """Where a site lies in the vector."""

    start: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.shape)


class Density(NamedTuple):
    """A model as a function of one unconstrained vector: a tenth of the operations a sampler does on a tree of them."""

    dimension: int
    log_density: Callable[[Array, Design], Array]  # (dimension,) -> ()
    parameters: Callable[[Array, Design], Parameters]  # (dimension,) -> constrained
    variance: Callable[[Design], Array]  # (dimension,), roughly: where NUTS's metric begins


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
        start = spec.inference.start
        if isinstance(start, Pathfinder):
            self._start = jax.jit(partial(_pathfinder, density, start))
        else:
            self._start = jax.jit(partial(_near_origin, density, start))
        self._nuts = jax.jit(partial(_nuts, density, spec.inference, warmup, draws))

    def chain(self, design: Design, key: Array) -> Chain:
        """One chain from `key`. Raises FitError when the starting point is not finite."""
        start_key, nuts_key = jax.random.split(key)
        start: WarmStart = self._start(start_key, design)
        if not bool(np.all(np.isfinite(np.asarray(start.position)))):
            raise FitError(f"{_EXPECTED}; check the data's scale")
        draws: Draws = self._nuts(nuts_key, design, start.position)
        if not bool(np.all(np.isfinite(np.asarray(draws.energy)))):  # no step is taken from where nothing is finite
            raise FitError(f"{_EXPECTED}; check the data's scale")
        return Chain(
            parameters=jax.tree.map(np.asarray, draws.parameters),
            diverging=np.asarray(draws.diverging),
            energy=np.asarray(draws.energy),
            steps=np.asarray(draws.steps, dtype=np.int64),
            khat=_khat(start.log_ratios),
        )


def sampler(spec: Spec, warmup: int, draws: int, design: Design) -> Sampler:
    """The sampler of designs of this one's shapes, made once a process: chains of one process share its programs."""
    return _sampler(spec, warmup, draws, jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), design))


@lru_cache(maxsize=8)  # one an effect that a verdict may ask for
def _sampler(spec: Spec, warmup: int, draws: int, shapes: Design) -> Sampler:
    return Sampler(spec, warmup, draws, shapes)


def unconstrained(spec: Spec, design: Design) -> Density:
    """The model on the real line, log Jacobians included; `design` gives the shapes alone.

    Nothing is computed to find the sites: `numpyro.infer.util.initialize_model` would run the model operation by
    operation, each a program of its own, which takes longer than all the draws of a chain.
    """
    program = partial(model, spec)
    key = jax.random.key(0)  # only the shapes of what it draws are used
    shapes = jax.eval_shape(partial(_latents, program), key, design)
    places: dict[str, Place] = {}
    dimension = 0
    for site in sorted(shapes):
        places[site] = Place(dimension, shapes[site].shape)
        dimension += places[site].size

    def split(q: Array) -> dict[str, Array]:
        return {site: q[at.start : at.start + at.size].reshape(at.shape) for site, at in places.items()}

    def log_density(q: Array, design: Design) -> Array:
        return -potential_energy(program, (design,), {}, split(q))

    def parameters(q: Array, design: Design) -> Parameters:
        sites = constrain_fn(program, (design,), {}, split(q))
        return substitute(seed(program, key), sites)(design)

    def variance(design: Design) -> Array:
        known = spread(spec, design)
        parts = [known[site].reshape(at.size) if site in known else jnp.ones(at.size) for site, at in places.items()]
        return jnp.concatenate(parts)

    return Density(dimension, log_density, parameters, variance)


def _latents(program: Callable[[Design], Parameters], key: Array, design: Design) -> dict[str, Array]:
    """A draw of every latent site, unconstrained."""
    sites = trace(seed(program, key)).get_trace(design)
    latent = {name: site for name, site in sites.items() if site["type"] == "sample" and not site["is_observed"]}
    return {name: biject_to(site["fn"].support).inv(site["value"]) for name, site in latent.items()}


def _nuts(
    density: Density,
    inference: Inference,
    warmup: int,
    count: int,
    key: Array,
    design: Design,
    position: Array,
) -> Draws:
    """One chain as one program: adaptation, then `count` draws, in one loop, so that a step is compiled once.

    NumPyro's kernel is driven here and not by its MCMC class, which traces the model anew for every data set.
    """
    init, step = hmc(potential_fn_gen=lambda design: lambda q: -density.log_density(q, design), algo="NUTS")
    state = init(
        position,
        num_warmup=warmup,
        target_accept_prob=inference.target_accept,
        max_tree_depth=inference.max_tree_depth,
        inverse_mass_matrix=density.variance(design),
        model_args=(design,),
        rng_key=key,
    )

    def draw(state: Any, _: None) -> tuple[Any, tuple[Array, ...]]:
        state = step(state, (design,))
        return state, (state.z, state.diverging, state.energy, state.num_steps)

    _, every = jax.lax.scan(draw, state, length=warmup + count)
    z, diverging, energy, steps = (x[warmup:] for x in every)
    parameters = jax.lax.map(lambda q: density.parameters(q, design), z)
    return Draws(parameters, diverging, energy, steps)


def _near_origin(density: Density, settings: NearOrigin, key: Array, _: Design) -> WarmStart:
    return WarmStart(settings.jitter * jax.random.normal(key, (density.dimension,)), jnp.zeros(0))


def _pathfinder(density: Density, settings: Pathfinder, key: Array, design: Design) -> WarmStart:
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


def _khat(log_ratios: Array) -> float | None:
    """Pareto k-hat of the importance ratios, rounded; infinity where a ratio is not finite, None without any."""
    ratios = np.asarray(log_ratios)
    if ratios.size == 0:
        return None
    if not np.all(np.isfinite(ratios)):
        return float("inf")
    from arviz_stats.base import array_stats  # two seconds to import, and seldom needed

    return round(float(array_stats.psislw(ratios)[1]), KHAT_DIGITS)
