"""Laws of media effects, beside slow twins: what is carried, saturated, reached, joint, and what wanders."""

from __future__ import annotations

import math
import random
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
from numpyro.handlers import seed, trace

from engine import media
from engine.adstock import ADSTOCKS, carried, lagged
from engine.errors import SpecError
from engine.media import DIMS, MediaData, MediaParameters
from engine.prng import stream
from engine.saturation import SATURATIONS, saturated
from engine.spec import Spec
from tests import reference_media as twin
from tests import small

TIME, SPAN, PLACES, M, LAGS = 14, 18, 2, 2, 4
OUTCOMES, PAIRS = 2, ((0, 1),)
ORDERS = ("adstock_first", "saturation_first")
LAW = settings(max_examples=15, deadline=None, derandomize=True)
WALK = {"kind": "random_walk", "scale": 0.4, "knot": 3}
PROCESS = {
    "kind": "hsgp", "kernel": "matern_5_2", "scale": 0.4, "lengthscale": 0.5, "lengthscale_log_sd": 0.2,
    "functions": 20, "boundary": 4.0,
}  # fmt: skip
SYNERGY = [{"first": "tv", "second": "search", "sd": 0.3}]
REACHED = [
    {"name": "tv", "column": "TV", "unit": "people", "frequency": "TV frequency"},
    {"name": "search", "column": "Search", "unit": "USD"},
]
FURTHER = [{"name": "visits", "column": "Visits", "unit": "people"}]

ADSTOCK: dict[str, dict[str, float]] = {
    "geometric": {"alpha_a": 3.0, "alpha_b": 3.0},
    "delayed": {"alpha_a": 3.0, "alpha_b": 3.0, "theta_a": 1.0, "theta_b": 1.0},
    "weibull_pdf": {"k_shape": 4.0, "k_rate": 2.0, "lam_shape": 4.0, "lam_rate": 2.0},
    "weibull_cdf": {"k_shape": 4.0, "k_rate": 2.0, "lam_shape": 4.0, "lam_rate": 2.0},
    "binomial": {"alpha_a": 3.0, "alpha_b": 3.0},
}
SATURATION: dict[str, dict[str, float]] = {
    "logistic": {"shape": 2.0, "rate": 1.0},
    "logistic_symmetric": {"shape": 2.0, "rate": 1.0},
    "hill": {"k_median": 1.0, "k_sd": 0.5, "s_median": 1.5, "s_sd": 0.5},
    "tanh": {"c_median": 1.0, "c_sd": 0.5},
    "michaelis_menten": {"k_median": 1.0, "k_sd": 0.5},
    "root": {"p_a": 3.0, "p_b": 3.0},
}


def declared(outcomes: int = 1, **changes: object) -> Spec:
    """Of two channels at two places, by the names of the media part."""
    further = FURTHER if outcomes == 2 else []
    return small.spec(data__further=further, **{f"model__media__{name}": value for name, value in changes.items()})


def spends(number: int, quiet: float = 0.3) -> np.ndarray:
    """(span, place, channel) scaled spend, some of it none."""
    draw = random.Random(number)
    values = [0.0 if draw.random() < quiet else draw.uniform(0.1, 3.0) for _ in range(SPAN * PLACES * M)]
    return np.asarray(values).reshape(SPAN, PLACES, M)


def data_of(spec: Spec, spend: np.ndarray, frequency: np.ndarray | None = None, origin: int = TIME) -> MediaData:
    lags = spec.model.media.adstock.max_lag
    shown = np.zeros((SPAN, PLACES, 0)) if frequency is None else frequency
    return media.build(spec, lagged(jnp.asarray(spend), lags), jnp.asarray(shown), spend[:origin], SPAN, origin)


def drawn(spec: Spec, data: MediaData, number: int) -> MediaParameters:
    program = seed(media.sample, stream(number, "media"))
    found: MediaParameters = program(spec.model.media, data, len(spec.data.outcomes), (0, 1))
    return found


def total(spec: Spec, p: MediaParameters, data: MediaData, pairs: media.Pairs = ()) -> Array:
    return media.total(spec.model.media, p, data, media.response(spec.model.media, p, data), pairs)


