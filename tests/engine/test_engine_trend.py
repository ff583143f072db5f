"""Every kind of trend meets the same laws; each follows a path drawn period by period."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax import Array
from numpyro.handlers import seed, substitute, trace
from numpyro.infer.util import initialize_model
from pydantic import TypeAdapter, ValidationError

from engine import trend
from engine.errors import SpecError
from engine.spec_trend import Piecewise, Trend
from engine.trend import TRENDS, TrendBasis, TrendParameters
from tests import reference_trend as twin

YEAR = 52.0
ORIGIN, HORIZON = 104, 26
SPAN = ORIGIN + HORIZON
SERIES = 3
KEY = jax.random.key(5)
HELD = 0.7  # every scale, where scales are held still
NEAR = 0.02 * HELD**2  # how near the basis of a Gaussian process is to its kernel

HSGP = {"scale": 0.3, "lengthscale": 1.0, "lengthscale_log_sd": 0.3, "functions": 22, "boundary": 3.0}
DECLARED: dict[str, dict[str, Any]] = {
    "none": {"kind": "none"},
    "linear": {"kind": "linear", "scale": 0.1},
    "damped": {"kind": "damped", "scale": 0.1, "damping": 0.9},
    "local_level": {"kind": "local_level", "scale": 0.1, "knot": 4},
    "local_linear": {"kind": "local_linear", "scale": 0.1, "level_scale": 0.1, "slope_scale": 0.2, "knot": 4},
    "piecewise": {"kind": "piecewise", "scale": 0.1, "knot": 8, "share": 0.8, "change_scale": 0.1},
    "bspline": {"kind": "bspline", "scale": 0.1, "degree": 3, "knot": 8},
    "hsgp": {"kind": "hsgp", "kernel": "matern_5_2", **HSGP},
}
VARIANTS = [*DECLARED.values(), {"kind": "hsgp", "kernel": "squared_exponential", **HSGP}]


def declared(fields: dict[str, Any]) -> Trend:
    made: Trend = TypeAdapter(Trend).validate_python(fields)
    return made


ALL = [declared(fields) for fields in VARIANTS]
each_kind = pytest.mark.parametrize("of", ALL, ids=[f"{v['kind']}-{v.get('kernel', '')}" for v in VARIANTS])


class Mixing(NamedTuple):
    """The trend as a linear function of independent standardised effects, its scales held still."""

    weights: np.ndarray  # (K, effect) of the first series
    variance: np.ndarray  # (effect,)


@lru_cache
def sites(of: Trend, span: int) -> dict[str, Any]:
    basis = trend.basis(of, span, ORIGIN, YEAR)
    found: dict[str, Any] = trace(seed(lambda: trend.sample(of, basis, 1), KEY)).get_trace()
    return found


def linear(site: dict[str, Any]) -> bool:
    """Whether a site is an effect, of mean 0, and not a scale."""
    return site["fn"].support is dist.constraints.real


@lru_cache
def mixing(of: Trend, span: int) -> Mixing:
    basis = trend.basis(of, span, ORIGIN, YEAR)
    scales = {n: jnp.full(s["value"].shape, HELD) for n, s in sites(of, span).items() if not linear(s)}
    effects = {n: s for n, s in sites(of, span).items() if linear(s)}
    if not effects:
        return Mixing(np.zeros((0, 0)), np.zeros(0))

    def first(values: dict[str, Array]) -> Array:
        return substitute(seed(lambda: trend.sample(of, basis, 1), KEY), {**scales, **values})().trend[:, 0]

    slopes = jax.jit(jax.jacfwd(first))({n: jnp.zeros_like(s["value"]) for n, s in effects.items()})
    weights = [np.asarray(slopes[n]).reshape(basis.columns.shape[1], -1) for n in effects]
    variance = [np.broadcast_to(s["fn"].variance, s["value"].shape).ravel() for s in effects.values()]
    return Mixing(np.hstack(weights), np.concatenate(variance))


@lru_cache
def covariance(of: Trend, span: int, origin: int) -> np.ndarray:
    """(span, span) of the prior, the scales held still."""
    weights, variance = mixing(of, span)
    mixed = np.asarray(trend.basis(of, span, origin, YEAR).columns) @ weights
    return (mixed * variance) @ mixed.T


def spread(cov: np.ndarray, origin: int) -> np.ndarray:
    """(span,) variance of the distance of each period's trend from that of the last known one."""
    last = origin - 1
    return np.diag(cov) - 2.0 * cov[:, last] + cov[last, last]


