"""Laws of experiments as likelihood: a lift is the difference of two worlds, in checked units, once it is known."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from numpyro.handlers import seed

from engine import experiments, media
from engine.adstock import lagged
from engine.errors import SpecError
from engine.experiments import Added, ExperimentData
from engine.media import MediaData, MediaParameters
from engine.prng import stream
from engine.spec import Spec
from engine.table import Panel
from tests import reference_media as twin
from tests import small

ORIGIN, SPAN, LAGS = 30, small.TIME + 4, 4
PAIRS = ((0, 1),)
FURTHER = [{"name": "visits", "column": "Visits", "unit": "people"}]
REACHED = [
    {"name": "tv", "column": "TV", "unit": "USD", "frequency": "TV frequency"},
    {"name": "search", "column": "Search", "unit": "USD"},
]


def week(index: int) -> str:
    return (small.START + timedelta(days=7 * index)).isoformat()


def trial(**changes: object) -> dict[str, Any]:
    """A holdout of television in East, weeks 10 to 13, its lift counted to week 15."""
    return {
        "name": "east", "channel": "tv", "outcome": "sales", "locations": ["East"],
        "spend_first": week(10), "spend_last": week(13), "measured_first": week(10), "measured_last": week(15),
        "change": {"kind": "holdout"}, "lift": 40.0, "error": 5.0, "unit": "USD", "spend_unit": "USD", **changes,
    }  # fmt: skip


def returned(**changes: object) -> dict[str, Any]:
    return {"channel": "search", "outcome": "sales", "median": 1.5, "sd_log": 0.2, "unit": "USD per USD", **changes}


def declared(tests: Sequence[object] = (), priors: Sequence[object] = (), **changes: object) -> Spec:
    return small.spec(model__lift_tests=list(tests), model__roi_priors=list(priors), **changes)


def table(spec: Spec) -> Panel:
    """With a frequency for each reach that is declared."""
    found = small.panel(spec)
    return found._replace(frequency=np.full(found.media.shape, 1.3)) if spec.data.media[0].frequency else found


class World:
    """A specification with its table, its design's parts, and one draw of the parameters."""

    def __init__(self, spec: Spec, number: int = 1, origin: int = ORIGIN, panel: Panel | None = None) -> None:
        self.spec, self.panel = spec, panel or table(spec)
        spent = [math.fsum(self.panel.media[:origin, :, m].ravel().tolist()) for m in range(2)]
        self.scale = tuple(value / origin if value else 1.0 for value in spent)
        self.data = self.media_of(self.panel.media)
        self.tests = experiments.build(self.panel, spec, origin, self.scale, SPAN)
        self.p: MediaParameters = seed(media.sample, stream(number, "experiments"))(
            spec.model.media, self.data, len(spec.data.outcomes), (0, 1)
        )
        self.pairs = PAIRS if spec.model.media.interactions else ()
        self.kpi_scale = jnp.asarray([100.0 * (s + 1) for s in range(self.panel.kpi.shape[1])])

    def media_of(self, spend: np.ndarray, origin: int = ORIGIN) -> MediaData:
        """Past the table nothing is spent."""
        whole = np.concatenate([spend, np.zeros((SPAN - len(spend), *spend.shape[1:]))])
        frequency = np.full((SPAN, *self.panel.frequency.shape[1:]), 1.3)
        scaled = lagged(jnp.asarray(whole) / jnp.asarray(self.scale), LAGS)
        return media.build(self.spec, scaled, jnp.asarray(frequency), spend[:origin], SPAN, origin)

    def total(self, data: MediaData) -> Array:
        declared = self.spec.model.media
        return media.total(declared, self.p, data, media.response(declared, self.p, data), self.pairs)

    def added(self, p: MediaParameters | None = None) -> Added:
        none = jnp.zeros((2, len(self.spec.data.outcomes)))
        return experiments.added(self.spec.model.media, p or self.p, self.data, self.tests, self.pairs, none)

    def density(self, p: MediaParameters | None = None, mean: Array | float = 0.0) -> Array:
        whole = jnp.broadcast_to(jnp.asarray(mean), (SPAN, self.panel.kpi.shape[1]))
        return experiments.log_likelihood(self.spec.model.outcome, self.tests, self.added(p), whole, self.kpi_scale)


def without(
    spend: np.ndarray, channel: int, places: Sequence[int], first: int, last: int, change: float | None
) -> np.ndarray:
    """Spend as it would have been: less `change`, or none."""
    other = spend.copy()
    for t in range(first, last + 1):
        for place in places:
            other[t, place, channel] = 0.0 if change is None else spend[t, place, channel] - change
    return other


RICH: dict[str, object] = {
    "data__further": FURTHER,
    "model__media__interactions": [{"first": "tv", "second": "search", "sd": 0.3}],
    "model__media__variation": {"kind": "random_walk", "scale": 0.4, "knot": 3},
}


