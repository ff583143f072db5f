"""The media model, composed of the parts that a specification declares, as one function of (spec, design).

    y[t,s] = level[s] + trend[t,s] + seasons[t,o] + events[t,o] + shifts[t,s] + controls[t,s]
             + media[t,s] - mean of media[.,s] over the known periods + mediators[t,s]
             + Psi[t] y[t] + Phi[t] y[t-1] + r[t,s],        r[t] = rho r[t-1] + e[t]

s is a series: outcome o at location l. Each part has its own file, with its equation and source: `engine.trend`,
`engine.seasonality`, `engine.events`, `engine.controls`, `engine.media` (carry-over, saturation, pooling, variation,
interactions), `engine.mediation`, `engine.cross`, `engine.noise`, `engine.experiments`.

Media is centred so that level is the outcome at typical spend: level and effects are then nearly uncorrelated, which
quarters the trajectory NUTS needs; contributions are unchanged by it.
The shifts are what a verdict on a break asks for (`engine.reaction`): there are none without one. Where the metric
itself changed, the outcome is exp(sum_k metric[k,s] c[t,k]) times what it would have been; the equation above is of
what it would have been, on the log scale as on the linear one (there y = outcome / scale - 1).
Sources: Jin et al. (2017); Gelman et al., Bayesian Data Analysis, 3rd ed., chapters 5 and 15.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import Array

from engine import controls, cross, experiments, media, mediation, noise, trend
from engine.controls import ControlParameters
from engine.cross import CrossParameters
from engine.design import Design
from engine.layout import Layout, layout
from engine.media import MediaData, MediaParameters
from engine.mediation import MediationParameters
from engine.noise import NoiseParameters
from engine.seasonality import scales as season_scales
from engine.spec import Spec
from engine.trend import TrendParameters

_Part = TypeVar("_Part", bound=NamedTuple)  # a part's parameters


class Parameters(NamedTuple):
    """One draw: a part's own parameters are in that part's file."""

    level: Array  # (S,)
    trend: TrendParameters
    season: Array  # (harmonic, O)
    shift: Array  # (shift, S) of a break
    metric: Array  # (rescaling, S) log factor on the metric
    event: Array  # (event, O)
    controls: ControlParameters
    media: MediaParameters
    mediation: MediationParameters
    cross: CrossParameters
    noise: NoiseParameters


DIMS: dict[str, tuple[str, ...]] = {
    "level": ("series",),
    "season": ("harmonic", "outcome"),
    "shift": ("shift", "series"),
    "metric": ("rescaling", "series"),
    "event": ("event", "outcome"),
    **trend.DIMS,
    **controls.DIMS,
    **media.DIMS,
    **mediation.DIMS,
    **cross.DIMS,
    **noise.DIMS,
}


def named(parameters: Parameters) -> dict[str, Array]:
    """Every array of a draw by its own name, which no two parts share."""
    return dict(_leaves(parameters))


def _leaves(part: NamedTuple) -> Iterator[tuple[str, Array]]:
    for name, value in part._asdict().items():
        if hasattr(value, "_asdict"):  # a part
            yield from _leaves(value)
        else:
            yield name, value


def unnamed(arrays: Mapping[str, Array]) -> Parameters:
    """The inverse of `named`."""
    return Parameters(
        level=arrays["level"],
        trend=_part(TrendParameters, arrays),
        season=arrays["season"],
        shift=arrays["shift"],
        metric=arrays["metric"],
        event=arrays["event"],
        controls=_part(ControlParameters, arrays),
        media=_part(MediaParameters, arrays),
        mediation=_part(MediationParameters, arrays),
        cross=_part(CrossParameters, arrays),
        noise=_part(NoiseParameters, arrays),
    )


def _part(kind: type[_Part], arrays: Mapping[str, Array]) -> _Part:
    return kind._make(arrays[name] for name in kind._fields)


def model(spec: Spec, design: Design) -> Parameters:
    """The NumPyro program: samples a `Parameters` and weighs it by the likelihood of the known outcomes."""
    parameters = sample_parameters(spec, design)
    places = layout(spec)
    weight = design.weight.reshape(design.weight.shape[0], places.locations, places.outcomes)[:, :, 0]
    numpyro.factor("likelihood", jnp.sum(weight * log_likelihood(spec, parameters, design)))
    if spec.model.lift_tests or spec.model.roi_priors:
        numpyro.factor("experiments", _experiments(spec, parameters, design))
    return parameters


def _experiments(spec: Spec, p: Parameters, design: Design) -> Array:
    """Of lift tests and known returns: what media added, solved for what outcomes then do to one another."""
    places, tests = layout(spec), design.tests
    through = mediation.indirect(p.mediation)
    added = experiments.added(spec.model.media, p.media, design.media, tests, places.pairs, through)

    def spread(moved: Array) -> Array:
        each = [cross.propagated(places, p.cross, moved[:, :, e], design.promotion) for e in range(moved.shape[2])]
        return jnp.stack(each, axis=2) if each else moved

    whole = experiments.Added(spread(added.lift), spread(added.roi)) if places.cross else added
    return experiments.log_likelihood(spec.model.outcome, tests, whole, mean(spec, p, design), design.kpi_scale)


def sample_parameters(spec: Spec, design: Design) -> Parameters:
    """One draw from the priors declared in `spec`."""
    declared, places = spec.model, layout(spec)
    scatter = noise.sample(declared, places)
    return Parameters(
        level=numpyro.sample("level", dist.Normal(0.0, declared.level_scale).expand([places.series])),
        trend=trend.sample(declared.trend, design.trend, places.series),
        season=_effects("season", season_scales(declared.seasons), places.outcomes),
        shift=_effects("shift", design.shift_scale, places.series),
        metric=_effects("metric", design.metric_scale, places.series),
        event=_effects("event", jnp.full(design.events.shape[1], declared.event_scale), places.outcomes),
        controls=controls.sample(
            declared.controls, places.controls, places.selected, places.outcomes, _typical(places, scatter.sigma),
            jnp.sum(design.known) / places.outcomes,
        ),
        media=media.sample(declared.media, design.media, places.outcomes, places.groups),
        mediation=mediation.sample(declared.mediators, places),
        cross=cross.sample(declared.cross_effects),
        noise=scatter,
    )  # fmt: skip


def _typical(places: Layout, sigma: Array) -> Array:
    """The noise scale of each outcome, over locations: (O,)."""
    return jnp.sum(sigma.reshape(places.locations, places.outcomes), axis=0) / places.locations


def _effects(name: str, scale: Array, columns: int) -> Array:
    """(term, column), each term with a prior sd of its own."""
    if scale.size == 0:
        return jnp.zeros((0, columns))
    unit = numpyro.sample(name, dist.Normal(0.0, 1.0).expand([scale.size, columns]))
    return unit * scale[:, None]


class Levels(NamedTuple):
    """What is expected before outcomes move one another, and the mediators behind it."""

    outcome: Array  # (T, S)
    mediator: Array  # (T, L, N)


def levels(spec: Spec, p: Parameters, design: Design, seen: MediaData | None = None) -> Levels:
    """The model's equation without cross-effects and residual.

    seen: other media than the design's, for a counterfactual; what is typical stays the design's own.
    """
    places = layout(spec)
    common = jnp.sum(design.season[:, :, None] * p.season, axis=1) + jnp.sum(
        design.events[:, :, None] * p.event, axis=1
    )
    local = p.level + trend.effect(p.trend, design.trend) + jnp.sum(design.shift[:, :, None] * p.shift, axis=1)
    base = local + jnp.tile(common, (1, places.locations)) + controls.effect(p.controls, design.controls)
    actual = media.response(spec.model.media, p.media, design.media)
    total = media.total(spec.model.media, p.media, design.media, actual, places.pairs)
    known = design.known
    typical = jnp.sum(total * known, axis=0) / jnp.sum(known, axis=0)
    usual = jnp.sum(actual * known[:, : places.series : places.outcomes, None], axis=0) / jnp.sum(known[:, :1])
    if seen is not None:
        actual = media.response(spec.model.media, p.media, seen)
        total = media.total(spec.model.media, p.media, seen, actual, places.pairs)
    between = mediation.expected(p.mediation, actual, usual)
    return Levels(base + total - typical + mediation.effect(p.mediation, between), between)


def mean(spec: Spec, p: Parameters, design: Design, seen: MediaData | None = None) -> Array:
    """The outcomes expected before any is known, cross-effects solved: (T, S). seen: as in `levels`."""
    places = layout(spec)
    return cross.propagated(places, p.cross, levels(spec, p, design, seen).outcome, design.promotion)


def metric(p: Parameters, design: Design) -> Array:
    """Log of the metric's scale, 0 before it changed: (T, S)."""
    return jnp.sum(design.metric[:, :, None] * p.metric, axis=1)


