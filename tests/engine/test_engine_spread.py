"""Laws of the sampler's first metric: of every site's shape, positive, and of one column alone the exact variance."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from numpyro.handlers import seed, trace

from engine import model
from engine.design import Design, build
from engine.fit import unconstrained
from engine.prng import stream
from engine.spec import Spec
from engine.spread import spread
from tests import classes, small

ORIGIN = 30


def sampled(spec: Spec, design: Design) -> dict[str, tuple[int, ...]]:
    """Shapes of the sites, as they are sampled."""

    def draw(design: Design) -> dict[str, Array]:
        found = trace(seed(partial(model.model, spec), stream(1, "spread"))).get_trace(design)
        return {name: s["value"] for name, s in found.items() if s["type"] == "sample" and not s["is_observed"]}

    return {name: value.shape for name, value in jax.eval_shape(draw, design).items()}


@pytest.mark.parametrize("name", classes.CLASSES)
def test_every_guess_is_positive_and_of_its_sites_shape(name: str) -> None:
    spec = classes.spec(name)
    design, _ = build(classes.panel(spec, seed=4), spec, ORIGIN)
    found, sites = spread(spec, design), sampled(spec, design)
    for site in found.keys() & sites.keys():
        assert found[site].shape == sites[site], site
    variance = unconstrained(spec, design).variance(design)
    assert bool(jnp.all((variance > 0.0) & jnp.isfinite(variance)))


def test_one_column_alone_has_the_textbooks_posterior_variance() -> None:
    spec = small.spec()
    design, _ = build(small.panel(spec), spec, ORIGIN)
    found = spread(spec, design)
    y, x = np.asarray(design.y)[:ORIGIN], np.asarray(design.season)[:ORIGIN, 0]
    noise = 0.25 * y.var(axis=0)  # (S,)
    level = 1.0 / (1.0 / spec.model.level_scale**2 + ORIGIN / noise)
    np.testing.assert_allclose(found["level"], level, rtol=1e-12)
    scale = spec.model.seasons[0].scale
    season = 1.0 / (1.0 / scale**2 + np.sum(x * x) * np.sum(1.0 / noise))
    np.testing.assert_allclose(found["season"][0, 0] * scale**2, season, rtol=1e-12)
    np.testing.assert_allclose(found["sigma"], np.full(2, 0.5 / ORIGIN), rtol=1e-12)


def test_data_that_say_nothing_leave_the_prior() -> None:
    spec = small.spec()
    design, _ = build(small.panel(spec), spec, ORIGIN)
    found = spread(spec, design._replace(weight=jnp.zeros_like(design.weight)))
    np.testing.assert_allclose(found["level"], np.full(2, spec.model.level_scale**2), rtol=1e-12)
    np.testing.assert_allclose(found["season"], np.ones(found["season"].shape), rtol=1e-12)