@pytest.mark.parametrize(
    "changes",
    [{}, RICH, RICH | {"data__media": REACHED}, RICH | {"model__media__order": "saturation_first"}],
    ids=["plain", "rich", "reached", "saturated"],
)
def test_what_a_test_added_is_the_difference_of_two_worlds(changes: dict[str, object]) -> None:
    tests = [
        trial(),
        trial(name="both", channel="search", locations=[], change={"kind": "delta", "spend": -3.0}),
        trial(name="west", locations=["West"], change={"kind": "delta", "spend": 2.0}),
    ]
    world = World(declared(tests, [returned(), returned(channel="tv")], **changes))
    found = world.added()
    worlds = [(0, [0], None), (1, [0, 1], -3.0), (0, [1], 2.0)]
    actual = world.total(world.data)
    for e, (channel, places, change) in enumerate(worlds):
        other = world.media_of(without(world.panel.media, channel, places, 10, 13, change))
        np.testing.assert_allclose(found.lift[:ORIGIN, :, e], (actual - world.total(other))[:ORIGIN], atol=1e-13)
    for r, channel in enumerate((1, 0)):
        silent = world.media_of(without(world.panel.media, channel, [0, 1], 0, small.TIME - 1, None))
        np.testing.assert_allclose(found.roi[:, :, r], actual - world.total(silent), atol=1e-13)


@pytest.mark.parametrize("outcome", ["linear", "log"])
def test_a_lift_is_counted_over_its_window_in_the_outcomes_unit(outcome: str) -> None:
    world = World(declared([trial()], model__outcome=outcome))
    mean = 0.1 * jnp.sin(jnp.arange(SPAN * 2.0)).reshape(SPAN, 2)
    paths = []
    for spend in (world.panel.media, without(world.panel.media, 0, [0], 10, 13, None)):
        x = [float(v) / world.scale[0] for v in spend[:, 0, 0]]
        carried = twin.adstock(x, float(world.p.adstock[0, 0]), LAGS)
        paths.append([float(world.p.beta[0, 0]) * twin.saturation(v, float(world.p.saturation[0, 0])) for v in carried])
    lift = 0.0
    for t in range(10, 16):
        difference, level = paths[0][t] - paths[1][t], float(mean[t, 0])
        lift += 100.0 * (difference if outcome == "linear" else math.exp(level) - math.exp(level - difference))
    expected = -0.5 * ((40.0 - lift) / 5.0) ** 2 - math.log(5.0) - 0.5 * math.log(2.0 * math.pi)
    assert math.isclose(float(world.density(mean=mean)), expected, rel_tol=1e-10)


@pytest.mark.parametrize("outcome", ["linear", "log"])
def test_a_return_is_what_was_added_per_unit_of_spend(outcome: str) -> None:
    world = World(declared(priors=[returned()], model__outcome=outcome))
    alone = media.effect(
        world.spec.model.media, world.p, world.data, media.response(world.spec.model.media, world.p, world.data)
    )[:ORIGIN, :, 1]
    added = np.asarray(alone) if outcome == "linear" else 1.0 - np.exp(-np.asarray(alone))
    roas = float(np.sum(added * np.asarray(world.kpi_scale))) / float(np.sum(world.panel.media[:ORIGIN, :, 1]))
    expected = -0.5 * ((math.log(1.5) - math.log(roas)) / 0.2) ** 2 - math.log(0.2) - 0.5 * math.log(2.0 * math.pi)
    assert math.isclose(float(world.density()), expected, rel_tol=1e-10)


def test_only_the_named_outcome_in_the_named_locations_is_counted() -> None:
    second = trial(outcome="visits", unit="people", locations=["West"])
    world = World(declared([second], [returned(outcome="visits", unit="people per USD")], data__further=FURTHER))
    counted = np.zeros((SPAN, 4))
    counted[10:16, 3] = 1.0  # series are East sales, East visits, West sales, West visits
    assert np.array_equal(world.tests.window[:, :, 0], counted)
    counted[:ORIGIN], counted[:ORIGIN, [1, 3]] = 0.0, 1.0
    assert np.array_equal(world.tests.roi_window[:, :, 0], counted)


def test_what_happens_outside_the_window_cannot_spoil_it() -> None:
    world = World(declared([trial()], [returned()], model__outcome="log"))
    wild = jnp.zeros((SPAN, 2)).at[ORIGIN:].set(1e4)
    value, slope = jax.value_and_grad(lambda p: world.density(p, wild))(world.p)
    assert float(value) == float(world.density())
    assert all(np.all(np.isfinite(each)) for each in slope)