def test_every_declared_kind_is_registered() -> None:
    kinds = {get_args(each.model_fields["kind"].annotation)[0] for each in get_args(get_args(Trend)[0])}
    assert kinds == set(TRENDS) == set(DECLARED)


@each_kind
@pytest.mark.parametrize("origin", [1, 60, SPAN])
def test_shapes_follow_from_the_span_and_not_from_the_origin(of: Trend, origin: int) -> None:
    usual, basis = trend.basis(of, SPAN, ORIGIN, YEAR), trend.basis(of, SPAN, origin, YEAR)
    assert [x.shape for x in basis] == [x.shape for x in usual]
    assert [x.dtype for x in basis] == [jnp.float64, jnp.float64]
    assert bool(jnp.all(jnp.isfinite(basis.columns)))
    np.testing.assert_allclose(jnp.sum(basis.columns[:origin], axis=0), 0.0, atol=1e-9)


@each_kind
@pytest.mark.parametrize("origin", [30, ORIGIN])
def test_how_far_the_forecast_goes_says_nothing_of_what_is_known(of: Trend, origin: int) -> None:
    near, far = covariance(of, SPAN, origin), covariance(of, SPAN + HORIZON, origin)
    tolerance = 4.0 * NEAR if of.kind == "hsgp" else 1e-12  # a longer span has other basis functions
    np.testing.assert_allclose(far[:origin, :origin], near[:origin, :origin], atol=tolerance, rtol=0.0)


@each_kind
@pytest.mark.parametrize("origin", [20, 77, ORIGIN])
def test_bands_widen_with_the_horizon_for_every_kind_but_none(of: Trend, origin: int) -> None:
    wide = spread(covariance(of, SPAN, origin), origin)[origin : origin + HORIZON]
    if of.kind == "none":
        assert wide.tolist() == [0.0] * HORIZON
    else:
        assert wide[0] > 0.0
        assert np.all(np.diff(wide) > 0.0)
        assert wide[-1] > 2.0 * wide[0]


@each_kind
def test_draws_of_the_prior_spread_as_the_basis_says_and_wider_with_the_horizon(of: Trend) -> None:
    whole, draws = trend.basis(of, SPAN, ORIGIN, YEAR), 4000
    basis = whole._replace(columns=whole.columns[jnp.asarray([ORIGIN - 1, ORIGIN, SPAN - 1])])
    scales = {n: s["fn"] for n, s in sites(of, SPAN).items() if not linear(s)}

    @jax.jit
    @jax.vmap
    def ahead(key: Array, scale: dict[str, Array]) -> Array:
        path = trend.effect(substitute(seed(lambda: trend.sample(of, basis, 1), key), scale)(), basis)[:, 0]
        return path[1:] - path[0]

    keys = jax.random.split(KEY, draws)
    held = np.asarray(ahead(keys, {n: jnp.full((draws, 1), HELD) for n in scales}))
    exact = spread(covariance(of, SPAN, ORIGIN), ORIGIN)[[ORIGIN, SPAN - 1]]
    # the variance of a square is 2 variances squared of a Normal and 5 of a Laplace
    np.testing.assert_allclose(np.mean(held**2, axis=0), exact, rtol=4.0 * (5.0 / draws) ** 0.5)
    if of.kind != "none":
        free = np.std(ahead(keys, {n: fn.sample(KEY, (draws,)) for n, fn in scales.items()}), axis=0)
        assert free[1] > 1.2 * free[0] > 0.0


MEAN_SQUARES = {  # of the coefficients in turn, under the declared priors
    "linear": [0.01],
    "damped": [0.01],
    "local_level": [0.01] * 33,
    "local_linear": [0.01] + [0.01] * 33 + [0.04] * 32,
    "piecewise": [0.01] + [0.02] * 16,  # a Laplace's variance is twice its scale squared
    "bspline": [0.01] * 19,
}