def _demand(spec: Spec, y: Array, scale: Array) -> Array:
    """Outcomes as the metric would have shown them before it changed; `scale` as `metric` gives it."""
    return y - scale if spec.model.outcome == "log" else (1.0 + y) * jnp.exp(-scale) - 1.0


def _shown(spec: Spec, y: Array, scale: Array) -> Array:
    """The inverse of `_demand`."""
    return y + scale if spec.model.outcome == "log" else (1.0 + y) * jnp.exp(scale) - 1.0


class Residual(NamedTuple):
    """What the known outcomes leave of the model."""

    outcome: Array  # (T, S) r, given the mediators where those are known exactly
    surprise: Array  # (T, L, N) what was seen of a mediator less what media let expect


def residual(spec: Spec, p: Parameters, design: Design, y: Array) -> Residual:
    """Of outcomes `y` (T, S) on the model's scale, as demand."""
    places = layout(spec)
    expected = levels(spec, p, design)
    left = cross.own(places, p.cross, y, design.promotion) - expected.outcome
    surprise = design.mediators.mask * (design.mediators.seen - expected.mediator)
    if spec.model.mediators and spec.model.conditional:
        left = left - mediation.effect(p.mediation, surprise)
    return Residual(left, surprise)


def log_likelihood(spec: Spec, p: Parameters, design: Design) -> Array:
    """Log density of what is known of each period and location given the period before it: (T, L)."""
    places, declared = layout(spec), spec.model
    scale = metric(p, design)
    left = residual(spec, p, design, _demand(spec, design.y, scale))
    innovation = noise.standardised(p.noise, left.outcome)
    start = places.outcomes * noise.log_jacobian(p.noise, design.y.shape[0])
    jacobian = cross.log_det(places, p.cross, design.promotion) + start
    if declared.outcome == "linear":
        jacobian = jacobian - jnp.sum(scale.reshape(-1, places.locations, places.outcomes), axis=-1)
    if declared.mediators and not declared.conditional:
        density = noise.joint_log_density(
            declared, places, p.noise, p.mediation, innovation, left.surprise, design.mediators.mask, design.error
        )
        return density + jacobian
    if places.outcomes == 1 or declared.covariance is None:
        each = noise.log_density(declared, p.noise, innovation, design.error)
        density = jnp.sum(each.reshape(-1, places.locations, places.outcomes), axis=-1)
    else:
        none = mediation.sample((), places)
        empty = design.mediators.mask[:, :, :0]
        density = noise.joint_log_density(declared, places, p.noise, none, innovation, empty, empty, design.error)
    if declared.mediators:
        density = density + noise.surprise_log_density(p.mediation, left.surprise, design.mediators.mask)
    return density + jacobian