def effect(spec: Spec, p: MediaParameters, data: MediaData) -> Array:
    return media.effect(spec.model.media, p, data, media.response(spec.model.media, p, data))


def path(spend: np.ndarray, place: int, channel: int) -> list[float]:
    found: list[float] = spend[:, place, channel].tolist()
    return found


def slow(spend: np.ndarray, p: MediaParameters, place: int, m: int, order: str = "adstock_first") -> list[float]:
    """f of one channel at one place: geometric and logistic."""
    alpha, lam, x = float(p.adstock[0, m]), float(p.saturation[0, m]), path(spend, place, m)
    if order == "adstock_first":
        return [twin.saturation(value, lam) for value in twin.adstock(x, alpha, LAGS)]
    return twin.adstock([twin.saturation(value, lam) for value in x], alpha, LAGS)


def test_the_default_is_beta_times_saturated_carried_spend_to_the_bit() -> None:
    spec = declared()
    data = data_of(spec, spends(1))
    p = drawn(spec, data, 1)

    def textbook(p: MediaParameters, data: MediaData) -> Array:
        weight = jnp.exp(jnp.arange(LAGS) * jnp.log(p.adstock[0])[:, None])
        left = jnp.sum(data.spend * (weight / jnp.sum(weight, axis=-1, keepdims=True)), axis=-1)
        return p.beta * (1.0 - jnp.exp(-p.saturation[0] * left))

    assert np.array_equal(jax.jit(partial(effect, spec))(p, data), jax.jit(textbook)(p, data))
    summed = jax.jit(lambda p, data: jnp.sum(textbook(p, data), axis=-1))
    assert np.array_equal(jax.jit(partial(total, spec))(p, data), summed(p, data))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("number", range(3))
