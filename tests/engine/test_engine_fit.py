"""A chain is a pure function of its key, and on data whose truth is known it finds it."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from engine import counterfactual, ingest
from engine.contribution import Window, contributions
from engine.design import Design, build
from engine.errors import FitError
from engine.fit import KHAT_DIGITS, Chain, Sampler
from engine.model import DIMS, Parameters, named
from engine.prng import stream
from engine.spec import Spec, parse_spec
from engine.table import to_panel
from stages.stage import declared_spec
from tests import small
from tests.fresh import REPOSITORY

SPEC = small.spec()
DESIGN, _ = build(small.panel(SPEC), SPEC, 30)


def sampled(spec: Spec, design: Design) -> Sampler:
    return Sampler(spec, spec.inference.warmup, spec.inference.draws, design)


def raw(chain: Chain) -> bytes:
    statistics = (chain.diverging.tobytes(), chain.energy.tobytes(), chain.steps.tobytes(), repr(chain.khat).encode())
    return b"".join((*(value.tobytes() for value in named(chain.parameters).values()), *statistics))


@pytest.fixture(scope="module")
def sampler() -> Sampler:
    return sampled(SPEC, DESIGN)


@pytest.fixture(scope="module")
def first(sampler: Sampler) -> Chain:
    return sampler.chain(DESIGN, stream(7, "fit", 0))


def test_the_same_key_gives_the_same_bytes_whatever_ran_between(sampler: Sampler, first: Chain) -> None:
    other = sampler.chain(DESIGN, stream(7, "fit", 1))
    assert raw(sampler.chain(DESIGN, stream(7, "fit", 0))) == raw(first)
    assert raw(other) != raw(first)


def test_a_program_made_for_one_design_serves_every_design_of_its_shape(sampler: Sampler, first: Chain) -> None:
    other, _ = build(small.panel(SPEC, seed=2), SPEC, 40)
    fresh = sampled(SPEC, other)  # traced on the other design, so nothing of a design may be compiled in
    assert raw(fresh.chain(DESIGN, stream(7, "fit", 0))) == raw(first)
    assert raw(sampler.chain(other, stream(7, "fit", 0))) != raw(first)


def test_a_chain_holds_every_draw_in_double_precision(first: Chain) -> None:
    draws = SPEC.inference.draws
    arrays = named(first.parameters)
    assert set(arrays) == set(DIMS)
    for name, value in arrays.items():
        assert value.dtype == np.float64
        assert value.ndim == 1 + len(DIMS[name])
        assert value.shape[0] == draws
    assert first.diverging.shape == first.energy.shape == first.steps.shape == (draws,)
    assert first.diverging.dtype == np.bool_
    assert np.all((first.steps >= 1) & (first.steps < 2**SPEC.inference.max_tree_depth))


def test_draws_lie_where_the_model_puts_them(first: Chain) -> None:
    media, noise = first.parameters.media, first.parameters.noise
    assert np.all(media.beta > 0.0)
    assert np.all((media.adstock > 0.0) & (media.adstock < 1.0))
    assert np.all(media.saturation > 0.0)
    assert np.all(np.abs(noise.rho) < 1.0)
    assert np.all(noise.sigma > 0.0)
    assert np.all(np.isinf(noise.nu))


def test_k_hat_is_published_without_digits_that_say_nothing(first: Chain) -> None:
    start = {"kind": "pathfinder", "maxiter": 20, "samples": 60, "jitter": 0.1}
    warm = sampled(small.spec(inference__start=start), DESIGN).chain(DESIGN, stream(7, "fit", 0))
    assert warm.khat == round(warm.khat, KHAT_DIGITS)
    assert first.khat is None  # there is none without Pathfinder


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_data_that_is_not_finite_stops_the_chain(sampler: Sampler, value: float) -> None:
    broken = DESIGN._replace(y=DESIGN.y.at[3, 1].set(value))
    with pytest.raises(FitError, match="expected a finite starting point"):
        sampler.chain(broken, stream(7, "fit", 0))


# Recovery. The geographic data are simulated, so what each channel really added is known.

RIVAL = 0.235  # the smallest mean error published for such a set, by mmm-framework on its own


@pytest.mark.slow
def test_what_each_channel_added_is_recovered_on_simulated_data() -> None:
    truth = json.loads((REPOSITORY / "data" / "mmmfw_geo_truth.json").read_text("utf-8"))["true_contribution"]
    spec = parse_spec(declared_spec(REPOSITORY, "geo"))
    panel = to_panel(ingest.read(Path(REPOSITORY, spec.data.path).read_bytes(), spec.data).table, spec.data)
    time = len(panel.periods)
    design, _ = build(panel, spec, time)
    chain = Sampler(spec, 200, 150, design).chain(design, stream(spec.seed, "recovery"))

    def added(p: Parameters) -> Array:
        return contributions(spec, p, design, counterfactual.effects(spec, p, design), Window(0, time)).window

    draws = jax.lax.map(jax.jit(added), jax.tree.map(jnp.asarray, chain.parameters))  # (draw, location, channel + 1)
    found = np.asarray(draws)[..., :-1].sum(axis=1).mean(axis=0)
    error = {
        column.name: abs(float(added) - truth[column.column]) / truth[column.column]
        for column, added in zip(spec.data.media, found, strict=True)
    }
    mean = sum(error.values()) / len(error)
    print(f"recovery: mean absolute relative error {mean:.1%} of contributions: {error}")
    assert mean < RIVAL