def noise_variance(spec: Spec, p: Parameters, design: Design) -> Array:
    """Of an outcome given its mean and the period before it: (T or 1, S)."""
    places = layout(spec)
    own = jnp.atleast_2d(noise.variance(spec.model, places, p.noise, design.error))
    if not (places.cross or spec.model.mediators):
        return own
    return jnp.sum(_spread(spec, p, design, own) ** 2, axis=-1)


def _spread(spec: Spec, p: Parameters, design: Design, own: Array) -> Array:
    """How each outcome moves with every independent disturbance, in its standard deviations: (T, S, disturbance)."""
    places = layout(spec)
    time = design.y.shape[0]
    if spec.model.covariance is None:
        lower = jnp.eye(places.outcomes) * jnp.sqrt(own).reshape(-1, places.locations, 1, places.outcomes)
    else:
        lower = noise.cholesky(spec.model, places, p.noise)[None]
    shape = (time, places.locations, places.outcomes)
    columns = [jnp.broadcast_to(lower[..., k], shape) for k in range(places.outcomes)]
    if spec.model.covariance is not None and design.error.shape[1]:
        errors = design.error.reshape(shape)
        columns += [errors * jnp.eye(places.outcomes)[o] for o in range(places.outcomes)]
    for n in range(len(spec.model.mediators)):
        moved = p.mediation.mediator_effect[n] * p.mediation.mediator_noise[n]
        columns.append(jnp.broadcast_to(moved, shape))
    right = [column.reshape(time, places.series) for column in columns]
    return jnp.stack([cross.solved(places, p.cross, each, design.promotion) for each in right], axis=-1)