def test_either_order_agrees_with_the_textbook(order: str, number: int) -> None:
    spec, spend = declared(order=order), spends(number)
    data = data_of(spec, spend)
    p = drawn(spec, data, number)
    found = media.response(spec.model.media, p, data)
    for place in range(PLACES):
        for m in range(M):
            np.testing.assert_allclose(found[:, place, m], slow(spend, p, place, m, order), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("order", ORDERS)
def test_series_are_outcomes_within_locations(order: str) -> None:
    spec = declared(OUTCOMES, order=order)
    data = data_of(spec, spends(2))
    p = drawn(spec, data, 2)
    assert p.beta.shape == (PLACES * OUTCOMES, M)
    found, transformed = effect(spec, p, data), media.response(spec.model.media, p, data)
    for place in range(PLACES):
        for outcome in range(OUTCOMES):
            s = place * OUTCOMES + outcome
            assert np.array_equal(found[:, s], p.beta[s] * transformed[:, place])


def test_reach_at_constant_frequency_is_carried_reach_alone() -> None:
    spec, spend = small.spec(data__media=REACHED), spends(3)
    data = data_of(spec, spend, np.ones((SPAN, PLACES, M)))
    p = drawn(spec, data, 3)
    found = media.response(spec.model.media, p, data)
    for place in range(PLACES):
        reach = twin.adstock(path(spend, place, 0), float(p.adstock[0, 0]), LAGS)
        once = twin.saturation(1.0, float(p.saturation[0, 0]))
        np.testing.assert_allclose(found[:, place, 0], [once * value for value in reach], rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(found[:, place, 1], slow(spend, p, place, 1), rtol=1e-12, atol=1e-15)  # plain spend
    twice = media.response(spec.model.media, p, data_of(spec, 2.0 * spend, np.ones((SPAN, PLACES, M))))
    np.testing.assert_allclose(twice[:, :, 0], 2.0 * found[:, :, 0], rtol=1e-12)


@pytest.mark.parametrize("order", ORDERS)
def test_reach_and_frequency_agree_with_the_textbook(order: str) -> None:
    spec = small.spec(data__media=REACHED, model__media__order=order)
    spend, frequency = spends(4), spends(5, quiet=0.0)
    data = data_of(spec, spend, frequency)
    p = drawn(spec, data, 4)
    found = media.response(spec.model.media, p, data)
    alpha, lam = float(p.adstock[0, 0]), float(p.saturation[0, 0])
    for place in range(PLACES):
        contacts = [
            r * twin.saturation(f, lam) for r, f in zip(path(spend, place, 0), path(frequency, place, 0), strict=True)
        ]
        np.testing.assert_allclose(found[:, place, 0], twin.adstock(contacts, alpha, LAGS), rtol=1e-12, atol=1e-15)


def test_more_contacts_of_the_same_people_do_ever_less() -> None:
    spec = small.spec(data__media=REACHED)
    reach, levels = np.ones((SPAN, PLACES, M)), (1.0, 2.0, 3.0)
    p = drawn(spec, data_of(spec, reach), 5)
    found = [float(media.response(spec.model.media, p, data_of(spec, reach, f * reach))[-1, 0, 0]) for f in levels]
    assert found[0] < found[1] < found[2]
    assert found[2] - found[1] < found[1] - found[0]


@pytest.mark.parametrize("silent", range(M))
def test_channels_add_nothing_together_where_one_is_silent(silent: int) -> None:
    spec, spend = declared(OUTCOMES, interactions=SYNERGY), spends(6, quiet=0.0)
    spend[:, :, silent] = 0.0
    data = data_of(spec, spend)
    p = drawn(spec, data, 6)
    joint = media.interaction_effect(p, media.response(spec.model.media, p, data), PAIRS)
    assert joint.shape == (SPAN, PLACES * OUTCOMES)
    assert not np.any(joint)


def test_an_interaction_is_delta_times_both_and_comes_on_top() -> None:
    spec, spend = declared(OUTCOMES, interactions=SYNERGY), spends(7)
    data = data_of(spec, spend)
    p = drawn(spec, data, 7)
    assert p.interaction.shape == (1, OUTCOMES)
    joint = media.interaction_effect(p, media.response(spec.model.media, p, data), PAIRS)
    for place in range(PLACES):
        both = [a * b for a, b in zip(slow(spend, p, place, 0), slow(spend, p, place, 1), strict=True)]
        for outcome in range(OUTCOMES):
            expected = [float(p.interaction[0, outcome]) * value for value in both]
            np.testing.assert_allclose(joint[:, place * OUTCOMES + outcome], expected, rtol=1e-12, atol=1e-15)
    alone = jnp.sum(effect(spec, p, data), axis=-1)
    np.testing.assert_allclose(total(spec, p, data, PAIRS), alone + joint, rtol=1e-12, atol=1e-15)


def test_the_prior_of_an_interaction_is_as_wide_as_declared() -> None:
    spec = declared(OUTCOMES, interactions=SYNERGY)
    data, count = data_of(spec, spends(1)), 2000
    keys = jax.random.split(stream(8, "media"), count)
    draw = jax.jit(lambda key: seed(media.sample, key)(spec.model.media, data, 2, (0, 1)).interaction)
    found = np.asarray(jax.lax.map(draw, keys)).ravel()
    assert abs(float(np.sqrt(np.mean(found**2))) - 0.3) < 5.0 * 0.3 / math.sqrt(2.0 * found.size)


@pytest.mark.parametrize("variation", [WALK, PROCESS], ids=lambda v: str(v["kind"]))
def test_no_steps_is_a_constant_effect(variation: dict[str, Any]) -> None:
    spec, plain = declared(variation=variation), declared()
    data = data_of(spec, spends(9))
    p = drawn(spec, data, 9)
    assert p.variation.shape == (data.variation.shape[1], M)
    assert np.any(media.walk(p, data) != 0.0)
    still = p._replace(variation=jnp.zeros_like(p.variation))
    assert np.array_equal(effect(spec, still, data), effect(plain, still, data))


@pytest.mark.parametrize("variation", [WALK, PROCESS], ids=lambda v: str(v["kind"]))
def test_beta_is_the_geometric_mean_of_a_wandering_effect(variation: dict[str, Any]) -> None:
    spec = declared(variation=variation)
    data = data_of(spec, np.ones((SPAN, PLACES, M)))
    p = drawn(spec, data, 10)
    transformed = media.response(spec.model.media, p, data)
    factor = np.asarray(effect(spec, p, data) / (p.beta * transformed))  # the same at every place
    np.testing.assert_allclose(factor[:, 0], factor[:, 1], rtol=1e-12)
    np.testing.assert_allclose(np.mean(np.log(factor[:TIME, 0]), axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(factor[:, 0], np.exp(np.asarray(media.walk(p, data))), rtol=1e-12)


def test_a_walk_climbs_its_steps_in_equal_parts() -> None:
    spec = declared(variation=WALK)
    data = data_of(spec, spends(1))
    v = jnp.zeros_like(drawn(spec, data, 11).variation).at[1, 0].set(1.0)
    p = drawn(spec, data, 11)._replace(variation=v)
    w = np.asarray(media.walk(p, data))
    assert not np.any(w[:, 1])
    climbed = [min(max((t - 3) / 3, 0.0), 1.0) * math.sqrt(3 / 13) for t in range(SPAN)]
    middle = math.fsum(climbed[:TIME]) / TIME
    np.testing.assert_allclose(w[:, 0], [value - middle for value in climbed], rtol=1e-12, atol=1e-15)


def matern(distance: float, lengthscale: float) -> float:
    """Rasmussen & Williams (2006), eq. 4.17."""
    u = math.sqrt(5.0) * distance / lengthscale
    return (1.0 + u + u * u / 3.0) * math.exp(-u)


@pytest.mark.parametrize(
    ("variation", "variance"),
    [
        (WALK, 0.4**2 * 3 / 13),  # of one step of three periods, where thirteen have the sd that is declared
        (PROCESS | {"lengthscale_log_sd": 0.01}, 2.0 * 0.4**2 * (1.0 - matern(3 / 13, 0.5))),
    ],
    ids=["random_walk", "hsgp"],
)
def test_effects_wander_as_far_as_declared(variation: dict[str, Any], variance: float) -> None:
    spec, count = declared(variation=variation), 4000
    data = data_of(spec, spends(1))
    draw = jax.jit(lambda key: media.walk(seed(media.sample, key)(spec.model.media, data, 1, (0, 1)), data))
    walks = np.asarray(jax.lax.map(draw, jax.random.split(stream(17, "media"), count)))
    found = float(np.mean((walks[:, 9] - walks[:, 6]) ** 2))
    # sd^2 z^2 has the mean 1 and the variance E[sd^4] E[z^4] - 1 = 8
    assert abs(found / variance - 1.0) < 5.0 * math.sqrt(8.0 / (count * M))


@pytest.mark.parametrize("variation", [WALK, PROCESS], ids=lambda v: str(v["kind"]))
def test_bands_of_a_wandering_effect_widen_past_the_origin_and_shapes_do_not_depend_on_it(
    variation: dict[str, Any],
) -> None:
    spec = declared(variation=variation)
    early, late = data_of(spec, spends(1), origin=8), data_of(spec, spends(1), origin=TIME)
    assert [x.shape for x in early] == [x.shape for x in late]
    draw = jax.jit(lambda key: media.walk(seed(media.sample, key)(spec.model.media, early, 1, (0, 1)), early))
    walks = np.asarray(jax.lax.map(draw, jax.random.split(stream(12, "media"), 500)))
    spread = np.sqrt(np.mean(walks**2, axis=(0, 2)))
    assert spread[4] < spread[9] < spread[13] < spread[17]


@LAW
@given(st.integers(0, 10**6), st.integers(0, SPAN - 1), st.integers(0, PLACES - 1), st.integers(0, M - 1))
def test_more_spend_never_means_less_effect_nor_any_before_it(number: int, when: int, place: int, m: int) -> None:
    spend = spends(number)
    more = spend.copy()
    more[when, place, m] += 0.5
    before, after = (np.array(EFFECT(P, data_of(SPEC, x))) for x in (spend, more))
    assert np.array_equal(after[:when], before[:when])
    assert np.all(after >= before)
    assert after[when, place, m] > before[when, place, m]
    after[:, place, m] = before[:, place, m]
    assert np.array_equal(after, before)


SPEC = declared()
P = drawn(SPEC, data_of(SPEC, spends(0)), 13)
EFFECT = jax.jit(partial(effect, SPEC))


def test_every_registered_kind_is_met_here() -> None:
    assert set(ADSTOCK) == set(ADSTOCKS)
    assert set(SATURATION) == set(SATURATIONS)


KINDS = [(order, "geometric", kind) for order in ORDERS for kind in SATURATION]
KINDS += [("saturation_first", kind, "hill") for kind in ADSTOCK if kind != "geometric"]


@pytest.mark.parametrize(("order", "adstock", "saturation"), KINDS)
def test_any_composition_has_named_dimensions_and_finite_gradients_at_no_spend(
    order: str, adstock: str, saturation: str
) -> None:
    spec = small.spec(
        data__media=REACHED, data__further=FURTHER, model__media__order=order, model__media__interactions=SYNERGY,
        model__media__variation=WALK,
        model__media__adstock={"kind": adstock, "max_lag": LAGS, "shared": True, **ADSTOCK[adstock]},
        model__media__saturation={"kind": saturation, "shared": False, **SATURATION[saturation]},
    )  # fmt: skip
    spend = spends(14)
    spend[:, 0] = 0.0
    data = data_of(spec, spend, np.where(spend > 0.0, 1.0, 0.0))
    p = drawn(spec, data, 14)
    for name in MediaParameters._fields:
        assert getattr(p, name).ndim == len(DIMS[name])
    value, slope = jax.jit(jax.value_and_grad(lambda p: jnp.sum(total(spec, p, data, PAIRS) ** 2)))(p)
    assert float(value) > 0.0
    for name, each in slope._asdict().items():
        assert np.all(np.isfinite(each)), name
        assert np.any(each != 0.0), name


def test_parts_that_are_left_out_are_neither_sampled_nor_stored() -> None:
    data = data_of(SPEC, spends(0))
    seen = trace(seed(partial(media.sample, SPEC.model.media), stream(1, "media"))).get_trace(data, 1, (0, 1))
    assert sorted(seen) == ["adstock_alpha", "mu", "saturation_lam", "tau", "z"]
    assert (P.interaction.shape, P.variation.shape) == ((0, 1), (0, M))
    assert (data.variation.shape, data.waves.shape, data.frequency.shape) == ((SPAN, 0), (0,), (SPAN, PLACES, 0))


def test_a_process_that_its_basis_cannot_show_is_refused() -> None:
    spec = declared(variation=PROCESS | {"functions": 2})
    with pytest.raises(SpecError, match=r"model.media.variation.functions: expected at least"):
        data_of(spec, spends(1))


@pytest.mark.parametrize(
    ("interactions", "message"),
    [
        ([{"first": "tv", "second": "tv", "sd": 1.0}], "expected two channels, found tv twice"),
        (
            [{"first": "tv", "second": "search", "sd": 1.0}, {"first": "search", "second": "tv", "sd": 1.0}],
            "expected each pair once, found search and tv 2 times",
        ),
        ([{"first": "tv", "second": "radio", "sd": 1.0}], "found radio"),
        ([{"first": "tv", "second": "search", "sd": 0.0}], "greater than 0"),
    ],
)
def test_interactions_that_make_no_pair_are_refused(interactions: Sequence[dict[str, Any]], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        declared(interactions=list(interactions))


def test_carried_spend_needs_no_lagging_twice() -> None:
    """Saturation before carry-over is the same whether lags are taken of spend or of what is saturated."""
    spec = declared(order="saturation_first")
    data = data_of(spec, spends(15))
    p = drawn(spec, data, 15)
    slowly = carried(spec.model.media.adstock, saturated(
        spec.model.media.saturation, data.spend, p.saturation[..., None]), p.adstock)  # fmt: skip
    np.testing.assert_allclose(media.response(spec.model.media, p, data), slowly, rtol=1e-14, atol=1e-16)
