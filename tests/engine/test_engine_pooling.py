"""Laws of pooling: what is shared, that centrings are one prior, what national media have but one of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import Array
from numpyro.handlers import seed, substitute, trace
from numpyro.infer.util import log_density

from engine.errors import SpecError
from engine.pooling import SITES, centred_mask, sample_effects
from engine.prng import stream
from engine.spec_media import MediaSpec
from tests import reference_pooling as twin
from tests import small

LOCATIONS, OUTCOMES, GROUPS = (
    3,
    2,
    (0, 1, 0, 2),
)  # four media columns, of which the first and third are campaigns of one channel
M, S = len(GROUPS), LOCATIONS * OUTCOMES
SIZES = twin.Sizes(LOCATIONS, OUTCOMES, GROUPS)
NONE, LOCAL = jnp.zeros((S, M)), jnp.zeros(M)
ONES = jnp.ones(M)  # effects in units of themselves
CROSSED = [
    ("location",), ("product",), ("campaign",), ("location", "product"), ("product", "location"),
    ("location", "campaign"), ("campaign", "location", "product"),
]  # fmt: skip
LAW = settings(max_examples=25, deadline=None, derandomize=True)


def declared(pooling: dict[str, Any]) -> MediaSpec:
    return small.spec(model__media__pooling=pooling).model.media


def partially(over: Sequence[str], centring: str = "non_centred", active: int | None = None) -> MediaSpec:
    chosen: dict[str, Any] = {"kind": centring} | ({} if active is None else {"active": active})
    return declared({"kind": "partial", "over": list(over), "tau_scale": 0.7, "centring": chosen})


def sites(spec: MediaSpec, number: int, centred: Array = NONE, national: Array = LOCAL) -> dict[str, Array]:
    """One draw of every site."""
    program = partial(sample_effects, spec, LOCATIONS, OUTCOMES, GROUPS)
    seen = trace(seed(program, stream(number, "pooling"))).get_trace(centred, national, ONES)
    return {name: site["value"] for name, site in seen.items() if site["type"] == "sample"}


def effects(spec: MediaSpec, values: dict[str, Array], centred: Array = NONE, national: Array = LOCAL) -> Array:
    """(location, outcome, column) given every site."""
    program = substitute(partial(sample_effects, spec, LOCATIONS, OUTCOMES, GROUPS), values)
    found: Array = program(centred, national, ONES)
    assert found.shape == (S, M)
    return found.reshape(LOCATIONS, OUTCOMES, M)


def table(x: Array) -> dict[tuple[int, int, int], float]:
    whole = np.asarray(x)
    whole = whole.reshape((1,) * (3 - whole.ndim) + whole.shape)
    return {(a, b, c): float(whole[a, b, c]) for a, b, c in np.ndindex(*whole.shape)}


@pytest.mark.parametrize("over", CROSSED)
@pytest.mark.parametrize("national", [(), (1, 2)])
def test_effects_are_the_population_and_every_crossed_deviation(over: Sequence[str], national: Sequence[int]) -> None:
    spec = partially(over)
    flags = jnp.asarray([float(m in national) for m in range(M)])
    drawn = sites(spec, 1)
    truth = twin.Drawn(
        table(drawn["mu"]), {d: table(drawn[SITES[d][0]]) for d in spec.pooling.over},  # type: ignore[union-attr]
        {d: table(drawn[SITES[d][1]]) for d in spec.pooling.over},  # type: ignore[union-attr]
    )  # fmt: skip
    found = effects(spec, drawn, national=flags)
    for cell in twin.cells(SIZES):
        expected = twin.effect(over, truth, SIZES, cell, cell[2] in national)
        assert math.isclose(float(found[cell]), expected, rel_tol=1e-12)


def test_one_outcome_pooled_over_locations_is_the_textbooks_formula_to_the_bit() -> None:
    spec = partially(("location",))

    def ours(mu: Array, tau: Array, z: Array) -> Array:
        program = partial(sample_effects, spec, LOCATIONS, 1, GROUPS)
        values = {"mu": mu[None], "tau": tau[None], "z": z[:, None]}
        found: Array = substitute(program, values)(jnp.zeros((LOCATIONS, M)), LOCAL, ONES)
        return found

    keys = jax.random.split(stream(2, "pooling"), 3)
    mu, z = jax.random.normal(keys[0], (M,)), jax.random.normal(keys[2], (LOCATIONS, M))
    tau = jnp.exp(jax.random.normal(keys[1], (M,)))
    assert np.array_equal(jax.jit(ours)(mu, tau, z), jax.jit(lambda mu, tau, z: jnp.exp(mu + tau * z))(mu, tau, z))


def random_mask(number: int) -> Array:
    return (jax.random.uniform(stream(number, "mask"), (S, M)) < 0.5).astype(float)


@pytest.mark.parametrize("over", CROSSED)
@pytest.mark.parametrize("centring", ["centred", "by_data"])
@pytest.mark.parametrize("number", range(3))
def test_centred_and_non_centred_are_one_prior(over: Sequence[str], centring: str, number: int) -> None:
    """p(z) = p(raw) |d raw / d z|, raw the centred deviation at the same effects."""
    mask = jnp.ones((S, M)) if centring == "centred" else random_mask(number)
    plain, other = partially(over), partially(over, centring, 1 if centring == "by_data" else None)
    drawn = sites(plain, number)
    moved, log_jacobian = dict(drawn), 0.0
    for dimension in over:
        tau_site, z_site = SITES[dimension]  # type: ignore[index]
        z, tau, mu = table(drawn[z_site]), table(drawn[tau_site]), table(drawn["mu"])
        raw = np.asarray(drawn[z_site]).copy().reshape((1,) * (3 - drawn[z_site].ndim) + drawn[z_site].shape)
        rich: dict[tuple[int, int, int], tuple[int, int, int]] = {}
        for cell in twin.cells(SIZES):
            if float(mask.reshape(LOCATIONS, OUTCOMES, M)[cell]) > 0.0:
                rich[twin.unit(over, dimension, SIZES, cell)] = twin.population(over, SIZES, cell[1], cell[2])
        for place, where in rich.items():
            raw[place] = (mu[where] if dimension == over[0] else 0.0) + tau[where] * z[place]
            log_jacobian += math.log(tau[where])
        moved[z_site] = jnp.asarray(raw.reshape(drawn[z_site].shape))
    np.testing.assert_allclose(effects(other, moved, mask), effects(plain, drawn), rtol=1e-12)
    densities = [
        float(
            log_density(partial(sample_effects, spec, LOCATIONS, OUTCOMES, GROUPS), (mask, LOCAL, ONES), {}, values)[0]
        )
        for spec, values in ((plain, drawn), (other, moved))
    ]
    assert math.isclose(densities[0], densities[1] + log_jacobian, rel_tol=1e-10)


def test_no_spread_is_complete_pooling_and_complete_pooling_is_one_effect_an_outcome() -> None:
    spec = partially(("location",))
    drawn = sites(spec, 3)
    found = effects(spec, drawn | {"tau": jnp.zeros_like(drawn["tau"])})
    assert np.array_equal(found, jnp.broadcast_to(jnp.exp(drawn["mu"]), found.shape))
    complete = declared({"kind": "complete"})
    one = effects(complete, sites(complete, 3))
    assert np.array_equal(one, jnp.broadcast_to(one[:1], one.shape))
    assert len(np.unique(one)) == OUTCOMES * M


def test_separate_effects_are_as_many_as_there_are_series_and_channels() -> None:
    spec = declared({"kind": "none"})
    drawn = sites(spec, 4)
    assert list(drawn) == ["effect"]
    assert np.array_equal(effects(spec, drawn), drawn["effect"])
    assert len(np.unique(drawn["effect"])) == S * M


@pytest.mark.parametrize("centring", ["non_centred", "centred"])
def test_an_effect_moves_from_its_population_to_its_own_data_as_they_grow(centring: str) -> None:
    """Against the conjugate posterior, mu and tau given: Normal observations of log beta."""
    spec, mu, tau, sd, mean = partially(("location",), centring), math.log(0.2), 0.4, 1.0, math.log(0.6)

    def loss(raw: Array, count: float) -> Array:
        values = {"mu": jnp.full((1, 1), mu), "tau": jnp.full((1, 1), tau), "z": raw.reshape(1, 1, 1)}
        program = partial(sample_effects, spec, 1, 1, (0,))
        prior, _ = log_density(program, (jnp.ones((1, 1)), jnp.zeros(1), jnp.ones(1)), {}, values)
        beta = substitute(program, values)(jnp.ones((1, 1)), jnp.zeros(1), jnp.ones(1))
        return -(prior - 0.5 * count * ((jnp.log(beta[0, 0]) - mean) / sd) ** 2)

    slope = jax.jit(jax.value_and_grad(jax.grad(loss)))
    found = []
    for count in (0.0, 4.0, 400.0):
        first, second = slope(jnp.asarray(0.0), count)
        raw = -float(first / second)  # the mode of a quadratic
        found.append(raw if centring == "centred" else mu + tau * raw)
        assert math.isclose(found[-1], twin.posterior_mean(mu, tau, mean, sd, count), rel_tol=1e-12)
    assert found[0] < found[1] < found[2] < mean
    assert math.isclose(found[2], mean, abs_tol=0.02)


@LAW
@given(
    st.lists(st.lists(st.sampled_from([0.0, 0.0, 1.0, 7.5]), min_size=6, max_size=6), min_size=1, max_size=9),
    st.integers(1, 9),
)
def test_by_data_centres_where_spend_was_in_enough_periods(rows: list[list[float]], active: int) -> None:
    spend = np.asarray(rows).reshape(-1, LOCATIONS, 2)
    found = centred_mask(partially(("location",), "by_data", active).pooling, spend, OUTCOMES)
    for place in range(LOCATIONS):
        for m in range(2):
            periods = len([1 for row in spend.tolist() if row[place][m] > 0.0])
            for outcome in range(OUTCOMES):
                assert float(found[place * OUTCOMES + outcome, m]) == float(periods >= active)


def test_what_is_not_by_data_needs_no_data() -> None:
    spend = np.zeros((5, LOCATIONS, 2))
    assert np.all(np.asarray(centred_mask(partially(("location",), "centred").pooling, spend, OUTCOMES)) == 1.0)
    for spec in (partially(("location",)), declared({"kind": "none"}), declared({"kind": "complete"})):
        assert np.all(np.asarray(centred_mask(spec.pooling, spend, OUTCOMES)) == 0.0)


@pytest.mark.parametrize("active", [0.0, 1.0])
def test_all_or_no_effects_by_data_are_the_two_centrings(active: float) -> None:
    mask = jnp.full((S, M), active)
    drawn = sites(partially(("location",)), 5)
    other = partially(("location",), "centred" if active else "non_centred")
    assert np.array_equal(effects(partially(("location",), "by_data", 1), drawn, mask), effects(other, drawn, mask))


@pytest.mark.parametrize(
    "spec",
    [
        declared({"kind": "none"}),
        declared({"kind": "complete"}),
        *(partially(("location", "product"), c) for c in ("non_centred", "centred")),
    ],
    ids=["none", "complete", "non_centred", "centred"],
)
def test_a_national_channel_has_one_effect_an_outcome_and_the_rest_keep_theirs(spec: MediaSpec) -> None:
    mask, flags = jnp.ones((S, M)), jnp.asarray([0.0, 1.0, 0.0, 0.0])
    drawn = sites(spec, 6, mask, flags)
    found, local = effects(spec, drawn, mask, flags), effects(spec, drawn, mask)
    assert np.array_equal(found[:, :, 1], jnp.broadcast_to(found[:1, :, 1], (LOCATIONS, OUTCOMES)))
    assert len(np.unique(found[0, :, 1])) == OUTCOMES
    others = np.asarray([0, 2, 3])
    assert np.array_equal(found[:, :, others], local[:, :, others])


def test_deviations_that_move_nothing_are_sampled_as_standard_noise() -> None:
    """Else a centred national channel would be a funnel without data."""
    spec, flags = partially(("location",), "centred"), jnp.asarray([0.0, 1.0, 0.0, 0.0])
    drawn = sites(spec, 7, jnp.ones((S, M)), flags)

    def density(mu: Array) -> Array:
        values = drawn | {"mu": mu}
        return log_density(
            partial(sample_effects, spec, LOCATIONS, OUTCOMES, GROUPS), (jnp.ones((S, M)), flags, ONES), {}, values
        )[0]

    slope = jax.grad(density)(drawn["mu"])[:, 1]
    np.testing.assert_allclose(
        slope, -(drawn["mu"][:, 1] - math.log(spec.scale)), rtol=1e-12
    )  # of mu's own prior alone


@pytest.mark.parametrize(
    ("pooling", "message"),
    [
        ({"kind": "partial", "over": [], "tau_scale": 1.0, "centring": {"kind": "centred"}}, "at least 1 item"),
        (
            {"kind": "partial", "over": ["location", "location"], "tau_scale": 1.0, "centring": {"kind": "centred"}},
            "expected each dimension once, found location, location",
        ),
        ({"kind": "partial", "over": ["store"], "tau_scale": 1.0, "centring": {"kind": "centred"}}, "location"),
        ({"kind": "partial", "over": ["location"], "tau_scale": 1.0, "centring": {"kind": "by_data"}}, "active"),
        ({"kind": "complete", "tau_scale": 1.0}, "tau_scale"),
    ],
)
def test_pooling_that_says_too_little_or_too_much_is_refused(pooling: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        declared(pooling)


@pytest.mark.parametrize("pooling", ["complete", "none", "location", "campaign"])
def test_the_unit_that_effects_are_sampled_in_changes_no_prior(pooling: str) -> None:
    spec = declared({"kind": pooling}) if pooling in ("complete", "none") else partially((pooling,))
    unit = jnp.asarray([0.5, 2.0, 0.5, 3.0])  # campaigns of one channel have one unit, and so has their population
    population = jnp.log(unit[jnp.asarray([0, 1, 3])] if pooling == "campaign" else unit)
    drawn, jacobian = sites(spec, 3), 0.0
    if "effect" in drawn:
        moved = {"effect": drawn["effect"] * unit}
        jacobian = float(jnp.sum(jnp.log(jnp.broadcast_to(unit, drawn["effect"].shape))))
    else:
        moved = drawn | {"mu": drawn["mu"] + population}
    program = partial(sample_effects, spec, LOCATIONS, OUTCOMES, GROUPS)
    plain, other = (
        float(log_density(program, (NONE, LOCAL, each), {}, values)[0])
        for each, values in ((ONES, drawn), (unit, moved))
    )
    assert math.isclose(plain, other + jacobian, rel_tol=1e-12)
    beta = substitute(program, moved)(NONE, LOCAL, unit)
    np.testing.assert_allclose(np.ravel(beta), np.ravel(effects(spec, drawn)), rtol=1e-12)