@pytest.mark.parametrize("kind", MEAN_SQUARES)
def test_coefficients_are_of_the_size_declared(kind: str) -> None:
    of = declared(DECLARED[kind])
    basis, series = trend.basis(of, SPAN, ORIGIN, YEAR), 20_000
    drawn = np.asarray(seed(lambda: trend.sample(of, basis, series), KEY)().trend)
    # the fourth moment of a Normal times a half Normal is 9 variances squared, of a Laplace 6
    np.testing.assert_allclose(np.mean(drawn**2, axis=1), MEAN_SQUARES[kind], rtol=5.0 * (8.0 / series) ** 0.5)


def test_a_process_has_the_lengthscale_and_the_spread_declared() -> None:
    of, series = ALL[-1], 20_000
    basis = trend.basis(of, SPAN, ORIGIN, YEAR)
    program = seed(lambda: trend.sample(of, basis, series), KEY)
    drawn = {n: np.asarray(s["value"]) for n, s in trace(program).get_trace().items()}
    assert np.median(drawn["trend_lengthscale"]) == pytest.approx(1.0, abs=0.02)
    assert np.std(np.log(drawn["trend_lengthscale"])) == pytest.approx(0.3, abs=0.01)
    assert np.mean(drawn["trend_amplitude"] ** 2) == pytest.approx(0.09, rel=0.05)


@each_kind
def test_gradients_are_finite(of: Trend) -> None:
    basis = trend.basis(of, SPAN, ORIGIN, YEAR)
    y = jnp.sin(jnp.arange(SPAN * SERIES) * 0.1).reshape(SPAN, SERIES)

    def model() -> None:
        level = numpyro.sample("level", dist.Normal(0.0, 1.0).expand([SERIES]))
        mean = level + trend.effect(trend.sample(of, basis, SERIES), basis)
        numpyro.factor("likelihood", jnp.sum(-0.5 * (y[:ORIGIN] - mean[:ORIGIN]) ** 2))

    info = initialize_model(KEY, model, validate_grad=False)
    slopes = jax.jit(jax.grad(info.potential_fn))
    for value in (0.0, -8.0, 4.0):
        at = jax.tree.map(lambda x, v=value: jnp.full_like(x, v), info.param_info.z)
        assert all(bool(jnp.all(jnp.isfinite(slope))) for slope in jax.tree.leaves(slopes(at)))


@each_kind
def test_the_same_key_gives_the_same_bytes(of: Trend) -> None:
    def once() -> bytes:
        basis = trend.basis(of, SPAN, ORIGIN, YEAR)

        def drawn(key: Array, basis: TrendBasis) -> Array:
            return trend.effect(seed(lambda: trend.sample(of, basis, SERIES), key)(), basis)

        return np.asarray(jax.jit(drawn)(KEY, basis)).tobytes()

    assert once() == once()


@each_kind
def test_a_scale_is_given_exactly_where_effects_are_normal_and_their_sd_is_declared(of: Trend) -> None:
    scale = trend.linear_scale(of)
    basis = trend.basis(of, SPAN, ORIGIN, YEAR)
    normal = all(isinstance(s["fn"].base_dist, dist.Normal) for s in sites(of, SPAN).values())
    assert (scale is not None) == normal
    if scale is not None:
        assert scale.shape == (basis.columns.shape[1],)
        mixed = mixing(of, SPAN)
        np.testing.assert_allclose((mixed.weights**2 * mixed.variance).sum(axis=1), scale**2, rtol=1e-12)


def path(of: Trend, coefficients: list[float], span: int = SPAN, origin: int = ORIGIN) -> np.ndarray:
    """(span,) of one series."""
    basis = trend.basis(of, span, origin, YEAR)
    return np.asarray(trend.effect(TrendParameters(jnp.asarray(coefficients)[:, None]), basis))[:, 0]


def numbers(count: int) -> list[float]:
    """Of either sign, no two alike."""
    return [((37 * i) % 101 - 50) / 100.0 for i in range(1, count + 1)]


