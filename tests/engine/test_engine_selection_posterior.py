"""Selection priors at work: what moves the outcome is found, the rest is shrunk, and a confounder is left alone."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import MCMC, NUTS

from engine import controls
from engine.controls import ControlParameters
from engine.selection_table import inclusion
from tests.small_controls import declared, horseshoe, lasso, spike_slab

TRUE = np.asarray([0.15, -0.12, *[0.0] * 8, 0.03])  # ten precision controls, then a confounder of a small effect
ROWS, SIGMA = 120, 0.1


def posterior(prior: Any) -> ControlParameters:
    """300 draws; controls standard Normal, noise of sd SIGMA known."""
    draw = np.random.default_rng(8)
    z = draw.normal(size=(ROWS, 1, TRUE.size))
    y = z[:, 0] @ TRUE + SIGMA * draw.normal(size=ROWS)
    data = jnp.asarray(z)

    def program() -> None:
        p = controls.sample(declared(prior), TRUE.size, tuple(range(10)), 1, jnp.asarray(SIGMA), jnp.asarray(ROWS))
        for name, value in p._asdict().items():
            numpyro.deterministic(f"p_{name}", value)
        numpyro.sample("y", dist.Normal(controls.effect(p, data)[:, 0], SIGMA), obs=jnp.asarray(y))

    sampler = MCMC(NUTS(program, target_accept_prob=0.9), num_warmup=300, num_samples=300, progress_bar=False)
    sampler.run(jax.random.key(2))
    found = sampler.get_samples()
    return ControlParameters(*(np.asarray(found[f"p_{name}"]) for name in ControlParameters._fields))


@pytest.mark.parametrize(
    "prior", [horseshoe(10, slab_scale=1.0), spike_slab(10, slab_scale=0.2), lasso(10)], ids=lambda prior: prior.kind
)
def test_planted_effects_are_found_and_noise_is_shrunk(prior: Any) -> None:
    """Least squares has a standard error of SIGMA / sqrt(ROWS) = .009: 4 of them hold each estimate."""
    p = posterior(prior)
    error = SIGMA / np.sqrt(ROWS)
    mean = np.mean(p.control[:, :, 0], axis=0)
    assert np.all(np.abs(mean - TRUE) < 4.0 * error)
    counts = np.mean(inclusion(p), axis=0)[:, 0]
    if prior.kind != "lasso":
        assert np.min(counts[:2]) > 0.8
        assert np.max(counts[2:]) < 0.5
    assert abs(mean[-1] - TRUE[-1]) < 3.0 * error  # the confounder, a third of the planted effects, is kept
    assert mean[-1] > 0.5 * TRUE[-1]
