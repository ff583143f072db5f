"""Every model class meets the same contract, and gives the bytes that are committed beside its specification.

`python -m tests.engine.test_engine_classes`, in the profile, prints the digests of this machine, to be committed to
tests/classes.json on purpose only.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from engine import model
from engine.design import Design, build
from engine.fit import Sampler, unconstrained
from engine.model import DIMS, Parameters, named, unnamed
from engine.prng import stream
from engine.spec import Spec
from tests import classes

ORIGIN, HORIZON, PATHS = 30, 4, 400
WARMUP, DRAWS = 20, 4  # of the chain whose bytes are committed
DIGESTS = Path(__file__).resolve().parent.parent / "classes.json"


class Found(NamedTuple):
    """What one compiled program gives of a class."""

    density: Array  # () at a point near the middle of the prior
    gradient: Array
    parameters: Parameters
    paths: Array  # (path, horizon, S) of that point
    step: Array  # (T, S)
    variance: Array


@lru_cache(maxsize=1)
def found(name: str) -> tuple[Spec, Design, Found]:
    """The class `name`, looked at once."""
    spec = classes.spec(name)
    design, _ = build(classes.panel(spec), spec, ORIGIN)
    density = unconstrained(spec, design)
    q = 0.1 * jax.random.normal(stream(1, "contract"), (density.dimension,))
    keys = jax.random.split(stream(1, "paths"), PATHS)

    def look(q: Array, design: Design) -> Found:
        value, gradient = jax.value_and_grad(density.log_density)(q, design)
        p = density.parameters(q, design)
        paths = jax.lax.map(lambda key: model.simulate(spec, p, design, jnp.asarray(ORIGIN), HORIZON, key), keys)
        step = model.one_step(spec, p, design, design.y)
        return Found(value, gradient, p, paths, step, model.noise_variance(spec, p, design))

    return spec, design, jax.tree.map(np.asarray, jax.jit(look)(q, design))


def digests(name: str) -> dict[str, str]:
    """SHA-256 of the bytes of every array that the class gives."""
    what = found(name)[2]
    arrays = {"density": what.density, "gradient": what.gradient, "paths": what.paths, "step": what.step}
    arrays |= {f"parameters.{key}": value for key, value in named(what.parameters).items() if value.size}
    return {key: _digest(value) for key, value in arrays.items()} | {"chain": chain_digest(name)}


def chain_digest(name: str) -> str:
    """SHA-256 of the digests of a short chain's energies, steps and draws, in the order of their names."""
    spec, design, _ = found(name)
    chain = Sampler(spec, WARMUP, DRAWS, design).chain(design, stream(1, "chain"))
    assert np.all(np.isfinite(chain.energy))
    assert chain.steps.sum() > DRAWS  # it moved
    arrays = {**named(chain.parameters), " energy": chain.energy, " steps": chain.steps}
    return hashlib.sha256("".join(_digest(arrays[key]) for key in sorted(arrays)).encode("ascii")).hexdigest()


def _digest(values: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


@pytest.mark.parametrize("name", classes.CLASSES)
def test_a_class_has_its_shapes_finite_gradients_and_a_sane_spread(name: str) -> None:
    _, design, what = found(name)
    assert np.isfinite(what.density)
    assert np.all(np.isfinite(what.gradient))
    arrays = named(what.parameters)
    assert set(arrays) == set(DIMS)
    assert {key: value.ndim for key, value in arrays.items()} == {key: len(dims) for key, dims in DIMS.items()}
    again = named(unnamed(arrays))
    assert all(again[key] is arrays[key] for key in arrays)
    assert what.paths.shape == (PATHS, HORIZON, design.y.shape[1])
    assert np.all(np.isfinite(what.paths))
    assert np.all(np.isfinite(what.step))
    assert np.all(what.variance > 0.0)
    # near the prior's middle a forecast is a deviation of the order of the outcome itself, not of a thousand of it; a
    # path in a hundred may be far out, as Student's t of two degrees has it
    assert np.quantile(np.abs(what.paths), 0.99) < 20.0


@pytest.mark.parametrize("name", classes.CLASSES)
def test_a_class_gives_the_committed_bytes(name: str) -> None:
    expected = json.loads(DIGESTS.read_text("utf-8"))
    assert digests(name) == expected[name]


def test_every_class_has_its_digests_and_no_other() -> None:
    assert set(json.loads(DIGESTS.read_text("utf-8"))) == set(classes.CLASSES)


if __name__ == "__main__":
    print(json.dumps({name: digests(name) for name in classes.CLASSES}, indent=1, sort_keys=True))