@pytest.mark.parametrize("origin", [30, ORIGIN])
def test_each_trend_follows_the_path_drawn_period_by_period(origin: int) -> None:
    size = {kind: trend.basis(declared(of), SPAN, origin, YEAR).columns.shape[1] for kind, of in DECLARED.items()}
    some = {kind: numbers(count) for kind, count in size.items()}
    steps, knots = size["local_linear"] // 2, range(4, SPAN - 1, 4)
    slope, level, turns = (
        some["local_linear"][0],
        *(
            some["local_linear"][1 : steps + 1],
            some["local_linear"][steps + 1 :],
        ),
    )
    wanders = twin.walk(level, 4, SPAN, YEAR)
    scaled = [turn * (4 / YEAR) ** 0.5 for turn in turns]
    slopes = twin.turning_line(slope, dict(zip(knots, scaled, strict=True)), SPAN, YEAR)
    bends = {c: v for c, v in zip(range(8, SPAN - 1, 8), some["piecewise"][1:], strict=True) if turning(c, origin)}
    expected = {
        "none": [0.0] * SPAN,
        "linear": twin.line(some["linear"][0], SPAN, origin, YEAR, 1.0),
        "damped": twin.line(some["damped"][0], SPAN, origin, YEAR, 0.9),
        "local_level": twin.walk(some["local_level"], 4, SPAN, YEAR),
        "local_linear": [a + b for a, b in zip(wanders, slopes, strict=True)],
        "piecewise": twin.turning_line(some["piecewise"][0], bends, SPAN, YEAR),
        "bspline": twin.smooth_walk(some["bspline"], 3, 8, SPAN, YEAR),
    }
    for kind, slow in expected.items():
        found = path(declared(DECLARED[kind]), some[kind], SPAN, origin)
        np.testing.assert_allclose(found, twin.centred(slow, origin), atol=1e-11, err_msg=kind)


def turning(knot: int, origin: int) -> bool:
    """In the first 80 % of the known periods, or from the last of them on."""
    return knot < 0.8 * origin or knot >= origin - 1


def test_a_piecewise_line_turns_neither_in_the_last_known_periods_nor_differently_after_them() -> None:
    of = Piecewise(kind="piecewise", scale=0.1, knot=1, share=0.75, change_scale=0.1)
    columns = np.asarray(trend.basis(of, 60, 40, YEAR).columns)[:, 1:]
    turns = np.abs(np.diff(columns, n=2, axis=0)) > 1e-9  # (58, 58): at period row + 1, by the knot column + 1
    assert turns.any(axis=1).tolist() == [c < 30 or c >= 39 for c in range(1, 59)]
    sizes = np.diff(columns, n=2, axis=0)[turns]
    np.testing.assert_allclose(sizes, 1.0 / YEAR, rtol=1e-6)


@pytest.mark.parametrize("kernel", ["matern_5_2", "squared_exponential"])
def test_a_gaussian_process_spreads_from_the_origin_as_its_kernel_says(kernel: str) -> None:
    found = spread(covariance(declared({"kind": "hsgp", "kernel": kernel, **HSGP}), SPAN, ORIGIN), ORIGIN)
    exact = [2.0 * (HELD**2 - twin.kernel(kernel, HELD, HELD, (t - ORIGIN + 1) / YEAR)) for t in range(SPAN)]
    np.testing.assert_allclose(found, exact, atol=4.0 * NEAR)


def test_a_process_that_does_not_fit_is_refused_before_anything_is_sampled() -> None:
    of = declared({"kind": "hsgp", "kernel": "matern_5_2", **HSGP, "functions": 5})
    with pytest.raises(SpecError, match=r"model.trend.functions: expected at least"):
        trend.basis(of, SPAN, ORIGIN, YEAR)


@pytest.mark.parametrize("span", [2, 3])
@each_kind
def test_the_shortest_history_has_a_trend_or_is_refused(of: Trend, span: int) -> None:
    if of.kind == "hsgp":  # its lengthscale is a year
        with pytest.raises(SpecError, match=r"model.trend.boundary"):
            trend.basis(of, span, 1, YEAR)
        return
    basis = trend.basis(of, span, 1, YEAR)
    drawn = seed(lambda: trend.sample(of, basis, 2), KEY)()
    assert drawn.trend.shape == (basis.columns.shape[1], 2)


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("linear", "damping", 0.9),  # another kind's field
        ("damped", "damping", 1.0),
        ("local_level", "knot", 0),
        ("local_linear", "slope_scale", 0.0),
        ("piecewise", "share", 0.0),
        ("piecewise", "share", 1.1),
        ("bspline", "degree", 0),
        ("hsgp", "boundary", 1.0),
        ("hsgp", "kernel", "matern"),
    ],
)
def test_what_a_kind_cannot_be_is_refused(kind: str, field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        declared({**DECLARED[kind], field: value})