def one_step(spec: Spec, p: Parameters, design: Design, known: Array) -> Array:
    """Predictive mean of y[t] given y[t-1] under hindsight covariates: (T, S).

    known: (T, S) outcomes on the model's scale, as they happened; mediators are not known ahead.
    """
    places = layout(spec)
    scale = metric(p, design)
    y = _demand(spec, known, scale)
    left = residual(spec, p, design, y).outcome
    previous = jnp.concatenate([jnp.zeros_like(left[:1]), left[:-1]])
    states = p.noise.gap * p.noise.share
    right = levels(spec, p, design).outcome + states + p.noise.rho * previous
    right = right + cross.carried(places, p.cross, cross.lagged(y), design.promotion)
    return _shown(spec, cross.solved(places, p.cross, right, design.promotion), scale)


def simulate(spec: Spec, p: Parameters, design: Design, origin: Array, horizon: int, key: Array) -> Array:
    """One path of y past the origin: (horizon, S); the last residual is carried on by rho."""
    places = layout(spec)
    scale = metric(p, design)
    y = _demand(spec, design.y, scale)

    def ahead(x: Array) -> Array:
        return jax.lax.dynamic_slice_in_dim(x, origin, horizon)

    def last(x: Array) -> Array:
        return jax.lax.dynamic_slice_in_dim(x, origin - 1, 1)[0]

    start = (last(residual(spec, p, design, y).outcome), last(y))
    own_key = jax.random.fold_in(key, 2)  # 0 and 1 are the children that split(key) has in `noise.draw`
    level = ahead(levels(spec, p, design).outcome) + _disturbance(spec, p, own_key, horizon)
    innovations = noise.draw(spec.model, places, p.noise, ahead(design.error), key, horizon)

    def step(before: tuple[Array, Array], now: tuple[Array, Array, Array]) -> tuple[tuple[Array, Array], Array]:
        left, outcome = before
        level, innovation, promotion = now[0], now[1], now[2][None]
        left = p.noise.rho * left + innovation
        right = (level + left)[None] + cross.carried(places, p.cross, outcome[None], promotion)
        outcome = cross.solved(places, p.cross, right, promotion)[0]
        return (left, outcome), outcome

    _, path = jax.lax.scan(step, start, (level, innovations, ahead(design.promotion)))
    return _shown(spec, path, ahead(scale))


def _disturbance(spec: Spec, p: Parameters, key: Array, horizon: int) -> Array:
    """What mediators that nobody foresees add to the outcomes: (horizon, S), or () without mediators."""
    if not spec.model.mediators:
        return jnp.zeros(())
    places = layout(spec)
    unit = jax.random.normal(key, (horizon, places.locations, len(spec.model.mediators)))
    return mediation.effect(p.mediation, p.mediation.mediator_noise * unit)