def test_carry_over_counts_only_as_long_as_it_was_measured() -> None:
    lifts = []
    for last in (11, 13, 15, 16, 17, 25):
        world = World(declared([trial(measured_last=week(last))]))
        lifts.append(float(jnp.sum(world.tests.window * world.added().lift)))
    assert lifts[0] < lifts[1] < lifts[2] < lifts[3]  # spending ended in week 13; four lags carry it to week 16
    assert lifts[3] == pytest.approx(lifts[4], rel=1e-12) == pytest.approx(lifts[5], rel=1e-12)


def test_taking_spend_away_is_a_negative_lift() -> None:
    """A blackout: the table shows the silence, and the test undone is what would have been spent."""
    spec = declared([trial(change={"kind": "delta", "spend": -20.0}, lift=-40.0)])
    panel = table(spec)
    panel.media[10:14, 0, 0] = 0.0
    world = World(spec, panel=panel)
    added = np.asarray(world.added().lift)[:, :, 0]
    assert np.all(added[10:14, 0] < 0.0)
    assert not np.any(added[:10])
    assert not np.any(added[:, 1])


def test_a_test_is_told_once_all_of_it_is_known_and_shapes_do_not_depend_on_it() -> None:
    spec = declared([trial()], [returned()])
    before, after = World(spec, origin=15), World(spec, origin=16)
    assert [x.shape for x in before.tests] == [x.shape for x in after.tests]
    assert (float(before.tests.told[0]), float(after.tests.told[0])) == (0.0, 1.0)
    alone = World(declared(priors=[returned()]), origin=15)
    assert float(before.density()) == float(alone.density())
    assert float(after.density()) != float(before.density())


def test_a_return_of_a_channel_without_spend_says_nothing_yet() -> None:
    spec = declared(priors=[returned()])
    panel = table(spec)
    panel.media[:ORIGIN, :, 1] = 0.0
    world = World(spec, panel=panel)
    value, slope = jax.value_and_grad(lambda p: world.density(p))(world.p)
    assert float(value) == 0.0
    assert not any(np.any(each != 0.0) for each in slope)  # nor is one of them not a number


def test_nothing_declared_adds_nothing() -> None:
    world = World(declared())
    assert float(world.density()) == 0.0
    assert world.added().lift.shape == (SPAN, 2, 0)


def scaled(p: MediaParameters, channel: int, factor: Array) -> MediaParameters:
    return p._replace(beta=p.beta.at[:, channel].multiply(factor))


FACTORS = np.exp(np.linspace(-1.5, 1.5, 61))


@pytest.mark.parametrize("outcome", ["linear", "log"])
@pytest.mark.parametrize("truth", [0.5, 1.0, 2.0])
def test_the_density_is_highest_where_the_model_has_the_measured_lift(truth: float, outcome: str) -> None:
    world = World(declared([trial()], model__outcome=outcome))
    mean = jnp.zeros((SPAN, 2))
    added = world.added(scaled(world.p, 0, jnp.asarray(truth))).lift
    gone = added if outcome == "linear" else 1.0 - jnp.exp(-added)
    lift = jnp.sum(world.tests.window * world.kpi_scale[:, None] * gone)
    world.tests = world.tests._replace(lift=lift[None])
    densities = jax.vmap(lambda factor: world.density(scaled(world.p, 0, factor), mean))(jnp.asarray(FACTORS))
    assert math.isclose(float(FACTORS[int(np.argmax(densities))]), truth, rel_tol=0.03)


@pytest.mark.parametrize("median", [0.7, 1.5])
def test_the_density_is_highest_where_the_return_is_its_median(median: float) -> None:
    world = World(declared(priors=[returned(median=median)]))
    factors = jnp.exp(jnp.linspace(-4.0, 4.0, 801))
    densities = jax.vmap(lambda factor: world.density(scaled(world.p, 1, factor)))(factors)
    best = float(factors[int(jnp.argmax(densities))])
    added = world.added(scaled(world.p, 1, jnp.asarray(best))).roi
    roas = float(jnp.sum(world.tests.roi_window * world.kpi_scale[:, None] * added) / world.tests.roi_spend[0])
    assert math.isclose(roas, median, rel_tol=0.01)


def test_a_smaller_error_pulls_harder() -> None:
    slopes = []
    for error in (10.0, 5.0, 1.0):
        world = World(declared([trial(error=error)]))
        slopes.append(float(jax.grad(lambda factor, w=world: w.density(scaled(w.p, 0, factor)))(1.0)))
    assert abs(slopes[0]) < abs(slopes[1]) < abs(slopes[2])


def test_effects_through_mediators_are_part_of_a_lift() -> None:
    world = World(declared([trial()], [returned()]))
    through = jnp.asarray([[0.3], [0.0]])
    direct = world.added()
    found = experiments.added(world.spec.model.media, world.p, world.data, world.tests, (), through)
    raised = world.added(world.p._replace(beta=world.p.beta + through[:, 0]))
    np.testing.assert_allclose(found.lift, raised.lift, rtol=1e-12)
    assert np.all(np.asarray(found.lift)[10:14, 0] > np.asarray(direct.lift)[10:14, 0])
    assert np.array_equal(found.roi, direct.roi)


def test_a_return_that_cannot_be_positive_is_impossible_and_has_a_finite_gradient() -> None:
    world = World(declared(priors=[returned()]))

    def density(factor: Array) -> Array:
        return world.density(scaled(world.p, 1, factor))

    value, slope = jax.value_and_grad(density)(-1.0)
    assert (float(value), float(slope)) == (-math.inf, 0.0)


@pytest.mark.parametrize("saturation", [
    {"kind": "hill", "shared": False, "k_median": 1.0, "k_sd": 0.5, "s_median": 0.7, "s_sd": 0.5},
    {"kind": "root", "shared": False, "p_a": 3.0, "p_b": 3.0},
], ids=lambda s: str(s["kind"]))  # fmt: skip
def test_gradients_are_finite_where_a_test_spent_nothing(saturation: dict[str, object]) -> None:
    spec = declared([trial()], [returned()], model__media__saturation=saturation)
    panel = table(spec)
    panel.media[:10, :, :] = 0.0
    world = World(spec, panel=panel)
    slope = jax.jit(jax.grad(lambda p: world.density(p)))(world.p)
    assert all(np.all(np.isfinite(each)) for each in slope)
    assert np.any(slope.beta != 0.0)


@pytest.mark.parametrize(
    ("tests", "priors", "message"),
    [
        ([trial(unit="EUR")], [], r"lift_tests.east.unit: expected 'USD', found 'EUR'"),
        ([trial(spend_unit="GRP")], [], r"lift_tests.east.spend_unit: expected 'USD', found 'GRP'"),
        ([trial(channel="radio")], [], r"lift_tests.east.channel: .* found radio"),
        ([trial(outcome="visits")], [], r"lift_tests.east.outcome: .* found visits"),
        ([trial(locations=["North"])], [], r"lift_tests.east.locations: .* found North"),
        ([trial(locations=["East", "East"])], [], r"expected each once, found East, East"),
        ([trial(spend_last=week(9))], [], r"spend_last: expected 2016-12-12 or later, found 2016-12-05"),
        ([trial(measured_last=week(9), measured_first=week(8))], [], r"expected a period of the test"),
        ([trial(change={"kind": "delta", "spend": 0.0})], [], r"change.spend: expected a change, found 0"),
        ([trial(error=0.0)], [], r"greater than 0"),
        ([trial(), trial()], [], r"name used twice: east"),
        ([], [returned(unit="USD per EUR")], r"roi_priors.search.unit: expected 'USD per USD', found 'USD per EUR'"),
        ([], [returned(channel="radio")], r"roi_priors.radio.channel: .* found radio"),
    ],
)
def test_what_the_declaration_does_not_bear_out_is_refused(
    tests: Sequence[object], priors: Sequence[object], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        declared(tests, priors)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spend_first": "2016-12-13"}, r"east.spend_first: expected the first day of a period .* found 2016-12-13"),
        ({"measured_last": week(small.TIME)}, r"east.measured_last: expected the first day of a period"),
        (
            {"change": {"kind": "delta", "spend": 1e6}},
            r"change.spend: expected at most .* East spent on tv on 2016-12-12",
        ),
    ],
)
def test_what_the_table_contradicts_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        World(declared([trial(**changes)]))


def test_a_holdout_from_silence_is_refused() -> None:
    spec = declared([trial()])
    panel = table(spec)
    panel.media[10:14, 0, 0] = 0.0
    with pytest.raises(SpecError, match=r"expected spend on tv between 2016-12-12 and 2017-01-02.* found none"):
        World(spec, panel=panel)


def test_dates_survive_the_specifications_own_bytes() -> None:
    spec = declared([trial()])
    again = Spec.model_validate_json(spec.model_dump_json())
    assert again == spec
    assert json.loads(spec.model_dump_json())["model"]["lift_tests"][0]["spend_first"] == "2016-12-12"
    assert spec.model.lift_tests[0].spend_first == date(2016, 12, 12)


def test_one_compiled_program_serves_every_origin() -> None:
    spec = declared([trial()], [returned()])
    worlds = [World(spec, origin=origin) for origin in (20, 30)]

    @jax.jit
    def density(p: MediaParameters, data: MediaData, tests: ExperimentData) -> Array:
        added = experiments.added(spec.model.media, p, data, tests, (), jnp.zeros((2, 1)))
        return experiments.log_likelihood("linear", tests, added, jnp.zeros((SPAN, 2)), worlds[0].kpi_scale)

    found = [float(density(w.p, w.data, w.tests)) for w in worlds]
    assert density._cache_size() == 1
    assert found[0] != found[1]
